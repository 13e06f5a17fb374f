"""What people who come from aio-openapi 3.2.1 rely on: names, texts, and places to override."""

import asyncio
import base64
import importlib
import json
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from openapi.spec import ApiPath
from openapi.ws import (
    CannotPublish,
    CannotSubscribe,
    ChannelCallbackError,
    Channels,
    SocketsManager,
    WsPathMixin,
    ws_rpc,
)
from openapi.ws.pubsub import ChannelCallback, Publish, Subscribe
from tests.conftest import Serve
from tests.ws.endpoints import application
from tests.ws.peer import Peer, peer

pytestmark = pytest.mark.filterwarnings(
    # the documented line, app["web_sockets"] = …
    "ignore:It is recommended to use web.AppKey:aiohttp.web.NotAppKeyWarning"
)

PROMISED = {
    "openapi.spec": ["ApiPath", "OpenApi", "OpenApiInfo", "op"],
    "openapi.ws": [
        "CannotPublish",
        "CannotSubscribe",
        "Channel",
        "ChannelCallbackError",
        "Channels",
        "Event",
        "SocketsManager",
        "Websocket",
        "WsHandlerType",
        "WsPathMixin",
        "ws_rpc",
    ],
    "openapi.ws.pubsub": [
        "ChannelCallback",
        "Publish",
        "PublishSchema",
        "Subscribe",
        "SubscribeSchema",
    ],
    "openapi.ws.manager": ["SocketsManager", "Websocket"],
    "openapi.ws.channels": ["Channels"],
    "openapi.ws.path": ["WsPathMixin"],
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in PROMISED.items() for name in names]
)
def test_a_name_is_where_it_was(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@dataclass
class Add:
    """Two numbers."""

    a: int
    b: int = 0


@dataclass
class Sum:
    """Their sum."""

    sum: int


class Stream(WsPathMixin, Publish, Subscribe, ApiPath):
    """An endpoint as upstream's own tests have it."""

    async def ws_rpc_echo(self, payload):  # type: ignore[no-untyped-def] # as users write it
        """Echo parameters"""
        return payload

    async def ws_rpc_badjson(self, payload):  # type: ignore[no-untyped-def] # as users write it
        return ApiPath

    @ws_rpc(body_schema=Add, response_schema=Sum)
    async def ws_rpc_add(self, payload):  # type: ignore[no-untyped-def] # as users write it
        """Add two numbers"""
        assert type(payload) is dict
        return {"sum": payload["a"] + payload["b"], "dropped": "on the way out"}


@pytest.fixture
async def url(serve: Serve) -> URL:
    return await serve(application(Stream)) / "stream"


async def said(client: Peer, message: object) -> Any:
    """What is answered, without the code that upstream did not have."""
    await client.send(message)
    answer = await client.receive()
    if "error" in answer:
        assert isinstance(answer["error"].pop("code"), int)
        answer["error"].pop("data", None)
    return answer


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"id": "abc", "method": "echo", "payload": {"x": 1}},
            {"id": "abc", "method": "echo", "response": {"x": 1}},
        ),
        ({"id": "abc", "method": "echo"}, {"id": "abc", "method": "echo", "response": {}}),
        ("not json", {"error": {"message": "JSON string expected"}}),
        ([], {"error": {"message": "Malformed message; expected dictionary, got list"}}),
        (
            {"method": "echo"},
            {
                "method": "echo",
                "error": {"message": "Invalid RPC parameters", "errors": {"id": "required"}},
            },
        ),
        (
            {"id": "abc", "method": "wtf"},
            {
                "id": "abc",
                "method": "wtf",
                "error": {
                    "message": "Invalid RPC parameters",
                    "errors": {"method": "wtf method not available"},
                },
            },
        ),
        (
            {"id": "abc", "method": "add", "payload": {}},
            {
                "id": "abc",
                "method": "add",
                "error": {"message": "Invalid RPC parameters", "errors": {"a": "required"}},
            },
        ),
        (
            {"id": "abc", "method": "badjson"},
            {"id": "abc", "method": "badjson", "error": {"message": "JSON object expected"}},
        ),
        (
            {"id": "abc", "method": "unsubscribe", "payload": {"channel": "x"}},
            {
                "id": "abc",
                "method": "unsubscribe",
                "error": {
                    "message": "Invalid RPC parameters",
                    "errors": {"channel": "Invalid channel"},
                },
            },
        ),
    ],
)
async def test_the_texts_are_what_they_were(url: URL, message: Any, expected: Any) -> None:
    async with peer(url) as client:
        assert await said(client, message) == expected


