"""The contract between a :class:`~openapi.ws.SocketsManager` and what carries its messages.

    class Loopback(Broker):
        async def open(self, deliver: Deliver) -> None:
            self._deliver = deliver

        async def publish(self, channel: str, event: str, data: object) -> None:
            await self._deliver(channel, event, data)

A manager opens its broker once, before anything else, and closes it last. It subscribes to a
channel when the first of its sockets does and unsubscribes when the last one left; it never does
both at the same time for one channel.

What a broker can do besides is a class of its own, from which it derives as well: it
:class:`KeepsHistory`, :class:`PublishesOnce`, :class:`KeepsPresence`. A manager whose channel rules
promise what its broker has not is refused when it is made. One whose messages go over a server is
:class:`Supervised`. ``tests/ws/conformance.py`` holds every broker against all that is said here.

Every method that needs a server raises BrokerUnavailable where it is away, at once or, of what is
under way, within a few seconds. :meth:`Broker.unsubscribe` does not: what is not wanted any more is
left out when the server is back.

Channels whose names begin with ``$`` are the manager's own, by which the nodes talk to each other.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final, Protocol

from openapi.errors import DeclarationError
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page, Position, Retention

__all__ = [
    "KEY_SECONDS",
    "Broker",
    "Deliver",
    "KeepsHistory",
    "KeepsPresence",
    "Member",
    "Outage",
    "PublishesOnce",
    "Refreshed",
    "Supervised",
    "broker_from_url",
]

KEY_SECONDS: Final = 300.0
"""How long the key of a publication is remembered: seconds."""

_MEMORY: Final = "openapi.ws.brokers.memory:MemoryBroker"
_REDIS: Final = "openapi.ws.brokers.redis:RedisBroker"
_NATS: Final = "openapi.ws.brokers.nats:NatsBroker"

_BROKERS: Final = {
    "memory": _MEMORY,
    "redis": _REDIS,
    "rediss": _REDIS,
    "redis+cluster": _REDIS,
    "rediss+cluster": _REDIS,
    "nats": _NATS,
    "tls": _NATS,
}

#: The extra that brings what a broker imports.
_EXTRAS: Final = {_REDIS: "redis", _NATS: "nats"}


class Deliver(Protocol):
    """Hands a message to the sockets of this process.

    ``data`` is any object that has a JSON form, or a
    :class:`~openapi.protocol.publication.Data`. ``position`` is that of a message whose channel
    keeps history, and of no other. The message is handed over before it first waits: who begins
    these calls in order has delivered in order.
    """

    def __call__(
        self, channel: str, event: str, data: object, position: Position | None = None
    ) -> Awaitable[None]: ...


class Broker(ABC):
    """Carries messages from whoever publishes to every process that subscribes."""

    spans_processes: ClassVar[bool] = True
    """Whether it does: False where it only knows its own, and others would hear nothing."""

    @abstractmethod
    async def open(self, deliver: Deliver) -> None:
        """Get ready: messages of subscribed channels go to ``deliver``, each channel's in order.

        Where it raises, or is cancelled, it may be called again, and is closed in any case.

        Messages that one process publishes come in that order everywhere; those of several
        processes may come in different orders in different ones, unless the broker says that they
        do not. Who publishes is delivered to like any other.

        There is one exception: while a cluster hands a channel over from one of its servers to
        another, those that the old one took may come behind later ones that the new one took.
        Positions put right what has them; of other messages nobody can tell.
        """

    @abstractmethod
    async def publish(self, channel: str, event: str, data: object) -> None:
        """Hand on a message, and keep nothing. What becomes of ``data`` then changes nothing.

        Raises CannotPublish where it cannot be; Unserializable for data that has no JSON form,
        whoever is subscribed.
        """

    @abstractmethod
    async def subscribe(self, channel: str) -> None:
        """Have messages of a channel delivered; when it returns, none is missed from then on.

        Harmless when it is subscribed already. Raises CannotSubscribe where it cannot be.
        """

    @abstractmethod
    async def unsubscribe(self, channel: str) -> None:
        """Have messages of a channel no longer delivered. Harmless when it is not subscribed."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of everything. Harmless the second time."""


class KeepsHistory(ABC):
    """A broker that numbers the messages of a channel and keeps the newest.

    A stream comes to be, with a random epoch, when it is first appended to or read. The epoch
    outlives the messages. Where the stream is lost all the same, the next one has a new epoch and
    begins at 1.

    Where the server may have lost the newest messages, as when it was restarted, a stream gets a
    new epoch too, and goes on with its numbers: nobody shall take new messages for those they had.
    """

    most: Retention | None = None
    """What a rule may promise at most; None where there is no such bound."""

    def now(self) -> float:
        """The time on the clock that :attr:`Publication.at` is of: the system's, unless overridden.

        What is as old on this clock as a retention says is found no more.
        """
        return time.time()

    @abstractmethod
    async def append(
        self,
        channel: str,
        event: str,
        data: object,
        *,
        retention: Retention,
        key: str | None = None,
    ) -> Position:
        """Number, keep and hand on a message, as one act: its offset is the last one's + 1.

        Returns its position; when this returns, :meth:`history` has it, in every process. Whoever
        is subscribed has it delivered with that position, in order of the offsets, but for what
        :meth:`Broker.open` says of clusters: a gap is read, and is no loss. A ``key`` that
        the channel had within :data:`KEY_SECONDS`, with the same event and data
        (:meth:`~openapi.protocol.publication.Data.digest`), returns the position of that time, and
        nothing else happens: it is not remembered for longer either.

        Raises CannotPublish; InvalidData, with ``{"key": text}``, for a key that another message
        had; RpcError (LIMIT_EXCEEDED) where no more keys can be remembered; Unserializable. Then
        there is no message, and no number is used.
        """

    @abstractmethod
    async def history(
        self,
        channel: str,
        *,
        retention: Retention,
        since: Position | None = None,
        limit: int,
        reverse: bool = False,
    ) -> Page[Publication]:
        """Read at most ``limit`` messages; ``top`` is where the stream ended at that moment.

        Forwards, these are the oldest of those with a greater offset than ``since``; in
        ``reverse`` the newest of those with a smaller one, newest first. Without ``since`` it is
        from the one end or the other. Whatever ``retention`` does not keep is not found, whether
        it was appended with another one or not; nor is anything by a ``since`` of another epoch.
        With a limit of 0 there is only ``top``. It may be fewer than there are, and at least one: a
        broker need not read more at once than it should, and says so by ``more``.
        """


