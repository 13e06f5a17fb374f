"""What one writes with this project's last release before it was written anew, aio-openapi 3.2.1.

Its dataclasses validate. Messages stay in the process: the manager hands each to its own channels,
as that of its tests does, at once.
"""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import uvloop
from aiohttp import web
from openapi.data.fields import (  # type: ignore[import-not-found] # not this project's `openapi`
    bool_field,
    decimal_field,
    integer_field,
    str_field,
)

from openapi.spec.path import ApiPath
from openapi.ws import SocketsManager, WsPathMixin, ws_rpc
from openapi.ws.pubsub import Publish, Subscribe


@dataclass
class Order:
    id: int = integer_field(required=True)
    item: str = str_field(required=True)
    # It reads every JSON number with a point as a Decimal.
    price: Decimal = decimal_field(required=True)
    express: bool = bool_field(required=True)
    note: str = str_field(required=True)


@dataclass
class Receipt:
    id: int
    total: float
    text: str


class Manager(SocketsManager):
    """Carries messages within the process."""

    async def publish(self, channel: str, event: str, body: Any) -> None:
        """Hand a message to the channel."""
        await self.channels(channel, {"event": event, "data": body})

    async def subscribe(self, channel: str) -> None:
        """Allow every channel."""


class Stream(WsPathMixin, Subscribe, Publish, ApiPath):
    @ws_rpc(body_schema=Order, response_schema=Receipt)
    async def ws_rpc_order(self, payload: dict[str, Any]) -> Receipt:
        """Compute the receipt of an order"""
        return Receipt(payload["id"], float(payload["price"]) * 1.2, payload["note"])


async def serve() -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    app = web.Application()
    app["web_sockets"] = Manager()
    app.router.add_view("/stream", Stream)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
