"""What channels may cost a server, whatever its clients, its hooks and its broker do."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from openapi.errors import ErrorCode, InvalidData, UnexpectedData
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page, Position, Retention
from openapi.ws import ChannelRule, Limits, SocketsManager
from openapi.ws.brokers.memory import MemoryBroker
from tests.conftest import Serve
from tests.shuffled import run
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import peer

KEPT = Retention(100, 60.0)


async def test_one_connection_publishes_with_so_many_keys_and_no_more(serve: Serve) -> None:
    sockets = SocketsManager(limits=Limits(keys=3))
    url = await serve(application(sockets=sockets)) / "stream"
    message = {"channel": "c", "event": "e", "data": 1}
    async with peer(url) as client, peer(url) as other:
        for number in range(3):
            await client.call("publish", {**message, "key": f"k{number}"})
        error = await client.error("publish", {**message, "key": "one more"})
        assert error["code"] == ErrorCode.RATE_LIMITED
        assert error["data"] == {"limit": "keys", "max": 3}
        assert 0 < error["retry_after"] <= 100_000
        await client.call("publish", message)  # without one
        await other.call("publish", {**message, "key": "its own"})


async def test_past_its_bytes_a_history_lets_go_of_what_other_channels_keep() -> None:
    broker = MemoryBroker(history_bytes=10_000)
    await broker.open(_nowhere)
    text = "x" * 1000  # twice, in two formats
    tops = [await broker.append(name, "", text, retention=KEPT) for name in ("a", "b", "c")]
    for _ in range(3):
        await broker.append("c", "", text, retention=KEPT)
    pages = [await broker.history(name, retention=KEPT, limit=10) for name in ("a", "b", "c")]
    assert [len(page.messages) for page in pages] == [0, 0, 4]
    assert [page.top.epoch for page in pages] == [top.epoch for top in tops]
    for _ in range(9):
        await broker.append("c", "", text, retention=KEPT)
    page = await broker.history("c", retention=KEPT, limit=100)
    assert len(page.messages) == 13  # its own stays
    await broker.append("d", "", "y", retention=KEPT)
    assert not (await broker.history("c", retention=KEPT, limit=100)).messages


async def test_who_reads_ever_new_names_takes_no_stream_from_those_who_subscribe() -> None:
    broker = MemoryBroker(streams=4)
    await broker.open(_nowhere)
    await broker.subscribe("mine")
    before = await broker.history("mine", retention=KEPT, limit=0)
    for number in range(10):
        await broker.history(f"new {number}", retention=KEPT, limit=0)
    assert (await broker.history("mine", retention=KEPT, limit=0)).top == before.top


async def test_while_too_many_channels_are_being_vacated_nobody_subscribes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openapi.ws.occupancy._VACATING", 2)
    gate = asyncio.Event()

    class Slow(SocketsManager):
        async def unsubscribe(self, channel: str) -> None:
            await gate.wait()

    async with Slow() as sockets:
        channels = sockets.channels
        for name in "abc":
            await channels.register(name, "*", _take)
            channels.unsubscribe(name, "*", _take)
        late = asyncio.create_task(channels.register("d", "*", _take))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not late.done()
        gate.set()
        await late
        assert channels.registered == ("d",)
        channels.leave(_take)


async def test_a_hook_that_subscribes_to_its_own_channel_is_told_why_that_cannot_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def occupied(channel: str) -> None:
        await sockets.channels.register(channel, "*", _take)

    async with SocketsManager(channels=[ChannelRule("c", on_occupied=occupied)]) as sockets:
        await sockets.channels.register("c", "*", _take)
        assert sockets.channels.registered == ("c",)
        sockets.channels.leave(_take)
    assert "start a task there, and let that subscribe" in caplog.text


def test_a_hook_that_does_not_return_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def occupied(channel: str) -> None:
        await asyncio.sleep(11)

    async def main() -> None:
        caplog.clear()
        async with SocketsManager(channels=[ChannelRule("c", on_occupied=occupied)]) as sockets:
            await sockets.channels.register("c", "*", _take)
            sockets.channels.leave(_take)
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "still runs for channel 'c'" in caplog.text

    run(1, main)


def test_who_is_present_must_be_refreshed_before_they_are_gone() -> None:
    with pytest.raises(ValueError, match="presence_ttl must be more than presence_interval"):
        Limits(presence_ttl=10, presence_interval=10)


class Signing(Endpoint):
    """Whose user changes."""

    info: Any = None

    def presence_info(self, channel: str) -> Any:
        return self.info

    async def ws_rpc_sign_in(self, payload: dict[str, Any]) -> None:
        self.user = payload["user"]

    async def ws_rpc_sign_in_as_a_number(self, payload: dict[str, Any]) -> str:
        self.user = user = uuid4().int
        return str(user)

    async def ws_rpc_fail_to_sign_in(self, payload: dict[str, Any]) -> str:
        try:
            self.user = []  # type: ignore[assignment] # as somebody may
        except TypeError:
            return str(self.user)
        return "signed in"


async def test_presence_follows_the_user(serve: Serve) -> None:
    sockets = SocketsManager(channels=[ChannelRule("c", presence=True)])
    url = await serve(application(Signing, sockets)) / "stream"
    async with peer(url) as client, peer(url) as watcher:
        await watcher.call("sign_in", {"user": "watcher"})
        await watcher.call("subscribe", {"channel": "c", "presence": True})
        assert (await watcher.message())["data"]["id"] == "watcher"
        await client.call("sign_in", {"user": "alice"})
        await client.call("subscribe", {"channel": "c"})
        await client.call("sign_in", {"user": "bob"})
        assert await client.call("fail_to_sign_in") == "bob"
        told = [await watcher.message() for _ in range(3)]
        assert [(each["event"], each["data"]["id"]) for each in told] == [
            ("$join", "alice"),
            ("$leave", "alice"),
            ("$join", "bob"),
        ]
        number = await client.call("sign_in_as_a_number")
        present = await client.call("presence", {"channel": "c"})
        assert {each["user"] for each in present["members"]} == {"watcher", number}


async def test_what_is_told_of_a_member_is_what_it_was_then(serve: Serve) -> None:
    class Changing(Signing):
        info: Any = {"name": "anna"}

    sockets = SocketsManager(channels=[ChannelRule("c", presence=True)])
    url = await serve(application(Changing, sockets)) / "stream"
    async with peer(url) as client:
        await client.call("subscribe", {"channel": "c"})
        Changing.info["secret"] = object()
        (member,) = (await client.call("presence", {"channel": "c"}))["members"]
        assert member["info"] == {"name": "anna"}


class Torn(MemoryBroker):
    """Whose pages may have holes, or cannot be read at all."""

    tear: Any = None

    async def history(self, channel: str, **reading: Any) -> Page[Publication]:
        page = await super().history(channel, **reading)
        if self.tear is None:
            return page
        messages: Sequence[Publication] = self.tear(page.messages)
        return Page(messages, page.top)


async def test_a_page_with_a_hole_recovers_nobody() -> None:
    broker = Torn()
    async with SocketsManager(broker=broker, channels=[ChannelRule("c", history=9)]) as sockets:
        for number in range(5):
            await sockets.publish("c", "", number)
        top = (await broker.history("c", retention=KEPT, limit=0)).top
        broker.tear = lambda messages: [*messages[:1], *messages[2:]]
        async with sockets.subscription("c", recover=Position(1, top.epoch)) as messages:
            assert messages.recovered is False


async def test_where_history_cannot_be_read_a_subscribe_may_be_tried_again(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(messages: object) -> Sequence[Publication]:
        raise OSError("the wire is cut")

    broker = Torn()
    sockets = SocketsManager(broker=broker, channels=[ChannelRule("c", history=9)])
    url = await serve(application(sockets=sockets)) / "stream"
    async with peer(url) as client:
        epoch = (await broker.history("c", retention=KEPT, limit=0)).top.epoch
        for number in range(3):
            await sockets.publish("c", "", number)
        broker.tear = fail
        payload = {"channel": "c", "recover": {"offset": 0, "epoch": epoch}}
        for _ in range(3):
            error = await client.error("subscribe", payload)
            assert error["code"] == ErrorCode.BROKER_UNAVAILABLE
            assert error["retry_after"] == 5000
        broker.tear = None
        assert (await client.call("subscribe", payload))["recovered"] is True
    assert caplog.text.count("the history of channel 'c' cannot be read") == 1


async def test_an_integer_that_only_json_can_say_harms_no_reader() -> None:
    taken: list[Any] = []

    async def take(channel: str, event: str, data: Any) -> None:
        taken.append(data)

    async with SocketsManager() as sockets, sockets.subscription("c") as messages:
        await sockets.channels.register("c", "*", take)
        await sockets.publish("c", "", {"n": 2**70})
        await sockets.publish("c", "", 2)
        assert taken == [{"n": 2**70}, 2]
        with pytest.raises(UnexpectedData, match="integer out of range"):
            await anext(messages)
        assert (await anext(messages)).data == 2
        sockets.channels.leave(take)


async def test_two_long_answers_of_one_connection_go_one_behind_the_other(serve: Serve) -> None:
    class Feeding(SocketsManager):
        async def subscribe_to_event(self, channel: str, event: str) -> None:
            await asyncio.sleep(0)

    names = [f"c{number}" for number in range(8)]
    sockets = Feeding(
        channels=[ChannelRule("c*", history=10)], limits=Limits(outbox_bytes=64 * 1024)
    )
    url = await serve(application(sockets=sockets)) / "stream"
    epochs = {}
    for name in names:
        positions = [await sockets.publish(name, "", "x" * 8000) for _ in range(3)]
        epochs[name] = positions[0].epoch if positions[0] is not None else ""
    async with peer(url, max_size=None) as client:
        for name in names:
            recover = {"offset": 0, "epoch": epochs[name]}
            payload = {"channel": name, "recover": recover}
            await client.send({"id": name, "method": "subscribe", "payload": payload})
        answers = [await client.receive() for _ in names]
        assert {each["id"] for each in answers} == set(names)
        assert all(each["response"]["recovered"] for each in answers)
        # closing while another waits for its turn leaves nothing
        for name in names[:3]:
            payload = {"channel": name, "recover": {"offset": 0, "epoch": epochs[name]}}
            await client.send({"id": name, "method": "subscribe", "payload": payload})


async def test_typed_data_of_a_list_is_refused_by_its_place() -> None:
    rule = ChannelRule("c", data=list[int], ttl=timedelta(minutes=1))
    with pytest.raises(InvalidData) as refused:
        rule.checked([1, "a"])
    assert list(refused.value.errors) == ["data[1]"]


async def _nowhere(
    channel: str, event: str, data: object, position: Position | None = None
) -> None:
    """Nobody is subscribed."""


async def _take(channel: str, event: str, data: Any) -> None:
    """Take a message, and leave it at that."""


async def test_where_messages_go_past_history_nobody_is_told_that_they_recovered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Carrying(SocketsManager):
        async def publish(self, channel: str, event: str, data: Any) -> None:
            await self.channels(channel, {"event": event, "data": data})

    async with Carrying(channels=[ChannelRule("c", history=9)]) as sockets:
        async with sockets.subscription("c") as messages:
            position = messages.position
            for number in range(3):
                await sockets.publish("c", "", number)
            assert (await anext(messages)).position is None
        async with sockets.subscription("c", recover=position) as messages:
            assert messages.recovered is False
    assert caplog.text.count("a message on channel 'c' has no position") == 1
