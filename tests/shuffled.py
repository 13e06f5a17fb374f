"""An event loop that runs one scenario in many orders, each of them named by a seed.

``run(seed, main)`` is ``asyncio.run`` on a ``ShuffledLoop``: time is virtual, and whatever asyncio
leaves open about the order of callbacks is decided by ``random.Random(seed)``. Nothing sleeps, and
no system call is made: there are no sockets and no threads, so transports are stood in for.

    def test_a_call_is_answered_once() -> None:
        for seed in range(10_000):
            run(seed, scenario)

A loop works in turns: a turn runs what is ready, and what that makes ready runs in the next turn.
A callback never moves from one turn to another; only the order within a turn is chosen.

==========================================  =====================================================
what is ready in the same turn              its order
==========================================  =====================================================
steps of different tasks, their first one   shuffled: tasks are independent of each other, also
and every later one                         those that wait for one future
a task's step and a plain callback          shuffled, but for the next two rows
plain callbacks (``call_soon``, what        kept: "Callbacks are called in the order in which
``add_done_callback`` was given, timers)    they are registered" (``loop.call_soon``)
callbacks of one future, and the steps of   kept: whoever waits for a task finds that the
tasks that wait for it                      callbacks which were added before have been called,
                                            and ``TaskGroup`` counts on that
timers                                      kept, by time; shuffled where the time is the same:
                                            the order "is undefined" (``loop.call_later``)
a timer that is due, and a plain callback   kept: the callback that was ready is first
that was ready before
steps of one task                           kept: a task never has two of them ready
==========================================  =====================================================

So these have no order here, though they have one in asyncio as it is: tasks that were started one
after another, getters of one queue that were woken in the same turn, and
``call_soon(f); await sleep(0)``, after which ``f`` may still be to come. Other distances between
two events, in turns, come by ``await pause()`` in the scenario.

Time stands still while anything is ready. When nothing is, it jumps to the next timer.

One seed gives one order in every process, whatever ran before, as long as the scenario has no
chance of its own: ``loop.rng`` is for that. The garbage collector rests meanwhile, or it would run
finalizers at turns of its choice. Plain callbacks that are registered by going through a set
are in that set's order, which is nobody's; tasks that are cancelled so are put in order first.

The loop knows asyncio from inside (``_ready``, ``_scheduled``, ``_run_once``): there is no public
way to choose an order. Its tests hold that on every version of Python that is supported.
"""

import asyncio
import collections
import gc
import heapq
import inspect
import itertools
import os
import random
import weakref
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any, Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Task = asyncio.Task[Any]

START: Final = 1024.0
"""The loop's time at the start, in seconds: never 0, which is false, and no real loop has."""

TURNS: Final = 20_000
"""How many turns a scenario may take."""

# What a task hands to the loop, by name: asyncio's tasks in C, then those in Python. Each is bound
# to its task. A callback of a program that is bound to a task, as `task.cancel`, is a plain one.
_STEPS: Final = frozenset({"TaskStepMethWrapper", "task_wakeup", "__step", "__wakeup"})

_UNSAID: Final = frozenset({"message", "source_traceback"})  # of a report to the loop's handler

_NAMED: Final = 20  # tasks that one message names


class ScheduleError(AssertionError):
    """A schedule ended wrong; the message has its seed, and every fault."""


def run(seed: int, main: Callable[[], Coroutine[Any, Any, T]], *, turns: int = TURNS) -> T:
    """Run ``main()`` in the order that belongs to ``seed``, in a loop of its own.

    When it has ended, what is ready still runs, without any time passing. The tasks that then
    remain are cancelled, if they were not before, and waited for; asynchronous generators are
    closed; garbage is collected.

    Raises:
        ScheduleError: Nothing was ready, no timer was set and ``main`` had not ended (deadlock);
            more than ``turns`` turns (livelock); a task was left that nobody had cancelled, or
            one did not end when it was; something was reported to the loop's exception handler,
            as an exception that nobody retrieved. A scenario that expects such a report sets a
            handler of its own.
        BaseException: Whatever ``main`` raises, with the seed and all the faults as notes.
        RuntimeError: This thread runs another loop.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("run() starts a loop of its own: call it from a plain function")
    collects = gc.isenabled()
    gc.disable()
    loop = ShuffledLoop(seed, turns=turns)
    ended: list[T] = []
    failure: BaseException | None = None
    try:
        try:
            ended.append(loop.run_until_complete(main()))
        except ScheduleError as error:
            loop.faults.append(str(error))
        except BaseException as error:
            failure = error
        # not within `except`: what the tasks raise now would have that failure as its context
        loop.wind_up(failed=not ended)
    finally:
        loop.close()
        if collects:
            gc.enable()
    try:
        if failure is not None:
            failure.add_note(f"in the schedule of seed {seed}")
            for fault in loop.faults:
                failure.add_note(fault)
            raise failure
        if loop.faults:
            raise ScheduleError("\n".join([f"seed {seed}", *loop.faults])) from loop.cause()
        return ended[0]
    finally:
        del failure, loop  # or the traceback and this frame would hold each other


async def pause(rng: random.Random | None = None, *, most: int = 3) -> None:
    """Let 0 to ``most`` turns pass. ``rng`` is the running ``ShuffledLoop``'s unless given."""
    for _ in range((rng or running_loop().rng).randint(0, most)):
        await asyncio.sleep(0)


