"""What a connection that reads too slowly has not got yet, channel by channel.

Messages of channels that are not to be closed for that (see :data:`openapi.ws.rules.Slow`) go into
the outbox up to a share of it. Past that they wait here, each channel in its own way, until the
transport has room; so answers and what the server says of a subscription always have their place.

| policy        | a message comes                | there is room                                  |
|---------------|--------------------------------|------------------------------------------------|
| drop_oldest   | waits, the oldest make room    | ``$lagged``, then what waits; then live        |
| Latest(key=…) | takes the place of its key's   | the same                                       |
| catch_up      | is forgotten                   | read from history, up to live; ``$reset``      |
|               |                                | where that is too short; tried again where it  |
|               |                                | cannot be read                                 |

Nothing follows while the answer to whoever subscribed is out. Another subscription that begins on
the channel sends what waits there at once, in front of its answer; who catches up goes on to.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

from openapi.errors import RpcError
from openapi.protocol.backoff import delays
from openapi.protocol.stream import Position
from openapi.ws.backlog import Backlog
from openapi.ws.delivery import Delivery

__all__ = ["Behind", "Lagging", "Reader"]

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """The connection, as what it lags behind with sees it."""

    def writable(self) -> Awaitable[object] | None:
        """None, or while its transport takes nothing more what to await."""

    @property
    def crowded(self) -> bool:
        """Whether its outbox has all of such messages that it may have."""

    def put(self, delivery: Delivery) -> bool:
        """Queue a message. False: it never will be, for it has no form in the dialect."""

    def size_of(self, delivery: Delivery) -> int:
        """How many bytes it would be."""

    def held(self, channel: str) -> bool:
        """Whether whoever subscribed to a channel still waits for the answer."""

    def tell(self, channel: str, event: str, data: Any) -> None:
        """Say something of a channel."""

    def reset(self, channel: str, position: Position) -> None:
        """Messages are lost: it goes on from a position."""


class Behind(Protocol):
    """The history that a connection catches up with."""

    def top(self, channel: str) -> Position:
        """Where live messages are."""

    async def after(self, channel: str, since: Position) -> tuple[Sequence[Delivery], int] | None:
        """The next messages for it behind a position, and where they end. None: they are gone."""


class _Lag(Backlog):
    """One channel. ``offset`` is where it catches up from, if it does; then nothing waits."""

    __slots__ = ("offset", "task")

    def __init__(self, first: Delivery) -> None:
        super().__init__(first.slow)
        self.offset: int | None = first.offset - 1 if first.slow == "catch_up" else None
        self.task: asyncio.Task[None] | None = None


class Lagging:
    """The channels with which one connection lags behind. At most ``limit`` bytes wait in all."""

    def __init__(
        self,
        reader: Reader,
        history: Behind,
        *,
        limit: int,
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
    ) -> None:
        self._reader = reader
        self._history = history
        self._limit = limit
        self._spawn = spawn
        self._lags: dict[str, _Lag] = {}
        self.size = 0
        """Bytes that wait."""

    def __len__(self) -> int:
        return len(self._lags)

    def __contains__(self, channel: object) -> bool:
        return channel in self._lags

    def behind(self, channel: str) -> int | None:
        """From where it catches up on a channel; None if it does not."""
        lag = self._lags.get(channel)
        return None if lag is None else lag.offset

    def put(self, delivery: Delivery) -> None:
        """A message that is not to go into the outbox now."""
        lag = self._lags.get(delivery.channel)
        if lag is None:
            lag = self._lags[delivery.channel] = _Lag(delivery)
            self._start(delivery.channel, lag)
        if lag.offset is not None:
            return
        before = lag.size
        lag.put(delivery, self._reader.size_of(delivery))
        self.size += lag.size - before
        while self.size > self._limit:
            self._drop_oldest(lag)

    def flush(self, channel: str) -> None:
        """Send all that waits of a channel, room or not; but who catches up goes on to."""
        lag = self._lags.get(channel)
        if lag is not None and lag.offset is None:
            self.end(channel)
            self._tell_dropped(channel, lag)
            while lag:
                self._reader.put(lag.take())

    def released(self) -> None:
        """Some channels may not be held any more."""
        for channel, lag in self._lags.items():
            self._start(channel, lag)

    def end(self, channel: str) -> None:
        """What waits of a channel is not wanted any more."""
        lag = self._lags.pop(channel, None)
        if lag is not None:
            self.size -= lag.size
            if lag.task is not None and lag.task is not asyncio.current_task():
                lag.task.cancel()

    def keep(self, channel: str, wanted: Callable[[str], bool]) -> None:
        """Of what waits of a channel, only some events are wanted any more."""
        lag = self._lags.get(channel)
        if lag is not None:
            before = lag.size
            lag.keep(wanted)
            self.size += lag.size - before

    def clear(self) -> None:
        """The connection is over."""
        for channel in tuple(self._lags):
            self.end(channel)

    def _drop_oldest(self, lag: _Lag) -> None:
        if len(lag) < 2:  # it is not this channel that takes the room
            lag = max(self._lags.values(), key=lambda each: each.size)
        before = lag.size
        lag.drop_oldest()
        self.size += lag.size - before

    def _start(self, channel: str, lag: _Lag) -> None:
        if lag.task is None and not self._reader.held(channel):
            lag.task = self._spawn(self._relieve(channel, lag))

    async def _relieve(self, channel: str, lag: _Lag) -> None:
        """Send what waits, as there is room for it, until it is live again."""
        step = self._send_some if lag.offset is None else self._catch_up
        pauses = delays(random.random)
        while self._lags.get(channel) is lag:
            while (room := self._reader.writable()) is not None:
                await room
            try:
                if self._lags.get(channel) is lag and not await step(channel, lag):
                    return
            except Exception as exc:
                if not isinstance(exc, RpcError):  # that history cannot be read was said
                    logger.exception(
                        "channel %r cannot be caught up with, it is tried again", channel
                    )
                await asyncio.sleep(next(pauses))
            else:
                await asyncio.sleep(0)  # what one turn queued is written at its end

    async def _send_some(self, channel: str, lag: _Lag) -> bool:
        self._tell_dropped(channel, lag)
        before = lag.size
        while lag and not self._reader.crowded:
            self._reader.put(lag.take())
        self.size += lag.size - before
        if lag:
            return True
        del self._lags[channel]
        return False

    def _tell_dropped(self, channel: str, lag: _Lag) -> None:
        if lag.dropped:
            self._reader.tell(channel, "$lagged", {"dropped": lag.dropped})
            lag.dropped = 0

    async def _catch_up(self, channel: str, lag: _Lag) -> bool:
        assert lag.offset is not None
        position = Position(lag.offset, self._history.top(channel).epoch)
        found = await self._history.after(channel, position)
        if self._lags.get(channel) is not lag:
            return False
        if found is None:
            self.end(channel)
            self._reader.reset(channel, self._history.top(channel))
            return False
        messages, end = found
        for delivery in messages:
            if self._reader.crowded:
                break
            self._reader.put(delivery)
            lag.offset = delivery.offset
        else:
            lag.offset = end
        if lag.offset < self._history.top(channel).offset:
            return True
        del self._lags[channel]
        return False
