"""What waits to be read: the queue of a subscription, and of a stream.

    inbox.put(message, size)            # by whoever reads the connection
    while not inbox.ready:
        await inbox.wait()
    message = inbox.take()              # or how it ended

What was queued before the end is read before the end is.
"""

import asyncio
from collections import deque
from copy import copy
from typing import Final, Generic, TypeVar

from openapi.errors import ConnectionClosed

__all__ = ["Inbox"]

M = TypeVar("M")

_OVERHEAD: Final = 256
"""What a queued message costs besides its data, in bytes."""


class Inbox(Generic[M]):
    """A queue of messages, for any number of readers. At most ``limit`` bytes wait in it."""

    __slots__ = ("_changed", "_ended", "_error", "_limit", "_queue", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[tuple[M, int]] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    @property
    def size(self) -> int:
        """What waits to be read, in bytes."""
        return self._size

    @property
    def ready(self) -> bool:
        """Whether there is something to take: a message, or the end."""
        return bool(self._queue) or self._ended

    def put(self, message: M, size: int) -> bool:
        """Queue a message with so many bytes of data. Returns False if it is too much."""
        size += _OVERHEAD
        if self._size + size > self._limit:
            return False
        self._size += size
        self._queue.append((message, size))
        self._changed.set()
        return True

    def end(self, error: Exception | None) -> None:
        """No message comes any more. ``error`` is what its readers are told, None for nothing."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._changed.set()

    async def wait(self) -> None:
        """Wait until it is ready. Of several readers, another may be the first to take."""
        if not self.ready:
            self._changed.clear()
            await self._changed.wait()

    def take(self) -> M:
        """The oldest message; raises how it ended, StopAsyncIteration for no error."""
        if not self._queue:
            raise self._reason()
        message, size = self._queue.popleft()
        self._size -= size
        return message

    def _reason(self) -> Exception:
        match self._error:
            case None:
                return StopAsyncIteration()
            case ConnectionClosed() as error:
                return copy(error)  # its own traceback for each reader
            case error:
                return error
