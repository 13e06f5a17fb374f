"""A copy of the server's orders that is right again whenever its connection is."""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web

from openapi.client import Client, Position, PositionLost, TooSlow, connect
from openapi.errors import CallFailed, ConnectionClosed, may_reconnect
from openapi.ws import Broker, ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


@dataclass
class Order:
    id: int
    status: str


ORDERS = web.AppKey("ORDERS", dict[int, Order])


# [server]
CHANNELS = [ChannelRule("orders", data=Order, history=100, ttl=timedelta(minutes=5))]


class Shop(WsPathMixin, Subscribe):
    SOCKETS_KEY = SOCKETS

    async def ws_rpc_orders(self, payload: dict[str, Any]) -> list[Order]:
        """All orders, as they are now"""
        return list(self.request.app[ORDERS].values())


async def change(app: web.Application, order: Order) -> None:
    """An order is new, or has another status."""
    app[ORDERS][order.id] = order
    await app[SOCKETS].publish("orders", "changed", order)


# [/server]


# [app]
def create_app(broker: str | Broker = "memory://") -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(broker=broker, channels=CHANNELS)
    app[ORDERS] = {}
    app.router.add_view("/shop", Shop)
    return app


# [/app]


#: Seconds, at most, before it comes back: so much, as all the others come back too.
PAUSE = 2.0


# [client]
class Copy:
    """All orders of the shop."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.position: Position | None = None  # of the last message that is in them

    async def follow(self, client: Client) -> None:
        """Keep up, until messages are lost: then there is no position."""
        if self.position is None:
            await self.load(client)
        async with client.subscribe("orders", type=Order, recover=self.position) as messages:
            if not messages.recovered:
                self.position = None
                return
            try:
                async for message in messages:
                    self.apply(message.data)
                    self.position = messages.position
            except PositionLost:
                self.position = None

    async def load(self, client: Client) -> None:
        """Load all of them. The position comes first: what changes meanwhile is behind it."""
        history = await client.history("orders", limit=0)
        orders = await client.call("orders", returns=list[Order])
        self.orders = {order.id: order for order in orders}
        self.position = history.position

    def apply(self, order: Order) -> None:
        """An order is new, or has another status."""
        self.orders[order.id] = order


# [/client]


# [back]
async def keep(copy: Copy, url: str) -> None:
    """Come back, again and again, to where the copy is."""
    while True:
        client: Client | None = None
        pause = random.uniform(0, PAUSE)
        try:
            async with connect(url) as client:
                while True:
                    await copy.follow(client)
        except ConnectionClosed as exc:
            if not may_reconnect(exc.code):
                raise
            if client is not None and client.reconnect is not None:
                pause = client.reconnect.after / 1000  # the server shuts down, and said when
        except CallFailed as exc:
            if exc.retry_after is None:
                raise
            pause = exc.retry_after / 1000
        except (TimeoutError, TooSlow):
            pass  # it goes on from where it is
        await asyncio.sleep(pause)


# [/back]
