"""The server of one conversation of ``wire/vectors``, as ``wire/README.md`` describes it."""

import asyncio
from typing import Any

from aiohttp import web

from tests.wire_endpoint import RELEASES, SOCKETS, application
from tests.worlds.world import World

__all__ = ["Conversation"]


class Conversation(World):
    """An application of its own, in this process.

    | action | argument | |
    |---|---|---|
    | `release` | a key | calls that wait for it go on |
    | `shuts down` | | the server begins to, and the conversation goes on |
    | `closes its connections` | | likewise |
    """

    def __init__(self) -> None:
        self._app = application()
        self._runner = web.AppRunner(self._app)
        self._server: list[asyncio.Task[None]] = []

    async def open(self) -> dict[str, Any]:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return {"url": f"ws://{host}:{port}/stream"}

    async def act(self, action: str, argument: Any) -> Any:
        manager = self._app[SOCKETS]
        match action:
            case "release":
                self._app[RELEASES][argument].set()
            case "shuts down":
                self._server.append(asyncio.create_task(manager.drain()))
            case "closes its connections":
                self._server.append(asyncio.create_task(manager.close_sockets()))
            case _:
                raise LookupError(f"nobody can do {action!r} to a conversation")

    async def close(self) -> None:
        await asyncio.gather(*self._server)
        await self._runner.cleanup()
