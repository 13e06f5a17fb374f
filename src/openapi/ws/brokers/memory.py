"""The broker of one process: what is published is delivered at once, and kept while it lives.

    broker = MemoryBroker()
    node, other = SocketsManager(broker=broker), SocketsManager(broker=broker.sibling())

Siblings share one memory, as brokers of several processes share a server. It goes with the last of
them, whether they are open or not: a manager that is made anew with a sibling goes on where the
one before it ended.

Everything in it has a bound. Of more channels with history than there is room for, the one that was
used least recently is forgotten, which is a lost stream to its subscribers; those that never had a
message go before those that had, and those that nobody is subscribed to before others. Of more
bytes than there is room for, messages of other channels go before those of the one that is written
to: their streams live on, with the same epoch. Of more keys than there is room for, the next is
refused.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Container,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from math import ceil
from secrets import token_urlsafe
from typing import Any, Final, NamedTuple, TypeVar

from openapi.errors import (
    CannotPublish,
    CannotSubscribe,
    DeclarationError,
    ErrorCode,
    InvalidData,
    RpcError,
)
from openapi.protocol.publication import Data, Publication
from openapi.protocol.stream import Log, Page, Position, Retention
from openapi.schema import encode_json
from openapi.ws.broker import (
    KEY_SECONDS,
    Broker,
    Deliver,
    KeepsHistory,
    KeepsPresence,
    Member,
    PublishesOnce,
    Refreshed,
)

__all__ = ["MemoryBroker"]

V = TypeVar("V")

#: Entries of a table that are looked at, whether they have expired, when one is added.
_SWEPT: Final = 2
#: Streams that are looked at for one that nobody needs, when there is one too many.
_LOOKED_AT: Final = 64
#: What a message costs besides its bytes.
_OVERHEAD: Final = 200


class MemoryBroker(Broker, KeepsHistory, PublishesOnce, KeepsPresence):
    """See :class:`Broker`. Every channel can be published and subscribed to.

    ``clock`` gives seconds; those that pass while it goes back do not count. ``streams`` is how
    many channels have a history, ``history_bytes`` how many bytes are kept of all of them, in both
    formats: past it, what other channels keep goes, but the last channel keeps what its rule says.
    ``keys`` is how many keys of publications are remembered. Raises ValueError for less than one.
    """

    def __init__(
        self,
        url: str = "memory://",
        *,
        clock: Callable[[], float] = time.time,
        streams: int = 10_000,
        history_bytes: int = 256 * 1024 * 1024,
        keys: int = 100_000,
    ) -> None:
        bounds = {"streams": streams, "history_bytes": history_bytes, "keys": keys}
        for name, most in bounds.items():
            if most < 1:
                raise ValueError(f"MemoryBroker: {name} must be 1 or more, not {most}")
        self._memory = _Memory(clock, **bounds)
        self._deliver: Deliver | None = None
        self._subscribed: set[str] = set()

    def sibling(self) -> "MemoryBroker":
        """Another one of the same memory, for another manager. Like every one, it is to be opened.

        It is fine to make one of a broker that is closed.
        """
        sibling = MemoryBroker()
        sibling._memory = self._memory
        return sibling

    def forget(self, channel: str) -> None:
        """Lose the stream of a channel, as a server does that restarts; the next has a new epoch.

        For tests of what becomes of clients then. Keys are remembered.
        """
        self._memory.streams.forget(channel)

    async def open(self, deliver: Deliver) -> None:
        """See :meth:`Broker.open`. Raises DeclarationError for one that is open already."""
        if self._deliver is not None:
            raise DeclarationError(
                "this MemoryBroker is open already: a manager needs one of its own,"
                " give the second manager `broker.sibling()`"
            )
        self._deliver = deliver

    async def publish(self, channel: str, event: str, data: object) -> None:
        """See :meth:`Broker.publish`."""
        self._check_open()
        await self._memory.hand_on(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        """See :meth:`Broker.subscribe`."""
        if self._deliver is None:
            raise CannotSubscribe("the broker is not open")
        self._subscribed.add(channel)
        self._memory.subscribers.setdefault(channel, {})[self] = self._deliver

    async def unsubscribe(self, channel: str) -> None:
        """See :meth:`Broker.unsubscribe`."""
        self._subscribed.discard(channel)
        subscribers = self._memory.subscribers.get(channel)
        if subscribers is not None:
            subscribers.pop(self, None)
            if not subscribers:
                del self._memory.subscribers[channel]

    async def aclose(self) -> None:
        """See :meth:`Broker.aclose`. Siblings live on, and so does what they share."""
        self._deliver = None
        for channel in tuple(self._subscribed):
            await self.unsubscribe(channel)

    def now(self) -> float:
        """See :meth:`KeepsHistory.now`: it never goes back."""
        return self._memory.now()

    async def append(
        self,
        channel: str,
        event: str,
        data: object,
        *,
        retention: Retention,
        key: str | None = None,
    ) -> Position:
        """See :meth:`KeepsHistory.append`."""
        self._check_open()
        memory, data = self._memory, Data.of(data)
        now = memory.now()
        name, digest = (channel, key or "", True), b""
        if key is not None:
            digest = data.digest(event)
            known = memory.keys.find(name, digest, now)
            if known is not None:
                assert known.position is not None
                return known.position
        # Nothing suspends from here until each delivery has begun: it is one act.
        position = memory.streams.append(channel, event, data, retention, now)
        if key is not None:
            memory.keys.add(name, _Key(digest, now + KEY_SECONDS, position))
        await memory.hand_on(channel, event, data, position)
        return position

    async def history(
        self,
        channel: str,
        *,
        retention: Retention,
        since: Position | None = None,
        limit: int,
        reverse: bool = False,
    ) -> Page[Publication]:
        """See :meth:`KeepsHistory.history`."""
        stream = self._memory.streams.get(channel, retention, self._memory.now())
        log, top = stream.log, stream.top
        if since is not None and since.epoch != stream.epoch:
            return Page((), top)
        if reverse:
            return Page(log.older(None if since is None else since.offset, limit), top)
        return Page(log.newer(0 if since is None else since.offset, limit), top)

    async def publish_once(self, channel: str, event: str, data: object, *, key: str) -> None:
        """See :meth:`PublishesOnce.publish_once`."""
        self._check_open()
        memory, data = self._memory, Data.of(data)
        now = memory.now()
        name, digest = (channel, key, False), data.digest(event)
        if memory.keys.find(name, digest, now) is None:
            memory.keys.add(name, _Key(digest, now + KEY_SECONDS))
            await memory.hand_on(channel, event, data)

    async def enter(
        self, channel: str, connections: Mapping[str, Member], *, ttl: float
    ) -> Sequence[Member]:
        """See :meth:`KeepsPresence.enter`."""
        return self._memory.rosters.enter(channel, connections, ttl, self._memory.now())

    async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
        """See :meth:`KeepsPresence.leave`."""
        return self._memory.rosters.leave(channel, connections, self._memory.now())

    async def refresh(self, channel: str, connections: Collection[str], *, ttl: float) -> Refreshed:
        """See :meth:`KeepsPresence.refresh`."""
        return self._memory.rosters.refresh(channel, connections, ttl, self._memory.now())

    async def members(self, channel: str) -> Sequence[Member]:
        """See :meth:`KeepsPresence.members`."""
        return self._memory.rosters.members(channel, self._memory.now())

    def _check_open(self) -> None:
        if self._deliver is None:
            raise CannotPublish("the broker is not open")


class _Memory:
    """What siblings share."""

    def __init__(
        self, clock: Callable[[], float], *, streams: int, history_bytes: int, keys: int
    ) -> None:
        self.now = _Clock(clock)
        self.subscribers: dict[str, dict[MemoryBroker, Deliver]] = {}
        self.streams = _Streams(streams, history_bytes, self.subscribers)
        self.keys = _Keys(keys)
        self.rosters = _Rosters()

    async def hand_on(self, channel: str, event: str, data: object, *position: Position) -> None:
        """Deliver to all who are subscribed, and wait until they are done."""
        delivers = tuple(self.subscribers.get(channel, {}).values())
        if len(delivers) == 1:
            await delivers[0](channel, event, data, *position)
        elif delivers:
            begun = [_Begun(deliver(channel, event, data, *position)) for deliver in delivers]
            await asyncio.gather(*(each for each in begun if not each.done))
        elif not isinstance(data, Data):
            encode_json(data)  # it is refused whoever is subscribed


class _Begun(Coroutine[Any, Any, None]):
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
        self._first = False
        return self._steps.throw(*exc)

    def close(self) -> None:
        """End it where it waits, as a task does that nobody needs any more."""
        self._steps.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise NotImplementedError("it is for a task")


class _Clock:
    """Seconds that pass, and never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = self._now = clock()

    def __call__(self) -> float:
        last, self._last = self._last, self._clock()
        self._now += max(0.0, self._last - last)
        return self._now


