"""Channels: who gets what, and subscriptions that race with each other and with the end."""

import asyncio
from datetime import date
from typing import Any

import pytest

from openapi.errors import (
    CannotPublish,
    CannotSubscribe,
    ChannelCallbackError,
    InvalidData,
    Unserializable,
)
from openapi.ws import Limits, SocketsManager
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import peer
from tests.ws.raw import RawSocket


class Inbox:
    """A callback that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, Any]] = []

    async def __call__(self, channel: str, event: str, data: Any) -> None:
        self.messages.append((channel, event, data))


async def test_a_callback_gets_the_events_that_fit_its_pattern() -> None:
    sockets, inbox = SocketsManager(), Inbox()
    await sockets.channels.register("c", "task.*", inbox)
    for event in ("task.done", "other", "task."):
        await sockets.publish("c", event, event)
    assert inbox.messages == [("c", "task.done", "task.done"), ("c", "task.", "task.")]


async def test_every_matching_pattern_counts_and_each_subscriber_gets_a_message_once() -> None:
    sockets, one, other = SocketsManager(), Inbox(), Inbox()
    for event in ("task.*", "task.done", None):
        await sockets.channels.register("c", event, one)
    await sockets.channels.register("c", "task.done", other)
    await sockets.publish("c", "task.done", 1)
    assert one.messages == other.messages == [("c", "task.done", 1)]


async def test_the_view_of_a_channel() -> None:
    sockets, inbox = SocketsManager(), Inbox()
    channels = sockets.channels
    channel = await channels.register("c", "a", inbox)
    await channels.register("c", None, inbox)
    assert (channel.name, channel.events, len(channel)) == ("c", ("a", "*"), 2)
    assert "a" in channel
    assert "b" not in channel
    assert [(event.name, event.subscribers) for event in channel] == [("a", 1), ("*", 1)]
    assert channels.registered == ("c",)
    assert "c" in channels
    assert len(channels) == 1
    assert [each.name for each in channels] == ["c"]
    assert channels.get_subscribed(inbox) == {"c": ["a", "*"]}
    assert channels.get("d") is None
    await channel({"event": "b", "data": 2})
    assert inbox.messages == [("c", "b", 2)]
    channels.clear()
    assert len(channels) == 0


async def test_a_callback_can_leave_by_raising() -> None:
    sockets, inbox = SocketsManager(), Inbox()

    async def once(channel: str, event: str, data: Any) -> None:
        await inbox(channel, event, data)
        raise ChannelCallbackError

    await sockets.channels.register("c", "*", once)
    await sockets.channels.register("d", "*", once)
    for _ in range(2):
        await sockets.publish("c", "", 1)
    assert len(inbox.messages) == 1
    assert sockets.channels.info() == {}


async def test_a_callback_that_fails_is_logged_and_removed_and_the_others_get_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sockets, inbox = SocketsManager(), Inbox()

    async def broken(channel: str, event: str, data: Any) -> None:
        raise ValueError("a bug in the callback")

    await sockets.channels.register("c", "*", broken)
    await sockets.channels.register("c", "*", inbox)
    await sockets.publish("c", "", 1)
    assert inbox.messages == [("c", "", 1)]
    assert "a bug in the callback" in caplog.text
    assert sockets.channels.info() == {"c": {"*": 1}}


async def test_a_carrier_survives_data_without_a_json_form(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = application()
    async with peer(await serve(app) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
        await app[MANAGER].channels("c", {"event": "bad", "data": object()})
        await app[MANAGER].channels("c", {"event": "good", "data": 1})
        assert (await client.message())["event"] == "good"
        assert "has no JSON form, and is dropped" in caplog.text


async def test_data_without_a_json_form_is_the_publishers_error_and_nobody_elses(
    serve: Serve,
) -> None:
    app = application()
    async with peer(await serve(app) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
        with pytest.raises(Unserializable):
            await app[MANAGER].publish("c", "", object())
        await app[MANAGER].publish("c", "", float("nan"))
        assert (await client.message())["data"] is None  # JSON has no NaN
        assert (await client.call("info"))["connections"] == 1


class Slow(SocketsManager):
    """A broker that answers when the test says so, and notes in what order it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.waits = asyncio.Event()

    async def subscribe(self, channel: str) -> None:
        self.asked.append("subscribe")
        self.waits.set()
        await self.go.wait()

    async def unsubscribe(self, channel: str) -> None:
        self.asked.append("unsubscribe")
        self.waits.set()
        await self.go.wait()

    async def publish(self, channel: str, event: str, data: Any) -> None:
        await self.channels(channel, {"event": event, "data": data})


