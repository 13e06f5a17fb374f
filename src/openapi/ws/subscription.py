"""A subscription of the server's own: its code reads what is published, as a client would.

| state    | what comes next                                                                     |
|----------|-------------------------------------------------------------------------------------|
| NEW      | it is entered: ENTERING                                                             |
| ENTERING | it has begun: OPEN. It is refused, or who enters is cancelled: ENDED                |
| OPEN     | a message is queued; past the bound the channel's rule says: some are dropped, the  |
|          | newest are read from history later, or ENDED with TooSlow. It is left, or the       |
|          | server ends: ENDED                                                                  |
| ENDED    | what is queued is still read; a message is dropped                                  |
"""

import asyncio
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar

from openapi.errors import (
    CannotSubscribe,
    InvalidData,
    PositionLost,
    RpcError,
    TooSlow,
    UnexpectedData,
)
from openapi.protocol.message import Message
from openapi.protocol.stream import Position
from openapi.schema import Schema
from openapi.ws.backlog import OVERHEAD, Backlog
from openapi.ws.subscriber import Subscriber

if TYPE_CHECKING:
    from openapi.ws.channels import Channels
    from openapi.ws.delivery import Delivery
    from openapi.ws.joined import Joined

__all__ = ["Subscription", "SubscriptionState"]

T = TypeVar("T")


class SubscriptionState(Enum):
    """See the table of the module."""

    NEW = "new"
    ENTERING = "entering"
    OPEN = "open"
    ENDED = "ended"


