"""The shuffled loop: what it shuffles, what it keeps, and what it finds."""

import asyncio
import gc
import itertools
import random
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest

from tests.shuffled import START, ScheduleError, pause, run, running_loop

SEEDS = range(200)

Start = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


def from_the_loop(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(coroutine)


def in_python(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task without the accelerator, as on PyPy."""
    task: asyncio.Task[None] = asyncio.tasks._PyTask(  # type: ignore[attr-defined]
        coroutine, loop=asyncio.get_running_loop()
    )
    return task


STARTS: list[Start] = [from_the_loop, in_python]

if sys.version_info >= (3, 12):

    def eagerly(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)

    STARTS.append(eagerly)


def orders(main: Callable[[], Coroutine[Any, Any, list[Any]]]) -> set[tuple[Any, ...]]:
    """All that ``main`` returns under many seeds."""
    return {tuple(run(seed, main)) for seed in SEEDS}


async def for_ever() -> None:
    await asyncio.Event().wait()


# --- what is shuffled


@pytest.mark.parametrize("start", STARTS)
def test_one_seed_is_one_order_and_all_orders_of_three_tasks_come(start: Start) -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        go = asyncio.Event()

        async def worker(name: str) -> None:
            await go.wait()
            for turn in "12":
                seen.append(name + turn)
                await asyncio.sleep(0)

        tasks = [start(worker(name)) for name in "abc"]
        await asyncio.sleep(1)  # time passes once nothing is ready: all of them wait
        go.set()
        await asyncio.gather(*tasks)
        return seen

    assert [run(seed, main) for seed in range(20)] == [run(seed, main) for seed in range(20)]
    # a step in one turn does not leave it: all have their first turn before any has its second
    assert len(orders(main)) == 36


def test_the_first_steps_of_new_tasks_are_shuffled() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def worker(name: str) -> None:
            seen.append(name)

        await asyncio.gather(*(worker(name) for name in "abc"))
        return seen

    assert len(orders(main)) == 6


def test_tasks_that_wait_for_one_future_are_shuffled() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        future = asyncio.get_running_loop().create_future()

        async def worker(name: str) -> None:
            await future
            seen.append(name)

        tasks = [asyncio.create_task(worker(name)) for name in "abc"]
        await asyncio.sleep(1)
        future.set_result(None)
        await asyncio.gather(*tasks)
        return seen

    assert len(orders(main)) == 6


def test_a_task_comes_at_any_place_among_plain_callbacks() -> None:
    async def main() -> list[object]:
        seen: list[object] = []

        async def worker() -> None:
            seen.append("task")

        loop = asyncio.get_running_loop()
        for number in range(4):
            loop.call_soon(seen.append, number)
        await asyncio.create_task(worker())
        await asyncio.sleep(0)
        return seen

    found = orders(main)
    assert {order.index("task") for order in found} == {0, 1, 2, 3, 4}
    assert {tuple(x for x in order if x != "task") for order in found} == {(0, 1, 2, 3)}


def test_timers_of_the_same_time_are_shuffled() -> None:
    async def main() -> list[object]:
        seen: list[object] = []
        loop = asyncio.get_running_loop()
        for number in range(3):
            loop.call_at(START + 5, seen.append, number)
        await asyncio.sleep(6)
        return seen

    assert len(orders(main)) == 6


@pytest.mark.parametrize("start", STARTS)
def test_the_order_hangs_on_the_seed_and_not_on_the_tasks_before_or_on_the_order_of_a_set(
    start: Start,
) -> None:
    def cancelling(backwards: bool) -> Callable[[], Coroutine[Any, Any, list[str]]]:
        async def main() -> list[str]:
            ended: list[str] = []

            async def worker(name: str) -> None:
                try:
                    await for_ever()
                finally:
                    ended.append(name)

            tasks = [start(worker(name)) for name in "abcdefghijkl"]
            tasks.append(asyncio.create_task(worker("named"), name="Named"))
            await asyncio.sleep(1)
            for task in reversed(tasks) if backwards else tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return ended

        return main

    async def others() -> None:
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(7)))

    for seed in range(20):
        forwards = run(seed, cancelling(False))
        run(seed, others)
        assert run(seed, cancelling(True)) == forwards


def test_garbage_is_not_collected_at_turns_of_its_own_choice() -> None:
    async def main() -> bool:
        return gc.isenabled()

    assert gc.isenabled()
    assert not run(1, main)
    assert gc.isenabled()
    gc.disable()
    try:
        assert not run(1, main)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_each_order_is_as_likely_as_any_other() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        async def worker(name: str) -> None:
            await future
            seen.append(name)

        future.add_done_callback(lambda _: seen.append("called"))
        tasks = []
        for name in "ab":
            tasks.append(asyncio.create_task(worker(name)))
            await asyncio.sleep(1)  # so that one waits before the other
        future.set_result(None)
        await asyncio.gather(*tasks)
        for number in range(3):
            loop.call_soon(seen.append, str(number))
        await asyncio.sleep(0)
        seen.append("main")
        await asyncio.sleep(1)
        return seen

    found = [run(seed, main) for seed in range(2000)]
    assert 900 < sum(order.index("a") < order.index("b") for order in found) < 1100
    for place in range(4):
        assert 430 < sum(order[3:].index("main") == place for order in found) < 570


# --- what is kept


def test_plain_callbacks_are_called_in_the_order_in_which_they_were_registered() -> None:
    """As are methods of a task that are handed over, and whatever is named like a task's step."""

    class Machine:
        def __init__(self, seen: list[object]) -> None:
            self.step = self.__step
            self.seen = seen

        def __step(self) -> None:
            self.seen.append("step")

    async def main() -> list[object]:
        def task_wakeup() -> None:
            seen.append("wakeup")

        seen: list[object] = []
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(for_ever())
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
        for number in range(10):
            loop.call_soon(seen.append, number)
        loop.call_soon(lambda: seen.append(waiting.cancelling()))
        loop.call_soon(waiting.cancel)
        loop.call_soon(lambda: seen.append(waiting.cancelling()))
        loop.call_soon(Machine(seen).step)
        loop.call_soon(task_wakeup)
        loop.call_soon_threadsafe(seen.append, "threadsafe")
        await asyncio.wait([waiting, *tasks])
        return seen

    assert orders(main) == {(*range(10), 0, 1, "step", "wakeup", "threadsafe")}


def test_who_waits_for_a_future_finds_that_callbacks_added_before_have_been_called() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        future = asyncio.get_running_loop().create_future()

        async def worker(name: str) -> None:
            await future
            seen.append(name)

        future.add_done_callback(lambda _: seen.append("before"))
        tasks = [asyncio.create_task(worker(name)) for name in "ab"]
        await asyncio.sleep(1)
        future.add_done_callback(lambda _: seen.append("after"))
        future.add_done_callback(lambda _: seen.append("last"))
        future.set_result(None)
        await asyncio.gather(*tasks)
        return seen

    expected = {("before", *names, "after", "last") for names in (("a", "b"), ("b", "a"))}
    assert orders(main) == expected


def test_an_ended_task_is_out_of_its_table_for_whoever_waited_for_it() -> None:
    async def main() -> list[object]:
        table = set()
        tasks = [asyncio.create_task(pause()) for _ in range(5)]
        for task in tasks:
            table.add(task)
            task.add_done_callback(table.discard)
        for task in tasks:
            if not task.done():
                await task
                assert task not in table
        return []

    assert orders(main) == {()}


def test_a_task_group_tells_the_failure_of_a_child_that_is_awaited_once() -> None:
    async def main() -> None:
        async def child() -> None:
            raise ValueError("bad")

        async with asyncio.TaskGroup() as group:
            group.create_task(for_ever())
            await group.create_task(child())

    for seed in SEEDS:
        with pytest.raises(ExceptionGroup) as caught:
            run(seed, main)
        assert [repr(exc) for exc in caught.value.exceptions] == ["ValueError('bad')"]


class Watched:
    """A future that counts whom it has told."""

    def __init__(self) -> None:
        self.future = asyncio.get_running_loop().create_future()
        self.callbacks = self.called = self.waiters = self.woken = 0

    def add_callback(self) -> None:
        number, before = self.callbacks, self.waiters
        self.callbacks += 1

        def callback(_: object) -> None:
            assert self.called == number, "a callback is called out of order"
            assert self.woken >= before, "a task that waited before comes later"
            self.called += 1

        self.future.add_done_callback(callback)

    async def wait(self) -> None:
        before = self.callbacks
        self.waiters += 1
        await self.future
        assert self.called >= before, "a callback that was added before comes later"
        self.woken += 1


def test_what_has_an_order_keeps_it_in_any_mixture() -> None:
    async def main() -> list[int]:
        loop = running_loop()
        seen: list[int] = []
        number = itertools.count()
        watched = [Watched() for _ in range(4)]
        tasks = []
        for _ in range(loop.rng.randint(4, 24)):
            one = loop.rng.choice(watched)
            if loop.rng.random() < 0.5:
                tasks.append(asyncio.create_task(one.wait()))
                await asyncio.sleep(1)
            else:
                one.add_callback()
        loop.rng.shuffle(watched)
        for one in watched:
            for _ in range(loop.rng.randint(0, 3)):
                loop.call_soon(seen.append, next(number))
            one.future.set_result(None)
        loop.call_soon(seen.append, next(number))
        await asyncio.sleep(1)
        await asyncio.gather(*tasks)
        assert seen == list(range(len(seen)))
        assert [(one.called, one.woken) for one in watched] == [
            (one.callbacks, one.waiters) for one in watched
        ]
        return []

    assert orders(main) == {()}


def test_timers_are_called_in_the_order_of_their_times_and_behind_what_was_ready() -> None:
    async def main() -> list[object]:
        seen: list[object] = []
        loop = asyncio.get_running_loop()
        await asyncio.sleep(3)
        loop.call_at(START + 2, seen.append, "second")
        loop.call_at(START + 1, seen.append, "first")
        loop.call_soon(seen.append, "ready")
        loop.call_later(2, seen.append, "fourth")
        loop.call_later(1, seen.append, "third")
        loop.call_later(1, seen.append, "never").cancel()
        loop.call_soon(seen.append, "never").cancel()
        await asyncio.sleep(3)
        return seen

    assert orders(main) == {("ready", "first", "second", "third", "fourth")}


# --- time


def test_time_jumps_to_the_next_timer_once_nothing_is_ready() -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        for seconds in (3600, 0.25, 0):
            await asyncio.sleep(seconds)
            times.append(loop.time())
        await pause(most=50)
        times.append(loop.time())
        return times

    hour = START + 3600
    assert run(1, main) == [START, hour, hour + 0.25, hour + 0.25, hour + 0.25]
    assert START, "a time that is false would be a state that no real loop has"


def test_a_pause_takes_from_no_turn_to_the_most() -> None:
    def turns(rng: random.Random, **options: int) -> int:
        waiting = pause(rng, **options)
        for turn in itertools.count():
            try:
                waiting.send(None)
            except StopIteration:
                return turn
        raise AssertionError

    rng = random.Random(1)
    assert {turns(rng) for _ in range(100)} == {0, 1, 2, 3}
    assert {turns(rng, most=1) for _ in range(100)} == {0, 1}


# --- asyncio's own things work


def test_a_queue_keeps_its_order_and_gives_each_item_to_one_getter() -> None:
    async def main() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)
        got: list[int] = []

        async def getter() -> None:
            while True:
                got.append(await queue.get())
                await pause()
                queue.task_done()

        getters = [asyncio.create_task(getter()) for _ in range(3)]
        for item in range(10):
            await queue.put(item)
        await queue.join()
        for task in getters:
            task.cancel()
        return sorted(got)

    assert orders(main) == {tuple(range(10))}


def test_timeouts_events_locks_and_gather() -> None:
    async def main() -> list[object]:
        event, lock = asyncio.Event(), asyncio.Lock()
        holders = 0

        async def holder(number: int) -> int:
            nonlocal holders
            async with lock:
                holders += 1
                assert holders == 1
                await pause()
                holders -= 1
            await event.wait()
            return number

        tasks = [asyncio.create_task(holder(number)) for number in range(5)]
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.shield(tasks[0])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(for_ever(), 3)
        loop.call_later(1, event.set)
        done = await asyncio.gather(*tasks, asyncio.sleep(2, "slept"))
        return [*done, loop.time() - START]

    assert orders(main) == {(0, 1, 2, 3, 4, "slept", 12.0)}


def test_an_asynchronous_generator_ends_when_closed_when_dropped_and_at_the_end() -> None:
    ended: list[str] = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            for number in range(9):
                await pause()
                yield number
        finally:
            await pause()
            ended.append(name)

    async def main() -> None:
        closed = numbers("closed")
        async with aclosing(closed):  # type: ignore[type-var]
            async for number in closed:
                if number == 3:
                    break
        assert ended == ["closed"]
        async for _ in numbers("dropped"):
            break
        kept.append(numbers("kept"))
        await anext(kept[0])

    kept: list[AsyncIterator[int]] = []
    for seed in SEEDS:
        ended.clear()
        kept.clear()
        run(seed, main)
        assert ended == ["closed", "dropped", "kept"]


def test_a_scenario_runs_in_a_loop_of_its_own_and_gives_what_it_returns() -> None:
    loops = []

    async def main() -> str:
        loops.append(running_loop())
        return "result"

    assert run(3, main) == "result"
    assert run(4, main) == "result"
    assert loops[0] is not loops[1]
    assert [loop.seed for loop in loops] == [3, 4]
    assert all(loop.is_closed() for loop in loops)


# --- what is found


def fault(main: Callable[[], Coroutine[Any, Any, object]], **options: int) -> str:
    """What the schedule of seed 5 is said to have done wrong."""
    with pytest.raises(ScheduleError) as caught:
        run(5, main, **options)
    first, _, rest = str(caught.value).partition("\n")
    assert first == "seed 5"
    return rest


def test_a_deadlock_names_the_tasks_and_what_they_await() -> None:
    async def items() -> AsyncIterator[None]:
        await for_ever()
        yield

    async def consumer() -> None:
        async for _ in items():
            pass

    async def main() -> None:
        asyncio.get_running_loop().call_later(9, print).cancel()
        task = asyncio.create_task(consumer(), name="consumer")
        await asyncio.sleep(2)
        await asyncio.gather(task)

    head, first, second = fault(main).splitlines()
    assert head.startswith("deadlock: nothing is ready, no timer is set; tasks that have not ended")
    assert head.endswith(", at 2 s: 2")
    consumer_waits, main_waits = sorted((first, second), key=lambda line: "main" in line)
    assert re.search(r"main \(test_shuffled\.py:[1-9]\d+\)$", main_waits)
    assert consumer_waits.startswith("  consumer: test_a_deadlock_names")
    for one, other in pairwise(("consumer (", "items (", "for_ever (", "Event.wait (locks.py:")):
        assert 0 < consumer_waits.index(one) < consumer_waits.index(other)


def test_a_deadlock_of_many_tasks_names_some_of_them() -> None:
    async def main() -> None:
        await asyncio.gather(*(for_ever() for _ in range(30)))

    lines = fault(main).splitlines()
    assert lines[0].endswith("tasks that have not ended, at 0 s: 31")
    assert len(lines) == 22
    assert lines[-1] == "  and 11 more"


def test_a_livelock_is_found_after_a_number_of_turns() -> None:
    async def main() -> None:
        while True:
            await pause(most=1)

    text = fault(main)
    assert text.startswith("livelock: more than 20,000 turns")
    assert "main (test_shuffled.py:" in text
    assert "more than 7 turns" in fault(main, turns=7)


def test_a_timer_that_is_set_for_ever_does_not_hide_a_deadlock() -> None:
    async def main() -> None:
        def beat() -> None:
            asyncio.get_running_loop().call_later(25, beat)

        beat()
        await for_ever()

    text = fault(main, turns=100)
    assert "or a timer that is set for ever while nothing else goes on; tasks" in text
    assert "at 2500 s: 1\n" in text


def test_a_task_that_is_left_over_is_named_and_one_that_was_cancelled_is_not() -> None:
    async def slow_to_end() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(60)

    async def main() -> None:
        asyncio.create_task(for_ever(), name="left")
        asyncio.create_task(asyncio.sleep(0), name="ends at once")
        cancelled = asyncio.create_task(slow_to_end(), name="cancelled")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelled.cancel()

    text = fault(main)
    assert text.startswith("left over, and not cancelled: left: for_ever (test_shuffled.py:")
    assert len(text.splitlines()) == 1


def test_a_task_that_waits_for_a_timer_is_left_over() -> None:
    async def main() -> None:
        asyncio.create_task(asyncio.sleep(1), name="sleeper")

    assert "left over, and not cancelled: sleeper: sleep (tasks.py:" in fault(main)


def test_a_task_that_drops_its_cancellation_is_found() -> None:
    async def deaf() -> None:
        while True:
            try:
                await for_ever()
            except asyncio.CancelledError:
                pass

    async def main() -> None:
        task = asyncio.create_task(deaf(), name="deaf")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()

    text = fault(main)
    assert text.startswith("after the end, with all tasks cancelled: deadlock: ")
    assert "  deaf: " in text


def test_an_exception_that_nobody_retrieves_is_found() -> None:
    async def broken() -> None:
        raise ValueError("nobody asked")

    async def main() -> None:
        asyncio.create_task(broken())

    with pytest.raises(ScheduleError, match="exception was never retrieved; .*nobody asked") as e:
        run(5, main)
    assert repr(e.value.__cause__) == "ValueError('nobody asked')"

    async def cyclic() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ValueError("in a cycle"))
        holder: list[object] = [future]
        holder.append(holder)

    assert "in a cycle" in fault(cyclic)


