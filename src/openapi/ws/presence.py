"""Who of this process is present on which channel, and the broker that is told of it.

    presence.enter("orders", socket_id, Member("7", user=7))
    presence.drop("orders", socket_id)      # its connection ended: gone in 15 s, unless 7 is back
    await presence.members("orders")        # of all processes

What is told is in a :class:`~openapi.ws.roster.Roster` for each channel. Here is when: at once what
has changed, by one worker at a time for a channel, which goes on until nothing has; and at every
tick all who are there.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from openapi.errors import ErrorCode, RpcError
from openapi.protocol.backoff import delays
from openapi.protocol.limits import Limits
from openapi.schema import encode_json
from openapi.ws.broker import KeepsPresence, Member
from openapi.ws.grace import Grace
from openapi.ws.roster import PublishNews, Roster

__all__ = ["Presence"]

logger = logging.getLogger(__name__)

#: Channels that are refreshed at the same time.
_AT_ONCE: Final = 16
#: Connections that have ended and are present for a while.
_MOST_IN_GRACE: Final = 10_000
#: Seconds for what the broker is told at the shutdown.
_FAREWELL: Final = 1.0


class Presence:
    """Tells a broker who of this process is present, and its channels who joined and who left.

    ``broker`` gives the broker, or None when the server has shut down. ``publish`` is called with a
    channel, ``"$join"`` or ``"$leave"``, and ``{"id", "user"?, "info"?}``; what it raises is
    logged. ``spawn`` starts a task and owns it. ``random`` gives numbers from 0 to 1.

    Nothing is lost that the broker fails to do: it is logged once, and tried again until it works.
    A call that takes longer than ``limits.presence_interval`` has failed. There is no task and no
    timer while nobody is present.
    """

    def __init__(
        self,
        *,
        broker: Callable[[], Awaitable[KeepsPresence | None]],
        publish: PublishNews,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        limits: Limits,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._broker = broker
        self._publish = publish
        self._spawn = spawn
        self._limits = limits
        self._interval = limits.presence_interval
        self._random = random
        self._rosters: dict[str, Roster] = {}
        self._grace = Grace(limits.presence_grace, self._go, most=_MOST_IN_GRACE)
        self._timer: asyncio.TimerHandle | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._pauses = delays(random)
        self._tasks: set[asyncio.Task[None]] = set()
        self._troubles: Counter[type[Exception]] = Counter()
        self._closed = False

    def __len__(self) -> int:
        """Channels with somebody of this process, or with something that is to be told still."""
        return len(self._rosters)

    def enter(self, channel: str, connection: str, member: Member) -> None:
        """A connection is on a channel, as this member from now on.

        If another one of the same member has just ended there, it goes behind this one, and nobody
        notices. Raises Unserializable for ``info`` that has no JSON form.
        """
        encode_json(member.info)  # here, for the broker would refuse all that are told with it
        if self._closed:
            return
        roster = self._rosters.get(channel)
        if roster is None:
            roster = self._rosters[channel] = Roster(channel, self._publish, self._limits)
        self._grace.remove(channel, connection)
        before = roster.wanted.get(connection)
        if before == member:
            return
        roster.enter(connection, member)
        if before is None or before.id != member.id:
            self._grace.replace(channel, member.id)
        self._work_on(roster)
        if self._timer is None and self._ticking is None:
            self._arm(asyncio.get_running_loop().time() + self._interval)

    def leave(self, channel: str, connection: str) -> None:
        """A connection is on a channel no more. Harmless if it was not."""
        roster = self._rosters.get(channel)
        if roster is not None and connection in roster.wanted:
            self._grace.remove(channel, connection)
            self._go(channel, connection)

    def drop(self, channel: str, connection: str) -> None:
        """A connection has ended: it is on the channel for ``presence_grace`` seconds more.

        Harmless if it was not there.
        """
        roster = self._rosters.get(channel)
        if roster is not None and connection in roster.wanted:
            self._grace.add(channel, connection, roster.wanted[connection].id)

    async def members(self, channel: str) -> Sequence[Member]:
        """Who is on a channel, in all processes. What changed in this one is told before.

        Raises RpcError (SHUTTING_DOWN), and what the broker raises.
        """
        roster = self._rosters.get(channel)
        # Who takes a $join, and asks this before that is done, would wait for itself.
        if roster is not None and roster.working and not roster.publishing_here:
            if roster.settled is None:
                roster.settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(roster.settled)
        broker = await self._broker()
        if broker is None:
            raise RpcError(
                ErrorCode.SHUTTING_DOWN, "The server is shutting down, reconnect and call again"
            )
        return await broker.members(channel)

    async def aclose(self) -> None:
        """Tell nobody anything more. Harmless the second time.

        Those who are still there stay for ``presence_grace`` seconds, as their clients may come
        back at another process. What cannot be told within a second expires there.
        """
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._each(tuple(self._rosters.values()), self._bid_farewell)
        except TimeoutError:
            logger.warning(
                "the broker took too long to be told that the presence of %d channels ends here;"
                " it will expire",
                len(self),
            )
        finally:
            self._end()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _go(self, channel: str, connection: str) -> None:
        roster = self._rosters[channel]
        roster.leave(connection)
        self._work_on(roster)

    def _work_on(self, roster: Roster) -> None:
        if not roster.working:
            roster.working = True
            self._start(self._work(roster))

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._spawn(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _work(self, roster: Roster) -> None:
        """Tell the broker what has changed on a channel, until nothing has."""
        try:
            while (roster.changed or roster.settled) and not self._closed:
                waiting, roster.settled = roster.settled, None
                try:
                    await self._tell(roster)
                finally:
                    _wake(waiting)
        finally:
            roster.working = False
        if not roster.wanted and not self._closed:
            del self._rosters[roster.channel]
            if not self._rosters:
                self._stop_ticks()

    async def _tell(self, roster: Roster) -> None:
        pauses = delays(self._random)
        while True:
            try:
                async with roster.turn:
                    broker = None if self._closed else await self._opened()
                    if broker is not None:
                        await roster.tell(broker)
            except Exception as exc:
                self._failed(roster, exc)
            else:
                self._worked(roster)
                return
            await asyncio.sleep(next(pauses))

    async def _opened(self) -> KeepsPresence | None:
        async with asyncio.timeout(self._interval):
            broker = await self._broker()
        if broker is None:
            self._end()
        return broker

    def _arm(self, when: float) -> None:
        if self._rosters:
            self._timer = asyncio.get_running_loop().call_at(when, self._begin_tick)

    def _begin_tick(self) -> None:
        self._timer = None
        self._ticking = self._start(self._tick())

    async def _tick(self) -> None:
        """Refresh every channel; and those that failed again, until the next tick is due."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        rosters: Sequence[Roster] = tuple(self._rosters.values())
        while True:
            failed: list[Roster] = []
            await self._each(rosters, partial(self._refresh, failed=failed))
            if not failed:
                self._pauses = delays(self._random)
                break
            pause = next(self._pauses)
            if loop.time() + pause >= due:
                break
            rosters = failed
            await asyncio.sleep(pause)
        self._ticking = None
        self._arm(due)

    async def _refresh(self, roster: Roster, *, failed: list[Roster]) -> None:
        async with roster.turn:
            try:
                broker = None if self._closed else await self._opened()
                if broker is not None:
                    await roster.refresh(broker)
            except Exception as exc:
                self._failed(roster, exc)
                failed.append(roster)
            else:
                if not roster.working:
                    self._worked(roster)
            if roster.changed and not self._closed:  # some were lost
                self._work_on(roster)

    async def _bid_farewell(self, roster: Roster) -> None:
        async with roster.turn:
            try:
                broker = await self._opened()
                if broker is not None:
                    await roster.bid_farewell(broker, self._limits.presence_grace)
            except Exception as exc:
                self._failed(roster, exc)

    async def _each(
        self, rosters: Sequence[Roster], act: Callable[[Roster], Awaitable[None]]
    ) -> None:
        """Do something for all channels, for a few at the same time."""
        rest = iter(rosters)

        async def some() -> None:
            for roster in rest:
                await act(roster)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(_AT_ONCE, len(rosters))):
                group.create_task(some())

    def _failed(self, roster: Roster, exc: Exception) -> None:
        """Log a failure once, as long as any channel has it: who is away fails for all."""
        if roster.trouble is not type(exc):
            self._worked(roster)
            roster.trouble = type(exc)
            self._troubles[type(exc)] += 1
            if self._troubles[type(exc)] == 1:
                logger.error(
                    "the broker failed when it was told who is present on channel %r; %s",
                    roster.channel,
                    "it will expire" if self._closed else "it is tried again until it works",
                    exc_info=exc,
                )

    def _worked(self, roster: Roster) -> None:
        if roster.trouble is not None:
            self._troubles[roster.trouble] -= 1
            roster.trouble = None

    def _stop_ticks(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    def _end(self) -> None:
        self._closed = True
        self._stop_ticks()
        self._grace.clear()
        for roster in self._rosters.values():
            _wake(roster.settled)
        self._rosters.clear()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current and not task.cancelling():
                task.cancel()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
