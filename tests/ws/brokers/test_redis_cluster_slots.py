"""Slots of a cluster that are moved to another node while messages go: who is told what, and when.

The cluster is a real one. What a test needs of a slot is that of the partition of a channel.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from openapi.errors import BrokerUnavailable
from openapi.protocol.stream import Position, Retention
from openapi.ws.brokers import supervision
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.brokers.redis.names import PARTITIONS, Names
from tests.servers.cluster import ClusterNode, ValkeyCluster
from tests.ws.broker_nodes import Node, offsets_of
from tests.ws.brokers.cluster_world import NAMES, brokers, slot_of
from tests.ws.brokers.stage import (
    CHANNEL,
    PATIENCE,
    assert_nothing_silent,
    open_files,
    stage,
    until,
)

KEPT: Final = Retention(messages=1000, seconds=60.0)
MANY: Final = 400
"""Channels that are in all partitions, most likely."""


def another(cluster: ValkeyCluster, node: ClusterNode) -> ClusterNode:
    return next(each for each in cluster.nodes if each is not node)


def begin_to_migrate(cluster: ValkeyCluster, slot: int) -> Callable[[], bool]:
    """Have a slot moved as one act. What is returned says whether everybody knows that it is."""
    source = cluster.node_of(slot)
    to = another(cluster, source)
    migrate(source, to, [slot])
    return lambda: all(owner(each, slot) == to.id for each in cluster.nodes)


def migrate(source: ClusterNode, to: ClusterNode, slots: Sequence[int]) -> None:
    """Have slots moved, all as one act."""
    ranges = [bound for slot in slots for bound in (slot, slot)]
    source.execute("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", to.id)


def migrate_keys(source: ClusterNode, slot: int, to: ClusterNode) -> None:
    """Have the keys of a slot moved that is on its way."""
    keys = source.execute("CLUSTER", "GETKEYSINSLOT", slot, 100)
    source.execute("MIGRATE", "127.0.0.1", to.port, "", 0, 10_000, "KEYS", *keys)


def owner(asked: ClusterNode, slot: int) -> str:
    """Who has a slot, as one node says."""
    ranges = asked.execute("CLUSTER", "SLOTS")
    (found,) = (primary[2] for low, high, primary, *_ in ranges if low <= slot <= high)
    return str(found)


def connections(node: ClusterNode) -> int:
    """How many connections of brokers a node has."""
    return sum(client["name"] == "aio-openapi" for client in node.clients())


def told(node: Node) -> list[str]:
    """The channels of which it was told that it may have missed some, sorted."""
    return sorted(itertools.chain.from_iterable(each or ["all"] for each in node.missed))


# --- under load -----------------------------------------------------------------------------------


async def test_a_slot_that_is_moved_as_one_act_loses_nothing_silently(
    cluster: ValkeyCluster,
) -> None:
    async with stage(lambda: RedisBroker(cluster.url)) as play:
        await play.go_on()
        for _ in range(3):
            await play.until(begin_to_migrate(cluster, slot_of(CHANNEL)))
            await play.go_on()
        figures = play.ledger.judge(play.witnesses)
    assert_nothing_silent(play, figures, "a slot moved three times")
    assert play.ledger.refused == 0


async def test_a_slot_that_is_moved_key_by_key_loses_nothing_silently(
    cluster: ValkeyCluster,
) -> None:
    slot = slot_of(CHANNEL)
    async with stage(lambda: RedisBroker(cluster.url)) as play:
        await play.go_on()
        source = cluster.node_of(slot)
        to = another(cluster, source)
        cluster.begin_to_move(slot, to)
        await play.go_on()  # the keys are there still
        migrate_keys(source, slot, to)
        await play.ledger.publish_many(play.managers, 50)  # they are asked for there
        cluster.end_of_moving(slot, to)
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "a slot moved key by key")
    assert play.ledger.refused == 0


async def test_of_a_stream_that_is_in_two_places_nobody_writes_or_reads(
    cluster: ValkeyCluster,
) -> None:
    async with brokers(cluster.url) as (node,):
        await node.history.append("c", "", 1, retention=KEPT)
        slot = slot_of("c")
        source = cluster.node_of(slot)
        to = another(cluster, source)
        cluster.begin_to_move(slot, to)
        meta, _ = NAMES.stream("c")
        source.execute("MIGRATE", "127.0.0.1", to.port, "", 0, 10_000, "KEYS", meta)
        with pytest.raises(BrokerUnavailable):
            await node.history.append("c", "", 2, retention=KEPT)
        cluster.move_slot(slot, to)
        await node.history.append("c", "", 3, retention=KEPT)
        page = await node.history.history("c", retention=KEPT, limit=10)
        assert offsets_of(page) == [1, 2]


async def test_calls_are_carried_out_in_the_order_in_which_they_were_made(
    cluster: ValkeyCluster,
) -> None:
    async with brokers(cluster.url, 2) as (one, other):
        await other.broker.subscribe("c")
        positions: list[asyncio.Task[Position]] = []
        moved = begin_to_migrate(cluster, slot_of("c"))
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            while len(positions) < 100 or not moved():
                for _ in range(10):  # none of them waits for the one before it
                    publishing = one.broker.publish("c", "", len(positions))
                    group.create_task(publishing)
                    appending = one.history.append("c", "", len(positions), retention=KEPT)
                    positions.append(group.create_task(appending))
                if len(positions) % 200 == 0:  # more would be refused at some time
                    await asyncio.wait(positions[-1:])
                await asyncio.sleep(0)
        offsets = [each.result().offset for each in positions]
        assert offsets == list(range(1, len(offsets) + 1))
        await until(lambda: "c" in told(other))
        for numbered in (True, False):
            heard = [
                each.data
                for each in await other.so_far("c", one)
                if (each.position is not None) is numbered
            ]
            assert heard == sorted(set(heard))


# --- who follows ----------------------------------------------------------------------------------


async def test_channels_of_a_slot_that_is_moved_go_along_and_only_they_are_told_of(
    cluster: ValkeyCluster,
) -> None:
    channels = [f"c{number}" for number in range(MANY)]
    async with brokers(cluster.url, 2) as (one, other):
        await asyncio.gather(*map(one.broker.subscribe, channels))
        assert len({NAMES.partition(channel) for channel in channels}) > PARTITIONS * 0.9
        slot = slot_of("c0")
        moved = begin_to_migrate(cluster, slot)
        await until(moved)
        began = time.perf_counter()
        concerned = sorted(channel for channel in channels if slot_of(channel) == slot)
        await until(lambda: set(concerned) <= set(told(one)))
        took = time.perf_counter() - began
        for channel in channels:
            await other.broker.publish(channel, "", channel)
        for channel in channels:
            assert [each.data for each in await one.messages(channel, 1)] == [channel]
        assert told(one) == concerned
        assert told(other) == []
    sys.stdout.write(f"subscribed again {took:.3f} s after everybody knew of the move\n")


async def test_who_subscribes_or_publishes_where_a_slot_was_is_sent_to_where_it_is(
    cluster: ValkeyCluster,
) -> None:
    # A node that says where it is: nothing is asked before a probe or for long.
    async with brokers(cluster.url, 2) as (one, other):
        await one.broker.subscribe("elsewhere")
        channels = ["d0", "d1", "d2"]
        for channel in channels:
            await until(begin_to_migrate(cluster, slot_of(channel)))
            await one.broker.subscribe(channel)
            await other.broker.publish(channel, "", channel)
            assert (await one.messages(channel, 1))[0].data == channel
        assert "elsewhere" not in told(one) or slot_of("elsewhere") in map(slot_of, channels)


async def test_a_node_whose_last_slot_is_moved_is_let_go_of_and_asked_again_when_it_has_one(
    cluster: ValkeyCluster,
) -> None:
    async with brokers(cluster.url) as (node,):
        last = cluster.nodes[2]
        to = another(cluster, last)
        ours = set(map(NAMES.slot, range(PARTITIONS)))
        slots = sorted(each for each in ours if owner(last, each) == last.id)
        channels = [each for each in map("e{}".format, range(400)) if slot_of(each) in slots]
        for channel in channels:
            await node.broker.subscribe(channel)
        migrate(last, to, slots)  # others it keeps: one that has none is made a replica
        number = 0
        while told(node) != sorted(channels):  # nothing that is under way is refused meanwhile
            number += 1
            await asyncio.gather(*(node.broker.publish(each, "", number) for each in channels))
        await until(lambda: not connections(last))
        assert connections(to)
        cluster.wait()

        # Some of it is there again, before it has any slot of ours.
        channel, slot = channels[0], slot_of(channels[0])
        assert (await node.history.append(channel, "", 1, retention=KEPT)).offset == 1
        cluster.begin_to_move(slot, last)
        migrate_keys(to, slot, last)
        assert (await node.history.append(channel, "", 2, retention=KEPT)).offset == 2
        assert connections(last) == 1
        cluster.end_of_moving(slot, last)
        assert (await node.history.append(channel, "", 3, retention=KEPT)).offset == 3
        await until(lambda: told(node).count(channel) == 2)
        await node.broker.publish(channel, "again", None)
        await node.until(channel, lambda all: all[-1].event == "again")

        migrate(to, last, [each for each in slots if each != slot])
        await until(lambda: all(owner(to, each) == last.id for each in slots))
        cluster.wait()
        await node.until_back()


async def test_a_slot_that_comes_back_at_once_is_subscribed_to_again(
    cluster: ValkeyCluster,
) -> None:
    async with brokers(cluster.url, 2) as (one, other):
        await one.broker.subscribe("c")
        owner_of_it = cluster.node_of(slot_of("c"))
        owner_of_it.execute("CLUSTER", "DELSLOTS", slot_of("c"))
        owner_of_it.execute("CLUSTER", "ADDSLOTS", slot_of("c"))
        await until(lambda: told(one) == ["c"])
        await other.broker.publish("c", "", 1)
        await one.messages("c", 1)
    cluster.wait()


async def test_where_it_is_quiet_each_node_is_probed_by_a_slot_that_it_has(
    cluster: ValkeyCluster,
) -> None:
    first = cluster.nodes[0]
    async with brokers(cluster.url, probe_interval=0.02) as (node,):
        await until(lambda: all(map(probes, cluster.nodes)))
        (probe,) = first.execute("PUBSUB", "SHARDCHANNELS")
        migrate(first, another(cluster, first), [cluster.slot_of(probe)])
        await until(lambda: first.execute("PUBSUB", "SHARDCHANNELS") not in ([], [probe]))
        for each in cluster.nodes:
            each.execute("CONFIG", "RESETSTAT")
        await until(lambda: all(map(probes, cluster.nodes)))
        await node.until_back()
        assert node.missed == []
    cluster.wait()


def probes(node: ClusterNode) -> int:
    """How many messages were published at a node."""
    stats = node.execute("INFO", "commandstats")
    return int(stats.get("cmdstat_spublish", {}).get("calls", 0))


# --- connections ----------------------------------------------------------------------------------


async def test_a_reader_whose_connection_ends_is_told_of_the_channels_of_that_node_alone(
    cluster: ValkeyCluster,
) -> None:
    channels = [f"f{number}" for number in range(60)]
    async with brokers(cluster.url) as (node,):
        await asyncio.gather(*map(node.broker.subscribe, channels))
        there = cluster.nodes[1]
        there.execute("CLIENT", "KILL", "TYPE", "pubsub")
        mine = sorted(each for each in channels if cluster.node_of(slot_of(each)) is there)
        await until(lambda: told(node) == mine)
        for channel in channels:
            await node.broker.publish(channel, "", 1)
            await node.messages(channel, 1)
        assert told(node) == mine


async def test_connections_that_end_again_and_again_leave_nothing_behind(
    cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_CAP", 0.02)
    files = open_files()
    async with brokers(cluster.url) as (node,):
        await node.broker.subscribe("c")
        connected = open_files()
        tasks = len(asyncio.all_tasks())
        for _ in range(20):
            sessions = len(node.missed)
            for each in cluster.nodes:
                for kind in ("pubsub", "normal"):
                    each.execute("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await until(lambda before=sessions: len(node.missed) > before)  # type: ignore[misc]
            await node.until_back()
        await until(lambda: open_files() <= connected)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await node.broker.publish("c", "", 1)
        await node.messages("c", 1)
    await until(lambda: open_files() <= files)


def test_partitions_lie_evenly_among_nodes() -> None:
    slots = [Names("p", partitions=PARTITIONS).slot(number) for number in range(PARTITIONS)]
    assert len(set(slots)) == PARTITIONS
    for nodes in range(1, 33):
        shares = [0] * nodes
        for slot in slots:
            shares[slot * nodes // 16_384] += 1
        assert max(shares) - min(shares) <= 3, (nodes, shares)
