"""Who, in this process, gets which message: sockets and callbacks, by channel and event pattern."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from openapi.errors import (
    BrokerUnavailable,
    CannotSubscribe,
    RpcError,
    Unserializable,
)
from openapi.protocol.stream import Position
from openapi.protocol.topics import SERVER_EVENT, TopicIndex
from openapi.ws.broker import Broker, KeepsPresence
from openapi.ws.callback import Callback, CallbackType
from openapi.ws.channel import Channel
from openapi.ws.deliveries import pattern_of
from openapi.ws.delivery import Delivery
from openapi.ws.fanout import JOIN, LEAVE, Fanout
from openapi.ws.feeds import Feeds
from openapi.ws.gates import Gates
from openapi.ws.joined import Joined
from openapi.ws.occupancy import Occupancy
from openapi.ws.presence import Presence
from openapi.ws.refusals import TAKEN_BACK, invalid_channel, not_allowed, too_many
from openapi.ws.subscriber import Subscriber
from openapi.ws.watchers import Watchers

if TYPE_CHECKING:
    from openapi.ws.connection import Connection
    from openapi.ws.manager import SocketsManager

__all__ = ["Allowed", "Channels"]

logger = logging.getLogger(__name__)

Allowed: TypeAlias = Callable[[str, str, str], Awaitable[bool]]
"""``await allowed(action, channel, event)``"""

Whom: TypeAlias = "CallbackType | Subscriber | Connection"
"""Who is subscribed: an async callback, a connection, or whatever else takes messages."""

#: Channels that all have left, of which the broker could not be told yet who was present. While
#: there are more, nobody subscribes where presence is promised.
_UNTOLD: Final = 1000


class Channels:
    """The channels that somebody in this process is subscribed to.

    ``await channels(channel, {"event": …, "data": …})`` delivers a message to each of them once.
    """

    def __init__(
        self, sockets: "SocketsManager", broker: Callable[[], Awaitable[Broker | None]]
    ) -> None:
        self.sockets = sockets
        self.index: TopicIndex[Subscriber] = TopicIndex()
        self._watchers = Watchers()
        self._fanout = Fanout(self.index, self._watchers)
        self.gates = Gates()
        self.feeds = Feeds(
            limits=sockets.limits,
            broker=broker,
            hand_on=self._fanout.send_all,
            spawn=sockets.spawn,
        )
        self.presence = Presence(
            limits=sockets.limits, broker=self._present, publish=self._publish, spawn=sockets.spawn
        )
        self._broker = broker
        self._closed = False
        self.occupancy = Occupancy(sockets, self.gates, self.feeds, self.index)

    @property
    def registered(self) -> tuple[str, ...]:
        """The names of the channels."""
        return tuple(self.index)

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, channel: str) -> bool:
        return channel in self.index

    def __iter__(self) -> Iterator[Channel]:
        return (Channel(name, self) for name in self.registered)

    def get(self, channel: str) -> Channel | None:
        """A channel that somebody is subscribed to."""
        return Channel(channel, self) if channel in self.index else None

    def info(self) -> dict[str, dict[str, int]]:
        """``{channel: {pattern: subscribers}}``"""
        return self.index.info()

    def clear(self) -> None:
        """Forget every subscription, without telling anybody."""
        self.index.clear()
        self.feeds.clear()
        self._watchers.clear()
        self.occupancy.clear()

    async def aclose(self) -> None:
        """The server ends: nothing is read or told any more, and nobody can subscribe."""
        self._closed = True
        self.feeds.clear()
        await self.presence.aclose()

    async def __call__(self, channel: str, message: Mapping[str, Any]) -> None:
        """Deliver ``{"event", "data"}``, as whatever carries messages does.

        Data that has no JSON form is logged and dropped: a carrier has others to deliver.
        """
        try:
            await self.deliver(channel, message.get("event") or "", message.get("data"))
        except Unserializable:
            logger.exception("a message on channel %r has no JSON form, and is dropped", channel)

    async def deliver(
        self, channel: str, event: str, data: object, position: Position | None = None
    ) -> None:
        """Deliver one message; see :class:`~openapi.ws.broker.Deliver`.

        Raises Unserializable for data that has no JSON form.
        """
        rule = self.sockets.rules.of(channel)
        if position is not None:
            await self.feeds.receive(channel, event, data, position, rule)
            return
        if rule.history and not event.startswith(SERVER_EVENT):
            self.feeds.unnumbered(channel, rule)
        if waits := self._fanout.send(Delivery(channel, event, data, slow=rule.slow)):
            await asyncio.gather(*waits)

    async def register(self, channel: str, event: str | None, callback: "Whom") -> Channel:
        """Subscribe a socket or an async callback to the events that fit a pattern (None: ``*``).

        Raises InvalidData where the manager refuses the channel; RpcError past a limit, and where
        the broker cannot say what the rule promises.
        """
        await self.subscribe(channel, event, callback)
        return Channel(channel, self)

    async def subscribe(
        self,
        channel: str,
        event: str | None,
        callback: "Whom",
        *,
        recover: Position | None = None,
        watch: bool = False,
        joined: Callable[[Joined], object] | None = None,
        current: Callable[[], bool] | None = None,
        tentative: bool = False,
    ) -> Joined | None:
        """Do as :meth:`register`, and go on from a position.

        Raises what that does, and RuntimeError in a hook of the channel. A subscriber that is gone
        gets an empty :class:`Joined`: nothing began.

        ``watch`` is whether ``$join`` and ``$leave`` are wanted. ``joined`` is called when the
        subscription begins, before any message of it. ``current`` is asked right before that:
        where it says no, nothing begins and None is returned. ``tentative`` is whether the
        subscription ends where the call in which it was made is answered with an error.
        """
        subscriber = self._subscriber(callback)
        rule = self.sockets.rules.of(channel)
        if rule.refused:
            raise invalid_channel()
        event = event or "*"
        self.occupancy.check(channel)
        self._check_limits(subscriber, channel, event)
        while not subscriber.gone:
            take_backs: list[Callable[[], object]] = []
            # What was missed may be much, and there is one outbox for all of its channels.
            while recover is not None and (room := subscriber.room()) is not None:
                await room
            await self.occupancy.settle()
            if rule.presence and len(self.presence) > len(self.index) + _UNTOLD:
                raise BrokerUnavailable("Who is on this channel cannot be told, try again later")
            async with self.gates.turn(channel):
                await self.occupancy.open(channel, rule)
                try:
                    if rule.history and recover is not None:
                        await self.feeds.prepare(channel, recover)
                    # Others may have gone through other gates meanwhile.
                    self._check_limits(subscriber, channel, event)
                    new = event not in self.index.patterns(subscriber, channel)
                    if self._closed:
                        raise invalid_channel()
                    if current is not None and not current():
                        return None
                    begun = self._join(subscriber, channel, event, recover)
                    if begun is not None:
                        take_backs = self._take_backs(subscriber, channel, event, new, watch)
                        for take_back in take_backs if tentative else ():
                            subscriber.begun(take_back)
                        if joined is not None:
                            joined(begun)
                finally:
                    if channel not in self.index:
                        self.occupancy.vacate_soon(channel)
            if begun is not None:
                await self._feed(channel, event, take_backs)
                return begun
        return Joined()

    async def unregister(self, channel: str, event: str | None, callback: "Whom") -> Channel | None:
        """Take back a subscription; with no ``event``, all that it has on the channel.

        Raises InvalidData where it has none there.
        """
        vacating = self.unsubscribe(channel, event, callback)
        if vacating is not None:
            # Who asks may be cancelled; the broker is told all the same.
            await asyncio.shield(vacating)
        return self.get(channel)

    def unsubscribe(
        self, channel: str, event: str | None, callback: "Whom"
    ) -> "asyncio.Task[None] | None":
        """Do as :meth:`unregister`, at once. What is returned tells the broker, if needed."""
        subscriber = self._subscriber(callback)
        if not self.index.patterns(subscriber, channel):
            raise invalid_channel()
        vacating = self._part(subscriber, channel, event)
        subscriber.sift(channel)
        return vacating

    def revoke(
        self, subscriber: Subscriber, channel: str, events: Sequence[str], refusal: RpcError
    ) -> None:
        """Take patterns back from one who did not ask for that, and is told so."""
        for event in events:
            self._part(subscriber, channel, event)
        self._tell_lost(subscriber, channel, events, refusal)

    def _tell_lost(
        self, subscriber: Subscriber, channel: str, events: Sequence[str], refusal: RpcError
    ) -> None:
        data = {"code": refusal.code, "message": refusal.message, "events": list(events)}
        subscriber.tell(channel, "$unsubscribed", data)

    async def invite(
        self, subscriber: Subscriber, channel: str, event: str, *, current: Callable[[], bool]
    ) -> bool:
        """Subscribe one who did not ask for that, and is told so.

        ``current`` is that of :meth:`subscribe`. Returns whether it is subscribed.
        """

        def tell(joined: Joined) -> None:
            told.append(joined)
            data: dict[str, Any] = {"events": [event]}
            if (position := joined.position) is not None:
                data |= {"offset": position.offset, "epoch": position.epoch}
            subscriber.tell(channel, "$subscribed", data)

        told: list[Joined] = []
        try:
            await self.subscribe(channel, event, subscriber, joined=tell, current=current)
        except BaseException:
            if told and event not in self.index.patterns(subscriber, channel):
                self._tell_lost(subscriber, channel, (event,), TAKEN_BACK)
            raise
        return bool(told)

    def expel(self, subscriber: Subscriber, channel: str) -> bool:
        """Take a channel from one who did not ask for that, and is told so, if it was there."""
        patterns = tuple(self.index.patterns(subscriber, channel))
        if patterns:
            self.revoke(subscriber, channel, patterns, TAKEN_BACK)
        return bool(patterns)

    async def reauthorize(self, subscriber: Subscriber, allowed: Allowed) -> list[str]:
        """Ask anew for each subscription. Returns the channels on which some are lost."""
        lost = []
        for channel in self.index.channels(subscriber):
            refused = False
            for event in tuple(self.index.patterns(subscriber, channel)):
                generation = self.index.generation(subscriber, channel, event)
                if generation is None:
                    continue  # taken back while others were asked for
                if not await allowed("subscribe", channel, event):
                    # A subscription that was made meanwhile was asked for by itself.
                    if self.index.generation(subscriber, channel, event) == generation:
                        self.revoke(subscriber, channel, (event,), not_allowed("subscribe"))
                        refused = True
            watch = self._watchers.get(channel, subscriber)
            if watch is not None and not await allowed("presence", channel, ""):
                if self._watchers.get(channel, subscriber) is watch:
                    self._watchers.remove(channel, subscriber)
                    self._tell_lost(subscriber, channel, (JOIN, LEAVE), not_allowed("presence"))
                    refused = True
            if refused:
                lost.append(channel)
        return lost

    def get_subscribed(self, callback: "Whom") -> dict[str, list[str]]:
        """What a socket or a callback is subscribed to: ``{channel: [pattern, …]}``"""
        return self.index.subscriptions(self._subscriber(callback))

    def renamed(self, callback: "Whom") -> None:
        """Its user is another one: who is present on its channels, too."""
        subscriber = self._subscriber(callback)
        for channel in self.index.channels(subscriber):
            if self.sockets.rules.of(channel).presence and subscriber.name:
                self.presence.enter(channel, subscriber.name, subscriber.member(channel))

    def leave(self, callback: "Whom") -> None:
        """Take back every subscription of a socket or a callback, at once.

        Who was present stays so for ``limits.presence_grace``, as they may come back.
        """
        subscriber = self._subscriber(callback)
        for channel in self.index.channels(subscriber):
            subscriber.parted(channel, ())
            self._left(subscriber, channel, dropped=True)
        for channel in self.index.leave(subscriber):
            self.occupancy.vacate_soon(channel)

    async def after(
        self, subscriber: Subscriber, channel: str, since: Position
    ) -> tuple[Sequence[Delivery], int] | None:
        """The next messages behind a position that a subscriber is to get, and where they end.

        None: they are gone.
        """
        messages = await self.feeds.after(channel, since)
        if messages is None:
            return None
        patterns = [pattern_of(each) for each in self.index.patterns(subscriber, channel)]
        end = messages[-1].offset if messages else since.offset
        return [each for each in messages if any(p.matches(each.event) for p in patterns)], end

    def _join(
        self, subscriber: Subscriber, channel: str, event: str, recover: Position | None
    ) -> Joined | None:
        """Begin a subscription. Nothing suspends here: that is the seam.

        None: it is gone, or has no room for what it missed.
        """
        if subscriber.gone or (recover is not None and subscriber.full):
            return None
        if self.sockets.rules.of(channel).presence and subscriber.name:
            self.presence.enter(channel, subscriber.name, subscriber.member(channel))
        subscriber.flush(channel)
        subscriber.hold(channel)
        self.index.subscribe(subscriber, channel, event)
        top = self.feeds.top(channel)
        if top is None:
            return Joined(recovered=None if recover is None else False)
        if (behind := subscriber.behind(channel)) is not None:
            top = Position(behind, top.epoch)  # what follows will come
        if recover is None:
            return Joined(top)
        missed = self.feeds.recover(channel, recover)
        if missed is None:
            return Joined(top, recovered=False)
        pattern = pattern_of(event)
        messages = [
            each for each in missed if each.offset <= top.offset and pattern.matches(each.event)
        ]
        if (most := subscriber.most) is not None:
            size = sum(len(each.written(packed=False)) for each in messages)
            if size + len(messages) * subscriber.overhead > most:
                return Joined(top, recovered=False)
        if messages:
            subscriber.recovers()
        return Joined(top, recovered=True, messages=messages)

    async def _present(self) -> KeepsPresence | None:
        broker = await self._broker()
        assert broker is None or isinstance(broker, KeepsPresence)  # the rules were checked
        return broker

    async def _publish(self, channel: str, event: str, data: object) -> None:
        await self.sockets.publish(channel, event, data)

    def _take_backs(
        self, subscriber: Subscriber, channel: str, event: str, new: bool, watch: bool
    ) -> list[Callable[[], object]]:
        """What ends a subscription that has just begun, and what it has begun to watch."""
        take_backs: list[Callable[[], object]] = []
        if new:
            generation = self.index.generation(subscriber, channel, event)
            take_backs.append(partial(self._take_back, subscriber, channel, event, generation))
        if watch:
            if self._watchers.add(channel, subscriber):
                take_backs.append(partial(self._watchers.remove, channel, subscriber))
        return take_backs

    def _take_back(
        self, subscriber: Subscriber, channel: str, event: str, generation: int | None
    ) -> None:
        """End a subscription, unless somebody else made it anew meanwhile."""
        if self.index.generation(subscriber, channel, event) == generation:
            self._part(subscriber, channel, event)
            subscriber.sift(channel)

    def _part(
        self, subscriber: Subscriber, channel: str, event: str | None
    ) -> "asyncio.Task[None] | None":
        vacant = self.index.unsubscribe(subscriber, channel, event)
        patterns = self.index.patterns(subscriber, channel)
        subscriber.parted(channel, patterns)
        if not patterns:
            self._left(subscriber, channel)
        return self.occupancy.vacate_soon(channel) if vacant else None

    def _left(self, subscriber: Subscriber, channel: str, *, dropped: bool = False) -> None:
        self._watchers.remove(channel, subscriber)
        if self.sockets.rules.of(channel).presence and subscriber.name:
            (self.presence.drop if dropped else self.presence.leave)(channel, subscriber.name)

    def _subscriber(self, callback: "Whom") -> Subscriber:
        if isinstance(callback, Subscriber):
            return callback
        connection = getattr(callback, "connection", callback)  # a socket's own callback
        deliveries = getattr(connection, "deliveries", None)
        if isinstance(deliveries, Subscriber):
            return deliveries
        return Callback(cast("CallbackType", callback), self)

    def _check_limits(self, subscriber: Subscriber, channel: str, event: str) -> None:
        if not subscriber.limited:
            return  # the application's own code
        limits, patterns = self.sockets.limits, self.index.patterns(subscriber, channel)
        if not patterns and self.index.count(subscriber) >= limits.channels:
            raise too_many("channels", limits.channels, "channels are subscribed to")
        if event not in patterns and len(patterns) >= limits.patterns:
            raise too_many(
                "patterns", limits.patterns, "patterns are subscribed to on this channel"
            )

    async def _feed(
        self, channel: str, event: str, take_backs: Sequence[Callable[[], object]]
    ) -> None:
        try:
            await self.sockets.subscribe_to_event(channel, event)
        except BaseException as exc:
            for take_back in take_backs:
                take_back()
            if isinstance(exc, CannotSubscribe):
                raise invalid_channel() from None
            raise