class _Stream:
    """A channel's messages, each for so many seconds."""

    __slots__ = ("_sizes", "epoch", "log", "seconds", "size")

    def __init__(self) -> None:
        self.epoch: Final = token_urlsafe(6)
        self.log: Log[Publication] = Log(0)
        self.seconds = 0.0
        self._sizes: deque[int] = deque()
        self.size = 0
        """Bytes of what is kept."""

    def append(self, message: Publication) -> None:
        self.log.append(message)
        size = len(message.data.json) + message.data.packed_bytes + _OVERHEAD
        self._sizes.append(size)
        self.size += size

    def weigh(self) -> int:
        """By how much it has become lighter, as messages went."""
        before = self.size
        while len(self._sizes) > len(self.log):
            self.size -= self._sizes.popleft()
        return before - self.size

    @property
    def top(self) -> Position:
        return Position(self.log.top, self.epoch)

    def expire(self, now: float) -> None:
        self.log.expire(before=now - self.seconds)


class _Streams:
    """The streams by channel: at most so many, with so many bytes."""

    def __init__(self, most: int, most_bytes: int, subscribed: Container[str]) -> None:
        self._most = most
        self._subscribed = subscribed
        self._most_bytes = most_bytes
        self._bytes = 0
        # The least recently used first. A stream is in the first table until it has a message.
        self._unwritten: OrderedDict[str, _Stream] = OrderedDict()
        self._written: OrderedDict[str, _Stream] = OrderedDict()
        self._holding: OrderedDict[str, _Stream] = OrderedDict()
        """Those of the second that may hold messages, in the order in which they are swept."""

    def get(self, channel: str, retention: Retention, now: float) -> _Stream:
        """The stream of a channel, which is made if there is none, with what is kept of it."""
        table = self._written if channel in self._written else self._unwritten
        stream = table.get(channel)
        if stream is None:
            if len(self._written) + len(self._unwritten) >= self._most:
                self.forget(self._least_used())
            stream = table[channel] = _Stream()
        table.move_to_end(channel)
        stream.seconds = retention.seconds
        stream.log.resize(retention.messages)
        stream.expire(now)
        self._bytes -= stream.weigh()
        return stream

    def _least_used(self) -> str:
        """One that nobody is subscribed to, if there is one among the first."""
        for table in (self._unwritten, self._written):
            for _ in range(min(_LOOKED_AT, len(table))):
                channel = next(iter(table))
                if channel not in self._subscribed:
                    return channel
                table.move_to_end(channel)
        return next(iter(self._unwritten or self._written))

    def append(
        self, channel: str, event: str, data: Data, retention: Retention, now: float
    ) -> Position:
        """Number a message and keep it."""
        stream = self.get(channel, retention, now)
        before = stream.size
        stream.append(Publication(stream.log.top + 1, event, data, now))
        stream.weigh()
        self._bytes += stream.size - before
        self._unwritten.pop(channel, None)
        self._written[channel] = stream
        _sweep(self._holding, lambda stream: self._holds(stream, now))
        self._holding[channel] = stream
        self._make_room(stream)
        return stream.top

    def forget(self, channel: str) -> None:
        """Lose the stream of a channel, if there is one."""
        stream = self._written.get(channel)
        if stream is not None:
            self._bytes -= stream.size
        for table in (self._unwritten, self._written, self._holding):
            table.pop(channel, None)

    def _holds(self, stream: _Stream, now: float) -> bool:
        stream.expire(now)
        self._bytes -= stream.weigh()
        return len(stream.log) > 0

    def _make_room(self, newest: _Stream) -> None:
        """Let go of what other channels keep, until all of it is not too much."""
        while self._bytes > self._most_bytes and len(self._holding) > 1:
            channel, stream = next(iter(self._holding.items()))
            if stream is newest:
                self._holding.move_to_end(channel)
                continue
            del self._holding[channel]
            stream.log.clear()
            self._bytes -= stream.weigh()


