"""One subscription of a client: a bounded queue of messages, read by ``async for``.

| state   | a message        | its reader is too slow | the connection ends | leaving it |
|---------|------------------|------------------------|---------------------|------------|
| NEW     |                  |                        | ENDED, with it      |            |
| OPEN    | is queued        | ENDED, with TooSlow    | ENDED, with it      | ENDED      |
| ENDED   | is dropped       |                        |                     |            |

What was queued before the end is read before the end is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from openapi.errors import (
    ConnectionClosed,
    InvalidData,
    OpenApiError,
    TooSlow,
    UnexpectedData,
)
from openapi.protocol import frames
from openapi.protocol.patterns import Pattern
from openapi.schema import Schema

__all__ = ["Message", "Subscription", "SubscriptionState"]

T = TypeVar("T")

_OVERHEAD: Final = 256
"""What a queued message costs besides its data, in bytes."""


class SubscriptionState(Enum):
    """See the table of the module."""

    NEW = "new"
    OPEN = "open"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """A published message."""

    channel: str
    event: str
    data: T


class Subscription(Generic[T]):
    """What :meth:`Client.subscribe` returns.

        async with client.subscribe("host", "c*") as messages:
            async for message in messages: ...

    Entering it subscribes, leaving it unsubscribes. The iteration ends with ConnectionClosed when
    the connection ends (but stops if this client closed it), with TooSlow when more than
    ``queue_bytes`` wait to be read, and with CallFailed when the server takes the subscription
    back. A message whose data does not fit ``type`` raises UnexpectedData; the next one can be
    read.
    """

    def __init__(
        self,
        channel: str,
        event: str,
        schema: Schema[T],
        *,
        queue_bytes: int,
        open: Callable[[Any], Awaitable[object]],
        close: Callable[[Any], Awaitable[object]],
    ) -> None:
        self.channel: Final = channel
        self.event: Final = event
        self.pattern: Final = Pattern(event)
        self.state = SubscriptionState.NEW
        self._schema = schema
        self._limit = queue_bytes
        self._size = 0
        self._queue: asyncio.Queue[frames.Message | None] = asyncio.Queue()
        self._error: OpenApiError | None = None
        self._open = open
        self._close = close

    @property
    def queued_bytes(self) -> int:
        """What waits to be read."""
        return self._size

    async def __aenter__(self) -> Self:
        if self.state is not SubscriptionState.NEW:
            raise RuntimeError("a subscription is entered once; call client.subscribe() again")
        await self._open(self)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(None)
        await self._close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message[T]:
        if self.state is SubscriptionState.NEW:
            raise RuntimeError("enter the subscription first: async with client.subscribe(…)")
        message = await self._queue.get()
        if message is None:
            self._queue.put_nowait(None)  # for the next to ask
            raise self._reason()
        self._size -= len(message.data) + _OVERHEAD
        return Message(message.channel, message.event, self._decode(message))

    def begin(self) -> bool:
        """The server agreed. Returns False if nobody wants it any more."""
        if self.state is SubscriptionState.NEW:
            self.state = SubscriptionState.OPEN
        return self.state is SubscriptionState.OPEN

    def put(self, message: frames.Message) -> bool:
        """Queue a message. Returns False if that was too much, and the end."""
        self._size += len(message.data) + _OVERHEAD
        if self._size <= self._limit:
            self._queue.put_nowait(message)
            return True
        self.end(
            TooSlow(
                f"the subscription to {self.channel!r} ({self.event}) ended: more than"
                f" {self._limit} bytes of messages waited; read faster, or give it a larger"
                " queue_bytes"
            )
        )
        return False

    def end(self, error: OpenApiError | None) -> None:
        """No message comes any more: what is queued is still read, then comes ``error``."""
        if self.state is not SubscriptionState.ENDED:
            self.state = SubscriptionState.ENDED
            self._error = error
            self._queue.put_nowait(None)

    def _reason(self) -> Exception:
        match self._error:
            case None:
                return StopAsyncIteration()
            case ConnectionClosed(code=code, reason=reason):
                return ConnectionClosed(code, reason)  # its own traceback for each reader
            case error:
                return error

    def _decode(self, message: frames.Message) -> T:
        try:
            return self._schema.decode(message.data)
        except InvalidData as exc:
            errors = {f"data.{path}" if path else "data": text for path, text in exc.errors.items()}
            raise UnexpectedData(errors) from exc
