"""What a manager is made of, and how it hangs together.

Each part is made when it is first needed: a subclass of the manager need not call its ``__init__``,
and there may be no loop yet.
"""

import asyncio
import logging
from collections.abc import Awaitable, Collection
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from openapi.errors import CannotPublish
from openapi.protocol.stream import Position
from openapi.protocol.topics import SERVER_EVENT
from openapi.ws.background import Background
from openapi.ws.broker import Broker
from openapi.ws.carrier import Carrier, CarrierState
from openapi.ws.directory import Directory
from openapi.ws.drain import Drain
from openapi.ws.nodes import Nodes
from openapi.ws.publishing import Publishing
from openapi.ws.reach import Reach
from openapi.ws.shielded import Shielded
from openapi.ws.shutdown import ShutdownWatch

if TYPE_CHECKING:
    from openapi.ws.connection import Connection
    from openapi.ws.manager import SocketsManager
    from openapi.ws.subscription import Subscription

__all__ = ["Parts"]

logger = logging.getLogger(__name__)


class Parts:
    """The parts of a manager. ``alone`` is whether nobody else can have its broker."""

    def __init__(self, sockets: "SocketsManager", broker: str | Broker, *, alone: bool) -> None:
        self.broker: Final = broker
        self.alone: Final = alone
        self.subscriptions: Final[set[Subscription[Any]]] = set()
        self.background: Final = Background()
        self._sockets = sockets
        self._opening: asyncio.Task[None] | None = None
        self._unopened = False

    @cached_property
    def carrier(self) -> Carrier:
        """The broker's life."""
        return Carrier(self.broker, self._deliver, self._missed, self.nodes.start)

    @cached_property
    def publishing(self) -> Publishing:
        """Publishing by the rules."""
        return Publishing(self._sockets.rules, self._open)

    @cached_property
    def nodes(self) -> Nodes:
        """The other processes of the application."""
        return Nodes(
            alone=self.alone,
            limits=self._sockets.limits,
            opened=lambda: self.carrier.opened(),
            connections=lambda: len(self.directory),
            answer=lambda question: self.reach.answer(question),
            spawn=self.background.spawn,
        )

    @cached_property
    def directory(self) -> Directory:
        """Who is connected here."""
        return Directory(self.nodes.id)

    @cached_property
    def reach(self) -> Reach:
        """What is done to connections, wherever they are."""
        return Reach(self.directory, self._sockets.channels, self.nodes)

    @cached_property
    def shielded(self) -> Shielded:
        """Calls that nothing cancels."""
        return Shielded(self._sockets.limits.shielded)

    @cached_property
    def drain(self) -> Drain:
        """The end."""
        return Drain(
            self._sockets.limits,
            self.connections,
            lambda: len(self.nodes.table) > 0,
            self.background,
            self._let_go,
        )

    @cached_property
    def watch(self) -> ShutdownWatch:
        """What learns of the end."""
        return ShutdownWatch(self.drain.begin, self.drain.finish)

    def be_found(self) -> None:
        """Somebody is connected, for whom other nodes may ask: have the broker open."""
        carrier = self.carrier
        if self.alone or carrier.state is not CarrierState.NEW:
            return
        if self._opening is None or self._opening.done():
            self._opening = self.background.spawn(self._join())

    def connections(self) -> "list[Connection]":
        """Those that there are."""
        return [ws.connection for ws in self._sockets.sockets]

    def _deliver(
        self, channel: str, event: str, data: object, position: Position | None = None
    ) -> Awaitable[None]:
        if channel.startswith(SERVER_EVENT):
            return self.nodes.receive(channel, event, data)
        return self._sockets.channels.deliver(channel, event, data, position)

    def _missed(self, channels: Collection[str] | None) -> None:
        self.nodes.back(channels)
        self._sockets.channels.feeds.missed(channels)

    async def _open(self) -> Broker:
        broker = await self.carrier.opened()
        if broker is None:
            raise CannotPublish("the server has shut down")
        return broker

    async def _join(self) -> None:
        try:
            await self.carrier.opened()
        except Exception:
            # Each connection tries it again; the log has it once.
            level = logging.DEBUG if self._unopened else logging.ERROR
            self._unopened = True
            logger.log(level, "the broker cannot be opened", exc_info=True)

    async def _let_go(self) -> None:
        channels, timeout = self._sockets.channels, self._sockets.limits.close_timeout
        for subscription in tuple(self.subscriptions):
            subscription.end(None)
            channels.leave(subscription)
        await channels.aclose()
        await self.nodes.aclose(timeout)
        # Channels that have nobody now, on_disconnect, and what the stopped ones clean up.
        await self.background.wind_up(timeout)
        try:
            async with asyncio.timeout(timeout):
                await self.carrier.aclose()
        except Exception:
            # The application has more to clean up behind this.
            logger.exception("closing the broker failed")
