"""However many come back at once: one reading of the stream, and each message encoded once."""

from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

import pytest

from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page
from openapi.ws import Broker, ChannelRule, Limits, Position, SocketsManager
from openapi.ws.broker import KeepsHistory, broker_from_url
from openapi.ws.brokers.memory import MemoryBroker
from tests.counts.commands import Said
from tests.counts.connections import Connected, site
from tests.counts.encoders import encoding
from tests.counts.loops import CountingLoop
from tests.servers.valkey import ValkeyServer

MESSAGES: Final = 100
#: One message more is kept than they missed.
RULES: Final = (ChannelRule("*", history=MESSAGES + 1),)
#: Where a stream stands is not compared meanwhile, however slow the machine is.
CALM: Final = Limits(position_check=36_000.0)


async def missed(broker: Broker, channel: str) -> Position:
    """Publish on a node that ends; returns the position behind which the messages are."""
    async with SocketsManager(broker=broker, channels=RULES) as sockets:
        since = await sockets.publish(channel, "e", "the last that they had")
        for number in range(MESSAGES):
            await sockets.publish(channel, "e", number)
    assert since is not None
    return since


async def come_back(some: list[Connected], channel: str, since: Position) -> None:
    """Subscribe at once from a position, and get all of it."""
    recover = {"offset": since.offset, "epoch": since.epoch}
    payload = {"channel": channel, "recover": recover}
    ids = [each.client.begin("subscribe", payload) for each in some]
    for each, id in zip(some, ids, strict=True):
        response = (await each.client.answer(id))["response"]
        assert response["recovered"]
        assert [message["data"] for message in response["messages"]] == list(range(MESSAGES))


@pytest.fixture
def channel() -> str:
    """A channel of which the server knows nothing."""
    return f"channel{uuid4().hex}"


def counted(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages at most are asked of a broker, in each reading from now on."""
    assert isinstance(broker, KeepsHistory)
    readings: list[int] = []
    history: Callable[..., Any] = broker.history

    async def read(*args: Any, limit: int, **kwargs: Any) -> Page[Publication]:
        readings.append(limit)
        page: Page[Publication] = await history(*args, limit=limit, **kwargs)
        return page

    monkeypatch.setattr(broker, "history", read)
    return readings


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_thousand_who_missed_the_same_are_one_reading_of_the_stream(
    loop: CountingLoop, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = MemoryBroker()
    since = await missed(broker.sibling(), channel)
    readings = counted(broker, monkeypatch)
    async with site(loop, SocketsManager(broker=broker, channels=RULES, limits=CALM)) as server:
        await come_back(await server.connect(1000), channel, since)
    assert len([limit for limit in readings if limit > 0]) == 1
    assert len(readings) <= 2  # the other one is where the stream is


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_thousand_who_missed_the_same_are_one_reading_over_redis(
    loop: CountingLoop,
    channel: str,
    shared_valkey: ValkeyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = shared_valkey.url
    since = await missed(broker_from_url(url), channel)
    broker = broker_from_url(url)
    readings = counted(broker, monkeypatch)
    async with site(loop, SocketsManager(broker=broker, channels=RULES, limits=CALM)) as server:
        some = await server.connect(1000)
        said = Said(loop, url, channel)
        await come_back(some, channel, since)
        assert sorted(sum(said.writes(), [])) == ["EVALSHA", "EVALSHA", "SUBSCRIBE"]
    assert len([limit for limit in readings if limit > 0]) == 1


async def encoded(loop: CountingLoop, clients: int, channel: str) -> int:
    """What is encoded when so many come back at once."""
    broker = MemoryBroker()
    since = await missed(broker.sibling(), channel)
    async with site(loop, SocketsManager(broker=broker, channels=RULES, limits=CALM)) as server:
        some = await server.connect(clients)
        with encoding() as counts:
            await come_back(some, channel, since)
    return counts.total()


async def test_what_all_missed_is_encoded_once_for_all(loop: CountingLoop, channel: str) -> None:
    one, eleven = await encoded(loop, 1, channel), await encoded(loop, 11, channel)
    # An answer is two, for what is in it is written by then; the node says that it is there.
    assert one < MESSAGES + 2 + 10
    assert eleven < MESSAGES + 2 * 11 + 10
