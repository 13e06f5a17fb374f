"""A server that lost its newest messages without a restart: others do not get their numbers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from openapi.errors import BrokerUnavailable
from openapi.protocol.stream import Retention
from openapi.ws.brokers.redis import RedisBroker
from tests.servers.fixtures import StartValkey
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Node, values_of

KEPT = Retention(messages=10, seconds=60.0)


def replicate(primary: ValkeyServer, replica: ValkeyServer) -> None:
    """Make a server a replica, and wait until it has all."""
    replica.execute("REPLICAOF", "127.0.0.1", str(primary.port))
    primary.execute("SET", "fence", "1")  # it waits for what this connection has written
    assert primary.execute("WAIT", "1", "20000") == 1


@asynccontextmanager
async def opened(server: ValkeyServer, *, trusted: bool) -> AsyncIterator[Node]:
    node = Node(RedisBroker(server.url, trust_restarts=trusted), 10.0)
    await node.open()
    yield node
    await node.broker.aclose()


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_primary_that_was_a_replica_meanwhile_has_new_epochs_unless_it_is_trusted(
    start_valkey: StartValkey, trusted: bool
) -> None:
    one, other = start_valkey(), start_valkey()
    async with opened(one, trusted=trusted) as node:
        for number in (1, 2):
            await node.history.append("c", "", number, retention=KEPT)
        before = await node.history.append("c", "", 3, retention=KEPT)
        replicate(one, other)
        other.execute("REPLICAOF", "NO", "ONE")
        for number in (4, 5):
            await node.history.append("c", "", number, retention=KEPT)
    # The other one is the primary, and then this one again: 4 and 5 are lost.
    replicate(other, one)
    one.execute("REPLICAOF", "NO", "ONE")
    async with opened(one, trusted=trusted) as node:
        after = await node.history.append("c", "", "another", retention=KEPT)
        assert after.offset == 4
        assert (after.epoch == before.epoch) is trusted
        page = await node.history.history("c", retention=KEPT, limit=10)
        assert (values_of(page), page.top) == ([1, 2, 3, "another"], after)


async def test_a_replica_is_away_until_it_is_a_primary(start_valkey: StartValkey) -> None:
    one, other = start_valkey(), start_valkey()
    node = Node(RedisBroker(one.url, probe_interval=0.2), 20.0)
    await node.open()
    replicate(other, one)  # its connections stay
    await node.until_away()
    outage = node.supervised.outage
    assert outage is not None
    assert outage.reason.endswith("it is a replica")
    with pytest.raises(BrokerUnavailable):
        await node.broker.publish("c", "", 1)
    one.execute("REPLICAOF", "NO", "ONE")
    await node.until_back()
    await node.broker.publish("c", "", 1)
    await node.broker.aclose()
