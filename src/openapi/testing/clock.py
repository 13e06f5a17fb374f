"""Tests in virtual time: a minute is over as soon as nothing else is left to do.

def test_who_says_nothing_is_gone_after_a_minute() -> None:
    run(main())

@virtual_time
async def test_who_says_nothing_is_gone_after_a_minute() -> None: ...
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

from openapi.testing.virtual_loop import VirtualLoop, drive

__all__ = ["run", "virtual_time"]

T = TypeVar("T")
P = ParamSpec("P")

_SECONDS: Final = 24 * 3600.0
_TURNS: Final = 1_000_000


def run(main: Coroutine[Any, Any, T], *, seconds: float = _SECONDS, turns: int = _TURNS) -> T:
    """Do as ``asyncio.run``, on a loop whose time jumps to the next timer when nothing is ready.

    So ``await asyncio.sleep(60)`` takes no time, and neither does a timeout. There are no sockets
    and no threads: connect by :func:`~openapi.testing.serve`. ``time.time()`` is not touched, only
    the loop's time.

    When ``main`` has ended, what is ready still runs, without any time passing. The tasks that then
    remain are cancelled and waited for.

    Raises what ``main`` does, with all other faults as notes; RuntimeError where this thread runs
    another loop; and ScenarioError, which says what each task waits for, or what else was wrong:

    - nothing was ready, no timer was set, and ``main`` had not ended: a deadlock;
    - ``main`` took more than ``seconds`` of virtual time, by default a day, or more than ``turns``
      turns of the loop;
    - a task was left that nobody had cancelled, or one did not end when it was;
    - something was reported to the loop's exception handler, as an exception that nobody retrieved.
      A test that expects such a report sets a handler of its own.
    """
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError("run() starts a loop of its own: call it from a plain function")
    return drive(VirtualLoop(seconds=seconds, turns=turns), main)


def virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a plain function of a coroutine function: it is run by :func:`run`."""

    @functools.wraps(test)
    def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(test(*args, **kwargs))

    return timed
