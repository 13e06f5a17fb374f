"""A load client of Socket.IO over a WebSocket, beside the one of bench/load.py.

Engine.IO 4, Socket.IO 5: `0{…}` opens, `40` connects, `42["event",data]` is an event.
"""

import asyncio
from collections.abc import Callable

from bench.load import Socket

_HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def frame(payload: bytes) -> bytes:
    """A client's frame of a text, masked with zeros; up to 125 bytes, or 64 KiB."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2)
    return b"\x81" + length + bytes(4) + payload


class EngineSocket(Socket):
    """Calls ``take`` with each event; ``joined`` is set when it is connected."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        super().__init__(self._take)
        self._event = take
        self.joined = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_HANDSHAKE)

    def _take(self, payload: bytes) -> None:
        if payload.startswith(b"42"):
            self._event(payload)
        elif payload.startswith(b"40"):
            self.joined.set()
        elif payload.startswith(b"0"):
            self.transport.write(frame(b"40"))
