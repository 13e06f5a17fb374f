"""The broker, of which each part is a file of its own."""

import logging
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal

from openapi.errors import CannotPublish, CannotSubscribe, DeclarationError
from openapi.protocol.envelope import Envelope, Unreadable
from openapi.protocol.publication import Data, Publication
from openapi.protocol.stream import Page, Position, Retention
from openapi.ws.broker import (
    Broker,
    Deliver,
    KeepsHistory,
    KeepsPresence,
    Member,
    Outage,
    PublishesOnce,
    Refreshed,
    Supervised,
)
from openapi.ws.brokers.nats.address import Address
from openapi.ws.brokers.nats.link import Link
from openapi.ws.brokers.nats.live import Live
from openapi.ws.brokers.nats.logs import Logs
from openapi.ws.brokers.nats.names import Names
from openapi.ws.brokers.nats.once import Onces
from openapi.ws.brokers.nats.rosters import Rosters
from openapi.ws.brokers.nats.server import Server
from openapi.ws.brokers.nats.streams import Streams

__all__ = ["NatsBroker"]

logger = logging.getLogger(__name__)

_TOO_LONG: Final = (
    "the channel's name is too long for NATS: it has 3000 bytes at most, where one that is no ASCII"
    " letter, digit, - or _ is three"
)


