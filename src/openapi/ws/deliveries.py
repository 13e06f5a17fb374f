"""The published messages of one connection, on their way into its outbox.

A message goes straight there, unless

* whoever subscribed still waits for the answer: then it is held, see ``hold.py``;
* the connection reads slowly, and the channel's rule does not close it for that: see ``lag.py``.

What was missed does not come this way: it is in the answer to whoever subscribed. Such answers are
long, so one waits until the call before is over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import lru_cache
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

from openapi.errors import Unserializable
from openapi.protocol.incoming import Incoming
from openapi.protocol.native import JSON
from openapi.protocol.patterns import Pattern
from openapi.protocol.stream import Position
from openapi.protocol.topics import SERVER_EVENT
from openapi.schema import Schema, encode_json
from openapi.ws.broker import Member
from openapi.ws.delivery import Delivery
from openapi.ws.hold import Hold
from openapi.ws.lag import Lagging
from openapi.ws.outbox import Outbox
from openapi.ws.socket import Websocket
from openapi.ws.subscriber import Subscriber
from openapi.ws.variant import Variant

if TYPE_CHECKING:
    from openapi.ws.channels import Channels

__all__ = ["Deliveries", "Owner"]

logger = logging.getLogger(__name__)

_ANYTHING: Final = Schema[Any](Any)

pattern_of: Final = lru_cache(maxsize=1024)(Pattern)


class Owner(Protocol):
    """The connection, as its deliveries see it. One object, as its methods would be four."""

    @property
    def closing(self) -> bool:
        """Whether it takes nothing more."""

    def answering(self) -> Incoming | None:
        """The call that the current task answers on it."""

    def overflow(self) -> None:
        """What is held and what is queued are more than the limit."""

    def cannot_encode(self) -> None:
        """A message has no form in its dialect."""


class Deliveries(Subscriber):
    """One connection as a subscriber. ``limit`` is that of its outbox, in bytes."""

    __slots__ = (
        "_begun",
        "_channels",
        "_endpoint",
        "_hold",
        "_lagging",
        "_limit",
        "_long",
        "_name",
        "_outbox",
        "_owner",
        "rights",
        "variant",
    )

    limited: ClassVar[bool] = True

    def __init__(
        self,
        endpoint: Websocket,
        outbox: Outbox,
        variant: Variant,
        *,
        channels: "Channels",
        limit: int,
        owner: Owner,
    ) -> None:
        self.variant = variant
        self.rights = 0
        """How often it was asked anew what it may: what was allowed before may not be any more."""
        self._endpoint: Websocket | None = endpoint
        self._outbox = outbox
        self._channels = channels
        self._limit = limit
        self._owner = owner
        self._hold: Hold | None = None
        self._begun: dict[Incoming, list[Callable[[], object]]] | None = None
        self._lagging: Lagging | None = None
        # Calls whose answers have what was missed, and what is set when there are none any more.
        self._long: tuple[set[Incoming], asyncio.Event] | None = None
        self._name = ""

    @property
    def gone(self) -> bool:
        """See :attr:`Subscriber.gone`."""
        return self._endpoint is None or self._owner.closing

    @property
    def name(self) -> str:
        """See :attr:`Subscriber.name`. It is no secret, as the socket's id is."""
        if not self._name:
            self._name = token_urlsafe(12)
        return self._name

    def member(self, channel: str) -> Member:
        """See :meth:`Subscriber.member`."""
        endpoint = self._endpoint
        assert endpoint is not None  # it is about to subscribe
        user = endpoint.user
        # As it is now: the application may go on changing it.
        info = _ANYTHING.decode(encode_json(endpoint.presence_info(channel)))
        if user is None:
            return Member(self.name, info=info)
        fits = isinstance(user, str) or (isinstance(user, int) and -(2**63) <= user < 2**63)
        return Member(str(user), cast("str | int", user) if fits else str(user), info)

    @property
    def size(self) -> int:
        """Bytes that wait, and are not in the outbox yet."""
        return self._held_bytes + (self._lagging.size if self._lagging is not None else 0)

    def deliver(self, delivery: Delivery) -> None:
        """Send a message when it is its turn."""
        if self._lagging is None and delivery.slow == "disconnect":
            # Nearly all of them, and for each it counts what is looked up.
            frame = delivery.frames.get(self.variant)
            if frame is not None and self._hold is None:
                self._outbox.send(frame)
            else:
                self.put(delivery)
        elif not self._lags(delivery):
            self.put(delivery)
        else:
            self._lag().put(delivery)

    def tell(self, channel: str, event: str, data: Any) -> None:
        """See :meth:`Subscriber.tell`. It comes behind what is queued, and before what lags."""
        self.put(Delivery(channel, event, data))

    def flush(self, channel: str) -> None:
        """See :meth:`Subscriber.flush`. It is a quarter of the outbox at most."""
        if self._lagging is not None:
            self._lagging.flush(channel)

    def hold(self, channel: str) -> None:
        """See :meth:`Subscriber.hold`."""
        call = self._owner.answering()
        if call is not None:
            if self._hold is None:
                self._hold = Hold()
            self._hold.begin(channel, call.reply or call)

    def begun(self, take_back: Callable[[], object]) -> None:
        """See :meth:`Subscriber.begun`."""
        call = self._owner.answering()
        if call is not None:
            if self._begun is None:
                self._begun = {}
            self._begun.setdefault(call, []).append(take_back)

    def has_rights(self, rights: int) -> bool:
        """Whether nobody was asked anew since :attr:`rights` was that."""
        return self.rights == rights

    def failed(self, call: Incoming) -> None:
        """A call is about to be answered with an error: its client has not subscribed."""
        for take_back in self._forget(call):
            take_back()
        if self._hold is not None:
            for channel in self._hold.of(call.reply or call):
                self.sift(channel)

    def done(self, call: Incoming) -> None:
        """A call is over, whether there was a way to answer it or not."""
        if self._begun is not None:
            self._forget(call)
        if self._long is not None:
            calls, short = self._long
            calls.discard(call)
            if not calls:
                self._long = None
                short.set()
        if self._hold is not None and (call.reply is None or call.reply.sent):
            self.release(call.reply or call)

    def release(self, answered: object) -> None:
        """A call is answered."""
        hold = self._hold
        if hold is not None:
            for frame in hold.end(answered):
                self._outbox.send(frame)
            if not hold:
                self._hold = None
            if self._lagging is not None:
                self._lagging.released()

    def parted(self, channel: str, patterns: Collection[str]) -> None:
        """See :meth:`Subscriber.parted`."""
        if self._lagging is not None:
            if patterns:
                self._lagging.keep(channel, self._wanted(channel))
            else:
                self._lagging.end(channel)

    def sift(self, channel: str) -> None:
        """See :meth:`Subscriber.sift`."""
        if self._hold is not None:
            self._hold.sift(channel, self._wanted(channel))

    def reset(self, channel: str, position: Position) -> None:
        """See :meth:`Subscriber.reset`. It is live from there."""
        if self._lagging is not None:
            self._lagging.end(channel)
        self.tell(channel, "$reset", {"offset": position.offset, "epoch": position.epoch})

    def behind(self, channel: str) -> int | None:
        """See :meth:`Subscriber.behind`."""
        return None if self._lagging is None else self._lagging.behind(channel)

    def drop(self) -> None:
        """Forget what waits, and what will: nothing may overtake the answers all the same."""
        if self._hold is not None:
            self._hold.drop()
        self.stop()

    def stop(self) -> None:
        """The connection closes: what waits for room is not sent any more."""
        if self._lagging is not None:
            self._lagging.clear()

    def end(self) -> None:
        """The connection is over. Reference counts must free all of it."""
        self.drop()
        self._lagging = self._endpoint = self._begun = None
        if self._long is not None:
            self._long[1].set()
            self._long = None
        self._owner = _NOBODY
        self.variant = Variant.of(JSON)

    @property
    def most(self) -> int:
        """See :attr:`Subscriber.most`: they have to fit into the answer."""
        return self._limit // 2

    def recovers(self) -> None:
        """See :meth:`Subscriber.recovers`. Such answers go one behind the other."""
        call = self._owner.answering()
        if call is not None:
            if self._long is None:
                self._long = set(), asyncio.Event()
            self._long[0].add(call)

    @property
    def full(self) -> bool:
        """See :attr:`Subscriber.full`."""
        return self._outbox.full or self._is_long

    def room(self) -> Awaitable[object] | None:
        """See :meth:`Subscriber.room`."""
        if self._long is not None and self._is_long:
            return self._long[1].wait()
        return self._outbox.room()

    @property
    def _is_long(self) -> bool:
        return self._long is not None and self._owner.answering() not in self._long[0]

    # What lagging asks

    def writable(self) -> Awaitable[object] | None:
        """See :class:`openapi.ws.lag.Reader`."""
        return self._outbox.room()

    @property
    def _share(self) -> int:
        """Of the outbox, what messages may have that wait for room; and what may wait, in bytes."""
        return self._limit // 4

    @property
    def crowded(self) -> bool:
        """See :class:`openapi.ws.lag.Reader`: a quarter of the outbox is for such messages."""
        return self._outbox.size > self._share

    def held(self, channel: str) -> bool:
        """See :class:`openapi.ws.lag.Reader`."""
        return self._hold is not None and self._hold.holds(channel)

    def put(self, delivery: Delivery) -> bool:
        """Queue a message behind the answer of the call that subscribed to it."""
        try:
            frame = delivery.frame(self.variant)
        except Unserializable:
            # Its own encode_message failed: the others shall not miss the message for that.
            logger.exception("a message could not be encoded for socket %s", self._endpoint)
            self._owner.cannot_encode()
            return False
        hold = self._hold
        if hold is None or not hold.keep(delivery.channel, frame, delivery.event):
            self._outbox.send(frame)
        elif self._outbox.size + hold.size > self._limit:
            self._owner.overflow()
        return True

    def size_of(self, delivery: Delivery) -> int:
        """See :class:`openapi.ws.lag.Reader`."""
        try:
            return len(delivery.frame(self.variant))
        except Unserializable:
            return 0  # it is said when it is to be sent

    def top(self, channel: str) -> Position:
        """See :class:`openapi.ws.lag.Behind`."""
        top = self._channels.feeds.top(channel)
        assert top is not None  # it is subscribed to
        return top

    async def after(self, channel: str, since: Position) -> tuple[Sequence[Delivery], int] | None:
        """See :class:`openapi.ws.lag.Behind`."""
        return await self._channels.after(self, channel, since)

    @property
    def _held_bytes(self) -> int:
        return 0 if self._hold is None else self._hold.size

    def _lags(self, delivery: Delivery) -> bool:
        if delivery.event.startswith(SERVER_EVENT):
            return False
        if self._lagging is not None and delivery.channel in self._lagging:
            return True
        if delivery.slow == "disconnect":
            return False
        if self._outbox.size + self._held_bytes <= self._share:
            return False
        return delivery.slow != "catch_up" or delivery.offset > 0

    def _wanted(self, channel: str) -> Callable[[str], bool]:
        """Whether an event still fits what is subscribed to."""
        return _fits(self._channels.index.patterns(self, channel))

    def _forget(self, call: Incoming) -> Sequence[Callable[[], object]]:
        if self._begun is None:
            return ()
        begun = self._begun.pop(call, ())
        if not self._begun:
            self._begun = None
        return begun

    def _lag(self) -> Lagging:
        if self._lagging is None:
            self._lagging = Lagging(
                self, self, limit=self._share, spawn=self._channels.sockets.spawn
            )
        return self._lagging


def _fits(texts: Collection[str]) -> Callable[[str], bool]:
    """Whether an event fits a pattern, or is the server's own."""
    patterns = [pattern_of(text) for text in texts]
    return lambda event: (
        event.startswith(SERVER_EVENT) or any(each.matches(event) for each in patterns)
    )


class _Nobody:
    """The owner of deliveries that are over: nobody is left to be told."""

    closing = True

    def answering(self) -> None:
        pass

    def overflow(self) -> None:
        pass

    def cannot_encode(self) -> None:
        pass


_NOBODY: Final = _Nobody()
