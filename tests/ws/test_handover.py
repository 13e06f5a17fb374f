"""aiohttp lets go of a request behind the handshake, unless somebody waits for its end."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from openapi.errors import CloseCode
from openapi.protocol.limits import Limits
from openapi.ws import SocketsManager
from openapi.ws.socket import Websocket
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import peer
from tests.ws.raw import CLOSE, RawSocket, masked, message
from tests.ws.tcp import Line


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


async def test_a_socket_that_comes_as_the_server_ends_has_its_answers() -> None:
    may_end, sockets = asyncio.Event(), Ending()

    class Slow(Endpoint):
        async def ws_rpc_slow(self, payload: dict[str, Any]) -> str:
            """An answer that takes its time"""
            await may_end.wait()
            return "done"

    async def end() -> None:
        assert runner.server is not None
        runner.server.pre_shutdown()
        await runner.server.shutdown(60)

    runner = web.AppRunner(application(Slow, sockets=sockets))
    try:
        url = await url_of(runner)
        async with peer(url) as other:
            await other.call("info")  # the server knows the manager from here on
            sockets.then = end()
            client = await RawSocket.open(url, behind=message({"id": 1, "method": "slow"}))
            assert (await client.receive())["event"] == "$reconnect"
            may_end.set()
            assert (await client.receive())["response"] == "done"
            assert await client.close_code() == CloseCode.RESTART
            await client.shut()
        assert sockets.ending is not None
        await sockets.ending
    finally:
        await runner.cleanup()


class Ending(SocketsManager):
    """Runs ``then`` in the turn behind that in which a socket came."""

    then: Coroutine[Any, Any, None] | None = None
    ending: asyncio.Task[None] | None = None

    def add(self, ws: Websocket) -> None:
        super().add(ws)
        if self.then is not None:
            self.ending = asyncio.create_task(self.then)


async def test_a_socket_that_was_opening_as_the_server_ended_is_closed_and_not_cut() -> None:
    preparing, go_on = asyncio.Event(), asyncio.Event()

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        preparing.set()
        await go_on.wait()

    app = application()
    app.on_response_prepare.append(prepare)
    runner = web.AppRunner(app)
    url = await url_of(runner)
    opening = asyncio.create_task(RawSocket.open(url))
    await preparing.wait()
    assert runner.server is not None
    (http,) = runner.server.connections
    cleanup = asyncio.create_task(runner.cleanup())
    while not http._force_close:  # noqa: ASYNC110 # it is waited for from then on
        await asyncio.sleep(0)
    go_on.set()
    client = await opening
    assert await client.close_code() == CloseCode.RESTART
    assert app[MANAGER].sockets, "its closing frame is not here yet"
    client.writer.write(masked(CLOSE, CloseCode.RESTART.to_bytes(2)))
    assert await client.reader.read() == b""
    await cleanup
    await client.shut()


async def test_what_nobody_read_before_the_handshake_counts_against_a_slow_reader(
    serve: Serve,
) -> None:
    async def fill(request: web.Request, response: web.StreamResponse) -> None:
        assert request.transport is not None
        while not request.protocol.writing_paused:  # as answers to requests before it would
            request.transport.write(bytes(65536))

    sockets = SocketsManager(limits=Limits(outbox_bytes=65536))
    app = application(sockets=sockets)
    app.on_response_prepare.append(fill)
    line = Unread((await serve(app)) / "stream")
    await line.connect()
    line.pause()
    while not sockets.sockets:  # noqa: ASYNC110 # the client cannot tell, it reads nothing
        await asyncio.sleep(0)
    (socket,) = sockets.sockets
    socket.connection.send(bytes(65536))
    assert socket.connection.queued_bytes > 65536
    await socket.connection.wait_closed()
    assert socket.connection.close_code == CloseCode.TOO_SLOW
    line.reset()


class Unread(Line):
    """Of which nothing is read."""
