"""Calls, streams and the server's own calls, cancelled anywhere, in ten thousand orders of events.

Whatever the order: one final frame for each call, nothing of a cancelled one anywhere else, and
nothing left in any table.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from openapi.errors import CallFailed, ConnectionClosed, ErrorCode, RpcError
from openapi.protocol.limits import Limits
from openapi.protocol.methods import ws_rpc
from openapi.protocol.pending import Outcome
from openapi.rpc.peer import Peer
from tests.extent import extent
from tests.rpc.pair import Pair
from tests.shuffled import pause, run, running_loop
from tests.unwatched import unwatched

SCHEDULES = extent(10_000, 2_500)
SLICES = extent(20, 5)  # so that a failure names a part of them, and several may fail

Payload = dict[str, Any]


class Server:
    """Handlers of every kind. ``open`` counts those that began and are not cleaned up yet."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.open = 0
        self.disturbed = 0
        self.in_lane = 0
        self.shielded = Counter[str]()
        self.peer: Peer | None = None

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Clean up: this may be cancelled itself."""
        try:
            yield
        finally:
            self.open -= 1

    async def work(self) -> None:
        """Take some time, or some turns, or none."""
        if self.rng.random() < 0.5:
            await asyncio.sleep(self.rng.random() * 4)
        await pause(self.rng)

    async def ws_rpc_quick(self, payload: Payload) -> Any:
        """Answer at once"""
        return payload["n"]

    async def ws_rpc_slow(self, payload: Payload) -> Any:
        """Answer later, and clean up behind it"""
        self.open += 1
        try:
            await self.work()
            return payload["n"]
        finally:
            with self.closing():
                await self.work()

    async def ws_rpc_refuses(self, payload: Payload) -> Any:
        """Fail later"""
        await self.work()
        raise RpcError(payload["n"], "refused")

    async def ws_rpc_careful(self, payload: Payload) -> Any:
        """Clean up behind a cancellation, and tell if that is disturbed"""
        try:
            await self.work()
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(2)
            except asyncio.CancelledError:
                self.disturbed += 1
            raise
        return payload["n"]

    async def ws_rpc_stubborn(self, payload: Payload) -> Any:
        """Answer all the same"""
        try:
            await self.work()
        except asyncio.CancelledError:
            await self.work()
        return payload["n"]

    @ws_rpc(timeout=1.5)
    async def ws_rpc_limited(self, payload: Payload) -> Any:
        """Answer in time or not"""
        await self.work()
        return payload["n"]

    @ws_rpc(lane=True)
    async def ws_rpc_laned(self, payload: Payload) -> Any:
        """Answer one after another"""
        self.in_lane += 1
        assert self.in_lane == 1
        try:
            await self.work()
            return payload["n"]
        finally:
            try:
                await pause(self.rng)
            finally:
                self.in_lane -= 1

    @ws_rpc(shield=True)
    async def ws_rpc_shielded(self, payload: Payload) -> Any:
        """Finish, come what may"""
        self.shielded["begun"] += 1
        await self.work()
        self.shielded["done"] += 1
        return payload["n"]

    async def ws_rpc_tail(self, payload: Payload) -> AsyncIterator[int]:
        """Send a few items"""
        self.open += 1
        try:
            for n in range(4):
                await self.work()
                yield n
        finally:
            with self.closing():
                await self.work()

    async def ws_rpc_endless(self, payload: Payload) -> AsyncIterator[int]:
        """Send items until nobody wants them"""
        self.open += 1
        try:
            n = 0
            while True:
                yield n
                n += 1
                await asyncio.sleep(1)
        finally:
            self.open -= 1

    async def ws_rpc_asks(self, payload: Payload) -> Any:
        """Ask the client, and answer what it says"""
        assert self.peer is not None
        self.open += 1
        try:
            timeout = self.rng.choice([None, None, 2.0])
            answer = await self.peer.call("confirm", payload, returns=int, timeout=timeout)
        except TimeoutError as exc:
            raise RpcError(1, "the client took too long") from exc
        finally:
            self.open -= 1
        return answer


class Client:
    """What the server may ask."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.open = 0

    async def ws_rpc_confirm(self, payload: Payload) -> int:
        """Answer the number, now or later"""
        self.open += 1
        try:
            if self.rng.random() < 0.6:
                await asyncio.sleep(self.rng.random() * 4)
            return int(payload["n"])
        finally:
            try:
                await pause(self.rng)
            finally:
                self.open -= 1