def running_loop() -> "ShuffledLoop":
    """The loop of the scenario that runs.

    Raises:
        RuntimeError: No loop runs, or none of these.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, ShuffledLoop):
        raise RuntimeError(f"{loop!r} is no ShuffledLoop: start the scenario by run()")
    return loop


class ShuffledLoop(asyncio.BaseEventLoop):
    """The loop that ``run`` makes.

    Attributes:
        seed: What the order is made of.
        rng: Chooses the order. A scenario may draw from it too.
        faults: What has gone wrong so far, a text for each.
    """

    _ready: collections.deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool

    def __init__(self, seed: int, *, turns: int = TURNS) -> None:
        super().__init__()
        self.seed = seed
        self.rng = random.Random(seed)
        self.faults: list[str] = []
        self._causes: list[BaseException] = []
        self._now = START
        self._turns = turns
        self._turns_left = turns
        self._settling = False
        self._numbers: weakref.WeakKeyDictionary[_Task, int] = weakref.WeakKeyDictionary()
        self._count = itertools.count()

    def time(self) -> float:
        return self._now

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Note the fault: nothing that comes here is for nobody to see."""
        cause = context.get("exception")
        if cause is not None:
            self._causes.append(cause)
        about = [f"{key}: {value!r}" for key, value in context.items() if key not in _UNSAID]
        self.faults.append("; ".join([context.get("message") or "unhandled", *about]))

    def cause(self) -> BaseException | None:
        """What was raised behind the faults: one exception, or a group of them."""
        if len(self._causes) > 1:
            return BaseExceptionGroup("reported to the loop", self._causes)
        return self._causes[0] if self._causes else None

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        raise RuntimeError(f"{func!r} asks for a thread, and a ShuffledLoop has none: replace it")

    def wind_up(self, *, failed: bool) -> None:
        """End what the scenario left; what should not have been left is a fault.

        If the scenario ``failed``, nobody was there to end its tasks: they are no faults.
        """
        self._turns_left = self._turns
        try:
            self._end_tasks(blame=not failed)
            self.run_until_complete(self.shutdown_asyncgens())
            # All that the scenario made is in the youngest generation, as nothing was collected.
            gc.collect(0)
            self._end_tasks(blame=not failed)
        except ScheduleError as error:
            self.faults.append(f"after the end, with all tasks cancelled: {error}")

    def _end_tasks(self, *, blame: bool) -> None:
        if blame:
            self._settle()
        left = self._tasks()
        for task in left:
            if not task.cancelling():
                if blame:
                    self.faults.append(f"left over, and not cancelled: {_described(task)}")
                task.cancel()
        if left:
            # `wait` retrieves no exception, so none is hidden
            self.run_until_complete(asyncio.wait(left))

    def _settle(self) -> None:
        """Run until nothing is ready; no time passes."""
        self._settling = True
        try:
            self.run_forever()
        finally:
            self._settling = False

    def _tasks(self) -> list[_Task]:
        """The tasks that have not ended, in the order of their numbers."""
        tasks = asyncio.all_tasks(self)
        self._number(tasks)
        return sorted(tasks, key=self._numbers.__getitem__)

    def _run_once(self) -> None:
        self._expire()
        if not self._ready and not self._stopping:
            if self._settling:
                self.stop()
                return
            if not self._scheduled:
                raise ScheduleError(f"deadlock: nothing is ready, no timer is set; {self._state()}")
            self._now = self._scheduled[0].when()
            self._expire()
        if not self._turns_left:
            raise ScheduleError(
                f"livelock: more than {self._turns:,} turns, or a timer that is set for ever "
                f"while nothing else goes on; {self._state()}"
            )
        self._turns_left -= 1
        if len(self._ready) > 1:
            self._shuffle()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _expire(self) -> None:
        """Make the timers ready whose time has come, behind what is ready."""
        due: list[asyncio.TimerHandle] = []
        while self._scheduled:
            if not self._scheduled[0]._cancelled:
                if self._scheduled[0].when() > self._now:
                    break
                due.append(self._scheduled[0])
            heapq.heappop(self._scheduled)._scheduled = False  # type: ignore[attr-defined]
        if len(due) > 1:
            due.sort(key=lambda timer: (timer.when(), self.rng.random()))
        self._ready.extend(due)

    def _shuffle(self) -> None:
        """Put what is ready in an order that the table in the module's docstring allows.

        Each handle gets a place between 0 and 1. Those of plain callbacks ascend, which makes all
        orders equally likely that keep theirs. Where that breaks the order of a future's
        callbacks, the handle that must be later gets another place, behind the earlier one.
        """
        steps = {i: task for i, h in enumerate(self._ready) if (task := _task_of(h)) is not None}
        if not steps:
            return
        self._number(steps.values())
        chance = self.rng.random
        places = {i: chance() for i in sorted(steps, key=lambda i: self._numbers[steps[i]])}
        plain = iter(sorted(chance() for _ in range(len(self._ready) - len(steps))))
        last = 0.0  # the place of the last plain callback
        called: dict[Any, float] = {}  # of a future's last plain callback
        stepped: dict[Any, float] = {}  # of the latest task that waits for a future
        for i, handle in enumerate(self._ready):
            future = _future_of(handle)
            if i in steps:
                floor = called.get(future, 0.0)
            else:
                places[i] = next(plain)
                floor = max(last, stepped.get(future, 0.0))
            if places[i] < floor:
                places[i] = floor + (1 - floor) * chance()
            if i not in steps:
                last = places[i]
            if future is not None:
                if i in steps:
                    stepped[future] = max(stepped.get(future, 0.0), places[i])
                else:
                    called[future] = last
        handles = list(self._ready)
        self._ready.clear()
        self._ready.extend(handles[i] for i in sorted(range(len(handles)), key=places.__getitem__))

    def _number(self, tasks: Any) -> None:
        """Number the tasks that are new, by age: those of a turn may come in a set's order."""
        new = [task for task in tasks if task not in self._numbers]
        if len(new) > 1:
            new.sort(key=_age)
        for task in new:
            self._numbers[task] = next(self._count)

    def _state(self) -> str:
        tasks = self._tasks()
        lines = [f"tasks that have not ended, at {self._now - START:g} s: {len(tasks)}"]
        lines += [f"  {_described(task)}" for task in tasks[:_NAMED]]
        if len(tasks) > _NAMED:
            lines.append(f"  and {len(tasks) - _NAMED} more")
        return "\n".join(lines)

    def _write_to_self(self) -> None:
        """Nothing: the loop never sleeps, so nobody wakes it."""


