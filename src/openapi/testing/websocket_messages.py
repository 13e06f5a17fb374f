"""Whole WebSocket messages left out, or said twice, in bytes that somebody else reads.

A message is the frames from one that is not a continuation to one with FIN; control frames may
stand between them and are none of it (RFC 6455, section 5.4). Nothing waits here that its receiver
could have had: bytes pass as they come, but for the head of a frame that is not whole yet.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

__all__ = ["Protocol", "Speech", "handshake_in"]

_SWITCHED: Final = b"HTTP/1.1 101 "
_HEAD_END: Final = b"\r\n\r\n"
_FIN: Final = 0x80
_CONTROL: Final = 0x08
_MASKED: Final = 0x80

#: What is kept of a message that is to come twice: bytes. A longer one comes once.
_COPIED: Final = 16 * 1024 * 1024


class Protocol(Enum):
    """What a connection speaks: it changes once, when the server accepts a WebSocket."""

    HTTP = "http"
    WEBSOCKET = "websocket"


class Speech:
    """What one end says. ``times`` is asked, as each message begins, how often it is to come."""

    def __init__(self, times: Callable[[], int]) -> None:
        self.protocol = Protocol.HTTP
        self._ask = times
        self._head = b""  # of the next frame, as far as it is there
        self._left = 0  # bytes of the frame that are still to come
        self._ends_message = False
        self._is_control = False
        self._times: int | None = None  # of the message; None between two messages
        self._copy = bytearray()

    def carried(self, data: bytes) -> bytes:
        """What is to be carried, now that these bytes are said."""
        if self.protocol is Protocol.HTTP:
            return data
        out = bytearray()
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                self._say(piece, out)
            else:
                wanted = _head_size(self._head) - len(self._head)
                self._head, data = self._head + data[:wanted], data[wanted:]
                if len(self._head) < _head_size(self._head):
                    continue
                head, self._head = self._head, b""
                self._begin(head)
                self._say(head, out)
            if not self._left:
                self._end(out)
        return bytes(out)

    def _begin(self, head: bytes) -> None:
        self._left = _payload_size(head)
        self._is_control = bool(head[0] & _CONTROL)
        self._ends_message = bool(head[0] & _FIN) and not self._is_control
        if self._times is None and not self._is_control:
            self._times = self._ask()

    def _say(self, piece: bytes, out: bytearray) -> None:
        if self._is_control or self._times:
            out += piece
        if self._times == 2 and not self._is_control and len(self._copy) <= _COPIED:
            self._copy += piece

    def _end(self, out: bytearray) -> None:
        if self._ends_message:
            if len(self._copy) <= _COPIED:
                out += self._copy
            self._copy.clear()
            self._times = None


def handshake_in(data: bytes) -> int:
    """How long the answer is that makes a WebSocket of the connection; 0 for another one."""
    return data.find(_HEAD_END) + len(_HEAD_END) if data.startswith(_SWITCHED) else 0


def _head_size(head: bytes) -> int:
    """How long the head of a frame is, by as much of it as there is (section 5.2)."""
    if len(head) < 2:
        return 2
    more = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    return 2 + more + (4 if head[1] & _MASKED else 0)


def _payload_size(head: bytes) -> int:
    length = head[1] & 0x7F
    if length == 126:
        return int.from_bytes(head[2:4])
    if length == 127:
        return int.from_bytes(head[2:10])
    return length
