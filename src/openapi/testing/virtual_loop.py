"""An event loop whose time jumps.

It stands still while anything is ready. When nothing is, it jumps to the next timer.

No system call is made: there are no sockets, no threads, no processes. What a test waits for comes
by timers and by other tasks, so nobody ever waits for a clock, and each run is as the last one.

The loop knows asyncio from inside (``_ready``, ``_scheduled``, ``_run_once``): there is no public
way to a clock of one's own. Its tests hold that on every version of Python that is supported.
"""

import asyncio
import collections
import gc
import heapq
import itertools
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, Final, TypeVar, TypeVarTuple

from openapi.testing.waiting import described, listed

__all__ = ["START", "ScenarioError", "VirtualLoop", "age", "drive"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Task = asyncio.Task[Any]

START: Final = 1024.0
"""The loop's time at the start, in seconds: never 0, which is false, and no real loop has."""

_UNSAID: Final = frozenset({"message", "source_traceback"})  # of a report to the loop's handler


class _Timer(asyncio.TimerHandle):
    """A timer that knows how many were set before it.

    With a real clock no two moments are the same. Here most are, and a heap has no order for them.
    """

    __slots__ = ("number",)

    number: int
    _scheduled: bool

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        assert isinstance(other, _Timer)
        return (self.when(), self.number) < (other.when(), other.number)


class ScenarioError(AssertionError):
    """A scenario ended wrong; the message has every fault, and what waited."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop for one scenario, which may take so many ``seconds`` of its time and so many turns.

    ``faults`` is what has gone wrong so far, a text for each.
    """

    _ready: collections.deque[asyncio.Handle]
    _scheduled: list[_Timer]
    _check_closed: Callable[[], None]
    _stopping: bool

    def __init__(self, *, seconds: float, turns: int) -> None:
        super().__init__()
        self.faults: list[str] = []
        self._causes: list[BaseException] = []
        self._now = START
        self._seconds = seconds
        self._ends = START + seconds
        self._turns = turns
        self._turns_left = turns
        self._settling = False
        self._timers = itertools.count()

    def time(self) -> float:
        """Seconds, of this loop alone."""
        return self._now

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See asyncio. Of two timers of the same moment, the one that was set first is first."""
        self._check_closed()
        timer = _Timer(when, callback, args, self, context)
        timer.number = next(self._timers)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

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
        """Refuse: a thread would have a time of its own."""
        name = type(self).__name__
        raise RuntimeError(f"{func!r} asks for a thread, and a {name} has none: replace it")

    def wind_up(self, *, failed: bool) -> None:
        """End what the scenario left; what should not have been left is a fault.

        If the scenario ``failed``, nobody was there to end its tasks: they are no faults.
        """
        self._turns_left = self._turns
        self._ends = self._now + self._seconds
        try:
            self._end_tasks(blame=not failed)
            self.run_until_complete(self.shutdown_asyncgens())
            # All that the scenario made is in the youngest generation, as nothing was collected.
            gc.collect(0)
            self._end_tasks(blame=not failed)
        except ScenarioError as error:
            self.faults.append(f"after the end, with all tasks cancelled: {error}")

    def arrange(self) -> None:
        """Put what is ready in another order, before it is run."""

    def arrange_timers(self, due: list[asyncio.TimerHandle]) -> None:
        """Put timers in another order that are due in the same turn."""

    def tasks(self) -> list[Task]:
        """The tasks that have not ended, the oldest first."""
        return sorted(asyncio.all_tasks(self), key=age)

    def _end_tasks(self, *, blame: bool) -> None:
        if blame:
            self._settle()
        left = self.tasks()
        for task in left:
            if not task.cancelling():
                if blame:
                    self.faults.append(f"left over, and not cancelled: {described(task)}")
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

    def _run_once(self) -> None:
        self._expire()
        if not self._ready and not self._stopping:
            if self._settling:
                self.stop()
                return
            if not self._scheduled:
                raise ScenarioError(f"deadlock: nothing is ready, no timer is set; {self._state()}")
            if self._scheduled[0].when() > self._ends:
                raise ScenarioError(
                    f"not over after {self._seconds:,g} seconds of virtual time; {self._state()}"
                )
            self._now = self._scheduled[0].when()
            self._expire()
        if not self._turns_left:
            raise ScenarioError(
                f"livelock: more than {self._turns:,} turns, or a timer that is set for ever "
                f"while nothing else goes on; {self._state()}"
            )
        self._turns_left -= 1
        if len(self._ready) > 1:
            self.arrange()
        handle: asyncio.Handle | None
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle._cancelled:
                handle._run()
        # Tracebacks may keep this frame, which must not keep a task that nobody else does.
        handle = None

    def _expire(self) -> None:
        """Make the timers ready whose time has come, behind what is ready."""
        due: list[asyncio.TimerHandle] = []
        while self._scheduled:
            if not self._scheduled[0]._cancelled:
                if self._scheduled[0].when() > self._now:
                    break
                due.append(self._scheduled[0])
            heapq.heappop(self._scheduled)._scheduled = False
        if len(due) > 1:
            self.arrange_timers(due)
        self._ready.extend(due)

    def _state(self) -> str:
        tasks = self.tasks()
        title = f"tasks that have not ended, at {self._now - START:g} s: {len(tasks)}"
        return "\n".join([title, *([listed(tasks)] if tasks else [])])

    def _write_to_self(self) -> None:
        """Nothing: the loop never sleeps, so nobody wakes it."""


def drive(loop: VirtualLoop, main: Coroutine[Any, Any, T], *, name: str = "") -> T:
    """Run a scenario on a loop, end what it left, and close the loop. ``name`` is for failures.

    The garbage collector rests meanwhile, or it would run finalizers at turns of its choice.

    Raises what :func:`openapi.testing.run` does.
    """
    collects = gc.isenabled()
    gc.disable()
    ended: list[T] = []
    failure: BaseException | None = None
    try:
        try:
            ended.append(loop.run_until_complete(main))
        except ScenarioError as error:
            loop.faults.append(str(error))
        except BaseException as error:  # whatever it is: it is raised below
            failure = error
        # not within `except`: what the tasks raise now would have that failure as its context
        loop.wind_up(failed=not ended)
    finally:
        loop.close()
        if collects:
            gc.enable()
    try:
        if failure is not None:
            if name:
                failure.add_note(f"in the schedule of {name}")
            for fault in loop.faults:
                failure.add_note(fault)
            raise failure
        if loop.faults:
            text = "\n".join([*([name] if name else []), *loop.faults])
            raise ScenarioError(text) from loop.cause()
        return ended[0]
    finally:
        del failure, loop  # or the traceback and this frame would hold each other


def age(task: Task) -> tuple[int, str]:
    """Sorts tasks by age: the names that asyncio gives count them; other names come first."""
    name = task.get_name()
    prefix, _, count = name.partition("-")
    return (int(count), "") if prefix == "Task" and count.isdecimal() else (-1, name)
