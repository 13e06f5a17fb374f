"""A load client that costs less than a server: frames in one read are taken in one callback."""

import asyncio
import json
import socket
from collections.abc import Callable

_HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def text(message: object) -> bytes:
    """A client's frame, masked with zeros."""
    payload = json.dumps(message).encode()
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2)
    return b"\x81" + length + bytes(4) + payload


class Socket(asyncio.Protocol):
    """Calls ``take`` with each text; ``closed`` becomes the closing frame's code."""

    transport: asyncio.Transport

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self.take = take
        self.buffer = b""
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(
        cls, port: int, take: Callable[[bytes], object], *, receive_buffer: int = 0
    ) -> "Socket":
        """Open a WebSocket; ``receive_buffer`` is what the kernel may hold of it, in bytes."""
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        _, self = await loop.create_connection(lambda: cls(take), sock=sock)
        await self.open
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        """Take the frames of one read."""
        buffer = self.buffer + data if self.buffer else data
        if not self.open.done():
            head, end, buffer = buffer.partition(b"\r\n\r\n")
            if not end:
                self.buffer = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self.open.set_result(None)
        start, end_of_data = 0, len(buffer)
        while end_of_data - start >= 2:
            size, body = buffer[start + 1], start + 2
            if size == 126:
                size, body = int.from_bytes(buffer[start + 2 : start + 4]), start + 4
            elif size == 127:
                size, body = int.from_bytes(buffer[start + 2 : start + 10]), start + 10
            if body + size > end_of_data:
                break
            if buffer[start] == 0x81:
                self.take(buffer[body : body + size])
            elif buffer[start] == 0x88 and not self.closed.done():
                self.closed.set_result(int.from_bytes(buffer[body : body + 2]))
            start = body + size
        self.buffer = buffer[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Note an end without a closing frame."""
        if not self.closed.done():
            self.closed.set_result(1006)

    def send(self, message: object) -> None:
        """Send one message."""
        self.transport.write(text(message))
