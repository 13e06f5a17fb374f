"""The channels with history that are open in this process, and what is read of their streams.

Each has a :class:`~openapi.protocol.feed.Feed`, which says what is to be handed on and what is
missing. Here it is read: where a stream is when its channel opens; what a client missed, once for
all that come back at a time; what the bus lost, when a number is left out or, of a channel that was
quiet for ``limits.position_check``, when its position has moved on unseen.
"""

import asyncio
import heapq
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from openapi.errors import BrokerUnavailable, CannotSubscribe, RpcError
from openapi.protocol.backoff import delays
from openapi.protocol.feed import Feed, FeedState, Out
from openapi.protocol.limits import Limits
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page, Position, contiguous
from openapi.ws.broker import Broker, KeepsHistory
from openapi.ws.delivery import Delivery
from openapi.ws.rules import ChannelRule

__all__ = ["Feeds", "HandOn"]

logger = logging.getLogger(__name__)

HandOn: TypeAlias = Callable[[str, Out[Delivery]], Sequence[Awaitable[object]]]
"""Hands on what a feed gave out, without suspending; what it returns is to be awaited."""

#: Quiet channels that are read on in one look, or of more than that as many as must be.
_CHECKS: Final = 64
#: How often they are looked for: so often in ``limits.position_check``.
_LOOKS: Final = 16
#: Channels that are read on at the same time: a broker that is back shall not be run over.
_READINGS: Final = 64
#: How long a subscription waits for a reading: seconds.
_PATIENCE: Final = 5.0


class _Feed(Feed[Delivery]):
    """The feed of an open channel."""

    __slots__ = ("again", "bridging", "heard", "now", "rule", "since")

    def __init__(self, rule: ChannelRule, limits: Limits) -> None:
        super().__init__(min(rule.history, limits.recovery))
        self.rule: Final = rule
        self.now: Callable[[], float] = time.time
        """The clock of its messages."""
        self.heard = 0.0
        """When something was known of it: the loop's time."""
        self.bridging: asyncio.Task[None] | None = None
        self.since = 0.0
        """When that began."""
        self.again = False
        """Whether it is to be read on once more behind the reading that is under way."""


