"""A server and clients of it, over TCP on a loop that counts, and what was written to each client.

async with site(loop) as server:
    one, other = await server.connect(2)
    await one.client.call("subscribe", {"channel": "c"})
    one.forget()
    await server.sockets.publish("c", "e", 1)
    await one.hear(1)
    assert one.written() == [[{"channel": "c", "event": "e", "data": 1}]]
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from yarl import URL

from openapi.errors import ErrorCode
from openapi.spec import ApiPath
from openapi.ws import RpcError, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe
from tests.counts.loops import CountingLoop
from tests.counts.transports import CountedTransport
from tests.ws.endpoints import application
from tests.ws.raw import TEXT
from tests.ws.tcp import Client, frames_in, served

__all__ = ["Connected", "Endpoint", "Site", "site"]


class Endpoint(ApiPath, WsPathMixin, Subscribe, Publish):
    """Its handlers never suspend, as most do not."""

    async def ws_rpc_add(self, payload: dict[str, int]) -> int:
        """Add two numbers"""
        return payload["a"] + payload["b"]

    async def ws_rpc_refuse(self, payload: dict[str, int]) -> int:
        """Refuse"""
        raise RpcError(ErrorCode.NOT_ALLOWED, "Not today")

    async def ws_rpc_count(self, payload: dict[str, int]) -> AsyncIterator[int]:
        """Count up to a number"""
        for number in range(payload["to"]):
            yield number


@dataclass(slots=True)
class Connected:
    """A client, and the server's end of its connection."""

    client: Client
    transport: CountedTransport
    _writes: int = 0
    _received: int = 0

    async def hear(self, count: int) -> None:
        """Wait until so many messages have come since :meth:`forget`."""
        enough = self._received + count
        await self.client.until(lambda: len(self.client.received) >= enough)

    def written(self) -> list[list[Any]]:
        """The messages of each write since :meth:`forget`.

        Of a frame that is no message, it is the opcode.
        """
        writes = self.transport.writes[self._writes :]
        return [
            [json.loads(payload) if opcode == TEXT else opcode for opcode, payload, _ in frames]
            for frames in map(frames_in, writes)
        ]

    def forget(self) -> "Connected":
        """What there was up to now is of no interest."""
        self._writes, self._received = len(self.transport.writes), len(self.client.received)
        return self


class Site:
    """A server that runs."""

    def __init__(self, loop: CountingLoop, url: URL, sockets: SocketsManager) -> None:
        self.url = url
        self.sockets = sockets
        self._loop = loop

    async def connect(self, count: int, *, channel: str | None = None) -> list[Connected]:
        """Connect so many clients, each subscribed to the channel if there is one."""
        return [await self._one(channel) for _ in range(count)]

    async def _one(self, channel: str | None) -> Connected:
        client = await Client.open(self.url)
        transport = self._loop.accepted[-1]
        if channel is not None:
            await client.call("subscribe", {"channel": channel})
        return Connected(client, transport).forget()


@asynccontextmanager
async def site(
    loop: CountingLoop,
    sockets: SocketsManager | None = None,
    *,
    endpoint: type[WsPathMixin] = Endpoint,
) -> AsyncIterator[Site]:
    """Run a server with one endpoint."""
    sockets = sockets or SocketsManager()
    async with served(application(endpoint, sockets)) as url:
        yield Site(loop, url, sockets)
