"""One node's end of a bus in memory: what carries messages between the nodes of a cluster.

| state | what the node asks of it | what others publish | what its presence is           |
|-------|--------------------------|---------------------|--------------------------------|
| THERE | is done                  | is delivered        | said as it is                  |
| AWAY  | raises BrokerUnavailable | is missed           | not refreshed: it expires      |
| DEAD  | is not done              | is missed           | not refreshed, nobody says bye |
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from openapi.errors import BrokerUnavailable
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page, Position
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
from openapi.ws.brokers.memory import MemoryBroker

__all__ = ["Bus", "BusState"]


class BusState(Enum):
    """See the table of the module."""

    THERE = "there"
    AWAY = "away"
    DEAD = "dead"


class Bus(Broker, KeepsHistory, PublishesOnce, KeepsPresence, Supervised):
    """The broker of one node, beside those of others on the same ``memory``."""

    def __init__(self, memory: MemoryBroker) -> None:
        self.state = BusState.THERE
        self._memory: Final = memory.sibling()
        self._deliver: Deliver | None = None
        self._missed: Callable[[Collection[str] | None], object] = lambda channels: None
        self._since = 0.0

    def cut_off(self) -> None:
        """Be away, as a server that cannot be reached."""
        if self.state is BusState.THERE:
            self.state = BusState.AWAY
            self._since = asyncio.get_running_loop().time()

    def come_back(self) -> None:
        """Be there again. The node is told that it may have missed messages."""
        if self.state is BusState.AWAY:
            self.state = BusState.THERE
            self._missed(None)

    def die(self) -> None:
        """Do nothing more for a node whose process is gone."""
        self.state = BusState.DEAD

    @property
    def outage(self) -> Outage | None:
        """See :attr:`Supervised.outage`."""
        if self.state is BusState.THERE:
            return None
        return Outage(self._since, "the node is cut off from the others")

    def watch(self, missed: Callable[[Collection[str] | None], object]) -> None:
        """See :meth:`Supervised.watch`."""
        self._missed = missed

    async def open(self, deliver: Deliver) -> None:
        """See :meth:`Broker.open`."""
        self._deliver = deliver
        await self._memory.open(self._carry)

    async def aclose(self) -> None:
        """See :meth:`Broker.aclose`."""
        await self._memory.aclose()

    async def publish(self, channel: str, event: str, data: object) -> None:
        """See :meth:`Broker.publish`."""
        if self._there():
            await self._memory.publish(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        """See :meth:`Broker.subscribe`."""
        if self._there():
            await self._memory.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        """See :meth:`Broker.unsubscribe`."""
        await self._memory.unsubscribe(channel)

    def now(self) -> float:
        """See :meth:`KeepsHistory.now`."""
        return self._memory.now()

    async def append(self, channel: str, event: str, data: object, **options: Any) -> Position:
        """See :meth:`KeepsHistory.append`."""
        self._reached()
        return await self._memory.append(channel, event, data, **options)

    async def history(self, channel: str, **options: Any) -> Page[Publication]:
        """See :meth:`KeepsHistory.history`."""
        self._reached()
        return await self._memory.history(channel, **options)

    async def publish_once(self, channel: str, event: str, data: object, *, key: str) -> None:
        """See :meth:`PublishesOnce.publish_once`."""
        if self._there():
            await self._memory.publish_once(channel, event, data, key=key)

    async def enter(
        self, channel: str, connections: Mapping[str, Member], *, ttl: float
    ) -> Sequence[Member]:
        """See :meth:`KeepsPresence.enter`."""
        return await self._memory.enter(channel, connections, ttl=ttl) if self._there() else ()

    async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
        """See :meth:`KeepsPresence.leave`."""
        return await self._memory.leave(channel, connections) if self._there() else ()

    async def refresh(self, channel: str, connections: Collection[str], *, ttl: float) -> Refreshed:
        """See :meth:`KeepsPresence.refresh`."""
        if self._there():
            return await self._memory.refresh(channel, connections, ttl=ttl)
        return Refreshed()

    async def members(self, channel: str) -> Sequence[Member]:
        """See :meth:`KeepsPresence.members`."""
        self._reached()
        return await self._memory.members(channel)

    async def _carry(
        self, channel: str, event: str, data: object, position: Position | None = None
    ) -> None:
        if self.state is BusState.THERE and self._deliver is not None:
            await self._deliver(channel, event, data, position)

    def _there(self) -> bool:
        """Whether it is to be done. Raises BrokerUnavailable while it is away."""
        if self.state is BusState.AWAY:
            self._reached()
        return self.state is BusState.THERE

    def _reached(self) -> None:
        if self.state is not BusState.THERE:
            raise BrokerUnavailable("the node is cut off from the others")
