"""Nodes of a cluster that go away: what they had is refused or elsewhere, and the rest goes on.

Real nodes, killed and stopped. What is lost on a channel with history is flagged, never lost
silently. The figures are in the output.
"""

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

import pytest

from openapi.errors import BrokerUnavailable, DeclarationError
from openapi.protocol.stream import Retention
from openapi.ws.brokers.redis import RedisBroker
from tests.servers.cluster import ClusterNode, ValkeyCluster
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Node
from tests.ws.brokers.cluster_world import brokers, slot_of
from tests.ws.brokers.stage import (
    BACK,
    CHANNEL,
    PATIENCE,
    assert_nothing_silent,
    stage,
    until,
)

KEPT: Final = Retention(messages=100, seconds=60.0)

#: A cluster goes on with the slots that it has.
_PARTLY: Final = ("--cluster-require-full-coverage", "no")


@pytest.fixture(scope="module")
def alone() -> Iterator[ValkeyCluster]:
    """Three primaries."""
    with ValkeyCluster(*_PARTLY) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def replicated() -> Iterator[ValkeyCluster]:
    """Three primaries with a replica each."""
    with ValkeyCluster(*_PARTLY, replicas=1) as cluster:
        yield cluster


def others_say(cluster: ValkeyCluster, slot: int, owner: ClusterNode) -> bool:
    """Whether all who run, but for a node, say that somebody else has its slot."""
    return all(
        primary[2] != owner.id
        for node in cluster.nodes
        if node.runs and node is not owner
        for low, high, primary, *_ in node.execute("CLUSTER", "SLOTS")
        if low <= slot <= high
    )


async def refusal(call: Awaitable[object]) -> float:
    """How long a call took to be refused: seconds."""
    began = time.perf_counter()
    with pytest.raises(BrokerUnavailable):
        await call
    return time.perf_counter() - began


# --- failover -------------------------------------------------------------------------------------


async def test_where_a_replica_takes_over_nothing_is_lost_silently(
    replicated: ValkeyCluster,
) -> None:
    slot = slot_of(CHANNEL)
    async with stage(lambda: RedisBroker(replicated.url)) as play:
        await play.go_on()
        dead = replicated.node_of(slot)
        replicated.kill(dead)
        began = time.perf_counter()
        await play.until(lambda: all(each.outage for each in play.managers))
        await play.until(lambda: others_say(replicated, slot, dead))
        took = time.perf_counter() - began
        figures = await play.recovers()
        replicated.start_again(dead)
        await play.go_on()
    sys.stdout.write(f"taken over after {took:.2f} s\n")
    assert_nothing_silent(play, figures, "a primary killed, its replica took over")
    assert figures.told == len(play.witnesses)


async def test_a_primary_that_stood_still_and_wakes_up_replaced_leads_nobody_astray(
    replicated: ValkeyCluster,
) -> None:
    slot = slot_of(CHANNEL)
    async with stage(lambda: RedisBroker(replicated.url, timeout=1.0)) as play:
        await play.go_on()
        still = replicated.node_of(slot)
        still.pause()
        await play.until(lambda: others_say(replicated, slot, still))
        figures = await play.recovers()
        still.resume()
        await play.until(lambda: still.execute("ROLE")[0] == "slave")
        await play.go_on()
        figures = play.ledger.judge(play.witnesses)
    replicated.wait()
    assert_nothing_silent(play, figures, "a primary stopped, replaced and woken up")


def begin_failover(cluster: ValkeyCluster, slot: int) -> None:
    """Have the replica of a slot's primary take over in good order."""
    primary = cluster.node_of(slot)
    replica = next(
        node
        for node in cluster.nodes
        if (role := node.execute("ROLE"))[0] == "slave" and role[2] == primary.port
    )
    replica.execute("CLUSTER", "FAILOVER")


