"""The seam between a channel's history and its live messages, as one process sees it.

A feed hands on each message of a stream once, in order and without a gap. What it cannot know from
live messages alone it reads: where the stream is when it begins, and what is missing later. Whoever
drives it does the reading, one at a time, and tells it what was found.

| state    | a live message                                      | what was read               |
|----------|-----------------------------------------------------|-----------------------------|
| OPENING  | is kept                                             | LIVE, then the kept         |
| LIVE     | the next goes out, an old one is dropped;           |                             |
|          | a later one, or one of another stream,              |                             |
|          | is kept: BRIDGING                                   |                             |
| BRIDGING | is kept                                             | goes out; BRIDGING still if |
|          |                                                     | it was not all. Or RESET.   |
|          |                                                     | LIVE, then the kept         |

A stream that was quiet is BRIDGING, too, when it is read on to see whether anything is missing.
RESET is no state but an event: history cannot bridge the gap, and everyone is told where the stream
is now. The newest messages that went out stay in the log, from which clients recover.

A message of another stream may be the first of a new one, or the last of one that was lost before.
It cannot tell which, so it is asked for as a gap is. A reading that began when the message was here
already knows: a stream that it does not name is lost.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, TypeAlias, TypeVar

from openapi.protocol.stream import Log, Numbered, Page, Position, contiguous

__all__ = ["Feed", "FeedState", "Out", "Reset"]

M = TypeVar("M", bound=Numbered)

#: Live messages that wait for a reading. Of more, the oldest are forgotten, and read in their turn.
_KEPT: Final = 1024

#: Lost streams that are known by their epochs. A late message of any other costs a reading.
_LOST: Final = 8


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

    __slots__ = ("_asked", "_epoch", "_kept", "_lost", "filled", "log", "stale", "state")

    def __init__(self, keep: int) -> None:
        self.state = FeedState.OPENING
        self.log: Log[M] = Log(keep)
        self.filled = False
        """Whether the log has all that came before the feed; see :meth:`fill`."""
        self.stale = 0
        """Live messages that came twice, or late, or behind what was read."""
        self._epoch = ""
        self._lost: deque[str] = deque(maxlen=_LOST)
        self._kept: deque[tuple[M, str]] = deque(maxlen=_KEPT)
        # The message that made it read: it was here before the reading began.
        self._asked: tuple[M, str] | None = None

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
        if epoch == self._epoch and offset == log.top + 1:
            log.append(message)
            return (message,)
        if offset <= log.top if epoch == self._epoch else epoch in self._lost:
            self.stale += 1
            return ()
        self.state = FeedState.BRIDGING
        self._asked = message, epoch
        self._kept.append(self._asked)
        return ()

    def may_follow(self, position: Position) -> bool:
        """Whether a position may be one that the stream has reached unseen from here."""
        if position.epoch == self._epoch:
            return position.offset > self.log.top
        return position.epoch not in self._lost

    def lost(self, epoch: str) -> None:
        """The stream has been read since this epoch was heard of, and has another one."""
        self._lost.append(epoch)

    def bridge(self) -> None:
        """Something may be missing: what lies behind :attr:`top` is going to be read."""
        assert self.state is not FeedState.OPENING
        self.state = FeedState.BRIDGING

    def bridged(self, page: Page[M]) -> Out[M]:
        """What was read from :attr:`top` on, oldest first. It may be that more is to be read."""
        assert self.state is FeedState.BRIDGING
        log, there = self.log, page.top
        asked, self._asked = self._asked, None
        if asked is not None and asked[1] not in (self._epoch, there.epoch):
            self.lost(asked[1])
        out: list[M | Reset] = []
        if there.epoch != self._epoch:
            self.lost(self._epoch)
            out.append(self._reset(self._beginning(there)))
        elif there.offset < log.top:
            out.append(self._reset(there))
        elif _follows(page.messages, log.top):
            for message in page.messages:
                log.append(message)
            out += page.messages
            if log.top < there.offset:
                return out  # it was more than a page
        elif there.offset > log.top:
            out.append(self._reset(there))  # they are kept no longer
        elif asked is not None and asked[1] == self._epoch:
            # It is beyond all that history ever had: to read again would bring no more.
            out.append(self._reset(Position(asked[0].offset - 1, self._epoch)))
        self.state = FeedState.LIVE
        return [*out, *self._merge()]

    def fill(self, page: Page[M]) -> None:
        """What comes right before the log, oldest first, as it was read after it opened."""
        first = self.log.first
        if page.top.epoch != self._epoch or page.top.offset < first - 1:
            return  # a reset came in between: what was read is not what lies right before it
        self.filled = not page.more
        older = [message for message in page.messages if message.offset < first]
        if older and older[-1].offset == first - 1 and contiguous(older):
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

    def _beginning(self, there: Position) -> Position:
        """Where to go on in a new stream: before what came of it live, if anything did."""
        came = (message.offset - 1 for message, epoch in self._kept if epoch == there.epoch)
        return Position(min(there.offset, next(came, there.offset)), there.epoch)

    def _reset(self, position: Position) -> Reset:
        self._begin(position)
        self.filled = False
        return Reset(position)

    def _merge(self) -> Out[M]:
        kept = tuple(self._kept)
        self._kept.clear()
        return [each for message, epoch in kept for each in self.receive(message, epoch)]


def _follows(messages: Sequence[Numbered], top: int) -> bool:
    """Whether these are the next ones, and all of them."""
    return len(messages) > 0 and messages[0].offset == top + 1 and contiguous(messages)