class Feeds:
    """The feeds of the channels that somebody here is subscribed to."""

    def __init__(
        self,
        *,
        limits: Limits,
        broker: Callable[[], Awaitable[Broker | None]],
        hand_on: HandOn,
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
    ) -> None:
        self._limits = limits
        self._broker = broker
        self._hand_on = hand_on
        self._spawn = spawn
        self._feeds: dict[str, _Feed] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._failing = False
        self._turns = asyncio.Semaphore(_READINGS)
        self._back = asyncio.Event()  # set for a moment, when messages may have been missed
        self._unnumbered: set[str] = set()  # rules, by name

    def __len__(self) -> int:
        return len(self._feeds)

    def expect(self, channel: str, rule: ChannelRule) -> None:
        """A channel is about to be subscribed to: what comes from now on waits for :meth:`open`."""
        self._feeds[channel] = _Feed(rule, self._limits)

    async def open(self, channel: str) -> None:
        """The channel is subscribed to: find out where its stream is."""
        feed = self._feeds[channel]
        feed.now = (await self._opened()).now
        page = await self._read(channel, feed.rule, limit=0)
        if self._feeds.get(channel) is not feed:
            raise CannotSubscribe("the server has shut down")
        self._heard(feed)
        self._go_on(channel, feed, feed.opened(page.top))
        if feed.again and feed.state is FeedState.LIVE:
            self._read_soon(channel, feed)
        if self._timer is None:
            self._set_timer()

    def close(self, channel: str) -> None:
        """Nobody is subscribed any more."""
        feed = self._feeds.pop(channel, None)
        if feed is not None and feed.bridging is not None:
            feed.bridging.cancel()
        if not self._feeds and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def clear(self) -> None:
        """Nobody is subscribed to anything any more."""
        for channel in tuple(self._feeds):
            self.close(channel)

    async def receive(
        self, channel: str, event: str, data: object, position: Position, rule: ChannelRule
    ) -> None:
        """A live message."""
        feed = self._feeds.get(channel)
        if feed is None:
            return  # the last of its subscribers has just left
        delivery = Delivery(
            channel, event, data, offset=position.offset, at=feed.now(), slow=rule.slow
        )
        self._heard(feed)
        waits = self._go_on(channel, feed, feed.receive(delivery, position.epoch))
        if waits:
            await asyncio.gather(*waits)

    def unnumbered(self, channel: str, rule: ChannelRule) -> None:
        """A message came past the history that its channel is to keep: say so, once for a rule.

        Nobody recovers on such channels any more: what they missed is not in history.
        """
        if rule.name not in self._unnumbered:
            self._unnumbered.add(rule.name)
            logger.error(
                "a message on channel %r has no position, so nobody can recover it: whatever"
                " carries it does not keep the history that the rule for %r promises",
                channel,
                rule.name,
            )

    def missed(self, channels: Collection[str] | None) -> None:
        """Messages of these channels, or of all, may be missing: read on at once."""
        self._back.set()
        self._back.clear()
        for channel in tuple(self._feeds) if channels is None else channels:
            feed = self._feeds.get(channel)
            if feed is None:
                continue
            if feed.state is FeedState.LIVE:
                self._read_soon(channel, feed)
            else:
                feed.again = True  # the reading under way may have begun before

    def top(self, channel: str) -> Position | None:
        """Where an open channel is; None where it keeps no history."""
        feed = self._feeds.get(channel)
        return None if feed is None else feed.top

    async def prepare(self, channel: str, since: Position) -> None:
        """Read what :meth:`recover` lacks. One at a time for each channel.

        Raises RpcError where it cannot be read now, CannotSubscribe where the server has shut down.
        """
        feed = self._feeds.get(channel)
        if feed is None:
            raise CannotSubscribe("the server has shut down")
        if feed.may_follow(since):
            # Its client was elsewhere, where the message came sooner, or the first of a new stream.
            self._read_soon(channel, feed)
            if feed.bridging is not None:
                # One patience for all who wait: they do so one behind the other.
                waited = asyncio.get_running_loop().time() - feed.since
                await asyncio.wait([feed.bridging], timeout=max(0.0, _PATIENCE - waited))
            if feed.bridging is not None:
                raise _unreadable()
            if since.epoch != feed.top.epoch:
                feed.lost(since.epoch)  # whoever comes with it again costs no reading
        for _ in range(2):  # what was read before a reset is of no use
            more = True
            while more and not feed.reaches(since):
                more = await self._fill(channel, feed)

    async def _fill(self, channel: str, feed: _Feed) -> bool:
        """Read what comes before the log of a feed. Returns whether there may be more."""
        log, keep = feed.log, min(feed.rule.history, self._limits.recovery)
        before = Position(log.first, feed.top.epoch) if len(log) else None
        async with self._turns:
            page = await self._read(channel, feed.rule, limit=keep, since=before, reverse=True)
        feed.fill(Page(page.messages[::-1], page.top, page.more))
        return page.more and len(page.messages) > 0

    def recover(self, channel: str, since: Position) -> list[Delivery] | None:
        """Every message that went out behind a position; None if it cannot be all of them."""
        feed = self._feeds[channel]
        if feed.rule.name in self._unnumbered:
            return None
        feed.log.expire(before=feed.now() - feed.rule.retention.seconds)
        return feed.recover(since, most=self._limits.recovery)

    async def after(self, channel: str, since: Position) -> Sequence[Delivery] | None:
        """The next messages behind a position, of those that went out; None: they are gone."""
        feed = self._feeds[channel]
        if since.epoch == feed.top.epoch and since.offset < feed.log.first - 1:
            page = await self._read(channel, feed.rule, limit=self._limits.recovery, since=since)
            top = feed.top
            messages = [each for each in page.messages if each.offset <= top.offset]
            follows = messages and messages[0].offset == since.offset + 1 and contiguous(messages)
            if follows and page.top.epoch == top.epoch:
                return messages
        if since.epoch != feed.top.epoch:
            return None
        return feed.log.after(since.offset)

    async def history(
        self,
        channel: str,
        rule: ChannelRule,
        *,
        since: Position | None,
        limit: int,
        reverse: bool,
        most: int,
    ) -> Page[Delivery]:
        """Read a channel's history, whether it is open or not.

        It is no more than has ``most`` bytes of data as JSON, but one message at least.
        """
        return await self._read(channel, rule, since=since, limit=limit, reverse=reverse, most=most)

    def _heard(self, feed: _Feed) -> None:
        feed.heard = asyncio.get_running_loop().time()

    def _go_on(self, channel: str, feed: _Feed, out: Out[Delivery]) -> Sequence[Awaitable[object]]:
        waits = self._hand_on(channel, out) if out else ()
        if feed.state is FeedState.BRIDGING and feed.bridging is None:
            feed.since = asyncio.get_running_loop().time()
            feed.bridging = self._spawn(self._bridge(channel, feed))
        return waits

    def _read_soon(self, channel: str, feed: _Feed) -> None:
        """Read what follows in the stream, whether or not there is anything."""
        feed.bridge()
        self._go_on(channel, feed, ())

    async def _bridge(self, channel: str, feed: _Feed) -> None:
        """Read what is missing, until nothing is."""
        pauses = delays(random.random)
        try:
            while feed.state is FeedState.BRIDGING:
                feed.again = False
                try:
                    async with self._turns:
                        page = await self._read(
                            channel, feed.rule, since=feed.top, limit=self._limits.recovery
                        )
                except RpcError:  # it was said
                    await self._pause(next(pauses))
                    continue
                self._heard(feed)
                if waits := self._hand_on(channel, feed.bridged(page)):
                    # Begun here, in order; waited for elsewhere: nobody may hold up what is read
                    # for all.
                    self._spawn(_wait(asyncio.gather(*waits)))
                if feed.again:
                    feed.bridge()
        finally:
            feed.bridging = None

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until the broker is back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._back.wait()

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._limits.position_check / _LOOKS, self._look)

    def _look(self) -> None:
        """Read on where it was quiet for long, some channels at a time."""
        self._timer = None
        before = asyncio.get_running_loop().time() - self._limits.position_check
        quiet = [
            (feed.heard, channel)
            for channel, feed in self._feeds.items()
            if feed.heard <= before and feed.state is FeedState.LIVE
        ]
        # All have their turn, and those first that were not looked at for longest.
        most = max(_CHECKS, len(self._feeds) // _LOOKS + 1)
        for _, channel in heapq.nsmallest(most, quiet):
            self._read_soon(channel, self._feeds[channel])
        if self._feeds:
            self._set_timer()

    async def _opened(self) -> KeepsHistory:
        broker = await self._broker()
        if broker is None:
            raise CannotSubscribe("the server has shut down")
        assert isinstance(broker, KeepsHistory)  # the rules were checked against it
        return broker

    async def _read(
        self,
        channel: str,
        rule: ChannelRule,
        *,
        limit: int,
        since: Position | None = None,
        reverse: bool = False,
        most: int | None = None,
    ) -> Page[Delivery]:
        broker = await self._opened()
        try:
            page = await broker.history(
                channel, retention=rule.retention, since=since, limit=limit, reverse=reverse
            )
        except (RpcError, CannotSubscribe):
            raise
        except Exception as exc:
            if not self._failing:  # once: nobody can be served that needs it
                self._failing = True
                logger.exception("the history of channel %r cannot be read", channel)
            raise _unreadable() from exc
        self._failing = False
        messages: list[Delivery] = []
        for each in page.messages:
            delivery = _delivery(channel, rule, each)
            if most is not None:
                most -= len(delivery.written(packed=False))
                if most < 0 and messages:
                    break
            messages.append(delivery)
        return Page(messages, page.top, page.more)


def _unreadable() -> BrokerUnavailable:
    """The refusal where history cannot be read."""
    return BrokerUnavailable(
        "The history of this channel cannot be read, try again later",
        retry_after=round(_PATIENCE * 1000),
    )


async def _wait(all_of_them: Awaitable[object]) -> None:
    await all_of_them


def _delivery(channel: str, rule: ChannelRule, kept: Publication) -> Delivery:
    return Delivery(channel, kept.event, kept.data, offset=kept.offset, at=kept.at, slow=rule.slow)
