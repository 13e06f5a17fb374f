"""What a call, a publication and a delivery cost the loop: tasks, timers, callbacks.

What more of them cost is what is measured, so that nothing of the test's own is in it.
"""

import asyncio
import sys
from typing import Final

import pytest

from openapi.ws import ChannelRule, Limits, SocketsManager, ws_rpc
from tests.counts.connections import Connected, Endpoint, Site, site
from tests.counts.loops import CountingLoop, Counts

#: Whether a handler runs at once, and has a turn of the loop only if it suspends.
EAGER: Final = sys.version_info >= (3, 12)


class Waiting(Endpoint):
    async def ws_rpc_wait(self, payload: dict[str, int]) -> int:
        """Suspend once"""
        await asyncio.sleep(0)
        return payload["a"]

    @ws_rpc(timeout=60)
    async def ws_rpc_hurry(self, payload: dict[str, int]) -> int:
        """Have a deadline"""
        return payload["a"]


def manager() -> SocketsManager:
    """One whose connections may have many calls in flight, and one channel with history.

    What it does from time to time by itself, it does not while a test counts, be that slow.
    """
    limits = Limits(
        calls=1000,
        ping_interval=None,
        position_check=36_000.0,
        presence_interval=36_000.0,
        presence_ttl=72_000.0,
        node_interval=36_000.0,
    )
    return SocketsManager(limits=limits, channels=[ChannelRule("kept", history=10)])


async def cost_of_call(loop: CountingLoop, method: str, payload: object) -> Counts:
    """What one hundred more calls in one read cost, for each of them."""
    async with site(loop, manager(), endpoint=Waiting) as server:
        (caller,) = await server.connect(1)
        few, many = [await _called(loop, caller, count, method, payload) for count in (10, 110)]
    return _each(many - few)


async def _called(
    loop: CountingLoop, caller: Connected, count: int, method: str, payload: object
) -> Counts:
    caller.forget()
    before = loop.counts.copy()
    caller.client.begin_together(*[(method, payload)] * count)
    await caller.hear(count)
    return loop.counts - before


def _each(hundred: Counts) -> Counts:
    """The hundredth of it, which is to be whole."""
    counts = (hundred.tasks, hundred.timers, hundred.callbacks)
    assert [count % 100 for count in counts] == [0, 0, 0], hundred
    return Counts(*(count // 100 for count in counts))


async def test_a_call_that_never_suspends_is_no_task_and_no_turn_where_python_starts_it_eagerly(
    loop: CountingLoop,
) -> None:
    cost = await cost_of_call(loop, "add", {"a": 1, "b": 2})
    assert cost.timers == 0
    assert cost.tasks <= (0 if EAGER else 1)
    assert cost.callbacks <= (0 if EAGER else 2)


async def test_a_call_that_suspends_is_one_task_at_most(loop: CountingLoop) -> None:
    cost = await cost_of_call(loop, "wait", {"a": 1})
    assert cost.timers == 0
    assert cost.tasks <= 1
    assert cost.callbacks <= (2 if EAGER else 3)  # its steps, and its end


async def test_a_call_with_a_deadline_is_one_timer_at_most(loop: CountingLoop) -> None:
    cost = await cost_of_call(loop, "hurry", {"a": 1})
    assert cost.timers <= 1
    assert cost.tasks <= (0 if EAGER else 1)


async def test_a_refused_call_is_no_task_and_no_timer(loop: CountingLoop) -> None:
    assert await cost_of_call(loop, "no such method", {}) == Counts()


@pytest.mark.parametrize("channel", ["plain", "kept"])
async def test_to_publish_by_a_call_costs_the_loop_no_more_than_any_call(
    loop: CountingLoop, channel: str
) -> None:
    message = {"channel": channel, "event": "e", "data": 1}
    assert await cost_of_call(loop, "publish", message) == await cost_of_call(
        loop, "add", {"a": 1, "b": 2}
    )


async def cost_of_publishing(
    loop: CountingLoop, server: Site, subscribers: list[Connected], channel: str, count: int
) -> Counts:
    """What it costs to publish so many messages in one turn, until all of them are there."""
    for each in subscribers:
        each.forget()
    before = loop.counts.copy()
    for number in range(count):
        await server.sockets.publish(channel, "e", number)
    await subscribers[-1].hear(count)
    return loop.counts - before


@pytest.mark.parametrize("channel", ["plain", "kept"])
async def test_a_publication_is_no_task_no_timer_and_no_turn(
    loop: CountingLoop, channel: str
) -> None:
    async with site(loop, manager()) as server:
        some = await server.connect(5, channel=channel)
        few = await cost_of_publishing(loop, server, some, channel, 10)
        many = await cost_of_publishing(loop, server, some, channel, 110)
    assert (few.tasks, few.timers) == (0, 0)
    assert many == few


@pytest.mark.parametrize("channel", ["plain", "kept"])
async def test_a_delivery_is_no_task_no_timer_and_no_turn(loop: CountingLoop, channel: str) -> None:
    async with site(loop, manager()) as server:
        some = await server.connect(5, channel=channel)
        to_few = await cost_of_publishing(loop, server, some, channel, 10)
        all = some + await server.connect(25, channel=channel)
        assert await cost_of_publishing(loop, server, all, channel, 10) == to_few


async def test_a_publication_that_nobody_gets_costs_the_loop_nothing(loop: CountingLoop) -> None:
    async with site(loop, manager()) as server:
        await server.sockets.publish("c", "e", 0)  # the first opens the broker
        before = loop.counts.copy()
        for number in range(10):
            await server.sockets.publish("c", "e", number)
        assert loop.counts == before
