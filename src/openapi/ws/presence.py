"""Who of this process is present on which channel, and the broker that is told of it.

    presence.enter("orders", socket_id, Member("7", user=7))
    presence.drop("orders", socket_id)      # its connection ended: gone in 15 s, unless 7 is back
    await presence.members("orders")        # of all processes

There are two tables for each channel, by connection: who is wanted there, and who is there by the
last answer of the broker. A worker makes the second like the first. There is one for a channel at
a time, it tells the broker many at once, and it looks at what is wanted when it tells it: whatever
happens in between, nothing overtakes anything.

==========  ===========  ========================================================================
wanted      there        what the worker does
==========  ===========  ========================================================================
no          no           nothing
yes         no           it enters
yes         the same     nothing; it is refreshed at each tick, and *no* if the broker lost it
yes         other data   it enters again
yes         another id   it leaves, then it enters: it is another member now
no          yes          it leaves, behind those that enter
either      in doubt     the broker failed, and may have done it all the same: it is told again
                         what was there before, and that is not published; then as above
==========  ===========  ========================================================================

So a ``$join`` or a ``$leave`` whose call was cut off is not missed. A call of the broker that takes
longer than ``limits.presence_interval`` has failed.
"""

import asyncio
import logging
import random
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from openapi.errors import ErrorCode, RpcError
from openapi.protocol.backoff import delays
from openapi.protocol.limits import Limits
from openapi.schema import encode_json
from openapi.ws.broker import KeepsPresence, Member

