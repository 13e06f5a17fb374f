"""Past one process: what is published on one node reaches 1,000 subscribers on another, over Redis.

Beside it, in the same run and turn by turn, the same by python-socketio's AsyncRedisManager on
aiohttp. Each node is a process of its own, Valkey is one more, and so is this: the load client.

    python -m bench.brokers [SUBSCRIBERS [PUBLISHES [ROUNDS]]]

Throughput is with 8 messages under way. Where the client needs a core of its own and there is none,
the wall says more of the machine than of the server: CPU per delivery is the better figure.
Latency is from the client that publishes to the clients that read, at 20 messages a second.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psutil

from bench.load import Socket, text
from bench.peers import ROOT, peer_python
from bench.socketio_load import EngineSocket, frame
from tests.servers.valkey import ValkeyServer

__all__ = ["Kind", "Node", "cpu_of", "main", "node"]

FILLER = "x" * 100
IN_FLIGHT = 8
#: The latency is looked at of one subscriber in so many: to look costs time too.
LOOKED_AT = 10
RATE = 20


@dataclass(frozen=True, slots=True)
class Node:
    """A server process."""

    port: int
    process: psutil.Process

    def cpu(self) -> float:
        """User and system time that it has used, in seconds."""
        return cpu_of(self.process)


def cpu_of(process: psutil.Process) -> float:
    """User and system time of a process, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def node(command: Sequence[str], broker: str) -> AsyncIterator[Node]:
    """A server that prints its port, ended when it is left."""
    process = await asyncio.create_subprocess_exec(
        *command, broker, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        yield Node(int(await process.stdout.readline()), psutil.Process(process.pid))
    finally:
        process.terminate()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Kind:
    """What is measured: how its nodes are started, and how a client talks to them."""

    name: str
    command: Sequence[str]
    #: With what the payload of a message begins.
    message: bytes
    subscribe: Callable[[int, Callable[[bytes], object]], Awaitable[Socket]]
    #: Of the number of the message, and its data.
    publish: Callable[[int, object], bytes]


async def _subscribed(port: int, take: Callable[[bytes], object]) -> Socket:
    answered = asyncio.Event()

    def first(payload: bytes) -> None:
        socket.take = take
        answered.set()

    socket = await Socket.connect(port, first)
    socket.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
    await answered.wait()
    return socket


async def _joined(port: int, take: Callable[[bytes], object]) -> Socket:
    socket = await EngineSocket.connect(port, take)
    assert isinstance(socket, EngineSocket)
    await socket.joined.wait()
    return socket


def _call(number: int, data: object) -> bytes:
    payload = {"channel": "c", "event": "tick", "data": data}
    return text({"id": number, "method": "publish", "payload": payload})


def _event(number: int, data: object) -> bytes:
    return frame(b'42["publish",%b]' % json.dumps(data).encode())


OURS = Kind(
    "aio-openapi", [sys.executable, "-m", "bench.node"], b'{"channel":"c"', _subscribed, _call
)


def theirs() -> Kind:
    """python-socketio; its environment is made first."""
    command = [str(peer_python()), "-P", str(ROOT / "bench/socketio_node.py")]
    return Kind("python-socketio", command, b'42["tick"', _joined, _event)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one round. Times in seconds."""

    per_second: float
    delivery_cpu: float
    publish_cpu: float
    server_cpu: float
    p50: float
    p99: float


async def measure(kind: Kind, subscribers: int, publishes: int) -> Figures:
    """One round, on processes of its own."""
    async with AsyncExitStack() as stack:
        valkey = stack.enter_context(ValkeyServer())
        a = await stack.enter_async_context(node(kind.command, valkey.url))
        b = await stack.enter_async_context(node(kind.command, valkey.url))
        valkey_process = psutil.Process(valkey.pid)
        heard, wanted, done, delays = 0, 0, asyncio.Event(), list[float]()

        def count(payload: bytes) -> None:
            nonlocal heard
            heard += payload.startswith(kind.message)
            if heard >= wanted:
                done.set()

        def look(payload: bytes) -> None:
            now = time.monotonic()
            start = payload.find(b'"at":') + 5
            delays.append(now - float(payload[start : payload.index(b",", start)]))
            count(payload)

        publisher = await kind.subscribe(a.port, lambda _: None)
        sockets = [
            await kind.subscribe(b.port, look if number % LOOKED_AT == 0 else count)
            for number in range(subscribers)
        ]

        async def until(deliveries: int) -> None:
            nonlocal wanted
            wanted = deliveries
            if heard < wanted:
                done.clear()
                async with asyncio.timeout(120):
                    await done.wait()

        sent = 0

        def publish() -> None:
            nonlocal sent
            sent += 1
            data = {"at": time.monotonic(), "filler": FILLER}
            publisher.transport.write(kind.publish(sent, data))

        for _ in range(5):  # warm
            publish()
            await until(sent * subscribers)
        before = time.monotonic(), b.cpu(), a.cpu(), cpu_of(valkey_process)
        for _ in range(publishes):
            publish()
            await until((sent - IN_FLIGHT) * subscribers)
        await until(sent * subscribers)
        took, delivering, publishing, carrying = (
            now - then
            for now, then in zip(
                (time.monotonic(), b.cpu(), a.cpu(), cpu_of(valkey_process)), before, strict=True
            )
        )
        delays.clear()
        due = time.monotonic()
        for _ in range(5 * RATE):
            publish()
            due += 1 / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await until(sent * subscribers)
        assert heard == sent * subscribers, f"{heard} of {sent * subscribers}"
        cuts = statistics.quantiles(delays, n=100)
        deliveries = publishes * subscribers
        for socket in (publisher, *sockets):
            socket.transport.abort()
        return Figures(
            per_second=deliveries / took,
            delivery_cpu=delivering / deliveries,
            publish_cpu=publishing / publishes,
            server_cpu=carrying / publishes,
            p50=cuts[49],
            p99=cuts[98],
        )


async def main(subscribers: int = 1000, publishes: int = 200, rounds: int = 3) -> None:
    """Print the medians of some rounds, taken in turn."""
    kinds = (OURS, theirs())
    found: dict[str, list[Figures]] = {kind.name: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            found[kind.name].append(await measure(kind, subscribers, publishes))
    print(
        f"\na message on node A reaches {subscribers} on node B over Valkey, {rounds} rounds each"
    )
    print(f"{'':48}{OURS.name:>16}{kinds[1].name:>18}")
    for name, factor, field, unit in (
        ("deliveries a second, 8 messages under way", 1, "per_second", ""),
        ("CPU of node B per delivery", 1e6, "delivery_cpu", "µs"),
        ("CPU of node A per message", 1e6, "publish_cpu", "µs"),
        ("CPU of Valkey per message", 1e6, "server_cpu", "µs"),
        (f"latency at {RATE} messages a second: p50", 1e3, "p50", "ms"),
        (f"latency at {RATE} messages a second: p99", 1e3, "p99", "ms"),
    ):
        ours, others = (
            sorted(getattr(each, field) * factor for each in found[kind.name]) for kind in kinds
        )
        one, other = statistics.median(ours), statistics.median(others)
        better, worse = (one, other) if field == "per_second" else (other, one)
        ratio = better / worse if worse else float("nan")  # too short to be measured
        spread = f"{ours[0]:,.1f}–{ours[-1]:,.1f}, {others[0]:,.1f}–{others[-1]:,.1f}"
        print(
            f"{name:48}{one:13,.1f} {unit:2}{other:15,.1f} {unit:2}  {ratio:4.1f}x  ({spread})",
            flush=True,
        )


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
