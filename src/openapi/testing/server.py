"""An application that is served, and no port: its clients are connected in memory.

async with serve(app) as server:
    async with server.connect("/stream") as ada, server.connect("/stream") as grace: ...

The whole stack runs: aiohttp's client and server, the handshake, the frames.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from typing import Any, Final

from aiohttp import ClientSession, web
from yarl import URL

from openapi.testing.client import SocketClient, connected
from openapi.testing.connector import MemoryConnector
from openapi.testing.link import Link, refused
from openapi.testing.transport import Connected

__all__ = ["Server", "ServerState", "serve", "socket_client"]


class ServerState(Enum):
    """A server is started once, and ended once."""

    NEW = "new"
    LISTENING = "listening"
    ENDED = "ended"


class Server:
    """A served application. ``host`` is what its URL says.

    ``find`` is what its clients find other hosts by; by default every host is this one.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        host: str = "server.test",
        find: Callable[[str], "Server"] | None = None,
        shutdown_timeout: float = 10.0,
    ) -> None:
        self.app: Final = app
        """The application that is served."""
        self.url: Final = URL.build(scheme="ws", host=host)
        """``ws://server.test``: nobody else can connect to it."""
        self.connections: Final[set[Connected]] = set()
        """Those that there are, half-open ones among them."""
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=shutdown_timeout
        )
        self._find: Callable[[str], Server] = find or (lambda host: self)
        self._session: ClientSession | None = None
        self.state = ServerState.NEW

    @property
    def http(self) -> ClientSession:
        """A session for what is no WebSocket: ``async with server.http.get("/healthz")``."""
        assert self._session is not None, "the server is not started"
        return self._session

    async def start(self) -> None:
        """Start the application. :func:`serve` does it."""
        await self._runner.setup()
        self.state = ServerState.LISTENING
        connector = MemoryConnector(Link(), self._find)
        self._session = ClientSession(self.url.with_scheme("http"), connector=connector)

    def connect(
        self, path: str = "/stream", *, link: Link | None = None, **options: Any
    ) -> AbstractAsyncContextManager[SocketClient]:
        """Connect a client: ``async with server.connect("/stream") as client``.

        ``link`` is what it goes over; by default it has one of its own, ``client.link``. The other
        options are those of :func:`openapi.client.connect`, and so is what entering it raises.
        """
        return connected(self.url.join(URL(path)), self._find, link=link, **options)

    def accept(self, client: asyncio.BaseProtocol, link: Link) -> Connected:
        """Connect a client over a link. Raises ConnectionRefusedError unless it listens."""
        if self.state is not ServerState.LISTENING:
            raise refused()
        server = self._runner.server
        assert server is not None

        def closed(connection: Connected) -> None:
            self.connections.discard(connection)
            link.connections.discard(connection)

        connection = Connected(
            client, server(), to_server=link.to_server, to_client=link.to_client, closed=closed
        )
        self.connections.add(connection)
        link.connections.add(connection)
        connection.begin()
        return connection

    def cut(self) -> None:
        """Reset all connections, as the end of its process does."""
        for connection in tuple(self.connections):
            connection.cut()

    async def shutdown(self) -> None:
        """Shut down as a server in production does: refuse connections, drain, clean up.

        Harmless the second time.
        """
        if self.state is not ServerState.ENDED:
            self.state = ServerState.ENDED
            await self._runner.cleanup()

    async def aclose(self) -> None:
        """Refuse connections, reset those that there are, and clean up."""
        try:
            if self.state is not ServerState.ENDED:
                self.state = ServerState.ENDED
                self.cut()
                await self._runner.cleanup()
        finally:
            if self._session is not None:
                await self._session.close()


@asynccontextmanager
async def serve(app: web.Application, *, shutdown_timeout: float = 10.0) -> AsyncIterator[Server]:
    """Serve an application without a port: ``async with serve(app) as server``.

    It is started, and cleaned up at the end, when all its connections are reset;
    :meth:`Server.shutdown` ends it with grace. ``shutdown_timeout`` is how long aiohttp waits for
    handlers that still run, in seconds. An application can be served once.
    """
    server = Server(app, shutdown_timeout=shutdown_timeout)
    try:
        await server.start()
        yield server
    finally:
        await server.aclose()


@asynccontextmanager
async def socket_client(
    app: web.Application, path: str = "/stream", **options: Any
) -> AsyncIterator[SocketClient]:
    """Serve an application, and connect one client: ``async with socket_client(app) as client``.

    The options are those of :meth:`Server.connect`.
    """
    async with serve(app) as server, server.connect(path, **options) as client:
        yield client
