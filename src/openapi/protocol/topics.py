"""Who gets what: the index from a published message to its subscribers.

Channels are found by their exact name. On a channel, a pattern without wildcards is found by the
event's name, ``*`` is a set of its own, and the other patterns are walked as one tree. What each
subscriber has is kept beside it, so that leaving looks at nothing else.
"""

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

from openapi.protocol.patterns import PatternTree, tokens_of

__all__ = ["SERVER_EVENT", "TopicIndex"]

S = TypeVar("S")

SERVER_EVENT = "$"
"""What the server's own events begin with; they fit every pattern."""

Subscribers = dict[S, int]
"""Those who have a pattern, in the order in which they subscribed to it, with that order."""


class _Channel(Generic[S]):
    __slots__ = ("everything", "exact", "globs", "members", "patterns")

    def __init__(self) -> None:
        self.members: dict[S, dict[str, None]] = {}  # with the patterns of each
        self.patterns: dict[str, Subscribers[S]] = {}  # all; each is also in one of these three:
        self.everything: Subscribers[S] = {}  # of the pattern *
        self.exact: dict[str, Subscribers[S]] = {}
        self.globs = PatternTree[Subscribers[S]]()

    def add(self, subscriber: S, pattern: str, order: int) -> None:
        subscribers = self.patterns.get(pattern)
        if subscribers is None:
            if pattern == "*":
                subscribers = self.everything
            elif is_name(pattern):
                subscribers = self.exact[pattern] = {}
            else:
                subscribers = {}
                self.globs.add(pattern, subscribers)
            self.patterns[pattern] = subscribers
        subscribers.setdefault(subscriber, order)
        self.members.setdefault(subscriber, {})[pattern] = None

    def remove(self, subscriber: S, pattern: str) -> None:
        subscribers = self.patterns[pattern]
        del subscribers[subscriber]
        if not subscribers:
            del self.patterns[pattern]
            if pattern == "*":
                pass
            elif is_name(pattern):
                del self.exact[pattern]
            else:
                self.globs.remove(pattern)


def is_name(pattern: str) -> bool:
    """Tell whether a pattern has no wildcards: it fits itself, and nothing else."""
    return tokens_of(pattern) == tuple(pattern)


class TopicIndex(Generic[S]):
    """Which subscribers a message goes to. A subscriber is anything hashable.

    Its channels are those that have somebody: ``len``, ``in`` and iteration are about their names.
    """

    __slots__ = ("_channels", "_order", "_own")

    def __init__(self) -> None:
        self._channels: dict[str, _Channel[S]] = {}
        self._own: dict[S, dict[str, None]] = {}  # the channels of each subscriber
        self._order = 0

    def __len__(self) -> int:
        return len(self._channels)

    def __contains__(self, channel: object) -> bool:
        return channel in self._channels

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def subscribe(self, subscriber: S, channel: str, pattern: str) -> bool:
        """Add one subscription. True: the channel had nobody before."""
        topic = self._channels.get(channel)
        first = topic is None
        if topic is None:
            topic = self._channels[channel] = _Channel()
        self._order += 1
        topic.add(subscriber, pattern, self._order)
        self._own.setdefault(subscriber, {})[channel] = None
        return first

    def unsubscribe(self, subscriber: S, channel: str, pattern: str | None = None) -> bool:
        """Remove one subscription, or with no pattern all of them on the channel.

        True: the channel has nobody now. What is not there is removed already: False.
        """
        topic = self._channels.get(channel)
        own = topic.members.get(subscriber) if topic is not None else None
        if topic is None or own is None:
            return False
        for text in list(own) if pattern is None else [pattern]:
            if text in own:
                del own[text]
                topic.remove(subscriber, text)
        if not own:
            del topic.members[subscriber]
            del self._own[subscriber][channel]
            if not self._own[subscriber]:
                del self._own[subscriber]
        if not topic.members:
            del self._channels[channel]
        return not topic.members

    def leave(self, subscriber: S) -> list[str]:
        """Remove everything of a subscriber, in time proportional to what it had.

        Returns the channels that have nobody now.
        """
        own = list(self._own.get(subscriber, ()))
        return [channel for channel in own if self.unsubscribe(subscriber, channel)]

    def subscribers(self, channel: str, event: str) -> Collection[S]:
        """Those who get ``event``: each once, in the order of their subscriptions that fit it.

        This may be the index's own collection: look at it before the next change, and do not
        change it.
        """
        topic = self._channels.get(channel)
        if topic is None:
            return ()
        if event.startswith(SERVER_EVENT):
            return topic.members
        exact = topic.exact.get(event)
        if exact is None and not topic.globs:
            return topic.everything
        found = topic.globs.matching(event)
        if exact is not None:
            found.append(exact)
        if topic.everything:
            found.append(topic.everything)
        if len(found) == 1:
            return found[0]
        merged: Subscribers[S] = {}
        for some in found:
            for subscriber, order in some.items():
                merged[subscriber] = min(order, merged.get(subscriber, order))
        return sorted(merged, key=merged.__getitem__)

    def subscriptions(self, subscriber: S) -> dict[str, list[str]]:
        """What a subscriber has: ``{channel: [pattern, …]}``, in order of subscription."""
        return {
            channel: list(self._channels[channel].members[subscriber])
            for channel in self._own.get(subscriber, ())
        }

    def info(self) -> dict[str, dict[str, int]]:
        """How many have what: ``{channel: {pattern: subscribers}}``."""
        return {
            name: {pattern: len(some) for pattern, some in topic.patterns.items()}
            for name, topic in self._channels.items()
        }

    def clear(self) -> None:
        """Remove everything of everybody."""
        self._channels.clear()
        self._own.clear()