class _Key(NamedTuple):
    """What was published with a key, and where in its stream, if it has one."""

    digest: bytes
    expires: float
    position: Position | None = None


class _Keys:
    """The keys of publications, by channel, key, and whether it is that of a stream."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: OrderedDict[tuple[str, str, bool], _Key] = OrderedDict()  # oldest first

    def find(self, name: tuple[str, str, bool], digest: bytes, now: float) -> _Key | None:
        """What was published with this key. Raises RpcError where there is no room for a new one.

        Raises InvalidData where it was something else.
        """
        keys = self._keys
        while keys and next(iter(keys.values())).expires <= now:
            keys.popitem(last=False)
        known = keys.get(name)
        if known is not None and known.digest != digest:
            raise InvalidData(
                {"key": "another message had this key on this channel; a new one needs a new key"}
            )
        if known is None and len(keys) >= self._most:
            wait = next(iter(keys.values())).expires - now
            raise RpcError(
                ErrorCode.LIMIT_EXCEEDED,
                f"{self._most} keys of messages are remembered, and no more can be:"
                " publish without one, or try again later",
                data={"limit": "keys", "max": self._most},
                retry_after=ceil(wait * 1000),
            )
        return known

    def add(self, name: tuple[str, str, bool], key: _Key) -> None:
        """Remember a key that was not found."""
        self._keys[name] = key


class _Present:
    """A member: when each of its connections expires."""

    __slots__ = ("connections", "said")

    def __init__(self, said: Member) -> None:
        self.said = said
        self.connections: dict[str, float] = {}

    def seen(self, now: float) -> Member:
        count = sum(expires > now for expires in self.connections.values())
        return Member(self.said.id, self.said.user, self.said.info, count)


class _Roster:
    """Who is on one channel. Those who have expired are there until they are told."""

    __slots__ = ("_members", "_whose", "ends")

    def __init__(self) -> None:
        self._members: dict[str, _Present] = {}
        self._whose: dict[str, _Present] = {}
        self.ends = 0.0
        """When all have long expired, unless somebody enters or is refreshed."""

    def __len__(self) -> int:
        return len(self._whose)

    def enter(
        self, connections: Mapping[str, Member], ttl: float, now: float
    ) -> dict[str, _Present]:
        """Returns the new members, by id."""
        new: dict[str, _Present] = {}
        for name, member in connections.items():
            present = self._members.get(member.id)
            if self._whose.get(name, present) is not present:
                self.take((name,))  # it was another member's, who did not say that it left
            if present is None:
                present = new[member.id] = self._members[member.id] = _Present(member)
            present.said = member
            present.connections[name] = now + ttl
            self._whose[name] = present
        self.ends = max(self.ends, now + 2 * ttl)
        return new

    def take(self, connections: Collection[str]) -> list[_Present]:
        """Returns the members who are gone."""
        gone = []
        for name in connections:
            present = self._whose.pop(name, None)
            if present is not None:
                del present.connections[name]
                if not present.connections:
                    del self._members[present.said.id]
                    gone.append(present)
        return gone

    def expired(self, now: float) -> list[str]:
        """The connections that were not refreshed in time."""
        whose = self._whose.items()
        return [name for name, present in whose if present.connections[name] <= now]

    def refresh(self, connections: Collection[str], ttl: float, now: float) -> list[str]:
        """Returns those that are not there."""
        lost = []
        for name in connections:
            present = self._whose.get(name)
            if present is None:
                lost.append(name)
            else:
                present.connections[name] = now + ttl
                self.ends = max(self.ends, now + 2 * ttl)
        return lost

    def members(self, now: float) -> list[Member]:
        seen = (present.seen(now) for present in self._members.values())
        return [member for member in seen if member.connections]


class _Rosters:
    """Who is on which channel. One without anybody is gone."""

    def __init__(self) -> None:
        self._rosters: OrderedDict[str, _Roster] = OrderedDict()  # in which they are swept

    def enter(
        self, channel: str, connections: Mapping[str, Member], ttl: float, now: float
    ) -> list[Member]:
        _sweep(self._rosters, lambda roster: now < roster.ends)
        roster = self._get(channel, now)
        new = roster.enter(connections, ttl, now)
        self._put(channel, roster)
        return [present.seen(now) for present in new.values()]

    def leave(self, channel: str, connections: Collection[str], now: float) -> list[Member]:
        roster = self._get(channel, now)
        gone = roster.take(connections)
        self._put(channel, roster)
        return [present.seen(now) for present in gone]

    def refresh(
        self, channel: str, connections: Collection[str], ttl: float, now: float
    ) -> Refreshed:
        roster = self._get(channel, now)
        expired = roster.take(roster.expired(now))
        lost = roster.refresh(connections, ttl, now)
        self._put(channel, roster)
        return Refreshed(lost, [present.seen(now) for present in expired])

    def members(self, channel: str, now: float) -> list[Member]:
        return self._get(channel, now).members(now)

    def _get(self, channel: str, now: float) -> _Roster:
        roster = self._rosters.get(channel)
        return _Roster() if roster is None or now >= roster.ends else roster

    def _put(self, channel: str, roster: _Roster) -> None:
        if roster:
            self._rosters[channel] = roster
        else:
            self._rosters.pop(channel, None)


def _sweep(table: OrderedDict[str, V], keep: Callable[[V], bool]) -> None:
    """Let go of what is to be kept no longer, of the next few of a table.

    Done whenever something is added, it keeps what nobody asks for any more within bounds.
    """
    for _ in range(min(_SWEPT, len(table))):
        channel, each = table.popitem(last=False)
        if keep(each):
            table[channel] = each