def test_a_failure_when_it_is_cancelled_is_found_too() -> None:
    async def broken() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(1)
            raise ValueError("while it ended")

    async def main() -> None:
        task = asyncio.create_task(broken())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()

    assert "ValueError('while it ended')" in fault(main)


def test_a_callback_that_raises_is_found_and_so_is_the_next() -> None:
    def broken(text: str) -> None:
        raise ValueError(text)

    async def main() -> None:
        for text in "ab":
            asyncio.get_running_loop().call_soon(broken, text)
        report = {"about": 1, "source_traceback": ["long"]}
        asyncio.get_running_loop().call_exception_handler(report)
        await asyncio.sleep(0)

    with pytest.raises(ScheduleError, match="(?s)Exception in callback.*Exception in cal") as e:
        run(5, main)
    assert isinstance(e.value.__cause__, ExceptionGroup)
    assert [str(exc) for exc in e.value.__cause__.exceptions] == ["a", "b"]
    assert "unhandled; about: 1" in str(e.value).splitlines()


def test_a_task_that_a_finalizer_starts_is_left_over() -> None:
    class Connection:
        def __init__(self) -> None:
            self.loop = asyncio.get_running_loop()
            self.itself = self

        def __del__(self) -> None:
            self.loop.create_task(for_ever(), name="farewell")

    async def main() -> None:
        Connection()

    assert fault(main).startswith("left over, and not cancelled: farewell: ")


