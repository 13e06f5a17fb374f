"""One WebSocket of a client: what is sent goes through a bounded queue, what comes to a callback.

aiohttp lets every sender wait for the same future while the transport is full, and cancelling one
of them cancels all. So only one task sends here, and it is cancelled only at the end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType

from openapi.errors import CloseCode, ConnectionClosed

__all__ = ["Link"]

logger = logging.getLogger("openapi.client")


class Link:
    """An open WebSocket, made with ``autoping=False``. Its owner keeps :meth:`run` running.

    ``receive`` is called with every text message. ``queue_bytes`` bounds what waits to be sent:
    past it, senders wait for room. ``close_timeout`` is how long the end may take, in seconds.
    ``ignored`` counts messages that are no text.
    """

    def __init__(
        self,
        ws: ClientWebSocketResponse,
        *,
        receive: Callable[[str], object],
        queue_bytes: int,
        close_timeout: float,
    ) -> None:
        self._ws = ws
        # aiohttp has no other way to a transport that must be cut, because its peer is dead.
        self._transport: asyncio.Transport = ws._writer.transport
        self._receive = receive
        self._limit = queue_bytes
        self._close_timeout = close_timeout
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._pong: bytes | None = None
        self._filled = asyncio.Event()
        self._sent = asyncio.Event()
        self._wanted: ConnectionClosed | None = None
        self.closed: ConnectionClosed | None = None
        self.ignored = 0

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""
        return self._size

    async def room(self) -> None:
        """Wait until a message can be queued; :meth:`send` it before the next ``await``.

        Raises ConnectionClosed.
        """
        await self._shrunk_below(self._limit)
        if self.closed is not None:
            raise ConnectionClosed(self.closed.code, self.closed.reason)

    def send(self, message: bytes) -> None:
        """Queue one text message."""
        self._queue.append(message)
        self._size += len(message)
        self._filled.set()

    async def run(self) -> ConnectionClosed:
        """Send and receive until the connection ends; returns how it did."""
        writing = asyncio.create_task(self._write())
        try:
            self.closed = await self._read()
        finally:
            if self.closed is None:
                self.closed = ConnectionClosed(CloseCode.ABNORMAL, "the client stopped")
                self._transport.abort()
            self._sent.set()
            writing.cancel()
            await asyncio.wait([writing])
        if not writing.cancelled():
            writing.result()
        return self.closed

    async def close(self, code: int, reason: str = "") -> None:
        """Send what waits, say goodbye, and wait for the answer to that."""
        if self._wanted is None:
            self._wanted = ConnectionClosed(code, reason)
        try:
            async with asyncio.timeout(self._close_timeout):
                await self._shrunk_below(1)
                await self._ws.close(code=code, message=reason.encode())
        except TimeoutError:
            self._transport.abort()

    async def _shrunk_below(self, size: int) -> None:
        while self._size >= size and self.closed is None:
            self._sent.clear()
            await self._sent.wait()

    async def _read(self) -> ConnectionClosed:
        while True:
            message = await self._ws.receive()
            match message.type:
                case WSMsgType.TEXT:
                    self._receive(message.data)
                case WSMsgType.PING:
                    # Only the latest is answered (RFC 6455, 5.5.3), so they cannot pile up.
                    self._pong = bytes(message.data)
                    self._filled.set()
                case WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE:
                    code = message.data or CloseCode.NO_STATUS
                    return ConnectionClosed(code, message.extra or "")
                case WSMsgType.CLOSING | WSMsgType.CLOSED | WSMsgType.ERROR:
                    return self._wanted or self._lost()
                case _:
                    self.ignored += 1

    def _lost(self) -> ConnectionClosed:
        exc = self._ws.exception()
        if exc is not None:  # no pong: it takes nothing any more, so nothing is flushed
            self._transport.abort()
        # aiohttp takes a stream that ends without a closing frame for a normal end.
        known = self._ws.close_code
        code = known if known and known != CloseCode.NORMAL else CloseCode.ABNORMAL
        return ConnectionClosed(code, str(exc) if exc else "the connection was lost")

    async def _write(self) -> None:
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._queue:
                    await self._answer_ping()
                    message = self._queue.popleft()
                    await self._ws.send_frame(message, WSMsgType.TEXT)
                    self._size -= len(message)
                    self._sent.set()
                await self._answer_ping()
        except (ConnectionError, ClientError) as exc:
            logger.debug("nothing can be sent any more, %s", exc)  # and so the reader ends

    async def _answer_ping(self) -> None:
        pong, self._pong = self._pong, None
        if pong is not None:
            await self._ws.pong(pong)
