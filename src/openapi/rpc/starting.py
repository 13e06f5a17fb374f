"""The task of a call, from its first step on.

    task = start(run(call), loop)

    async def run(call):
        try:
            if LATER:
                await begun()
            ...
        finally:
            over(call)

Whatever ends the task, also before its first step in the loop, ends it inside of ``try``. So the
coroutine sees to its own end, and no call-back of the task's, which would come a turn of the loop
later, is needed for that.
"""

import asyncio
import sys
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Final

__all__ = ["LATER", "begun", "ended_by_exit", "start"]

LATER: Final = sys.version_info < (3, 12)
"""Whether a task takes its first step in the next turn of the loop, and not at once."""


@coroutine
def begun() -> Generator[None, None, None]:
    """Wait for the first step of the task."""
    yield


def ended_by_exit() -> None:
    """Say of the current task that what ends it, and the loop, needs no report of its own."""
    # In a function, so that no frame of the exception's traceback holds the task: a cycle.
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(asyncio.Task.exception)


if sys.version_info >= (3, 12):

    def start(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        """Begin. Most handlers never suspend: the task may be done already."""
        return asyncio.Task(work, loop=loop, eager_start=True)

else:

    def start(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        """Begin. The task is not done yet."""
        work.send(None)  # as far as begun()
        return loop.create_task(work)
