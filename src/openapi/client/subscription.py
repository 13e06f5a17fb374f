"""One subscription of a client: a bounded queue of messages, read by ``async for``.

| state | the server    | a message     | ``$reset``    | its reader  | the connection  | leaving |
|       | agrees        |               |               | is too slow | ends            | it      |
|-------|---------------|---------------|---------------|-------------|-----------------|---------|
| NEW   | OPEN          |               |               |             |                 | ENDED   |
| OPEN  | OPEN, by the  | is queued, if | takes the     | ENDED, with | AWAY, or if it  | ENDED   |
|       | new           | it did not    | place of all  | TooSlow     | was the last,   |         |
|       | connection    | come before   | that is queued|             | ENDED with it   |         |
| AWAY  | OPEN          |               |               |             | ENDED, likewise | ENDED   |
| ENDED |               | is dropped    |               |             |                 |         |

What was queued before the end is read before the end is. What was recovered is queued first. Where
the server agrees anew and cannot recover, that is a ``$reset``.
"""

import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar

from openapi.client.joined import Joined
from openapi.client.presence import Member
from openapi.errors import InvalidData, OpenApiError, PositionLost, TooSlow, UnexpectedData
from openapi.protocol import frames
from openapi.protocol.message import Message
from openapi.protocol.patterns import Pattern
from openapi.protocol.stream import Position
from openapi.protocol.topics import SERVER_EVENT
from openapi.rpc.inbox import Inbox

if TYPE_CHECKING:
    from openapi.client.subscriptions import Subscriptions

__all__ = ["Subscription", "SubscriptionState"]

logger = logging.getLogger("openapi.client")

T = TypeVar("T")


class SubscriptionState(Enum):
    """See the table of the module."""

    NEW = "new"
    OPEN = "open"
    AWAY = "away"
    ENDED = "ended"


