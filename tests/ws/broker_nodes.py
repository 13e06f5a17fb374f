"""Brokers of one kind as nodes of one world, and what the conformance suite cannot do to them."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from openapi.protocol.publication import Data, Publication
from openapi.protocol.stream import Page, Position
from openapi.ws.broker import Broker, KeepsHistory, KeepsPresence, PublishesOnce, Supervised


class Clock:
    """A clock that a test sets: seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class World(ABC):
    """Where brokers of one kind meet: whatever is between them. In a new one, nothing is kept."""

    patience: float = 10.0
    """Seconds in which a message surely arrives. Only a test that fails waits for so long."""

    @abstractmethod
    async def brokers(self, count: int) -> list[Broker]:
        """New brokers, not yet open, each as if in a process of its own."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Age what is kept by so many seconds: messages, keys, and who is present."""

    async def lose(self, channel: str) -> None:
        """Lose the stream of a channel, as a server without persistence does that restarts."""
        raise NotImplementedError(f"{type(self).__name__} has no history")

    async def away(self, *, silent: bool = False) -> None:
        """Have the server away: it refuses connections, or if ``silent`` does not answer on them.

        It need not have kept anything when it is :meth:`back`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no server")

    async def back(self) -> None:
        """Have the server back."""
        raise NotImplementedError(f"{type(self).__name__} has no server")

    @abstractmethod
    async def kill(self, broker: Broker) -> None:
        """End its process: it does not say that anybody leaves. It may be closed afterwards."""


@dataclass(frozen=True, slots=True)
class Message:
    """What was delivered. ``data`` is as whoever reads its JSON text sees it."""

    event: str
    data: Any = None
    position: Position | None = None


class Node:
    """An open broker, and what it delivers. ``pause`` is awaited in each delivery."""

    def __init__(
        self, broker: Broker, patience: float, pause: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self.broker = broker
        self.delivered: dict[str, list[Message]] = {}
        self.missed: list[Collection[str] | None] = []
        """What it was told of messages that may have been missed."""
        self._patience = patience
        self._pause = pause
        self._news = asyncio.Condition()
        self._fences = 0

    @property
    def history(self) -> KeepsHistory:
        assert isinstance(self.broker, KeepsHistory)
        return self.broker

    @property
    def once(self) -> PublishesOnce:
        assert isinstance(self.broker, PublishesOnce)
        return self.broker

    @property
    def presence(self) -> KeepsPresence:
        assert isinstance(self.broker, KeepsPresence)
        return self.broker

    @property
    def supervised(self) -> Supervised:
        assert isinstance(self.broker, Supervised)
        return self.broker

    async def open(self) -> None:
        """Open the broker, and listen to what it says."""
        if isinstance(self.broker, Supervised):
            self.broker.watch(self.missed.append)
        await self.broker.open(self.deliver)

    async def deliver(
        self, channel: str, event: str, data: object, position: Position | None = None
    ) -> None:
        message = Message(event, json.loads(Data.of(data).json), position)
        self.delivered.setdefault(channel, []).append(message)
        async with self._news:
            self._news.notify_all()
        if self._pause is not None:
            await self._pause()

    async def until(self, channel: str, there: Callable[[list[Message]], bool]) -> list[Message]:
        """Wait for what is delivered on a channel; returns all of it. Fails when it takes long."""
        delivered = self.delivered.setdefault(channel, [])
        try:
            async with asyncio.timeout(self._patience), self._news:
                await self._news.wait_for(lambda: there(delivered))
        except TimeoutError:
            raise AssertionError(f"not delivered on {channel!r}, only {delivered}") from None
        return delivered

    async def messages(self, channel: str, count: int) -> list[Message]:
        """Wait for so many messages; returns all that were delivered."""
        return await self.until(channel, lambda delivered: len(delivered) >= count)

    async def until_away(self) -> None:
        """Wait until the broker knows that its server is away."""
        await self._until_outage(lambda: self.supervised.outage is not None)

    async def until_back(self) -> None:
        """Wait until the broker knows that all of its server is there."""
        await self._until_outage(lambda: self.supervised.outage is None)

    async def _until_outage(self, there: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                while not there():  # noqa: ASYNC110 # nobody is told of it
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"the outage is still {self.supervised.outage}") from None

    async def so_far(self, channel: str, publisher: "Node") -> list[Message]:
        """All that was delivered, of what was published before: one more message shows it.

        The node must be subscribed. Messages with positions come behind those only whose
        positions they follow: :meth:`streamed` is for these.
        """
        self._fences += 1
        fence = f"fence {id(self)} {self._fences}"
        await publisher.broker.publish(channel, fence, None)
        delivered = await self.until(channel, lambda all: any(each.event == fence for each in all))
        return [each for each in delivered if not each.event.startswith("fence ")]

    async def streamed(self, channel: str, top: Position) -> list[Message]:
        """All that was delivered up to a position."""
        await self.until(channel, lambda all: any(each.position == top for each in all))
        return self.delivered[channel]


class Open(Protocol):
    """Open so many nodes. They are closed when the test is over."""

    def __call__(
        self, count: int, *, pause: Callable[[], Awaitable[object]] | None = None
    ) -> Awaitable[list[Node]]: ...


def offsets_of(page: Page[Publication]) -> list[int]:
    return [each.offset for each in page.messages]


def values_of(page: Page[Publication]) -> list[Any]:
    return [json.loads(each.data.json) for each in page.messages]
