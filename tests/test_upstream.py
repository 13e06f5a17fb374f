"""What was wrong in aio-openapi 3.2.1, one test for each: the number is in the docstring."""

import asyncio
import importlib.metadata
import json
import re
import socket
import subprocess
import sys
import types
import warnings
from collections.abc import Awaitable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import aiohttp
import pytest
from aiohttp import web
from msgspec import Meta
from openapi_spec_validator import validate
from websockets.asyncio.client import connect as foreign_connect

from openapi.client import connect
from openapi.errors import DeclarationError, ErrorCode
from openapi.protocol.frames import Message
from openapi.protocol.methods import MethodTable
from openapi.protocol.native import NativeCodec
from openapi.protocol.patterns import Pattern
from openapi.schema import Schema
from openapi.spec import Documents
from openapi.ws import Broker, Limits, RpcError, SocketsManager, WsPathMixin, ws_rpc
from openapi.ws.broker import Deliver
from openapi.ws.delivery import Delivery
from openapi.ws.pubsub import Publish, Subscribe
from openapi.ws.subscriber import Subscriber
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer

ROOT = Path(__file__).parents[1]


class Gate:
    """What a handler waits at until the test lets it through."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def wait(self) -> None:
        """Stand at the gate."""
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@dataclass
class Float:
    """A float."""

    x: float


@dataclass
class Number:
    """An integer."""

    n: int


@dataclass
class Items:
    """A list of integers."""

    items: list[Number]


class Handlers(WsPathMixin, Publish, Subscribe):
    """What upstream answered wrongly, or died of."""

    async def ws_rpc_missing(self, payload: dict[str, Any]) -> Any:
        return payload["missing"]

    async def ws_rpc_raise(self, payload: dict[str, Any]) -> None:
        errors = {"RuntimeError": RuntimeError, "TimeoutError": TimeoutError}
        errors["ConnectionResetError"] = ConnectionResetError
        raise errors[payload["error"]]("a secret")

    async def ws_rpc_refuse(self, payload: dict[str, Any]) -> None:
        raise RpcError(payload["code"], "no")

    async def ws_rpc_cancel(self, payload: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    async def ws_rpc_wait(self, payload: dict[str, Any]) -> None:
        await self.request.app[GATE].wait()

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        return payload

    async def ws_rpc_float(self, payload: Float) -> Any:
        return payload.x

    @ws_rpc(body_schema=Float)
    async def ws_rpc_documented(self, payload: dict[str, Any]) -> Any:
        return payload

    async def ws_rpc_number(self, payload: Number) -> Any:
        return payload.n

    async def ws_rpc_items(self, payload: Items) -> Any:
        return len(payload.items)


GATE = web.AppKey("gate", Gate)


class Departures(SocketsManager):
    """Says when a socket is gone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gone = asyncio.Event()

    def remove(self, ws: Any) -> None:
        super().remove(ws)
        self.gone.set()


async def start(
    serve: Serve, endpoint: type[web.View] = Handlers, sockets: SocketsManager | None = None
) -> tuple[Any, Gate]:
    """Serve an endpoint; its URL, and the gate that its handlers wait at."""
    app = application(endpoint, sockets)
    app[GATE] = gate = Gate()
    return (await serve(app)) / "stream", gate


