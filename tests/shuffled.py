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

The clock, and what is found wrong, are those of :mod:`openapi.testing.virtual_loop`. Which callback
is a task's step is asked of asyncio from inside: there is no public way to choose an order. Its
tests hold that on every version of Python that is supported.
"""

import asyncio
import itertools
import random
import weakref
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Final, TypeVar

from openapi.testing.virtual_loop import START, ScenarioError, VirtualLoop, age, drive

__all__ = ["START", "ScheduleError", "ShuffledLoop", "pause", "run", "running_loop"]

T = TypeVar("T")
_Task = asyncio.Task[Any]

TURNS: Final = 20_000
"""How many turns a scenario may take."""

# What a task hands to the loop, by name: asyncio's tasks in C, then those in Python. Each is bound
# to its task. A callback of a program that is bound to a task, as `task.cancel`, is a plain one.
_STEPS: Final = frozenset({"TaskStepMethWrapper", "task_wakeup", "__step", "__wakeup"})

ScheduleError = ScenarioError
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
    return drive(ShuffledLoop(seed, turns=turns), main(), name=f"seed {seed}")


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


class ShuffledLoop(VirtualLoop):
    """The loop that ``run`` makes.

    Attributes:
        seed: What the order is made of.
        rng: Chooses the order. A scenario may draw from it too.
    """

    def __init__(self, seed: int, *, turns: int = TURNS) -> None:
        super().__init__(seconds=inf, turns=turns)
        self.seed = seed
        self.rng = random.Random(seed)
        self._numbers: weakref.WeakKeyDictionary[_Task, int] = weakref.WeakKeyDictionary()
        self._count = itertools.count()

    def tasks(self) -> list[_Task]:
        """The tasks that have not ended, in the order of their numbers."""
        tasks = asyncio.all_tasks(self)
        self._number(tasks)
        return sorted(tasks, key=self._numbers.__getitem__)

    def arrange_timers(self, due: list[asyncio.TimerHandle]) -> None:
        due.sort(key=lambda timer: (timer.when(), self.rng.random()))

    def arrange(self) -> None:
        """Put what is ready in an order that the table in the module's docstring allows.

        Each handle gets a place between 0 and 1. Those of plain callbacks ascend, which makes all
        orders equally likely that keep theirs. Where that breaks the order of a future's
        callbacks, the handle that must be later gets another place, behind the earlier one.
        """
        live = [handle for handle in self._ready if not handle.cancelled()]
        self._ready.clear()
        self._ready.extend(live)
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
            new.sort(key=age)
        for task in new:
            self._numbers[task] = next(self._count)


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
