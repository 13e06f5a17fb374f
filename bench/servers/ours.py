"""This project's server: typed calls, publish/subscribe, and what the measurements ask it.

    python bench/servers/ours.py [--patterns N] [--broker URL] [--history N]

`--patterns` are so many other subscriptions on the channel "c", to events that nobody publishes.
`--history` is how many messages the channels that begin with "kept:" keep. `openapi serve` takes
`bench/servers/ours.py:create_app`; then the environment's BROKER is the broker's URL.
"""

import argparse
import asyncio
import gc
import os
import statistics
import time
from dataclasses import dataclass
from typing import Any

import uvloop
from aiohttp import web

from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page, Position, Retention
from openapi.ws import ChannelRule, Limits, SocketsManager, WsPathMixin
from openapi.ws.broker import Broker
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


@dataclass
class Order:
    id: int
    item: str
    price: float
    express: bool
    note: str


@dataclass
class Receipt:
    id: int
    total: float
    text: str


class CountingBroker(MemoryBroker):
    """Counts how often the messages of its streams are read: not, how far they have come."""

    reads = 0

    async def history(
        self,
        channel: str,
        *,
        retention: Retention,
        since: Position | None = None,
        limit: int,
        reverse: bool = False,
    ) -> Page[Publication]:
        """See :meth:`MemoryBroker.history`."""
        self.reads += limit > 0
        return await super().history(
            channel, retention=retention, since=since, limit=limit, reverse=reverse
        )


BROKER = web.AppKey("BROKER", Broker)


class Endpoint(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS
    publishers: set[asyncio.Task[None]] = set()
    ended: list[int] = []

    async def on_disconnect(self, code: int) -> None:
        """Note how each socket ended; an override of `get` would cost each a task"""
        self.ended.append(code)

    async def ws_rpc_order(self, payload: Order) -> Receipt:
        """Typed both ways, about 100 bytes in"""
        return Receipt(payload.id, payload.price * 1.2, payload.note)

    async def ws_rpc_tick(self, payload: dict[str, Any]) -> None:
        """Publish the time of publishing, `rate` times a second for `seconds`, with `size` bytes"""
        task = asyncio.create_task(self._tick(**payload))
        self.publishers.add(task)
        task.add_done_callback(self.publishers.discard)

    async def ws_rpc_queued(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The longest queue of any socket, in bytes, and the codes of those that have ended"""
        longest = max(ws.connection.queued_bytes for ws in self.sockets.sockets)
        return {"longest": longest, "ended": self.ended}

    async def ws_rpc_freeze(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Collect what is garbage, and count all else as permanent"""
        gc.collect()
        gc.freeze()
        return {"connections": len(self.sockets.sockets), "frozen": gc.get_freeze_count()}

    async def ws_rpc_collect(self, payload: dict[str, Any]) -> dict[str, Any]:
        """How long one full collection takes, in ms of CPU, and how many tasks there are"""
        # Nothing else runs meanwhile; by the wall it would be what else the machine does, too.
        begun = time.process_time()
        gc.collect()
        took = time.process_time() - begun
        tasks = len(asyncio.all_tasks())
        return {"ms": took * 1e3, "tasks": tasks, "connections": len(self.sockets.sockets)}

    async def ws_rpc_lag(self, payload: dict[str, Any]) -> dict[str, Any]:
        """How late a timer of 1 ms comes, in milliseconds, looked at for so many `seconds`"""
        # Not by the loop's clock: that of uvloop stands still while something runs.
        lags = list[float]()
        end = time.perf_counter() + float(payload["seconds"])
        while (due := time.perf_counter() + 0.001) < end:
            await asyncio.sleep(0.001)
            lags.append((time.perf_counter() - due) * 1e3)
        cuts = statistics.quantiles(lags, n=100, method="inclusive")
        return {"p50": cuts[49], "p99": cuts[98], "max": max(lags), "ticks": len(lags)}

    async def ws_rpc_reads(self, payload: dict[str, Any]) -> dict[str, Any]:
        """How often a stream was read, in this process's memory"""
        broker = self.request.app[BROKER]
        assert isinstance(broker, CountingBroker)
        return {"reads": broker.reads}

    async def _tick(self, channel: str, rate: int, seconds: float, size: int) -> None:
        due = time.monotonic()
        for _ in range(round(rate * seconds)):
            data = {"at": time.monotonic(), "filler": "x" * size}
            await self.sockets.publish(channel, "tick", data)
            due += 1 / rate
            await asyncio.sleep(max(0, due - time.monotonic()))


def create_app(broker: str | None = None, history: int = 100) -> web.Application:
    """Create the application."""
    app = web.Application()
    # No pings: a socket that stops to read shall be ended by its queue, not by its silence.
    limits = Limits(ping_interval=None)
    url = broker or os.environ.get("BROKER")
    app[BROKER] = CountingBroker()
    rules = [ChannelRule("kept:*", history=history), ChannelRule("*")]
    app[SOCKETS] = SocketsManager(broker=url or app[BROKER], channels=rules, limits=limits)
    app.router.add_view("/stream", Endpoint)
    return app


async def unheard(channel: str, event: str, data: object) -> None:
    """Take what nobody publishes."""
    raise AssertionError(f"{event} was published on {channel}")


async def serve(patterns: int, broker: str | None, history: int) -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    app = create_app(broker, history)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await app[SOCKETS].open()
    for number in range(patterns):
        await app[SOCKETS].channels.register("c", f"other.{number}.*", unheard)
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--patterns", type=int, default=0)
    options.add_argument("--broker")
    options.add_argument("--history", type=int, default=100)
    given = options.parse_args()
    uvloop.run(serve(given.patterns, given.broker, given.history))
