"""What is found in the log of a channel while its records are read, oldest first."""

from collections import deque
from typing import Final

from openapi.protocol.envelope import Unreadable
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Position
from openapi.ws.brokers.nats.record import Record

__all__ = ["PAGE_BYTES", "Found"]

PAGE_BYTES: Final = 1024 * 1024
"""Bytes behind which a page ends; it has one publication at least."""


class Found:
    """The publications from ``first`` to ``last`` that are not older than ``before``: seconds.

    Between them and the newest record that was added nothing is missing. They are ``limit`` at
    most, and some :data:`PAGE_BYTES`: the newest where ``reverse`` is true, the oldest otherwise.
    """

    def __init__(
        self, first: int, last: int, *, before: float, limit: int, reverse: bool, top: Position
    ) -> None:
        self._first = first
        self._last = last
        self._before = before
        self._limit = limit
        self._reverse = reverse
        self._epoch = top.epoch
        self._found: deque[tuple[Publication, int]] = deque()
        self._size = 0
        self._cut = False
        self._begins = last + 1
        self._ends = -1
        self.behind = False
        """Whether what is wanted was reached: records that are older need not be skipped."""
        self.done = False
        """Whether no record that is newer changes anything."""

    @property
    def whole(self) -> bool:
        """Whether nothing is missing at the older end."""
        return self._begins <= self._first

    @property
    def more(self) -> bool:
        """Whether it ended because it was enough bytes."""
        return self._cut or self._size >= PAGE_BYTES

    @property
    def publications(self) -> list[Publication]:
        found = [publication for publication, _ in self._found]
        return found[::-1] if self._reverse else found

    def add(self, record: Record, *, most: int) -> None:
        """Add the next record. Raises Unreadable: what was found before it is forgotten then."""
        if record.first != self._ends + 1:
            self._forget(record.first)  # some were taken away, or it is of another stream
        self._ends = record.top.offset
        self.behind = record.top.offset >= self._first
        if self.behind and record.first <= self._last:
            try:
                envelopes = record.publications(most=most)
            except Unreadable:
                self._forget(record.top.offset + 1)
                raise
            for offset, each in enumerate(envelopes, record.first):
                if self._first <= offset <= self._last and each.at >= self._before:
                    size = len(record.envelopes[offset - record.first])
                    self._take(Publication(offset, each.event, each.data, each.at), size)
        # One of another epoch may be of a stream that was here before.
        full = not self._reverse and self._full
        self.done = record.top.epoch == self._epoch and (full or record.top.offset >= self._last)

    @property
    def _full(self) -> bool:
        return len(self._found) >= self._limit or self._size >= PAGE_BYTES

    def _take(self, publication: Publication, size: int) -> None:
        if self._full and not self._reverse:
            return
        self._found.append((publication, size))
        self._size += size
        while len(self._found) > self._limit or self._size - self._found[0][1] >= PAGE_BYTES:
            self._cut = self._cut or len(self._found) <= self._limit
            self._size -= self._found.popleft()[1]

    def _forget(self, begins: int) -> None:
        self._begins = begins
        self._found.clear()
        self._size, self._cut = 0, False
