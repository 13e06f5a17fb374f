"""One accepted WebSocket: the transport's bytes on one side, the endpoint's methods on the other.

Everything that belongs to a connection hangs on this object and goes with it: its calls, its
outbox, its place in the heartbeat's wheel, its subscriptions.

| state   | bytes arrive        | close(code)                | the transport is lost |
|---------|---------------------|----------------------------|-----------------------|
| OPEN    | are answered        | CLOSING, closing frame out | CLOSED                |
| CLOSING | closing frame only  |                            | CLOSED                |
| CLOSED  |                     |                            |                       |
"""

import asyncio
import logging
import secrets
import sys
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from openapi.errors import CloseCode, ErrorCode, InvalidData, RpcError, Unserializable
from openapi.protocol.frames import INVALID, JSON, Codec, Reconnect
from openapi.protocol.session import Incoming, Session
from openapi.protocol.websocket import (
    Broken,
    Closed,
    Event,
    Ping,
    State,
    TooBig,
    WebSocket,
    ping_frame,
    pong_frame,
    text_frame,
)
from openapi.ws.channels import Delivery
from openapi.ws.hold import Hold
from openapi.ws.outbox import Outbox

if TYPE_CHECKING:
    from openapi.protocol.methods import MethodTable
    from openapi.ws.heartbeat import Beating
    from openapi.ws.manager import SocketsManager, Websocket

__all__ = ["Connection"]

logger = logging.getLogger(__name__)

#: What a peer that is too slow is given to take its closing frame: seconds.
_SLOW_CLOSE_TIMEOUT: Final = 0.5

_READ_BYTES: Final = 64 * 1024

_running: ContextVar["_Running | None"] = ContextVar("openapi.ws.running", default=None)


class _Running:
    """The call that the current task runs; of no connection any more when it has ended."""

    __slots__ = ("connection",)

    def __init__(self, connection: "Connection") -> None:
        self.connection: Connection | None = connection


class _Behind:
    """Collects what aiohttp has read behind the handshake."""

    data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


