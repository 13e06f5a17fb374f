"""One call while it is worked on: its task, its deadline, and whoever wants to know of it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, Final

from openapi.protocol.incoming import RUNNING, WAITING, Incoming

__all__ = ["Running", "current", "enter"]

_current: Final[ContextVar["Running | None"]] = ContextVar("openapi.rpc.current", default=None)


enter: Final = _current.set
"""Make a call that of the current task."""


def current() -> "Running | None":
    """The call that the current task runs, or was started by."""
    return _current.get()


class Running(Incoming, eq=False):
    """A call that was taken, until its work is over.

    ``owner`` is the peer that runs it; None when it is over, though a task that its handler started
    may live on, and knows it still.
    """

    owner: object | None = None
    task: asyncio.Task[None] | None = None
    work: Coroutine[Any, Any, Any] | None = None
    """Of a shielded call: its handler, which nothing but its own end stops."""
    context: Context | None = None
    """Of a call that waits for others: that in which it came."""
    timer: asyncio.TimerHandle | None = None
    """Of a call with a deadline, as the next two are."""
    _loop: asyncio.AbstractEventLoop | None = None
    _since: float | None = None
    _stopped: bool = False

    @property
    def remaining(self) -> float | None:
        """Seconds until its deadline, not less than 0; None where it has none."""
        timeout = self.timeout
        if timeout is None or self._since is None or self._loop is None:
            return timeout
        return max(0.0, self._since + timeout - self._loop.time())

    def limit(self, expired: Callable[["Running"], object]) -> None:
        """Begin to measure its time. ``expired`` is called once it is over."""
        assert self.timeout is not None
        self._loop = loop = asyncio.get_running_loop()
        self._since = loop.time()
        self.timer = loop.call_later(self.timeout, self._check, expired)

    def rest(self) -> None:
        """What follows does not count: it is not the handler that is waited for."""
        self._since = None

    def restart(self) -> None:
        """Measure its time anew."""
        if self.timer is not None and self._loop is not None:
            self._since = self._loop.time()

    def stop(self) -> None:
        """Cancel its task, once: what that cleans up is not to be disturbed."""
        if self.task is not None and not self._stopped:
            self._stopped = True
            self.task.cancel()

    def over(self) -> None:
        """Its work is over."""
        if self.work is not None:
            self.work.close()  # its task may have ended before its first step
            self.work = None
        self.owner = self.task = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _check(self, expired: Callable[["Running"], object]) -> None:
        # A stream begins anew with each item; one timer that looks again costs less than one each.
        remaining = self.remaining
        if self.state in (WAITING, RUNNING):
            if not remaining or self._loop is None:
                expired(self)
            else:
                self.timer = self._loop.call_later(remaining, self._check, expired)
