"""The broker of one process: what every broker must do, and what is its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from openapi.errors import CannotPublish, CannotSubscribe, DeclarationError, RpcError
from openapi.protocol.stream import Position, Retention
from openapi.ws import SocketsManager
from openapi.ws.broker import KEY_SECONDS, Broker, Member, broker_from_url
from openapi.ws.brokers.memory import MemoryBroker
from tests.ws.broker_nodes import Clock, Node, World
from tests.ws.conformance import (
    Carrying,
    KeepingHistory,
    KeepingPresence,
    Ordering,
    PublishingOnce,
)

KEPT = Retention(messages=10, seconds=60.0)


class MemoryWorld(World):
    def __init__(self) -> None:
        self.clock = Clock()
        self.first = MemoryBroker(clock=self.clock)

    async def brokers(self, count: int) -> list[Broker]:
        return [self.first.sibling() for _ in range(count)]

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    async def lose(self, channel: str) -> None:
        self.first.forget(channel)

    async def kill(self, broker: Broker) -> None:
        await broker.aclose()


class TestMemoryBroker(Carrying, Ordering, KeepingHistory, PublishingOnce, KeepingPresence):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        yield MemoryWorld()


# --- its life -------------------------------------------------------------------------------------


def test_it_is_what_the_url_memory_names() -> None:
    assert isinstance(broker_from_url("memory://"), MemoryBroker)


async def test_managers_with_siblings_hear_of_each_other_and_others_do_not() -> None:
    broker = MemoryBroker()
    heard: list[Any] = []

    async def hear(channel: str, event: str, data: Any) -> None:
        heard.append(data)

    async with (
        SocketsManager(broker=broker) as one,
        SocketsManager(broker=broker.sibling()) as other,
        SocketsManager() as stranger,
    ):
        await one.channels.register("c", "*", hear)
        await other.publish("c", "", 1)
        await stranger.publish("c", "", 2)
    assert heard == [1]


async def test_one_broker_of_two_managers_is_refused() -> None:
    broker, node = MemoryBroker(), Node(MemoryBroker(), 1)
    await broker.open(node.deliver)
    with pytest.raises(DeclarationError, match=r"give the second manager `broker.sibling\(\)`"):
        await broker.open(node.deliver)
    await broker.aclose()
    await broker.open(node.deliver)


async def test_before_it_is_open_nothing_is_published_and_nobody_subscribes() -> None:
    broker = MemoryBroker()
    with pytest.raises(CannotPublish, match="the broker is not open"):
        await broker.publish("c", "", 1)
    with pytest.raises(CannotSubscribe, match="the broker is not open"):
        await broker.subscribe("c")


async def test_what_is_kept_outlives_every_manager_as_long_as_there_is_a_sibling() -> None:
    (broker,) = await opened(MemoryBroker())
    first = await broker.append("c", "", 1, retention=KEPT, key="k")
    await broker.enter("c", {"1": Member("ada")}, ttl=60)
    await broker.aclose()
    (restarted,) = await opened(broker.sibling())
    assert await restarted.append("c", "", 1, retention=KEPT, key="k") == first
    assert await restarted.append("c", "", 2, retention=KEPT) == Position(2, first.epoch)
    assert await restarted.members("c") == [Member("ada")]


async def test_of_subscriptions_that_ended_nothing_is_left() -> None:
    broker, sibling = await opened(MemoryBroker(), 2)
    for each in (broker, sibling):
        for channel in ("c", "d"):
            await each.subscribe(channel)
    await broker.unsubscribe("c")
    await sibling.aclose()
    assert list(broker._memory.subscribers) == ["d"]
    await broker.aclose()
    assert broker._memory.subscribers == {}


def test_bounds_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="MemoryBroker: streams must be 1 or more, not 0"):
        MemoryBroker(streams=0)
    with pytest.raises(ValueError, match="MemoryBroker: keys must be 1 or more, not -1"):
        MemoryBroker(keys=-1)


async def opened(broker: MemoryBroker, count: int = 1) -> list[MemoryBroker]:
    """Open a broker and siblings of it, which deliver to nobody."""
    brokers = [broker, *(broker.sibling() for _ in range(count - 1))]
    for each in brokers:
        await each.open(Node(each, 1).deliver)
    return brokers


# --- deliveries that wait, fail and are cancelled -------------------------------------------------


async def test_a_delivery_that_fails_is_the_publishers_error_and_no_other_nodes() -> None:
    async def fail() -> None:
        raise LookupError("a bug")

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise LookupError("another bug")

    for failing in (fail, fail_later):
        broker = MemoryBroker()
        nodes = [Node(broker.sibling(), 1, pause) for pause in (None, failing, None)]
        for node in nodes:
            await node.broker.open(node.deliver)
            await node.broker.subscribe("c")
        with pytest.raises(LookupError):
            await nodes[0].broker.publish("c", "", 1)
        assert [len(node.delivered["c"]) for node in nodes] == [1, 1, 1]


async def test_a_publisher_that_is_cancelled_has_published_to_every_node() -> None:
    broker, cleaned = MemoryBroker(), list[str]()

    async def wait_and_clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    nodes = [Node(broker.sibling(), 1, wait_and_clean_up) for _ in range(3)]
    for node in nodes:
        await node.broker.open(node.deliver)
        await node.broker.subscribe("c")
    publishing = asyncio.create_task(nodes[0].broker.publish("c", "", 1))
    for node in nodes:
        await node.messages("c", 1)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert cleaned == ["up"] * 3


async def test_what_a_delivery_publishes_in_turn_is_delivered() -> None:
    broker = MemoryBroker()
    nodes = [Node(broker.sibling(), 1) for _ in range(2)]

    async def answer() -> None:
        if len(nodes[0].delivered["c"]) < 3:
            await nodes[0].broker.publish("c", "", len(nodes[0].delivered["c"]))

    nodes.append(Node(broker.sibling(), 1, answer))
    for node in nodes:
        await node.broker.open(node.deliver)
        await node.broker.subscribe("c")
    await nodes[1].broker.publish("c", "", 0)
    for node in nodes:
        assert [message.data for message in node.delivered["c"]] == [0, 1, 2]


# --- bounds ---------------------------------------------------------------------------------------


async def top(broker: MemoryBroker, channel: str) -> Position:
    return (await broker.history(channel, retention=KEPT, limit=0)).top


async def test_of_too_many_streams_the_one_that_was_used_least_recently_goes() -> None:
    (broker,) = await opened(MemoryBroker(streams=3))
    tops = {name: await broker.append(name, "", 1, retention=KEPT) for name in "abc"}
    assert await top(broker, "a") == tops["a"]
    await broker.append("c", "", 2, retention=KEPT)
    await broker.append("d", "", 1, retention=KEPT)
    assert await top(broker, "a") == tops["a"]
    assert (await top(broker, "c")).offset == 2
    assert (await top(broker, "b")).epoch != tops["b"].epoch


async def test_streams_that_never_had_a_message_go_before_those_that_had() -> None:
    (broker,) = await opened(MemoryBroker(streams=4))
    tops = {name: await broker.append(name, "", 1, retention=KEPT) for name in "abc"}
    for number in range(10):
        first = await top(broker, f"read {number}")
        assert await top(broker, f"read {number}") == first  # it is not its own victim
    for name in "abc":
        assert await top(broker, name) == tops[name]


async def test_a_full_table_of_streams_has_room_for_one_that_is_only_read() -> None:
    (broker,) = await opened(MemoryBroker(streams=2))
    for name in "ab":
        await broker.append(name, "", 1, retention=KEPT)
    first = await top(broker, "read")
    assert await broker.append("read", "", 1, retention=KEPT) == Position(1, first.epoch)
    assert (await top(broker, "b")).offset == 1
    assert (await top(broker, "a")).offset == 0


async def test_what_has_expired_on_channels_that_nobody_uses_any_more_is_let_go_of() -> None:
    clock = Clock()
    (broker,) = await opened(MemoryBroker(clock=clock))
    for number in range(100):
        await broker.append(f"c{number}", "", 1, retention=KEPT)
    clock.now += KEPT.seconds + 1
    for _ in range(60):
        await broker.append("busy", "", 1, retention=KEPT)
    streams = broker._memory.streams
    assert list(streams._holding) == ["busy"]
    assert sum(len(stream.log) for stream in streams._written.values()) == KEPT.messages
    assert (await top(broker, "c0")).offset == 1


async def test_more_keys_than_there_is_room_for_are_refused_and_none_is_lost() -> None:
    clock = Clock()
    (broker,) = await opened(MemoryBroker(clock=clock, keys=2))
    await broker.publish_once("c", "", 1, key="a")
    clock.now += 100
    first = await broker.append("c", "", 1, retention=KEPT, key="b")
    for refused in (
        broker.append("c", "", 2, retention=KEPT, key="c"),
        broker.publish_once("d", "", 2, key="a"),
    ):
        with pytest.raises(RpcError) as refusal:
            await refused
        assert refusal.value.code == -32007
        assert refusal.value.data == {"limit": "keys", "max": 2}
        assert refusal.value.retry_after == (KEY_SECONDS - 100) * 1000
        assert refusal.value.message == (
            "2 keys of messages are remembered, and no more can be:"
            " publish without one, or try again later"
        )
    assert await broker.append("c", "", 1, retention=KEPT, key="b") == first
    await broker.publish_once("c", "", 1, key="a")
    assert await broker.append("c", "", 2, retention=KEPT) == Position(2, first.epoch)
    clock.now += KEY_SECONDS - 100
    assert (await broker.append("c", "", 2, retention=KEPT, key="c")).offset == 3
    clock.now += KEY_SECONDS
    await broker.publish_once("c", "", 3, key="d")
    assert len(broker._memory.keys._keys) == 1


async def test_a_key_with_history_and_the_same_without_are_two() -> None:
    (broker,) = await opened(MemoryBroker())
    await broker.publish_once("c", "", 1, key="k")
    assert (await broker.append("c", "", 2, retention=KEPT, key="k")).offset == 1


async def test_a_channel_without_anybody_has_no_roster() -> None:
    (broker,) = await opened(MemoryBroker())
    await broker.enter("c", {"1": Member("ada"), "2": Member("bea")}, ttl=60)
    await broker.leave("c", ["1", "2"])
    await broker.refresh("d", ["1"], ttl=60)
    await broker.members("d")
    assert not broker._memory.rosters._rosters


async def test_whoever_is_asked_for_no_more_is_forgotten() -> None:
    clock = Clock()
    (broker,) = await opened(MemoryBroker(clock=clock))
    for number in range(100):
        await broker.enter(f"c{number}", {"1": Member("ada")}, ttl=60)
    clock.now += 120
    assert await broker.refresh("c0", ["1"], ttl=60) == await broker.refresh("d", ["1"], ttl=60)
    for number in range(60):
        await broker.enter("busy", {str(number): Member("ada")}, ttl=60)
    assert list(broker._memory.rosters._rosters) == ["busy"]


async def test_a_connection_that_changes_its_member_leaves_nothing_of_the_one_before() -> None:
    clock = Clock()
    (broker,) = await opened(MemoryBroker(clock=clock))
    await broker.enter("c", {"1": Member("ada"), "2": Member("bea")}, ttl=60)
    assert await broker.enter("c", {"1": Member("bea")}, ttl=60) == []
    assert await broker.enter("c", {"2": Member("cleo")}, ttl=60) == [Member("cleo")]
    assert await broker.members("c") == [Member("bea"), Member("cleo")]
    clock.now += 60
    expired = (await broker.refresh("c", (), ttl=60)).expired
    assert [member.id for member in expired] == ["bea", "cleo"]
    assert not broker._memory.rosters._rosters
