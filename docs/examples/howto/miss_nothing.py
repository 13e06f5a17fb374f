"""A copy of the server's orders that is right again whenever its connection is."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web

from openapi.client import Client, PositionLost, connect
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


# [client]
class Copy:
    """All orders of the shop."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}

    async def follow(self, client: Client) -> None:
        """Keep up, for ever."""
        async with client.subscribe("orders", type=Order) as messages:
            while True:
                await self.load(client)
                try:
                    async for message in messages:
                        self.apply(message.data)
                except PositionLost:
                    pass  # messages are lost, nobody can tell which: load all of it anew

    async def load(self, client: Client) -> None:
        """Load all of them."""
        orders = await client.call("orders", returns=list[Order], idempotent=True)
        self.orders = {order.id: order for order in orders}

    def apply(self, order: Order) -> None:
        """An order is new, or has another status."""
        self.orders[order.id] = order


async def keep(copy: Copy, url: str) -> None:
    async with connect(url) as client:
        await copy.follow(client)


# [/client]
