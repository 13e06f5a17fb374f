"""A connected client: calls, notifications, subscriptions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

from aiohttp import ClientWebSocketResponse

from openapi.client.link import Link
from openapi.client.subscription import Subscription
from openapi.client.subscriptions import Subscriptions
from openapi.errors import CloseCode, ConnectionClosed, InvalidData, UnexpectedData
from openapi.protocol.frames import Answer, Failure, Message, Reconnect, read, write
from openapi.protocol.pending import Outcome, Pending
from openapi.schema import Schema, encode_json

__all__ = ["Client"]

T = TypeVar("T")


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
        self._turns = asyncio.Semaphore(calls)
        self._pending = Pending(freed=self._turns.release)
        self._subscriptions = Subscriptions(self._ask, leave_timeout=close_timeout)
        self._ended = asyncio.Event()
        self._ignored = 0
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
        return self._ignored + self._link.ignored + self._subscriptions.ignored

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
        schema = Schema.of(returns)
        async with _deadline(timeout, f"{method!r} was not answered"):
            response = await self._ask(method, payload)
        try:
            return schema.decode(response)
        except InvalidData as exc:
            raise UnexpectedData(exc.errors) from exc

    async def notify(self, method: str, payload: object = None) -> None:
        """Call a method without an answer; returns when it is queued to be sent.

        Raises ConnectionClosed, and Unserializable for a payload without a JSON form.
        """
        message = write(None, method, _json_of(payload))
        await self._link.room()
        self._link.send(message)

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
            async with _deadline(timeout, f"the subscription to {channel!r} was not answered"):
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
            self._pending.close(self.closed.code, self.closed.reason)
            self._subscriptions.end(self.closed)
            self._ended.set()
        await self._subscriptions.wait_idle()

    async def _ask(
        self,
        method: str,
        payload: object,
        *,
        sent: Callable[[], object] = lambda: None,
        answered: Callable[[], object] = lambda: None,
    ) -> bytes:
        body = _json_of(payload)
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def end(outcome: Outcome) -> None:
            if isinstance(outcome, bytes):
                answered()
            if not ended.done():  # cancelled, but its task did not run yet
                ended.set_result(outcome)

        await self._turns.acquire()
        try:
            await self._link.room()
            asked = self._pending.ask(method, body, end)
        except BaseException:
            self._turns.release()
            raise
        self._link.send(asked.message)
        sent()
        try:
            outcome = await ended
        except asyncio.CancelledError:
            self._pending.abandon(asked)
            raise
        if not isinstance(outcome, bytes):
            raise outcome
        return outcome

    def _received(self, text: str) -> None:
        match read(text):
            case Answer() | Failure() as frame if self._pending.settle(frame):
                pass
            case Message() as message:
                self._subscriptions.deliver(message)
            case Reconnect() as reconnect:
                self._reconnect = reconnect
            case _:
                self._ignored += 1


def _json_of(payload: object) -> bytes:
    return b"{}" if payload is None else encode_json(payload)


@asynccontextmanager
async def _deadline(timeout: float | None, text: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError as exc:
        raise TimeoutError(f"{text} within {timeout:g} seconds") from exc