class Subscription(Generic[T]):
    """What :meth:`Client.subscribe` returns.

        async with client.subscribe("host", "c*") as messages:
            async for message in messages: ...

    Entering it subscribes, leaving it unsubscribes. When the connection is lost, the next one has
    it. On a channel that keeps history the reader notices nothing, or PositionLost: messages are
    lost, nobody can tell which, and those that waited to be read are forgotten, ``$join`` and
    ``$leave`` too. Load anew what they tell, and iterate again: the next one can be read. On a
    channel that keeps none, what was published meanwhile is lost; ``on_renewed`` of
    :meth:`Client.subscribe` tells when that was.

    The iteration ends with ConnectionClosed when the client is closed for good (but stops if the
    application closed it), with TooSlow when more than ``queue_bytes`` wait to be read, and with
    CallFailed when the server takes the subscription back, or does not renew it. A message whose
    data does not fit ``type`` raises UnexpectedData; the next one can be read.

    A program that was ended itself, and kept :attr:`position`, goes on from there:
    ``client.subscribe("host", "c*", recover=position)``. Where that is not :attr:`recovered`,
    messages are lost as with PositionLost.

    With ``presence``, ``$join`` and ``$leave`` come as messages too, whatever the pattern. Their
    data is a :class:`Member`, whatever the ``type``, so it is a ``Subscription[T | Member]``: tell
    them by ``isinstance(message.data, Member)``. When the server tells of others no more, as it is
    not allowed, that ends with CallFailed too; subscribe without.
    """

    def __init__(
        self,
        channel: str,
        event: str,
        *,
        recover: Position | None,
        presence: bool,
        decode: Callable[[Any], T],
        read_member: Callable[[Any], Member],
        queue_bytes: int,
        open: Callable[[Any], Awaitable[object]],
        close: Callable[[Any], Awaitable[object]],
        timeout: float | None = None,
        on_renewed: Callable[[Any], object] | None = None,
    ) -> None:
        self.channel: Final = channel
        self.event: Final = event
        self.pattern: Final = Pattern(event)
        self.recover: Final = recover
        self.presence: Final = presence
        self.timeout: Final = timeout
        self.state = SubscriptionState.NEW
        self.position: Position | None = recover
        """Right behind the last message that was read, on a channel that keeps history."""
        self.recovered: bool | None = None
        """Whether nothing was lost when the server agreed last: behind ``recover``, or while it
        was away. None as long as neither was asked for."""
        self.dropped = 0
        """How many messages the server left out for this client, as the channel's rule allows."""
        self._decode = decode
        self._read_member = read_member
        self._limit = queue_bytes
        self._inbox: Inbox[frames.Message | PositionLost] = Inbox(queue_bytes)
        self._open = open
        self._close = close
        self._on_renewed = on_renewed
        self.source: Subscriptions | None = None
        """Those of the connection that it has its messages from."""
        self.asked: Subscriptions | None = None
        """Those of the connection that was asked for it last; what others agree to is too late."""
        self.behind: Position | None = recover
        """Right behind the last message that came, where it is to go on."""
        self.overlong = 0
        """How many times the answer to it was too long to be read, one after another."""
        # What has no greater offset is not for this subscription, though it may be for another.
        self._begins = 0
        # While a connection that is left has some yet: that, and what has come on the new one.
        self._overlap: tuple[Subscriptions, Inbox[frames.Message]] | None = None

    @property
    def queued_bytes(self) -> int:
        """How many bytes of messages wait to be read."""
        return self._inbox.size

    async def __aenter__(self) -> Self:
        if self.state is not SubscriptionState.NEW:
            raise RuntimeError("a subscription is entered once; call client.subscribe() again")
        try:
            await self._open(self)
        except BaseException:
            # The server may have agreed, but nobody knows: what it said is said the next time.
            self.end(None)
            self.position, self.recovered = self.recover, None
            raise
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
        if isinstance(message, PositionLost):
            self.position = Position(message.offset, message.epoch)
            raise message
        if message.offset and self.position is not None:
            self.position = Position(message.offset, self.position.epoch)
        try:
            if message.event.startswith(SERVER_EVENT):
                data: Any = self._read_member(message.data)
            else:
                data = self._decode(message.data)
        except InvalidData as exc:
            raise UnexpectedData(exc.within("data")) from exc
        position = self.position if message.offset else None
        return Message(message.channel, message.event, data, position)

    def begin(self, joined: Joined, source: "Subscriptions") -> bool:
        """The server agreed. Returns False if nobody wants it any more, or it was too much."""
        if self.state is SubscriptionState.ENDED or source is not self.asked:
            return False
        renewed = self.state is not SubscriptionState.NEW
        self.overlong = 0
        before = self.source
        self.state, self.source = SubscriptionState.OPEN, source
        if before is not None and before is not source:
            self._catch_up()
            if joined.position is None:
                self._overlap = before, Inbox(self._limit)
            before.release(self, overlapping=joined.position is None)
        asked, came = self.behind, 0 if self.behind is None else self.behind.offset
        # Of another stream: the connection that it has until now was told of a new one meanwhile.
        recovered = asked is not None and _nothing_lost(joined, asked, renewed=renewed)
        self.behind = joined.position
        self._begins = 0 if joined.position is None else joined.position.offset
        if asked is not None or renewed:
            self.recovered = recovered
        if recovered:
            # Of another connection, which it has until now, some may have come already.
            all(self.put(each) for each in joined.messages if each.offset > came)
            self.pass_over(came)
        elif renewed and asked is not None and joined.position is not None:
            self.reset(joined.position)
        else:
            self.position = joined.position
        if renewed and self.state is SubscriptionState.OPEN:
            self._tell()
        return self.state is SubscriptionState.OPEN

    def away(self) -> None:
        """The connection has ended, and the next one is to have it."""
        if self.state is SubscriptionState.OPEN:
            self.state, self.source = SubscriptionState.AWAY, None

    def awaits(self, message: frames.Message) -> bool:
        """Whether a message is for it, and its answer was not behind that."""
        is_behind = message.offset > self._begins or not message.offset
        return is_behind and self.pattern.matches(message.event)

    def put(self, message: frames.Message, source: "Subscriptions | None" = None) -> bool:
        """Queue a message. Returns False if that was too much, and the end.

        What comes on its connection waits until that before, which is left, has brought the rest.
        """
        if self._overlap is not None and source is self.source:
            size = len(message.data)
            return self._overlap[1].put(message, size) or self._too_slow()
        self.pass_over(message.offset)
        return self._put(message, len(message.data))

    def caught_up(self, before: "Subscriptions") -> None:
        """A connection that is left has brought all."""
        if self._overlap is not None and self._overlap[0] is before:
            self._catch_up()

    def _catch_up(self) -> None:
        overlap, self._overlap = self._overlap, None
        if overlap is not None:
            _, ahead = overlap
            while ahead.size and self.state is not SubscriptionState.ENDED:
                self.put(ahead.take())

    def reset(self, position: Position) -> bool:
        """Messages are lost: it goes on from a position.

        Returns False if not even that could be queued, and the end.
        """
        self._begins, self.behind = position.offset, position
        while self._inbox.size:  # its reader is to load anew what these would change
            self._inbox.take()
        return self._put(PositionLost(self.channel, position.offset, position.epoch), 0)

    def pass_over(self, offset: int) -> None:
        """All up to this offset have come, be it that they are not for this one."""
        if self.behind is not None and offset > self.behind.offset:
            self.behind = Position(offset, self.behind.epoch)
            self._begins = max(self._begins, offset)

    def _tell(self) -> None:
        if self._on_renewed is not None:
            try:
                self._on_renewed(self)
            except Exception:  # a function of the application, and none of the client's faults
                logger.exception("on_renewed of the subscription to %r failed", self.channel)

    def _put(self, message: frames.Message | PositionLost, size: int) -> bool:
        return self._inbox.put(message, size) or self._too_slow()

    def _too_slow(self) -> Literal[False]:
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


def _nothing_lost(joined: Joined, behind: Position, *, renewed: bool) -> bool:
    at = joined.position
    if at is None or at.epoch != behind.epoch:
        return False
    # Who may not read the history of a channel is recovered nothing, also where there was nothing.
    return joined.recovered or (renewed and at.offset <= behind.offset)
