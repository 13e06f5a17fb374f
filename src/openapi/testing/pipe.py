"""One direction of a connection in memory: bytes go in, and come out later, in order.

    written ─ waiting ──────── under way ─────── received
              the sender's     the network's     if the receiver reads
              own buffer       WINDOW bytes

What is under way is bounded, as it is with TCP. So a receiver that does not read fills the network,
then the sender's own buffer, and its protocol is told to pause.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from openapi.testing.direction import Direction

__all__ = ["WINDOW", "Pipe"]

WINDOW: Final = 64 * 1024
"""Bytes that a network holds of one direction of a connection."""

_END: Final = b""
"""Behind all other pieces: nothing more is written."""


class Pipe:
    """Carries to ``receive``, while ``reads`` says so, what a ``direction`` lets pass.

    ``moved`` is called whenever less is waiting than before.
    """

    def __init__(
        self,
        direction: "Direction",
        *,
        receive: Callable[[bytes], object],
        reads: Callable[[], bool],
        moved: Callable[[], object],
    ) -> None:
        self.direction: Final = direction
        self._loop = asyncio.get_running_loop()
        self._receive = receive
        self._reads = reads
        self._moved = moved
        self._waiting: deque[bytes] = deque()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._flying = 0
        self._due = 0.0
        self._finished = False
        self._ending = False  # the end is still to be sent
        self._timer: asyncio.Handle | None = None
        self.size = 0
        """Bytes that wait, at the sender's."""
        direction.pipes.add(self)

    def write(self, data: bytes) -> None:
        """Send some bytes."""
        if data:
            self._waiting.append(data)
            self.size += len(data)
            self._fill()

    def finish(self) -> None:
        """Nothing more is written: the receiver is told so, behind all that was."""
        if not self._finished:
            self._finished = self._ending = True
            self._fill()

    def discard(self) -> None:
        """Forget what waits. What is under way arrives."""
        self._waiting.clear()
        self.size = 0

    def cut(self) -> None:
        """Nothing arrives any more."""
        self.discard()
        self._ending = False
        self._under_way.clear()
        self._flying = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.direction.pipes.discard(self)

    def go_on(self) -> None:
        """Carry on: the receiver reads, or the direction is halted no more."""
        if self._timer is None and self._under_way and self._goes:
            self._timer = self._loop.call_at(self._under_way[0][0], self._arrive)

    @property
    def _goes(self) -> bool:
        return not self.direction.halted and (self._reads() or not self._under_way[0][1])

    def _fill(self) -> None:
        while self._waiting and self._flying < WINDOW:
            piece = self._waiting.popleft()
            room = WINDOW - self._flying
            if len(piece) > room:
                self._waiting.appendleft(piece[room:])
                piece = piece[:room]
            self.size -= len(piece)
            self._send(piece)
        if self._ending and not self._waiting:
            self._ending = False
            self._send(_END)
        self.go_on()

    def _send(self, piece: bytes) -> None:
        # In order, also where a later piece would be faster.
        self._due = max(self._due, self._loop.time() + self.direction.takes())
        self._under_way.append((self._due, piece))
        self._flying += len(piece)

    def _arrive(self) -> None:
        self._timer = None
        if not self._goes:
            return
        _, piece = self._under_way.popleft()
        self._flying -= len(piece)
        self._fill()
        self._moved()
        if piece == _END:
            self.direction.pipes.discard(self)
        self._receive(piece)
