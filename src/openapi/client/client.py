"""A connected client: calls, notifications, subscriptions."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, TypeVar, overload

from aiohttp import ClientWebSocketResponse

from openapi.client.handlers import Handler, method_of
from openapi.client.history import History, history_of, position_of
from openapi.client.link import Link
from openapi.client.presence import Member, member_of, members_of
from openapi.client.stream import Stream
from openapi.client.subscription import Subscription
from openapi.client.subscriptions import Subscriptions
from openapi.errors import CloseCode, ConnectionClosed, InvalidData, UnexpectedData
from openapi.protocol.frames import Codec, Message, Reconnect
from openapi.protocol.incoming import Incoming
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.session import Session
from openapi.protocol.stream import Position
from openapi.rpc.peer import Peer, deadline
from openapi.schema import Schema, encode_json, encode_msgpack

__all__ = ["Client"]

T = TypeVar("T")

# JSON that is nested too deeply is not decoded anyway. MessagePack may have containers as names,
# which can be made so that to decode them takes the square of their number: up to so many pass.
_LIMITS: Final = {False: Limits(json_depth=2**63), True: Limits(json_depth=1000)}


class Client:
    """One connection to a server. :func:`openapi.client.connect` makes it.

    Everything may be called from any number of tasks of its loop. When the connection ends,
    everything that waits raises :class:`openapi.errors.ConnectionClosed`, and so does all that is
    begun later. Cancelling whatever waits is harmless to everything else.
    """

    def __init__(
        self,
        ws: ClientWebSocketResponse,
        *,
        codec: Codec,
        methods: MethodTable,
        calls: int,
        queue_bytes: int,
        close_timeout: float,
    ) -> None:
        self._link = Link(
            ws,
            receive=self._received,
            packed=codec.packed,
            queue_bytes=queue_bytes,
            close_timeout=close_timeout,
        )
        self._session = Session(
            methods, send=self._link.send, codec=codec, limits=_LIMITS[codec.packed]
        )
        self._peer = Peer(self._session, invoke=self._invoke, asked=calls)
        self._packed = codec.packed
        self._handling: set[asyncio.Task[Any]] = set()
        self._read = self._reader(Any)
        self._write = encode_msgpack if codec.packed else encode_json
        self._subscriptions = Subscriptions(
            partial(self._peer.ask, room=self._link.room),
            read=self._read,
            write=self._write,
            leave_timeout=close_timeout,
        )
        self._ended = asyncio.Event()
        self._reconnect: Reconnect | None = None

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; None as long as it lasts."""
        return self._link.closed

    @property
    def reconnect(self) -> Reconnect | None:
        """What the server said before it closes: come back ``after`` so many milliseconds."""
        return self._reconnect

    @property
    def ignored(self) -> int:
        """How many messages of the server meant nothing to this client."""
        session = self._session
        ignored = session.ignored + session.dropped
        return ignored + self._link.ignored + self._subscriptions.ignored

    @overload
    async def call(
        self, method: str, payload: object = ..., *, returns: type[T], timeout: float | None = ...
    ) -> T: ...
    @overload
    async def call(
        self,
        method: str,
        payload: object = ...,
        *,
        returns: object = ...,
        timeout: float | None = ...,
    ) -> Any: ...
    async def call(
        self,
        method: str,
        payload: object = None,
        *,
        returns: object = Any,
        timeout: float | None = 30.0,
    ) -> Any:
        """Call a method of the server and return its response.

        ``payload`` is anything whose JSON form is an object; ``returns`` is the type of the
        response, by default dicts, lists and plain values; ``timeout`` is in seconds, None waits
        for ever. A call waits its turn while as many as the connection allows are in flight.

        Raises CallFailed with the server's error, ConnectionClosed, TimeoutError, UnexpectedData
        for a response that does not fit ``returns``, Unserializable for a payload without a JSON
        form.
        """
        return await self._peer.call(
            method, payload, returns=returns, timeout=timeout, room=self._link.room
        )

    async def notify(self, method: str, payload: object = None) -> None:
        """Call a method without an answer; returns when it is queued to be sent.

        Raises ConnectionClosed, and Unserializable for a payload without a JSON form.
        """
        await self._link.room()
        self._peer.notify(method, payload)

    @overload
    def stream(
        self,
        method: str,
        payload: object = ...,
        *,
        type: type[T],
        timeout: float | None = ...,
        queue_bytes: int = ...,
    ) -> Stream[T]: ...
    @overload
    def stream(
        self,
        method: str,
        payload: object = ...,
        *,
        type: object = ...,
        timeout: float | None = ...,
        queue_bytes: int = ...,
    ) -> Stream[Any]: ...
    def stream(
        self,
        method: str,
        payload: object = None,
        *,
        type: object = Any,
        timeout: float | None = None,
        queue_bytes: int = 1024 * 1024,
    ) -> Stream[Any]:
        """Call a method of the server that answers with a stream: see :class:`Stream`.

        ``payload`` is anything whose JSON form is an object; ``type`` is the type of an item, by
        default dicts, lists and plain values. ``timeout`` is how long an item may take to come, in
        seconds; the server is told. At most ``queue_bytes`` of items wait to be read; past that the
        stream ends with ``TooSlow``.
        """
        return Stream(
            self._peer,
            method,
            payload,
            decode=self._reader(type),
            read=self._read,
            timeout=timeout,
            queue_bytes=queue_bytes,
            room=self._link.room,
        )

    def serve(self, method: str, handler: Handler) -> Callable[[], None]:
        """Let the server call ``async def handler(payload)``; returns what takes that back.

        The annotations of the handler are the types on the wire; without them, the payload is a
        dictionary, and the result anything that has a JSON form. An ``RpcError`` of the handler is
        what the server gets; of any other exception it gets an id, under which it is logged. When
        the server waits no longer the handler is cancelled, as it is when the connection ends.

        At most 64 calls of the server run at a time, more are refused. One handler serves a method:
        a later one replaces it. To miss none of the server's first calls, give the handlers to
        :func:`connect`.

        Raises DeclarationError if it is no coroutine function of one payload.
        """
        served = method_of(method, handler)
        self._session.methods = MethodTable({**self._session.methods, method: served})

        def take_back() -> None:
            others = dict(self._session.methods)
            if others.get(method) is served:
                del others[method]
                self._session.methods = MethodTable(others)

        return take_back

    async def publish(
        self,
        channel: str,
        event: str,
        data: object,
        *,
        key: str | None = None,
        timeout: float | None = 30.0,
    ) -> Position | None:
        """Publish a message; returns when the server has it. Raises as :meth:`call` does.

        Returns its position on a channel that keeps history, otherwise None. With a ``key`` of its
        own, as a UUID, it may be published again where nobody knows whether it was: within five
        minutes that changes nothing, and the position is that of the first time.
        """
        payload = {"channel": channel, "event": event, "data": data}
        if key is not None:
            payload["key"] = key
        return position_of(await self.call("publish", payload, timeout=timeout))

    @overload
    async def history(
        self,
        channel: str,
        *,
        since: Position | None = ...,
        limit: int | None = ...,
        reverse: bool = ...,
        type: type[T],
        timeout: float | None = ...,
    ) -> History[T]: ...
    @overload
    async def history(
        self,
        channel: str,
        *,
        since: Position | None = ...,
        limit: int | None = ...,
        reverse: bool = ...,
        type: object = ...,
        timeout: float | None = ...,
    ) -> History[Any]: ...
    async def history(
        self,
        channel: str,
        *,
        since: Position | None = None,
        limit: int | None = None,
        reverse: bool = False,
        type: object = Any,
        timeout: float | None = 30.0,
    ) -> History[Any]:
        """Read messages of a channel that are kept, whoever is subscribed.

        The oldest ones behind ``since``, by default of all; in ``reverse`` the newest ones before
        it, newest first. At most ``limit``, by default as many as the server gives at once; it may
        be fewer, so go on from the last one's position until none comes. ``type`` is that of the
        data.

        Raises as :meth:`call` does: CallFailed also where the channel keeps no history, or another
        stream than that of ``since``.
        """
        payload: dict[str, object] = {"channel": channel}
        if since is not None:
            payload["since"] = since
        if limit is not None:
            payload["limit"] = limit
        if reverse:
            payload["reverse"] = True
        read = self._reader(type)
        response = await self.call("history", payload, timeout=timeout)
        try:
            return history_of(channel, response, lambda data: read(self._write(data)))
        except InvalidData as exc:
            raise UnexpectedData(exc.errors) from exc

    async def presence(self, channel: str, *, timeout: float | None = 30.0) -> list[Member]:
        """Who is on a channel, in the order in which they came. Raises as :meth:`call` does."""
        response = await self.call("presence", {"channel": channel}, timeout=timeout)
        try:
            return members_of(response)
        except InvalidData as exc:
            raise UnexpectedData(exc.errors) from exc

    @overload
    def subscribe(
        self,
        channel: str,
        event: str = ...,
        *,
        type: type[T],
        recover: Position | None = ...,
        presence: Literal[False] = ...,
        queue_bytes: int = ...,
        timeout: float | None = ...,
    ) -> Subscription[T]: ...
    @overload
    def subscribe(
        self,
        channel: str,
        event: str = ...,
        *,
        type: type[T],
        recover: Position | None = ...,
        presence: bool,
        queue_bytes: int = ...,
        timeout: float | None = ...,
    ) -> Subscription[T | Member]: ...
    @overload
    def subscribe(
        self,
        channel: str,
        event: str = ...,
        *,
        type: object = ...,
        recover: Position | None = ...,
        presence: bool = ...,
        queue_bytes: int = ...,
        timeout: float | None = ...,
    ) -> Subscription[Any]: ...
    def subscribe(
        self,
        channel: str,
        event: str = "*",
        *,
        type: object = Any,
        recover: Position | None = None,
        presence: bool = False,
        queue_bytes: int = 1024 * 1024,
        timeout: float | None = 30.0,
    ) -> Subscription[Any]:
        """Subscribe to the events of a channel that fit a pattern: see :class:`Subscription`.

        ``type`` is the type of the data, by default dicts, lists and plain values. ``recover`` is
        a position to go on from: that of an earlier subscription, or of a message. ``presence`` is
        whether it is told who joins and leaves. At most ``queue_bytes`` of messages wait to be
        read, what was recovered among them; past that the subscription ends with ``TooSlow``.
        ``timeout`` is how long the server may take to agree, in seconds.

        Entering it raises CallFailed where the server refuses, ConnectionClosed and TimeoutError;
        and UnexpectedData where what the server recovered cannot be read.
        """

        async def open(subscription: Subscription[Any]) -> None:
            async with deadline(timeout, f"the subscription to {channel!r} was not answered"):
                await self._subscriptions.open(subscription)

        return Subscription(
            channel,
            event,
            recover=recover,
            presence=presence,
            decode=self._reader(type),
            read_member=lambda data: member_of(self._read(data)),
            queue_bytes=queue_bytes,
            open=open,
            close=self._subscriptions.close,
        )

    async def wait_closed(self) -> ConnectionClosed:
        """Wait until the connection ends; returns how it did."""
        await self._ended.wait()
        assert self.closed is not None
        return self.closed

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send what waits to be sent, and close. Leaving ``connect`` does it too."""
        self._subscriptions.end(None)
        await self._link.close(code, reason)
        await self._ended.wait()

    async def run(self) -> None:
        """Keep the connection going until it ends. :func:`connect` does it."""
        try:
            await self._link.run()
        finally:
            assert self.closed is not None
            self._peer.end(self.closed.code, self.closed.reason)
            self._subscriptions.end(self.closed)
            self._ended.set()
            await self._subscriptions.wait_idle()
            while self._handling:
                await asyncio.wait(self._handling)

    def _received(self, message: str | bytes) -> None:
        for other in self._peer.receive(message):
            if isinstance(other, Message):
                self._subscriptions.deliver(other)
            else:
                self._reconnect = other

    async def _invoke(self, call: Incoming) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        result = await call.method.function(self, call.payload)
        await self._link.settled()
        return result

    def _reader(self, hint: object) -> Callable[[Any], Any]:
        """What reads data of the server as a type. It raises InvalidData."""
        schema = Schema.of(hint)
        return schema.unpack if self._packed else schema.decode
