"""The broker, and what siblings share."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from openapi.errors import CannotPublish, CannotSubscribe, DeclarationError
from openapi.protocol.publication import Data, Publication
from openapi.protocol.stream import Page, Position, Retention
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
from openapi.ws.brokers.begun import Begun
from openapi.ws.brokers.memory.keys import Key, Keys
from openapi.ws.brokers.memory.rosters import Rosters
from openapi.ws.brokers.memory.streams import Streams

__all__ = ["MemoryBroker"]


class MemoryBroker(Broker, KeepsHistory, PublishesOnce, KeepsPresence):
    """See :class:`Broker`. Every channel can be published and subscribed to.

    ``clock`` gives seconds; those that pass while it goes back do not count. ``streams`` is how
    many channels have a history, ``history_bytes`` how many bytes are kept of all of them, in both
    formats: past it, what other channels keep goes, but the last channel keeps what its rule says.
    ``keys`` is how many keys of publications are remembered. Raises ValueError for less than one.
    """

    spans_processes = False

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
            memory.keys.add(name, Key(digest, now + KEY_SECONDS, position))
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
            memory.keys.add(name, Key(digest, now + KEY_SECONDS))
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
        self.streams = Streams(streams, history_bytes, self.subscribers)
        self.keys = Keys(keys)
        self.rosters = Rosters()

    async def hand_on(self, channel: str, event: str, data: object, *position: Position) -> None:
        """Deliver to all who are subscribed, and wait until they are done."""
        delivers = tuple(self.subscribers.get(channel, {}).values())
        if len(delivers) == 1:
            await delivers[0](channel, event, data, *position)
        elif delivers:
            begun = [Begun(deliver(channel, event, data, *position)) for deliver in delivers]
            await asyncio.gather(*(each for each in begun if not each.done))
        elif not isinstance(data, Data):
            encode_json(data)  # it is refused whoever is subscribed


class _Clock:
    """Seconds that pass, and never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = self._now = clock()

    def __call__(self) -> float:
        last, self._last = self._last, self._clock()
        self._now += max(0.0, self._last - last)
        return self._now
