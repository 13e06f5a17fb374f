"""The broker over a cluster: what every broker must do."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.servers.cluster import ValkeyCluster
from tests.ws.broker_nodes import World
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
        world = ClusterWorld(gates)
        await world.back()
        yield world
        await world.aclose()
