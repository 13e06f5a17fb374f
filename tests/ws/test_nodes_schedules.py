"""Nodes that are cut off, come back, end and are asked, in many orders: nobody is lost silently."""

import asyncio
from collections import Counter

import pytest

from openapi.protocol.backoff import delays
from openapi.ws.brokers.memory import MemoryBroker
from tests.shuffled import run, running_loop
from tests.ws.test_nodes_life import INTERVAL, One

SLICES = 4
SEEDS = 100


class World:
    """Four nodes that know each other at the beginning."""

    def __init__(self, seen: Counter[str]) -> None:
        self.rng = running_loop().rng
        self.seen = seen
        self.memory = MemoryBroker()
        self.nodes = [One(self.memory) for _ in range(4)]
        for node in self.nodes:  # a seed shall give the same every time
            node.nodes._random = self.rng.random
            node.nodes._pauses = delays(self.rng.random, cap=2.0)
        self.ended = set[str]()
        self.cuts = Counter[str]()
        """How often each was cut off, or came back."""

    async def run(self) -> None:
        await asyncio.gather(*(each.sockets.open() for each in self.nodes))
        await asyncio.sleep(1)
        async with asyncio.TaskGroup() as tasks:
            for node in self.nodes:
                tasks.create_task(self.live(node))
        for node in self.nodes:
            assert len(node.nodes.questions) == 0
            assert len(node.nodes.answering) == 0
            assert node.nodes.ignored == 0
        assert self.memory._memory.subscribers == {}

    async def live(self, node: One) -> None:
        for _ in range(self.rng.randint(2, 6)):
            await asyncio.sleep(self.rng.choice([0.0, 0.001, 0.5, 3.0, 35.0]))
            match self.rng.choice(["ask", "ask", "ask", "cancel", "cut", "away", "back"]):
                case "ask":
                    await self.ask(node)
                case "cancel":
                    asking = asyncio.create_task(node.sockets.server_info(cluster=True))
                    await asyncio.sleep(self.rng.choice([0.0, 0.001, 0.002, 1.0]))
                    asking.cancel()
                    await asyncio.wait([asking])
                case "cut":
                    self.cuts[node.sockets.node] += 1
                    node.wire.cut = True
                case "away":
                    self.cuts[node.sockets.node] += 1
                    node.wire.away = True
                case "back":
                    self.cuts[node.sockets.node] += 1
                    node.wire.cut = node.wire.away = False
                    node.wire.missed(None)
        self.ended.add(node.sockets.node)
        await node.sockets.drain()

    async def ask(self, node: One) -> None:
        """Whoever was there all the time, and is known, is in the answer or named."""
        others = {each.sockets.node: each for each in self.nodes if each is not node}
        known = {id for id in others if id in node.nodes.table}
        before, cuts = set(self.ended), Counter(self.cuts)
        began = asyncio.get_running_loop().time()
        info = await node.sockets.server_info(cluster=True)
        assert asyncio.get_running_loop().time() - began < 3 * INTERVAL
        answered = {each["id"] for each in info["nodes"]}
        missing = {each["id"] for each in info["missing"]}
        assert answered & missing == set()
        self.seen["answered"] += len(answered) - 1
        self.seen["missing"] += len(missing)
        for id, other in others.items():
            if id in known and id not in before | self.ended:
                assert id in answered | missing
            was_well = cuts[id] == self.cuts[id] and not (other.wire.cut or other.wire.away)
            if id in missing and was_well and id not in self.ended:
                self.seen["missing though well"] += 1
                me = node.sockets.node
                unheard = node.wire.cut or node.wire.away or self.cuts[me] or self.cuts[id]
                assert unheard, info["missing"]


@pytest.mark.parametrize("part", range(SLICES))
def test_whoever_is_there_answers_or_is_named_whatever_happens_when(part: int) -> None:
    seen = Counter[str]()

    async def main() -> None:
        await World(seen).run()

    for seed in range(part, SLICES * SEEDS, SLICES):
        try:
            run(seed, main)
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise
    assert seen["answered"] > 100
    assert seen["missing"] > 30
