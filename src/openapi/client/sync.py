"""The client for code that has no event loop: scripts, notebooks, tests of other things.

    from openapi.client.sync import connect

    with connect("wss://example.com/stream") as client:
        info = client.call("info", returns=Info)
        with client.subscribe("host", "cpu", type=Cpu) as messages:
            for message in messages:
                print(message.data)
        for line in client.stream("tail", {"path": "app.log"}):
            print(line)

It is :mod:`openapi.client` in a thread of its own, with the same names, and comes back as that
does. In a notebook, without the block: ``client = connect(…)``, and ``client.close()``.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload
from weakref import finalize

from yarl import URL

from openapi.client.client import Client as AsyncClient
from openapi.client.connect import connect as connect_async
from openapi.client.history import History
from openapi.client.keeper import Status
from openapi.client.loop_thread import LoopThread
from openapi.client.presence import Member
from openapi.client.stream import Stream as AsyncStream
from openapi.client.subscription import Subscription as AsyncSubscription
from openapi.errors import CloseCode, ConnectionClosed
from openapi.protocol.message import Message
from openapi.protocol.reconnecting import ClientState
from openapi.protocol.stream import Position
from openapi.rpc.asking import deadline

__all__ = ["Client", "Stream", "Subscription", "connect"]

T = TypeVar("T")


def connect(
    url: str | URL | Callable[[], str | URL],
    *,
    serve: Mapping[str, Callable[[Any], Any]] | None = None,
    **options: Any,
) -> "Client":
    """Connect to a WebSocket endpoint; returns when it is connected.

    All options but ``session``, which is refused with ValueError, are those of
    :func:`openapi.client.connect`, and so is what it raises. Functions that the server may call
    (``serve``) may be plain ones: each call runs in a thread of its own, so that it may block.
    ``on_state``, and functions that make the URL or the headers, are called in the thread of the
    client.

    A client is of its process: connect behind a fork, and not before.
    """
    if options.get("session") is not None:
        raise ValueError("a session is of its own event loop: leave it out, the client makes one")
    handlers = {name: _coroutine(handler) for name, handler in (serve or {}).items()}
    thread = LoopThread("openapi client")
    try:
        opening = thread.run(_made(lambda: connect_async(url, serve=handlers, **options)))
        client = thread.run(opening.__aenter__())
    except BaseException:  # Ctrl-C: no thread is left behind
        thread.close()
        raise
    return Client(thread, opening, client)


class Client:
    """A client of one endpoint, for any number of threads. :func:`connect` makes it.

    Each method is that of :class:`openapi.client.Client`, and raises what that does. Ctrl-C ends
    the wait for an answer, and tells the server.
    """

    def __init__(
        self,
        thread: LoopThread,
        opening: AbstractAsyncContextManager[AsyncClient],
        client: AsyncClient,
    ) -> None:
        self._thread = thread
        self._opening = opening
        self._client = client
        self._closing = threading.Lock()
        self._closed = False
        self._abandon = finalize(self, _abandon, thread, opening)
        # There are no new threads at the interpreter's end, and its sockets end with it.
        self._abandon.atexit = False

    @property
    def state(self) -> ClientState:
        """Whether it is connecting, open, waiting for the next attempt, or closed."""
        return self._client.state

    @property
    def status(self) -> Status:
        """The state, with why it is so, and when the next attempt is made."""
        return self._client.status

    @property
    def closed(self) -> ConnectionClosed | None:
        """How it ended for good; None as long as there is a connection, or may be one again."""
        return self._client.closed

    @overload
    def call(
        self,
        method: str,
        payload: object = ...,
        *,
        returns: type[T],
        timeout: float | None = ...,
        idempotent: bool = ...,
    ) -> T: ...
    @overload
    def call(
        self,
        method: str,
        payload: object = ...,
        *,
        returns: object = ...,
        timeout: float | None = ...,
        idempotent: bool = ...,
    ) -> Any: ...
    def call(
        self,
        method: str,
        payload: object = None,
        *,
        returns: object = Any,
        timeout: float | None = 30.0,
        idempotent: bool = False,
    ) -> Any:
        """Call a method of the server and return its response."""
        return self._thread.run(
            self._client.call(
                method, payload, returns=returns, timeout=timeout, idempotent=idempotent
            )
        )

    def notify(self, method: str, payload: object = None) -> None:
        """Call a method without an answer; returns when it is queued to be sent."""
        self._thread.run(self._client.notify(method, payload))

    @overload
    def stream(
        self, method: str, payload: object = ..., *, type: type[T], **options: Any
    ) -> "Stream[T]": ...
    @overload
    def stream(
        self, method: str, payload: object = ..., *, type: object = ..., **options: Any
    ) -> "Stream[Any]": ...
    def stream(
        self, method: str, payload: object = None, *, type: object = Any, **options: Any
    ) -> "Stream[Any]":
        """Call a method that answers with a stream; ``timeout`` and ``queue_bytes`` are its own."""
        stream = self._client.stream(method, payload, type=type, **options)
        return Stream(self, self._thread, stream)

    def publish(
        self,
        channel: str,
        event: str,
        data: object,
        *,
        key: str | None = None,
        timeout: float | None = 30.0,
    ) -> Position | None:
        """Publish a message; returns when the server has it."""
        return self._thread.run(
            self._client.publish(channel, event, data, key=key, timeout=timeout)
        )

    @overload
    def history(self, channel: str, *, type: type[T], **options: Any) -> History[T]: ...
    @overload
    def history(self, channel: str, *, type: object = ..., **options: Any) -> History[Any]: ...
    def history(self, channel: str, *, type: object = Any, **options: Any) -> History[Any]:
        """Read messages of a channel that are kept.

        The options are those of :meth:`openapi.client.Client.history`.
        """
        return self._thread.run(self._client.history(channel, type=type, **options))

    def presence(self, channel: str, *, timeout: float | None = 30.0) -> list[Member]:
        """Who is on a channel, in the order in which they came."""
        return self._thread.run(self._client.presence(channel, timeout=timeout))

    @overload
    def subscribe(
        self,
        channel: str,
        event: str = ...,
        *,
        type: type[T],
        presence: Literal[False] = ...,
        **options: Any,
    ) -> "Subscription[T]": ...
    @overload
    def subscribe(
        self, channel: str, event: str = ..., *, type: object = ..., **options: Any
    ) -> "Subscription[Any]": ...
    def subscribe(
        self, channel: str, event: str = "*", *, type: object = Any, **options: Any
    ) -> "Subscription[Any]":
        """Subscribe to the events of a channel that fit a pattern: enter what it returns.

        The options are those of :meth:`openapi.client.Client.subscribe`.
        """
        subscription = self._client.subscribe(channel, event, type=type, **options)
        return Subscription(self, self._thread, subscription)

    def serve(self, method: str, handler: Callable[[Any], Any]) -> Callable[[], None]:
        """Let the server call ``handler(payload)``; returns what takes that back."""
        served = _coroutine(handler)
        take_back = self._thread.run(_made(lambda: self._client.serve(method, served)))
        return lambda: self._thread.run(_made(take_back))

    def wait_open(self, *, timeout: float | None = None) -> None:
        """Wait until there is a connection. Raises ConnectionClosed, and TimeoutError."""
        self._thread.run(_within(timeout, self._client.wait_open(), "there is no connection"))

    def wait_closed(self, *, timeout: float | None = None) -> ConnectionClosed:
        """Wait until it is closed for good; returns why. Raises TimeoutError."""
        return self._thread.run(_within(timeout, self._client.wait_closed(), "it is not closed"))

    def hurry(self) -> None:
        """If it waits for the next attempt, it makes that at once."""
        self._thread.run(_made(self._client.hurry))

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send what waits to be sent, and close for good. Harmless the second time.

        In a process that was forked it does nothing: the connection is that of the other one.
        """
        if self._thread.gone:
            return
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._abandon.detach()
            try:
                self._thread.run(self._client.close(code, reason))
                self._thread.run(_left(self._opening))
            finally:
                self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Block:
    """What is entered, read and left in the thread of a client."""

    def __init__(
        self, client: Client, thread: LoopThread, block: AbstractAsyncContextManager[Any]
    ) -> None:
        self._client = client  # which is closed when nobody has it any more
        self._thread = thread
        self._block = block

    def __enter__(self) -> Self:
        self._thread.run(self._block.__aenter__())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def __iter__(self) -> Self:
        return self

    def _leave(self) -> None:
        """Leave it; where the client was closed first, that is done."""
        try:
            self._thread.run(_left(self._block))
        except ConnectionClosed:
            if not self._thread.closed:
                raise