def is_two_in_order(heard: Sequence[int]) -> bool:
    """Whether they are those up to some number, in order, mixed with those behind it, in order."""
    return any(
        in_order([each for each in heard if each <= last])
        and in_order([each for each in heard if each > last])
        for last in heard
    )


def in_order(heard: Sequence[int]) -> bool:
    return list(heard) == sorted(set(heard))


async def test_a_failover_in_good_order_delivers_nothing_twice_and_may_swap_what_has_no_number(
    replicated: ValkeyCluster,
) -> None:
    async with brokers(replicated.url, 2) as (one, other):
        await one.broker.subscribe("c")
        begin_failover(replicated, slot_of("c"))
        count = 0
        async with asyncio.timeout(PATIENCE):
            while not any(told is None or "c" in told for told in one.missed):
                count += 1
                try:
                    await other.broker.publish("c", "", count)
                except BrokerUnavailable:
                    await asyncio.sleep(0.01)  # it is between the two
        # The other may still publish by the node that was replaced, whose messages take longer: its
        # last one shows that all have come. This one is where the channel is now.
        await other.broker.publish("c", "", count + 1)
        behind = list(range(count + 2, count + 12))
        for number in behind:
            await one.broker.publish("c", "", number)
        due = {count + 1, *behind}
        heard = [
            each.data
            for each in await one.until("c", lambda all: due <= {each.data for each in all})
        ]
        assert len(heard) == len(set(heard))
        assert is_two_in_order([each for each in heard if each <= count + 1])
        assert [each for each in heard if each > count + 1] == behind
    replicated.wait()


async def test_a_failover_in_good_order_swaps_nothing_that_has_a_number(
    replicated: ValkeyCluster,
) -> None:
    slot = slot_of(CHANNEL)
    async with stage(lambda: RedisBroker(replicated.url)) as play:
        await play.go_on()
        before = replicated.node_of(slot)
        begin_failover(replicated, slot)
        await play.until(lambda: others_say(replicated, slot, before))
        figures = await play.recovers()
    replicated.wait()
    assert_nothing_silent(play, figures, "a primary replaced in good order")


# --- a node without a replica ---------------------------------------------------------------------


async def test_without_a_replica_the_rest_of_the_cluster_goes_on(alone: ValkeyCluster) -> None:
    dead = alone.nodes[0]  # the one that the URL names
    channels = [f"c{number}" for number in range(60)]
    lost = sorted(each for each in channels if alone.node_of(slot_of(each)) is dead)
    there = [each for each in channels if each not in lost]
    kept = next(each for each in map("d{}".format, range(999)) if slot_of(each) == slot_of(lost[0]))
    async with brokers(alone.url, 2) as (one, other):
        await asyncio.gather(*map(one.broker.subscribe, channels))
        before = await other.history.append(kept, "", 0, retention=KEPT)
        alone.kill(dead)
        for node in (one, other):
            await node.until_away()
            outage = node.supervised.outage
            assert outage is not None
            assert f"Redis at 127.0.0.1:{dead.port} " in outage.reason
            assert "5461 of 16384 slots" in outage.reason
        for channel in lost:
            assert await refusal(other.broker.publish(channel, "", 1)) < 1
            assert await refusal(other.history.append(channel, "", 1, retention=KEPT)) < 1
        assert await refusal(one.broker.subscribe(kept)) < 1
        for channel in there:
            await other.broker.publish(channel, "", channel)
            assert [each.data for each in await one.messages(channel, 1)] == [channel]
        assert one.missed == []

        dead.start()
        began = time.perf_counter()
        await until(lambda: one.missed)
        took = time.perf_counter() - began
        for channel in lost:  # a node that was restarted takes no writing for two seconds
            await until_done(partial(other.broker.publish, channel, "", channel))
            assert [each.data for each in await one.messages(channel, 1)] == [channel]
        assert [sorted(told or []) for told in one.missed] == [lost]
        for node in (one, other):
            await node.until_back()
        after = await other.history.append(kept, "", 1, retention=KEPT)
        assert after.epoch != before.epoch
        alone.wait()
    sys.stdout.write(f"subscribed again {took:.2f} s after the node answered\n")
    assert took < BACK