def test_a_task_that_is_destroyed_while_it_waits_is_found() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.create_task(for_ever(), name="lost")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()

    assert "Task was destroyed but it is pending!" in fault(main)


def test_a_scenario_that_expects_a_report_sets_a_handler_of_its_own() -> None:
    async def main() -> list[str]:
        reports: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
        loop.call_exception_handler({"message": "expected"})
        return reports

    assert run(5, main) == ["expected"]


@pytest.mark.parametrize("raised", [ValueError, asyncio.CancelledError, SystemExit])
def test_what_the_scenario_raises_comes_out_with_the_seed(raised: type[BaseException]) -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await for_ever()
        finally:
            ended.append("waits")

    async def main() -> None:
        asyncio.create_task(waits())
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)
        raise raised("failed")

    with pytest.raises(raised, match="failed") as caught:
        run(5, main)
    first, second = caught.value.__notes__
    assert first == "in the schedule of seed 5"
    assert "ZeroDivisionError" in second
    assert ended == ["waits"]
    assert caught.value.__context__ is None


def test_what_fails_after_the_scenario_does_not_have_its_failure_as_context() -> None:
    contexts = []

    async def waits() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError as error:
            contexts.append(error.__context__)
            raise

    async def main() -> None:
        asyncio.create_task(waits())
        await asyncio.sleep(1)
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        run(5, main)
    assert contexts == [None]


def test_there_are_no_threads() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="asks for a thread"):
            await asyncio.to_thread(print)

    run(5, main)


async def test_within_another_loop_it_does_not_start() -> None:
    async def main() -> None:
        raise AssertionError("nobody runs this")

    with pytest.raises(RuntimeError, match="call it from a plain function"):
        run(5, main)
    with pytest.raises(RuntimeError, match="is no ShuffledLoop: start the scenario by run"):
        running_loop()