class Subscription(_Block, Generic[T]):
    """What :meth:`Client.subscribe` returns: see :class:`openapi.client.Subscription`."""

    def __init__(
        self, client: Client, thread: LoopThread, subscription: AsyncSubscription[T]
    ) -> None:
        super().__init__(client, thread, subscription)
        self._subscription = subscription

    @property
    def position(self) -> Position | None:
        """Right behind the last message that was read, on a channel that keeps history."""
        return self._subscription.position

    @property
    def recovered(self) -> bool | None:
        """Whether nothing was lost when the server agreed last."""
        return self._subscription.recovered

    @property
    def dropped(self) -> int:
        """How many messages the server left out for this client."""
        return self._subscription.dropped

    def get(self, *, timeout: float | None = None) -> Message[T]:
        """The next message, within so many seconds; None waits for ever.

        Raises TimeoutError, EOFError where the iteration would end, and what that raises.
        """
        message = self._read(timeout)
        if message is None:
            raise EOFError(f"the subscription to {self._subscription.channel!r} was left")
        return message

    def _read(self, timeout: float | None) -> Message[T] | None:
        """The next message; None at its end."""
        try:
            return self._thread.run(self._next(timeout))
        except ConnectionClosed:
            if not self._thread.closed:
                raise
            return None  # the application closed the client, maybe in another thread

    async def _next(self, timeout: float | None) -> Message[T] | None:
        async with deadline(timeout, f"nothing came on {self._subscription.channel!r}"):
            try:
                return await anext(self._subscription)
            except StopAsyncIteration:
                return None

    def __next__(self) -> Message[T]:
        message = self._read(None)
        if message is None:
            raise StopIteration
        return message