async def test_two_first_subscribers_at_once_are_both_there_and_the_broker_is_asked_once() -> None:
    sockets, one, other = Slow(), Inbox(), Inbox()
    both = asyncio.gather(
        sockets.channels.register("c", "*", one), sockets.channels.register("c", "*", other)
    )
    await sockets.waits.wait()
    sockets.go.set()
    await both
    assert sockets.asked == ["subscribe"]
    assert sockets.channels.info() == {"c": {"*": 2}}


async def test_subscribing_while_the_last_one_leaves_is_not_lost() -> None:
    sockets, one, other = Slow(), Inbox(), Inbox()
    sockets.go.set()
    await sockets.channels.register("c", "*", one)
    sockets.go.clear()
    sockets.waits.clear()
    leaving = asyncio.create_task(_unregister(sockets, one))
    await sockets.waits.wait()  # the broker is unsubscribing
    coming = asyncio.create_task(_register(sockets, other))
    sockets.go.set()
    await asyncio.gather(leaving, coming)
    assert sockets.asked == ["subscribe", "unsubscribe", "subscribe"]
    await sockets.publish("c", "", 1)
    assert (one.messages, other.messages) == ([], [("c", "", 1)])


async def _register(sockets: SocketsManager, inbox: Inbox) -> None:
    await sockets.channels.register("c", "*", inbox)


async def _unregister(sockets: SocketsManager, inbox: Inbox) -> None:
    await sockets.channels.unregister("c", "*", inbox)


async def test_a_subscription_that_is_cancelled_leaves_nothing_behind() -> None:
    sockets, inbox = Slow(), Inbox()
    coming = asyncio.create_task(_register(sockets, inbox))
    await sockets.waits.wait()
    coming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await coming
    sockets.go.set()
    await sockets.drain()
    assert sockets.asked == ["subscribe", "unsubscribe"]
    assert sockets.channels.info() == {}


async def test_a_socket_that_ends_while_it_subscribes_leaves_nothing_behind(serve: Serve) -> None:
    sockets = Slow()
    socket = await RawSocket.open(await serve(application(sockets=sockets)) / "stream")
    (ws,) = sockets.sockets
    socket.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
    await sockets.waits.wait()
    socket.reset()
    await ws.connection.wait_closed()
    sockets.go.set()
    await sockets.drain()
    assert sockets.asked == ["subscribe", "unsubscribe"]
    assert sockets.server_info() == {"connections": 0, "channels": {}}


async def test_a_socket_that_ends_while_it_unsubscribes_leaves_nothing_behind(
    serve: Serve,
) -> None:
    sockets = Slow()
    sockets.go.set()
    socket = await RawSocket.open(await serve(application(sockets=sockets)) / "stream")
    (ws,) = sockets.sockets
    socket.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
    await socket.receive()
    sockets.go.clear()
    sockets.waits.clear()
    ended: list[str] = []
    unsubscribe = sockets.unsubscribe

    async def noted(channel: str) -> None:
        await unsubscribe(channel)
        ended.append(channel)

    sockets.unsubscribe = noted  # type: ignore[method-assign]
    socket.send({"id": 2, "method": "unsubscribe", "payload": {"channel": "c"}})
    await sockets.waits.wait()
    socket.reset()
    await ws.connection.wait_closed()
    sockets.go.set()
    await sockets.drain()
    assert ended == ["c"]


async def test_a_manager_may_refuse_an_event_as_it_starts_to_feed_it(serve: Serve) -> None:
    class Feeding(SocketsManager):
        async def subscribe_to_event(self, channel: str, event: str) -> None:
            if event == "secret":
                raise CannotSubscribe

    sockets = Feeding()
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        error = await client.error("subscribe", {"channel": "c", "event": "secret"})
        assert error["errors"] == {"channel": "Invalid channel"}
        assert sockets.channels.info() == {}
        await client.call("subscribe", {"channel": "c", "event": "open"})
        await client.error("subscribe", {"channel": "c", "event": "secret"})
        assert sockets.channels.info() == {"c": {"open": 1}}


async def test_a_callback_gets_what_would_come_over_the_wire() -> None:
    sockets, inbox = SocketsManager(), Inbox()
    await sockets.channels.register("c", "*", inbox)
    await sockets.publish("c", "", {"when": date(2026, 1, 2), "set": (1, 2)})
    assert inbox.messages == [("c", "", {"when": "2026-01-02", "set": [1, 2]})]
    with pytest.raises(Unserializable):
        await sockets.publish("nobody", "", object())