class PublishesOnce(ABC):
    """A broker that remembers the keys of publications on channels without history."""

    @abstractmethod
    async def publish_once(self, channel: str, event: str, data: object, *, key: str) -> None:
        """Do as :meth:`Broker.publish`, unless the channel had the key within KEY_SECONDS.

        Keys are what they are to :meth:`KeepsHistory.append`, whose keys are others. Raises what
        that does.
        """


@dataclass(frozen=True, slots=True)
class Member:
    """Who is on a channel: a user, however many connections they have, or one that is nobody's.

    ``info`` is what has a JSON form. ``connections`` is said by a broker, to whom it means nothing.
    """

    id: str
    user: str | int | None = None
    info: Any = None
    connections: int = 1


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What :meth:`KeepsPresence.refresh` found."""

    lost: Sequence[str] = ()
    """Of the connections that were to be refreshed, those that are not there any more."""
    expired: Sequence[Member] = ()
    """Members whose last connection was not refreshed in time, with 0 connections.

    Each is told to one caller only.
    """


class KeepsPresence(ABC):
    """A broker that knows who is on a channel, in all processes.

    It knows connections, by names that no two of them share; a member is there as long as one of
    its connections is. Of what was said of a member in :meth:`enter`, the newest holds, whatever
    became of that connection. One connection is the same member's as long as it is there.

    A member comes and goes in turn, as far as callers are told: once :meth:`enter` has returned it,
    it is not returned again before :meth:`leave` or :meth:`refresh` returned it, and then not
    again before it entered. So one that expired is not among the :meth:`members`, but who enters in
    its name before a refresh has found that out is no newcomer.
    """

    @abstractmethod
    async def enter(
        self, channel: str, connections: Mapping[str, Member], *, ttl: float
    ) -> Sequence[Member]:
        """Have connections on a channel, for ``ttl`` seconds unless they are refreshed.

        Returns the members who had none there before. For those that are there already, what is
        said of their members is new, and they stay for ``ttl`` seconds from now.
        """

    @abstractmethod
    async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
        """Take connections from a channel. Returns the members who have none there now.

        Harmless for those that are not there. A ``Member`` that is returned has 0 connections.
        """

    @abstractmethod
    async def refresh(self, channel: str, connections: Collection[str], *, ttl: float) -> Refreshed:
        """Let connections that are there stay for ``ttl`` seconds from now.

        It brings none back that is not there. It lets go of everything on the channel that has
        expired, whosever it was; where nobody does that for twice the ``ttl``, it may be forgotten
        without a word.
        """

    @abstractmethod
    async def members(self, channel: str) -> Sequence[Member]:
        """Who is there now, in the order in which they came, with the number of connections."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that is away. ``reason`` is for people; it may name hosts, and no passwords."""

    since: float
    """When it was noticed: seconds since the epoch."""
    reason: str


class Supervised(ABC):
    """A broker whose messages go over a server, which may be away and come back.

    It owns its connections: it makes them anew, with pauses that grow and are drawn by chance, has
    what was subscribed to delivered again, and says that some messages may have been missed.
    :meth:`Broker.open` returns without an error where the server is away, after a few seconds.
    """

    @property
    @abstractmethod
    def outage(self) -> Outage | None:
        """Whether the server is away, wholly or in part; None while all of it is there."""

    @abstractmethod
    def watch(self, missed: Callable[[Collection[str] | None], object]) -> None:
        """Have ``missed`` called with channels of which messages may have been missed, None: all.

        It is called when they come again: from then on none is missed. Called before the broker is
        opened.
        """


def broker_from_url(url: str) -> Broker:
    """The broker for a URL, ``memory://`` being the one in this process.

    Raises :class:`DeclarationError` for a scheme that no broker has, a URL that its broker cannot
    read, and where the package is not installed that it needs.
    """
    scheme = url.partition("://")[0].lower()  # the rest may have a password, and is its broker's
    if scheme not in _BROKERS:
        known = ", ".join(f"{name}://" for name in _BROKERS)
        raise DeclarationError(
            f"no broker for the scheme {scheme!r}: a URL begins with one of {known}"
        )
    where = _BROKERS[scheme]
    module, _, name = where.partition(":")
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as exc:
        if where not in _EXTRAS or (exc.name or "").startswith("openapi"):
            raise
        raise DeclarationError(
            f"{scheme}:// needs the package {exc.name!r}:"
            f" pip install 'aio-openapi[{_EXTRAS[where]}]'"
        ) from exc
    broker: Broker = getattr(loaded, name)(url)
    return broker
