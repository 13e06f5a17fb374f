"""A loop whose time jumps, and what it says of a scenario that ends wrong."""

import asyncio
import gc
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from openapi.testing import ScenarioError, run, virtual_time


def fault(main: Any, **bounds: Any) -> str:
    """What a scenario is said to have done wrong."""
    with pytest.raises(ScenarioError) as caught:
        run(main, **bounds)
    return str(caught.value)


def test_hours_take_no_time() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7200):
                await asyncio.Event().wait()
        return loop.time() - began

    began = time.monotonic()
    assert run(main()) == 10800
    assert time.monotonic() - began < 60


def test_timers_of_one_moment_run_in_the_order_in_which_they_were_set() -> None:
    async def main() -> list[int]:
        loop, called = asyncio.get_running_loop(), list[int]()
        for number in range(9):
            loop.call_later(1, called.append, number)
        loop.call_later(0.5, called.append, 9).cancel()
        loop.call_later(0.5, called.append, 5)
        await asyncio.sleep(2)
        return called

    assert run(main()) == [5, *range(9)]


async def for_ever() -> None:
    await asyncio.Event().wait()


def test_a_deadlock_names_what_waits_and_where() -> None:
    async def items() -> AsyncIterator[None]:
        await for_ever()
        yield

    async def reader() -> None:
        async for _ in items():
            pass

    async def main() -> None:
        await asyncio.sleep(2)
        await asyncio.create_task(reader(), name="reader")

    head, first, second = fault(main()).splitlines()
    assert head == (
        "deadlock: nothing is ready, no timer is set; tasks that have not ended, at 2 s: 2"
    )
    assert first.startswith("  reader: ")
    assert " > for_ever (test_clock.py:" in first
    assert "main (test_clock.py:" in second


def test_a_deadlock_of_many_names_some() -> None:
    async def main() -> None:
        await asyncio.gather(*(for_ever() for _ in range(30)))

    assert fault(main()).splitlines()[-1] == "  and 11 more"


def test_a_heartbeat_does_not_hide_that_a_test_never_ends() -> None:
    async def beat() -> None:
        for seconds in itertools.repeat(10):
            await asyncio.sleep(seconds)

    async def main() -> None:
        beating = asyncio.create_task(beat())
        try:
            await for_ever()
        finally:
            beating.cancel()

    assert fault(main(), seconds=60).startswith("not over after 60 seconds of virtual time; tasks")
    assert fault(main()).startswith("not over after 86,400 seconds of virtual time")


def test_a_scenario_that_turns_for_ever_is_ended() -> None:
    async def main() -> None:
        for seconds in itertools.repeat(0):
            await asyncio.sleep(seconds)

    assert fault(main(), turns=100).startswith("livelock: more than 100 turns")


def test_a_task_that_is_left_is_a_fault() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.forgotten = asyncio.create_task(for_ever(), name="forgotten")

    assert fault(main()).startswith("left over, and not cancelled: forgotten: for_ever (")


def test_a_task_that_is_cancelled_in_time_is_none() -> None:
    async def main() -> int:
        task = asyncio.create_task(for_ever())
        await asyncio.sleep(1)
        task.cancel()
        return 1

    assert run(main()) == 1


def test_a_task_that_does_not_end_when_it_is_cancelled_is_a_fault() -> None:
    async def stays() -> None:
        while True:
            try:
                await for_ever()
            except asyncio.CancelledError:
                pass

    async def main() -> None:
        task = asyncio.create_task(stays())
        await asyncio.sleep(1)
        task.cancel()

    assert fault(main()).startswith("after the end, with all tasks cancelled: deadlock: ")


def test_what_nobody_retrieves_is_a_fault() -> None:
    async def fail(text: str) -> None:
        raise ValueError(text)

    async def main() -> None:
        for text in ("one", "two"):
            asyncio.create_task(fail(text))
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_exception_handler({"note": "of mine"})

    with pytest.raises(ScenarioError, match="never retrieved") as caught:
        run(main())
    assert "unhandled; note: 'of mine'" in str(caught.value)
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)


def test_a_failure_is_raised_with_the_faults_besides() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed") as caught:
        run(main())
    [note] = caught.value.__notes__
    assert "ZeroDivisionError" in note


def test_there_are_no_threads() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="a VirtualLoop has none: replace it"):
            await asyncio.to_thread(print)

    run(main())


async def test_within_another_loop_it_does_not_start() -> None:
    with pytest.raises(RuntimeError, match="call it from a plain function"):
        run(for_ever())


def test_the_garbage_collector_is_left_as_it_was() -> None:
    async def main() -> bool:
        return gc.isenabled()

    assert (gc.isenabled(), run(main()), gc.isenabled()) == (True, False, True)
    gc.disable()
    try:
        run(main())
        assert not gc.isenabled()
    finally:
        gc.enable()


@virtual_time
async def test_a_test_itself_can_be_in_virtual_time() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("hours", [1, 2])
@virtual_time
async def test_such_a_test_has_parameters_and_fixtures(
    hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(3600 * hours)
    assert asyncio.get_running_loop().time() == began + 3600 * hours
