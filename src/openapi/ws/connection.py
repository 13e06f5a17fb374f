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
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from openapi.errors import CloseCode
from openapi.protocol.frames import Codec, Reconnect
from openapi.protocol.framing import framer, ping_frame, pong_frame
from openapi.protocol.incoming import RUNNING, Incoming
from openapi.protocol.jsonrpc import JSONRPC, is_jsonrpc
from openapi.protocol.native import JSON
from openapi.protocol.session import Session
from openapi.protocol.websocket import Broken, Closed, Event, Ping, State, TooBig, WebSocket
from openapi.rpc.peer import Peer
from openapi.rpc.running import current
from openapi.ws.deliveries import Deliveries
from openapi.ws.greeting import welcomed
from openapi.ws.handover import taken_from
from openapi.ws.middleware import Middleware, through
from openapi.ws.outbox import Outbox
from openapi.ws.socket import Websocket
from openapi.ws.variant import Variant

if TYPE_CHECKING:
    from openapi.protocol.methods import MethodTable
    from openapi.ws.heartbeat import Beating
    from openapi.ws.manager import SocketsManager

__all__ = ["Connection"]

logger = logging.getLogger(__name__)

#: What a peer that is too slow is given to take its closing frame: seconds.
_SLOW_CLOSE_TIMEOUT: Final = 0.5

_READ_BYTES: Final = 64 * 1024


