"""The dialects over real sockets: MessagePack, JSON-RPC 2.0, and how one is chosen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from yarl import URL

from openapi.ws import Limits, RpcError, SocketsManager
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.raw import BINARY, TEXT, RawSocket, masked, message

Payload = dict[str, Any]

NOW = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)


class Speaking(Endpoint):
    """The same methods, whatever the connection speaks."""

    async def ws_rpc_echo(self, payload: Payload) -> Payload:
        return payload

    async def ws_rpc_add(self, payload: dict[str, int]) -> int:
        return sum(payload.values())

    async def ws_rpc_refuse(self, payload: Payload) -> None:
        raise RpcError(7, "no", data={"at": NOW, "raw": b"\x00\xff"}, retry_after=10)

    async def ws_rpc_count(self, payload: Payload) -> AsyncIterator[int]:
        for number in range(payload["to"]):
            yield number

    async def ws_rpc_hang(self, payload: Payload) -> None:
        await asyncio.Event().wait()

    async def ws_rpc_ask(self, payload: Payload) -> Any:
        return await self.call("confirm", payload, returns=dict[str, Any])

    async def ws_rpc_write(self, payload: Payload) -> None:
        await self.write({"at": NOW, "raw": b"\x00\xff", "big": 2**60})


@pytest.fixture
def sockets() -> SocketsManager:
    return SocketsManager()


@pytest.fixture
async def url(serve: Serve, sockets: SocketsManager) -> URL:
    return await serve(application(Speaking, sockets)) / "stream"


class PackedPeer(Peer):
    """A client that speaks MessagePack."""

    async def send(self, message: object) -> None:
        """Send bytes as they are, anything else as MessagePack."""
        await self.socket.send(
            message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
        )

    async def receive(self) -> dict[str, Any]:
        """The next frame, which is a binary message."""
        message = await self.socket.recv()
        assert isinstance(message, bytes)
        frame: dict[str, Any] = msgspec.msgpack.decode(message)
        return frame


@asynccontextmanager
async def packed_peer(url: URL) -> AsyncIterator[PackedPeer]:
    async with peer(url, subprotocols=["wsrpc.v1.msgpack"]) as client:
        assert client.socket.subprotocol == "wsrpc.v1.msgpack"
        yield PackedPeer(client.socket)


# MessagePack


async def test_a_packed_call_keeps_bytes_dates_and_long_integers(url: URL) -> None:
    payload = {"raw": b"\x00\xff", "at": NOW, "big": 2**63, "low": -(2**63), "text": "ä"}
    async with packed_peer(url) as client:
        assert await client.call("echo", payload) == payload
        assert await client.call("add", {"a": 2**53, "b": 1}) == 2**53 + 1


async def test_a_packed_call_gets_its_errors(url: URL) -> None:
    async with packed_peer(url) as client:
        assert await client.error("refuse") == {
            "code": 7,
            "message": "no",
            "data": {"at": NOW, "raw": b"\x00\xff"},
            "retry_after": 10,
        }
        assert (await client.error("add", {"a": "one"}))["errors"].keys() == {"a"}
        assert (await client.error("unknown"))["code"] == -32601
        for wrong, code in ((b"\xc1", -32700), (b"", -32700), ([1], -32600), ({"id": 1}, -32600)):
            await client.send(wrong)
            assert (await client.receive())["error"]["code"] == code
        assert await client.call("echo") == {}


async def test_a_packed_message_may_not_be_nested_too_deeply(url: URL) -> None:
    async with packed_peer(url) as client:
        call = msgspec.msgpack.encode({"id": 1, "method": "echo", "payload": None})[:-1]
        for depth in (70, 5000, 60_000):  # in arrays of one element, ending in null
            await client.send(call + b"\x81\xa1a" + b"\x91" * depth + b"\xc0")
            error = (await client.receive())["error"]
            assert (error["code"], error["data"]) == (-32007, {"limit": "json_depth", "max": 64})
        assert await client.call("echo") == {}


async def test_a_packed_stream_can_be_read_and_cancelled(url: URL) -> None:
    async with packed_peer(url) as client:
        await client.send({"id": "it", "method": "count", "payload": {"to": 3}})
        assert [await client.receive() for _ in range(4)] == [
            *({"id": "it", "method": "count", "item": n, "seq": n + 1} for n in range(3)),
            {"id": "it", "method": "count", "response": None},
        ]
        await client.send({"id": "it", "method": "hang"})
        await client.send({"id": "it", "cancel": True})
        assert (await client.receive())["error"]["code"] == -32006


async def test_the_server_asks_a_packed_client_with_bytes_and_dates(url: URL) -> None:
    async with packed_peer(url) as client:
        await client.send({"id": 1, "method": "ask", "payload": {"raw": b"\xff", "at": NOW}})
        asked = await client.receive()
        assert (asked["id"], asked["payload"]) == ("s1", {"raw": b"\xff", "at": NOW})
        await client.send({"id": "s1", "response": {"raw": b"\x00", "at": NOW}})
        assert (await client.receive())["response"] == {"raw": b"\x00", "at": NOW}


async def test_an_endpoint_writes_in_the_format_of_its_socket(url: URL) -> None:
    async with packed_peer(url) as packed, peer(url) as plain:
        for client in (packed, plain):
            await client.call("write")
        assert packed.messages == [{"at": NOW, "raw": b"\x00\xff", "big": 2**60}]
        assert plain.messages == [
            {"at": "2024-02-29T12:30:15.123456Z", "raw": "AP8=", "big": 2**60}
        ]


async def test_what_a_packed_client_publishes_reaches_both_kinds(url: URL) -> None:
    async with packed_peer(url) as packed, packed_peer(url) as other, peer(url) as plain:
        clients = (packed, other, plain)
        for client in clients:
            await client.call("subscribe", {"channel": "c"})
        data = {"raw": b"\x00\xff", "at": NOW, "big": 2**60}
        await packed.call("publish", {"channel": "c", "event": "e", "data": data})
        for client in (packed, other):
            assert await client.message() == {"channel": "c", "event": "e", "data": data}
        assert await plain.message() == {
            "channel": "c",
            "event": "e",
            "data": {"raw": "AP8=", "at": "2024-02-29T12:30:15.123456Z", "big": 2**60},
        }


async def test_what_a_plain_client_publishes_reaches_both_kinds(url: URL) -> None:
    async with packed_peer(url) as packed, peer(url) as plain:
        for client in (packed, plain):
            await client.call("subscribe", {"channel": "c"})
        data = {"text": "ä", "list": [1, 2.5, None, True], "big": 2**60}
        await plain.call("publish", {"channel": "c", "event": "e", "data": data})
        for client in (packed, plain):
            assert await client.message() == {"channel": "c", "event": "e", "data": data}


async def test_what_only_one_dialect_can_say_harms_no_subscriber(
    url: URL, sockets: SocketsManager
) -> None:
    async with packed_peer(url) as packed, peer(url) as plain:
        for client in (packed, plain):
            await client.call("subscribe", {"channel": "c"})
        error = await plain.error("publish", {"channel": "c", "data": 2**70})
        assert error["code"] == -32602
        await packed.call("publish", {"channel": "c", "data": {1: 2}})
        for client in (packed, plain):  # the names in an object are strings
            assert (await client.message())["data"] == {"1": 2}
        assert len(sockets.sockets) == 2


@pytest.mark.parametrize("subprotocol", ["wsrpc.v1.json", "jsonrpc2.0", None])
async def test_a_binary_message_on_a_text_connection_closes_it(url: URL, subprotocol: Any) -> None:
    offered = [subprotocol] if subprotocol else None
    async with peer(url, subprotocols=offered) as client:
        await client.socket.send(b"{}")
        assert await client.closed() == (1003, "this connection speaks text messages")


async def test_a_text_message_on_a_packed_connection_closes_it(url: URL) -> None:
    async with packed_peer(url) as client:
        await client.call("echo")
        await client.socket.send("{}")
        assert await client.closed() == (1003, "this connection speaks binary messages")


async def test_every_packed_frame_is_a_binary_message_and_every_other_a_text_message(
    url: URL, sockets: SocketsManager
) -> None:
    def packed(frame: object) -> bytes:
        return masked(BINARY, msgspec.msgpack.encode(frame))

    plain = await RawSocket.open(url)
    plain.writer.write(message({"id": 1, "method": "subscribe", "payload": {"channel": "c"}}))
    assert (await plain.frame())[0] == TEXT
    async with packed_peer(url) as client:
        await client.call("subscribe", {"channel": "c"})
        drain = asyncio.create_task(sockets.drain())
        assert (await plain.frame())[0] == TEXT  # $reconnect
        assert (await client.receive())["event"] == "$reconnect"
        assert (await client.closed())[0] == 1012
    plain.writer.close()
    await plain.shut()
    await drain


# JSON-RPC 2.0


def request(method: str, params: object = None, **members: object) -> Payload:
    frame = {"jsonrpc": "2.0", "method": method, **members}
    return frame if params is None else {**frame, "params": params}


CHOSEN = pytest.mark.parametrize("offered", [["jsonrpc2.0"], None], ids=["offered", "first"])


@CHOSEN
async def test_json_rpc_is_spoken_where_it_is_offered_and_where_the_first_message_is_of_it(
    url: URL, offered: Any
) -> None:
    async with peer(url, subprotocols=offered) as client:
        await client.send(request("add", {"a": 1, "b": 2}, id=1))
        assert await client.receive() == {"jsonrpc": "2.0", "result": 3, "id": 1}
        await client.send(request("add", {"a": "x"}, id="two"))
        answer = await client.receive()
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", "two")
        assert answer["error"]["code"] == -32602
        assert answer["error"]["data"] == {"errors": {"a": "expected `int`, got `str`"}}
        await client.send(request("echo"))  # a notification
        await client.send(request("refuse", id=None))
        assert (await client.receive())["id"] is None


async def test_the_first_message_alone_tells_the_dialect(url: URL) -> None:
    async with peer(url) as client:
        assert await client.call("echo", {"a": 1}) == {"a": 1}
        await client.send(request("echo", {"b": 2}, id=7))
        answer = await client.receive()
        assert answer == {"id": 7, "method": "echo", "response": {}}  # a native frame still
    async with peer(url) as client:
        await client.send(request("echo", id=1))
        await client.receive()
        await client.send({"id": 2, "method": "echo"})
        assert (await client.receive())["error"]["code"] == -32600
    async with peer(url, subprotocols=["wsrpc.v1.json"]) as client:
        await client.send(request("echo", id=1))
        assert "response" in await client.receive()  # it was chosen already


@CHOSEN
async def test_a_published_message_comes_as_an_event(
    url: URL, sockets: SocketsManager, offered: Any
) -> None:
    async with peer(url, subprotocols=offered) as client:
        await client.send(request("subscribe", {"channel": "c"}, id=1))
        assert (await client.receive())["result"] == {"subscribed": {"c": ["*"]}}
        await sockets.publish("c", "e", {"a": [1]})
        assert await client.receive() == {
            "jsonrpc": "2.0",
            "method": "event",
            "params": {"channel": "c", "event": "e", "data": {"a": [1]}},
        }


@CHOSEN
async def test_a_batch_is_answered_in_one_message_before_the_messages_of_its_subscriptions(
    serve: Serve, offered: Any
) -> None:
    class Waiting(Speaking):
        async def ws_rpc_wait(self, payload: Payload) -> str:
            await self.sockets.publish("c", "early", 1)  # subscribed, and not yet answered
            await gate.wait()
            return "waited"

    gate = asyncio.Event()
    url = await serve(application(Waiting)) / "stream"
    async with peer(url, subprotocols=offered) as client, peer(url) as other:
        await client.send(
            [
                request("subscribe", {"channel": "c"}, id=1),
                request("wait", id=2),
                request("echo", {"a": 1}),
                request("unknown", id=3),
            ]
        )
        await other.call("publish", {"channel": "c", "event": "other", "data": 2})
        gate.set()
        answers: Any = await client.receive()
        assert {answer["id"] for answer in answers} == {1, 2, 3}
        events = [(await client.receive())["params"]["event"] for _ in range(2)]
        assert events == ["early", "other"]


@CHOSEN
async def test_messages_wait_for_the_answer_of_a_batch_and_not_for_what_a_cancelled_call_cleans_up(
    serve: Serve, offered: Any
) -> None:
    class Slow(Speaking):
        async def ws_rpc_clean(self, payload: Payload) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await cleaned.wait()

    cleaned = asyncio.Event()
    url = await serve(application(Slow)) / "stream"
    async with peer(url, subprotocols=offered) as client, peer(url) as other:
        await client.send([request("subscribe", {"channel": "c"}, id=1), request("clean", id=2)])
        await client.send(request("$/cancelRequest", {"id": 2}))
        answers: Any = await client.receive()
        assert {answer["id"] for answer in answers} == {1, 2}
        await other.call("publish", {"channel": "c", "event": "soon", "data": 1})
        assert (await client.receive())["params"]["event"] == "soon"
        cleaned.set()


@CHOSEN
async def test_a_json_rpc_stream_is_notified_item_by_item_and_can_be_cancelled(
    url: URL, offered: Any
) -> None:
    async with peer(url, subprotocols=offered) as client:
        await client.send(request("count", {"to": 2}, id="it"))
        assert [await client.receive() for _ in range(3)] == [
            request("rpc.item", {"id": "it", "seq": 1, "item": 0}),
            request("rpc.item", {"id": "it", "seq": 2, "item": 1}),
            {"jsonrpc": "2.0", "result": None, "id": "it"},
        ]
        await client.send(request("hang", id="it"))
        await client.send(request("$/cancelRequest", {"id": "it"}))
        assert (await client.receive())["error"]["code"] == -32006


@CHOSEN
async def test_the_server_asks_a_json_rpc_client(url: URL, offered: Any) -> None:
    async with peer(url, subprotocols=offered) as client:
        await client.send(request("ask", {"a": 1}, id=1))
        asked = await client.receive()
        assert (asked["jsonrpc"], asked["id"], asked["method"]) == ("2.0", "s1", "confirm")
        assert asked["params"] == {"a": 1}
        await client.send({"jsonrpc": "2.0", "id": "s1", "result": {"b": 2}})
        assert (await client.receive())["result"] == {"b": 2}
        await client.send([request("ask", {"a": 1}, id=1)])
        id = (await client.receive())["id"]
        error = {"code": 5, "message": "no"}
        await client.send([{"jsonrpc": "2.0", "id": id, "error": error}])
        answers: Any = await client.receive()
        (answer,) = answers
        assert answer["error"]["code"] == -32603  # the client's error is not the server's


@CHOSEN
async def test_a_json_rpc_client_is_told_of_the_shutdown(
    url: URL, sockets: SocketsManager, offered: Any
) -> None:
    async with peer(url, subprotocols=offered) as client:
        await client.send(request("echo", id=1))
        await client.receive()
        drain = asyncio.create_task(sockets.drain())
        notice = await client.receive()
        assert (notice["jsonrpc"], notice["method"]) == ("2.0", "event")
        assert notice["params"]["event"] == "$reconnect"
        assert (await client.closed())[0] == 1012
        await drain


async def test_a_message_reaches_each_in_its_dialect(url: URL, sockets: SocketsManager) -> None:
    async with (
        packed_peer(url) as packed,
        peer(url) as plain,
        peer(url, subprotocols=["jsonrpc2.0"]) as rpc,
        peer(url, subprotocols=["wsrpc.v1.json"]) as named,
    ):
        for client in (packed, plain, named):
            await client.call("subscribe", {"channel": "c"})
        await rpc.send(request("subscribe", {"channel": "c"}, id=1))
        await rpc.receive()
        for number in range(20):
            await sockets.publish("c", "e", {"at": NOW, "n": number})
        text = "2024-02-29T12:30:15.123456Z"
        for number in range(20):
            assert (await packed.receive())["data"] == {"at": NOW, "n": number}
            for client in (plain, named):
                assert (await client.receive())["data"] == {"at": text, "n": number}
            assert (await rpc.receive())["params"]["data"] == {"at": text, "n": number}


async def test_an_endpoint_with_a_text_format_of_its_own_speaks_only_that(serve: Serve) -> None:
    class Own(Speaking):
        def decode_message(self, msg: str) -> Any:
            return super().decode_message(msg[1:])

        def encode_message(self, msg: Any) -> str:
            return "!" + super().encode_message(msg)

    url = await serve(application(Own, SocketsManager(limits=Limits()))) / "stream"
    offered: Any = ["wsrpc.v1.msgpack", "jsonrpc2.0", "wsrpc.v1.json"]
    async with peer(url, subprotocols=offered) as client:
        assert client.socket.subprotocol == "wsrpc.v1.json"
        await client.send('!{"jsonrpc": "2.0", "id": 1, "method": "add", "payload": {"a": 1}}')
        assert await client.socket.recv() == '!{"id":1,"method":"add","response":1}'
        await client.send('!{"id": 2, "method": "ask"}')
        asked = await client.socket.recv()
        assert isinstance(asked, str)
        assert asked.startswith('!{"id":"s1","method":"confirm"')
        await client.send('!{"id": "s1", "response": {"a": 1}}')
        assert await client.socket.recv() == '!{"id":2,"method":"ask","response":{"a":1}}'