class Inbox:
    """A channel callback that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []

    async def __call__(self, channel: str, event: str, data: Any) -> None:
        self.messages.append((event, data))


async def test_the_manager_of_the_documented_example_publishes_and_subscribes(
    serve: Serve,
) -> None:
    """Row 1."""
    url, _ = await start(serve, Endpoint)
    async with peer(url) as alice, peer(url) as bob:
        assert await alice.call("subscribe", {"channel": "a"}) == {"subscribed": {"a": ["*"]}}
        await bob.call("publish", {"channel": "a", "event": "e", "data": 1})

        assert await alice.message() == {"channel": "a", "event": "e", "data": 1}


@pytest.mark.parametrize(
    ("method", "payload"),
    [
        ("missing", {}),
        ("raise", {"error": "RuntimeError"}),
        ("raise", {"error": "TimeoutError"}),
        ("raise", {"error": "ConnectionResetError"}),
        ("refuse", {"code": "NOT_FOUND"}),
    ],
)
async def test_a_handler_that_fails_answers_an_error_and_the_connection_lives_on(
    serve: Serve, method: str, payload: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Row 2."""
    url, _ = await start(serve)
    async with peer(url) as client:
        error = await client.error(method, payload)

        assert (error["code"], error["message"]) == (ErrorCode.INTERNAL_ERROR, "Internal error")
        assert "secret" not in json.dumps(error)
        assert error["data"]["error_id"] in caplog.text
        assert await client.call("echo", {"x": 1}) == {"x": 1}