UNARY = [
    "quick",
    "slow",
    "careful",
    "refuses",
    "stubborn",
    "limited",
    "laned",
    "laned",
    "shielded",
    "asks",
]
STREAMS = ["tail", "endless"]
ENDS = (CallFailed, ConnectionClosed, TimeoutError)


async def stream(peer: Peer, method: str, most: int) -> list[int]:
    """Read a stream to its end, or as many items as are wanted."""
    items: asyncio.Queue[bytes | Outcome] = asyncio.Queue()
    ended: list[Outcome] = []

    def finish(outcome: Outcome) -> None:
        ended.append(outcome)
        items.put_nowait(b"")

    asked = await peer.begin(method, {"n": 1}, finish, item=items.put_nowait)
    read: list[int] = []
    try:
        while len(read) < most and (item := await items.get()):
            assert isinstance(item, bytes)
            read.append(int(item))
    finally:
        peer.session.pending.abandon(asked)
    if ended and not isinstance(ended[0], bytes):
        raise ended[0]
    return read


async def one(peer: Peer, rng: random.Random, n: int) -> Any:
    """One call, or one stream."""
    await pause(rng)
    if rng.random() < 0.3:
        method = rng.choice(STREAMS)
        read = await stream(peer, method, rng.randint(1, 6))
        assert read == list(range(len(read)))
        return n
    timeout = rng.choice([None, None, None, 1.0, 3.0])
    return await peer.call(rng.choice(UNARY), {"n": n}, returns=int, timeout=timeout)


async def scenario() -> None:
    """A dozen calls, some of them cancelled, and perhaps the connection's end in their midst."""
    loop = running_loop()
    rng = loop.rng
    server, client = Server(rng), Client(rng)
    pair = Pair(server, client, limits=Limits(calls=16), delay=lambda: rng.choice([0, 0, 0.5]))
    server.peer = pair.server
    tasks = [asyncio.create_task(one(pair.client, rng, n)) for n in range(10)]
    cancelled: set[int] = set()
    for n in rng.sample(range(10), rng.randint(0, 6)):
        await asyncio.sleep(rng.choice([0, 0, 0.2, 1.0]))
        await pause(rng)
        if tasks[n].cancel():
            cancelled.add(n)
    cut = rng.random() < 0.3
    if cut:
        await asyncio.sleep(rng.random() * 4)
        pair.end()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for n, result in enumerate(results):
        if isinstance(result, asyncio.CancelledError):
            assert n in cancelled, "a cancelled call took another one with it"
        elif isinstance(result, ConnectionClosed):
            assert cut
        elif isinstance(result, CallFailed):
            expected = {ErrorCode.DEADLINE_EXCEEDED, n, 1}
            assert result.code in expected or (cut and result.code == ErrorCode.INTERNAL_ERROR)
        else:
            assert isinstance(result, TimeoutError) or result == n, result
    await settle(pair, server, client)
    check(pair, cut)


async def settle(pair: Pair, server: Server, client: Client) -> None:
    """Let the work that goes on behind the answers come to its end."""
    await asyncio.sleep(40)
    assert (server.open, client.open, server.in_lane) == (0, 0, 0)
    assert server.disturbed == 0, "it was cancelled twice"
    assert server.shielded["begun"] == server.shielded["done"]
    for peer in (pair.server, pair.client):
        session = peer.session
        assert (peer.running, session.in_flight, session.calls) == (0, 0, {})
        assert len(session.pending) == 0
        assert not session._lanes
    pair.end()


def check(pair: Pair, cut: bool) -> None:
    """See that each call of either end got one final frame, and its items in front of that."""
    to_server, to_client = pair.to_server.frames(), pair.to_client.frames()
    for asked, answered in ((to_server, to_client), (to_client, to_server)):
        calls = [frame["id"] for frame in asked if "payload" in frame]
        finals, items = Counter[Any](), Counter[Any]()
        for frame in answered:
            if "item" in frame:
                items[frame["id"]] += 1
                assert frame["seq"] == items[frame["id"]]
                assert not finals[frame["id"]], "an item behind the final frame"
            elif "response" in frame or "error" in frame:
                finals[frame["id"]] += 1
        assert not finals.keys() - set(calls)
        assert all(count == 1 for count in finals.values())
        assert cut or finals.keys() == set(calls)


@pytest.mark.parametrize("part", range(SLICES))
def test_one_final_frame_and_nothing_left_whatever_is_cancelled_when(part: int) -> None:
    with unwatched(part > 0):
        for seed in range(part, SCHEDULES, SLICES):
            try:
                run(seed, scenario)
            except BaseException as exc:
                exc.add_note(f"seed {seed}")
                raise
