"""A connection in memory: two transports, each of them the other's network.

| what happens    | what its own protocol is told           | what the other end is told           |
|-----------------|-----------------------------------------|--------------------------------------|
| it is closed    | the end, when all that it wrote is gone | an end of file, behind all of that   |
| it is aborted   | the end                                 | an end of file, behind what is under |
|                 |                                         | way                                  |
| the link is cut | ConnectionResetError                    | ConnectionResetError                 |

Who writes to an end that is gone is told ConnectionResetError. Nothing is told while it cannot
pass, because the direction is halted. Protocols are called from the loop only, never from within a
call of theirs, but for ``pause_writing``, as in asyncio.
"""

import asyncio
import errno
from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from openapi.testing.pipe import Pipe
from openapi.testing.websocket_messages import Protocol, Speech, handshake_in

if TYPE_CHECKING:
    from openapi.testing.direction import Direction

__all__ = ["Connected", "MemoryTransport"]

HIGH_WATER: Final = 64 * 1024
"""Bytes that wait to be written before a protocol is told to pause, unless it says otherwise."""

_ADDRESS: Final = "127.0.0.1"
_PORTS: Final = cycle(range(49152, 65536))


class MemoryTransport(asyncio.Transport):
    """One end of a connection. :class:`Connected` makes two of them."""

    def __init__(
        self, protocol: asyncio.BaseProtocol, *, closed: Callable[[], object], port: int, peer: int
    ) -> None:
        super().__init__({"sockname": (_ADDRESS, port), "peername": (_ADDRESS, peer)})
        self.gone = False
        """Whether it has ended; its protocol is told in the next turn of the loop."""
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._closed = closed
        self._closing = False
        self._reading = True
        self._paused = False
        self.set_write_buffer_limits()

    def begin(self, out: Pipe, into: Pipe, speech: Speech, other: "MemoryTransport") -> None:
        """Be connected: ``speech`` is of what is written here."""
        self._out, self._into, self._speech, self._other = out, into, speech, other

    # What its protocol calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send. What comes behind ``close`` is dropped."""
        if self._closing:
            return
        self._out.write(self._carried(bytes(data)))
        if self._out.size > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        """Send several pieces as one."""
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be written."""
        return self._out.size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low and the high water mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks past which its protocol is told to pause, and below which to go on."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closing

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def write_eof(self) -> None:
        """Write nothing more; the other end may."""
        self._out.finish()

    def close(self) -> None:
        """Write what waits, and end."""
        if not self._closing:
            self._closing = True
            self._out.finish()
            self.moved()

    def abort(self) -> None:
        """End now."""
        if not self.gone:
            self._out.discard()
            self._out.finish()
            self.end(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand it over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who has it."""
        return self._protocol

    def is_reading(self) -> bool:
        """Whether its protocol is given what arrives."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Let what arrives wait in the network, which holds only so much."""
        self._reading = False

    def resume_reading(self) -> None:
        """Take what arrives."""
        self._reading = True
        self._into.go_on()

    # What its pipes call

    def reads(self) -> bool:
        """Whether something may arrive. At an end that is closing it is refused."""
        return self._reading or self._closing

    def arrive(self, data: bytes) -> None:
        """Bytes of the other end; none: it writes nothing more."""
        if self._closing:
            if data and self.gone and not self._out.direction.halted:
                self._other.end(_reset())
            return
        assert isinstance(self._protocol, asyncio.Protocol)
        try:
            if data:
                self._protocol.data_received(data)
            elif not self._protocol.eof_received():
                self.close()
        except Exception as exc:  # as asyncio does: reported, and the end of the connection
            self._loop.call_exception_handler(
                {
                    "message": "a protocol failed to take what arrived",
                    "exception": exc,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self.abort()

    def moved(self) -> None:
        """Less waits to be written than before."""
        if self._closing:
            if not self._out.size and not self.gone:
                self.end(None)
        elif self._paused and self._out.size <= self._low:
            self._paused = False
            self._protocol.resume_writing()

    def end(self, exc: Exception | None) -> None:
        """It is gone; its protocol is told why in the next turn of the loop."""
        if not self.gone:
            self.gone = self._closing = True
            self._out.discard()
            self._into.go_on()  # what was not read is refused now
            self._loop.call_soon(self._tell, exc)

    def _tell(self, exc: Exception | None) -> None:
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._closed()

    def _carried(self, data: bytes) -> bytes:
        handshake = handshake_in(data) if self._speech.protocol is Protocol.HTTP else 0
        if handshake:
            self._speech.protocol = self._other._speech.protocol = Protocol.WEBSOCKET
        return data[:handshake] + self._speech.carried(data[handshake:])


class Connected:
    """A connection: the ``client`` and the ``server`` ends of it, joined by two directions.

    ``closed`` is called when both protocols have been told of the end.
    """

    def __init__(
        self,
        client: asyncio.BaseProtocol,
        server: asyncio.BaseProtocol,
        *,
        to_server: "Direction",
        to_client: "Direction",
        closed: Callable[["Connected"], object],
    ) -> None:
        self._closed = closed
        self._open = 2
        port = next(_PORTS)
        self.client: Final = MemoryTransport(client, closed=self._one_closed, port=port, peer=80)
        self.server: Final = MemoryTransport(server, closed=self._one_closed, port=80, peer=port)
        self._there = _pipe(to_server, self.client, self.server)
        self._back = _pipe(to_client, self.server, self.client)
        self.client.begin(self._there, self._back, Speech(to_server.times), self.server)
        self.server.begin(self._back, self._there, Speech(to_client.times), self.client)

    def begin(self) -> None:
        """Tell both protocols that they are connected."""
        self.server.get_protocol().connection_made(self.server)
        self.client.get_protocol().connection_made(self.client)

    def cut(self) -> None:
        """Reset both ends: what is under way is lost."""
        self._there.cut()
        self._back.cut()
        self.server.end(_reset())
        self.client.end(_reset())

    def _one_closed(self) -> None:
        self._open -= 1
        if not self._open:
            self._there.cut()
            self._back.cut()
            self._closed(self)


def _pipe(direction: "Direction", sender: MemoryTransport, receiver: MemoryTransport) -> Pipe:
    return Pipe(direction, receive=receiver.arrive, reads=receiver.reads, moved=sender.moved)


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
