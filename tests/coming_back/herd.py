"""Clients that lose their server together, in several processes, and come back each by itself.

with HerdServer() as server, HerdServer(server.port) as successor:
    async with grazing(server, clients=2000) as herd:
        await herd.kill(successor, away=2)  # two seconds later the other takes its place
        figures = await herd.comes_back()
"""

import asyncio
import json
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from tests.coming_back import herd_server
from tests.coming_back.herd_server import CHANNEL, LISTEN, LOADED
from tests.coming_back.lines import Program, running
from tests.servers.process import HOST, Server

__all__ = ["Figures", "Herd", "HerdServer", "grazing", "share"]

#: Seconds of which each has its share of the attempts.
_WINDOW: Final = 0.1
#: Seconds for an answer. Only a test that fails waits for so long.
_PATIENCE: Final = 20.0
#: Seconds, before it is asked again.
_PAUSE: Final = 0.01


class HerdServer(Server):
    """``tests/coming_back/herd_server.py`` as a process. Started, it does not listen yet."""

    def __init__(self, port: int | None = None) -> None:
        super().__init__()
        self.port = port or self.port
        self.since = 0.0
        """When it began to listen: seconds of ``time.monotonic``."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def listen(self) -> None:
        """Let it listen; returns when it answers. Raises TimeoutError."""
        (self.folder / LISTEN).touch()
        deadline = time.monotonic() + _PATIENCE
        while not self._listens():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self} does not answer:\n{(self.folder / 'log').read_text()}")
            time.sleep(_PAUSE)  # it is another process, which tells nobody

    def publish(self) -> int:
        """Publish a message; returns how many are connected."""
        connected: int = _said(Request(f"{self.url}/publish", method="POST"))
        return connected

    def _command(self) -> Sequence[str | Path]:
        return [sys.executable, herd_server.__file__, str(self.port)]

    def _answers(self) -> bool:
        return (self.folder / LOADED).exists()

    def _listens(self) -> bool:
        try:
            said = _said(Request(self.url))
        except OSError:
            return False
        if said["pid"] != self.pid:  # the one whose place it takes
            return False
        self.since = said["since"]
        return True


@dataclass(frozen=True, slots=True)
class Figures:
    """How a herd came back."""

    clients: int
    attempts: int
    """How often they connected, or tried to, from the moment in which they lost the server."""
    most: float
    """The part of the attempts in the 100 ms that had most of them."""
    away: float
    """Seconds until one listened again."""
    back: float
    """Seconds from then until the last client had its subscription again."""
    renewed: int
    """How often a subscription was renewed."""
    heard: int
    """How many got the message that was published then; each only once."""

    def __str__(self) -> str:
        return (
            f"{self.clients:,} clients, nobody listened for {self.away:.2f} s: all back within"
            f" {self.back:.2f} s; {self.attempts:,} attempts, at most {self.most:.2%} of them in"
            f" 100 ms; {self.renewed:,} renewals, {self.heard:,} heard what was published then"
        )


class Herd:
    """All clients, and their server."""

    def __init__(self, server: HerdServer, programs: Sequence[Program], clients: int) -> None:
        self._server = server
        self._programs = programs
        self._clients = clients
        self._lost = 0.0

    async def kill(self, successor: HerdServer, *, away: float) -> None:
        """Kill the server; ``away`` seconds later another takes its place."""
        await self._end(self._server.kill, successor, away)

    async def stop(self, successor: HerdServer, *, away: float) -> None:
        """Let the server end in order; ``away`` seconds later another takes its place."""
        await self._end(self._server.stop, successor, away)

    async def _end(self, end: Callable[[], None], successor: HerdServer, away: float) -> None:
        self._server, self._lost = successor, time.monotonic()
        ending = asyncio.create_task(asyncio.to_thread(end))
        await asyncio.sleep(away)  # so long nobody listens
        await asyncio.to_thread(successor.listen)
        await ending

    async def comes_back(self) -> Figures:
        """Wait until all are back, and hear what is published; let the clients end."""
        await self._say("back")
        assert await asyncio.to_thread(self._server.publish) == self._clients
        await self._say("heard")
        found: list[dict[str, Any]] = []
        for program in self._programs:
            found += await program.end()
        attempts = sorted(at for each in found for at in each["attempts"] if at >= self._lost)
        renewed = [moments for each in found for moments in each["renewed"]]
        figures = Figures(
            clients=self._clients,
            attempts=len(attempts),
            most=share(attempts),
            away=self._server.since - self._lost,
            back=max(max(moments) for moments in renewed) - self._server.since,
            renewed=sum(map(len, renewed)),
            heard=sum(count == 1 for each in found for count in each["heard"]),
        )
        sys.stdout.write(f"{figures}\n")
        return figures

    async def _say(self, what: str) -> None:
        await asyncio.gather(*(each.says(what) for each in self._programs))


@asynccontextmanager
async def grazing(server: HerdServer, *, clients: int) -> AsyncIterator[Herd]:
    """So many clients, a multiple of 250, all subscribed."""
    processes = min(4, clients // 250)
    told = {"url": f"{server.url}/stream", "channel": CHANNEL, "clients": clients // processes}
    await asyncio.to_thread(server.listen)
    async with AsyncExitStack() as stack:
        programs = [
            await stack.enter_async_context(
                running(sys.executable, "-m", "tests.coming_back.herd_clients", told=told)
            )
            for _ in range(processes)
        ]
        herd = Herd(server, programs, clients)
        await asyncio.gather(*(each.says("ready") for each in programs))
        yield herd


def share(moments: Sequence[float]) -> float:
    """The part of the moments, which are sorted, in the 100 ms that have most of them."""
    most = max(bisect_right(moments, at + _WINDOW) - index for index, at in enumerate(moments))
    return most / len(moments)


def _said(request: Request) -> Any:
    with urlopen(request, timeout=_PATIENCE) as response:
        return json.load(response)
