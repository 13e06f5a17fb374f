"""What the server's own code does with channels: publish, subscribe others, disconnect, look."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from openapi.errors import CannotPublish, CannotSubscribe, InvalidData, RpcError, Unserializable
from openapi.ws import (
    Broker,
    ChannelRule,
    ConnectionInfo,
    Limits,
    Position,
    SocketsManager,
    Websocket,
    path,
)
from openapi.ws.broker import KEY_SECONDS, Deliver
from openapi.ws.brokers.memory import MemoryBroker
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.raw import RawSocket
from tests.ws.speaking import JSONRPC, NATIVE, PACKED, speaking

Payload = dict[str, Any]

KEEPS = [ChannelRule("kept:*", history=10)]


class Named(Endpoint):
    """Its user is who the URL says."""

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")

    async def ws_rpc_invite(self, payload: Payload) -> Any:
        """Subscribe this connection, as the server does"""
        await self.sockets.subscribe_socket("kept:1", "x*", socket_id=self.socket_id)
        await self.sockets.publish("kept:1", "x", "within the call")
        return "invited"


async def greeted(client: Peer) -> Peer:
    """It is connected, and its user is known."""
    await client.call("info")
    return client


# --- publish ------------------------------------------------------------------------------------


async def test_a_view_publishes_and_is_told_where_the_message_is(serve: Serve) -> None:
    app = application(sockets=SocketsManager(channels=KEEPS))

    async def notify(request: web.Request) -> web.Response:
        channel, sockets = request.match_info["channel"], request.app[MANAGER]
        position = await sockets.publish(channel, "note", await request.text())
        if position is None:
            return web.json_response(None)
        return web.json_response({"offset": position.offset, "epoch": position.epoch})

    app.router.add_post("/notes/{channel}", notify)
    base = await serve(app)
    async with peer(base / "stream") as client, aiohttp.ClientSession() as http:
        joined = await client.call("subscribe", {"channel": "kept:1"})
        await client.call("subscribe", {"channel": "news"})
        for number in (1, 2):
            async with http.post(base / "notes" / "kept:1", data=f"hello {number}") as response:
                assert await response.json() == {"offset": number, "epoch": joined["epoch"]}
            assert await client.message() == {
                "channel": "kept:1",
                "event": "note",
                "data": f"hello {number}",
                "offset": number,
            }
        async with http.post(base / "notes" / "news", data="hello") as response:
            assert await response.json() is None
        assert await client.message() == {"channel": "news", "event": "note", "data": "hello"}


async def test_a_background_task_publishes_until_the_server_ends(serve: Serve) -> None:
    app = application(sockets=SocketsManager(channels=KEEPS))
    published = list[Position | None]()

    async def work(app: web.Application) -> None:
        try:
            while True:
                published.append(await app[MANAGER].publish("kept:1", "tick", len(published)))
                await asyncio.sleep(0)
        except CannotPublish as exc:
            assert str(exc) == "the server has shut down"

    async def start(app: web.Application) -> None:
        task = asyncio.create_task(work(app))
        app.on_cleanup.append(lambda _: asyncio.wait_for(task, None))

    app.on_startup.append(start)
    async with peer(await serve(app) / "stream") as client:
        joined = await client.call("subscribe", {"channel": "kept:1"})
        messages = [await client.message() for _ in range(20)]
        first = joined["offset"]
        assert [each["offset"] for each in messages] == list(range(first + 1, first + 21))
        assert all(each["data"] == each["offset"] - 1 for each in messages)
    await app[MANAGER].drain()
    assert published == [Position(n + 1, joined["epoch"]) for n in range(len(published))]


async def test_positions_are_in_the_order_in_which_publishers_began() -> None:
    async with SocketsManager(channels=KEEPS) as sockets:
        await sockets.publish("kept:1", "", "first")
        positions = await asyncio.gather(*(sockets.publish("kept:1", "", n) for n in range(50)))
        assert [each.offset for each in positions if each is not None] == list(range(2, 52))
        other = await sockets.publish("kept:2", "", 1)
        assert other is not None
        assert other.offset == 1


async def test_what_has_no_json_form_is_not_published_and_has_no_number() -> None:
    async with SocketsManager(channels=KEEPS) as sockets:
        for channel in ("kept:1", "news"):
            with pytest.raises(Unserializable):
                await sockets.publish(channel, "", object())
            with pytest.raises(Unserializable):
                await sockets.publish_once(channel, "", object(), key="k")
        position = await sockets.publish_once("kept:1", "", 1, key="k")
        assert position is not None
        assert position.offset == 1


# --- publish once -------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["kept:1", "news"])
async def test_the_same_key_publishes_once(channel: str) -> None:
    got = list[Any]()

    async def keep(channel: str, event: str, data: Any) -> None:
        got.append(data)

    async with SocketsManager(channels=KEEPS) as sockets:
        await sockets.channels.register(channel, "*", keep)
        first = await sockets.publish_once(channel, "e", {"n": 1}, key="k")
        assert (first is not None) == channel.startswith("kept:")
        await sockets.publish(channel, "e", {"n": 2})
        for _ in range(2):
            assert await sockets.publish_once(channel, "e", {"n": 1}, key="k") == first
        await sockets.publish_once(channel, "e", {"n": 3}, key="other")
        await sockets.publish_once("kept:other", "e", {"n": 4}, key="k")
        for event, data in (("f", {"n": 1}), ("e", {"n": 9})):
            with pytest.raises(InvalidData) as refusal:
                await sockets.publish_once(channel, event, data, key="k")
            assert refusal.value.errors == {
                "key": "another message had this key on this channel; a new one needs a new key"
            }
    assert got == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_a_key_is_forgotten_after_five_minutes() -> None:
    now = 1000.0
    broker = MemoryBroker(clock=lambda: now)
    async with SocketsManager(broker=broker, channels=KEEPS) as sockets:
        first = await sockets.publish_once("kept:1", "", 1, key="k")
        now += KEY_SECONDS - 1
        assert await sockets.publish_once("kept:1", "", 1, key="k") == first
        now += 2
        second = await sockets.publish_once("kept:1", "", 1, key="k")
        assert first is not None and second is not None
        assert (first.offset, second.offset) == (1, 2)


async def test_what_is_the_servers_own_has_no_key() -> None:
    async with SocketsManager(channels=KEEPS) as sockets:
        with pytest.raises(InvalidData, match="own, and has no key"):
            await sockets.publish_once("kept:1", "$notice", 1, key="k")


class Forgetful(Broker):
    """It carries messages, and remembers nothing."""

    async def open(self, deliver: Deliver) -> None:
        self.deliver = deliver

    async def publish(self, channel: str, event: str, data: object) -> None:
        await self.deliver(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        pass

    async def unsubscribe(self, channel: str) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def test_where_nobody_remembers_keys_they_are_refused() -> None:
    class Own(SocketsManager):
        async def publish(self, channel: str, event: str, data: Any) -> None:
            await self.channels(channel, {"event": event, "data": data})

    for sockets, name in ((SocketsManager(broker=Forgetful()), "Forgetful"), (Own(), "Own")):
        async with sockets:
            await sockets.publish("news", "", 1)
            with pytest.raises(InvalidData) as refusal:
                await sockets.publish_once("news", "", 1, key="k")
            assert refusal.value.errors["key"].endswith(f"{name} remembers no keys: leave it out")


# --- subscribe others ---------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_a_connection_that_is_subscribed_is_told_and_gets_messages(
    serve: Serve, dialect: str
) -> None:
    sockets = SocketsManager(channels=KEEPS)
    url = await serve(application(Named, sockets)) / "stream"
    top = await sockets.publish("kept:1", "x", 0)
    assert top is not None
    async with speaking(url, dialect) as client:
        await greeted(client)
        (ws,) = sockets.sockets
        assert await sockets.subscribe_socket("kept:1", "x*", socket_id=ws.socket_id) == 1
        assert await sockets.subscribe_socket("news", socket_id=ws.socket_id) == 1
        for channel, event in (("kept:1", "y"), ("kept:1", "x1"), ("news", "")):
            await sockets.publish(channel, event, 1)
        assert [await client.message() for _ in range(4)] == [
            {
                "channel": "kept:1",
                "event": "$subscribed",
                "data": {"events": ["x*"], "offset": 1, "epoch": top.epoch},
            },
            {"channel": "news", "event": "$subscribed", "data": {"events": ["*"]}},
            {"channel": "kept:1", "event": "x1", "data": 1, "offset": 3},
            {"channel": "news", "event": "", "data": 1},
        ]
        assert await sockets.unsubscribe_socket("kept:1", socket_id=ws.socket_id) == 1
        assert await client.message() == taken_back("kept:1", "x*")
        await sockets.publish("kept:1", "x1", 1)
        await client.call("info")
        assert client.messages == []
        assert sockets.channels.info() == {"news": {"*": 1}}


def taken_back(channel: str, *events: str) -> Payload:
    """What a client is told."""
    return {
        "channel": channel,
        "event": "$unsubscribed",
        "data": {
            "code": -32006,
            "message": "The server took the subscription back",
            "events": list(events),
        },
    }


async def test_all_connections_of_a_user_are_subscribed_and_nobody_elses(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    anna = url.with_query(user="anna")
    async with peer(anna) as one, peer(anna) as other, peer(url.with_query(user="bert")) as third:
        for client in (one, other, third):
            await greeted(client)
        assert await sockets.subscribe_socket("news", user="anna") == 2
        await other.call("subscribe", {"channel": "news", "event": "x"})
        await sockets.publish("news", "x", 1)
        for client in (one, other):
            assert [(await client.message())["event"] for _ in range(2)] == ["$subscribed", "x"]
        await third.call("subscribe", {"channel": "news"})
        assert await sockets.unsubscribe_socket("news", user="anna") == 2
        assert await one.message() == taken_back("news", "*")
        assert await other.message() == taken_back("news", "*", "x")
        assert await sockets.unsubscribe_socket("news", user="anna") == 0
        assert sockets.channels.info() == {"news": {"*": 1}}


async def test_where_nobody_is_nobody_is_subscribed_or_disconnected(serve: Serve) -> None:
    sockets = SocketsManager()
    async with peer(await serve(application(Named, sockets)) / "stream") as client:
        await greeted(client)
        for whom in ({"user": "anna"}, {"socket_id": "x"}):
            assert await sockets.subscribe_socket("news", **whom) == 0
            assert await sockets.unsubscribe_socket("news", **whom) == 0
            assert await sockets.disconnect(**whom) == 0  # type: ignore[arg-type]
        (ws,) = sockets.sockets
        assert await sockets.unsubscribe_socket("news", socket_id=ws.socket_id) == 0
        await client.call("info")
        assert client.messages == []


async def test_it_is_of_a_user_or_of_a_socket() -> None:
    sockets = SocketsManager()
    calls: dict[str, Callable[..., Awaitable[int]]] = {
        "subscribe_socket": partial(sockets.subscribe_socket, "news"),
        "unsubscribe_socket": partial(sockets.unsubscribe_socket, "news"),
        "disconnect": sockets.disconnect,
    }
    for name, call in calls.items():
        for whom in ({}, {"user": "anna", "socket_id": "x"}):
            with pytest.raises(ValueError) as refusal:
                await call(**whom)
            assert str(refusal.value) == (
                f"{name}() is of a user or of a socket_id: give one of them"
            )


async def test_the_limits_hold_for_connections_that_are_subscribed(serve: Serve) -> None:
    sockets = SocketsManager(limits=Limits(channels=1, patterns=2))
    async with peer(await serve(application(Named, sockets)) / "stream") as client:
        await client.call("subscribe", {"channel": "a", "event": "x"})
        (ws,) = sockets.sockets
        with pytest.raises(RpcError) as refusal:
            await sockets.subscribe_socket("b", socket_id=ws.socket_id)
        assert (refusal.value.code, refusal.value.data) == (-32007, {"limit": "channels", "max": 1})
        await sockets.subscribe_socket("a", "y", socket_id=ws.socket_id)
        with pytest.raises(RpcError) as refusal:
            await sockets.subscribe_socket("a", "z", socket_id=ws.socket_id)
        assert refusal.value.data == {"limit": "patterns", "max": 2}
        assert (await client.message())["data"] == {"events": ["y"]}
        assert sockets.channels.info() == {"a": {"x": 1, "y": 1}}
        await client.call("info")
        assert client.messages == []


async def test_a_handler_that_subscribes_its_own_connection_is_answered_first(
    serve: Serve,
) -> None:
    sockets = SocketsManager(channels=KEEPS)
    async with peer(await serve(application(Named, sockets)) / "stream") as client:
        await client.send({"id": 1, "method": "invite"})
        frames = [await client.receive() for _ in range(3)]
        assert frames[0] == {"id": 1, "method": "invite", "response": "invited"}
        assert [frame["event"] for frame in frames[1:]] == ["$subscribed", "x"]


async def test_a_connection_that_ends_meanwhile_is_not_subscribed(serve: Serve) -> None:
    class Slow(SocketsManager):
        waits, go = asyncio.Event(), asyncio.Event()

        async def subscribe(self, channel: str) -> None:
            self.waits.set()
            await self.go.wait()
            await super().subscribe(channel)

    sockets = Slow()
    socket = await RawSocket.open(await serve(application(Named, sockets)) / "stream")
    (ws,) = sockets.sockets
    subscribing = asyncio.create_task(sockets.subscribe_socket("news", socket_id=ws.socket_id))
    await sockets.waits.wait()
    socket.reset()
    await ws.connection.wait_closed()
    sockets.go.set()
    await subscribing
    await sockets.drain()
    assert sockets.channels.info() == {}


async def test_a_subscription_that_the_manager_cannot_feed_is_taken_back_and_told(
    serve: Serve,
) -> None:
    class Feeding(SocketsManager):
        async def subscribe_to_event(self, channel: str, event: str) -> None:
            if event == "secret":
                raise CannotSubscribe

    sockets = Feeding()
    async with peer(await serve(application(Named, sockets)) / "stream") as client:
        await greeted(client)
        (ws,) = sockets.sockets
        with pytest.raises(InvalidData, match="Invalid channel"):
            await sockets.subscribe_socket("news", "secret", socket_id=ws.socket_id)
        assert sockets.channels.info() == {}
        assert (await client.message())["event"] == "$subscribed"
        assert await client.message() == taken_back("news", "secret")


async def test_a_subscription_that_was_there_before_stays_though_it_cannot_be_made_again(
    serve: Serve,
) -> None:
    class Feeding(SocketsManager):
        feeds = True

        async def subscribe_to_event(self, channel: str, event: str) -> None:
            if not self.feeds:
                raise CannotSubscribe

    sockets = Feeding()
    async with peer(await serve(application(Named, sockets)) / "stream") as client:
        await client.call("subscribe", {"channel": "news"})
        sockets.feeds = False
        error = await client.error("subscribe", {"channel": "news"})
        assert error["errors"] == {"channel": "Invalid channel"}
        (ws,) = sockets.sockets
        with pytest.raises(InvalidData, match="Invalid channel"):
            await sockets.subscribe_socket("news", socket_id=ws.socket_id)
        await sockets.publish("news", "x", 1)
        await client.call("info")
        assert [each["event"] for each in client.messages] == ["$subscribed", "x"]


# --- disconnect and look ------------------------------------------------------------------------


async def test_all_connections_of_a_user_are_closed_and_nobody_elses(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    anna = url.with_query(user="anna")
    async with peer(anna) as one, peer(anna) as other, peer(url) as third:
        for client in (one, other, third):
            await greeted(client)
        assert await sockets.disconnect(user="anna") == 2
        for client in (one, other):
            assert await client.closed() == (4504, "")
        assert await third.call("info") == {"connections": 1, "channels": {}}
        (ws,) = sockets.sockets
        assert await sockets.disconnect(socket_id=ws.socket_id, code=4001, reason="expired") == 1
        assert await third.closed() == (4001, "expired")


async def test_connections_say_who_is_there_and_what_they_have(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    before = time.time()
    async with peer(url.with_query(user="anna")) as one, peer(url) as other:
        await one.call("subscribe", {"channel": "a", "event": "x"})
        await one.call("subscribe", {"channel": "a"})
        await one.call("subscribe", {"channel": "b"})
        await greeted(other)
        by_user: dict[Any, Websocket] = {ws.user: ws for ws in sockets.sockets}
        found = {info.user: info for info in await sockets.connections()}
        assert found["anna"] == ConnectionInfo(
            socket_id=by_user["anna"].socket_id,
            user="anna",
            started=by_user["anna"].started,
            channels={"a": ["x", "*"], "b": ["*"]},
            queued_bytes=0,
            node=sockets.node,
        )
        assert found[None].channels == {}
        assert before <= found["anna"].started <= time.time()
        assert await sockets.connections(user="anna") == [found["anna"]]
        assert await sockets.connections(user="bert") == []


async def test_connections_are_told_in_the_order_in_which_they_came(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    times = iter([50.0, 50.0, 10.0, 70.0, 70.0, 30.0, 20.0, 20.0])  # the clock is set back
    monkeypatch.setattr(path, "time", SimpleNamespace(time=lambda: next(times)))
    async with AsyncExitStack() as stack:
        for number in range(8):
            client = await stack.enter_async_context(peer(url.with_query(user="anna")))
            await client.call("subscribe", {"channel": f"c{number}"})
        every, own = await sockets.connections(), await sockets.connections(user="anna")
        for infos in (every, own):
            assert [list(each.channels) for each in infos] == [[f"c{n}"] for n in range(8)]


async def test_what_waits_for_a_client_that_does_not_read_is_told(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    socket = await RawSocket.open(url, receive_buffer=4096)
    socket.send({"id": 1, "method": "subscribe", "payload": {"channel": "news"}})
    await socket.receive()
    socket.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a socket's
    (info,) = await sockets.connections()
    while info.queued_bytes < 100_000:
        await sockets.publish("news", "", "x" * 50_000)
        await asyncio.sleep(0)
        (info,) = await sockets.connections()
    socket.reset()


# --- when the server has ended ------------------------------------------------------------------


async def test_behind_the_drain_nothing_can_be_done_any_more(serve: Serve) -> None:
    sockets = SocketsManager(channels=KEEPS)
    async with peer(await serve(application(Named, sockets)) / "stream") as client:
        await client.call("subscribe", {"channel": "kept:1"})
        (ws,) = sockets.sockets
        draining = asyncio.create_task(sockets.drain())
        assert (await client.closed())[0] == 1012
        await draining
    for channel in ("kept:1", "news"):
        with pytest.raises(CannotPublish, match="the server has shut down"):
            await sockets.publish(channel, "", 1)
        with pytest.raises(CannotPublish, match="the server has shut down"):
            await sockets.publish_once(channel, "", 1, key="k")
        with pytest.raises(CannotSubscribe):
            async with sockets.subscription(channel):
                pass
        with pytest.raises(InvalidData, match="Invalid channel"):
            await sockets.channels.register(channel, "*", _ignore)
        assert await sockets.subscribe_socket(channel, socket_id=ws.socket_id) == 0
    assert await sockets.disconnect(socket_id=ws.socket_id) == 0
    assert await sockets.connections() == []
    assert sockets.server_info() == {"connections": 0, "channels": {}}


async def _ignore(channel: str, event: str, data: Any) -> None:
    raise AssertionError("nothing comes any more")
