"""The messages that come live: what this node is subscribed to, and who gets it."""

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from openapi.protocol.envelope import Envelope, Unreadable
from openapi.ws.broker import Deliver
from openapi.ws.brokers.begun import Begun
from openapi.ws.brokers.nats.link import Link
from openapi.ws.brokers.nats.names import Names
from openapi.ws.brokers.nats.record import Record

__all__ = ["Live"]

logger = logging.getLogger(__name__)

#: Deliveries of one channel that wait for somebody. While it is more, what comes is dropped.
_WAITING: Final = 1000


class _Channel:
    """A channel that is subscribed to."""

    __slots__ = ("dropped", "subscription", "waiting")

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.waiting: set[asyncio.Task[None]] = set()
        self.dropped = 0


class Live:
    """The channels that are subscribed to on one server.

    ``heard`` is told of each record, and its sequence. ``missed`` is called with channels of which
    messages were dropped, when there is room again.
    """

    def __init__(
        self,
        names: Names,
        deliver: Deliver,
        *,
        heard: Callable[[str, Record, int], None],
        ignore: Callable[[str, Unreadable], None],
        missed: Callable[[Collection[str]], object],
    ) -> None:
        self._names = names
        self._deliver = deliver
        self._heard = heard
        self._ignore = ignore
        self._missed = missed
        self._channels: dict[str, _Channel] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, link: Link) -> None:
        """Subscribe to all that is wanted, over a new connection."""
        for name, channel in self._channels.items():
            channel.subscription = await self._listen(link, name)
        await link.fence()

    async def subscribe(self, link: Link, name: str) -> None:
        """See :meth:`Broker.subscribe`. Raises BrokerUnavailable."""
        new = name not in self._channels
        if new:
            self._channels[name] = channel = _Channel()
            try:
                channel.subscription = await self._listen(link, name)
                await link.fence()
            except BaseException:
                await self.unsubscribe(name)
                raise
        else:
            await link.fence()  # it may be that it has only just been asked for

    async def unsubscribe(self, name: str) -> None:
        """See :meth:`Broker.unsubscribe`."""
        channel = self._channels.pop(name, None)
        if channel is not None and channel.subscription is not None:
            try:
                await channel.subscription.unsubscribe()
            except nats.errors.Error as exc:
                logger.debug("it is subscribed to nothing any more: %s", exc)

    async def aclose(self) -> None:
        """Deliver nothing more, and end what is under way."""
        self._channels.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _listen(self, link: Link, name: str) -> Subscription:
        receive = partial(self._receive, name, link.most)
        return await link.listen(self._names.live(name), receive)

    def _receive(self, name: str, most: int, message: Msg) -> None:
        raw = message.data
        try:
            if not Record.is_one(raw):
                envelope = Envelope.read(raw, most=most)
                if envelope.position is not None:
                    raise Unreadable("it has a position, and does not come from a log")
                self._hand_on(name, envelope)
                return
            record = Record.read(raw)
            envelopes = record.publications(most=most)
            sequence = int((message.headers or {}).get("Nats-Sequence", 0))
        except (Unreadable, ValueError) as exc:
            self._ignore(name, Unreadable(str(exc)))
            return
        self._heard(name, record, sequence)
        for envelope in envelopes:
            self._hand_on(name, envelope)

    def _hand_on(self, name: str, envelope: Envelope) -> None:
        channel = self._channels.get(name)
        if channel is None:
            return
        if len(channel.waiting) >= _WAITING:
            if not channel.dropped:
                logger.warning(
                    "messages of channel %r are dropped: %d of them wait for whoever takes them",
                    name,
                    _WAITING,
                )
            channel.dropped += 1
            return
        begun = Begun(self._deliver(name, envelope.event, envelope.data, envelope.position))
        if not begun.done:
            task = asyncio.get_running_loop().create_task(begun)
            channel.waiting.add(task)
            self._tasks.add(task)
            task.add_done_callback(partial(self._delivered, name, channel))

    def _delivered(self, name: str, channel: _Channel, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        channel.waiting.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a message of channel %r cannot be delivered", name, exc_info=exc)
        if channel.dropped and len(channel.waiting) <= _WAITING // 2:
            logger.warning("%d messages of channel %r were dropped", channel.dropped, name)
            channel.dropped = 0
            if self._channels.get(name) is channel:
                self._missed((name,))
