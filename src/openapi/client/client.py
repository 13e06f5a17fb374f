"""A client: calls, notifications, subscriptions, over connections that come and go."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from openapi.client.calling import Calling
from openapi.client.connection import Connection
from openapi.client.handlers import Handler, check_listener
from openapi.client.history import History, history_of, position_of
from openapi.client.keeper import Keeper, Status
from openapi.client.places import Places
from openapi.client.presence import Member, member_of, members_of
from openapi.client.renewing import Renewing
from openapi.client.stream import Stream
from openapi.client.subscription import Subscription
from openapi.client.wiring import Wiring
from openapi.errors import CloseCode, ConnectionClosed, InvalidData, UnexpectedData
from openapi.protocol.backoff import Backoff
from openapi.protocol.frames import Reconnect
from openapi.protocol.framing import may_send
from openapi.protocol.methods import MethodTable
from openapi.protocol.reconnecting import ClientState
from openapi.protocol.stream import Position
from openapi.rpc.asking import deadline

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A client of one endpoint. :func:`openapi.client.connect` makes it.

    Everything may be called from any number of tasks of its loop. Its connections come and go; what
    that means for what is under way is :doc:`one page </explanation/clients>`. When it is closed
    for good, everything that waits raises :class:`openapi.errors.ConnectionClosed`, and so does all
    that is begun later. Cancelling whatever waits is harmless to everything else.
    """

    def __init__(
        self,
        wiring: Wiring,
        *,
        reconnect: Backoff | None,
        wait: bool,
        on_state: Callable[[Status], object] | None,
        waiting: int,
    ) -> None:
        self._wiring = wiring
        self._ignored = 0
        self._keeper = Keeper(
            self._dial,
            opened=self._opened,
            ended=self._ended,
            backoff=reconnect,
            wait=wait,
            on_state=on_state,
        )
        places = Places(waiting)
        self._calling = Calling(self._keeper, places)
        self._renewing = Renewing(self._keeper, places)
        self._connection: Connection | None = None  # the last there was

    @property
    def state(self) -> ClientState:
        """Whether it is connecting, open, waiting for the next attempt, or closed."""
        return self._keeper.state

    @property
    def status(self) -> Status:
        """The state, with why it is so, and when the next attempt is made."""
        return self._keeper.status

    @property
    def closed(self) -> ConnectionClosed | None:
        """How it ended for good; None as long as there is a connection, or may be one again."""
        return self._keeper.closed

    @property
    def reconnect(self) -> Reconnect | None:
        """What the server said before it closes: come back ``after`` so many milliseconds.

        None where the last connection heard nothing of the kind.
        """
        return None if self._connection is None else self._connection.reconnect

    @property
    def ignored(self) -> int:
        """How many messages of the server meant nothing to this client."""
        return self._ignored + (0 if self._connection is None else self._connection.ignored)

    async def wait_open(self) -> None:
        """Wait until there is a connection. Raises ConnectionClosed if there will be none."""
        await self._keeper.wait_open()

    def hurry(self) -> None:
        """If it waits for the next attempt, it makes that at once.

        For an application that knows of a reason, as a device that has its network again.
        """
        self._keeper.hurry()

    @overload
    async def call(
        self,
        method: str,
        payload: object = ...,
        *,
        returns: type[T],
        timeout: float | None = ...,
        idempotent: bool = ...,
    ) -> T: ...
    @overload
    async def call(
        self,
        method: str,
        payload: object = ...,
        *,
        returns: object = ...,
        timeout: float | None = ...,
        idempotent: bool = ...,
    ) -> Any: ...
    async def call(
        self,
        method: str,
        payload: object = None,
        *,
        returns: object = Any,
        timeout: float | None = 30.0,
        idempotent: bool = False,
    ) -> Any:
        """Call a method of the server and return its response.

        ``payload`` is anything whose JSON form is an object; ``returns`` is the type of the
        response, by default dicts, lists and plain values; ``timeout`` is in seconds, None waits
        for ever. A call waits its turn while as many as the connection allows are in flight, and
        while there is no connection.

        ``idempotent`` says that it does no harm if it runs twice: then it is sent again where the
        connection was lost before its answer, and where the server says when to try again.

        Raises CallFailed with the server's error, or where too many wait; ConnectionClosed, whose
        ``may_have_run`` says whether the call was sent; TimeoutError, UnexpectedData for a response
        that does not fit ``returns``, Unserializable for a payload without a JSON form.
        """
        read = self._wiring.read if returns is Any else self._wiring.reader(returns)
        async with deadline(timeout, f"{method!r} was not answered"):
            response = await self._calling.ask(
                method, payload, timeout=timeout, idempotent=idempotent
            )
        try:
            return read(response)
        except InvalidData as exc:
            raise UnexpectedData(exc.errors) from exc

    async def notify(self, method: str, payload: object = None) -> None:
        """Call a method without an answer; returns when it is queued to be sent.

        Raises ConnectionClosed, CallFailed where too many wait for a connection, and Unserializable
        for a payload without a JSON form.
        """
        await self._calling.notify(method, payload)

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
            self._calling.begin,
            method,
            payload,
            decode=self._wiring.reader(type),
            read=self._wiring.read,
            timeout=timeout,
            queue_bytes=queue_bytes,
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

        Raises DeclarationError if it is not a coroutine function of one payload.
        """
        return self._wiring.serve(method, handler, self._served)

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
        own, as a UUID, it is published again where nobody knows whether it was, as the connection
        was lost: within five minutes that changes nothing, and the position is that of the first
        time.
        """
        payload = {"channel": channel, "event": event, "data": data}
        if key is not None:
            payload["key"] = key
        response = await self.call("publish", payload, timeout=timeout, idempotent=key is not None)
        return position_of(response)

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
        read = self._wiring.reader(type)
        response = await self.call("history", payload, timeout=timeout, idempotent=True)
        try:
            return history_of(channel, response, lambda data: read(self._wiring.write(data)))
        except InvalidData as exc:
            raise UnexpectedData(exc.errors) from exc

    async def presence(self, channel: str, *, timeout: float | None = 30.0) -> list[Member]:
        """Who is on a channel, in the order in which they came. Raises as :meth:`call` does."""
        response = await self.call(
            "presence", {"channel": channel}, timeout=timeout, idempotent=True
        )
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
        on_renewed: Callable[[Subscription[Any]], object] | None = ...,
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
        on_renewed: Callable[[Subscription[Any]], object] | None = ...,
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
        on_renewed: Callable[[Subscription[Any]], object] | None = ...,
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
        on_renewed: Callable[[Subscription[Any]], object] | None = None,
    ) -> Subscription[Any]:
        """Subscribe to the events of a channel that fit a pattern: see :class:`Subscription`.

        ``type`` is the type of the data, by default dicts, lists and plain values. ``recover`` is
        a position to go on from: that of an earlier subscription, or of a message. ``presence`` is
        whether it is told who joins and leaves. At most ``queue_bytes`` of messages wait to be
        read, what was recovered among them; past that the subscription ends with ``TooSlow``.
        ``timeout`` is how long the server may take to agree, in seconds. ``on_renewed`` is called
        with the subscription whenever the server of another connection has agreed to it: it is
        :attr:`~Subscription.recovered` if nothing was lost meanwhile.

        Entering it raises CallFailed where the server refuses, ConnectionClosed and TimeoutError;
        and UnexpectedData where what the server recovered cannot be read. This raises
        DeclarationError for an ``on_renewed`` that is a coroutine function.
        """
        check_listener("on_renewed", on_renewed)

        async def open(subscription: Subscription[Any]) -> None:
            async with deadline(timeout, f"the subscription to {channel!r} was not answered"):
                await self._renewing.open(subscription)

        return Subscription(
            channel,
            event or "*",  # no event is all events, as the server has it
            recover=recover,
            presence=presence,
            decode=self._wiring.reader(type),
            read_member=lambda data: member_of(self._wiring.read(data)),
            queue_bytes=queue_bytes,
            open=open,
            close=self._renewing.close,
            timeout=timeout,
            on_renewed=on_renewed,
        )

    async def wait_closed(self) -> ConnectionClosed:
        """Wait until it is closed for good; returns why."""
        return await self._keeper.wait_closed()

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send what waits to be sent, and close for good. Leaving ``connect`` does it too.

        At most 123 bytes of the reason are sent. Raises ValueError for a code that may not be sent.
        """
        if not may_send(code):
            raise ValueError(
                f"close code {code} cannot be sent;"
                " use 1000-1003, 1007-1014, or one of your own from 3000-4999"
            )
        self._renewing.end(None)
        try:
            await self._keeper.aclose(code, reason)
        finally:
            await self._renewing.aclose()

    async def open(self, *, wait: bool) -> None:
        """Begin to connect; :func:`connect` does it. With ``wait`` it raises why that fails."""
        if wait:
            await self._keeper.open()
        else:
            self._keeper.start()

    async def _dial(self) -> Connection:
        return await self._wiring.dial(self._keeper.told)

    def _opened(self, connection: Connection, before: Connection | None) -> None:
        if self._connection is not None:
            self._ignored += self._connection.ignored
        self._connection = connection
        self._renewing.move(connection, before)

    def _ended(self, closed: ConnectionClosed) -> None:
        self._renewing.end(closed)

    def _served(self, methods: MethodTable) -> None:
        for connection in self._keeper.connections:
            connection.session.methods = methods
