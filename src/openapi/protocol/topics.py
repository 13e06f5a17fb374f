"""Who gets what: the index from a published message to its subscribers.

Channels are found by their exact name. On a channel, a pattern without wildcards is found by the
event's name, ``*`` is a set of its own, and the other patterns are walked as one tree. What each
subscriber has is kept beside it, so that leaving looks at nothing else.
"""

from collections.abc import Collection, Iterator
from itertools import chain
from operator import itemgetter
from typing import Generic, TypeVar

from openapi.protocol.patterns import PatternTree, tokens_of

__all__ = ["SERVER_EVENT", "TopicIndex"]

S = TypeVar("S")

SERVER_EVENT = "$"
"""What the server's own events begin with; they fit every pattern."""

Subscribers = dict[S, int]
"""Those who have a pattern, in the order in which they subscribed to it, with that order."""


class _Channel(Generic[S]):
    """The subscriptions to one channel: by subscriber, by text, and by how an event finds them."""

    __slots__ = ("everything", "exact", "globs", "members", "name", "patterns")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[S, dict[str, int]] = {}  # what each has, since when
        self.patterns: dict[str, Subscribers[S]] = {}  # each of these is also in one of the next:
        self.everything: Subscribers[S] = {}  # those of the pattern *
        self.exact: dict[str, Subscribers[S]] = {}  # those of patterns that are names
        self.globs: PatternTree[Subscribers[S]] | None = None  # the rest, if there is any

    def add(self, subscriber: S, pattern: str, order: int) -> None:
        subscribers = self.patterns.get(pattern)
        if subscribers is None:
            subscribers = self.patterns[pattern] = self._place(pattern)
        subscribers.setdefault(subscriber, order)
        self.members.setdefault(subscriber, {})[pattern] = order

    def _place(self, pattern: str) -> Subscribers[S]:
        if pattern == "*":
            return self.everything
        subscribers: Subscribers[S] = {}
        if tokens_of(pattern) == tuple(pattern):
            self.exact[pattern] = subscribers
        else:
            if self.globs is None:
                self.globs = PatternTree()
            self.globs.add(pattern, subscribers)
        return subscribers

    def remove(self, subscriber: S, pattern: str) -> None:
        own = self.members[subscriber]
        del own[pattern]
        if not own:
            del self.members[subscriber]
        subscribers = self.patterns[pattern]
        del subscribers[subscriber]
        if not subscribers:
            del self.patterns[pattern]
            if self.exact.pop(pattern, None) is None and pattern != "*":
                assert self.globs is not None
                self.globs.remove(pattern)
                self.globs = self.globs or None

    def matching(self, event: str) -> Collection[S]:
        found = [] if self.globs is None else self.globs.matching(event)
        found += (some for some in (self.exact.get(event), self.everything) if some)
        if len(found) == 1:
            return found[0]
        oldest_first = sorted(chain.from_iterable(map(dict.items, found)), key=itemgetter(1))
        return dict.fromkeys(map(itemgetter(0), oldest_first))


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
            topic = self._channels[channel] = _Channel(channel)
        self._order += 1
        topic.add(subscriber, pattern, self._order)
        self._own.setdefault(subscriber, {})[topic.name] = None  # one text for all who have it
        return first

    def unsubscribe(self, subscriber: S, channel: str, pattern: str | None = None) -> bool:
        """Remove one subscription, or with no pattern all of them on the channel.

        True: the channel has nobody now. What is not there is removed already: False.
        """
        topic = self._channels.get(channel)
        own = topic.members.get(subscriber) if topic is not None else None
        if topic is None or own is None:
            return False
        for text in list(own) if pattern is None else own.keys() & {pattern}:
            topic.remove(subscriber, text)
        if own:
            return False
        channels = self._own[subscriber]
        del channels[channel]
        if not channels:
            del self._own[subscriber]
        if topic.members:
            return False
        del self._channels[channel]
        return True

    def leave(self, subscriber: S) -> list[str]:
        """Remove everything of a subscriber, in time proportional to what it had.

        Returns the channels that have nobody now.
        """
        own = self.channels(subscriber)
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
        if topic.globs is None and event not in topic.exact:
            return topic.everything
        return topic.matching(event)

    def subscriptions(self, subscriber: S) -> dict[str, list[str]]:
        """What a subscriber has: ``{channel: [pattern, …]}``, in order of subscription."""
        return {
            channel: list(self._channels[channel].members[subscriber])
            for channel in self._own.get(subscriber, ())
        }

    def patterns(self, subscriber: S, channel: str) -> Collection[str]:
        """What a subscriber has on one channel. It may be the index's own: do not change it."""
        topic = self._channels.get(channel)
        return () if topic is None else topic.members.get(subscriber, ())

    def generation(self, subscriber: S, channel: str, pattern: str) -> int | None:
        """A number that is another one after each :meth:`subscribe`; None without a subscription.

        What was found out about a subscription earlier is not true of one of a later generation.
        """
        topic = self._channels.get(channel)
        return None if topic is None else topic.members.get(subscriber, {}).get(pattern)

    def members(self, channel: str) -> Collection[S]:
        """Everyone who has something on a channel. It is the index's own: do not change it."""
        topic = self._channels.get(channel)
        return () if topic is None else topic.members

    def channels(self, subscriber: S) -> list[str]:
        """The channels on which a subscriber has something."""
        return list(self._own.get(subscriber, ()))

    def count(self, subscriber: S) -> int:
        """On how many channels a subscriber has something."""
        return len(self._own.get(subscriber, ()))

    def info(self) -> dict[str, dict[str, int]]:
        """How many have what: ``{channel: {pattern: subscribers}}``."""
        return {channel: self.channel_info(channel) for channel in self._channels}

    def channel_info(self, channel: str) -> dict[str, int]:
        """How many have what on one channel: ``{pattern: subscribers}``."""
        topic = self._channels.get(channel)
        if topic is None:
            return {}
        return {pattern: len(some) for pattern, some in topic.patterns.items()}

    def clear(self) -> None:
        """Remove everything of everybody."""
        self._channels.clear()
        self._own.clear()