async def test_leaving_a_channel_takes_every_pattern_and_leaving_a_pattern_only_that() -> None:
    sockets, inbox = SocketsManager(), Inbox()
    for event in ("a", "b", "c"):
        await sockets.channels.register("c", event, inbox)
    await sockets.channels.unregister("c", "a", inbox)
    assert sockets.channels.get_subscribed(inbox) == {"c": ["b", "c"]}
    await sockets.channels.unregister("c", None, inbox)
    assert sockets.channels.info() == {}
    with pytest.raises(InvalidData, match="Invalid channel"):
        await sockets.channels.unregister("c", None, inbox)


async def test_a_socket_may_be_registered_by_the_application(serve: Serve) -> None:
    class Greeting(Endpoint):
        async def ws_rpc_join(self, payload: dict[str, Any]) -> Any:
            await self.channels.register("lobby", "*", self.channel_callback)
            await self.channel_callback("lobby", "welcome", str(self.channel_callback))
            return self.channels.get_subscribed(self.channel_callback)

    app = application(Greeting)
    async with peer(await serve(app) / "stream") as client:
        assert await client.call("join") == {"lobby": ["*"]}
        (ws,) = app[MANAGER].sockets
        assert await client.message() == {
            "channel": "lobby",
            "event": "welcome",
            "data": f"websocket {ws.socket_id}",
        }
        await client.call("publish", {"channel": "lobby", "data": 1})
        assert (await client.message())["data"] == 1
    await ws.connection.wait_closed()
    assert app[MANAGER].channels.info() == {}


async def test_the_limits_of_channels_and_patterns_are_the_sockets_not_the_applications(
    serve: Serve,
) -> None:
    sockets, inbox = SocketsManager(limits=Limits(channels=2, patterns=2)), Inbox()
    for number in range(5):
        await sockets.channels.register(f"c{number}", f"e{number}", inbox)
        await sockets.channels.register("c", f"e{number}", inbox)
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        for channel in ("a", "b"):
            for event in ("x", "y", "y"):
                await client.call("subscribe", {"channel": channel, "event": event})
        error = await client.error("subscribe", {"channel": "c"})
        assert error["message"] == (
            "2 channels are subscribed to, unsubscribe from one before the next"
        )
        assert (error["code"], error["data"]) == (-32007, {"limit": "channels", "max": 2})
        error = await client.error("subscribe", {"channel": "a", "event": "z"})
        assert (error["code"], error["data"]) == (-32007, {"limit": "patterns", "max": 2})
        await client.call("unsubscribe", {"channel": "b"})
        await client.call("subscribe", {"channel": "c"})


async def test_subscriptions_that_run_side_by_side_do_not_slip_past_the_limit(
    serve: Serve,
) -> None:
    sockets = Slow()
    sockets.limits = Limits(channels=2)
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        for number in range(5):
            payload = {"channel": f"c{number}"}
            await client.send({"id": f"s{number}", "method": "subscribe", "payload": payload})
        await client.call("info")  # all five were read, and wait for the broker
        assert len(sockets.asked) == 5
        sockets.go.set()
        answers = [await client.receive() for _ in range(5)]
        assert sum("error" in answer for answer in answers) == 3
        assert len((await client.call("info"))["channels"]) == 2


async def test_a_manager_refuses_channels_in_its_own_way(serve: Serve) -> None:
    class Lowercase(SocketsManager):
        async def subscribe(self, channel: str) -> None:
            if channel != channel.lower():
                raise CannotSubscribe

        async def publish(self, channel: str, event: str, data: Any) -> None:
            if channel != channel.lower():
                raise CannotPublish
            await self.channels(channel, {"event": event, "data": data})

    async with peer(await serve(application(sockets=Lowercase())) / "stream") as client:
        for method, text in (
            ("subscribe", "Invalid channel"),
            ("unsubscribe", "Invalid channel"),
            ("publish", "Cannot publish to channel"),
        ):
            payload = {"channel": "Upper"} | ({"data": 1} if method == "publish" else {})
            error = await client.error(method, payload)
            assert error["code"] == -32602
            assert error["errors"] == {"channel": text}
        await client.call("subscribe", {"channel": "lower"})
        await client.call("publish", {"channel": "lower", "data": 1})
        assert (await client.message())["data"] == 1


async def test_the_application_may_change_what_is_published(serve: Serve) -> None:
    class Stamped(Endpoint):
        def get_publish_message(self, data: Any) -> Any:
            return {"from": self.socket_id, "said": data}

    app = application(Stamped)
    async with peer(await serve(app) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
        response = await client.call("publish", {"channel": "c", "event": "e", "data": "hi"})
        (ws,) = app[MANAGER].sockets
        assert response["data"] == {"from": ws.socket_id, "said": "hi"}
        assert await client.message() == response
