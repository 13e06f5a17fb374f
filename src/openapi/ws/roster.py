"""One channel's presence: who of this process is wanted there, and the broker that is told of it.

There are two tables by connection: who is wanted, and who is there by the last answer of the
broker. To tell the broker is to make the second like the first. What is wanted is looked at in that
moment, so that whatever happens in between, nothing overtakes anything.

======  ==========  ==========================================================================
wanted  there       what the broker is told
======  ==========  ==========================================================================
no      no          nothing
yes     no          that it enters
yes     the same    nothing; that it is there still, at each tick, and *no* if that is not so
yes     other data  that it enters, once more
yes     another id  that it leaves, then that it enters: it is another member now
no      yes         that it leaves, behind those that enter
either  in doubt    its last call failed, and may have done it all the same. First, what was there
                    before, which is not published; then as above
======  ==========  ==========================================================================

So a ``$join`` or a ``$leave`` whose call had no answer is published when it is told again. Where it
may have expired meanwhile, it leaves first: others may have been told that it did.

What one process publishes of a member comes in turn. What two publish of one member comes in the
order in which they got round to it, which is nearly always that of the broker.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar

from openapi.protocol.limits import Limits
from openapi.ws.broker import KeepsPresence, Member

__all__ = ["PublishNews", "Roster"]

T = TypeVar("T")
PublishNews: TypeAlias = Callable[[str, str, object], Awaitable[None]]
"""``await publish(channel, "$join" or "$leave", {"id", "user"?, "info"?})``"""

logger = logging.getLogger(__name__)

#: Connections that one call of the broker names.
_BATCH: Final = 1000


class Roster:
    """What a process knows of a channel. ``turn`` is held by who asks the broker about it.

    A call of the broker that takes longer than ``limits.presence_interval`` raises TimeoutError.
    """

    __slots__ = (
        "_changed",
        "_doubt",
        "_fresh",
        "_patience",
        "_publish",
        "_publishing",
        "_there",
        "_ttl",
        "channel",
        "settled",
        "trouble",
        "turn",
        "wanted",
        "working",
    )

    def __init__(self, channel: str, publish: PublishNews, limits: Limits) -> None:
        self.channel: Final = channel
        self._publish = publish
        self._patience = limits.presence_interval
        self._ttl = limits.presence_ttl
        self.wanted: dict[str, Member] = {}
        self._there: dict[str, Member] = {}  # in the order in which the broker was told
        # Connections for which the two may differ; those in doubt are among them.
        self._changed: dict[str, None] = {}
        # All that is there, and not in doubt, was told or refreshed at this time or later.
        self._fresh = asyncio.get_running_loop().time()
        # Connections whose call had no answer, and the time above as it was then.
        self._doubt: dict[str, float] = {}
        self._publishing = False
        self.turn = asyncio.Lock()
        self.working = False
        """Whether somebody is at work to tell the broker."""
        self.settled: asyncio.Future[None] | None = None
        """Done when what has changed by now is told."""
        self.trouble: type[Exception] | None = None
        """How the broker failed the last time."""

    @property
    def changed(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._changed)

    @property
    def publishing_here(self) -> bool:
        """Whether who asks does so as they take a ``$join`` or ``$leave`` of this channel."""
        return self._publishing and _publishing.get() is self

    def enter(self, connection: str, member: Member) -> None:
        """A connection is wanted, as this member."""
        self.wanted[connection] = member
        self._change(connection)

    def leave(self, connection: str) -> None:
        """A connection that was wanted is not."""
        del self.wanted[connection]
        self._change(connection)

    async def tell(self, broker: KeepsPresence) -> None:
        """Tell the broker what has changed, and publish what that changed for all processes."""
        changed = tuple(self._changed)
        # Now, not when those that enter are told: who leaves later may be replaced by one that is
        # not among them, and must go behind it.
        leaving = tuple(filter(self._leaves, changed))
        await self._restore(broker)
        await self._tell_entered(broker, changed)
        await self._tell_left(broker, leaving)
        await self._tell_entered(broker, leaving)  # as another member
        for connection in changed:
            if self.wanted.get(connection) is self._there.get(connection):
                self._changed.pop(connection, None)

    async def refresh(self, broker: KeepsPresence) -> None:
        """Have all stay whom the broker should know by now. Those it lost have changed then."""
        began = asyncio.get_running_loop().time()
        known = [connection for connection in self._there if connection not in self._doubt]
        await self._prolong(broker, known, self._ttl)
        self._fresh = began

    async def bid_farewell(self, broker: KeepsPresence, stay: float) -> None:
        """Tell the broker who has left, and have the others stay for some seconds only."""
        await self._tell_left(broker, tuple(filter(self._leaves, self._changed)))
        absent = [connection for connection in self._doubt if connection not in self._there]
        await self._prolong(broker, [*self._there, *absent], stay)

    def _change(self, connection: str) -> None:
        # At the end: of what is said of a member, the broker believes the last.
        self._changed.pop(connection, None)
        self._changed[connection] = None

    def _enters(self, connection: str) -> bool:
        member, there = self.wanted.get(connection), self._there.get(connection)
        if member is None or there is None:
            return member is not None
        return member is not there and member.id == there.id

    def _leaves(self, connection: str) -> bool:
        member, there = self.wanted.get(connection), self._there.get(connection)
        return there is not None and (member is None or member.id != there.id)

    async def _restore(self, broker: KeepsPresence) -> None:
        for batch in _batches(tuple(self._doubt)):
            absent = [connection for connection in batch if connection not in self._there]
            if absent:
                await self._asked(broker.leave(self.channel, absent))
            oldest = asyncio.get_running_loop().time() - self._ttl
            there = [connection for connection in batch if connection in self._there]
            await self._take(broker, [each for each in there if self._doubt[each] <= oldest])
            again = {each: self._there[each] for each in there if each in self._there}
            if again:
                await self._asked(broker.enter(self.channel, again, ttl=self._ttl))
            for connection in batch:
                self._doubt.pop(connection, None)

    async def _tell_entered(self, broker: KeepsPresence, connections: Sequence[str]) -> None:
        for batch in _batches(connections):
            entering = {each: self.wanted[each] for each in batch if self._enters(each)}
            if not entering:
                continue
            for connection in entering:
                there = self._there.get(connection)
                if there is None:
                    self._doubt[connection] = self._fresh
                else:
                    # A copy, which is not what is wanted: with which data it is there, is not
                    # known until there is an answer.
                    self._there[connection] = replace(there)
            new = await self._asked(broker.enter(self.channel, entering, ttl=self._ttl))
            for connection, member in entering.items():
                self._doubt.pop(connection, None)
                self._there.pop(connection, None)
                self._there[connection] = member
            await self._tell_all("$join", new)

    async def _tell_left(self, broker: KeepsPresence, connections: Sequence[str]) -> None:
        for batch in _batches(connections):
            await self._take(broker, [each for each in batch if self._leaves(each)])

    async def _take(self, broker: KeepsPresence, connections: Sequence[str]) -> None:
        if connections:
            for connection in connections:
                self._doubt.setdefault(connection, self._fresh)
            gone = await self._asked(broker.leave(self.channel, connections))
            for connection in connections:
                del self._doubt[connection], self._there[connection]
            await self._tell_all("$leave", gone)

    async def _prolong(self, broker: KeepsPresence, connections: Sequence[str], ttl: float) -> None:
        for batch in _batches(connections):
            found = await self._asked(broker.refresh(self.channel, batch, ttl=ttl))
            await self._tell_all("$leave", found.expired)
            lost = set(found.lost)
            for connection in filter(lost.__contains__, batch):
                self._there.pop(connection, None)
                self._change(connection)

    async def _tell_all(self, event: str, members: Iterable[Member]) -> None:
        self._publishing = True
        token = _publishing.set(self)
        try:
            for member in members:
                try:
                    await self._asked(self._publish(self.channel, event, _said_of(member)))
                except Exception:
                    logger.exception(
                        "%s of member %r could not be published on channel %r",
                        event,
                        member.id,
                        self.channel,
                    )
        finally:
            _publishing.reset(token)
            self._publishing = False

    async def _asked(self, answer: Awaitable[T]) -> T:
        async with asyncio.timeout(self._patience):
            return await answer


#: The channel whose joins and leaves are published by what runs.
_publishing: ContextVar[Roster | None] = ContextVar("_publishing", default=None)


def _said_of(member: Member) -> dict[str, Any]:
    said = {"id": member.id, "user": member.user, "info": member.info}
    return {key: value for key, value in said.items() if value is not None}


def _batches(connections: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(connections), _BATCH):
        yield connections[start : start + _BATCH]