class Subscription(Subscriber, Generic[T]):
    """What :meth:`SocketsManager.subscription` returns. It is entered once.

        async with manager.subscription("orders:1", recover=position) as messages:
            async for message in messages: ...

    Entering it subscribes, leaving it unsubscribes; the iteration stops when the server ends. When
    more than ``queue_bytes`` wait to be read, the channel's rule says what happens: by default the
    iteration ends with TooSlow. It raises PositionLost where history could not bridge a gap, and
    UnexpectedData for data that does not fit ``type``; after both, the next one can be read.
    """

    __slots__ = (
        "__weakref__",
        "_backlog",
        "_behind",
        "_changed",
        "_channels",
        "_error",
        "_limit",
        "_lost",
        "_opened",
        "_read",
        "_recover",
        "channel",
        "event",
        "position",
        "recovered",
        "state",
    )

    overhead: ClassVar[int] = OVERHEAD

    def __init__(
        self,
        channel: str,
        event: str,
        *,
        channels: "Channels",
        recover: Position | None,
        type: object,
        queue_bytes: int,
        opened: set["Subscription[Any]"],
    ) -> None:
        self.channel: Final = channel
        self.event: Final = event
        self.state = SubscriptionState.NEW
        self.position: Position | None = recover
        """Right behind the last message that was read, on a channel that keeps history."""
        self.recovered: bool | None = None
        """Whether everything behind ``recover`` comes; None where that was not asked for."""
        self._channels = channels
        self._recover = recover
        self._read = Schema.of(type)
        self._limit = queue_bytes
        self._opened = opened
        self._backlog = Backlog(channels.sockets.rules.of(channel).slow)
        self._behind: Position | None = None
        self._lost: Position | None = None
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        if self.state is not SubscriptionState.NEW:
            raise RuntimeError("a subscription is entered once; call manager.subscription() again")
        self.state = SubscriptionState.ENTERING
        try:
            await self._channels.subscribe(
                self.channel, self.event, self, recover=self._recover, joined=self._begin
            )
        except BaseException as exc:
            self.end(None)
            self._channels.leave(self)
            if isinstance(exc, InvalidData):
                raise CannotSubscribe(f"the channel {self.channel!r} is refused: {exc}") from None
            if isinstance(exc, RpcError):
                raise CannotSubscribe(f"the channel {self.channel!r}: {exc.message}") from exc
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(None)
        self._channels.leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message[T]:
        if self.state in (SubscriptionState.NEW, SubscriptionState.ENTERING):
            raise RuntimeError("enter the subscription first: async with manager.subscription(…)")
        while self._lost is None and not self._backlog:
            if self.state is SubscriptionState.ENDED:
                raise self._error or StopAsyncIteration
            if self._behind is not None:
                await self._catch_up(self._behind)
            else:
                self._changed.clear()
                await self._changed.wait()
        if self._lost is not None:
            self.position, self._lost = self._lost, None
            lost = self.position
            raise PositionLost(self.channel, lost.offset, lost.epoch)
        delivery = self._backlog.take()
        if self.position is not None and delivery.offset:
            self.position = Position(delivery.offset, self.position.epoch)
        try:
            data = self._read.convert(delivery.data)
        except InvalidData as exc:
            raise UnexpectedData(exc.within("data")) from exc
        return Message(
            delivery.channel, delivery.event, data, self.position if delivery.offset else None
        )

    @property
    def queued_bytes(self) -> int:
        """What waits to be read."""
        return self._backlog.size

    @property
    def dropped(self) -> int:
        """How many messages it missed, as the channel's rule allows."""
        return self._backlog.dropped

    @property
    def gone(self) -> bool:
        """See :attr:`Subscriber.gone`."""
        return self.state is SubscriptionState.ENDED

    @property
    def most(self) -> int:
        """See :attr:`Subscriber.most`: there must be room for what comes live, too."""
        return self._limit // 2

    def deliver(self, delivery: "Delivery") -> None:
        """See :meth:`Subscriber.deliver`."""
        if self.state is SubscriptionState.ENDED:
            return
        if self._behind is not None and delivery.offset:
            return  # it will be read
        self._put(delivery)
        if self._backlog.size > self._limit and self._behind is None:
            self._overflow(delivery)
        self._changed.set()

    def reset(self, channel: str, position: Position) -> None:
        """See :meth:`Subscriber.reset`."""
        self._backlog.clear()  # its reader is to load anew what these would change
        self._behind = None
        self._lost = position  # its own moves when its reader is told
        self._changed.set()

    def behind(self, channel: str) -> int | None:
        """See :meth:`Subscriber.behind`."""
        return None if self._behind is None else self._behind.offset

    def end(self, error: Exception | None) -> None:
        """No message comes any more: what is queued is still read, then comes ``error``."""
        if self.state is not SubscriptionState.ENDED:
            self.state = SubscriptionState.ENDED
            self._error = error
            self._behind = None
            self._opened.discard(self)
            self._changed.set()

    def _begin(self, joined: "Joined") -> None:
        self.state = SubscriptionState.OPEN
        self._opened.add(self)
        self.recovered = joined.recovered
        if not joined.recovered:
            self.position = joined.position
        for delivery in joined.messages:
            self._put(delivery)

    def _put(self, delivery: "Delivery") -> None:
        self._backlog.put(delivery, len(delivery.written(packed=False)))

    def _overflow(self, newest: "Delivery") -> None:
        slow = newest.slow
        if slow == "catch_up" and newest.offset and self.position is not None:
            self._backlog.drop_newest()
            self._behind = Position(newest.offset - 1, (self._lost or self.position).epoch)
        elif slow == "disconnect" or slow == "catch_up":
            # Not now: whoever publishes is in the middle of going through the subscribers.
            asyncio.get_running_loop().call_soon(self._channels.leave, self)
            self.end(
                TooSlow(
                    f"the subscription to {self.channel!r} ({self.event}) ended: more than"
                    f" {self._limit} bytes of messages waited; read faster, or give it a larger"
                    " queue_bytes"
                )
            )
        else:
            while self._backlog.size > self._limit:
                self._backlog.drop_oldest()

    async def _catch_up(self, behind: Position) -> None:
        found = await self._channels.after(self, self.channel, behind)
        if self._behind is not behind:
            return  # it was left, or reset, meanwhile
        top = self._channels.feeds.top(self.channel)
        assert top is not None
        if found is None:
            self.reset(self.channel, top)
            return
        messages, end = found
        for delivery in messages:
            self._put(delivery)
        self._behind = None if end >= top.offset else Position(end, behind.epoch)
