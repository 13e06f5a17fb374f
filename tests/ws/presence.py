"""Processes with a presence each, over one store that fails as it is told to.

For the seeded loop: its time is virtual, and passes only when nothing is ready.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from openapi.protocol.limits import Limits
from openapi.ws.broker import KeepsPresence, Member, Refreshed
from openapi.ws.presence import Presence
from tests.shuffled import pause, running_loop

T = TypeVar("T")


class Store:
    """Who is there, by channel and connection, with the time at which that expires."""

    def __init__(self) -> None:
        self.there: dict[str, dict[str, tuple[Member, float]]] = {}

    def on(self, channel: str) -> dict[str, tuple[Member, float]]:
        return self.there.setdefault(channel, {})

    def ids(self, channel: str) -> set[str]:
        return {member.id for member, _ in self.on(channel).values()}

    def connections(self, channel: str) -> dict[str, Member]:
        now = running_loop().time()
        return {name: member for name, (member, due) in self.on(channel).items() if due > now}


@dataclass
class Node(KeepsPresence):
    """A process's way to the store, with faults. What has expired is let go of by refresh only."""

    store: Store = field(default_factory=Store)
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
        def enter() -> Sequence[Member]:
            present, due = self.store.ids(channel), running_loop().time() + ttl
            new = {m.id: m for m in connections.values() if m.id not in present}
            for name, member in connections.items():
                self.store.on(channel)[name] = member, due
            return tuple(new.values())

        self.ttls.append(ttl)
        return await self._do("enter", channel, connections, enter)

    async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
        def leave() -> Sequence[Member]:
            on = self.store.on(channel)
            left = [on.pop(name)[0] for name in connections if name in on]
            present = self.store.ids(channel)
            return tuple(
                {m.id: replace(m, connections=0) for m in left if m.id not in present}.values()
            )

        return await self._do("leave", channel, connections, leave)

    async def refresh(self, channel: str, connections: Collection[str], *, ttl: float) -> Refreshed:
        def refresh() -> Refreshed:
            on, now = self.store.on(channel), running_loop().time()
            late = {name: on.pop(name)[0] for name, (_, due) in tuple(on.items()) if due <= now}
            present = self.store.ids(channel)
            for name in connections:
                if name in on:
                    on[name] = on[name][0], now + ttl
            expired = {
                m.id: replace(m, connections=0) for m in late.values() if m.id not in present
            }
            lost = [name for name in connections if name not in on]
            return Refreshed(lost=lost, expired=tuple(expired.values()))

        self.ttls.append(ttl)
        return await self._do("refresh", channel, connections, refresh)

    async def members(self, channel: str) -> Sequence[Member]:
        counts: dict[str, Member] = {}
        for member in self.store.connections(channel).values():
            others = counts[member.id].connections if member.id in counts else 0
            counts[member.id] = replace(member, connections=others + 1)
        return tuple(counts.values())

    async def _do(
        self, verb: str, channel: str, connections: Collection[str], act: Callable[[], T]
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
            answer = act()
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

    def __init__(self, store: Store | None = None, limits: Limits | None = None) -> None:
        self.node = Node(store or Store())
        self.shut_down = False
        self.published: list[tuple[str, str, object]] = []
        self.taken: Callable[[str, str, object], Awaitable[None]] | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.presence = Presence(
            broker=self.broker,
            publish=self.publish,
            spawn=self.spawn,
            limits=limits or Limits(),
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
