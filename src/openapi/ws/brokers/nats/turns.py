"""What waits for one channel is done together, one lot behind another."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from openapi.errors import BrokerUnavailable

__all__ = ["Turn", "Turns"]

#: Whatever waits, on all channels.
_WAITING: Final = 8192

W = TypeVar("W")
R = TypeVar("R")


class Turn(Generic[W, R]):
    """Something that is to be done, and who waits for it."""

    __slots__ = ("result", "work")

    def __init__(self, work: W) -> None:
        self.work: Final = work
        self.result: asyncio.Future[R] = asyncio.get_running_loop().create_future()

    @property
    def wanted(self) -> bool:
        """Whether it is still to be done."""
        return not self.result.done()

    def done(self, result: R) -> None:
        if self.wanted:
            self.result.set_result(result)

    def failed(self, exc: Exception) -> None:
        if self.wanted:
            self.result.set_exception(exc)


class Turns(Generic[W, R]):
    """Has one task for each channel on which something waits.

    ``perform`` is given all that waits, and does at least the first of it; the rest is given to it
    again. What it raises is raised to all that it was given. Who does not wait any more has nothing
    done for them, unless it was begun.
    """

    def __init__(self, perform: Callable[[str, list[Turn[W, R]]], Awaitable[None]]) -> None:
        self._perform = perform
        self._waiting: dict[str, list[Turn[W, R]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def take(self, channel: str, work: W) -> R:
        """Have something done. Raises what comes of it; BrokerUnavailable where too much waits."""
        if self._count >= _WAITING:
            raise BrokerUnavailable("More waits for NATS than may, try again later")
        turn: Turn[W, R] = Turn(work)
        self._count += 1
        waiting = self._waiting.get(channel)
        if waiting is None:
            self._waiting[channel] = [turn]
            task = asyncio.get_running_loop().create_task(self._run(channel))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            waiting.append(turn)
        try:
            return await turn.result
        finally:
            self._count -= 1

    async def aclose(self) -> None:
        """Wait until what was begun has come to its end, which is to be soon."""
        await asyncio.gather(*self._tasks)

    async def _run(self, channel: str) -> None:
        waiting = self._waiting[channel]
        while turns := [turn for turn in waiting if turn.wanted]:
            waiting[:] = turns
            try:
                await self._perform(channel, turns)
            except Exception as exc:
                for turn in turns:
                    turn.failed(exc)
        del self._waiting[channel]
