"""The endpoint: what it accepts, what it refuses, what a class may declare and override."""

import asyncio
from types import new_class
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from openapi.errors import DeclarationError, RpcError, Unserializable
from openapi.spec import ApiPath
from openapi.ws import SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import peer
from tests.ws.raw import HANDSHAKE, RawSocket, message


@pytest.fixture
async def url(serve: Serve) -> URL:
    return await serve(application()) / "stream"


async def get(url: URL, **headers: str) -> tuple[int, Any, dict[str, str]]:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers=upgrade | named) as response:
            body = await response.json() if response.status >= 400 else None
            return response.status, body, dict(response.headers)


async def test_a_plain_get_is_answered_with_400(url: URL) -> None:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 400
        assert response.content_type == "application/json"
        assert await response.json() == {"message": "Unable to open websocket connection"}


@pytest.mark.parametrize("version", ["7", "8", "12", "14", "", "13, 8"])
async def test_every_other_version_of_the_protocol_is_refused(url: URL, version: str) -> None:
    status, body, headers = await get(url, Sec_WebSocket_Version=version)
    assert status == 426
    assert "13" in body["message"]
    assert headers["Sec-WebSocket-Version"] == "13"


async def test_a_websocket_needs_http_1_1(url: URL) -> None:
    reader, writer = await asyncio.open_connection(url.host, url.port)
    handshake = HANDSHAKE.format(path=url.path, host=url.host, port=url.port)
    writer.write(handshake.replace("HTTP/1.1", "HTTP/1.0").encode())
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_page_of_the_same_origin_may_connect(url: URL) -> None:
    async with peer(url, origin=f"http://{url.host}:{url.port}") as client:
        assert (await client.call("info"))["connections"] == 1


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_page_of_another_origin_is_refused(url: URL, origin: str) -> None:
    status, body, _ = await get(url, Origin=origin)
    assert status == 403
    assert "Origin" in body["message"]


async def test_behind_a_proxy_the_origin_is_the_one_that_the_browser_sees(url: URL) -> None:
    forwarded = {
        "X-Forwarded-Proto": "https, http",
        "X-Forwarded-Host": "example.com, inner",
        "X-Forwarded-Port": "8443",
    }
    origin = "https://example.com:8443"
    async with peer(url, origin=origin, additional_headers=forwarded) as client:
        assert (await client.call("info"))["connections"] == 1


async def test_an_allow_list_is_exact(serve: Serve) -> None:
    sockets = SocketsManager(origins=["https://example.com"])
    url = await serve(application(sockets=sockets)) / "stream"
    async with peer(url, origin="https://example.com") as client:
        await client.call("info")
    for origin in (f"http://{url.host}:{url.port}", "https://example.com.evil.example"):
        assert (await get(url, Origin=origin))[0] == 403


async def test_the_first_known_subprotocol_is_selected(url: URL) -> None:
    async with peer(url, subprotocols=["unknown", "wsrpc.v1.json"]) as client:
        assert client.socket.subprotocol == "wsrpc.v1.json"
        await client.call("info")


async def test_no_subprotocol_is_selected_where_none_is_known(url: URL) -> None:
    async with peer(url, subprotocols=["unknown"]) as client:
        assert client.socket.subprotocol is None


async def test_bytes_right_behind_the_handshake_are_not_lost(url: URL) -> None:
    socket = await RawSocket.open(url, behind=message({"id": 7, "method": "info"}))
    assert (await socket.receive())["id"] == 7
    await socket.shut()


