"""Processes with a presence each, over one broker that fails as it is told to.

For the seeded loop, whose time is virtual, and the broker's too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from openapi.protocol.limits import Limits
from openapi.ws.broker import KeepsPresence, Member, Refreshed
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.presence import Presence
from tests.shuffled import pause, running_loop

T = TypeVar("T")


def memory() -> MemoryBroker:
    """A broker in the loop's time."""
    return MemoryBroker(clock=running_loop().time)


@dataclass
class Node(KeepsPresence):
    """A process's way to a broker, with faults."""

    broker: MemoryBroker = field(default_factory=memory)
    calls: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    ttls: list[float] = field(default_factory=list)
    failing: int = 0
    """Calls that are to fail, and have done nothing."""
    unanswered: int = 0
    """Calls to enter or leave that are to fail, and have done what they should."""
    error: Exception = field(default_factory=lambda: ConnectionError("no broker"))
    gate: asyncio.Event | None = None
    """Until it is set, nothing happens."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it was asked anything, or failed, for the first time."""
    busy: int = 0
    busiest: int = 0
    before: Callable[[str], Awaitable[None]] | None = None

    async def enter(
        self, channel: str, connections: Mapping[str, Member], *, ttl: float
    ) -> Sequence[Member]:
        self.ttls.append(ttl)
        return await self._do(
            "enter",
            channel,
            connections,
            lambda: self.broker.enter(channel, connections, ttl=ttl),
        )

    async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
        return await self._do(
            "leave", channel, connections, lambda: self.broker.leave(channel, connections)
        )

    async def refresh(self, channel: str, connections: Collection[str], *, ttl: float) -> Refreshed:
        self.ttls.append(ttl)
        return await self._do(
            "refresh",
            channel,
            connections,
            lambda: self.broker.refresh(channel, connections, ttl=ttl),
        )

    async def members(self, channel: str) -> Sequence[Member]:
        return await self.broker.members(channel)

    async def _do(
        self, verb: str, channel: str, connections: Collection[str], act: Callable[[], Awaitable[T]]
    ) -> T:
        self.calls.append((verb, channel, tuple(connections)))
        self.asked.set()
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            if self.before is not None:
                await self.before(verb)
            if self.gate is not None:
                await self.gate.wait()
            if self.failing:
                self.failing -= 1
                raise self.error
            answer = await act()
            if self.unanswered and verb != "refresh":
                self.unanswered -= 1
                raise self.error
            return answer
        except Exception:
            self.failed.set()
            raise
        finally:
            self.busy -= 1

    def verbs(self) -> list[str]:
        """What it was asked since the last time."""
        verbs = [verb for verb, _, _ in self.calls]
        self.calls.clear()
        return verbs


class Process:
    """A presence, what it published, and its tasks."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.node = Node(broker or memory())
        self.shut_down = False
        self.published: list[tuple[str, str, object]] = []
        self.taken: Callable[[str, str, object], Awaitable[None]] | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.presence = Presence(
            broker=self.broker,
            publish=self.publish,
            spawn=self.spawn,
            limits=Limits(),
            random=running_loop().rng.random,
        )

    async def broker(self) -> KeepsPresence | None:
        await pause()
        return None if self.shut_down else self.node

    async def publish(self, channel: str, event: str, data: object) -> None:
        self.published.append((channel, event, data))
        if self.taken is not None:
            await self.taken(channel, event, data)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def news(self) -> list[str]:
        """``"$join ann"``, … : what was published since the last time."""
        said = [
            f"{event} {data['id']}" for _, event, data in self.published if isinstance(data, dict)
        ]
        self.published.clear()
        return said

    async def members(self, channel: str = "c") -> dict[str, int]:
        """The members of a channel, with their connections."""
        return {member.id: member.connections for member in await self.presence.members(channel)}


def timers() -> int:
    """The timers that are set."""
    return sum(not timer._cancelled for timer in running_loop()._scheduled)


def idle(process: Process) -> bool:
    """Whether it holds nothing, and nothing of it runs."""
    return not len(process.presence) and not process.tasks and not timers()
