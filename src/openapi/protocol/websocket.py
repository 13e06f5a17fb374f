"""RFC 6455, the server's end: bytes to messages. The frames that it sends are in `framing`.

Bytes go into :meth:`WebSocket.receive`, events come out. There is no socket, no clock and no task
here.

Masked frames are read as they arrive, piece by piece: text is checked and compressed data inflated
before a message is whole, and a message that is too long is never collected. What a connection
holds back is bounded by ``message_bytes``, and each byte is touched a fixed number of times however
the bytes were cut.
"""

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from openapi.errors import CloseCode

from .deflate import Corrupt, Deflate, Inflater
from .framing import (
    BINARY,
    CLOSE,
    COMPRESSED,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    PONG,
    TEXT,
    close_frame,
    may_send,
)

__all__ = [
    "Broken",
    "Closed",
    "Event",
    "Ping",
    "Pong",
    "State",
    "TooBig",
    "Unmask",
    "WebSocket",
    "xor",
]


class State(Enum):
    """Whose closing frame has passed.

    ========  =====================  ======================  ==========================
    state     ``close()``            peer's closing frame    peer breaks the protocol
    ========  =====================  ======================  ==========================
    OPEN      CLOSING, the frame     CLOSING, ``Closed``     CLOSING, ``Broken``
    CLOSING   ours was sent: b"";    CLOSED, ``Closed``      CLOSED, ``Broken``
              else CLOSED, the frame
    CLOSED    b""                    not read                not read
    ========  =====================  ======================  ==========================

    After the peer's closing frame, or its breach, nothing is read any more.
    """

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with ``pong_frame(payload)``. At most 125 bytes."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """An answer to a ping of ours, or a sign of life that nobody asked for."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer's closing frame; 1005 if it gave no code. Send ``close(code)``, then close."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class TooBig:
    """A message over ``message_bytes`` was skipped; the connection lives on.

    ``size`` is its length in bytes; of a compressed message that on the wire, or as far as it was
    inflated if that is more.
    """

    size: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The peer broke RFC 6455 or a limit. Send ``close(code, reason)``, then close."""

    code: int
    reason: str


Event = str | bytes | Ping | Pong | Closed | TooBig | Broken
Unmask = Callable[[bytes, bytes], bytes | bytearray]
"""What :func:`xor` is."""

_new_decoder: Final = codecs.getincrementaldecoder("utf-8")


def xor(key: bytes, payload: bytes) -> bytes:
    """Mask, or unmask, a payload with a key of 4 bytes (RFC 6455 section 5.3)."""
    size = len(payload)
    mask = (key * ((size + 3) >> 2))[:size]
    both = int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")
    return both.to_bytes(size, "little")


class _Breach(Exception):
    """The peer broke the protocol, or a limit that has a close code."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


def _not_utf8() -> _Breach:
    return _Breach(CloseCode.INVALID_DATA, "a text message is not UTF-8")


class _Message:
    """A message of which not everything is here."""

    __slots__ = ("data", "decoder", "excess", "fragments", "inflater", "size", "skipped")

    def __init__(
        self, decoder: codecs.IncrementalDecoder | None, inflater: Inflater | None
    ) -> None:
        self.decoder = decoder  # of a text message
        self.inflater = inflater  # of a compressed message
        self.data = bytearray()  # unmasked and inflated
        self.size = 0  # bytes on the wire that its frames announced so far
        self.fragments = 0
        self.skipped = False  # it is too big, nothing of it is kept
        self.excess = 0  # bytes that it was inflated to before it was skipped

    def skip(self) -> None:
        self.decoder = self.inflater = None
        self.data = bytearray()
        self.skipped = True


class _Frame:
    """A frame of which not everything is here."""

    __slots__ = ("first", "key", "payload", "remaining")

    def __init__(self, first: int, key: bytes, remaining: int) -> None:
        self.first = first  # the header's first byte
        self.key = key  # turned so that it begins at the next byte of the payload
        self.remaining = remaining
        self.payload = b""  # of a control frame; other payloads are their message's


