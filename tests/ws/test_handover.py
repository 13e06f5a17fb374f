"""aiohttp lets go of a request behind the handshake, unless somebody waits for its end."""

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from openapi.ws import SocketsManager
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import peer


def open_connections(runner: web.AppRunner) -> int:
    """Of which aiohttp knows. The manager has a place among them from its first socket on."""
    assert runner.server is not None
    connections: list[object] = [*runner.server.connections]
    return sum(isinstance(each, web.RequestHandler) for each in connections)


async def url_of(runner: web.AppRunner) -> URL:
    """Serve, and say where the endpoint is."""
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return URL.build(scheme="http", host=host, port=port, path="/stream")


async def test_a_socket_whose_end_nobody_waits_for_is_none_of_the_servers_connections() -> None:
    runner = web.AppRunner(application())
    try:
        async with peer(await url_of(runner)) as client:
            assert (await client.call("info"))["connections"] == 1
            assert open_connections(runner) == 0
    finally:
        await runner.cleanup()


async def test_a_request_knows_its_transport_until_the_socket_is_closed(serve: Serve) -> None:
    class Named(Endpoint):
        async def ws_rpc_peer(self, payload: dict[str, Any]) -> Any:
            """Who is at the other end, as the transport says"""
            assert self.request.transport is not None
            name = self.request.transport.get_extra_info("peername")
            assert self.request.get_extra_info("peername") == name
            return name[0], self.request.remote

    app = application(Named)
    async with peer(await serve(app) / "stream") as client:
        assert await client.call("peer") == ["127.0.0.1", "127.0.0.1"]
        (socket,) = app[MANAGER].sockets
        assert isinstance(socket, Named)
    await socket.connection.wait_closed()
    assert socket.request.transport is None


async def test_the_line_of_the_access_log_is_that_of_the_handshake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="aiohttp.access")
    runner = web.AppRunner(application())
    try:
        async with peer(await url_of(runner)) as client:
            await client.call("info")
            (line,) = caplog.messages
            assert '"GET /stream HTTP/1.1" 101' in line
    finally:
        await runner.cleanup()
    assert caplog.messages == [line]


async def test_what_a_middleware_has_behind_its_handler_runs_when_the_socket_is_closed(
    serve: Serve,
) -> None:
    ended = asyncio.Event()

    @web.middleware
    async def around(request: web.Request, handler: Any) -> Any:
        try:
            return await handler(request)
        finally:
            ended.set()

    app = application()
    app.middlewares.append(around)
    async with peer(await serve(app) / "stream") as client:
        await client.call("info")
        assert not ended.is_set()
    await ended.wait()


async def test_what_a_handler_has_behind_an_endpoint_runs_when_the_socket_is_closed(
    serve: Serve,
) -> None:
    ended = asyncio.Event()

    async def around(request: web.Request) -> web.StreamResponse:
        response = await Endpoint(request)
        ended.set()
        return response

    app = application()
    app.router.add_get("/around", around)
    async with peer(await serve(app) / "around") as client:
        await client.call("info")
        assert not ended.is_set()
    await ended.wait()


async def test_a_server_that_cancels_handlers_whose_client_is_gone_cancels_those_of_sockets_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sockets = SocketsManager()
    runner = web.AppRunner(application(sockets=sockets), handler_cancellation=True)
    try:
        async with peer(await url_of(runner)) as client:
            await client.call("info")
            (socket,) = sockets.sockets
            assert open_connections(runner) == 1
        await socket.connection.wait_closed()
    finally:
        await runner.cleanup()
    assert not caplog.records
