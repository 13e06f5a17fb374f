"""What tasks wait for, in words."""

import asyncio
import gc
import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

__all__ = ["described", "listed"]

_NAMED: Final = 20  # tasks that one message names


def listed(tasks: Sequence[asyncio.Task[Any]]) -> str:
    """Tasks, one a line."""
    lines = [f"  {described(task)}" for task in tasks[:_NAMED]]
    if len(tasks) > _NAMED:
        lines.append(f"  and {len(tasks) - _NAMED} more")
    return "\n".join(lines)


def described(task: asyncio.Task[Any]) -> str:
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
