"""Clients in processes of their own, whose connections are cut all the time by servers, likewise.

    with Node("memory://", history=300, seed=1) as server:
        found = await jitter([server], programs(node), clients=300, turns=[1] * 200, seed=1)
        found["Python"].figures.silent

What the clients got is judged by what was published, in the way of ``tests/ws/fleet.py``: whatever
is neither heard nor told of is lost silently.
"""

import asyncio
import random
import socket
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession
from yarl import URL

from tests.coming_back import node as node_program
from tests.coming_back.lines import ROOT, Program, running
from tests.coming_back.node import CHANNEL
from tests.servers.process import HOST, Server
from tests.ws.fleet import Figures, Fleet, judge

__all__ = ["Found", "Node", "jitter", "programs"]

#: How often a client is cut off, in the mean.
_CUTS: Final = 3
#: Seconds in which every client has surely come back and got as far as the last message.
_PATIENCE: Final = 30.0
#: Seconds, before somebody is asked again.
_PAUSE: Final = 0.01


def programs(node: str) -> dict[str, Sequence[str]]:
    """The programs of clients, by their language; ``node`` is the path of Node.js."""
    return {
        "Python": [sys.executable, "-m", "tests.coming_back.listeners"],
        "JavaScript": [node, str(ROOT / "clients/js/test/jitter/listeners.js")],
    }


class Node(Server):
    """``tests/coming_back/node.py`` as a process. ``broker`` is the URL of one."""

    def __init__(self, broker: str, *, history: int, seed: int) -> None:
        super().__init__()
        self._arguments = (broker, str(history), str(seed))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _command(self) -> Sequence[str | Path]:
        return [sys.executable, node_program.__file__, str(self.port), *self._arguments]

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), 1.0):
            return True


@dataclass(frozen=True, slots=True)
class Found:
    """What became of the clients of one program."""

    figures: Figures
    flagged: Sequence[range]
    """Each loss that one of them was told of."""


async def jitter(
    nodes: Sequence[Node],
    programs: Mapping[str, Sequence[str]],
    *,
    clients: int,
    turns: Sequence[int],
    seed: int,
) -> dict[str, Found]:
    """Cut off the clients of each program, so many; returns what became of them.

    ``turns`` are how many messages are published in one go, by any of the nodes. No turn begins
    while less than half of the clients are there. When it is over, one message more is published.
    """
    last = sum(turns) + 1
    urls = [f"{each.url}/stream" for each in nodes]
    told = {"urls": urls, "channel": CHANNEL, "clients": clients, "last": last}
    async with AsyncExitStack() as stack, ClientSession() as session:
        running_ones = [
            await stack.enter_async_context(running(*command, told=told))
            for command in programs.values()
        ]
        await _say(running_ones, "ready")
        conductor = _Conductor(session, nodes, seed)
        await conductor.lead(turns, clients=clients * len(programs))
        try:
            async with asyncio.timeout(_PATIENCE):
                await _say(running_ones, "done")
        except TimeoutError:
            sys.stdout.write(f"not all have got as far as {last} in {_PATIENCE:.0f} seconds\n")
        noted = [await each.end() for each in running_ones]
    found = {}
    for name, lines in zip(programs, noted, strict=True):
        found[name] = _found([each for each in lines if each != "done"], last)
        sys.stdout.write(f"{name}: {found[name].figures}\n")
    sys.stdout.write(f"{conductor.cut:,} connections were cut\n")
    return found


class _Conductor:
    """Says to the nodes what is next."""

    def __init__(self, session: ClientSession, nodes: Sequence[Node], seed: int) -> None:
        self.cut = 0
        """How many connections were cut."""
        self._session = session
        self._nodes = nodes
        self._random = random.Random(seed)
        self._published = 0

    async def lead(self, turns: Sequence[int], *, clients: int) -> None:
        """Publish and cut; in the end publish one message more, and cut nothing."""
        cuts = Counter(self._random.randrange(len(turns)) for _ in range(_CUTS * clients))
        for number, count in enumerate(turns):
            while await self._turn(publish=0, cut=0) < clients // 2:  # noqa: ASYNC110 # far away
                await asyncio.sleep(_PAUSE)
            await self._turn(publish=count, cut=cuts[number])
        await self._turn(publish=1, cut=0)

    async def _turn(self, *, publish: int, cut: int) -> int:
        """Returns how many clients are there."""
        numbers = [*range(self._published + 1, self._published + publish + 1)]
        self._published += publish
        where = self._random.randrange(len(self._nodes))
        parts = [self._random.randrange(len(self._nodes)) for _ in range(cut)]
        answers = await asyncio.gather(
            *(
                self._ask(each, publish=numbers if index == where else [], cut=parts.count(index))
                for index, each in enumerate(self._nodes)
            )
        )
        assert answers[where]["offsets"] == numbers
        self.cut += sum(each["cut"] for each in answers)
        return sum(each["there"] for each in answers)

    async def _ask(self, node: Node, **asked: Any) -> dict[str, Any]:
        async with self._session.post(URL(node.url) / "turn", json=asked) as response:
            answer: dict[str, Any] = await response.json()
            return answer


async def _say(running_ones: Sequence[Program], what: str) -> None:
    await asyncio.gather(*(each.says(what) for each in running_ones))


def _found(noted: Sequence[Mapping[str, Any]], last: int) -> Found:
    fleet = Fleet([], CHANNEL, len(noted))
    for listener, each in zip(fleet.listeners, noted, strict=True):
        at = 0
        for run in each["noted"]:
            if isinstance(run, int):
                listener.flagged.append(range(at + 1, run + 1))
                at = run
            else:
                listener.heard.extend(range(run[0], run[1] + 1))
                at = run[1]
        listener.recovered = each["recovered"]
    resets = sum(each["recovered"] + each["refused"] for each in noted)
    flagged = [lost for listener in fleet.listeners for lost in listener.flagged]
    return Found(judge(fleet.listeners, last, resets), flagged)
