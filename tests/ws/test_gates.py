"""One at a time for each name, in order, whatever becomes of those who wait."""

import asyncio

import pytest

from openapi.ws.gates import Gates
from tests.shuffled import pause, run, running_loop


class Visitor:
    """Goes through a gate, and stays behind it until it is let go."""

    def __init__(self, gates: Gates, name: str, log: list[str], own: str) -> None:
        self._gates, self._name, self._log, self._own = gates, name, log, own
        self.inside, self.leave = asyncio.Event(), asyncio.Event()
        self.failure: Exception | None = None
        self.task = asyncio.create_task(self._go())

    async def _go(self) -> None:
        async with self._gates.turn(self._name):
            self._log.append(f"{self._own} in")
            self.inside.set()
            await self.leave.wait()
            self._log.append(f"{self._own} out")
            if self.failure is not None:
                raise self.failure


async def test_who_comes_while_a_name_is_taken_waits_in_order() -> None:
    gates, log = Gates(), list[str]()
    a, b, c = (Visitor(gates, "orders", log, own) for own in "abc")
    for visitor in (a, b, c):
        await visitor.inside.wait()
        visitor.leave.set()
    await asyncio.gather(a.task, b.task, c.task)
    assert log == ["a in", "a out", "b in", "b out", "c in", "c out"]


async def test_names_do_not_wait_for_each_other() -> None:
    gates, log = Gates(), list[str]()
    a, b = Visitor(gates, "orders", log, "a"), Visitor(gates, "prices", log, "b")
    await a.inside.wait()
    await b.inside.wait()
    assert len(gates) == 2
    for visitor in (b, a):
        visitor.leave.set()
        await visitor.task
    assert log == ["a in", "b in", "b out", "a out"]


async def test_of_a_name_that_nobody_has_or_waits_for_nothing_is_kept() -> None:
    gates, log = Gates(), list[str]()
    a, b = (Visitor(gates, "orders", log, own) for own in "ab")
    await a.inside.wait()
    assert len(gates) == 1
    a.leave.set()
    await b.inside.wait()
    assert len(gates) == 1
    b.leave.set()
    await b.task
    assert len(gates) == 0


async def test_who_fails_behind_a_gate_opens_it() -> None:
    gates, log = Gates(), list[str]()
    a, b = (Visitor(gates, "orders", log, own) for own in "ab")
    await a.inside.wait()
    a.failure = OSError("the wire is cut")
    a.leave.set()
    with pytest.raises(OSError, match="the wire is cut"):
        await a.task
    await b.inside.wait()
    b.leave.set()
    await b.task
    assert len(gates) == 0


async def test_who_gives_up_waiting_is_passed_over() -> None:
    gates, log = Gates(), list[str]()
    a, b, c = (Visitor(gates, "orders", log, own) for own in "abc")
    await a.inside.wait()
    b.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await b.task
    a.leave.set()
    await c.inside.wait()
    c.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await c.task
    assert log == ["a in", "a out", "c in"]
    assert len(gates) == 0


def test_in_any_order_of_coming_going_and_giving_up_there_is_one_at_a_time() -> None:
    async def main() -> int:
        rng, gates = running_loop().rng, Gates()
        inside: dict[str, int] = {"a": 0, "b": 0}
        passed = 0

        async def visit(name: str) -> None:
            nonlocal passed
            await pause()
            async with gates.turn(name):
                inside[name] += 1
                assert inside[name] == 1
                try:
                    await pause()
                finally:
                    inside[name] -= 1
                passed += 1

        tasks = [asyncio.create_task(visit(rng.choice("ab"))) for _ in range(8)]
        for task in rng.sample(tasks, 3):
            await pause()
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() or task.exception() is None for task in tasks)
        assert len(gates) == 0
        return passed

    passed = [run(seed, main) for seed in range(500)]
    assert min(passed) >= 5
    assert {5, 6, 7, 8} <= set(passed)  # some were given up at the gate, or behind it
