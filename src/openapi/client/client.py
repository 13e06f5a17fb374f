"""A connected client: calls, notifications, subscriptions."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final, TypeVar, overload

from aiohttp import ClientWebSocketResponse

from openapi.client.link import Link
from openapi.client.subscription import Subscription
from openapi.client.subscriptions import Subscriptions
from openapi.errors import CloseCode, ConnectionClosed
from openapi.protocol.frames import Message, Reconnect
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.native import JSON_CLIENT
from openapi.protocol.session import Incoming, Session
from openapi.rpc.peer import Peer, deadline
from openapi.schema import Schema

__all__ = ["Client"]

T = TypeVar("T")

# The length of a message bounds how deeply it is nested.
_LIMITS: Final = Limits(json_depth=2**63)


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
        calls: int,
        queue_bytes: int,
        close_timeout: float,
    ) -> None:
        self._link = Link(
            ws, receive=self._received, queue_bytes=queue_bytes, close_timeout=close_timeout
        )
        self._session = Session(
            MethodTable({}), send=self._link.send, codec=JSON_CLIENT, limits=_LIMITS
        )
        self._peer = Peer(self._session, invoke=_invoke, asked=calls)
        self._subscriptions = Subscriptions(
            partial(self._peer.ask, room=self._link.room), leave_timeout=close_timeout
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

    async def publish(
        self, channel: str, event: str, data: object, *, timeout: float | None = 30.0
    ) -> None:
        """Publish a message; returns when the server has it. Raises as :meth:`call` does."""
        payload = {"channel": channel, "event": event, "data": data}
        await self.call("publish", payload, timeout=timeout)

    @overload
    def subscribe(
        self,
        channel: str,
        event: str = ...,
        *,
        type: type[T],
        queue_bytes: int = ...,
        timeout: float | None = ...,
    ) -> Subscription[T]: ...
    @overload
    def subscribe(
        self,
        channel: str,
        event: str = ...,
        *,
        type: object = ...,
        queue_bytes: int = ...,
        timeout: float | None = ...,
    ) -> Subscription[Any]: ...
    def subscribe(
        self,
        channel: str,
        event: str = "*",
        *,
        type: object = Any,
        queue_bytes: int = 1024 * 1024,
        timeout: float | None = 30.0,
    ) -> Subscription[Any]:
        """Subscribe to the events of a channel that fit a pattern: see :class:`Subscription`.

        ``type`` is the type of the data, by default dicts, lists and plain values. At most
        ``queue_bytes`` of messages wait to be read; past that the subscription ends with
        ``TooSlow``. ``timeout`` is how long the server may take to agree, in seconds.

        Entering it raises CallFailed where the server refuses, ConnectionClosed and TimeoutError.
        """

        async def open(subscription: Subscription[Any]) -> None:
            async with deadline(timeout, f"the subscription to {channel!r} was not answered"):
                await self._subscriptions.open(subscription)

        return Subscription(
            channel,
            event,
            Schema.of(type),
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

    def _received(self, message: str) -> None:
        for other in self._peer.receive(message):
            if isinstance(other, Message):
                self._subscriptions.deliver(other)
            else:
                self._reconnect = other


def _invoke(call: Incoming) -> Awaitable[Any]:
    raise AssertionError(f"{call.method.name} is not served here")
