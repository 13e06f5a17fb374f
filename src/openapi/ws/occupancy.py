"""A channel's life in this process: opened for its first subscriber, vacated behind its last.

| state  | somebody is about to subscribe       | nobody is subscribed any more               |
|--------|--------------------------------------|---------------------------------------------|
| VACANT | the broker, the feed; OPEN, and      | the feed and the broker, where opening was  |
|        | on_occupied. VACANT where the broker | broken off half-way                         |
|        | or the feed fails                    |                                             |
| OPEN   | waits for on_occupied                | the feed, the end of on_occupied,           |
|        |                                      | on_vacated, the broker; VACANT              |

Who opens or vacates a channel has its gate: the first subscription and the last must not overtake
each other. While one waits for the broker, the other would act on what is no longer so.
"""

import asyncio
import logging
from collections.abc import Container
from typing import TYPE_CHECKING, Final

from openapi.errors import CannotSubscribe
from openapi.ws.feeds import Feeds
from openapi.ws.gates import Gates
from openapi.ws.refusals import invalid_channel
from openapi.ws.rules import ChannelRule, OccupancyHook

if TYPE_CHECKING:
    from openapi.ws.manager import SocketsManager

__all__ = ["Occupancy"]

logger = logging.getLogger(__name__)

#: Channels that are being vacated at a time. While there are more, nobody subscribes.
_VACATING: Final = 1000
#: Behind how many seconds a hook that has not returned is told of.
_PATIENCE: Final = 10.0


class Occupancy:
    """The channels that are open. ``subscribed`` has those that somebody is subscribed to."""

    def __init__(
        self, sockets: "SocketsManager", gates: Gates, feeds: Feeds, subscribed: Container[str]
    ) -> None:
        self._sockets = sockets
        self._gates = gates
        self._feeds = feeds
        self._subscribed = subscribed
        self._open: set[str] = set()
        self._occupying: dict[str, asyncio.Task[None]] = {}  # each on_occupied that still runs
        self._vacating = 0
        self._fewer = asyncio.Event()
        self._hooked: dict[str, asyncio.Task[None] | None] = {}  # who runs which hook

    def __len__(self) -> int:
        return len(self._open)

    def clear(self) -> None:
        """Forget all of them."""
        self._open.clear()

    def check(self, channel: str) -> None:
        """Raise RuntimeError in a hook of the channel, which would wait for itself."""
        if channel in self._hooked and self._hooked[channel] is asyncio.current_task():
            raise RuntimeError(
                f"a hook of the channel {channel!r} subscribes to it, and whoever subscribes waits"
                " for the hook: start a task there, and let that subscribe"
            )

    async def open(self, channel: str, rule: ChannelRule) -> None:
        """Somebody is about to subscribe, and has the gate. Raises InvalidData where it cannot be.

        Unless this raises, ask :meth:`vacate_soon` if nobody subscribed after all.
        """
        if channel not in self._open:
            try:
                if rule.history:
                    self._feeds.expect(channel, rule)
                await self._sockets.subscribe(channel)
                if rule.history:
                    await self._feeds.open(channel)
            except CannotSubscribe:
                self._feeds.close(channel)
                raise invalid_channel() from None
            except BaseException:
                # Cancelled or broken half-way: what may have been opened has nobody.
                self.vacate_soon(channel)
                raise
            self._open.add(channel)
            if rule.on_occupied is not None:
                # A task of its own: who waits for it may be cancelled, and others wait for it too.
                occupying = self._sockets.spawn(self._call(rule.on_occupied, channel))
                self._occupying[channel] = occupying
                occupying.add_done_callback(lambda _: self._occupying.pop(channel, None))
        if (hook := self._occupying.get(channel)) is not None:
            try:
                await asyncio.shield(hook)
            except BaseException:
                self.vacate_soon(channel)
                raise

    def vacate_soon(self, channel: str) -> "asyncio.Task[None]":
        """Nobody may be subscribed any more: returns what looks, and tells the broker."""
        task = self._sockets.spawn(self._vacate(channel))
        self._vacating += 1
        task.add_done_callback(self._vacated)
        return task

    async def settle(self) -> None:
        """Wait until not too many channels are being vacated, as where a broker takes long."""
        while self._vacating > _VACATING:
            self._fewer.clear()
            await self._fewer.wait()

    def _vacated(self, task: "asyncio.Task[None]") -> None:
        self._vacating -= 1
        if self._vacating <= _VACATING:
            self._fewer.set()

    async def _vacate(self, channel: str) -> None:
        async with self._gates.turn(channel):
            if channel in self._subscribed:
                return
            self._feeds.close(channel)
            if channel in self._open:
                self._open.discard(channel)
                if (occupying := self._occupying.get(channel)) is not None:
                    await asyncio.wait([occupying])
                on_vacated = self._sockets.rules.of(channel).on_vacated
                if on_vacated is not None:
                    await self._call(on_vacated, channel)
            await self._sockets.unsubscribe(channel)

    async def _call(self, hook: OccupancyHook, channel: str) -> None:
        self._hooked[channel] = asyncio.current_task()
        slow = asyncio.get_running_loop().call_later(_PATIENCE, _tell_slow, hook, channel)
        try:
            await hook(channel)
        except Exception:
            logger.exception("the hook %r failed for channel %r", hook, channel)
        finally:
            slow.cancel()
            del self._hooked[channel]


def _tell_slow(hook: OccupancyHook, channel: str) -> None:
    logger.warning(
        "the hook %r still runs for channel %r, and nobody can subscribe meanwhile: let it start a"
        " task for what goes on",
        hook,
        channel,
    )
