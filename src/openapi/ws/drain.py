"""The end of a server: every socket is let go of without losing an answer.

1. Each client is told when to come back, so that they do not all come at once.
2. Calls in flight have ``limits.drain_window`` to finish; then the sockets are closed with 1012.
   Where there are other servers of the application, idle ones stay open until their client is due
   to come back, and has had the time: it connects there before it leaves, and hears all meanwhile.
3. What outlives its connection has what is left of the window.
4. Then whatever else is to be let go of.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Final

from openapi.protocol.limits import Limits
from openapi.ws.background import Background, stop

if TYPE_CHECKING:
    from openapi.ws.connection import Connection

__all__ = ["Drain"]

#: How many clients are sent back a second, within ``limits.drain_window``.
_RETURNING_PER_SECOND: Final = 400
#: Seconds that a client has to connect elsewhere, behind the moment that it was told.
_MOVING: Final = 2.0
#: Seconds over which even a few are sent back: a server needs as long to start.
_SOONEST_RETURN: Final = 1.0


class Drain:
    """Begun once. ``connections`` are those there are, ``close`` is the last step.

    ``elsewhere`` is whether there are other servers to which clients can go.
    """

    def __init__(
        self,
        limits: Limits,
        connections: "Callable[[], Collection[Connection]]",
        elsewhere: Callable[[], bool],
        background: Background,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._limits = limits
        self._connections = connections
        self._elsewhere = elsewhere
        self._background = background
        self._close = close
        self._draining: asyncio.Task[None] | None = None
        self._window_ends = 0.0

    @property
    def begun(self) -> bool:
        """Whether the server ends."""
        return self._draining is not None

    def begin(self) -> asyncio.Task[None]:
        """Drain; returns what does it."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        return self._draining

    async def finish(self, patience: float | None) -> None:
        """Drain, for so many seconds at most: then nothing is waited for any more."""
        draining = self.begin()
        await asyncio.wait([draining], timeout=patience)
        self._window_ends = 0.0
        for connection in self._connections():
            connection.restart()
        stop(self._background.outliving)
        await asyncio.shield(draining)

    async def _drain(self) -> None:
        loop, limits = asyncio.get_running_loop(), self._limits
        self._window_ends = loop.time() + limits.drain_window
        connections = self._connections()
        spread = max(_SOONEST_RETURN, len(connections) / _RETURNING_PER_SECOND)
        window = min(limits.drain_window, spread)
        moving = _MOVING if self._elsewhere() else None
        for connection in connections:
            after = random.uniform(0, window)
            stays = 0.0 if moving is None else after + moving
            connection.drain(after=round(after * 1000), stays=stays)
        try:
            await _gone(connections, limits.drain_window)
        finally:  # the loop may end before: then it is cancelled, and each is told all the same
            for connection in connections:
                connection.restart()
        await _gone(connections, None)
        if outliving := self._background.outliving:
            remaining = max(0.0, self._window_ends - loop.time())
            _, late = await asyncio.wait(outliving, timeout=remaining)
            stop(late)
        await self._close()


async def _gone(connections: "Collection[Connection]", timeout: float | None) -> None:
    if connections:
        waits = [asyncio.ensure_future(connection.wait_closed()) for connection in connections]
        _, late = await asyncio.wait(waits, timeout=timeout)
        for wait in late:
            wait.cancel()
