"""A broker whose bus loses, repeats and delays what it carries to one node, and can stop reading.

    memory = MemoryBroker()
    bus = Bus(memory)                       # for the manager of that node
    bus.weather = lambda number: [0]        # each message once, at once: as it is without this
    bus.weather = lambda number: []         # lost
    bus.weather = lambda number: [0, 2]     # now, and again when two others have come
    bus.broken = True                       # to read raises
    bus.reading = wait                      # each reading waits for that, before and behind it
    bus.missed(None)                        # it says itself that messages may have been missed

What is published is kept all the same: it is only this node that does not hear of it.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from openapi.errors import OpenApiError
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page, Position
from openapi.ws.broker import Broker, Deliver, KeepsHistory, Outage, Supervised
from openapi.ws.brokers.memory import MemoryBroker


class Unreachable(OpenApiError):
    """What reading raises while it is broken."""


def fine(number: int) -> Sequence[int]:
    """Each message once, when it comes."""
    return (0,)


class Bus(Broker, KeepsHistory, Supervised):
    """The broker of one node, beside those of others on the same memory.

    ``weather`` is asked for each message with a position, whose number is counted from 1: it
    returns how many others are to come before it is delivered, once for each time that it is.
    """

    def __init__(self, memory: MemoryBroker) -> None:
        self.weather: Callable[[int], Sequence[int]] = fine
        self.broken = False
        self.missed: Callable[[Collection[str] | None], object] = lambda _: None
        self.reading: Callable[[], Awaitable[object]] | None = None
        self.reads: list[int] = []
        """The limit of each reading, those that failed among them; 0 is a position."""
        self.carried = 0
        """Messages with positions that came from the memory."""
        self._memory: Final = memory.sibling()
        self._deliver: Deliver | None = None
        self._late: list[tuple[int, tuple[str, str, object, Position]]] = []

    @property
    def outage(self) -> Outage | None:
        return Outage(0.0, "it is broken") if self.broken else None

    def watch(self, missed: Callable[[Collection[str] | None], object]) -> None:
        self.missed = missed

    async def open(self, deliver: Deliver) -> None:
        self._deliver = deliver
        await self._memory.open(self._carry)

    async def publish(self, channel: str, event: str, data: object) -> None:
        await self._memory.publish(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        await self._memory.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        await self._memory.unsubscribe(channel)

    async def aclose(self) -> None:
        await self._memory.aclose()

    async def append(self, channel: str, event: str, data: object, **options: Any) -> Position:
        return await self._memory.append(channel, event, data, **options)

    async def history(self, channel: str, **reading: Any) -> Page[Publication]:
        self.reads.append(reading["limit"])
        if self.reading is not None:
            await self.reading()
        if self.broken:
            raise Unreachable("the broker cannot be reached")
        page = await self._memory.history(channel, **reading)
        if self.reading is not None:
            await self.reading()
        return page

    async def deliver_late(self) -> None:
        """Deliver all that is still to come."""
        late, self._late = self._late, []
        for _, message in late:
            await self._hand_on(*message)

    async def _carry(
        self, channel: str, event: str, data: object, position: Position | None = None
    ) -> None:
        if position is None:
            assert self._deliver is not None
            await self._deliver(channel, event, data)
            return
        self.carried += 1
        message = (channel, event, data, position)
        times = self.weather(self.carried)
        for _ in range(times.count(0)):
            await self._hand_on(*message)
        self._late += [(self.carried + others, message) for others in times if others]
        due = [each for when, each in self._late if when <= self.carried]
        self._late = [each for each in self._late if each[0] > self.carried]
        for each in due:
            await self._hand_on(*each)

    async def _hand_on(self, channel: str, event: str, data: object, position: Position) -> None:
        assert self._deliver is not None
        await self._deliver(channel, event, data, position)