async def test_cancelling_is_not_swallowed(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Row 3: a call is cancelled with its connection, sees it, and that is no failure."""
    sockets = Departures()
    url, gate = await start(serve, sockets=sockets)
    async with peer(url) as client:
        await client.send({"id": 1, "method": "wait"})
        await gate.entered.wait()
        assert not gate.cancelled.is_set()

    await gate.cancelled.wait()
    await sockets.gone.wait()
    assert sockets.server_info()["connections"] == 0
    assert not gate.open.is_set()
    assert caplog.messages == []


async def test_a_handler_that_raises_cancelled_error_by_itself_ends_nothing_but_its_call(
    serve: Serve,
) -> None:
    """Row 3."""
    url, _ = await start(serve)
    async with peer(url) as client:
        assert (await client.error("cancel"))["code"] == ErrorCode.INTERNAL_ERROR
        assert await client.call("echo") == {}


async def test_calls_of_one_connection_run_side_by_side(serve: Serve) -> None:
    """Row 4: and meanwhile pings are answered, and a close is seen."""
    url, gate = await start(serve)
    async with peer(url) as client:
        await client.send({"id": "slow", "method": "wait"})
        await gate.entered.wait()

        assert await client.call("echo", {"x": 1}) == {"x": 1}
        await (await client.socket.ping())
        gate.open.set()
        assert await client.receive() == {"id": "slow", "method": "wait", "response": None}


async def test_a_notification_runs_without_an_answer(serve: Serve) -> None:
    """Row 5."""
    url, gate = await start(serve)
    gate.open.set()
    async with peer(url) as client:
        await client.send({"id": None, "method": "wait"})
        await gate.entered.wait()
        assert await client.call("echo") == {}
    assert client.messages == []


async def test_a_call_can_be_cancelled_and_can_have_a_deadline(serve: Serve) -> None:
    """Row 5."""
    url, gate = await start(serve)
    async with peer(url) as client:
        await client.send({"id": 1, "method": "wait"})
        await gate.entered.wait()
        await client.send({"id": 1, "cancel": True})
        cancelled = await client.receive()
        await gate.cancelled.wait()
        await client.send({"id": 2, "method": "wait", "timeout": 1})
        expired = await client.receive()

    assert (cancelled["id"], cancelled["error"]["code"]) == (1, ErrorCode.CANCELLED)
    assert (expired["id"], expired["error"]["code"]) == (2, ErrorCode.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("pattern", ["(", "[", "+", "\\", "a\\b", "(?P<", "*" * 100, "[!", "[a-"])
async def test_no_pattern_harms_the_connection(serve: Serve, pattern: str) -> None:
    """Row 6."""
    url, _ = await start(serve)
    async with peer(url) as client:
        subscribed = await client.call("subscribe", {"channel": "c", "event": pattern})

        assert subscribed == {"subscribed": {"c": [pattern]}}
        await client.call("publish", {"channel": "c", "event": pattern, "data": 1})
        assert await client.message() == {"channel": "c", "event": pattern, "data": 1}


def test_a_pattern_of_many_stars_blocks_nobody() -> None:
    """Row 7: with a backtracking matcher this does not end before the sun does."""
    assert not Pattern("*a" * 127 + "b").matches("a" * 255)
    assert Pattern("*a" * 127 + "*").matches("a" * 255)


@pytest.mark.parametrize(
    ("pattern", "event", "matches"),
    [
        ("a.b", "axb", False),
        ("a.b", "a.b", True),
        ("a+b", "a+b", True),
        ("a+b", "aab", False),
        ("a|zzz", "abc", False),
        ("a|zzz", "a|zzz", True),
        ("foo", "foo\n", False),
        ("foo", "foobar", False),
        ("*", "a\nb", True),
        ("^a$", "a", False),
        ("a?c", "a\nc", True),
    ],
)
async def test_everything_in_a_pattern_but_its_own_signs_is_literal(
    pattern: str, event: str, matches: bool
) -> None:
    """Row 8: and the name of the event arrives as it was published."""
    sockets, inbox = SocketsManager(), Inbox()
    await sockets.channels.register("c", pattern, inbox)

    await sockets.publish("c", event, 1)

    assert inbox.messages == ([(event, 1)] if matches else [])


async def test_every_matching_subscription_gets_the_message(serve: Serve) -> None:
    """Row 9."""
    url, _ = await start(serve)
    async with peer(url) as first, peer(url) as second:
        await first.call("subscribe", {"channel": "c", "event": "task.*"})
        await second.call("subscribe", {"channel": "c", "event": "task.done"})
        await first.call("publish", {"channel": "c", "event": "task.done", "data": 1})

        for client in (first, second):
            assert await client.message() == {"channel": "c", "event": "task.done", "data": 1}


async def test_the_subscriptions_of_a_connection_go_with_it(serve: Serve) -> None:
    """Row 10."""
    sockets = Departures()
    url, _ = await start(serve, sockets=sockets)
    async with peer(url) as client:
        await client.call("subscribe", {"channel": "c", "event": "e1"})
        await client.call("subscribe", {"channel": "c", "event": "e2"})
        client.socket.transport.abort()
        await sockets.gone.wait()

        assert sockets.server_info() == {"connections": 0, "channels": {}}


class Slow(SocketsManager):
    """Takes its time to subscribe to a channel and to unsubscribe from it."""

    def __init__(self) -> None:
        super().__init__()
        self.subscribing, self.unsubscribing = Gate(), Gate()
        self.carried: set[str] = set()

    async def subscribe(self, channel: str) -> None:
        await self.subscribing.wait()
        self.carried.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        await self.unsubscribing.wait()
        self.carried.discard(channel)


async def test_of_two_first_subscribers_at_once_none_is_lost() -> None:
    """Row 11."""
    sockets = Slow()
    both = [asyncio.create_task(sockets.channels.register("c", "*", Inbox())) for _ in range(2)]
    await sockets.subscribing.entered.wait()
    sockets.subscribing.open.set()
    await asyncio.gather(*both)

    assert sockets.channels.info() == {"c": {"*": 2}}


async def test_who_subscribes_while_the_last_one_leaves_is_subscribed() -> None:
    """Row 12."""
    sockets, first, second = Slow(), Inbox(), Inbox()
    sockets.subscribing.open.set()
    await sockets.channels.register("c", "*", first)

    leaving = asyncio.create_task(sockets.channels.unregister("c", "*", first))
    await sockets.unsubscribing.entered.wait()
    coming = asyncio.create_task(sockets.channels.register("c", "*", second))
    sockets.unsubscribing.open.set()
    await asyncio.gather(leaving, coming)

    assert sockets.channels.info() == {"c": {"*": 1}}
    assert sockets.carried == {"c"}
    await sockets.channels("c", {"event": "e", "data": 1})
    assert second.messages == [("e", 1)]


async def test_unsubscribing_twice_at_once_harms_nobody(serve: Serve) -> None:
    """Row 13."""
    sockets = Slow()
    sockets.subscribing.open.set()
    url, _ = await start(serve, sockets=sockets)
    async with peer(url) as client:
        await client.call("subscribe", {"channel": "c"})
        for id in ("x", "y"):
            await client.send({"id": id, "method": "unsubscribe", "payload": {"channel": "c"}})
        sockets.unsubscribing.open.set()
        done = await client.receive()
        refused = await client.receive()

        assert refused["error"]["errors"] == {"channel": "Invalid channel"}
        assert done["response"] == {"subscribed": {}}
        assert await client.call("echo") == {}


async def test_a_slow_consumer_holds_up_nobody_and_is_sent_away(serve: Serve) -> None:
    """Rows 14 and 15: what waits for it is bounded, and past the bound it is closed."""
    sockets = Departures()
    url, _ = await start(serve, sockets=sockets)
    slow_socket = socket.create_connection((url.host, url.port))
    slow_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with (
        foreign_connect(
            str(url.with_scheme("ws")), sock=slow_socket, compression=None, max_queue=1
        ) as slow,
        peer(url) as client,
    ):
        reads_slowly = Peer(slow)
        await reads_slowly.call("subscribe", {"channel": "busy"})
        await client.call("subscribe", {"channel": "other"})
        data = "x" * 60_000
        while not sockets.gone.is_set():
            await client.call("publish", {"channel": "busy", "event": "e", "data": data})
            assert max(ws.connection.queued_bytes for ws in sockets.sockets) <= 1024 * 1024
        await client.call("publish", {"channel": "other", "event": "e", "data": 2})

        assert await client.message() == {"channel": "other", "event": "e", "data": 2}
        assert sockets.server_info() == {"connections": 1, "channels": {"other": {"*": 1}}}


async def test_a_message_is_encoded_once_however_many_get_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 16."""
    encoded: list[Any] = []
    encode = NativeCodec.encode

    def counting(self: NativeCodec, frame: Any) -> bytes:
        encoded.append(frame)
        return encode(self, frame)

    monkeypatch.setattr(NativeCodec, "encode", counting)
    url, _ = await start(serve)
    async with peer(url) as a, peer(url) as b, peer(url) as c:
        for client in (a, b, c):
            await client.call("subscribe", {"channel": "c"})
        await a.call("publish", {"channel": "c", "event": "e", "data": 1})
        for client in (a, b, c):
            assert await client.message() == {"channel": "c", "event": "e", "data": 1}

    assert len([frame for frame in encoded if isinstance(frame, Message)]) == 1


async def test_nobody_can_guess_the_id_of_a_socket(serve: Serve) -> None:
    """Row 17: 128 random bits each."""
    sockets = SocketsManager()
    url, _ = await start(serve, sockets=sockets)
    async with peer(url) as first, peer(url) as second:
        await first.call("echo")
        await second.call("echo")
        ids = {str(ws) for ws in sockets.sockets}

    assert len(ids) == 2
    assert all(len(id) >= 22 for id in ids)


async def test_a_page_of_a_foreign_origin_cannot_connect(serve: Serve) -> None:
    """Row 18, and that the row's other options are there."""
    url, _ = await start(serve)
    with pytest.raises(Exception, match="HTTP 403"):
        async with peer(url, origin="https://evil.example"):
            pass

    limits = {field.name for field in fields(Limits)}
    assert {"ping_interval", "pong_timeout", "message_bytes"} <= limits
    assert SocketsManager(deflate=True, origins=["https://example.com"]).deflate
    async with peer(url, subprotocols=["wsrpc.v1.json"]) as client:
        assert client.socket.subprotocol == "wsrpc.v1.json"


class Guarded(WsPathMixin, Publish, Subscribe):
    """Lets some in."""

    async def ws_rpc_publish(self, payload):  # type: ignore[no-untyped-def] # as users write it
        if self.request.query.get("user") != "admin":
            raise RpcError(ErrorCode.NOT_ALLOWED, "only the admin publishes")
        return await super().ws_rpc_publish(payload)


async def test_an_endpoint_can_refuse_by_who_is_connected(serve: Serve) -> None:
    """Row 19: an override knows the socket and its request, and keeps the types."""
    url, _ = await start(serve, Guarded)
    async with peer(url) as visitor, peer(url.with_query(user="admin")) as admin:
        message = {"channel": "c", "event": "e", "data": 1}
        assert (await visitor.error("publish", message))["code"] == ErrorCode.NOT_ALLOWED
        assert await admin.call("publish", message) == message
        assert (await admin.error("publish"))["errors"] == {
            "channel": "required",
            "data": "required",
        }


async def test_floats_are_floats(serve: Serve) -> None:
    """Row 20: for typed fields, and without types."""
    url, _ = await start(serve)
    async with peer(url) as client:
        assert await client.call("float", {"x": 1.5}) == 1.5
        assert await client.call("float", {"x": 1}) == 1.0
        assert await client.call("documented", {"x": 1.5}) == {"x": 1.5}
        assert await client.call("echo", {"x": 1.5}) == {"x": 1.5}


@pytest.mark.parametrize("method", ["float", "documented"])
async def test_a_bool_is_no_number_and_unknown_fields_are_refused(
    serve: Serve, method: str
) -> None:
    """Row 21."""
    url, _ = await start(serve)
    async with peer(url) as client:
        assert (await client.error("number", {"n": True}))["errors"] == {
            "n": "expected `int`, got `bool`"
        }
        assert (await client.error(method, {"x": True, "y": 2}))["errors"] == {
            "x": "expected `float`, got `bool`",
            "y": "unknown field",
        }


async def test_every_faulty_item_of_a_list_is_named_with_its_index(serve: Serve) -> None:
    """Row 22."""
    url, _ = await start(serve)
    async with peer(url) as client:
        error = await client.error("items", {"items": [{"n": 1}, {"n": "x"}, {}]})

    assert error["errors"] == {"items[1].n": "expected `int`, got `str`", "items[2].n": "required"}


async def test_the_string_null_is_a_string(serve: Serve) -> None:
    """Row 23."""
    url, _ = await start(serve)
    async with peer(url) as client:
        await client.send({"id": "NULL", "method": "echo", "payload": {"NULL": "NULL"}})

        assert await client.receive() == {
            "id": "NULL",
            "method": "echo",
            "response": {"NULL": "NULL"},
        }


@pytest.mark.parametrize("data", [1, 1.5, True, None, "", [], {}])
async def test_anything_can_be_published_and_falsy_ids_come_back(serve: Serve, data: Any) -> None:
    """Row 24."""
    url, _ = await start(serve)
    async with peer(url) as client:
        await client.call("subscribe", {"channel": "c"})
        await client.call("publish", {"channel": "c", "event": "e", "data": data})
        assert await client.message() == {"channel": "c", "event": "e", "data": data}

        for id in ("", 0):
            await client.send({"id": id, "method": "nowhere"})
            assert (await client.receive())["id"] == id


async def test_no_event_is_the_empty_name_in_the_answer_and_in_the_message(serve: Serve) -> None:
    """Row 25."""
    url, _ = await start(serve)
    async with peer(url) as client:
        await client.call("subscribe", {"channel": "c"})
        answer = await client.call("publish", {"channel": "c", "event": None, "data": 1})

        assert answer == await client.message() == {"channel": "c", "event": "", "data": 1}


@dataclass
class Modern:
    """Types that upstream refused."""

    optional: int | None
    literal: Literal["a", "b"]
    constrained: Annotated[int, Meta(ge=1)]
    pair: tuple[int, str]
    unique: set[int]


def test_modern_types_are_types() -> None:
    """Row 26."""
    text = b'{"optional":null,"literal":"a","constrained":1,"pair":[1,"x"],"unique":[1,2]}'

    assert Schema(Modern).decode(text) == Modern(None, "a", 1, (1, "x"), {1, 2})


def test_annotations_may_be_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 26: ``from __future__ import annotations`` for fields and for methods."""
    module = types.ModuleType("postponed")
    monkeypatch.setitem(sys.modules, "postponed", module)
    source = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int | None\n"
        "class Methods:\n"
        "    async def ws_rpc_point(self, payload: Point) -> Point: ...\n"
    )
    exec(source, module.__dict__)

    payload = MethodTable.of(module.Methods)["point"].payload
    assert payload is not None
    assert payload.decode(b'{"x":5}').x == 5


def test_empty_values_of_a_result_are_sent() -> None:
    """Row 27."""

    @dataclass
    class Empty:
        tags: list[str]
        name: str
        zero: int = 0
        nothing: None = None

    assert Schema(Empty).dump(Empty([], "")) == {
        "tags": [],
        "name": "",
        "zero": 0,
        "nothing": None,
    }


async def test_a_binary_message_is_not_passed_over_in_silence(serve: Serve) -> None:
    """Row 28."""
    url, _ = await start(serve)
    async with peer(url) as client:
        await client.socket.send(b"{}")

        assert await client.closed() == (1003, "this connection speaks text messages")


async def test_deep_nesting_is_an_error_and_the_connection_lives_on(serve: Serve) -> None:
    """Row 28."""
    url, _ = await start(serve, sockets=SocketsManager(limits=Limits(message_bytes=500_000)))
    async with peer(url) as client:
        await client.send("[" * 100_000)

        assert (await client.receive())["error"]["code"] == ErrorCode.LIMIT_EXCEEDED
        assert await client.call("echo") == {}


def test_what_is_no_method_is_refused_when_the_class_is_defined() -> None:
    """Row 29."""
    with pytest.raises(DeclarationError, match="Odd.ws_rpc_x: an RPC method is a coroutine"):

        class Odd(WsPathMixin):
            ws_rpc_x = 5


class CountingSubscriber(Subscriber):
    """Counts how often it is looked for."""

    @property
    def gone(self) -> bool:
        return False

    def __init__(self) -> None:
        self.looked_for = 0

    def __hash__(self) -> int:
        self.looked_for += 1
        return id(self)

    def __eq__(self, other: object) -> bool:
        self.looked_for += 1
        return self is other

    def deliver(self, delivery: Delivery) -> Awaitable[object] | None:
        """Take nothing."""


@pytest.mark.parametrize("others", [0, 1000])
async def test_subscribing_costs_the_same_however_many_channels_there_are(others: int) -> None:
    """Row 30: the subscriptions of one are found without looking at those of the others."""
    sockets = SocketsManager()
    for n in range(others):
        await sockets.channels.register(f"other {n}", "*", Inbox())
    one = CountingSubscriber()
    await sockets.channels.register("c", "*", one)
    one.looked_for = 0

    assert sockets.channels.get_subscribed(one) == {"c": ["*"]}
    assert one.looked_for <= 2


async def test_a_typed_key_of_the_application_gives_no_warning(serve: Serve) -> None:
    """Row 31: aiohttp warns of the documented line, ``app["web_sockets"] = …``; this is the way."""
    key = web.AppKey("sockets", SocketsManager)

    class Typed(WsPathMixin):
        SOCKETS_KEY = key

        async def ws_rpc_info(self, payload: dict[str, Any]) -> Any:
            """Server information"""
            return self.sockets.server_info()

    app = web.Application()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app[key] = SocketsManager()
    app.router.add_view("/stream", Typed)

    async with peer((await serve(app)) / "stream") as client:
        assert await client.call("info") == {"connections": 1, "channels": {}}


async def test_the_document_shows_the_websocket_and_its_methods(serve: Serve) -> None:
    """Rows 32 and 33: without security too, which upstream answered with 500."""
    app = application(Endpoint)
    Documents(title="Tasks", version="1.0").setup(app)
    url = await serve(app)

    async with aiohttp.ClientSession() as session:
        async with session.get(url / "openapi.json") as response:
            assert response.status == 200
            document = await response.json()

    validate(document)
    operation = document["paths"]["/stream"]["get"]
    assert "101" in operation["responses"]
    for name in ("info", "publish", "subscribe", "unsubscribe"):
        assert name in operation["description"]
    assert "Server information" in operation["description"]


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Row 34: no file of the package names a content delivery network."""
    for path in (ROOT / "src").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text("utf-8")
            for host in ("cdn.", "unpkg.com", "jsdelivr", "googleapis", "redoc@next"):
                assert host not in text, path


def test_two_packages_are_enough() -> None:
    """Row 35."""
    metadata = importlib.metadata.metadata("aio-openapi")
    required = [
        re.split("[<>=~! ;]", entry)[0]
        for entry in metadata.get_all("Requires-Dist") or ()
        if "extra ==" not in entry
    ]

    assert sorted(required) == ["aiohttp", "msgspec"]
    assert metadata["Requires-Python"] == ">=3.11"


def test_importing_the_endpoint_imports_none_of_the_optional_packages() -> None:
    """Row 35."""
    code = (
        "import sys, openapi.ws, openapi.ws.pubsub, openapi.spec;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    optional = {"sqlalchemy", "asyncpg", "alembic", "simplejson", "pydantic", "redis", "nats"}
    optional |= {"click", "rich", "uvloop", "prometheus_client", "opentelemetry", "jwt"}

    assert optional & set(run.stdout.split()) == set()


class Bus:
    """What processes have between them."""

    def __init__(self) -> None:
        self.delivers: list[Deliver] = []


class BusBroker(Broker):
    """Carries messages from one manager to all that are on the same bus."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def open(self, deliver: Deliver) -> None:
        self.bus.delivers.append(deliver)

    async def publish(self, channel: str, event: str, data: object) -> None:
        for deliver in self.bus.delivers:
            await deliver(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        """All get everything."""

    async def unsubscribe(self, channel: str) -> None:
        """All get everything."""

    async def aclose(self) -> None:
        self.bus.delivers.clear()


async def test_servers_that_share_a_broker_share_their_messages(serve: Serve) -> None:
    """Row 36: what carries messages between processes has a contract, and a client is here too."""
    bus = Bus()
    first, _ = await start(serve, sockets=SocketsManager(broker=BusBroker(bus)))
    second, _ = await start(serve, sockets=SocketsManager(broker=BusBroker(bus)))
    async with peer(first) as client, connect(str(second)) as other:
        await client.call("subscribe", {"channel": "c"})
        await other.publish("c", "e", 1)

        assert await client.message() == {"channel": "c", "event": "e", "data": 1}


async def test_closing_all_sockets_says_why_and_waits_for_none_that_does_not_answer(
    serve: Serve,
) -> None:
    """Row 37: 1001 to each, and none stays."""
    sockets = SocketsManager(limits=Limits(close_timeout=0.05))
    url, _ = await start(serve, sockets=sockets)
    async with peer(url) as first, peer(url) as second, peer(url) as mute:
        for client in (first, second, mute):
            await client.call("echo")
        mute.socket.transport.pause_reading()

        await sockets.close_sockets()

        assert sockets.sockets == set()
        for client in (first, second):
            assert (await client.closed())[0] == 1001
        mute.socket.transport.resume_reading()


def test_the_names_that_a_manager_of_ones_own_needs_come_from_one_place() -> None:
    """Row 38: upstream's documented broker lacked its imports."""
    code = "from openapi.ws import CannotPublish, CannotSubscribe, SocketsManager, WsPathMixin"

    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=True).returncode == 0
