"""How a manager is told that the server ends.

aiohttp ends in this order: it closes its connections to new requests, runs ``on_shutdown``, waits
for the handlers that still run, then cancels them. An application that says only
``app["web_sockets"] = SocketsManager()`` has registered nothing, and signals are frozen by the time
that the first socket comes. So the manager stands among the connections of the server: aiohttp
tells each of them to close, and waits for each to be shut down.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast
from weakref import WeakSet

from aiohttp import web

__all__ = ["ShutdownWatch"]


class ShutdownWatch:
    """A manager's place among the connections of a server.

    ``begin`` is called when the server starts to end; ``finish`` is awaited then, with the seconds
    after which the server loses patience (None: never). As long again, and it cuts connections.
    """

    def __init__(
        self, begin: Callable[[], object], finish: Callable[[float | None], Awaitable[object]]
    ) -> None:
        self._begin = begin
        self._finish = finish
        self._servers: WeakSet[web.Server] = WeakSet()

    def watch(self, request: web.BaseRequest) -> None:
        """Take place in the server that a request came to; once is enough."""
        # Private, and there is no other way from a request to its server.
        server = cast("web.Server", request.protocol._manager)
        if server not in self._servers:
            self._servers.add(server)
            # A server keeps a transport with each connection and looks at neither before the end.
            server.connection_made(cast("web.RequestHandler", self), asyncio.Transport())

    def too_late(self, request: web.BaseRequest) -> bool:
        """Whether the server has told its connections to close before this one took its place."""
        # Private, too: aiohttp tells nobody but the connection itself.
        return request.protocol._close or request.protocol._force_close

    def close(self) -> None:
        """Called by the server as it stops to take requests."""
        self._begin()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Called by the server behind ``on_shutdown``."""
        await self._finish(timeout)
