"""Two servers of one application over a broker, with clients at both, to see what an outage does.

async with stage(lambda: RedisBroker(server.url)) as play:
    await play.go_on(50)                # messages through both, which everybody hears
    server.kill()
    await play.notices()                # meanwhile publishing fails and calls are answered
    server.start()
    figures = await play.recovers()     # what everybody heard, was told of, and did not know
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import psutil

from openapi.errors import ErrorCode
from openapi.protocol.limits import Limits
from openapi.ws import Broker, ChannelRule, SocketsManager
from tests.ws.brokers.ledger import Figures, Ledger, Witness, all_hear
from tests.ws.endpoints import application
from tests.ws.tcp import Client, served

__all__ = [
    "BACK",
    "CHANNEL",
    "HISTORY",
    "PATIENCE",
    "Play",
    "assert_nothing_silent",
    "open_files",
    "stage",
    "until",
]

CHANNEL: Final = "news"
#: More messages than are published while anybody is away.
HISTORY: Final = 300

#: Within which everybody hears again once the server is back: two seconds are promised, and a
#: machine that does other things as well takes longer.
BACK: Final = 10.0
#: Seconds in which a single thing surely happens.
PATIENCE: Final = 20.0

#: Seconds in which everything surely happens. Only a test that fails waits for so long.
_PATIENCE: Final = 30.0
_PAUSE: Final = 0.02


class Play:
    """``managers`` are those of both servers, ``witnesses`` the clients of both."""

    def __init__(
        self,
        managers: Sequence[SocketsManager],
        callers: Sequence[Client],
        witnesses: Sequence[Witness],
        ledger: Ledger,
    ) -> None:
        self.managers = managers
        self.witnesses = witnesses
        self.ledger = ledger
        self.back_after = 0.0
        """Seconds from when the server was there again until everybody heard a new message."""
        self._callers = callers

    async def go_on(self, count: int = 50) -> None:
        """Publish so many messages through both in turn; everybody hears the last."""
        async with asyncio.timeout(_PATIENCE):
            await self.ledger.publish_many(self.managers, count)
            await all_hear(self.witnesses, self.ledger.published)

    async def notices(self) -> None:
        """Publish on and on until both know that the server is away; then hold them to that."""
        await self.until(lambda: all(each.outage for each in self.managers))
        await self.holds_out()

    async def holds_out(self, times: int = 50) -> None:
        """While the server is away, publishing and subscribing fail, and other calls do not."""
        for number in range(times):
            assert not await self.ledger.publish(self.managers[number % len(self.managers)])
        for number, caller in enumerate(self._callers):
            await caller.call("info")
            refusal = await caller.ask("subscribe", {"channel": f"other {number}"})
            assert refusal["error"]["code"] == ErrorCode.BROKER_UNAVAILABLE
            assert refusal["error"]["retry_after"] > 0

    async def until(self, there: Callable[[], object]) -> None:
        """Publish on and on until something is true, whatever becomes of that."""
        number = 0
        async with asyncio.timeout(_PATIENCE):
            while not there():  # one more message each time
                number += 1
                await self.ledger.publish(self.managers[number % len(self.managers)])
                await asyncio.sleep(_PAUSE)

    async def recovers(self) -> Figures:
        """Publish until all have heard a new message, then some more: what became of all?"""
        began, before = time.perf_counter(), self.ledger.published
        await self.until(lambda: all(each.last > before for each in self.witnesses))
        await self.until(lambda: not any(each.outage for each in self.managers))
        self.back_after = time.perf_counter() - began
        await self.go_on()
        return self.ledger.judge(self.witnesses)

    def report(self, what: str, figures: Figures) -> None:
        """Print the figures."""
        ledger = self.ledger
        refusals = f"{ledger.refused} refused, the slowest after {ledger.slowest * 1000:.1f} ms"
        back = f"heard again {self.back_after:.2f} s after the server was back"
        sys.stdout.write(f"{what}: {figures}; {refusals}; {back}\n")


def assert_nothing_silent(play: Play, figures: Figures, what: str) -> None:
    """Print the figures, and hold them to what is promised whatever happens."""
    play.report(what, figures)
    assert (figures.silent, figures.repeated, figures.swapped) == (0, 0, 0), figures
    assert figures.heard + figures.flagged == figures.expected
    assert play.back_after < BACK


async def until(there: Callable[[], object]) -> None:
    """Wait until something is true that nobody tells of."""
    async with asyncio.timeout(PATIENCE):
        while not there():  # noqa: ASYNC110 # so it is looked at again and again
            await asyncio.sleep(0.005)


def open_files() -> int:
    """How many this process has, sockets among them."""
    return psutil.Process().num_fds()


@asynccontextmanager
async def stage(broker: Callable[[], Broker], *, clients: int = 3) -> AsyncIterator[Play]:
    """Two servers with so many clients each. Each server has a broker of its own."""
    rules = [ChannelRule(CHANNEL, history=HISTORY), ChannelRule("*")]
    limits = Limits(recovery=HISTORY)
    managers = [SocketsManager(broker=broker(), channels=rules, limits=limits) for _ in range(2)]
    ledger = Ledger(CHANNEL)
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(served(application(sockets=each))) for each in managers
        ]
        witnesses = [await Witness.come(url, ledger) for url in urls for _ in range(clients)]
        callers: list[Any] = [await Client.open(url) for url in urls]
        yield Play(managers, callers, witnesses, ledger)
        for client in (*witnesses, *callers):
            client.reset()
