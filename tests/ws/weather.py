"""A broker of one process that behaves as one behind a network: it takes its time, and is late.

What it carries on channels with history it may lose, or say twice; it keeps them all the same.
"""

import asyncio
import random
from collections import deque
from typing import Any

from openapi.protocol.patterns import Pattern
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page, Position
from openapi.ws.broker import Deliver
from openapi.ws.brokers.memory import MemoryBroker
from tests.shuffled import pause


class Weather(MemoryBroker):
    """``late`` is whether what is published is carried later, ``lossy`` whether some gets lost.

    ``streams`` has the event of each message there ever was, by channel, epoch and offset.
    """

    def __init__(self, rng: random.Random, *, late: bool, lossy: bool) -> None:
        super().__init__()
        self.streams: dict[str, dict[str, dict[int, str]]] = {}
        self._rng = rng
        self._is_late = late
        self._is_lossy = lossy
        self._lines: dict[str, deque[tuple[str, object, Position | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def behind(self, channel: str, position: Position, pattern: Pattern) -> list[int]:
        """The messages of a stream behind a position that fit a pattern."""
        stream = self.streams[channel][position.epoch]
        offsets = range(position.offset + 1, max(stream, default=0) + 1)
        return [offset for offset in offsets if pattern.matches(stream[offset])]

    async def open(self, deliver: Deliver) -> None:
        """Carry to ``deliver``, later or at once."""

        async def carry(
            channel: str, event: str, data: object, position: Position | None = None
        ) -> None:
            if position is not None:
                self._know(channel, event, position)
            if not self._is_late:
                await deliver(channel, event, data, position)
                return
            line = self._lines.get(channel)
            if line is None:
                line = self._lines[channel] = deque()
                task = asyncio.get_running_loop().create_task(self._carry(channel, line, deliver))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            for _ in range(1 if position is None else self._times()):
                line.append((event, data, position))

        await super().open(carry)

    async def append(self, channel: str, event: str, data: object, **options: Any) -> Position:
        """Append, after a while; the answer comes after another."""
        await self.wait()
        position = await super().append(channel, event, data, **options)
        self._know(channel, event, position)
        await self.wait()
        return position

    async def publish(self, channel: str, event: str, data: object) -> None:
        """Publish, after a while."""
        await self.wait()
        await super().publish(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        """Subscribe, after a while."""
        await self.wait()
        await super().subscribe(channel)
        await self.wait()

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe, after a while."""
        await self.wait()
        await super().unsubscribe(channel)
        await self.wait()

    async def history(self, channel: str, **reading: Any) -> Page[Publication]:
        """Read at one moment, which is neither when it is asked for nor when it is answered."""
        await self.wait()
        page = await super().history(channel, **reading)
        self.streams.setdefault(channel, {}).setdefault(page.top.epoch, {})
        await self.wait()
        return page

    async def aclose(self) -> None:
        """Carry nothing any more."""
        await super().aclose()
        for task in self._tasks:
            task.cancel()

    def top(self, channel: str) -> tuple[str, int]:
        """The epoch of the newest stream that anybody knows of, and how many messages it had."""
        epoch, events = list(self.streams[channel].items())[-1]
        return epoch, len(events)

    async def wait(self) -> None:
        """Take some turns, or some time."""
        if self._rng.random() < 0.3:
            await asyncio.sleep(self._rng.random())
        else:
            await pause(self._rng, most=2)

    def _know(self, channel: str, event: str, position: Position) -> None:
        events = self.streams.setdefault(channel, {}).setdefault(position.epoch, {})
        assert events.setdefault(position.offset, event) == event
        assert len(events) == position.offset

    def _times(self) -> int:
        return self._rng.choice([0, 1, 1, 1, 2]) if self._is_lossy else 1

    async def _carry(
        self, channel: str, line: deque[tuple[str, object, Position | None]], deliver: Deliver
    ) -> None:
        while line:
            await self.wait()
            event, data, position = line.popleft()
            await deliver(channel, event, data, position)
        del self._lines[channel]
