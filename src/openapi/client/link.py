"""One WebSocket of a client: what is sent goes through a bounded queue, what comes to a callback.

aiohttp lets every sender wait for the same future while the transport is full, and cancelling one
of them cancels all. So only one task sends here, and it is cancelled only at the end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiohttp import (
    ClientError,
    ClientWebSocketResponse,
    ServerTimeoutError,
    WebSocketError,
    WSMsgType,
)

from openapi.errors import CloseCode, ConnectionClosed

__all__ = ["Link"]

logger = logging.getLogger("openapi.client")

_BURST: Final = 64
"""Messages that are read without a pause. Then whoever reads what they brought has a turn."""

_REASON: Final = 123
"""The longest reason of a closing frame, behind its code: bytes."""


class Link:
    """An open WebSocket, made with ``autoping=False``. Its owner keeps :meth:`run` running.

    ``receive`` is called with every message, which is text, or binary where it is ``packed``.
    ``queue_bytes`` bounds what waits to be sent: past it, senders wait for room. Who cannot wait,
    because the server asked for it, may send as much again; then the connection is cut, as 4008.
    ``close_timeout`` is how long the end may take, in seconds. ``ignored`` counts messages of the
    other kind.
    """

    def __init__(
        self,
        ws: ClientWebSocketResponse,
        *,
        receive: Callable[[Any], object],
        packed: bool,
        queue_bytes: int,
        close_timeout: float,
    ) -> None:
        self._ws = ws
        # aiohttp has no other way to a transport that must be cut, because its peer is dead.
        self._transport: asyncio.Transport = ws._writer.transport
        self._receive = receive
        self._kind: Final = WSMsgType.BINARY if packed else WSMsgType.TEXT
        self._limit = queue_bytes
        self._close_timeout = close_timeout
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._overdue = 0  # what was queued though there was no room
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
        if self._size >= self._limit:
            await self.settled()
        if self.closed is not None:
            raise ConnectionClosed(self.closed.code, self.closed.reason)

    async def settled(self) -> None:
        """Wait until a message can be queued, or none will ever be sent."""
        await self._shrunk_below(self._limit)

    def send(self, message: bytes) -> None:
        """Queue one message."""
        if self._size >= self._limit:
            self._overdue += len(message)
            if self._overdue > self._limit:
                self._give_up()
                return
        self._queue.append(message)
        self._size += len(message)
        self._filled.set()

    async def run(self) -> ConnectionClosed:
        """Send and receive until the connection ends; returns how it did."""
        writing = asyncio.create_task(self._write())
        try:
            self.closed = await self._read()
        finally:
            self.abort()
            self._still()
            self._sent.set()
            writing.cancel()
            await asyncio.wait([writing])
        if not writing.cancelled():
            writing.result()
        return self.closed

    def abort(self) -> None:
        """Cut it, unless it has ended: nobody runs it any more."""
        if self.closed is None:
            self.closed = ConnectionClosed(CloseCode.ABNORMAL, "the client stopped")
            self._cut()

    async def close(self, code: int, reason: str = "") -> None:
        """Send what waits, say goodbye, and wait for the answer to that."""
        if self._wanted is None:
            self._wanted = ConnectionClosed(code, reason)
        try:
            async with asyncio.timeout(self._close_timeout):
                await self._shrunk_below(1)
                await self._ws.close(code=code, message=_cut_to_fit(reason))
        except TimeoutError:
            self._cut()
        except asyncio.CancelledError:
            self._cut()
            raise

    def _cut(self) -> None:
        self._transport.abort()
        self._ws._response.close()  # what aiohttp keeps of it; there is no other way

    def _still(self) -> None:
        """Ping no more: aiohttp's timer, which may be set behind the end, would keep it all."""
        self._ws._heartbeat = None
        self._ws._cancel_heartbeat()

    def _give_up(self) -> None:
        if self._wanted is None:
            self._wanted = ConnectionClosed(CloseCode.TOO_SLOW, "the server reads too slowly")
        self._transport.abort()

    async def _shrunk_below(self, size: int) -> None:
        while self._size >= size and self.closed is None:
            self._sent.clear()
            await self._sent.wait()

    async def _read(self) -> ConnectionClosed:
        messages = 0
        while True:
            messages += 1
            if messages % _BURST == 0:
                await asyncio.sleep(0)
            message = await self._ws.receive()
            match message.type:
                case self._kind:
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
                    return self._wanted or self._lost(message.data)
                case _:
                    self.ignored += 1

    def _lost(self, fault: object) -> ConnectionClosed:
        """How it ended without a closing frame; ``fault`` is what aiohttp found in a message."""
        exc = self._ws.exception()
        if exc is not None:  # it takes nothing any more, so nothing is flushed
            self._transport.abort()
        match fault, exc:
            case WebSocketError(code=CloseCode.TOO_BIG), _:
                why = f"a message of the server is longer than message_bytes: {fault}"
            case WebSocketError(), _:
                why = f"the server sent what no WebSocket sends: {fault}"
            case _, ServerTimeoutError():  # there was no pong
                why = str(exc)
            case _:
                why = "the connection was lost"
        # aiohttp takes a stream that ends without a closing frame for a normal end.
        known = self._ws.close_code
        code = known if known and known != CloseCode.NORMAL else CloseCode.ABNORMAL
        return ConnectionClosed(code, why)

    async def _write(self) -> None:
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._queue:
                    await self._answer_ping()
                    message = self._queue.popleft()
                    await self._ws.send_frame(message, self._kind)
                    self._size -= len(message)
                    if self._size < self._limit:
                        self._overdue = 0
                    self._sent.set()
                await self._answer_ping()
        except (ConnectionError, ClientError) as exc:
            logger.debug("nothing can be sent any more, %s", exc)  # and so the reader ends

    async def _answer_ping(self) -> None:
        pong, self._pong = self._pong, None
        if pong is not None:
            await self._ws.pong(pong)


def _cut_to_fit(reason: str) -> bytes:
    """As much of a reason as a closing frame takes (RFC 6455, section 5.5)."""
    return reason.encode()[:_REASON].decode(errors="ignore").encode()
