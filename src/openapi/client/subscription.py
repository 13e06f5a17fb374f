"""One subscription of a client: a bounded queue of messages, read by ``async for``.

| state   | a message        | its reader is too slow | the connection ends | leaving it |
|---------|------------------|------------------------|---------------------|------------|
| NEW     |                  |                        | ENDED, with it      |            |
| OPEN    | is queued        | ENDED, with TooSlow    | ENDED, with it      | ENDED      |
| ENDED   | is dropped       |                        |                     |            |

What was queued before the end is read before the end is.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from openapi.errors import InvalidData, OpenApiError, TooSlow, UnexpectedData
from openapi.protocol import frames
from openapi.protocol.patterns import Pattern
from openapi.rpc.inbox import Inbox

__all__ = ["Message", "Subscription", "SubscriptionState"]

T = TypeVar("T")


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
        *,
        decode: Callable[[Any], T],
        queue_bytes: int,
        open: Callable[[Any], Awaitable[object]],
        close: Callable[[Any], Awaitable[object]],
    ) -> None:
        self.channel: Final = channel
        self.event: Final = event
        self.pattern: Final = Pattern(event)
        self.state = SubscriptionState.NEW
        self._decode = decode
        self._limit = queue_bytes
        self._inbox: Inbox[frames.Message] = Inbox(queue_bytes)
        self._open = open
        self._close = close

    @property
    def queued_bytes(self) -> int:
        """What waits to be read."""
        return self._inbox.size

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
        while not self._inbox.ready:
            await self._inbox.wait()
        message = self._inbox.take()
        try:
            data = self._decode(message.data)
        except InvalidData as exc:
            errors = {f"data.{path}" if path else "data": text for path, text in exc.errors.items()}
            raise UnexpectedData(errors) from exc
        return Message(message.channel, message.event, data)

    def begin(self) -> bool:
        """The server agreed. Returns False if nobody wants it any more."""
        if self.state is SubscriptionState.NEW:
            self.state = SubscriptionState.OPEN
        return self.state is SubscriptionState.OPEN

    def put(self, message: frames.Message) -> bool:
        """Queue a message. Returns False if that was too much, and the end."""
        if self._inbox.put(message, len(message.data)):
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
        self.state = SubscriptionState.ENDED
        self._inbox.end(error)
