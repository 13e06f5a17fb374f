"""From one message of a channel to all who get it: once each, in one step."""

import logging
from collections.abc import Awaitable
from typing import Final

from openapi.protocol.feed import Out, Reset
from openapi.protocol.topics import TopicIndex
from openapi.ws.delivery import Delivery
from openapi.ws.subscriber import Subscriber
from openapi.ws.watchers import Watchers

__all__ = ["JOIN", "LEAVE", "Fanout"]

logger = logging.getLogger(__name__)

JOIN: Final = "$join"
LEAVE: Final = "$leave"


class Fanout:
    """Hands messages to those whom ``index`` names; of presence to ``watchers``.

    What is returned is to be awaited before whoever published goes on.
    """

    def __init__(self, index: TopicIndex[Subscriber], watchers: Watchers) -> None:
        self._index = index
        self._watchers = watchers

    def send(self, delivery: Delivery) -> list[Awaitable[object]]:
        """Hand on one message."""
        # No await in this loop: nobody joins or leaves while the subscribers are gone through.
        channel, event = delivery.channel, delivery.event
        if event == JOIN or event == LEAVE:
            subscribers = self._watchers.of(channel)
        else:
            subscribers = self._index.subscribers(channel, event)
        return [
            wait for subscriber in subscribers if (wait := subscriber.deliver(delivery)) is not None
        ]

    def send_all(self, channel: str, out: Out[Delivery]) -> list[Awaitable[object]]:
        """Hand on what a feed gave out."""
        waits: list[Awaitable[object]] = []
        for each in out:
            if isinstance(each, Reset):
                self._reset(channel, each)
            else:
                waits += self.send(each)
        return waits

    def _reset(self, channel: str, reset: Reset) -> None:
        members = tuple(self._index.members(channel))
        if members:
            logger.warning(
                "messages of channel %r are lost, and its history cannot tell which: its"
                " %d subscribers go on from offset %d",
                channel,
                len(members),
                reset.position.offset,
            )
        for subscriber in members:
            subscriber.reset(channel, reset.position)
