"""Publishing from a program that has no sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from openapi.errors import DeclarationError, InvalidData, Unserializable
from openapi.ws import (
    CannotPublish,
    ChannelRule,
    Position,
    Publisher,
    SocketsManager,
    Subscription,
)
from openapi.ws.broker import Broker, Deliver, Outage, Supervised
from openapi.ws.brokers.memory import MemoryBroker

RULES = [
    ChannelRule("kept*", history=10, ttl=timedelta(minutes=1)),
    ChannelRule("numbers", data=int),
    ChannelRule("closed", refused=True),
]


class Shared(MemoryBroker):
    """A memory that stands for a server: what is between a publisher and the managers."""

    spans_processes = True


class Bare(Broker):
    """It keeps nothing, and takes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    async def open(self, deliver: Deliver) -> None:
        self.told.append("open")

    async def publish(self, channel: str, event: str, data: object) -> None:
        self.told.append((channel, event, data))

    async def subscribe(self, channel: str) -> None: ...

    async def unsubscribe(self, channel: str) -> None: ...

    async def aclose(self) -> None:
        self.told.append("aclose")


class Away(Bare, Supervised):
    """A broker whose server is not there."""

    @property
    def outage(self) -> Outage | None:
        return Outage(12.5, "nobody is there")

    def watch(self, missed: object) -> None:
        self.told.append("watch")


@asynccontextmanager
async def reading(broker: MemoryBroker, channel: str) -> AsyncIterator[Subscription[Any]]:
    """What the sockets of a server hear of a channel."""
    async with (
        SocketsManager(broker=broker.sibling(), channels=RULES) as manager,
        manager.subscription(channel) as messages,
    ):
        yield messages


async def test_what_it_publishes_reaches_the_sockets_of_a_server() -> None:
    broker = Shared()
    async with reading(broker, "news") as news, Publisher(broker) as publisher:
        assert await publisher.publish("news", "made", {"n": 1}) is None
        message = await anext(news)
    assert (message.event, message.data, message.position) == ("made", {"n": 1}, None)


async def test_by_the_rules_of_the_application_a_message_is_numbered_and_kept() -> None:
    broker = Shared()
    async with reading(broker, "kept1") as kept, Publisher(broker, channels=RULES) as publisher:
        first = await publisher.publish("kept1", "made", 1)
        second = await publisher.publish("kept1", "made", 2)
        assert first is not None
        assert second == Position(2, first.epoch)
        assert [(await anext(kept)).position for _ in range(2)] == [first, second]


async def test_a_channel_that_keeps_history_is_not_published_to_without_its_rule() -> None:
    broker = Shared()
    async with SocketsManager(broker=broker.sibling(), channels=RULES) as manager:
        await manager.publish("kept1", "made", 1)
    async with Publisher(broker) as publisher:
        for _ in range(2):
            with pytest.raises(CannotPublish, match="'kept1' keeps history.*give the rules"):
                await publisher.publish("kept1", "made", 2)
        with pytest.raises(CannotPublish, match="'kept1' keeps history"):
            await publisher.publish_once("kept1", "made", 2, key="a")
        assert await publisher.publish("news", "made", 1) is None


async def test_a_channel_without_a_rule_is_looked_up_once() -> None:
    looked = list[str]()

    class Looking(Shared):
        async def history(self, channel: str, **options: Any) -> Any:
            looked.append(channel)
            return await super().history(channel, **options)

    async with Publisher(Looking(), channels=RULES) as publisher:
        for _ in range(3):
            await publisher.publish("news", "made", 1)
            await publisher.publish("numbers", "made", 1)
    assert looked == ["news"]


async def test_where_it_publishes_to_more_channels_than_it_remembers_it_looks_again() -> None:
    looked = list[str]()

    class Looking(Shared):
        async def history(self, channel: str, **options: Any) -> Any:
            looked.append(channel)
            return await super().history(channel, **options)

    async with Publisher(Looking()) as publisher:
        for number in range(4097):
            await publisher.publish(f"news{number}", "made", 1)
        await publisher.publish("news0", "made", 1)
    assert len(looked) == 4098


async def test_data_is_held_against_the_type_of_the_rule() -> None:
    async with Publisher(Shared(), channels=RULES) as publisher:
        with pytest.raises(InvalidData) as refused:
            await publisher.publish("numbers", "made", "one")
        assert "data" in refused.value.errors
        with pytest.raises(Unserializable):
            await publisher.publish("news", "made", object())


