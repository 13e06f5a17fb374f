"""A channel's history: messages numbered 1, 2, 3 …, of which the newest are kept.

log = Log(100)
log.append(message)             # message.offset is log.top + 1
log.expire(before=now - 300)
log.after(41)                   # [42, 43, …], or None where not all of them are here
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

__all__ = ["Log", "Numbered", "Page", "Position", "Retention", "contiguous"]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a stream: right behind the message ``offset``, 0 being before the first.

    ``epoch`` is a random text that was made with the stream. A stream that was lost and begun anew
    has another one: its offsets mean something else.
    """

    offset: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a stream is kept: so many messages, each for so many seconds."""

    messages: int
    seconds: float


class Numbered(Protocol):
    """A message of a stream."""

    @property
    def offset(self) -> int: ...
    @property
    def at(self) -> float:
        """When it was published: seconds since the epoch of the clock."""


M = TypeVar("M", bound=Numbered)
M_co = TypeVar("M_co", bound=Numbered, covariant=True)


@dataclass(frozen=True, slots=True)
class Page(Generic[M_co]):
    """What was read of a stream: messages without a gap between them, and where the stream ends.

    ``more`` is whether the reading ended because it was enough, and there may be more.
    """

    messages: Sequence[M_co]
    top: Position
    more: bool = False


def contiguous(messages: Sequence[Numbered]) -> bool:
    """Whether no message is missing between them, or there twice."""
    return all(each.offset == messages[0].offset + n for n, each in enumerate(messages))


class Log(Generic[M]):
    """The newest messages of a stream, without a gap: at most ``keep`` of them.

    ``top`` is the offset of the newest that there ever was, here or not.
    """

    __slots__ = ("_messages", "top")

    def __init__(self, keep: int, top: int = 0) -> None:
        self._messages: deque[M] = deque(maxlen=keep)
        self.top = top

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def first(self) -> int:
        """The offset of the oldest one here; of the next one to come where there is none."""
        return self.top + 1 - len(self._messages)

    @property
    def full(self) -> bool:
        """Whether the next one takes the place of the oldest."""
        return len(self._messages) == self._messages.maxlen

    def append(self, message: M) -> None:
        """Add the message whose offset is ``top + 1``."""
        assert message.offset == self.top + 1
        self.top += 1
        self._messages.append(message)

    def prepend(self, messages: Sequence[M]) -> None:
        """Add what comes right before the oldest: as many of the newest as there is room for."""
        assert not messages or messages[-1].offset == self.first - 1
        room = (self._messages.maxlen or 0) - len(self._messages)
        self._messages.extendleft(islice(reversed(messages), room))

    def resize(self, keep: int) -> None:
        """Keep another number of them from now on."""
        if keep != self._messages.maxlen:
            self._messages = deque(self._messages, maxlen=keep)

    def expire(self, *, before: float) -> None:
        """Let go of those that were published earlier."""
        messages = self._messages
        while messages and messages[0].at < before:
            messages.popleft()

    def clear(self) -> None:
        """Let go of all of them."""
        self._messages.clear()

    def after(self, offset: int, limit: int | None = None) -> list[M] | None:
        """The messages behind an offset, oldest first; None unless all of them are here."""
        if not self.first - 1 <= offset <= self.top:
            return None
        start = offset + 1 - self.first
        stop = None if limit is None else start + limit
        return list(islice(self._messages, start, stop))

    def newer(self, offset: int, limit: int) -> list[M]:
        """Of the messages with a greater offset that are here, the oldest: at most ``limit``."""
        start = min(max(0, offset + 1 - self.first), len(self))
        return list(islice(self._messages, start, start + limit))

    def older(self, offset: int | None, limit: int) -> list[M]:
        """Of the messages with a smaller offset that are here, the newest, newest first.

        Of all of them where there is no offset.
        """
        start = 0 if offset is None else min(max(0, self.top + 1 - offset), len(self))
        return list(islice(reversed(self._messages), start, start + limit))
