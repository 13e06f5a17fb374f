"""What it costs, in commands and writes, whatever the machine."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest

from openapi.protocol.stream import Retention
from openapi.ws.brokers.redis import RedisBroker, link
from openapi.ws.brokers.redis.connection import packed
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Node

KEPT = Retention(messages=100, seconds=60.0)


@pytest.fixture
async def node(valkey: ValkeyServer) -> AsyncIterator[Node]:
    node = Node(RedisBroker(valkey.url), 10.0)
    await node.open()
    valkey.execute("CONFIG", "RESETSTAT")
    yield node
    await node.broker.aclose()


def commands(server: ValkeyServer) -> Counter[str]:
    """How often each command came from clients since the node was opened."""
    stats = server.execute("INFO", "commandstats")
    return Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()})


async def test_a_message_is_one_command_and_one_with_history_is_one_script(
    node: Node, valkey: ValkeyServer
) -> None:
    for number in range(10):
        await node.broker.publish("c", "", number)
        await node.history.append("kept", "", number, retention=KEPT, key=str(number))
        await node.once.publish_once("c", "", number, key=str(number))
    found = commands(valkey)
    assert found["evalsha"] == 20  # each publishes from inside
    assert found["publish"] == 10 + 20
    assert found["eval"] == 0


async def test_what_is_published_in_one_tick_is_one_write(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []

    def counted(commands: Iterable[Sequence[bytes]]) -> bytes:
        several = list(commands)
        writes.append(len(several))
        return packed(several)

    monkeypatch.setattr(link, "packed", counted)
    await asyncio.gather(*(node.broker.publish("c", "", number) for number in range(500)))
    assert writes == [500]


async def test_what_is_subscribed_to_in_one_tick_is_a_command_for_each_512(
    node: Node, valkey: ValkeyServer
) -> None:
    channels = [f"c{number}" for number in range(1000)]
    await asyncio.gather(*map(node.broker.subscribe, channels))
    assert commands(valkey)["subscribe"] == 2
    for channel in channels:
        await node.broker.unsubscribe(channel)
    await node.broker.subscribe("another")
    assert commands(valkey)["unsubscribe"] == 2


async def test_a_node_hears_only_of_what_it_is_subscribed_to(
    node: Node, valkey: ValkeyServer
) -> None:
    await node.broker.subscribe("mine")
    assert valkey.execute("PUBLISH", "openapi:b:another's", "x") == 0
    assert valkey.execute("PUBLISH", "openapi:b:mine", "x") == 1
