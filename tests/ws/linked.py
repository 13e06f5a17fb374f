"""Connections without sockets: a real server on transports in memory, and clients down to frames.

    async with Linked(application(sockets=sockets)) as server:
        client = await server.connect()
        answer = await client.ask("subscribe", {"channel": "orders"})
        client.reset()

Everything from the transport inwards is the real thing: aiohttp reads the handshake, the endpoint
answers it and takes the transport over. Nobody listens on a port and no system call is made, so it
runs on the loop of :mod:`tests.shuffled`, where time is virtual, as on any other.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from tests.ws.raw import CLOSE, HANDSHAKE, PING, PONG, TEXT, masked, message

#: Bytes that a transport holds before it asks to be written to no more, as asyncio's own do.
HIGH_WATER: Final = 64 * 1024

Frame = dict[str, Any]


def at_once() -> float:
    """A network that takes no time, but one turn of the loop."""
    return 0.0


class Pipe:
    """One direction: what was sent arrives in order, each piece after a time of its own.

    ``delay`` is asked for that time, in seconds. The end, an empty piece, is behind all others.
    """

    def __init__(self, arrive: Callable[[bytes], object], delay: Callable[[], float]) -> None:
        self._arrive = arrive
        self._delay = delay
        self._under_way: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()

    def send(self, data: bytes) -> None:
        """Send some bytes."""
        self._under_way.append(data)
        self._loop.call_later(self._delay(), self._next)

    def lose(self) -> None:
        """Let nothing arrive that is under way."""
        self._under_way.clear()

    def _next(self) -> None:
        if self._under_way:
            self._arrive(self._under_way.popleft())


class MemoryTransport(asyncio.Transport):
    """The server's end of a connection. It behaves as asyncio's transports of TCP sockets do.

    While its peer does not read, it holds what is written. It tells its protocol when that is more
    than ``high_water`` bytes, and when it is nothing again.
    """

    def __init__(self, protocol: asyncio.BaseProtocol, *, high_water: int = HIGH_WATER) -> None:
        super().__init__()
        self.to_client: Pipe | None = None
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._high_water = high_water
        self._held: list[bytes] = []
        self._size = 0
        self._peer_reads = True
        self._paused = False
        self._closing = False
        self._lost = False

    # What its protocol calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or hold while the peer does not read. Dropped when closed."""
        if self._closing:
            return
        self._held.append(bytes(data))
        self._size += len(data)
        self._flush()
        if self._size > self._high_water and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, pieces: Any) -> None:
        """Send several pieces as one."""
        self.write(b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        """Bytes that are held."""
        return self._size

    def is_closing(self) -> bool:
        """Whether nothing is read or written any more."""
        return self._closing

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def write_eof(self) -> None:
        """The peer reads an end behind what is held, and may go on writing."""
        if not self._closing:
            self._held.append(b"")
            self._flush()

    def close(self) -> None:
        """Read nothing more; end when nothing is held."""
        if not self._closing:
            self._closing = True
            self._flush()

    def abort(self) -> None:
        """End at once, whatever is held."""
        self._end(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand it over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who has it."""
        return self._protocol

    def is_reading(self) -> bool:
        """Whether what arrives is handed on."""
        return not self._closing

    def pause_reading(self) -> None:
        """Not that anybody who is tested here does."""
        raise NotImplementedError

    # What its peer calls

    def arrive(self, data: bytes) -> None:
        """Bytes of the peer, or its end."""
        if self._closing:
            return
        assert isinstance(self._protocol, asyncio.Protocol)
        if data:
            self._protocol.data_received(data)
        elif not self._protocol.eof_received():
            self.close()

    def lose(self) -> None:
        """The peer is gone without a word."""
        if self.to_client is not None:
            self.to_client.lose()
            self.to_client = None
        self._end(ConnectionResetError("the client reset the connection"))

    def peer_reads(self, reads: bool) -> None:
        """The peer stops to read, or reads on."""
        self._peer_reads = reads
        self._flush()

    def _flush(self) -> None:
        if self._peer_reads:
            while self._held:
                data = self._held.pop(0)
                self._size -= len(data)
                if self.to_client is not None:
                    self.to_client.send(data)
            if self._paused:  # not from within: it is the network that has room
                self._loop.call_soon(self._resume)
        if self._closing and not self._held:
            self._end(None)

    def _resume(self) -> None:
        if self._paused and not self._lost and not self._held:
            self._paused = False
            self._protocol.resume_writing()

    def _end(self, exc: Exception | None) -> None:
        self._closing = True
        self._held.clear()
        self._size = 0
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._tell, exc)

    def _tell(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        if self.to_client is not None:
            self.to_client.send(b"")


class Client:
    """The client's end. ``received`` is all that came, answers too, in the order of arrival.

    ``heard`` is called with each of these frames the moment it arrives, before anybody goes on who
    waits for it. Pings are answered, and so is a closing frame.
    """

    def __init__(
        self,
        transport: MemoryTransport,
        *,
        delay: Callable[[], float] = at_once,
        heard: Callable[[Frame], object] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.transport = transport
        self.heard = heard
        self.received: list[Frame] = []
        self.messages: asyncio.Queue[Frame] = asyncio.Queue()
        """Those that are no answers."""
        self.close_code = 1006
        """That of the server's closing frame; 1006 without one."""
        self.gone = False
        """Whether the connection has ended."""
        self.closed: asyncio.Future[int] = loop.create_future()
        self.opened: asyncio.Future[bool] = loop.create_future()
        """False, if it ends before it is open."""
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._last_id = 0
        self._unread = b""
        self._to_server = Pipe(transport.arrive, delay)
        transport.to_client = Pipe(self._arrive, delay)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if not self.gone:
            self._to_server.send(data)

    def send(self, frame: object) -> None:
        """Send a frame of the wire."""
        self.write(message(frame))

    def begin(self, method: str, payload: object = None) -> int:
        """Call a method; returns the id of the call."""
        self._last_id += 1
        self.send({"id": self._last_id, "method": method, "payload": payload})
        return self._last_id

    async def ask(self, method: str, payload: object = None) -> Frame:
        """Call a method; returns the whole answer. Raises ConnectionResetError if none comes."""
        if self.gone:
            raise ConnectionResetError("the connection has ended")
        return await self.answer(self.begin(method, payload))

    async def answer(self, number: int) -> Frame:
        """The answer to a call that was just begun. Raises ConnectionResetError if none comes."""
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            return await answer
        finally:
            self._asked.pop(number, None)

    async def call(self, method: str, payload: object = None) -> Any:
        """Call a method; returns its response."""
        answer = await self.ask(method, payload)
        assert "error" not in answer, answer
        return answer["response"]

    def pause(self) -> None:
        """Read nothing more. What is under way still arrives."""
        self.transport.peer_reads(False)

    def resume(self) -> None:
        """Read on."""
        self.transport.peer_reads(True)

    def close(self, code: int = 1000) -> None:
        """Begin to close; see ``closed``."""
        self.write(masked(CLOSE, code.to_bytes(2)))

    def reset(self) -> None:
        """The connection is lost, at once, with all that was under way in either direction."""
        if not self.gone:
            self._to_server.lose()
            self.transport.lose()
            self._gone()

    def _arrive(self, data: bytes) -> None:
        if self.gone:
            return
        if not data:
            self._to_server.send(b"")
            self._gone()
            return
        data = self._unread + data
        if not self.opened.done():
            head, end, data = data.partition(b"\r\n\r\n")
            assert end and head.startswith(b"HTTP/1.1 101 "), head
            self.opened.set_result(True)
        start, size = 0, len(data)
        while start + 2 <= size:
            length, body = data[start + 1], start + 2
            if length == 126:
                body, length = start + 4, int.from_bytes(data[start + 2 : start + 4])
            elif length == 127:
                body, length = start + 10, int.from_bytes(data[start + 2 : start + 10])
            if body > size or body + length > size:
                break
            self._take(data[start] & 0x0F, data[body : body + length])
            start = body + length
        self._unread = data[start:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.write(masked(PONG, payload))
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2])
            self.write(masked(CLOSE, payload[:2]))
        elif opcode != PONG:
            assert opcode == TEXT, (opcode, payload)
            frame: Frame = json.loads(payload)
            self.received.append(frame)
            if self.heard is not None:
                self.heard(frame)
            if "response" not in frame and "error" not in frame:
                self.messages.put_nowait(frame)
            elif (answer := self._asked.get(frame.get("id", 0))) is not None and not answer.done():
                answer.set_result(frame)

    def _gone(self) -> None:
        self.gone = True
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the connection has ended"))
        if not self.opened.done():
            self.opened.set_result(False)
        if not self.closed.done():
            self.closed.set_result(self.close_code)


class Linked:
    """An application and the clients that are linked to it. Leaving it resets them and cleans up.

    ``delay`` is asked how many seconds each piece of data travels, in either direction.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        path: str = "/stream",
        delay: Callable[[], float] = at_once,
        high_water: int = HIGH_WATER,
    ) -> None:
        self.clients: list[Client] = []
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._path = path
        self._delay = delay
        self._high_water = high_water

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self.clients:
            client.reset()
        await self._runner.cleanup()

    def link(self, path: str = "", *, heard: Callable[[Frame], object] | None = None) -> Client:
        """Begin to connect: the handshake is under way. See ``Client.opened``."""
        assert self._runner.server is not None
        protocol = self._runner.server()
        transport = MemoryTransport(protocol, high_water=self._high_water)
        client = Client(transport, delay=self._delay, heard=heard)
        self.clients.append(client)
        protocol.connection_made(transport)
        handshake = HANDSHAKE.format(path=path or self._path, host="linked", port=80)
        client.write(handshake.encode())
        return client

    async def connect(
        self, path: str = "", *, heard: Callable[[Frame], object] | None = None
    ) -> Client:
        """Connect. Raises ConnectionResetError if the connection ends before it is open."""
        client = self.link(path, heard=heard)
        if not await client.opened:
            raise ConnectionResetError("the connection ended before it was open")
        return client