def _task_of(handle: asyncio.Handle) -> _Task | None:
    """The task whose step this is; None for a plain callback."""
    callback = handle._callback  # type: ignore[attr-defined]
    name = getattr(callback, "__name__", None) or type(callback).__name__
    if name not in _STEPS:
        return None
    owner: Any = getattr(callback, "__self__", None)
    return owner if asyncio.isfuture(owner) else None  # type: ignore[return-value]


def _future_of(handle: asyncio.Handle) -> asyncio.Future[Any] | None:
    """The future whose callback this is: such a callback has the future as its only argument."""
    args = handle._args
    return args[0] if len(args) == 1 and asyncio.isfuture(args[0]) else None


def _age(task: _Task) -> tuple[int, str]:
    """Sorts tasks by age: the names that asyncio gives count them; other names come first."""
    name = task.get_name()
    prefix, _, count = name.partition("-")
    return (int(count), "") if prefix == "Task" and count.isdecimal() else (-1, name)


def _described(task: _Task) -> str:
    """A task, and the chain of what it awaits, outermost first."""
    coroutine = task.get_coro()
    return f"{task.get_name()}: {' > '.join(_awaits(coroutine)) or repr(coroutine)}"


def _awaits(awaitable: object) -> Iterator[str]:
    while awaitable is not None:
        if type(awaitable).__name__ in {"async_generator_asend", "async_generator_athrow"}:
            # these do not tell their generator in any other way
            awaitable = next(filter(inspect.isasyncgen, gc.get_referents(awaitable)), None)
        for prefix, below in (("cr", "await"), ("ag", "await"), ("gi", "yieldfrom")):
            frame = getattr(awaitable, f"{prefix}_frame", None)
            if frame is not None:
                file = os.path.basename(frame.f_code.co_filename)
                yield f"{frame.f_code.co_qualname} ({file}:{frame.f_lineno})"
                awaitable = getattr(awaitable, f"{prefix}_{below}")
                break
        else:
            return