class NatsBroker(Broker, KeepsHistory, PublishesOnce, KeepsPresence, Supervised):
    """See :class:`Broker`. The server is nats-server 2.12 or newer, with JetStream.

    ``url`` is ``nats://`` or ``tls://``, with several hosts of one cluster if need be; ``tls`` is a
    context of one's own, ``credentials`` the path of a ``.creds`` file. Applications with another
    ``prefix`` do not hear of each other: ASCII letters, digits, ``-`` and ``_``.

    ``history_messages`` for ``history_seconds`` are what a rule may promise at most.
    ``history_bytes`` bounds what is kept of all channels; None leaves it to the server.
    ``partitions`` is how many streams they are spread over, the same for all of one prefix.
    ``storage`` and ``replicas`` are those of new streams.

    A restarted server may have lost its newest messages. So the streams get a new epoch then, and
    clients that come back are told that they may have missed some; ``trust_restarts`` says that
    nothing is lost at a restart, as with ``sync_interval: always``. Restarts in a
    cluster are not seen, so it takes ``replicas`` of more than 1 there, or that trust.

    ``timeout`` is how long the server may take to answer, ``probe_interval`` after how much silence
    it is asked whether it is there: seconds. ``clock`` gives seconds; without one it is the
    server's.

    Raises DeclarationError for a URL or a prefix that cannot be, ValueError for numbers.
    """

    def __init__(
        self,
        url: str = "nats://localhost:4222",
        *,
        prefix: str = "openapi",
        history_messages: int = 1000,
        history_seconds: float = 86400.0,
        history_bytes: int | None = None,
        partitions: int = 4,
        storage: Literal["file", "memory"] = "file",
        replicas: int = 1,
        trust_restarts: bool = False,
        tls: ssl.SSLContext | None = None,
        credentials: str | None = None,
        timeout: float = 2.0,
        probe_interval: float = 30.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        bounds = {
            "history_messages": history_messages,
            "partitions": partitions,
            "replicas": replicas,
            "history_bytes": 1 if history_bytes is None else history_bytes,
        }
        for name, least in bounds.items():
            if least < 1:
                raise ValueError(f"NatsBroker: {name} must be 1 or more, not {least}")
        times = {
            "history_seconds": history_seconds,
            "timeout": timeout,
            "probe_interval": probe_interval,
        }
        for name, seconds in times.items():
            if seconds <= 0:
                raise ValueError(f"NatsBroker: {name} must be more than 0, not {seconds:g}")
        self.most = Retention(history_messages, history_seconds)
        self.ignored = 0
        """Messages of others on the subjects of this broker, or of another version."""
        self._names = Names(prefix, partitions)
        streams = Streams(
            self._names,
            messages=history_messages,
            seconds=history_seconds,
            max_bytes=history_bytes,
            storage=storage,
            replicas=replicas,
        )
        self._server = Server(
            Address(url, tls=tls, credentials=credentials),
            self._names,
            streams,
            timeout=timeout,
            probe_interval=probe_interval,
            clock=clock,
            trust_restarts=trust_restarts,
            replicated=replicas > 1,
            joined=self._join,
            back=self._back,
        )
        self._logs = Logs(self._server, self._ignore)
        self._onces = Onces(self._server, self._ignore)
        self._rosters = Rosters(self._server, self._ignore)
        self._live: Live | None = None
        self._missed: Callable[[Collection[str] | None], object] = lambda _: None

    async def open(self, deliver: Deliver) -> None:
        """See :meth:`Broker.open`. Raises DeclarationError for one that is open already.

        So it does where the server is of no use: too old, without JetStream, or full.
        """
        if self._live is not None:
            raise DeclarationError(
                "this NatsBroker is open already: a manager needs one of its own"
            )
        self._live = Live(
            self._names,
            deliver,
            heard=self._logs.heard,
            ignore=self._ignore,
            missed=lambda channels: self._missed(channels),
        )
        try:
            await self._server.open()
        except BaseException:
            self._live = None
            raise

    async def publish(self, channel: str, event: str, data: object) -> None:
        """See :meth:`Broker.publish`. When it returns, the server has read it."""
        self._check(channel)
        link = self._server.link()
        await link.publish(self._names.live(channel), Envelope.write(event, data))
        await link.fence()

    async def subscribe(self, channel: str) -> None:
        """See :meth:`Broker.subscribe`."""
        if self._live is None:
            raise CannotSubscribe("the broker is not open")
        if not self._names.fits(channel):
            raise CannotSubscribe(_TOO_LONG)
        await self._live.subscribe(self._server.link(), channel)

    async def unsubscribe(self, channel: str) -> None:
        """See :meth:`Broker.unsubscribe`."""
        if self._live is not None:
            await self._live.unsubscribe(channel)

    async def aclose(self) -> None:
        """See :meth:`Broker.aclose`. What the server keeps is there for the next one."""
        live, self._live = self._live, None
        await self._server.aclose()
        await self._logs.aclose()
        await self._rosters.aclose()
        if live is not None:
            await live.aclose()

    @property
    def outage(self) -> Outage | None:
        """See :attr:`Supervised.outage`."""
        return self._server.outage

    def watch(self, missed: Callable[[Collection[str] | None], object]) -> None:
        """See :meth:`Supervised.watch`."""
        self._missed = missed

    def now(self) -> float:
        """See :meth:`KeepsHistory.now`: the server's time, unless the broker was given a clock."""
        return self._server.clock()

    async def append(
        self,
        channel: str,
        event: str,
        data: object,
        *,
        retention: Retention,
        key: str | None = None,
    ) -> Position:
        """See :meth:`KeepsHistory.append`."""
        self._check(channel)
        self._server.link()
        return await self._logs.append(channel, event, Data.of(data), retention, key)

    async def history(
        self,
        channel: str,
        *,
        retention: Retention,
        since: Position | None = None,
        limit: int,
        reverse: bool = False,
    ) -> Page[Publication]:
        """See :meth:`KeepsHistory.history`."""
        if not self._names.fits(channel):
            raise CannotSubscribe(_TOO_LONG)
        return await self._logs.history(channel, retention, since, limit, reverse)

    async def publish_once(self, channel: str, event: str, data: object, *, key: str) -> None:
        """See :meth:`PublishesOnce.publish_once`."""
        self._check(channel)
        await self._onces.publish(channel, event, Data.of(data), key)

    async def enter(
        self, channel: str, connections: Mapping[str, Member], *, ttl: float
    ) -> Sequence[Member]:
        """See :meth:`KeepsPresence.enter`."""
        if not self._names.fits(channel):
            raise CannotSubscribe(_TOO_LONG)
        self._server.link()
        return await self._rosters.enter(channel, connections, ttl)

    async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
        """See :meth:`KeepsPresence.leave`."""
        if not self._names.fits(channel):
            return ()
        self._server.link()
        return await self._rosters.leave(channel, connections)

    async def refresh(self, channel: str, connections: Collection[str], *, ttl: float) -> Refreshed:
        """See :meth:`KeepsPresence.refresh`."""
        if not self._names.fits(channel):
            return Refreshed(list(connections), ())
        self._server.link()
        return await self._rosters.refresh(channel, connections, ttl)

    async def members(self, channel: str) -> Sequence[Member]:
        """See :meth:`KeepsPresence.members`."""
        if not self._names.fits(channel):
            return ()
        return await self._rosters.members(channel)

    async def _join(self, link: Link) -> None:
        """There is a new connection: the server may be another one."""
        self._logs.clear()
        if self._live is not None:
            await self._live.join(link)

    def _back(self) -> None:
        self._logs.clear()
        self._missed(None)

    def _ignore(self, channel: str, exc: Unreadable) -> None:
        self.ignored += 1
        if self.ignored == 1:
            logger.warning(
                "on channel %r there is what cannot be read, and so on: %s", channel, exc
            )

    def _check(self, channel: str) -> None:
        if self._live is None:
            raise CannotPublish("the broker is not open")
        if not self._names.fits(channel):
            raise CannotPublish(_TOO_LONG)
