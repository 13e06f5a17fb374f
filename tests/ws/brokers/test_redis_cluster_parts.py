"""The parts of the broker over a cluster: what nodes say, and the calls of one partition."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.exceptions import AskError, MovedError

from openapi.errors import BrokerUnavailable, DeclarationError
from openapi.ws.brokers.redis.link import Link
from openapi.ws.brokers.redis.names import Names, slot_of
from openapi.ws.brokers.redis.node import Node
from openapi.ws.brokers.redis.partition import Partition
from openapi.ws.brokers.redis.topology import At, Topology

ASKED = At("asked", 7000)
INFO = b"cluster_state:ok\r\ncluster_slots_ok:16384\r\ncluster_current_epoch:7\r\n"


# --- topologies -----------------------------------------------------------------------------------


def test_a_topology_is_what_a_node_says() -> None:
    slots = [
        [101, 16383, [b"::1", 7002, b"id", []], [b"replica", 7003, b"id", []]],
        [0, 99, [b"a", 7001, b"id", []]],
    ]
    topology = Topology.read(INFO, slots, asked=ASKED)
    assert (topology.ok, topology.epoch, topology.unassigned) == (True, 7, 1)
    a, other = At("a", 7001), At("::1", 7002)
    assert [topology.owner(slot) for slot in (0, 99, 100, 101, 16383)] == [a, a, None, other, other]
    assert (topology.slots(a), topology.slots(other)) == (100, 16283)
    assert topology.nodes == {a, other}
    assert [str(each) for each in (a, other)] == ["a:7001", "[::1]:7002"]


@pytest.mark.parametrize("host", [None, b"", b"?"])
def test_a_node_that_does_not_know_its_name_is_where_it_was_asked(host: bytes | None) -> None:
    topology = Topology.read(INFO, [[0, 16383, [host, 7005, b"id"]]], asked=ASKED)
    assert topology.owner(5) == At("asked", 7005)
    assert topology.unassigned == 0


def test_of_several_answers_the_newest_is_that_of_a_cluster_that_works_and_changed_most() -> None:
    answers = [
        Topology(ok, epoch, ()) for ok, epoch in [(False, 9), (True, 7), (True, 8), (False, 1)]
    ]
    assert max(answers, key=lambda each: each.weight) is answers[2]


def test_nobody_has_a_slot_of_an_empty_topology() -> None:
    topology = Topology.read(INFO, [], asked=ASKED)
    assert topology.owner(0) is None
    assert (topology.unassigned, len(topology.nodes)) == (16384, 0)


def test_all_that_belongs_to_a_channel_is_in_its_partition_whatever_its_name_has() -> None:
    names = Names("abc", partitions=128)
    for channel in ("c", "{x}", "a:b:c", "}{", ":b:"):
        slot = names.slot(names.partition(channel))
        keys = (*names.stream(channel), *names.present(channel))
        buses = (names.bus(channel), names.probe(names.partition(channel), "p"))
        each = (*keys, names.key(channel, "k", kept=True), *buses)
        assert {slot_of(key) for key in each} == {slot}
        assert names.channel_of(names.bus(channel)) == channel
        assert Names("abc", database=1).channel_of(Names("abc", database=1).bus(channel)) == channel


# --- the calls of one partition -------------------------------------------------------------------


class Calls:
    """A partition, with nodes that do nothing; a test says what each call is answered."""

    def __init__(self, *, timeout: float = 20.0) -> None:
        self.a, self.b = self.node("a"), self.node("b")
        self.sent: list[tuple[str, int, bool]] = []
        self.partition = Partition(0, moved=self._moved, asked=self._asked, timeout=timeout)
        self.partition.node = self.a
        self.opening: Exception | None = None
        self._answers: dict[int, asyncio.Future[int]] = {}

    def node(self, name: str) -> Node:
        async def begin(patience: float) -> None:
            if self.opening is not None:
                raise self.opening

        return cast(
            Node, SimpleNamespace(link=SimpleNamespace(name=name, begins=False, open=begin))
        )

    def call(self, number: int) -> "asyncio.Task[Any]":
        """Make a call, which waits for its answer."""

        async def send(link: Link, *, asking: bool) -> int:
            self.sent.append((cast(Any, link).name, number, asking))
            self._answers[number] = asyncio.get_running_loop().create_future()
            return await self._answers[number]

        return asyncio.create_task(self.partition.call(send))

    def answer(self, number: int, error: Exception | None = None) -> None:
        """Answer a call."""
        if error is None:
            self._answers[number].set_result(number)
        else:
            self._answers[number].set_exception(error)

    async def settle(self) -> None:
        """Let all go on as far as they can."""
        for _ in range(20):
            await asyncio.sleep(0)

    def _moved(self, partition: Partition, node: Node, exc: MovedError) -> None:
        if partition.node is node:
            partition.node = self.b if node is self.a else self.a

    def _asked(self, node: Node, exc: AskError) -> Node:
        return self.b if node is self.a else self.a


def moved() -> MovedError:
    return MovedError("1 somewhere:1")


async def test_a_call_that_was_turned_away_is_not_overtaken_by_those_behind_it() -> None:
    calls = Calls()
    tasks = [calls.call(number) for number in (1, 2)]
    await calls.settle()
    calls.answer(1, moved())
    await calls.settle()
    tasks.append(calls.call(3))  # the way is known, and 2 is still under way
    await calls.settle()
    assert [number for _, number, _ in calls.sent] == [1, 2]
    calls.answer(2, moved())
    await calls.settle()
    assert calls.sent[2:] == [("b", 1, False)]
    calls.answer(1)
    await calls.settle()  # its node has taken one: side by side again
    assert calls.sent[3:] == [("b", 2, False), ("b", 3, False)]
    tasks.append(calls.call(4))
    await calls.settle()
    assert calls.sent[5:] == [("b", 4, False)]
    for number in (4, 3, 2):
        calls.answer(number)
    assert [await task for task in tasks] == [1, 2, 3, 4]


async def test_those_that_follow_and_are_turned_away_as_well_keep_their_order() -> None:
    calls = Calls()
    tasks = [calls.call(number) for number in range(1, 6)]
    await calls.settle()
    for number in range(1, 6):
        calls.answer(number, moved())
    await calls.settle()
    calls.answer(1)
    await calls.settle()
    assert calls.sent[5:] == [("b", number, False) for number in range(1, 6)]
    for number in (2, 3, 4, 5):
        calls.answer(number, moved())  # it has moved on
    tasks.append(calls.call(6))
    await calls.settle()
    assert calls.sent[10:] == [("a", 2, False)]
    calls.answer(2)
    await calls.settle()
    assert calls.sent[11:] == [("a", number, False) for number in (3, 4, 5, 6)]
    for number in (3, 4, 5, 6):
        calls.answer(number)
    assert [await task for task in tasks] == [1, 2, 3, 4, 5, 6]


async def test_whoever_is_cancelled_when_it_may_follow_holds_up_nobody() -> None:
    calls = Calls()
    tasks = [calls.call(number) for number in range(1, 5)]
    await calls.settle()
    for number in range(1, 5):
        calls.answer(number, moved())
    await calls.settle()
    calls.answer(1)
    while calls.partition._queue:  # noqa: ASYNC110 # up to the moment in which all of them may go
        await asyncio.sleep(0)
    tasks[1].cancel()
    tasks.append(calls.call(5))
    await calls.settle()
    for number in (3, 4, 5):
        calls.answer(number)
    assert [await task for task in tasks if task is not tasks[1]] == [1, 3, 4, 5]
    assert tasks[1].cancelled()
    assert [number for _, number, _ in calls.sent[4:]] == [1, 3, 4, 5]


async def test_calls_go_nowhere_else_while_one_is_under_way_where_the_partition_was() -> None:
    calls = Calls()
    first = calls.call(1)
    await calls.settle()
    calls.partition.node = calls.b
    second = calls.call(2)
    await calls.settle()
    assert calls.sent == [("a", 1, False)]
    calls.answer(1)
    await calls.settle()
    calls.answer(2)
    assert [await first, await second] == [1, 2]
    assert calls.sent[1:] == [("b", 2, False)]


async def test_a_call_is_asked_elsewhere_for_once() -> None:
    calls = Calls()
    task = calls.call(1)
    await calls.settle()
    calls.answer(1, AskError("1 somewhere:1"))
    await calls.settle()
    assert calls.sent == [("a", 1, False), ("b", 1, True)]
    calls.answer(1)
    assert await task == 1
    assert calls.partition.node is calls.a


async def test_a_call_that_is_sent_to_and_fro_is_refused() -> None:
    calls = Calls()
    task = calls.call(1)
    await calls.settle()
    while not task.done():
        calls.answer(1, moved())
        await calls.settle()
    assert isinstance(task.exception(), BrokerUnavailable)
    assert len(calls.sent) == 6


async def test_where_nobody_has_the_partition_any_more_a_call_is_refused() -> None:
    calls = Calls()
    first, second = calls.call(1), calls.call(2)
    await calls.settle()
    calls.answer(1, moved())
    await calls.settle()
    calls.partition.node = None
    calls.answer(2)
    assert await second == 2
    with pytest.raises(BrokerUnavailable):
        await first
    with pytest.raises(BrokerUnavailable):
        await calls.call(3)


async def test_where_a_node_is_of_no_use_a_call_is_refused() -> None:
    calls = Calls()
    task = calls.call(1)
    await calls.settle()
    calls.opening = DeclarationError("too old")
    calls.answer(1, moved())
    with pytest.raises(BrokerUnavailable) as refused:
        await task
    assert refused.value.__cause__ is calls.opening


async def test_no_more_calls_wait_than_there_is_room_for_and_none_for_long() -> None:
    calls = Calls(timeout=0.01)
    first = calls.call(0)
    await calls.settle()
    calls.partition.node = calls.b
    waiting = [calls.call(number) for number in range(1, 1002)]
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in done} == {BrokerUnavailable}
    last = calls.call(2000)
    calls.answer(0)
    assert await first == 0
    await calls.settle()
    assert [number for _, number, _ in calls.sent] == [0]  # there was no room for the last either
    assert isinstance(last.exception(), BrokerUnavailable)
    late = calls.call(3000)
    await calls.settle()
    calls.answer(3000)
    assert await late == 3000


async def test_whoever_is_cancelled_holds_up_nobody() -> None:
    calls = Calls()
    first = calls.call(1)
    await calls.settle()
    calls.partition.node = calls.b
    waiting, cancelled, last = (calls.call(number) for number in (2, 3, 4))
    await calls.settle()
    cancelled.cancel()
    await calls.settle()
    calls.answer(1)
    assert await first == 1
    await calls.settle()
    waiting.cancel()  # it was its turn
    await calls.settle()
    calls.answer(4)
    assert await last == 4
    assert calls.sent == [("a", 1, False), ("b", 2, False), ("b", 4, False)]
