"""The seam between a channel's history and its live messages, as one process sees it.

A feed hands on each message of a stream once, in order and without a gap. What it cannot know from
live messages alone it reads: where the stream is when it begins, and what is missing later. Whoever
drives it does the reading, and tells it what was found.

| state    | a live message                                      | what was read               |
|----------|-----------------------------------------------------|-----------------------------|
| OPENING  | is kept                                             | LIVE, then the kept         |
| LIVE     | the next goes out, an old one is dropped;           |                             |
|          | a later one is kept: BRIDGING;                      |                             |
|          | one of a new stream goes out behind a RESET         |                             |
| BRIDGING | is kept                                             | goes out, or RESET; LIVE,   |
|          |                                                     | then the kept               |

RESET is no state but an event: history cannot bridge the gap, and everyone is told where the stream
is now. The newest messages that went out stay in the log, from which clients recover.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeAlias, TypeVar

from openapi.protocol.stream import Log, Numbered, Page, Position

__all__ = ["Feed", "FeedState", "Out", "Reset"]

M = TypeVar("M", bound=Numbered)

#: Live messages that wait for a reading. Of more, the oldest are forgotten, and read in their turn.
_KEPT: Final = 1024


class FeedState(Enum):
    """See the table of the module."""

    OPENING = "opening"
    LIVE = "live"
    BRIDGING = "bridging"


@dataclass(frozen=True, slots=True)
class Reset:
    """Messages are lost to everyone who was there before: go on from ``position``."""

    position: Position


Out: TypeAlias = Sequence[M | Reset]
"""What is to be handed on, in this order."""


class Feed(Generic[M]):
    """One stream. At most ``keep`` of its newest messages stay in :attr:`log`."""

    __slots__ = ("_before", "_epoch", "_kept", "filled", "log", "stale", "state")

    def __init__(self, keep: int) -> None:
        self.state = FeedState.OPENING
        self.log: Log[M] = Log(keep)
        self.filled = False
        """Whether the log was filled with what came before the feed; see :meth:`fill`."""
        self.stale = 0
        """Live messages that came twice, or late."""
        self._epoch = ""
        self._before: str | None = None
        self._kept: deque[tuple[M, str]] = deque(maxlen=_KEPT)

    @property
    def top(self) -> Position:
        """Behind the newest message that went out."""
        return Position(self.log.top, self._epoch)

    def opened(self, top: Position) -> Out[M]:
        """The stream is there: what follows goes out."""
        assert self.state is FeedState.OPENING
        self._begin(top)
        return self._merge()

    def receive(self, message: M, epoch: str) -> Out[M]:
        """A live message."""
        if self.state is not FeedState.LIVE:
            self._kept.append((message, epoch))
            return ()
        log, offset = self.log, message.offset
        if epoch == self._epoch:
            if offset == log.top + 1:
                log.append(message)
                return (message,)
            if offset <= log.top:
                self.stale += 1
                return ()
            self.state = FeedState.BRIDGING
            self._kept.append((message, epoch))
            return ()
        if epoch == self._before:
            self.stale += 1  # the last of the stream that was lost
            return ()
        reset = self._reset(Position(offset - 1, epoch))
        log.append(message)
        return (reset, message)

    def bridge(self) -> None:
        """Something may be missing: what lies behind :attr:`top` is going to be read."""
        assert self.state is not FeedState.OPENING
        self.state = FeedState.BRIDGING

    def bridged(self, page: Page[M]) -> Out[M]:
        """What was read from :attr:`top` on, oldest first. It may be that more is to be read."""
        assert self.state is FeedState.BRIDGING
        out: list[M | Reset] = []
        if page.top.epoch != self._epoch or page.top.offset < self.log.top:
            out.append(self._reset(page.top))
        elif page.messages and page.messages[0].offset == self.log.top + 1:
            for message in page.messages:
                self.log.append(message)
            out += page.messages
        elif page.top.offset > self.log.top:
            out.append(self._reset(page.top))  # they are kept no longer
        elif self._kept:
            # The next live message is beyond what history ever had: nobody will bridge that.
            message, epoch = self._kept[0]
            if epoch == self._epoch and message.offset > self.log.top + 1:
                out.append(self._reset(Position(message.offset - 1, epoch)))
        self.state = FeedState.LIVE
        if page.messages and self.log.top < page.top.offset and page.top.epoch == self._epoch:
            self.state = FeedState.BRIDGING  # it was more than a page
            return out
        return [*out, *self._merge()]

    def fill(self, page: Page[M]) -> None:
        """The newest messages of the stream, oldest first, as they were read after it opened."""
        self.filled = True
        if page.top.epoch != self._epoch:
            return
        first = self.log.first
        older = [message for message in page.messages if message.offset < first]
        if older and older[-1].offset == first - 1:
            self.log.prepend(older)

    def reaches(self, position: Position) -> bool:
        """Whether :meth:`recover` need not be helped by :meth:`fill`."""
        behind = position.epoch != self._epoch or position.offset >= self.log.first - 1
        return behind or self.filled or self.log.full

    def recover(self, position: Position, *, most: int) -> list[M] | None:
        """Every message behind a position that went out; None if it cannot be all of them."""
        if position.epoch != self._epoch or self.log.top - position.offset > most:
            return None
        return self.log.after(position.offset)

    def _begin(self, top: Position) -> None:
        self.state = FeedState.LIVE
        self._epoch = top.epoch
        self.log.clear()
        self.log.top = top.offset

    def _reset(self, position: Position) -> Reset:
        if position.epoch != self._epoch:
            self._before = self._epoch
        self._begin(position)
        self.filled = False
        return Reset(position)

    def _merge(self) -> Out[M]:
        kept = tuple(self._kept)
        self._kept.clear()
        return [each for message, epoch in kept for each in self.receive(message, epoch)]
