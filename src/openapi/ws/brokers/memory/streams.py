"""The streams of channels, within bounds."""

from collections import OrderedDict, deque
from collections.abc import Container
from secrets import token_urlsafe
from typing import Final

from openapi.protocol.publication import Data, Publication
from openapi.protocol.stream import Log, Position, Retention
from openapi.ws.brokers.memory.sweep import sweep

__all__ = ["Stream", "Streams"]

#: Streams that are looked at for one that nobody needs, when there is one too many.
_LOOKED_AT: Final = 64
#: What a message costs besides its bytes.
_OVERHEAD: Final = 200


class Stream:
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


class Streams:
    """The streams by channel: at most so many, with so many bytes."""

    def __init__(self, most: int, most_bytes: int, subscribed: Container[str]) -> None:
        self._most = most
        self._subscribed = subscribed
        self._most_bytes = most_bytes
        self._bytes = 0
        # The least recently used first. A stream is in the first table until it has a message.
        self._unwritten: OrderedDict[str, Stream] = OrderedDict()
        self._written: OrderedDict[str, Stream] = OrderedDict()
        self._holding: OrderedDict[str, Stream] = OrderedDict()
        """Those of the second that may hold messages, in the order in which they are swept."""

    def get(self, channel: str, retention: Retention, now: float) -> Stream:
        """The stream of a channel, which is made if there is none, with what is kept of it."""
        table = self._written if channel in self._written else self._unwritten
        stream = table.get(channel)
        if stream is None:
            if len(self._written) + len(self._unwritten) >= self._most:
                self.forget(self._least_used())
            stream = table[channel] = Stream()
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
        sweep(self._holding, lambda stream: self._holds(stream, now))
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

    def _holds(self, stream: Stream, now: float) -> bool:
        stream.expire(now)
        self._bytes -= stream.weigh()
        return len(stream.log) > 0

    def _make_room(self, newest: Stream) -> None:
        """Let go of what other channels keep, until all of it is not too much."""
        while self._bytes > self._most_bytes and len(self._holding) > 1:
            channel, stream = next(iter(self._holding.items()))
            if stream is newest:
                self._holding.move_to_end(channel)
                continue
            del self._holding[channel]
            stream.log.clear()
            self._bytes -= stream.weigh()
