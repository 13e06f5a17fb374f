"""What keeps a connection to a server there: an owner that makes it anew whenever it ends.

    async def session(up: Callable[[], None]) -> None:
        async with connect() as connection:     # and whatever else makes it of use
            up()
            await connection.ended()            # raises what ended it, or returns

| state  | the session calls ``up()`` | the session ends                        | ``aclose()``     |
|--------|----------------------------|-----------------------------------------|------------------|
| NEW    |                            |                                         | CLOSED           |
| TRYING | UP                         | a pause, and again. TRYING              | CLOSED           |
| UP     |                            | at once if it was up for long,          | CLOSED           |
|        |                            | otherwise behind a pause. TRYING        |                  |
| CLOSED |                            |                                         |                  |

The pauses grow and are drawn by chance, for many processes lose one server at the same moment.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from openapi.protocol.backoff import delays
from openapi.ws.broker import Outage

__all__ = ["Session", "Supervisor", "SupervisorState"]

logger = logging.getLogger(__name__)

Session = Callable[[Callable[[], None]], Awaitable[None]]
"""Connects, calls what it is given when all is ready, and runs until the connection ends."""

#: The ceiling of the first pause, and of the longest: seconds. A server that is back is to be found
#: within two seconds, whatever was tried meanwhile.
_FIRST: Final = 0.05
_CAP: Final = 1.0
#: Reasons of one outage that are logged.
_SAID: Final = 8
#: A connection that held for so many seconds is made anew without a pause.
_STABLE: Final = 5.0


class SupervisorState(Enum):
    """See the table of the module."""

    NEW = "new"
    TRYING = "trying"
    UP = "up"
    CLOSED = "closed"


class Supervisor:
    """Owns one connection. ``name`` says in the log what it is; it has no password in it.

    ``changed`` is called when it is up, and when it is so no more. ``final`` says of what ended a
    session whether to try again is in vain; then :meth:`open` raises it, and behind that it is
    tried all the same, for what is wrong at a server may be mended there.
    """

    def __init__(
        self,
        name: str,
        session: Session,
        *,
        changed: Callable[[], object] = lambda: None,
        final: Callable[[Exception], bool] = lambda _: False,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.name: Final = name
        self.state = SupervisorState.NEW
        self.outage: Outage | None = None
        """Why it is not up, as it was tried last; None while it is, and before it was opened."""
        self.sessions = 0
        """How often it was up."""
        self._session = session
        self._changed = changed
        self._final = final
        self._random = random
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._said: set[str] = set()  # the reasons of this outage that the log has

    def start(self) -> None:
        """Begin to try. Harmless the second time."""
        if self.state is SupervisorState.NEW:
            self.state = SupervisorState.TRYING
            loop = asyncio.get_running_loop()
            self._first = loop.create_future()
            self._task = loop.create_task(self._run())

    async def open(self, patience: float) -> None:
        """Start, and wait until it is up, for so many seconds at most.

        Raises what is final, if the first try ends with that.
        """
        self.start()
        if self._first is None or self.state is SupervisorState.UP:
            return  # it was closed, or is there whatever the first try ended with
        await asyncio.wait([self._first], timeout=patience)
        if self._first.done():
            self._first.result()
        elif self.outage is None:
            self.outage = Outage(time.time(), f"{self.name}: no answer within {patience:g} s")

    async def aclose(self) -> None:
        """End it. Harmless the second time."""
        self.state = SupervisorState.CLOSED
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    @property
    def _closed(self) -> bool:
        return self.state is SupervisorState.CLOSED

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pauses = delays(self._random, first=_FIRST, cap=_CAP)
        while True:
            since, before = loop.time(), self.sessions
            try:
                await self._session(self._up)
                ended: Exception = ConnectionError("the connection ended")
            except Exception as exc:
                ended = exc
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                ended = ConnectionError("what it waits for was cancelled")  # and not its owner
            if self._closed:
                return  # a failure may have come before the cancellation
            held = self.sessions > before and loop.time() - since >= _STABLE
            self._down(ended)
            if held:
                pauses = delays(self._random, first=_FIRST, cap=_CAP)
            else:
                await asyncio.sleep(next(pauses))

    def _up(self) -> None:
        self.state = SupervisorState.UP
        self.sessions += 1
        outage, self.outage = self.outage, None
        self._said.clear()
        if outage is not None:
            logger.warning("%s is back after %.1f s", self.name, time.time() - outage.since)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        self._changed()

    def _down(self, ended: Exception) -> None:
        was_up = self.state is SupervisorState.UP
        self.state = SupervisorState.TRYING
        why = str(ended) or type(ended).__name__
        reason = f"{self.name}: {why}"
        since = time.time() if self.outage is None else self.outage.since
        self.outage = Outage(since, reason)
        if self._first is not None and not self._first.done() and self._final(ended):
            self._first.set_exception(ended)  # to whoever opens it: it need not be said twice
            self._first.exception()  # nobody need wait for it
        elif reason not in self._said and len(self._said) < _SAID:  # each once: it is tried often
            self._said.add(reason)
            logger.warning("%s is away, and tried until it is back: %s", self.name, why)
        if was_up:
            self._changed()
