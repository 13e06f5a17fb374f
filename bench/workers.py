"""How much more two workers answer than one: `openapi serve --workers`, over Redis.

    python -m bench.workers [CALLS [ROUNDS]]

The light client needs a core, and so does Valkey, a little. On a machine whose cores are all taken
the wall cannot say what a second worker is worth. So the CPU per call is measured as well: as long
as it is the same with two as with one, two free cores answer twice as much.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from bench.brokers import cpu_of
from bench.load import Socket, text
from bench.peers import ROOT
from tests.servers.valkey import ValkeyServer

__all__ = ["main"]

ORDER = {"id": 123456, "item": "oolong", "price": 12.5, "express": True, "note": "leave it there"}
CONNECTIONS = 64
DEPTH = 16


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one round. CPU in seconds per call."""

    per_second: float
    worker_cpu: float
    client_cpu: float
    busy: float
    """Cores that the workers had, together."""
    shares: list[float]
    """The part of the calls' CPU that each worker had."""


async def measure(workers: int, calls: int) -> Figures:
    """One round, on processes of its own."""
    with ValkeyServer() as valkey:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openapi", "serve", "bench/worker_app.py:create_app"),
            *("--workers", str(workers), "--port", "0", "--quiet", "--loop", "asyncio"),
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "BROKER": valkey.url},
        )
        try:
            assert process.stdout is not None
            said = json.loads(await process.stdout.readline())
            port = int(said["url"].rpartition(":")[2])
            serving = [psutil.Process(pid) for pid in said.get("workers", [process.pid])]
            return await _called(port, serving, calls)
        finally:
            process.terminate()
            await process.wait()


async def _called(port: int, serving: list[psutil.Process], calls: int) -> Figures:
    left, done, wrong = 0, asyncio.Event(), 0
    frames = [text({"id": id, "method": "order", "payload": ORDER}) for id in range(DEPTH)]

    def taker(index: int) -> Callable[[bytes], None]:
        def take(payload: bytes) -> None:
            nonlocal left, wrong
            wrong += b'"response":{"id":123456,"total":15.0' not in payload
            left -= 1
            if left == 0:
                done.set()
            elif left >= CONNECTIONS * DEPTH:
                sockets[index].transport.write(frames[int(payload[6 : payload.index(b",")])])

        return take

    sockets = [await Socket.connect(port, taker(number)) for number in range(CONNECTIONS)]

    async def call(count: int) -> None:
        nonlocal left
        left = max(count, CONNECTIONS * DEPTH)
        done.clear()
        for socket in sockets:
            socket.transport.write(b"".join(frames))
        async with asyncio.timeout(120):
            await done.wait()

    await call(2000)  # warm
    client = psutil.Process()
    before, own, begun = [cpu_of(each) for each in serving], cpu_of(client), time.monotonic()
    await call(calls)
    took = time.monotonic() - begun
    used = [cpu_of(each) - then for each, then in zip(serving, before, strict=True)]
    assert wrong == 0, f"{wrong} wrong answers"
    for socket in sockets:
        socket.transport.abort()
    return Figures(
        per_second=calls / took,
        worker_cpu=sum(used) / calls,
        client_cpu=(cpu_of(client) - own) / calls,
        busy=sum(used) / took,
        shares=[each / sum(used) for each in used],
    )


async def main(calls: int = 60_000, rounds: int = 3) -> None:
    """Print the medians of some rounds, taken in turn."""
    found: dict[int, list[Figures]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, figures in found.items():
            figures.append(await measure(workers, calls))
    cores = len(os.sched_getaffinity(0))
    print(f"\ntyped calls by 1 and by 2 workers over Valkey, {rounds} rounds each, {cores} cores")

    def of(workers: int, field: str) -> float:
        return float(statistics.median(getattr(each, field) for each in found[workers]))

    one, two = of(1, "per_second"), of(2, "per_second")
    print(f"{'calls a second':44}{one:11,.0f}{two:11,.0f}    {two / one:.2f}x")
    for name, field, factor in (
        ("CPU of the workers per call, µs", "worker_cpu", 1e6),
        ("CPU of the client per call, µs", "client_cpu", 1e6),
        ("cores that the workers had", "busy", 1),
    ):
        print(f"{name:44}{of(1, field) * factor:11,.2f}{of(2, field) * factor:11,.2f}")
    shares = [max(each.shares) for each in found[2]]
    print(f"{'part of the busier of two workers':44}{'':11}{statistics.median(shares):11.2f}")
    scale = of(1, "worker_cpu") / of(2, "worker_cpu")
    needed = 2 + of(2, "client_cpu") / of(2, "worker_cpu") * 2
    print(
        f"by their CPU per call, two workers on free cores answer {2 * scale:.2f}x of one's;"
        f" with this client that takes {needed:.1f} cores, and here are {cores}",
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