async def until_refused(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(BrokerUnavailable):
        async with asyncio.timeout(PATIENCE):
            while True:
                await call()


async def until_done(call: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await call()
                return
            except BrokerUnavailable:
                await asyncio.sleep(0.01)


async def test_a_slot_that_is_nobodys_is_refused_until_it_is_somebodys(
    alone: ValkeyCluster,
) -> None:
    slot = slot_of("c")
    owner = alone.node_of(slot)
    async with brokers(alone.url) as (node,):
        await node.broker.subscribe("c")
        for each in alone.nodes:
            each.execute("CLUSTER", "DELSLOTS", slot)
        await node.until_away()
        outage = node.supervised.outage
        assert outage is not None
        assert "1 of 16384 slots are nobody's" in outage.reason
        await refusal(node.broker.publish("c", "", 1))
        await refusal(node.broker.subscribe("c"))
        owner.execute("CLUSTER", "ADDSLOTS", slot)
        await node.until_back()
        await node.broker.subscribe("c")
        await node.broker.publish("c", "", 2)
        assert (await node.messages("c", 1))[0].data == 2
    alone.wait()


async def test_a_cluster_that_says_it_is_down_is_an_outage(alone: ValkeyCluster) -> None:
    slot = slot_of("c")
    gone = next(each for each in map("d{}".format, range(100)) if slot_of(each) != slot)
    owner = alone.node_of(slot_of(gone))
    async with brokers(alone.url) as (node,):
        for each in alone.nodes:
            each.execute("CONFIG", "SET", "cluster-require-full-coverage", "yes")
            each.execute("CLUSTER", "DELSLOTS", slot_of(gone))
        await until_refused(lambda: node.history.append("c", "", 1, retention=KEPT))
        await node.until_away()
        outage = node.supervised.outage
        assert outage is not None
        assert re.search(r"\(commands\): .*[Tt]he cluster is down \(\d+ of", outage.reason)
        owner.execute("CLUSTER", "ADDSLOTS", slot_of(gone))
        for each in alone.nodes:
            each.execute("CONFIG", "SET", "cluster-require-full-coverage", "no")
        await node.until_back()
        await until_done(lambda: node.history.append("c", "", 1, retention=KEPT))
    alone.wait()


# --- the wrong URL --------------------------------------------------------------------------------


async def test_a_server_that_is_alone_is_no_cluster(valkey: ValkeyServer) -> None:
    broker = RedisBroker(valkey.url.replace("redis://", "redis+cluster://"))
    with pytest.raises(DeclarationError) as refused:
        await broker.open(Node(broker, PATIENCE).deliver)
    await broker.aclose()
    assert str(refused.value) == (
        f"Redis at 127.0.0.1:{valkey.port} is no node of a cluster: its URL begins with redis://"
    )


async def test_a_node_of_a_cluster_is_no_server_alone(alone: ValkeyCluster) -> None:
    port = alone.nodes[0].port
    broker = RedisBroker(f"redis://127.0.0.1:{port}")
    with pytest.raises(DeclarationError) as refused:
        await broker.open(Node(broker, PATIENCE).deliver)
    await broker.aclose()
    assert str(refused.value).endswith(
        "is a node of a cluster: its URL begins with redis+cluster://"
    )


async def test_of_several_nodes_in_the_url_one_that_answers_is_enough(
    alone: ValkeyCluster,
) -> None:
    url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{alone.nodes[1].port},127.0.0.1:2"
    async with brokers(url) as (node,):
        assert node.supervised.outage is None
        await node.broker.subscribe("c")
        await node.broker.publish("c", "", 1)
        await node.messages("c", 1)