class Connection(asyncio.Protocol):
    """An ``asyncio.Protocol`` that takes a transport over once the handshake is written."""

    __slots__ = (
        "__weakref__",
        "_closed",
        "_endpoint",
        "_greeted",
        "_greeting",
        "_http",
        "_limits",
        "_loop",
        "_manager",
        "_middleware",
        "_outbox",
        "_session",
        "_speaks",
        "_timer",
        "_transport",
        "_websocket",
        "alive",
        "awaits_pong",
        "close_code",
        "close_reason",
        "deliveries",
        "peer",
        "slot",
    )

    def __init__(
        self,
        endpoint: Websocket,
        manager: "SocketsManager",
        transport: asyncio.Transport,
        *,
        http: web.RequestHandler,
        methods: "MethodTable",
        codec: Codec | None,
        websocket: WebSocket,
        window: int = 0,
        middleware: tuple[Middleware, ...] = (),
    ) -> None:
        limits = manager.limits
        self._loop = asyncio.get_running_loop()
        self._endpoint: Websocket | None = endpoint
        self._http = http
        self._manager = manager
        self._limits = limits
        self._transport = transport
        self._websocket = websocket
        self._middleware = middleware
        self._outbox = Outbox(
            transport, manager.flusher, limit=limits.outbox_bytes, on_overflow=self.overflow
        )
        self.deliveries: Final = Deliveries(
            endpoint,
            self._outbox,
            Variant.of(codec or JSON, window),
            channels=manager.channels,
            limit=limits.outbox_bytes,
            owner=self,
        )
        self._session = Session(
            methods,
            send=self._send,
            codec=codec or JSON,
            limits=limits,
            prefix="s",
            answered=self.deliveries.release,
            failed=self.deliveries.failed,
        )
        self.peer: Final = Peer(
            self._session,
            invoke=self._invoke,
            room=self._outbox.room,
            done=self._done,
            outlive=manager.adopt,
            asked=limits.asked,
        )
        # What its messages come as; None until the first one tells the dialect.
        self._speaks: type[str] | type[bytes] | None = None
        if codec is not None:
            self._speaks = bytes if codec.packed else str
        self._greeting: asyncio.Task[None] | None = None
        self._greeted = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None  # made when somebody waits
        self.close_code: int = CloseCode.ABNORMAL
        self.close_reason: str = ""
        self.alive = True
        self.awaits_pong = False
        self.slot: set[Beating] | None = None

    def start(self) -> None:
        """Take the transport over from aiohttp, with what came right behind the handshake."""
        behind = taken_from(self._http)
        if hasattr(self._transport, "max_size"):
            # asyncio reads 256 KiB at a time, for which the allocator maps memory anew each time.
            self._transport.max_size = _READ_BYTES
        self._transport.set_protocol(self)
        if self._http.writing_paused:  # by answers to requests before it, which nobody has read
            self._outbox.pause()
        self.peer.pause()  # until it is greeted: its manager does not know it yet
        if behind:
            self.data_received(behind)

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        self.alive = True
        receive, session = self.peer.receive, self._session
        for event in self._websocket.receive(data):
            if type(event) is self._speaks:
                try:
                    receive(event)  # and what it returns would be for clients
                except Exception:
                    self._unreadable()
                if session.failures:
                    self._end_rubbish()
            else:
                self._control(event)
        self._outbox.expect()

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
        self.peer.end(self.close_code, self.close_reason)
        self._outbox.discard()
        self.deliveries.drop()
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            self._manager.disconnected(self, endpoint)
            self._part(endpoint)
        # aiohttp must know that the transport is gone before the handler, if it waits, goes on.
        self._http.transport = None
        self._http.connection_lost(exc)
        if self._closed is not None:
            self._closed.set_result(None)
        # Endpoint and connection know each other through these; reference counts must free both.
        self.deliveries.end()

    # What the endpoint, its manager and the channels call

    @property
    def gone(self) -> bool:
        """Whether it is closing or closed: it takes no messages and no subscriptions."""
        return self._endpoint is None or self.closing

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for the peer to read."""
        return self._outbox.size + self.deliveries.size

    async def wait_closed(self) -> None:
        """Wait until the transport is gone."""
        if self._endpoint is None:
            return
        if self._closed is None:
            self._closed = self._loop.create_future()
        await asyncio.shield(self._closed)

    @property
    def packed(self) -> bool:
        """Whether it speaks MessagePack, in binary messages."""
        return self.deliveries.variant.codec.packed

    def send(self, message: str | bytes) -> None:
        """Send one text or binary message."""
        framed = framer(packed=isinstance(message, bytes), window=self.deliveries.variant.window)
        self._outbox.send(framed(message if isinstance(message, bytes) else message.encode()))

    def greet(self) -> None:
        """Run the endpoint's ``on_connect``, and then its calls, which waited for that."""
        endpoint = self._endpoint
        if endpoint is None or self.gone:
            return
        if type(endpoint).on_connect is Websocket.on_connect:
            self._welcome()
        else:
            self._greeting = self._manager.spawn(self._greet(endpoint))

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Say goodbye; cut the connection if the peer does not within ``limits.close_timeout``."""
        self._close(code, reason)

    def restart(self) -> None:
        """Close, for the server ends and its client may come back."""
        self._close(CloseCode.RESTART, "the server restarts")

    def drain(self, after: int, stays: float = 0.0) -> None:
        """Close once no call is in flight, having told the peer to come back in ``after`` ms.

        It ``stays`` for so many seconds at least, for the peer to go elsewhere before it leaves.
        """
        if not self.gone:
            if stays:
                self._timer = self._loop.call_later(stays, self._stayed)
            self._session.drain(after)
            self._send(
                self.deliveries.variant.codec.encode(Reconnect(after=after, code=CloseCode.RESTART))
            )
            self._end_if_drained()

    def ping(self) -> None:
        """See :class:`openapi.ws.heartbeat.Beating`."""
        self._outbox.send(ping_frame())

    def no_pong(self) -> None:
        """See :class:`openapi.ws.heartbeat.Beating`."""
        self._close(CloseCode.NO_PONG, "no pong", timeout=_SLOW_CLOSE_TIMEOUT)

    @property
    def closing(self) -> bool:
        """See :class:`openapi.ws.deliveries.Owner`."""
        return self._websocket.state is not State.OPEN

    def answering(self) -> Incoming | None:
        """See :class:`openapi.ws.deliveries.Owner`."""
        running = current()
        if running is not None and running.owner is self.peer and running.state is RUNNING:
            return running
        return None

    def overflow(self) -> None:
        """See :class:`openapi.ws.deliveries.Owner`."""
        # Not now: whoever publishes is in the middle of going through the subscribers.
        self.deliveries.drop()
        self._loop.call_soon(self._too_slow)

    def cannot_encode(self) -> None:
        """See :class:`openapi.ws.deliveries.Owner`."""
        self._loop.call_soon(self.close, CloseCode.INTERNAL_ERROR)

    # Inside

    def _unreadable(self) -> None:
        # Only code of the application's own, decode_message or encode_message, comes to this.
        logger.exception("a message could not be read or refused")
        self.close(CloseCode.INTERNAL_ERROR)

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
            case str() if self._speaks is None:
                self._decide(event)
                self.peer.receive(event)
                self._end_rubbish()
            case str() | bytes():
                kind = "binary" if self._speaks is bytes else "text"
                self.close(CloseCode.UNSUPPORTED_DATA, f"this connection speaks {kind} messages")

    def _decide(self, first: str) -> None:
        """The first message of a connection that selected no subprotocol tells the dialect."""
        self._speaks = str
        if is_jsonrpc(first):
            self._session.codec = JSONRPC
            self.deliveries.variant = Variant.of(JSONRPC, self.deliveries.variant.window)

    def _invoke(self, call: Incoming) -> Coroutine[Any, Any, Any]:
        endpoint, method = self._endpoint, call.method
        if method.plain and not self._middleware:
            coroutine: Coroutine[Any, Any, Any] = method.function(endpoint, call.payload)
            return coroutine
        assert endpoint is not None
        if method.shield:
            return self._shielded(call, endpoint)
        if self._middleware:
            return through(self._middleware, call, endpoint)
        return _opened(method.function(endpoint, call.payload))

    async def _shielded(self, call: Incoming, endpoint: Websocket) -> Any:
        with self._manager.shielding():
            if self._middleware:
                return await through(self._middleware, call, endpoint)
            return await call.method.function(endpoint, call.payload)

    def _done(self, call: Incoming) -> None:
        self.deliveries.done(call)
        if self._session.drained:
            self._end_if_drained()

    def _stayed(self) -> None:
        self._timer = None
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._timer is None and self._session.drained:
            self.restart()

    async def _greet(self, endpoint: Websocket) -> None:
        if await welcomed(endpoint, self):
            self._welcome()

    def _welcome(self) -> None:
        self._greeted = True
        self.peer.resume()

    def _part(self, endpoint: Websocket) -> None:
        self._stop_greeting()
        self._greeting = None
        if self._greeted and type(endpoint).on_disconnect is not Websocket.on_disconnect:
            self._manager.spawn(endpoint.on_disconnect(self.close_code))

    def _stop_greeting(self) -> None:
        greeting = self._greeting
        # Once, and not while it closes the connection itself.
        if greeting is not None and not greeting.cancelling():
            if greeting is not asyncio.current_task():
                greeting.cancel()

    def _send(self, payload: bytes) -> None:
        self._outbox.send(self.deliveries.variant.framed(payload))

    def _too_slow(self) -> None:
        if not self.gone:
            self._close(CloseCode.TOO_SLOW, "reads too slowly", timeout=_SLOW_CLOSE_TIMEOUT)

    def _peer_closed(self, code: int, reason: str) -> None:
        frame = self._websocket.close(CloseCode.NORMAL if code == CloseCode.NO_STATUS else code)
        # The server ends the TCP connection (RFC 6455 section 7.1.1), behind what is queued.
        if frame:
            self._say_goodbye(frame, code, reason, then=self._transport.close)
        else:  # ours was the first, and may still wait for room
            self._outbox.finish(self._transport.close)

    def _peer_broke(self, code: int, reason: str) -> None:
        frame = self._websocket.close(code, reason)
        # What it goes on sending stays unread: closing now would reset the connection, and our
        # closing frame could be lost with it.
        half = self._transport.can_write_eof()
        end = self._transport.write_eof if half else self._transport.close
        if frame:
            self._say_goodbye(frame, code, reason, then=end)
        else:
            self._outbox.finish(end)

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
        self._stop_greeting()
        if self._timer is not None:
            self._timer.cancel()
        self.peer.end(code, reason)
        self.deliveries.stop()
        self._outbox.close(frame, then=then)
        if timeout is None:
            timeout = self._limits.close_timeout
        self._timer = self._loop.call_later(timeout, self._transport.abort)


async def _opened(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    return items
