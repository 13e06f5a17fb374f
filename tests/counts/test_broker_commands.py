"""What a publication and a subscription cost in commands, and in writes to a broker's server."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Final
from uuid import uuid4

import pytest

from openapi.protocol.stream import Position, Retention
from openapi.ws import Publisher, SocketsManager
from openapi.ws.broker import Broker, KeepsHistory, PublishesOnce, broker_from_url
from tests.counts.commands import Said
from tests.counts.connections import site
from tests.counts.loops import CountingLoop
from tests.servers.nats import NatsServer
from tests.servers.valkey import ValkeyServer

KEPT: Final = Retention(messages=100, seconds=60.0)


async def deliver(channel: str, event: str, data: object, position: Position | None = None) -> None:
    """Nobody is subscribed here."""


@pytest.fixture(params=["redis", "nats"])
def url(
    request: pytest.FixtureRequest, shared_valkey: ValkeyServer, shared_nats: NatsServer
) -> str:
    """A broker's server."""
    return (shared_valkey if request.param == "redis" else shared_nats).url


@pytest.fixture
async def broker(url: str, loop: CountingLoop) -> AsyncIterator[Broker]:
    """An open broker, alone."""
    broker = broker_from_url(url)
    await broker.open(deliver)
    yield broker
    await broker.aclose()


@pytest.fixture
def channel() -> str:
    """A channel of which the server knows nothing."""
    return f"channel{uuid4().hex}"


async def test_a_publication_is_one_command(
    loop: CountingLoop, url: str, broker: Broker, channel: str
) -> None:
    said = Said(loop, url, channel)
    await broker.publish(channel, "e", 1)
    assert said.writes() in ([["PUBLISH"]], [["PUB"]])


async def test_a_publication_with_history_is_one_script_or_one_message(
    loop: CountingLoop, url: str, broker: Broker, channel: str
) -> None:
    assert isinstance(broker, KeepsHistory)
    await broker.append(channel, "e", 0, retention=KEPT)  # the stream begins
    said = Said(loop, url, channel)
    await broker.append(channel, "e", 1, retention=KEPT)
    assert said.writes() in ([["EVALSHA"]], [["HPUB"]])


async def test_a_publication_with_a_key_is_one_script_or_one_message(
    loop: CountingLoop, url: str, broker: Broker, channel: str
) -> None:
    assert isinstance(broker, PublishesOnce)
    said = Said(loop, url, channel)
    await broker.publish_once(channel, "e", 1, key="k")
    assert said.writes() in ([["EVALSHA"]], [["HPUB"]])


async def test_what_is_published_in_one_turn_leaves_in_one_write(
    loop: CountingLoop, url: str, broker: Broker, channel: str
) -> None:
    said = Said(loop, url, channel)
    await asyncio.gather(*(broker.publish(channel, "e", number) for number in range(8)))
    assert said.writes() in ([["PUBLISH"] * 8], [["PUB"] * 8])


async def test_what_is_appended_in_one_turn_leaves_in_one_write(
    loop: CountingLoop, url: str, broker: Broker, channel: str
) -> None:
    assert isinstance(broker, KeepsHistory)
    append = partial(broker.append, channel, "e", retention=KEPT)
    await append(0)
    said = Said(loop, url, channel)
    await asyncio.gather(*map(append, range(8)))
    assert said.writes() in ([["EVALSHA"] * 8], [["HPUB"]])  # NATS has them as one record


async def test_only_the_first_subscription_of_a_process_is_a_command(
    loop: CountingLoop, url: str, channel: str
) -> None:
    async with site(loop, SocketsManager(broker=url)) as server:
        said = Said(loop, url, channel)
        await server.connect(1, channel=channel)
        assert said.writes() in ([["SUBSCRIBE"]], [["SUB"]])
        said = Said(loop, url, channel)
        for each in await server.connect(20, channel=channel):
            await each.client.call("subscribe", {"channel": channel, "event": "x*"})
            await each.client.call("unsubscribe", {"channel": channel})
        assert said.writes() == []


async def test_what_comes_from_another_node_in_one_write_is_one_write_to_each_subscriber(
    loop: CountingLoop, shared_valkey: ValkeyServer, channel: str
) -> None:
    url = shared_valkey.url
    async with site(loop, SocketsManager(broker=url)) as server, Publisher(url) as publisher:
        subscribers = await server.connect(10, channel=channel)
        await publisher.publish(channel, "e", "both are connected")
        for each in subscribers:
            await each.hear(1)
            each.forget()
        await asyncio.gather(*(publisher.publish(channel, "e", number) for number in range(8)))
        for each in subscribers:
            await each.hear(8)
            (write,) = each.written()
            assert [message["data"] for message in write] == list(range(8))


async def test_a_publication_over_redis_is_no_task_and_no_timer(
    loop: CountingLoop, shared_valkey: ValkeyServer, channel: str
) -> None:
    broker = broker_from_url(shared_valkey.url)
    await broker.open(deliver)
    await broker.publish(channel, "e", 0)
    before = loop.counts.copy()
    for number in range(100):
        await broker.publish(channel, "e", number)
    cost = loop.counts - before
    await broker.aclose()
    assert cost.tasks == 0
    assert cost.timers < 10  # one watches over all that are under way
