"""Deliveries that are begun in order: each is as a task would have done it, but begins at once."""

import asyncio
from collections.abc import Awaitable

import pytest

from openapi.ws.brokers.begun import Begun
from tests.shuffled import run

SEEDS = 20


def test_it_runs_up_to_where_it_waits_at_once_and_a_task_goes_on() -> None:
    async def main() -> None:
        steps: list[int] = []
        there = asyncio.Event()

        async def delivery() -> None:
            steps.append(1)
            await there.wait()
            steps.append(2)

        begun = Begun(delivery())
        assert (steps, begun.done) == ([1], False)
        task = asyncio.ensure_future(_in_a_task(begun))
        there.set()
        await task
        assert steps == [1, 2]

    for seed in range(SEEDS):
        run(seed, main)


def test_what_does_not_wait_is_done() -> None:
    async def main() -> None:
        async def delivery() -> None:
            pass

        assert Begun(delivery()).done

    run(0, main)


def test_what_fails_at_once_fails_for_who_waits() -> None:
    async def main() -> None:
        async def delivery() -> None:
            raise ValueError("no")

        begun = Begun(delivery())
        assert not begun.done
        with pytest.raises(ValueError, match="no"):
            await asyncio.get_running_loop().create_task(begun)

    run(0, main)


def test_one_that_is_cancelled_before_its_task_has_begun_leaves_nothing_running() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def callback(name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        async def deliver() -> None:
            waits: list[Awaitable[None]] = [callback("a"), callback("b")]
            await asyncio.gather(*waits)

        task = asyncio.get_running_loop().create_task(Begun(deliver()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.1)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    for seed in range(SEEDS):
        run(seed, main)


async def _in_a_task(begun: Begun) -> None:
    await asyncio.get_running_loop().create_task(begun)