class Stream(_Block, Generic[T]):
    """What :meth:`Client.stream` returns: see :class:`openapi.client.Stream`."""

    def __init__(self, client: Client, thread: LoopThread, stream: AsyncStream[T]) -> None:
        super().__init__(client, thread, stream)
        self._stream = stream

    @property
    def response(self) -> Any:
        """What the method answered at its end."""
        return self._stream.response

    def close(self) -> None:
        """Leave it: the server is told, unless it has ended."""
        self._leave()

    async def _next(self) -> tuple[T] | None:
        try:
            return (await anext(self._stream),)
        except StopAsyncIteration:
            return None

    def __next__(self) -> T:
        item = self._thread.run(self._next())
        if item is None:
            raise StopIteration
        return item[0]


def _coroutine(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A handler as the client wants it; a plain function runs in a thread of its own."""
    if iscoroutinefunction(handler):
        return handler

    @wraps(handler)
    async def call(payload: Any) -> Any:
        return await asyncio.to_thread(handler, payload)

    return call


def _abandon(thread: LoopThread, opening: AbstractAsyncContextManager[Any]) -> None:
    """Close a client that nobody has any more."""

    def close() -> None:
        with suppress(ConnectionClosed):  # so it is
            thread.run(_left(opening))
        thread.close()

    if thread.gone:
        return
    # It may be found out in any thread, and in that of the loop, too.
    threading.Thread(target=close, daemon=True).start()


async def _within(timeout: float | None, wait: Coroutine[Any, Any, T], text: str) -> T:
    async with deadline(timeout, text):
        return await wait


async def _made(make: Callable[[], T]) -> T:
    """What is made in the thread of the loop."""
    return make()


async def _left(block: AbstractAsyncContextManager[Any]) -> None:
    await block.__aexit__(None, None, None)
