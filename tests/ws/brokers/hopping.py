"""A thousand clients that come back at the other server each time, while both publish.

    async with two_servers(brokers) as application:
        figures = await application.hop(clients=1000)

Their broker may be away in between: who publishes tries again with the same key, and a client whose
subscription is refused for that tries again as well.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from yarl import URL

from openapi.errors import BrokerUnavailable, ErrorCode
from openapi.ws import Broker, ChannelRule, SocketsManager
from tests.unwatched import unwatched
from tests.ws.endpoints import application
from tests.ws.fleet import Figures, Fleet, Listener, follow, judge, schedule
from tests.ws.tcp import Frame, served

__all__ = ["Hopping", "two_servers"]

CHANNEL: Final = "news"
MESSAGES: Final = 200
HISTORY: Final = 300
RATE: Final = 40  # messages a second of the schedule
LASTING: Final = 2.5  # seconds of the schedule: a connection, in the mean
AWAY: Final = 0.2  # seconds of the schedule: 8 messages
SEED: Final = 20_261

#: Before those who were refused try again: seconds.
_PAUSE: Final = 0.05


class _Patient(Listener):
    """One that tries again when it was refused because the broker is away."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        super().__init__(fleet, number)
        self.refused = 0

    def take(self, line: object, frame: Frame) -> None:
        error = frame.get("error")
        if error is None or error["code"] != ErrorCode.BROKER_UNAVAILABLE:
            super().take(line, frame)  # type: ignore[arg-type] # its own kind of connection
            self._fleet.news()  # where it is now, it may be by a reset too
            return
        self.refused += 1
        self._fleet.news()
        asyncio.get_running_loop().call_later(_PAUSE, self._again, line)

    def _again(self, line: object) -> None:
        if line is self._line:
            self.opened(line)  # type: ignore[arg-type]


class Hopping:
    """``managers`` are those of the two servers at ``urls``."""

    def __init__(self, managers: Sequence[SocketsManager], urls: Sequence[URL]) -> None:
        self.managers = managers
        self.urls = urls
        self.refused = 0
        """How often a message could not be published at once."""
        self.published = 0
        self._fleet = Fleet(urls, CHANNEL, 0)
        self._outage: Callable[[], Awaitable[object]] | None = None

    async def hop(
        self, *, clients: int, outage: Callable[["Hopping"], Awaitable[object]] | None = None
    ) -> Figures:
        """Reset the clients all the time; in the middle there may be an ``outage``."""
        rng, fleet = random.Random(SEED), self._fleet
        listeners: list[Listener] = [_Patient(fleet, number) for number in range(clients)]
        fleet.listeners = listeners
        if outage is not None:
            self._outage = lambda: outage(self)
        with unwatched():
            await fleet.all_come()
            moments = schedule(
                rng,
                listeners=clients,
                messages=MESSAGES,
                rate=RATE,
                lasting=LASTING,
                away=lambda: AWAY,
            )
            resets = await follow(fleet, moments, self._publish, rng)
            await fleet.all_come()
            # Messages and answers come from the bus by different ways: this one is behind all.
            last = await self._publish()
            await fleet.until(lambda: all((each.offset or 0) >= last for each in listeners))
            figures = judge(listeners, last, resets)
            fleet.reset()
        assert [f"{each.number}: {fault}" for each in listeners for fault in each.faults] == []
        sys.stdout.write(f"{figures}\n")
        return figures

    async def away(self, hopping: int) -> int:
        """While the broker is away, let so many clients hop; returns how many were refused.

        Whoever comes back to a server that has all that they missed is not.
        """
        await self._until(lambda: all(each.outage for each in self.managers))
        those = [each for each in self._fleet.listeners if each.here][:hopping]
        before = {each: _refused(each) for each in those}
        for each in those:
            each.reset()
            each.come()
        answered = lambda each: each.here or _refused(each) > before[each]  # noqa: E731
        await self._fleet.until(lambda: all(map(answered, those)))
        return sum(not each.here for each in those)

    async def _publish(self) -> int:
        if self._outage is not None and self.published == MESSAGES // 2:
            outage, self._outage = self._outage, None
            await outage()
        self.published += 1
        number = self.published
        manager = self.managers[number % len(self.managers)]
        while True:
            try:
                position = await manager.publish_once(CHANNEL, "n", {"n": number}, key=str(number))
            except BrokerUnavailable:
                self.refused += 1
                await asyncio.sleep(_PAUSE)
                continue
            assert position is not None
            assert position.offset == number
            return number

    @staticmethod
    async def _until(there: Callable[[], bool]) -> None:
        while not there():  # noqa: ASYNC110 # nobody tells of it
            await asyncio.sleep(_PAUSE)


def _refused(listener: Listener) -> int:
    assert isinstance(listener, _Patient)
    return listener.refused


@asynccontextmanager
async def two_servers(broker: Callable[[], Broker]) -> AsyncIterator[Hopping]:
    """Two servers of one application, each with a broker of its own."""
    rules = [ChannelRule(CHANNEL, history=HISTORY)]
    near, far = (SocketsManager(broker=broker(), channels=rules) for _ in range(2))
    async with served(application(sockets=near)) as a, served(application(sockets=far)) as b:
        yield Hopping([near, far], [a, b])
