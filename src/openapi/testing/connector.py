"""What has aiohttp's client connect over a link in memory, where it would open a socket."""

import asyncio
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from aiohttp import BaseConnector, ClientConnectorError, ClientRequest, ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from openapi.testing.link import Link
from openapi.testing.transport import Connected

__all__ = ["Listening", "MemoryConnector"]


class Listening(Protocol):
    """A server that takes connections."""

    def accept(self, client: asyncio.BaseProtocol, link: Link) -> Connected:
        """Connect a client. Raises ConnectionRefusedError."""


class MemoryConnector(BaseConnector):
    """Connects over ``link`` to what ``find`` returns for the host of a URL.

    ``find`` raises ConnectionRefusedError where nobody listens.
    """

    def __init__(self, link: Link, find: Callable[[str], Listening]) -> None:
        super().__init__(force_close=True, limit=0)
        self._link = link
        self._find = find
        self._made: WeakSet[Connected] = WeakSet()

    def cut(self) -> None:
        """Reset all connections that it made."""
        for connection in tuple(self._made):
            connection.cut()

    # aiohttp's own connectors differ in this method; there is no public one.
    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> ResponseHandler:
        client = self._factory()
        try:
            await self._link.reached()
            listening = self._find(req.url.host or "")
            self._made.add(listening.accept(client, self._link))
        except ConnectionRefusedError as exc:
            raise ClientConnectorError(req.connection_key, exc) from exc
        return client