async def test_ws_rpc_gives_a_plain_dictionary_and_drops_what_the_response_does_not_have(
    url: URL,
) -> None:
    async with peer(url) as client:
        assert await client.call("add", {"a": 1, "b": 2}) == {"sum": 3}
        assert await client.call("add", {"a": 1}) == {"sum": 1}


DOCUMENTED = (ApiPath, WsPathMixin, Subscribe, Publish)
TESTED = (WsPathMixin, Publish, Subscribe, ApiPath)


@pytest.mark.parametrize("bases", [DOCUMENTED, TESTED, DOCUMENTED[::-1], TESTED[::-1]])
async def test_the_order_of_the_mixins_is_free(serve: Serve, bases: tuple[type, ...]) -> None:
    class Endpoint(*bases):  # type: ignore[misc] # the bases are what is being tested
        async def ws_rpc_info(self, payload):  # type: ignore[no-untyped-def] # as users write it
            return self.sockets.server_info()

    async with peer(await serve(application(Endpoint)) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
        await client.call("publish", {"channel": "c", "data": 1})
        assert await client.message() == {"channel": "c", "event": "", "data": 1}
        assert await client.call("info") == {"connections": 1, "channels": {"c": {"*": 1}}}


async def test_the_manager_is_where_sockets_key_says(serve: Serve) -> None:
    class Endpoint(WsPathMixin):
        SOCKETS_KEY = "elsewhere"

        async def ws_rpc_info(self, payload: dict[str, Any]) -> Any:
            return self.sockets is self.request.app["elsewhere"]

    app = web.Application()
    app["elsewhere"] = SocketsManager()
    app.router.add_view("/stream", Endpoint)

    assert WsPathMixin.SOCKETS_KEY == "web_sockets"
    async with peer(await serve(app) / "stream") as client:
        assert await client.call("info") is True


async def test_get_publish_message_changes_what_is_published(serve: Serve) -> None:
    class Endpoint(WsPathMixin, Publish, Subscribe):
        def get_publish_message(self, data: Any) -> Any:
            return {"from": "me", "data": data}

    async with peer(await serve(application(Endpoint)) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
        await client.call("publish", {"channel": "c", "data": 1})
        assert (await client.message())["data"] == {"from": "me", "data": 1}


async def test_decode_message_and_encode_message_make_a_protocol_of_ones_own(
    serve: Serve,
) -> None:
    class Endpoint(WsPathMixin, Publish, Subscribe):
        def decode_message(self, msg: str) -> Any:
            return json.loads(base64.b64decode(msg, validate=True))

        def encode_message(self, msg: Any) -> str:
            return base64.b64encode(json.dumps(msg).encode()).decode()

    def encoded(message: object) -> str:
        return base64.b64encode(json.dumps(message).encode()).decode()

    async with peer(await serve(application(Endpoint)) / "stream") as client:

        async def receive() -> Any:
            return json.loads(base64.b64decode(await client.socket.recv()))

        await client.send(encoded({"id": 1, "method": "subscribe", "payload": {"channel": "c"}}))
        assert (await receive())["response"] == {"subscribed": {"c": ["*"]}}
        await client.send("{}")
        assert (await receive())["error"]["message"] == "JSON string expected"
        await client.send(
            encoded({"id": None, "method": "publish", "payload": {"channel": "c", "data": 1}})
        )
        assert await receive() == {"channel": "c", "event": "", "data": 1}


@pytest.mark.parametrize("text", [r'{"id": "\ud800", "method": "m"}', "[" * 60_000, "9" * 5000])
async def test_what_a_protocol_of_ones_own_cannot_read_harms_no_connection(
    serve: Serve, text: str
) -> None:
    class Endpoint(WsPathMixin):
        def decode_message(self, msg: str) -> Any:
            return json.loads(msg)

        async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
            return payload

    async with peer(await serve(application(Endpoint)) / "stream") as client:
        await client.send(text)
        assert "error" in await client.receive()
        assert await client.call("echo") == {}


async def test_a_socket_knows_when_it_began_and_can_be_written_to_and_closed(
    serve: Serve,
) -> None:
    class Endpoint(WsPathMixin):
        async def ws_rpc_leave(self, payload: dict[str, Any]) -> None:
            await self.write({"began": self.started > 0, "id": str(self) == self.socket_id})
            await self.close()

    async with peer(await serve(application(Endpoint)) / "stream") as client:
        await client.send({"id": 1, "method": "leave"})
        assert await client.receive() == {"began": True, "id": True}
        assert (await client.closed())[0] == 1000


# A manager that carries messages itself, in the shape that upstream documents: a queue and a
# worker, started and stopped by the application, and no super().__init__()


class LocalBroker(SocketsManager):
    """Carries messages through a queue; its channels are written in lower case."""

    def __init__(self):  # type: ignore[no-untyped-def] # as users write it
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.events: list[tuple[str, str]] = []
        self.left: list[str] = []

    @classmethod
    def for_app(cls, app: web.Application) -> "LocalBroker":
        """A broker that starts and stops with an application."""
        broker = cls()
        app.on_startup.append(broker.start)
        app.on_shutdown.append(broker.stop)
        return broker

    async def start(self, app: web.Application) -> None:
        """Begin to deliver."""
        self.worker = asyncio.create_task(self.deliver())

    async def stop(self, app: web.Application) -> None:
        """Close the sockets and deliver no more."""
        await self.close_sockets()
        await self.queue.put(None)
        await self.worker

    async def deliver(self) -> None:
        """Hand each message to the channels."""
        while (message := await self.queue.get()) is not None:
            channel, event, data = message
            await self.channels(channel, {"event": event, "data": data})

    async def publish(self, channel: str, event: str, body: Any) -> None:
        if not channel.islower():
            raise CannotPublish
        await self.queue.put((channel, event, body))

    async def subscribe(self, channel: str) -> None:
        if not channel.islower():
            raise CannotSubscribe

    async def subscribe_to_event(self, channel: str, event: str) -> None:
        self.events.append((channel, event))

    async def unsubscribe(self, channel: str) -> None:
        self.left.append(channel)


async def test_a_manager_that_carries_messages_itself(serve: Serve) -> None:
    app = web.Application()
    app["web_sockets"] = broker = LocalBroker.for_app(app)
    app.router.add_view("/stream", Stream)
    async with peer(await serve(app) / "stream") as client:
        invalid = (await client.error("subscribe", {"channel": "News"}))["errors"]
        refused = (await client.error("publish", {"channel": "News", "data": 1}))["errors"]
        await client.call("subscribe", {"channel": "news", "event": "f*"})
        await client.call("publish", {"channel": "news", "event": "flash", "data": 1})

        assert invalid == {"channel": "Invalid channel"}
        assert refused == {"channel": "Cannot publish to channel"}
        assert await client.message() == {"channel": "news", "event": "flash", "data": 1}
        assert broker.events == [("news", "f*")]
        await client.call("unsubscribe", {"channel": "news"})
        assert broker.left == ["news"]
        assert broker.server_info() == {"connections": 1, "channels": {}}


async def test_a_manager_that_carries_messages_itself_ends_with_its_application() -> None:
    app = web.Application()
    app["web_sockets"] = broker = LocalBroker.for_app(app)
    app.router.add_view("/stream", Stream)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = URL.build(scheme="http", host="127.0.0.1", port=runner.addresses[0][1], path="/stream")

    async with peer(url) as client:
        await client.call("subscribe", {"channel": "news"})
        await runner.cleanup()

        assert (await client.closed())[0] in (1001, 1012)
    assert broker.worker.done()
    assert broker.sockets == set()
    assert len(broker.channels) == 0


async def test_callbacks_of_channels_are_registered_and_removed_as_they_were() -> None:
    sockets = SocketsManager()
    channels = sockets.channels
    assert isinstance(channels, Channels)
    got: list[tuple[str, str, Any]] = []

    async def callback(channel: str, event: str, data: Any) -> None:
        got.append((channel, event, data))
        if data == "enough":
            raise ChannelCallbackError

    channel = await channels.register("c", "a*", callback)
    assert channel.name == "c"
    assert (channels.registered, len(channels), "c" in channels) == (("c",), 1, True)
    assert channels.get_subscribed(callback) == {"c": ["a*"]}
    assert channels.info() == {"c": {"a*": 1}}

    await channels("c", {"event": "ab", "data": 1})
    await channels("c", {"event": "b", "data": 2})
    await channels("c", {"event": "ab", "data": "enough"})
    await channels("c", {"event": "ab", "data": 3})

    assert got == [("c", "ab", 1), ("c", "ab", "enough")]
    assert channels.info() == {}


async def test_the_callback_of_a_socket_is_the_socket(serve: Serve) -> None:
    class Endpoint(WsPathMixin, Subscribe, Publish):
        async def ws_rpc_join(self, payload: dict[str, Any]) -> Any:
            callback = self.channel_callback
            assert isinstance(callback, ChannelCallback)
            await self.channels.register("c", "*", callback)
            return self.channels.get_subscribed(callback)

    async with peer(await serve(application(Endpoint)) / "stream") as client:
        assert await client.call("join") == {"c": ["*"]}
        await client.call("publish", {"channel": "c", "event": "e", "data": 1})
        assert await client.message() == {"channel": "c", "event": "e", "data": 1}
        assert await client.call("unsubscribe", {"channel": "c"}) == {"subscribed": {}}
