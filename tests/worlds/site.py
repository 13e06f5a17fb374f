"""Pages and their endpoints, behind a network that fails, on a server that is killed."""

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from yarl import URL

from openapi.ws import Publisher
from tests.servers.process import HOST, Server
from tests.servers.valkey import ValkeyServer
from tests.worlds import page
from tests.worlds.relay import LossyRelay
from tests.worlds.world import World

__all__ = ["PageServer", "Site"]


class PageServer(Server):
    """``tests/worlds/page.py`` as a process."""

    def __init__(self, broker: str) -> None:
        super().__init__()
        self._broker = broker

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    def _command(self) -> Sequence[str | Path]:
        return [sys.executable, "-P", page.__file__, str(self.port), self._broker]

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), 1.0):
            return True


class Site(World):
    """A server of pages, its broker, and the network in front of it.

    | action | argument | |
    |---|---|---|
    | `kill` | | the server is gone, at once; what was published is not |
    | `start` | | it is there again, at the same address |
    | `publish` | a list of data | each is published on `news` as event `item`, past the server |
    | `lose` | | what connections of now carry is lost, and neither end is told; new ones are well |
    | `cut` | | all connections are reset |
    | `taken` | | how many connections were made |
    | `log` | | what the server has written, for people |
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._valkey = ValkeyServer()
        self._server = PageServer(self._valkey.url)
        self._relay = LossyRelay(URL(self._server.url))
        self._publisher = Publisher(self._valkey.url, channels=page.CHANNELS)

    async def open(self) -> dict[str, Any]:
        for server in (self._valkey, self._server):
            self._stack.callback(server.close)
            await asyncio.to_thread(server.start)
        await self._stack.enter_async_context(self._relay)
        await self._stack.enter_async_context(self._publisher)
        return {"url": str(self._relay.url)}

    async def act(self, action: str, argument: Any) -> Any:
        match action:
            case "kill":
                await asyncio.to_thread(self._server.kill)
            case "start":
                await asyncio.to_thread(self._server.start)
            case "publish":
                for data in argument:
                    await self._publisher.publish("news", "item", data)
            case "lose":
                self._relay.lose()
            case "cut":
                self._relay.cut()
            case "taken":
                return self._relay.taken
            case "log":
                return await asyncio.to_thread((self._server.folder / "log").read_text)
            case _:
                raise LookupError(f"nobody can do {action!r} to a site")

    async def close(self) -> None:
        await self._stack.aclose()
