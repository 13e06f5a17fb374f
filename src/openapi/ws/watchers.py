"""Who is told of ``$join`` and ``$leave``: those subscribers of a channel who asked for it."""

from collections.abc import Iterable

from openapi.ws.subscriber import Subscriber

__all__ = ["Watchers"]


class Watchers:
    """The watchers by channel. One without any is gone."""

    def __init__(self) -> None:
        self._watchers: dict[str, dict[Subscriber, object]] = {}

    def __len__(self) -> int:
        """Channels that somebody watches."""
        return len(self._watchers)

    def of(self, channel: str) -> Iterable[Subscriber]:
        """Who watches a channel."""
        return self._watchers.get(channel, ())

    def get(self, channel: str, subscriber: Subscriber) -> object | None:
        """What stands for a subscriber's watch, another one each time; None: there is none."""
        return self._watchers.get(channel, {}).get(subscriber)

    def add(self, channel: str, subscriber: Subscriber) -> bool:
        """It watches a channel, anew if it did. Returns whether it did not."""
        new = self.get(channel, subscriber) is None
        self._watchers.setdefault(channel, {})[subscriber] = object()
        return new

    def remove(self, channel: str, subscriber: Subscriber) -> None:
        """It watches a channel no more. Harmless if it did not."""
        watchers = self._watchers.get(channel)
        if watchers is not None:
            watchers.pop(subscriber, None)
            if not watchers:
                del self._watchers[channel]

    def clear(self) -> None:
        """Nobody watches anything."""
        self._watchers.clear()
