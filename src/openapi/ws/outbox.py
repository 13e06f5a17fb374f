"""What is to be sent on one socket: bounded by bytes, one write per turn of the loop.

The transport holds next to nothing: an outbox stops while the transport is paused, so the bytes
that wait are counted here, in one place, and CPython's transports never walk a long buffer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Flusher", "Outbox"]

#: What one write is joined to. More in one piece would only move the queue into the transport.
WRITE_BYTES: Final = 64 * 1024


#: How many are written to in one turn: each takes some microseconds, and the loop has more to do.
_AT_ONCE: Final = 256


class Flusher:
    """Writes every outbox that got something in this turn of the loop, in one callback.

    Where they are many, it goes on in the next turns: a message for ten thousand does not keep
    everybody else waiting until all have it.
    """

    __slots__ = ("_due", "_loop", "filled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due = False
        self.filled: list[Outbox] = []
        """Those that are to be flushed; whoever adds the first of them calls :meth:`schedule`."""

    def schedule(self) -> None:
        """Flush behind what is to be done in this turn already. Harmless the second time."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        filled, self.filled = self.filled, []
        if len(filled) > _AT_ONCE:
            self.filled = filled[_AT_ONCE:]
            del filled[_AT_ONCE:]
            self.schedule()
        for outbox in filled:
            outbox.flush()


class Outbox:
    """The queue of whole frames between a connection and its transport.

    ``on_overflow`` is called once, when more than ``limit`` bytes wait; what waits is dropped then,
    for its reader is too slow to be owed it, and nothing is taken in any more.
    """

    __slots__ = (
        "_closed",
        "_flusher",
        "_frames",
        "_limit",
        "_mark",
        "_on_overflow",
        "_overflowed",
        "_paused",
        "_resumed",
        "_size",
        "_then",
        "_transport",
        "_unsent",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        flusher: Flusher,
        *,
        limit: int,
        on_overflow: Callable[[], object],
    ) -> None:
        self._transport = transport
        self._flusher = flusher
        self._limit = limit
        self._mark = min(limit, WRITE_BYTES)  # from so many bytes on it is looked what to do
        self._on_overflow = on_overflow
        self._frames: list[bytes] = []  # an empty deque has 760 bytes, and most are empty
        self._size = 0
        self._unsent = 0
        self._paused = False
        self._resumed: asyncio.Event | None = None
        self._closed = False
        self._overflowed = False
        self._then: Callable[[], object] = _nothing

    @property
    def size(self) -> int:
        """Bytes that wait, here and in the transport."""
        return self._size + self._unsent

    @property
    def full(self) -> bool:
        """Whether the transport takes nothing more for now."""
        return self._paused and not self._closed

    def send(self, frame: bytes) -> None:
        """Queue one frame. After :meth:`close` and after an overflow it goes nowhere."""
        if self._closed:
            return
        frames = self._frames
        if not frames and not self._paused:
            flusher = self._flusher
            if not flusher.filled:
                flusher.schedule()
            flusher.filled.append(self)
        frames.append(frame)
        self._size = size = self._size + len(frame)
        if size >= self._mark:
            self._crowded()

    def expect(self) -> None:
        """Something is about to be queued in this turn: have it written in this turn, too."""
        self._flusher.schedule()

    def flush(self) -> None:
        """Write what waits, until the transport asks to stop."""
        frames = self._frames
        while frames and not self._paused:
            if self._size <= WRITE_BYTES:
                data = b"".join(frames)
                frames.clear()
                self._size = 0
            else:
                data = self._next_write()
            self._transport.write(data)
        if self._closed and not frames:
            self._end()

    def pause(self) -> None:
        """The transport is full: write nothing until :meth:`resume`."""
        self._paused = True
        self._unsent = self._transport.get_write_buffer_size()
        self._mark = self._limit + 1 - self._unsent

    def resume(self) -> None:
        """The transport has room again."""
        self._paused = False
        self._unsent = 0
        self._mark = min(self._limit, WRITE_BYTES)
        self.flush()
        if not self._paused:
            self._wake()

    def room(self) -> Awaitable[object] | None:
        """None, or while the transport is full what to await for room."""
        if not self.full:
            return None
        if self._resumed is None:
            self._resumed = asyncio.Event()
        return self._resumed.wait()

    def close(self, last: bytes, *, then: Callable[[], object] | None = None) -> None:
        """Take in nothing more; write what waits, and ``last`` behind it, and call ``then``.

        After an overflow that is ``last`` alone: the transport has it behind what it holds.
        """
        self._closed = True
        self._then = then or _nothing
        if self._overflowed:
            self._transport.write(last)
            self._end()
        else:
            self._frames.append(last)
            self._size += len(last)
            self.flush()

    def finish(self, then: Callable[[], object]) -> None:
        """Call ``then`` behind what waits, which is at once where nothing does. It is closed."""
        self._then = then
        if not self._frames:
            self._end()

    def discard(self) -> None:
        """The transport is gone: drop everything, the callbacks too."""
        self._closed = True
        self._frames.clear()
        self._size = self._unsent = 0
        self._on_overflow = self._then = _nothing
        self._wake()

    def _wake(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.set()

    def _end(self) -> None:
        then, self._then = self._then, _nothing
        then()

    def _crowded(self) -> None:
        if not self._paused:
            # The loop has not turned for long; that is not the peer's fault.
            self.flush()
        if self._size + self._unsent > self._limit:
            self._overflow()

    def _overflow(self) -> None:
        self._closed = self._overflowed = True
        self._frames.clear()
        self._size = 0
        self._on_overflow()

    def _next_write(self) -> bytes:
        size = count = 0
        while size < WRITE_BYTES:
            size += len(self._frames[count])
            count += 1
        data = b"".join(self._frames[:count])
        del self._frames[:count]
        self._size -= size
        return data


def _nothing() -> None:
    """What is called when nobody is left to be told."""
