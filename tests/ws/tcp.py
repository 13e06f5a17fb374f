"""TCP connections of clients that cost little, stop reading, and end without a word.

async with served(application(sockets=sockets)) as url:
    client = await Client.open(url, receive_buffer=4096)
    answer = await client.ask("subscribe", {"channel": "orders"})
    client.pause()      # nothing is read from the network until client.resume()
    client.reset()      # a TCP reset: what was under way in either direction is lost
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from aiohttp import web
from yarl import URL

from tests.ws.raw import CLOSE, HANDSHAKE, PING, PONG, TEXT, masked, message

Frame = dict[str, Any]

ABNORMAL: Final = 1006
"""The close code where there was no closing frame."""

_LINGER: Final = struct.pack("ii", 1, 0)  # to close is to reset


@asynccontextmanager
async def served(app: web.Application, *, send_buffer: int = 0) -> AsyncIterator[URL]:
    """Serve an application on a free port of 127.0.0.1; yields the URL of its endpoint.

    ``send_buffer`` is how many bytes the system may hold for each connection, 0 being its default.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    if send_buffer:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening, backlog=4096).start()
        yield URL.build(scheme="http", host="127.0.0.1", port=listening.getsockname()[1]) / "stream"
    finally:
        await runner.cleanup()


class Line(asyncio.Protocol):
    """A connection past TCP's handshake, whose every frame is handed to :meth:`heard`."""

    def __init__(self, url: URL) -> None:
        self.close_code = ABNORMAL
        """That of the server's closing frame."""
        self._url = url
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._opened = False

    @classmethod
    async def socket_to(cls, url: URL, *, receive_buffer: int = 0) -> socket.socket:
        """Connect, over TCP. It is reset when it is closed before all was read."""
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await asyncio.get_running_loop().sock_connect(sock, (url.host, url.port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def connect(self, *, receive_buffer: int = 0) -> None:
        """Connect, and send the opening handshake. Cancelled, it resets what there is."""
        sock = await self.socket_to(self._url, receive_buffer=receive_buffer)
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise

    def opened(self) -> None:
        """The opening handshake is over: frames can be sent."""

    def heard(self, frame: Frame) -> None:
        """A frame of the wire."""
        raise NotImplementedError

    def ended(self) -> None:
        """The connection is gone, whoever ended it. See :attr:`close_code`."""

    def send(self, frame: object) -> None:
        """Send a frame of the wire."""
        self._write(message(frame))

    def close(self, code: int = 1000) -> None:
        """Begin the closing handshake."""
        self._write(masked(CLOSE, code.to_bytes(2)))

    def reset(self) -> None:
        """End with a TCP reset: what was under way in either direction is lost."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None  # nothing is heard any more

    def pause(self) -> None:
        """Read nothing more from the network."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        assert self._transport is not None
        self._transport.resume_reading()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        url = self._url
        self._write(HANDSHAKE.format(path=url.path_qs, host=url.host, port=url.port).encode())

    def data_received(self, data: bytes) -> None:
        data = self._unread + data
        if not self._opened:
            head, end, behind = data.partition(b"\r\n\r\n")
            if not end:
                self._unread = data
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._opened = True
            self.opened()
            data = behind
        read = 0
        for opcode, payload, end_of_frame in frames_in(data):
            read = end_of_frame
            if self._transport is None:
                return
            if opcode == TEXT:
                self.heard(json.loads(payload))
            elif opcode == PING:
                self._write(masked(PONG, payload))
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2])
                self._write(masked(CLOSE, payload[:2]))
        self._unread = data[read:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.ended()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


class Client(Line):
    """A connection whose frames are kept, all of them in the order of arrival.

    ``heard_from`` is called with each frame the moment it arrives.
    """

    def __init__(self, url: URL, heard_from: Callable[[Frame], object] | None = None) -> None:
        super().__init__(url)
        self.received: list[Frame] = []
        """All that came, answers too."""
        loop = asyncio.get_running_loop()
        self.open_now: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        """The close code, when the connection is gone."""
        self._heard_from = heard_from
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._last_id = 0
        self._news = asyncio.Event()

    @classmethod
    async def open(
        cls,
        url: URL,
        *,
        receive_buffer: int = 0,
        heard_from: Callable[[Frame], object] | None = None,
    ) -> Self:
        """Connect to an endpoint."""
        client = cls(url, heard_from)
        await client.connect(receive_buffer=receive_buffer)
        await client.open_now
        return client

    def begin(self, method: str, payload: object = None) -> int:
        """Call a method; returns the id of the call."""
        return self.begin_together((method, payload))[0]

    def begin_together(self, *calls: tuple[str, object]) -> list[int]:
        """Call methods, in one piece of data; returns the ids of the calls."""
        numbers, data = [], b""
        for method, payload in calls:
            self._last_id += 1
            self._asked[self._last_id] = asyncio.get_running_loop().create_future()
            data += message({"id": self._last_id, "method": method, "payload": payload})
            numbers.append(self._last_id)
        self._write(data)
        return numbers

    async def answer(self, number: int) -> Frame:
        """The answer to a call, once. Raises ConnectionResetError if none comes."""
        return await self._asked[number]

    async def ask(self, method: str, payload: object = None) -> Frame:
        """Call a method; returns the whole answer."""
        return await self.answer(self.begin(method, payload))

    async def call(self, method: str, payload: object = None) -> Any:
        """Call a method; returns its response."""
        answer = await self.ask(method, payload)
        assert "error" not in answer, answer
        return answer["response"]

    def of(self, channel: str, *, behind: int = 0) -> list[Frame]:
        """All that came of a channel, behind the first so many frames."""
        return [each for each in self.received[behind:] if each.get("channel") == channel]

    async def until(self, there: Callable[[], bool]) -> None:
        """Wait until something is true that what arrives makes true."""
        while not there():
            assert not self.closed.done(), f"the connection has ended: {self.close_code}"
            self._news.clear()
            await self._news.wait()

    async def more(self, count: int) -> None:
        """Wait until so many frames more have come."""
        enough = len(self.received) + count
        await self.until(lambda: len(self.received) >= enough)

    def opened(self) -> None:
        self.open_now.set_result(None)

    def heard(self, frame: Frame) -> None:
        self.received.append(frame)
        if self._heard_from is not None:
            self._heard_from(frame)
        asked = self._asked.get(frame.get("id") or 0)
        if asked is not None and not asked.done():
            asked.set_result(frame)
        self._news.set()

    def ended(self) -> None:
        gone = ConnectionResetError(f"the connection has ended: {self.close_code}")
        waits: list[asyncio.Future[Any]] = [self.open_now, *self._asked.values()]
        for waiting in waits:
            if not waiting.done():
                waiting.set_exception(gone)
                waiting.exception()  # somebody may wait for it, or not
        if not self.closed.done():
            self.closed.set_result(self.close_code)
        self._news.set()


def frames_in(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The whole frames of a server that are in some bytes: opcode, payload, where it ends."""
    start, size = 0, len(data)
    while start + 2 <= size:
        opcode, length, body = data[start] & 0x0F, data[start + 1], start + 2
        if length == 126:
            body, length = start + 4, int.from_bytes(data[start + 2 : start + 4])
        elif length == 127:
            body, length = start + 10, int.from_bytes(data[start + 2 : start + 10])
        if body > size or body + length > size:
            return
        start = body + length
        yield opcode, data[body:start], start
