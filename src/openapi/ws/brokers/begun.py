"""Deliveries that are begun in order, and go on side by side."""

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

__all__ = ["Begun"]


class Begun(Coroutine[Any, Any, None]):
    """A delivery that has run up to where it first waits. A task goes on with it from there.

    A task alone would begin it later. By then another message may be under way to one node and not
    to the next, and whoever publishes this one may have been cancelled.
    """

    __slots__ = ("_failure", "_first", "_steps", "_waits_for", "done")

    def __init__(self, delivery: Awaitable[None]) -> None:
        self._steps = delivery.__await__()
        self._first = True
        self._waits_for: object = None
        self._failure: Exception | None = None
        self.done = False
        try:
            self._waits_for = next(self._steps)
        except StopIteration:
            self.done = True
        except Exception as exc:
            self._failure = exc  # for whoever waits: other nodes get the message all the same

    def send(self, value: Any, /) -> Any:
        """Tell the task what it waits for, the first time; then go on."""
        if self._failure is not None:
            raise self._failure
        if self._first:
            self._first = False
            return self._waits_for
        return self._steps.send(value)

    def throw(self, *exc: Any) -> Any:
        """Raise where it waits, whether the task has begun or not."""
        waits_for, is_first = self._waits_for, self._first
        self._first = False
        if is_first and isinstance(waits_for, asyncio.Future) and waits_for.cancel():
            return waits_for  # a task that waits cancels that, and goes on when it has ended
        return self._steps.throw(*exc)

    def close(self) -> None:
        """End it where it waits, as a task does that nobody needs any more."""
        self._steps.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError("it is for a task")
