"""The server as all parts of the broker know it: a supervised connection, its streams, its time."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

import nats.errors

from openapi.errors import BrokerUnavailable, DeclarationError
from openapi.ws.broker import Outage
from openapi.ws.brokers.nats.address import Address
from openapi.ws.brokers.nats.clock import ServerClock
from openapi.ws.brokers.nats.link import Link, NobodyAnswers
from openapi.ws.brokers.nats.names import Names
from openapi.ws.brokers.nats.streams import Streams
from openapi.ws.brokers.supervision import Supervisor

__all__ = ["Server"]

logger = logging.getLogger(__name__)

#: How often it is seen to that all streams are there, and what time it is: seconds. While something
#: is wrong with them, it is more often.
_TEND: Final = 30.0
_ILL: Final = 1.0


class Server:
    """A server that may be away. ``trust_restarts``: it loses nothing when it is restarted.

    ``joined`` is called with each new connection before it is of use to others; ``back`` when
    something may have been missed, and none is from then on.
    """

    def __init__(
        self,
        address: Address,
        names: Names,
        streams: Streams,
        *,
        timeout: float,
        probe_interval: float,
        clock: Callable[[], float] | None,
        trust_restarts: bool,
        replicated: bool,
        joined: Callable[[Link], Awaitable[None]],
        back: Callable[[], object],
    ) -> None:
        self.names: Final = names
        self.replicated: Final = replicated
        """Whether one server may know less than another."""
        self.run = "-"
        """What names this run of the server, which may have lost the newest before; or ``-``."""
        self._address = address
        self._streams = streams
        self._timeout = timeout
        self._probe_interval = probe_interval
        self._server_clock = ServerClock()
        self.clock: Final = clock or self._server_clock
        """The time by which things are kept: seconds."""
        self._trust_restarts = trust_restarts
        self._joined = joined
        self._back = back
        self._link: Link | None = None
        self._ill: Outage | None = None
        self._mending: asyncio.Task[None] | None = None
        self._owner = self._new_owner()

    @property
    def outage(self) -> Outage | None:
        return self._owner.outage or self._ill

    def link(self) -> Link:
        """The connection. Raises BrokerUnavailable."""
        if self._link is None:
            raise BrokerUnavailable
        return self._link

    async def open(self) -> None:
        """Connect, or try to for a while. Raises DeclarationError for one that is of no use."""
        self._address.check()
        try:
            await self._owner.open(self._timeout + 0.5)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Disconnect. It may be opened again."""
        owner, self._owner = self._owner, self._new_owner()
        await owner.aclose()
        if self._mending is not None:
            await asyncio.wait([self._mending])

    async def mend(self) -> None:
        """Have streams again that were lost, and say so. Raises BrokerUnavailable."""
        if self._mending is None or self._mending.done():
            self._mending = asyncio.get_running_loop().create_task(self._mend(self.link()))
            self._mending.add_done_callback(_seen)
        await asyncio.shield(self._mending)

    async def _mend(self, link: Link) -> None:
        try:
            if await self._streams.prepare(link, self._server_clock):
                logger.error("streams of NATS were gone, with all that they kept, and are new")
                self._back()
        except (DeclarationError, NobodyAnswers) as exc:
            raise BrokerUnavailable(f"NATS cannot keep messages now: {exc}") from exc

    def _new_owner(self) -> Supervisor:
        return Supervisor(
            self._address.name,
            self._session,
            final=lambda exc: isinstance(exc, DeclarationError),
        )

    async def _session(self, up: Callable[[], None]) -> None:
        owner = self._owner
        link = await self._connect()
        try:
            self._check_promise(link)
            await self._prepare(link)
            trusted = self._trust_restarts or "cluster" in link.info
            self.run = "-" if trusted else str(link.info["server_id"])[-16:]
            self._link, self._ill = link, None
            up()
            if owner.sessions > 1:
                self._back()
            await self._keep(link)
        finally:
            await link.aclose()

    def _check_promise(self, link: Link) -> None:
        """Raise DeclarationError where messages could be lost silently."""
        if "cluster" in link.info and not (self.replicated or self._trust_restarts):
            raise DeclarationError(
                f"{self._address.name} is one server of a cluster, or behind a leaf node, so its"
                " restarts cannot be seen: with one copy of history, a server that loses power may"
                " lose the newest messages silently. Make the broker yourself, NatsBroker(url,"
                " replicas=3), or with trust_restarts=True where every server has `sync_interval:"
                " always`"
            )

    async def _prepare(self, link: Link) -> None:
        try:
            await self._streams.prepare(link, self._server_clock)
            await self._joined(link)
        except BrokerUnavailable as exc:
            raise ConnectionError(exc.message) from exc

    async def _keep(self, link: Link) -> None:
        """Watch a connection until it ends, and look after the streams meanwhile."""
        loop = asyncio.get_running_loop()
        both = [
            loop.create_task(link.watch(self._probe_interval)),
            loop.create_task(self._tend(link)),
        ]
        try:
            (ended, *_), _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not ended.cancelled():
                ended.result()
        finally:
            self._link = None
            self._ill = Outage(time.time(), f"{self._address.name}: the connection ended")
            for each in both:
                each.add_done_callback(_seen)
                each.cancel()
            await asyncio.wait(both)

    async def _connect(self) -> Link:
        """Connect to any of the servers."""
        servers = list(self._address.servers)
        random.shuffle(servers)
        failed: Exception = ConnectionError("there is no server")
        for server in servers:
            link = Link(self.names.own, timeout=self._timeout)
            try:
                await link.connect(self._address, server)
                self._streams.check(link.info)
                return link
            except (OSError, nats.errors.Error, DeclarationError) as exc:
                failed = exc
                await link.aclose()
            except BaseException:
                await link.aclose()
                raise
        raise failed

    async def _tend(self, link: Link) -> None:
        """Look after the streams: a server may be there, and what keeps them not."""
        while True:
            if self._ill is None:
                await link.doubted(_TEND)
            await asyncio.sleep(_ILL)  # not more often, whoever doubts
            try:
                await self.mend()
            except BrokerUnavailable as exc:
                if self._ill is None:
                    reason = f"{self._address.name}: {exc.message}"
                    self._ill = Outage(time.time(), reason)
                    logger.warning("%s; it is tried until it is well", reason)
            else:
                if self._ill is not None:
                    self._ill = None
                    logger.info("%s is well again", self._address.name)
                    self._back()


def _seen(task: "asyncio.Task[None]") -> None:
    """Whoever waits for it is told; it may be nobody."""
    if not task.cancelled():
        task.exception()