__all__ = ["Presence"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Channels that are refreshed at the same time.
_AT_ONCE: Final = 16
#: Connections that one call of the broker names.
_BATCH: Final = 1000
#: Connections that have ended and are present for a while. More: the oldest goes at once.
_MOST_AWAY: Final = 10_000
#: Seconds for what the broker is told at the shutdown.
_FAREWELL: Final = 1.0


class _Roster:
    """One channel."""

    __slots__ = (
        "announcing",
        "changed",
        "doubt",
        "fresh",
        "name",
        "settled",
        "there",
        "trouble",
        "turn",
        "wanted",
        "working",
    )

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.wanted: dict[str, Member] = {}
        self.there: dict[str, Member] = {}
        """In the order in which it was told."""
        self.changed: dict[str, None] = {}
        """Connections for which the two may differ. Those in doubt are among them."""
        self.fresh = now
        """All that is there, and not in doubt, was entered or refreshed at this time or later."""
        self.doubt: dict[str, float] = {}
        """Connections whose call had no answer, and what ``fresh`` was then."""
        self.working = False
        self.announcing = False
        self.turn = asyncio.Lock()
        """One at a time asks the broker about this channel, and publishes what it answers."""
        self.settled: asyncio.Future[None] | None = None
        """Done when all is told that has changed by now."""
        self.trouble: type[Exception] | None = None

    def enters(self, connection: str) -> bool:
        """Whether the broker is to be told that a connection is there, and as whom."""
        member, there = self.wanted.get(connection), self.there.get(connection)
        if member is None or there is None:
            return member is not None
        return member is not there and member.id == there.id

    def leaves(self, connection: str) -> bool:
        """Whether the broker is to be told that a connection is not there, as whoever it was."""
        member, there = self.wanted.get(connection), self.there.get(connection)
        return there is not None and (member is None or member.id != there.id)


#: The channel whose joins and leaves are being published by what runs.
_announcing: ContextVar[_Roster | None] = ContextVar("_announcing", default=None)


class _Away:
    """Connections that have ended and are present still, oldest first. One timer for all."""

    def __init__(self, seconds: float, gone: Callable[[_Roster, str], None]) -> None:
        self._seconds = seconds
        self._gone = gone
        self._due: OrderedDict[tuple[_Roster, str], tuple[float, str]] = OrderedDict()
        self._of: dict[tuple[_Roster, str], OrderedDict[str, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, roster: _Roster, connection: str) -> None:
        """A connection ended. Harmless the second time."""
        if (roster, connection) in self._due:
            return
        if len(self._due) >= _MOST_AWAY:
            self._expire(*next(iter(self._due)))
        due = asyncio.get_running_loop().time() + self._seconds
        id = roster.wanted[connection].id
        self._due[roster, connection] = due, id
        self._of.setdefault((roster, id), OrderedDict())[connection] = None
        self._arm()

    def remove(self, roster: _Roster, connection: str) -> None:
        """It is known what becomes of a connection, whether it was among these or not."""
        _, id = self._due.pop((roster, connection), (0.0, None))
        if id is not None:
            of = self._of[roster, id]
            del of[connection]
            if not of:
                del self._of[roster, id]
            if not self._due:
                self.clear()

    def replaced(self, roster: _Roster, id: str) -> None:
        """A connection of a member came: the oldest of theirs that has ended goes at once."""
        if of := self._of.get((roster, id)):
            self._expire(roster, next(iter(of)))

    def clear(self) -> None:
        """Forget all of them."""
        self._due.clear()
        self._of.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self, roster: _Roster, connection: str) -> None:
        self.remove(roster, connection)
        self._gone(roster, connection)

    def _arm(self) -> None:
        if self._timer is None and self._due:
            due, _ = next(iter(self._due.values()))
            self._timer = asyncio.get_running_loop().call_at(due, self._pass)

    def _pass(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._due:
            oldest, (due, _) = next(iter(self._due.items()))
            if due > now:
                break
            self._expire(*oldest)
        self._arm()


class Presence:
    """Tells a broker who of this process is present, and its channels who joined and who left.

    ``broker`` gives the broker, or None when the server has shut down. ``publish`` is called with
    a channel, ``"$join"`` or ``"$leave"``, and ``{"id", "user"?, "info"?}``; what it raises is
    logged. ``spawn`` starts a task and owns it. ``random`` gives numbers from 0 to 1.

    Nothing that the broker fails to do is lost: it is logged once, and tried again until it works.
    There is no task and no timer while nobody is present.
    """

    def __init__(
        self,
        *,
        broker: Callable[[], Awaitable[KeepsPresence | None]],
        publish: Callable[[str, str, object], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        limits: Limits,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._broker = broker
        self._publish = publish
        self._spawn = spawn
        self._interval = limits.presence_interval
        self._ttl = limits.presence_ttl
        self._grace = limits.presence_grace
        self._random = random
        self._rosters: dict[str, _Roster] = {}
        self._away = _Away(limits.presence_grace, self._go)
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
            roster = _Roster(channel, asyncio.get_running_loop().time())
            self._rosters[channel] = roster
        self._away.remove(roster, connection)
        before = roster.wanted.get(connection)
        if before == member:
            return
        roster.wanted[connection] = member
        self._change(roster, connection)
        if before is None or before.id != member.id:
            self._away.replaced(roster, member.id)
        if self._timer is None and self._ticking is None:
            self._arm(asyncio.get_running_loop().time() + self._interval)

    def leave(self, channel: str, connection: str) -> None:
        """A connection is on a channel no more. Harmless if it was not."""
        roster = self._rosters.get(channel)
        if roster is not None and connection in roster.wanted:
            self._away.remove(roster, connection)
            self._go(roster, connection)

    def drop(self, channel: str, connection: str) -> None:
        """A connection has ended: it is on the channel for ``presence_grace`` seconds more.

        Harmless if it was not there.
        """
        roster = self._rosters.get(channel)
        if roster is not None and connection in roster.wanted:
            self._away.add(roster, connection)

    async def members(self, channel: str) -> Sequence[Member]:
        """Who is on a channel, in all processes. What changed in this one is told before.

        Raises RpcError (SHUTTING_DOWN), and what the broker raises.
        """
        roster = self._rosters.get(channel)
        # Who takes a $join and asks this before it is done would wait for itself.
        if roster is not None and roster.working and not self._asks_itself(roster):
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

        Those who are still there stay for ``presence_grace`` seconds, since their clients may come
        back at another process. What cannot be told within a second expires there.
        """
        if self._closed:
            return
        self._closed = True
        self._away.clear()
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

    def _go(self, roster: _Roster, connection: str) -> None:
        del roster.wanted[connection]
        self._change(roster, connection)

    def _change(self, roster: _Roster, connection: str) -> None:
        # At the end: of what is said of a member, the broker believes the last.
        roster.changed.pop(connection, None)
        roster.changed[connection] = None
        if not roster.working:
            roster.working = True
            self._start(self._work(roster))

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._spawn(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _work(self, roster: _Roster) -> None:
        """Tell the broker what has changed on a channel, until nothing has."""
        try:
            while (roster.changed or roster.settled) and not self._closed:
                waiting, roster.settled = roster.settled, None
                try:
                    await self._tell_until_told(roster)
                finally:
                    _wake(waiting)
        finally:
            roster.working = False
        if not roster.wanted and not self._closed:
            self._forget(roster)

    async def _tell_until_told(self, roster: _Roster) -> None:
        pauses = delays(self._random)
        while not self._closed:
            try:
                async with roster.turn:
                    await self._tell(roster)
            except Exception as exc:
                self._failed(roster, exc)
            else:
                self._worked(roster)
                return
            await asyncio.sleep(next(pauses))

    async def _tell(self, roster: _Roster) -> None:
        broker = await self._opened()
        if broker is None or self._closed:
            return
        changed = tuple(roster.changed)
        # Now, not when those that enter are told: who left later may have been replaced by one
        # that is not among them, and goes behind it.
        leaving = tuple(filter(roster.leaves, changed))
        await self._resolve(roster, broker)
        await self._tell_entered(roster, broker, changed)
        await self._tell_left(roster, broker, leaving)
        await self._tell_entered(roster, broker, leaving)  # as another member
        for connection in changed:
            if roster.wanted.get(connection) is roster.there.get(connection):
                roster.changed.pop(connection, None)

    async def _resolve(self, roster: _Roster, broker: KeepsPresence) -> None:
        """Make that true again which was, before calls that had no answer."""
        for batch in _batches(tuple(roster.doubt)):
            there = {name: roster.there[name] for name in batch if name in roster.there}
            absent = [name for name in batch if name not in there]
            if absent:
                await self._asked(broker.leave(roster.name, absent))
            # What may have expired meanwhile shall not come back: others have told that it left.
            oldest = asyncio.get_running_loop().time() - self._ttl
            for name in [name for name in there if roster.doubt[name] <= oldest]:
                roster.there[name] = replace(there.pop(name))  # so that it is not as wanted
            if there:
                await self._asked(broker.enter(roster.name, there, ttl=self._ttl))
            for name in batch:
                del roster.doubt[name]

    async def _tell_entered(
        self, roster: _Roster, broker: KeepsPresence, connections: Sequence[str]
    ) -> None:
        for batch in _batches(connections):
            entering = {name: roster.wanted[name] for name in batch if roster.enters(name)}
            if entering:
                for name in entering:
                    if name in roster.there:
                        # It stays there; with which data, is not known until there is an answer.
                        roster.there[name] = replace(roster.there[name])
                    else:
                        roster.doubt[name] = roster.fresh
                new = await self._asked(broker.enter(roster.name, entering, ttl=self._ttl))
                for name, member in entering.items():
                    roster.doubt.pop(name, None)
                    roster.there.pop(name, None)
                    roster.there[name] = member
                await self._announce(roster, "$join", new)

    async def _tell_left(
        self, roster: _Roster, broker: KeepsPresence, connections: Sequence[str]
    ) -> None:
        for batch in _batches(connections):
            leaving = [name for name in batch if roster.leaves(name)]
            if leaving:
                roster.doubt.update(dict.fromkeys(leaving, roster.fresh))
                gone = await self._asked(broker.leave(roster.name, leaving))
                for name in leaving:
                    del roster.doubt[name], roster.there[name]
                await self._announce(roster, "$leave", gone)

    async def _announce(self, roster: _Roster, event: str, members: Iterable[Member]) -> None:
        roster.announcing = True
        token = _announcing.set(roster)
        try:
            for member in members:
                try:
                    await self._asked(self._publish(roster.name, event, _said_of(member)))
                except Exception:
                    logger.exception(
                        "%s of member %r could not be published on channel %r",
                        event,
                        member.id,
                        roster.name,
                    )
        finally:
            _announcing.reset(token)
            roster.announcing = False

    def _asks_itself(self, roster: _Roster) -> bool:
        return roster.announcing and _announcing.get() is roster

    async def _opened(self) -> KeepsPresence | None:
        broker = await self._asked(self._broker())
        if broker is None:
            self._end()
        return broker

    async def _asked(self, answer: Awaitable[T]) -> T:
        async with asyncio.timeout(self._interval):
            return await answer

    def _arm(self, when: float) -> None:
        if self._rosters and not self._closed:
            self._timer = asyncio.get_running_loop().call_at(when, self._begin_tick)

    def _begin_tick(self) -> None:
        self._timer = None
        task = self._start(self._tick())
        if not task.done():
            self._ticking = task

    async def _tick(self) -> None:
        """Refresh every channel; and those that failed again, until the next tick is due."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        rosters: Sequence[_Roster] = tuple(self._rosters.values())
        while True:
            failed: list[_Roster] = []
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

    async def _refresh(self, roster: _Roster, *, failed: list[_Roster]) -> None:
        async with roster.turn:
            known = [name for name in roster.there if name not in roster.doubt]
            began = asyncio.get_running_loop().time()
            if not known or self._closed:
                return
            try:
                broker = await self._opened()
                if broker is not None:
                    await self._prolong(roster, broker, known, self._ttl)
                    roster.fresh = began
            except Exception as exc:
                self._failed(roster, exc)
                failed.append(roster)
            else:
                if not roster.working:
                    self._worked(roster)

    async def _prolong(
        self, roster: _Roster, broker: KeepsPresence, connections: Sequence[str], ttl: float
    ) -> None:
        for batch in _batches(connections):
            found = await self._asked(broker.refresh(roster.name, batch, ttl=ttl))
            await self._announce(roster, "$leave", found.expired)
            lost = set(found.lost)
            for name in filter(lost.__contains__, batch):
                roster.there.pop(name, None)
                if name in roster.wanted and not self._closed:
                    self._change(roster, name)

    async def _bid_farewell(self, roster: _Roster) -> None:
        async with roster.turn:
            leaving = tuple(filter(roster.leaves, roster.changed))
            absent = roster.doubt.keys() - roster.there.keys()
            staying = tuple(name for name in (*roster.there, *absent) if name in roster.wanted)
            try:
                broker = await self._opened()
                if broker is not None:
                    await self._tell_left(roster, broker, leaving)
                    await self._prolong(roster, broker, staying, self._grace)
            except Exception as exc:
                self._failed(roster, exc)

    async def _each(
        self, rosters: Sequence[_Roster], act: Callable[[_Roster], Awaitable[None]]
    ) -> None:
        """Do something for all channels, for a few at the same time."""
        rest = iter(rosters)

        async def some() -> None:
            for roster in rest:
                await act(roster)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(_AT_ONCE, len(rosters))):
                group.create_task(some())

    def _failed(self, roster: _Roster, exc: Exception) -> None:
        """Log a failure once, as long as any channel has it: who is away fails for all."""
        if roster.trouble is not type(exc):
            self._worked(roster)
            roster.trouble = type(exc)
            self._troubles[type(exc)] += 1
            if self._troubles[type(exc)] == 1:
                logger.error(
                    "the broker failed when it was told who is present on channel %r;"
                    " it is tried again until it works",
                    roster.name,
                    exc_info=exc,
                )

    def _worked(self, roster: _Roster) -> None:
        if roster.trouble is not None:
            self._troubles[roster.trouble] -= 1
            roster.trouble = None

    def _forget(self, roster: _Roster) -> None:
        del self._rosters[roster.name]
        if not self._rosters:
            self._stop_ticks()

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
        self._away.clear()
        for roster in self._rosters.values():
            _wake(roster.settled)
        self._rosters.clear()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current and not task.cancelling():
                task.cancel()


def _said_of(member: Member) -> dict[str, Any]:
    """``{"id", "user"?, "info"?}``"""
    said = {"id": member.id, "user": member.user, "info": member.info}
    return {key: value for key, value in said.items() if value is not None}


def _batches(connections: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(connections), _BATCH):
        yield connections[start : start + _BATCH]


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