class Connection(asyncio.Protocol):
    """An ``asyncio.Protocol`` that takes a transport over once the handshake is written."""

    __slots__ = (
        "__weakref__",
        "_closed",
        "_endpoint",
        "_hold",
        "_http",
        "_limits",
        "_loop",
        "_manager",
        "_outbox",
        "_session",
        "_tasks",
        "_timer",
        "_transport",
        "_variant",
        "_websocket",
        "alive",
        "awaits_pong",
        "close_code",
        "close_reason",
        "slot",
    )

    def __init__(
        self,
        endpoint: "Websocket",
        manager: "SocketsManager",
        transport: asyncio.Transport,
        *,
        http: web.RequestHandler,
        methods: "MethodTable",
        codec: Codec,
        websocket: WebSocket,
        window: int = 0,
    ) -> None:
        limits = manager.limits
        self._loop = asyncio.get_running_loop()
        self._endpoint: Websocket | None = endpoint
        self._http = http
        self._manager = manager
        self._limits = limits
        self._transport = transport
        self._websocket = websocket
        self._variant = (codec, window)
        self._outbox = Outbox(
            transport, manager.flusher, limit=limits.outbox_bytes, on_overflow=self._overflow
        )
        self._session = Session(methods, send=self._send_text, codec=codec, limits=limits)
        self._tasks: set[asyncio.Task[None]] = set()
        self._hold = Hold()
        self._timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.close_code: int = CloseCode.ABNORMAL
        self.close_reason: str = ""
        self.alive = True
        self.awaits_pong = False
        self.slot: set[Beating] | None = None

    def start(self) -> None:
        """Take the transport over from aiohttp, with what came right behind the handshake."""
        behind = _Behind()
        self._http.set_parser(behind)  # type: ignore[arg-type] # it wants a WebSocketReader, and uses this
        if hasattr(self._transport, "max_size"):
            # asyncio reads 256 KiB at a time, for which the allocator maps memory anew each time.
            self._transport.max_size = _READ_BYTES
        self._transport.set_protocol(self)
        if behind.data:
            self.data_received(behind.data)

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        self.alive = True
        for event in self._websocket.receive(data):
            if type(event) is str:
                self._message(event)
            else:
                self._control(event)

    def pause_writing(self) -> None:
        """The transport is full."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._outbox.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, whoever brought it about: nothing of the connection stays anywhere."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._session.dropped:
            logger.warning(
                "%d notifications of socket %s could not run", self._session.dropped, self._endpoint
            )
        self._end_calls()
        self._outbox.discard()
        self._hold.drop()
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            self._manager.disconnected(self, endpoint)
        # aiohttp must know that the transport is gone before the handler, which waits, goes on.
        self._http.connection_lost(exc)
        if not self._closed.done():
            self._closed.set_result(None)
        # Endpoint and connection know each other through these; reference counts must free both.
        self._variant = (JSON, 0)

    # What the endpoint, its manager and the channels call

    @property
    def gone(self) -> bool:
        """Whether it is closing or closed: it takes no messages and no subscriptions."""
        return self._websocket.state is not State.OPEN or self._endpoint is None

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the peer to read."""
        return self._outbox.size + self._hold.size

    async def wait_closed(self) -> None:
        """Wait until the transport is gone."""
        await asyncio.shield(self._closed)

    def deliver(self, delivery: Delivery) -> None:
        """Send a published message, behind the answer of the call that subscribed to it."""
        try:
            frame = delivery.frame(self._variant)
        except Unserializable:
            # Its own encode_message failed: the others shall not miss the message for that.
            logger.exception("a message could not be encoded for socket %s", self._endpoint)
            self._loop.call_soon(self.close, CloseCode.INTERNAL_ERROR)
            return
        if self._hold and self._hold.keep(delivery.message.channel, frame):
            if self.queued_bytes > self._limits.outbox_bytes:
                self._overflow()
        else:
            self._outbox.send(frame)

    def hold(self, channel: str) -> None:
        """Keep a channel's messages until the call of the current task is answered."""
        running = _running.get()
        if running is not None and running.connection is self:
            self._hold.begin(channel, running)

    def send(self, text: str) -> None:
        """Send one text message."""
        self._send_text(text.encode())

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Say goodbye; cut the connection if the peer does not within ``limits.close_timeout``."""
        self._close(code, reason)

    def restart(self) -> None:
        """Close, for the server ends and its client may come back."""
        self._close(CloseCode.RESTART, "the server restarts")

    def drain(self, after: int) -> None:
        """Close once no call is in flight, having told the peer to come back in ``after`` ms."""
        if not self.gone:
            self._session.drain(after)
            codec = self._variant[0]
            self._send_text(codec.encode(Reconnect(after=after, code=CloseCode.RESTART)))
            if not self._session.in_flight:
                self.restart()

    def ping(self) -> None:
        """See :class:`openapi.ws.heartbeat.Beating`."""
        self._outbox.send(ping_frame())

    def no_pong(self) -> None:
        """See :class:`openapi.ws.heartbeat.Beating`."""
        self._close(CloseCode.NO_PONG, "no pong", timeout=_SLOW_CLOSE_TIMEOUT)

    # Inside

    def _message(self, text: str) -> None:
        try:
            call = self._session.receive(text)
        except Exception:
            # Only code of the application's own, decode_message or encode_message, comes to this.
            logger.exception("a message could not be read or refused")
            self.close(CloseCode.INTERNAL_ERROR)
            return
        if call is not None:
            self._start(call)
        else:
            self._end_rubbish()

    def _end_rubbish(self) -> None:
        if self._session.failures > self._limits.errors:
            self.close(CloseCode.TOO_MANY_ERRORS, "too many unreadable messages")

    def _control(self, event: Event) -> None:
        match event:
            case Ping(payload):
                self._outbox.send(pong_frame(payload))
            case TooBig(size):
                self._session.oversized(size)
                self._end_rubbish()
            case Closed(code, reason):
                self._peer_closed(code, reason)
            case Broken(code, reason):
                self._peer_broke(code, reason)
            case bytes():
                self.close(CloseCode.UNSUPPORTED_DATA, "this endpoint speaks text messages")

    def _start(self, call: Incoming) -> None:
        task = _start_task(self._run(call), self._loop)
        if task.done():
            self._ended(task)
        else:
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a call could not be answered", exc_info=exc)

    async def _run(self, call: Incoming) -> None:
        running = _Running(self)
        _running.set(running)
        session = self._session
        try:
            response = await self._result(call)
            try:
                session.answer(call, response)
            except Unserializable as exc:
                raise _internal_error(call, exc, "JSON object expected") from exc
        except RpcError as error:
            try:
                session.fail(call, error)
            except Unserializable as exc:
                session.fail(call, _internal_error(call, exc))
        except asyncio.CancelledError:
            # The connection's end; or anybody else's doing, and then the caller is told.
            session.fail(call, RpcError(ErrorCode.CANCELLED, "The call was cancelled"))
            raise
        finally:
            session.forget(call)
            running.connection = None
            for frame in self._hold.end(running):
                self._outbox.send(frame)
            if session.drained:
                self.restart()

    async def _result(self, call: Incoming) -> bytes:
        """What the handler answers, as JSON; whatever goes wrong becomes an RpcError."""
        method = call.method
        if call.broken is not None:
            raise _internal_error(call, call.broken) from call.broken
        try:
            result = await method.function(self._endpoint, call.payload)
        except RpcError:
            raise
        except InvalidData as exc:
            raise RpcError(ErrorCode.INVALID_PARAMETERS, INVALID, errors=exc.errors) from exc
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and _is_cancelled():
                raise
            # Also where something that the handler awaited was cancelled, and not the call.
            raise _internal_error(call, exc) from exc
        try:
            return method.encode(result)
        except Unserializable as exc:
            raise _internal_error(call, exc, "JSON object expected") from exc
        except Exception as exc:
            # It does not fit its type, or the type's own code failed.
            raise _internal_error(call, exc) from exc

    def _send_text(self, payload: bytes) -> None:
        self._outbox.send(text_frame(payload, self._variant[1]))

    def _overflow(self) -> None:
        # Not now: whoever publishes is in the middle of going through the subscribers.
        self._hold.drop()
        self._loop.call_soon(self._too_slow)

    def _too_slow(self) -> None:
        if not self.gone:
            self._close(CloseCode.TOO_SLOW, "reads too slowly", timeout=_SLOW_CLOSE_TIMEOUT)

    def _peer_closed(self, code: int, reason: str) -> None:
        frame = self._websocket.close(CloseCode.NORMAL if code == CloseCode.NO_STATUS else code)
        # The server ends the TCP connection (RFC 6455 section 7.1.1), behind what is queued.
        if frame:
            self._say_goodbye(frame, code, reason, then=self._transport.close)
        else:  # ours was the first
            self._transport.close()

    def _peer_broke(self, code: int, reason: str) -> None:
        frame = self._websocket.close(code, reason)
        # What it goes on sending stays unread: closing now would reset the connection, and our
        # closing frame could be lost with it.
        half = self._transport.can_write_eof()
        end = self._transport.write_eof if half else self._transport.close
        if frame:
            self._say_goodbye(frame, code, reason, then=end)
        else:
            end()

    def _close(self, code: int, reason: str, *, timeout: float | None = None) -> None:
        frame = self._websocket.close(code, reason)
        if frame and self._endpoint is not None:
            self._say_goodbye(frame, code, reason, timeout=timeout)

    def _say_goodbye(
        self,
        frame: bytes,
        code: int,
        reason: str,
        *,
        timeout: float | None = None,
        then: Callable[[], object] | None = None,
    ) -> None:
        self.close_code, self.close_reason = code, reason
        self._end_calls()
        self._outbox.close(frame, then=then)
        if timeout is None:
            timeout = self._limits.close_timeout
        self._timer = self._loop.call_later(timeout, self._transport.abort)

    def _end_calls(self) -> None:
        self._session.close()
        for task in tuple(self._tasks):
            task.cancel()


def _is_cancelled() -> bool:
    """Whether the current task is being cancelled, and not only something that it awaits.

    A function, so that no frame of a call's traceback holds its own task: that would be a cycle.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _internal_error(
    call: Incoming, exc: BaseException, message: str = "Internal error"
) -> RpcError:
    """The answer to a call that failed here: only an id, under which the log has the exception."""
    error_id = secrets.token_hex(8)
    logger.error("RPC method %r failed, error id %s", call.method.name, error_id, exc_info=exc)
    return RpcError(ErrorCode.INTERNAL_ERROR, message, data={"error_id": error_id})


if sys.version_info >= (3, 12):

    def _start_task(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        # Most handlers never suspend: they are done before this returns.
        return asyncio.Task(coroutine, loop=loop, eager_start=True)

else:

    def _start_task(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        return loop.create_task(coroutine)
