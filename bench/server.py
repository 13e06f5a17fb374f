"""The server under measurement: it prints its port, and serves until it is ended."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from openapi.ws import Limits, SocketsManager, WsPathMixin
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


class Endpoint(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS
    publishers: set[asyncio.Task[None]] = set()
    ended: list[int] = []

    async def get(self) -> web.StreamResponse:
        """Note how each socket ended"""
        try:
            return await super().get()
        finally:
            self.ended.append(self.connection.close_code)

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

    async def _tick(self, channel: str, rate: int, seconds: float, size: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for _ in range(round(rate * seconds)):
            data = {"at": time.monotonic(), "filler": "x" * size}
            await self.sockets.publish(channel, "tick", data)
            due += 1 / rate
            await asyncio.sleep(max(0, due - loop.time()))


async def serve() -> None:
    """Serve on a free port of 127.0.0.1."""
    app = web.Application()
    # No pings: a socket that stops to read shall be ended by its queue, not by its silence.
    app[SOCKETS] = SocketsManager(limits=Limits(ping_interval=None))
    app.router.add_view("/stream", Endpoint)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
