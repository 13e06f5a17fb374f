"""The broker over a cluster: what every broker must do."""

import re
from collections.abc import AsyncIterator, Iterator

import pytest

from openapi.errors import BrokerUnavailable
from openapi.ws.brokers.redis import broker as broker_module
from tests.servers.cluster import ValkeyCluster
from tests.ws.broker_nodes import Node, World
from tests.ws.brokers.cluster_world import ClusterWorld, Gates
from tests.ws.conformance import (
    Carrying,
    KeepingHistory,
    KeepingPresence,
    Ordering,
    PublishingOnce,
    Supervising,
    SupervisingHistory,
)


@pytest.fixture(scope="module")
def gates() -> Iterator[Gates]:
    """A cluster of three primaries, behind gates."""
    with ValkeyCluster() as cluster:
        yield Gates(cluster)


class TestRedisCluster(
    Carrying,
    Ordering,
    KeepingHistory,
    PublishingOnce,
    KeepingPresence,
    Supervising,
    SupervisingHistory,
):
    @pytest.fixture
    async def world(self, gates: Gates) -> AsyncIterator[World]:
        gates.cluster.flush()
        world = ClusterWorld(gates, timeout=1.0)
        await world.back()
        yield world
        await world.aclose()


async def test_a_broker_that_is_opened_where_nobody_answers_finds_the_cluster_later(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "_PATIENCE", 1.5)
    world = ClusterWorld(gates, timeout=1.0)
    await world.back()
    await world.away(silent=True)
    (broker,) = await world.brokers(1)
    node = Node(broker, world.patience)
    await node.open()
    outage = node.supervised.outage
    assert outage is not None
    assert re.fullmatch(r"Redis Cluster at (\S+:\d+(, )?){3}: no answer within 1 s", outage.reason)
    with pytest.raises(BrokerUnavailable):
        await broker.publish("c", "", 1)
    await world.back()
    await node.until_back()
    await broker.subscribe("c")
    await broker.publish("c", "", 1)
    await node.messages("c", 1)
    await broker.aclose()
    await world.aclose()
