"""Streams that are read, left, lost and cancelled anywhere, in many orders of events.

Whatever the order: the server's generator ends, each call has one final frame, and nothing is left.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from openapi.client import Stream, TooSlow
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode
from openapi.schema import Schema
from tests.client.servers import beginning
from tests.rpc.pair import Pair
from tests.shuffled import pause, run, running_loop
from tests.unwatched import unwatched

SCHEDULES = 600
SLICES = 10  # so that a failure names a part of them, and several may fail

Payload = dict[str, Any]


class Server:
    """Streams that count themselves."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.open = 0

    async def ws_rpc_tail(self, payload: Payload) -> AsyncIterator[int]:
        """Send a few items"""
        self.open += 1
        try:
            for n in range(4):
                await asyncio.sleep(self.rng.choice([0, 0.5, 2]))
                yield n
        finally:
            try:
                await pause(self.rng)
            finally:
                self.open -= 1

    async def ws_rpc_endless(self, payload: Payload) -> AsyncIterator[int]:
        """Send items as fast as anybody takes them"""
        self.open += 1
        try:
            n = 0
            while True:
                yield n
                n += 1
                if n % 7 == 0:
                    await asyncio.sleep(self.rng.choice([0, 0.1]))
        finally:
            self.open -= 1

    async def ws_rpc_still(self, payload: Payload) -> AsyncIterator[int]:
        """Send one item, and wait"""
        self.open += 1
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            self.open -= 1

    async def ws_rpc_quick(self, payload: Payload) -> int:
        """Answer at once, without items"""
        return 7


async def read(pair: Pair, rng: random.Random) -> None:
    """Read a stream, in one way or the other."""
    await pause(rng)
    method = rng.choice(["tail", "endless", "still", "quick"])
    items: Stream[int] = Stream(
        beginning(pair.client, lambda: pause(rng)),
        method,
        None,
        decode=Schema.of(int).decode,
        read=Schema.of(Any).decode,
        timeout=rng.choice([None, 1.0]),
        queue_bytes=2000,
    )
    most, seen = 1 if method == "still" else rng.randint(1, 30), 0
    if rng.random() < 0.5:
        async with items:
            async for item in items:
                assert item == seen
                seen += 1
                if seen == most:
                    return
                await pause(rng)
    else:
        async for item in items:
            assert item == seen
            seen += 1
            if seen == most:
                return
            await pause(rng)
    assert (method, seen) in (("tail", 4), ("quick", 0))
    assert items.response == (7 if method == "quick" else None)


async def scenario() -> None:
    """Some streams, some of their readers cancelled, and perhaps the end in their midst."""
    rng = running_loop().rng
    server = Server(rng)
    pair = Pair(server, delay=lambda: rng.choice([0, 0, 0.3]))
    tasks = [asyncio.create_task(read(pair, rng)) for _ in range(6)]
    for task in rng.sample(tasks, rng.randint(0, 4)):
        await asyncio.sleep(rng.choice([0, 0, 0.2, 1.0]))
        await pause(rng)
        task.cancel()
    cut = rng.random() < 0.3
    if cut:
        await asyncio.sleep(rng.random() * 3)
        pair.end()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, CallFailed):
            assert outcome.code == ErrorCode.DEADLINE_EXCEEDED
        elif isinstance(outcome, ConnectionClosed):
            assert cut
        else:
            expected = TimeoutError | TooSlow | asyncio.CancelledError | None
            assert isinstance(outcome, expected), outcome
    del outcomes, tasks  # their tracebacks have what they read
    await asyncio.sleep(10)
    assert server.open == 0
    assert len(pair.client.session.pending) == 0
    assert pair.server.running == 0
    finals = Counter(frame["id"] for frame in pair.to_client.frames() if "item" not in frame)
    calls = {frame["id"] for frame in pair.to_server.frames() if "payload" in frame}
    assert all(count == 1 for count in finals.values())
    assert cut or finals.keys() == calls
    pair.end()


@pytest.mark.parametrize("part", range(SLICES))
def test_nothing_is_left_of_a_stream_however_its_reader_ends(part: int) -> None:
    with unwatched(part > 0):
        for seed in range(part, SCHEDULES, SLICES):
            run(seed, scenario)