async def test_while_the_server_shuts_down_connections_are_refused(serve: Serve) -> None:
    app = application()
    url = await serve(app) / "stream"
    await app[MANAGER].drain()
    status, body, headers = await get(url)
    assert (status, body) == (503, {"message": "The server is shutting down"})
    assert int(headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    "bases",
    [
        (ApiPath, WsPathMixin, Subscribe, Publish),
        (WsPathMixin, Publish, Subscribe, ApiPath),
        (Publish, Subscribe, ApiPath, WsPathMixin),
        (WsPathMixin,),
    ],
)
async def test_the_order_of_the_bases_is_free(serve: Serve, bases: tuple[type, ...]) -> None:
    async def ws_rpc_echo(self: Any, payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    def body(namespace: dict[str, Any]) -> None:
        namespace["ws_rpc_echo"] = ws_rpc_echo

    endpoint = new_class("Any", bases, exec_body=body)
    url = await serve(application(endpoint)) / "stream"
    async with peer(url) as client:
        assert await client.call("echo", {"a": [1]}) == {"a": [1]}
        if Publish in bases:
            await client.call("subscribe", {"channel": "c"})
            await client.call("publish", {"channel": "c", "data": 1})
            assert (await client.message())["data"] == 1


def test_two_methods_of_one_name_are_refused_when_the_class_is_defined() -> None:
    with pytest.raises(DeclarationError) as refusal:

        class Twice(WsPathMixin):
            async def ws_rpc_a(self, payload: dict[str, Any]) -> None: ...

            async def ws_rpc_a(self, payload: dict[str, Any]) -> None: ...  # type: ignore[no-redef] # noqa: F811

    assert str(refusal.value) == "Twice.ws_rpc_a: there are two methods of this name"


async def test_an_endpoint_without_a_manager_says_what_to_do(serve: Serve) -> None:
    app = web.Application()
    app.router.add_view("/stream", Endpoint)
    said: list[str] = []

    @web.middleware
    async def listen(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except LookupError as exc:
            said.append(str(exc))
            raise web.HTTPInternalServerError from exc
        return response

    app.middlewares.append(listen)
    url = await serve(app) / "stream"
    assert (await _status(url)) == 500
    assert said == ["Endpoint finds no manager: set app['web_sockets'] = SocketsManager()"]


async def _status(url: URL) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


def test_a_mixin_alone_is_no_endpoint() -> None:
    with pytest.raises(TypeError, match="Publish is no endpoint: derive it from WsPathMixin"):
        _ = Publish().sockets


async def test_before_it_is_accepted_nothing_can_be_sent() -> None:
    endpoint = Endpoint(make_mocked_request("GET", "/stream"))
    for send in (endpoint.call("ask"), endpoint.notify("tell"), endpoint.write({})):
        with pytest.raises(RuntimeError, match="Endpoint has no connection: nothing can be sent"):
            await send


async def test_the_manager_may_stand_under_a_typed_key(serve: Serve) -> None:
    class Typed(Endpoint):
        SOCKETS_KEY = MANAGER

    app = web.Application()
    app[MANAGER] = SocketsManager()
    app.router.add_view("/stream", Typed)
    async with peer(await serve(app) / "stream") as client:
        assert (await client.call("info"))["connections"] == 1


async def test_an_endpoint_may_speak_a_text_format_of_its_own(serve: Serve) -> None:
    class Reversed(Endpoint):
        def decode_message(self, msg: str) -> Any:
            return super().decode_message(msg[::-1])

        def encode_message(self, msg: Any) -> str:
            return super().encode_message(msg)[::-1]

    url = await serve(application(Reversed)) / "stream"
    async with peer(url) as client:
        await client.send('{"id": 1, "method": "subscribe", "payload": {"channel": "c"}}'[::-1])
        answer = await client.socket.recv()
        assert isinstance(answer, str)
        assert answer[::-1].endswith('"response":{"subscribed":{"c":["*"]}}}')
        await client.send("no message")
        assert "JSON string expected" in str(await client.socket.recv())[::-1]


async def test_an_endpoint_may_write_and_close_by_itself(serve: Serve) -> None:
    class Talker(WsPathMixin):
        async def ws_rpc_talk(self, payload: dict[str, Any]) -> None:
            await self.write({"hello": str(self)})
            try:
                await self.write({"hello": object()})
            except Unserializable as exc:
                raise RpcError(7, "no JSON") from exc

        async def ws_rpc_leave(self, payload: dict[str, Any]) -> None:
            await self.close(4504, "enough")

    app = application(Talker)
    url = await serve(app) / "stream"
    async with peer(url) as client:
        await client.send({"id": 1, "method": "talk"})
        (socket,) = app[MANAGER].sockets
        assert await client.receive() == {"hello": socket.socket_id}
        assert len(socket.socket_id) >= 20
        assert socket.started > 0
        assert (await client.receive())["error"] == {"code": 7, "message": "no JSON"}
        await client.send({"id": 2, "method": "leave"})
        assert await client.closed() == (4504, "enough")


async def test_code_behind_get_runs_when_the_socket_is_closed(serve: Serve) -> None:
    ended = asyncio.Event()

    class Counted(Endpoint):
        async def get(self) -> web.StreamResponse:
            try:
                return await super().get()
            finally:
                assert self not in self.sockets.sockets
                ended.set()

    url = await serve(application(Counted)) / "stream"
    async with peer(url) as client:
        await client.call("info")
        assert not ended.is_set()
    await ended.wait()
