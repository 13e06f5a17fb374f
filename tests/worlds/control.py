"""Makes worlds, and does to them what a test asks for.

    POST   /worlds                {"kind": "conversation" | "site"}   {"id": 1, …}
    POST   /worlds/1/release      "KEY"                               null
    DELETE /worlds/1

The body is the argument, as JSON, and so is the answer. What can be done to a world is in its own
file. Everything is on 127.0.0.1.
"""

import itertools
from typing import Any, Final, Self

from aiohttp import web

from tests.worlds.conversation import Conversation
from tests.worlds.site import Site
from tests.worlds.world import World

__all__ = ["Control"]

KINDS: Final[dict[str, type[World]]] = {"conversation": Conversation, "site": Site}


class Control:
    """The HTTP server, on a free port. Leaving it ends all worlds."""

    def __init__(self) -> None:
        self.port = 0
        self._ids = itertools.count(1)
        self._worlds: dict[str, World] = {}
        app = web.Application()
        app.router.add_post("/worlds", self._open)
        app.router.add_post("/worlds/{id}/{action}", self._act)
        app.router.add_delete("/worlds/{id}", self._close)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        for world in self._worlds.values():
            await world.close()

    async def _open(self, request: web.Request) -> web.Response:
        world = KINDS[(await request.json())["kind"]]()
        id = str(next(self._ids))
        self._worlds[id] = world
        return web.json_response({"id": id, **await world.open()})

    async def _act(self, request: web.Request) -> web.Response:
        world = self._worlds[request.match_info["id"]]
        argument: Any = await request.json() if request.can_read_body else None
        return web.json_response(await world.act(request.match_info["action"], argument))

    async def _close(self, request: web.Request) -> web.Response:
        await self._worlds.pop(request.match_info["id"]).close()
        return web.json_response(None)
