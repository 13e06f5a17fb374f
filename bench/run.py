"""Measure this server: `make bench`. Its CPU time per operation, and what one slow reader costs;
what carrying messages past one process costs, and what a second worker is worth.

    python -m bench.run [server] [brokers] [workers]        some of it; without a name all

Figures hold for the machine that they were measured on; compare those of one run only.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psutil

from bench import brokers, workers
from bench.load import Socket, text

ORDER = {"id": 123456, "item": "oolong", "price": 12.5, "express": True, "note": "leave it there"}
ROUNDS = 3


class Server:
    """A server process of its own, and what it has used."""

    def __init__(self, port: int, process: psutil.Process) -> None:
        self.port = port
        self._process = process

    def cpu(self) -> float:
        """User and system time, in seconds."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """A fresh server, ended when it is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.server", stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield Server(int(await process.stdout.readline()), psutil.Process(process.pid))
    finally:
        process.terminate()
        await process.wait()


async def calls(depth: int, connections: int = 50, total: int = 40_000) -> float:
    """Server CPU per typed call, in microseconds, with ``depth`` in flight on each connection."""
    async with server() as target:
        left, done, wrong = total, asyncio.Event(), 0
        frames = [text({"id": id, "method": "order", "payload": ORDER}) for id in range(depth)]

        def taker(index: int) -> Callable[[bytes], None]:
            def take(payload: bytes) -> None:
                nonlocal left, wrong
                wrong += b'"response":{"id":123456,"total":15.0' not in payload
                left -= 1
                if left == 0:
                    done.set()
                elif left > 0:
                    sockets[index].transport.write(frames[int(payload[6 : payload.index(b",")])])

            return take

        sockets = [await Socket.connect(target.port, taker(i)) for i in range(connections)]
        before = target.cpu()
        for socket in sockets:
            socket.transport.write(b"".join(frames))
        await done.wait()
        used = target.cpu() - before
        assert wrong == 0, f"{wrong} wrong answers"
        return used / total * 1e6


async def fan_out(subscribers: int = 500, publishes: int = 400, in_flight: int = 8) -> float:
    """Server CPU per delivery, in microseconds."""
    async with server() as target:
        deliveries, answers, done = 0, asyncio.Queue[None](), asyncio.Event()

        def take(payload: bytes) -> None:
            nonlocal deliveries
            deliveries += payload.startswith(b'{"channel":"c"')
            if deliveries == subscribers * publishes:
                done.set()

        def answer(payload: bytes) -> None:
            answers.put_nowait(None)

        readers = [await Socket.connect(target.port, take) for _ in range(subscribers)]
        for reader in readers:
            reader.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
        publisher = await Socket.connect(target.port, answer)
        publish = {"id": 1, "method": "publish", "payload": {"channel": "c", "data": "x" * 100}}
        before = target.cpu()
        for number in range(publishes):
            publisher.send(publish | {"id": number})
            if number >= in_flight:
                await answers.get()
        await done.wait()
        return (target.cpu() - before) / deliveries * 1e6


async def slow_reader(subscribers: int = 500, rate: int = 50, size: int = 4096) -> dict[str, float]:
    """Delivery times of the healthy before and while one of ``subscribers`` reads nothing."""
    async with server() as target:
        delays: list[float] = []
        longest, ended = 0, list[int]()

        def take(payload: bytes) -> None:
            if b'"tick"' in payload[:40]:
                start = payload.index(b'"at":') + 5
                delays.append(time.monotonic() - float(payload[start : payload.index(b",", start)]))

        def control(payload: bytes) -> None:
            nonlocal longest
            answer = json.loads(payload)
            if answer["method"] == "queued":
                longest = max(longest, answer["response"]["longest"])
                ended[:] = answer["response"]["ended"]

        # What the kernel holds for one that does not read would hide it for megabytes.
        stopped = await Socket.connect(target.port, lambda _: None, receive_buffer=4096)
        sockets = [await Socket.connect(target.port, take) for _ in range(subscribers - 1)]
        for socket in (stopped, *sockets):
            socket.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
        boss = await Socket.connect(target.port, control)

        async def phase(seconds: float) -> float:
            delays.clear()
            boss.send(
                {
                    "id": 1,
                    "method": "tick",
                    "payload": {"channel": "c", "rate": rate, "seconds": seconds, "size": size},
                }
            )
            end = time.monotonic() + seconds + 0.5
            while time.monotonic() < end:
                boss.send({"id": 2, "method": "queued"})
                await asyncio.sleep(0.05)
            return statistics.quantiles(delays, n=100)[98] * 1e3

        await phase(2)  # warm
        before = await phase(10)
        stopped.transport.pause_reading()
        during = await phase(40)
        return {"before": before, "during": during, "queue": longest, "code": sum(ended)}


async def median(measure: Callable[[], Awaitable[float]]) -> tuple[float, float]:
    """The median of some rounds and their spread."""
    figures = [await measure() for _ in range(ROUNDS)]
    return statistics.median(figures), max(figures) - min(figures)


async def main() -> None:
    """Print the figures as they come."""
    for name, measure in (
        ("typed call, 1 in flight on 50 connections", lambda: calls(1)),
        ("typed call, 16 in flight on 50 connections", lambda: calls(16)),
        ("delivery to 500 subscribers, 8 publishes in flight", fan_out),
    ):
        middle, spread = await median(measure)
        print(f"{name:52} {middle:6.1f} µs of server CPU (spread {spread:.1f})", flush=True)
    for _ in range(ROUNDS):
        slow = await slow_reader()
        print(
            f"one of 500 stops reading: p99 {slow['before']:.1f} ms before, {slow['during']:.1f} ms"
            f" while ({slow['during'] / slow['before']:.2f}x), its queue {slow['queue']:.0f} bytes"
            f" at the most, closed with {slow['code']:.0f}",
            flush=True,
        )


PARTS = {"server": main, "brokers": brokers.main, "workers": workers.main}

if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - set(PARTS):
        sys.exit(f"there is no part {', '.join(sorted(unknown))}: it is {', '.join(PARTS)}")
    for name in sys.argv[1:] or PARTS:
        asyncio.run(PARTS[name]())