async def test_a_refused_channel_is_refused() -> None:
    async with Publisher(Shared(), channels=RULES) as publisher:
        with pytest.raises(CannotPublish, match="the rule for 'closed' refuses"):
            await publisher.publish("closed", "made", 1)
        with pytest.raises(CannotPublish, match="refuses the channel '\\$nodes'"):
            await publisher.publish("$nodes", "made", 1)


async def test_a_key_is_published_once() -> None:
    broker = Shared()
    async with reading(broker, "news") as news, Publisher(broker, channels=RULES) as publisher:
        for _ in range(2):
            assert await publisher.publish_once("news", "made", 1, key="a") is None
        with pytest.raises(InvalidData) as other:
            await publisher.publish_once("news", "made", 2, key="a")
        assert "key" in other.value.errors
        await publisher.publish("news", "last", None)
        assert [(await anext(news)).event for _ in range(2)] == ["made", "last"]


async def test_a_key_on_a_channel_that_keeps_history_returns_the_first_position() -> None:
    async with Publisher(Shared(), channels=RULES) as publisher:
        first = await publisher.publish_once("kept1", "made", 1, key="a")
        assert first is not None
        assert await publisher.publish_once("kept1", "made", 1, key="a") == first


async def test_a_broker_that_remembers_no_keys_refuses_them() -> None:
    async with Publisher(Bare()) as publisher:
        with pytest.raises(InvalidData) as refused:
            await publisher.publish_once("news", "made", 1, key="a")
    assert refused.value.errors == {"key": "Bare remembers no keys: leave it out"}


async def test_an_event_of_the_servers_own_is_not_published_by_others() -> None:
    async with Publisher(Shared()) as publisher:
        with pytest.raises(InvalidData, match="server's own"):
            await publisher.publish_once("news", "$join", 1, key="a")
        with pytest.raises(InvalidData, match="servers' own"):
            await publisher.publish("news", "$reset", 1)


def test_a_broker_that_reaches_nobody_is_refused_without_its_password() -> None:
    with pytest.raises(DeclarationError) as refused:
        Publisher("memory://me:secret@")
    assert "memory:// is of one process" in str(refused.value)


async def test_it_opens_its_broker_and_closes_it_whatever_happens() -> None:
    broker = Bare()
    with pytest.raises(ZeroDivisionError):
        async with Publisher(broker) as publisher:
            await publisher.publish("news", "made", 1)
            raise ZeroDivisionError
    assert broker.told == ["open", ("news", "made", 1), "aclose"]
    with pytest.raises(CannotPublish, match="the publisher is closed"):
        await publisher.publish("news", "made", 1)
    with pytest.raises(DeclarationError, match="closed: make a new one"):
        async with publisher:
            raise AssertionError


async def test_it_is_to_be_entered() -> None:
    with pytest.raises(DeclarationError, match="enter the Publisher first"):
        await Publisher(Bare()).publish("news", "made", 1)


async def test_it_says_when_the_server_of_its_broker_is_away() -> None:
    broker = Away()
    async with Publisher(broker) as publisher:
        assert publisher.outage == Outage(12.5, "nobody is there")
    assert broker.told == ["watch", "open", "aclose"]
    async with Publisher(Bare()) as publisher:
        assert publisher.outage is None


@pytest.mark.parametrize("broker", ["memory://", MemoryBroker()])
def test_a_broker_of_one_process_is_refused(broker: str | Broker) -> None:
    with pytest.raises(DeclarationError, match="is of one process, and nobody would get a message"):
        Publisher(broker)


def test_rules_that_the_broker_cannot_keep_are_refused() -> None:
    with pytest.raises(DeclarationError, match="promises history, which the broker Bare cannot"):
        Publisher(Bare(), channels=RULES)
    with pytest.raises(DeclarationError, match="Publisher: there are two rules for 'a'"):
        Publisher(Bare(), channels=[ChannelRule("a"), ChannelRule("a")])


def test_a_url_that_no_broker_has_is_refused() -> None:
    with pytest.raises(DeclarationError, match="no broker for the scheme 'pigeon'"):
        Publisher("pigeon://here")