class WebSocket:
    """The server's end of one connection.

    The bounds are those of :class:`~openapi.protocol.limits.Limits`. ``message_bytes`` counts a
    message inflated, ``discard_bytes`` what is on the wire of a longer one that is only skipped,
    ``fragments`` the data frames of one message.
    ``deflate``: what the handshake agreed on. ``unmask``: a faster :func:`xor`, if there is one.
    """

    __slots__ = (
        "_deflate",
        "_discard_bytes",
        "_fragments",
        "_frame",
        "_head",
        "_message",
        "_message_bytes",
        "_reading",
        "_unmask",
        "state",
    )

    def __init__(
        self,
        *,
        message_bytes: int,
        discard_bytes: int,
        fragments: int,
        deflate: Deflate | None = None,
        unmask: Unmask = xor,
    ) -> None:
        self.state = State.OPEN
        self._message_bytes = message_bytes
        self._discard_bytes = max(discard_bytes, message_bytes)
        self._fragments = fragments
        self._deflate = deflate
        self._unmask = unmask
        self._reading = True
        self._head = b""  # the beginning of a frame's header, at most 13 bytes
        self._frame: _Frame | None = None
        self._message: _Message | None = None

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer, return what they completed, in order. Never raises."""
        events: list[Event] = []
        if self._reading:
            try:
                self._read(data, events)
            except _Breach as breach:
                self._stop()
                events.append(Broken(breach.code, breach.reason))
        return events

    def close(self, code: int, reason: str = "") -> bytes:
        """Return the closing frame to send, or ``b""`` if it was sent before.

        Raises:
            ValueError: ``code`` may not be sent.
        """
        if self.state is State.CLOSED or (self.state is State.CLOSING and self._reading):
            return b""
        frame = close_frame(code, reason)
        self.state = State.CLOSING if self._reading else State.CLOSED
        return frame

    def _stop(self) -> None:
        """Read no more."""
        self.state = State.CLOSING if self.state is State.OPEN else State.CLOSED
        self._reading = False
        self._frame = self._message = None

    def _read(self, data: bytes, events: list[Event]) -> None:
        position = 0
        if self._frame is not None:
            position = self._fill(self._frame, data, position, events)
            if not self._reading:
                return
        elif self._head:
            data = self._head + data
        end = len(data)
        while position + 2 <= end:
            if self._message is None:
                position = self._read_whole(data, position, events)
                if position + 2 > end:
                    break
            first = data[position]
            second = data[position + 1]
            self._check(first, second)
            length = second & 0x7F
            start = position + 6
            if length > 125:
                extra = 2 if length == 126 else 8
                start += extra
                if start > end:
                    break
                length = int.from_bytes(data[position + 2 : position + 2 + extra])
                if length < 126 or (extra == 8 and not 0xFFFF < length < 1 << 63):
                    # RFC 6455 section 5.2: the fewest bytes that hold it, and no sign bit.
                    raise _Breach(CloseCode.PROTOCOL_ERROR, "the length of a frame is malformed")
            elif start > end:
                break
            frame = self._open(first, data[start - 4 : start], length)
            position = self._fill(frame, data, start, events)
            if not self._reading:
                return
        self._head = data[position:]

    def _read_whole(self, data: bytes, position: int, events: list[Event]) -> int:
        """Read messages that are in one frame each, and as a whole here: nearly all there are.

        Returns where something else begins, right or wrong, of which :meth:`_read` knows more.
        """
        end, most, unmask = len(data), self._message_bytes, self._unmask
        while position + 8 <= end:
            first = data[position]
            if first != 0x81 and first != 0x82:
                break
            length = data[position + 1] - MASKED
            start = position + 6
            if length == 126:
                length = data[position + 2] << 8 | data[position + 3]
                start += 2
                if length < 126:
                    break
            elif not 0 <= length < 126:
                break
            stop = start + length
            if stop > end or length > most:
                break
            payload = unmask(data[start - 4 : start], data[start:stop])
            position = stop
            if first == 0x82:
                events.append(bytes(payload))
                continue
            try:
                events.append(payload.decode())
            except UnicodeDecodeError:
                raise _not_utf8() from None
        return position

    def _check(self, first: int, second: int) -> None:
        """Hold the first two bytes of a header against RFC 6455 section 5.2, 5.4 and 5.5."""
        opcode = first & 0x0F
        reserved = first & 0x70
        if second < MASKED:
            problem = "a frame of a client must be masked"
        elif opcode > PONG or BINARY < opcode < CLOSE:
            problem = f"opcode {opcode} is reserved"
        elif opcode >= CLOSE and first < FIN:
            problem = "a control frame must not be fragmented"
        elif opcode >= CLOSE and second & 0x7F > 125:
            problem = "a control frame must not be longer than 125 bytes"
        elif opcode == CONTINUATION and self._message is None:
            problem = "a continuation without a message that it continues"
        elif opcode in (TEXT, BINARY) and self._message is not None:
            problem = "a new message inside a fragmented one"
        elif reserved and not (
            reserved == COMPRESSED and opcode in (TEXT, BINARY) and self._deflate is not None
        ):
            problem = "a reserved bit is set"
        else:
            return
        raise _Breach(CloseCode.PROTOCOL_ERROR, problem)

    def _open(self, first: int, key: bytes, length: int) -> _Frame:
        """Begin a frame whose header is complete and correct."""
        opcode = first & 0x0F
        if opcode < CLOSE:
            message = self._message
            if message is None:
                message = self._message = _Message(
                    _new_decoder() if opcode == TEXT else None,
                    Inflater(self._deflate.client_window)
                    if self._deflate is not None and first & COMPRESSED
                    else None,
                )
            message.fragments += 1
            message.size += length
            if message.fragments > self._fragments:
                raise _Breach(
                    CloseCode.TOO_BIG, f"a message of more than {self._fragments} fragments"
                )
            if message.size > self._discard_bytes:
                raise _Breach(
                    CloseCode.TOO_BIG, f"a message of more than {self._discard_bytes} bytes"
                )
            if message.size > self._message_bytes and message.inflater is None:
                # Of a compressed message, the inflated size counts, and shows in _collect.
                message.skip()
        self._frame = frame = _Frame(first, key, length)
        return frame

    def _fill(self, frame: _Frame, data: bytes, position: int, events: list[Event]) -> int:
        """Take from ``data`` what belongs to ``frame``; return where the rest of it begins."""
        stop = min(position + frame.remaining, len(data))
        took = stop - position
        frame.remaining -= took
        message = self._message if frame.first & 0x0F < CLOSE else None
        if message is None:
            frame.payload += self._unmask(frame.key, data[position:stop])
        elif not message.skipped:
            self._collect(message, self._unmask(frame.key, data[position:stop]))
        if frame.remaining:
            turn = took & 3
            frame.key = frame.key[turn:] + frame.key[:turn]
            return stop
        self._frame = None
        if message is None:
            self._control(frame.first & 0x0F, frame.payload, events)
        elif frame.first & FIN:
            self._message = None
            self._finish(message, events)
        return stop

    def _collect(self, message: _Message, piece: bytes | bytearray, last: bool = False) -> None:
        """Add to a message. What is wrong with it shows here, before the message is whole."""
        inflater = message.inflater
        if inflater is not None:
            room = self._message_bytes - len(message.data)
            try:
                piece = inflater.finish(room) if last else inflater.feed(bytes(piece), room)
            except Corrupt:
                raise _Breach(CloseCode.INVALID_DATA, "a compressed message is malformed") from None
            if len(piece) > room:
                message.excess = self._message_bytes + 1
                message.skip()
                return
        message.data += piece
        if message.decoder is not None:
            try:
                message.decoder.decode(piece, last)
            except UnicodeDecodeError:
                raise _not_utf8() from None

    def _finish(self, message: _Message, events: list[Event]) -> None:
        if not message.skipped:
            self._collect(message, b"", last=True)
        if message.skipped:
            events.append(TooBig(max(message.size, message.excess)))
        elif message.decoder is None:
            events.append(bytes(message.data))
        else:
            events.append(message.data.decode())

    def _control(self, opcode: int, payload: bytes, events: list[Event]) -> None:
        if opcode == PING:
            events.append(Ping(payload))
        elif opcode == PONG:
            events.append(Pong(payload))
        else:
            closed = _read_close(payload)
            self._stop()
            events.append(closed)


def _read_close(payload: bytes) -> Closed:
    """Read the payload of a closing frame (RFC 6455 section 5.5.1)."""
    if not payload:
        return Closed(CloseCode.NO_STATUS, "")
    code = int.from_bytes(payload[:2])
    if len(payload) == 1 or not may_send(code):
        raise _Breach(CloseCode.PROTOCOL_ERROR, "a closing frame has no valid code")
    try:
        return Closed(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise _Breach(
            CloseCode.INVALID_DATA, "the reason of a closing frame is not UTF-8"
        ) from None
