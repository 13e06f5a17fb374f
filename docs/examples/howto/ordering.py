"""Calls that must not overtake each other."""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from openapi.ws import SocketsManager, WsPathMixin, ws_rpc

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

ORDERS: dict[str, list[str]] = {}


@dataclass
class NewItem:
    order_id: str
    name: str


@dataclass
class Order:
    order_id: str


async def reserve(name: str) -> None:
    """Ask the warehouse."""
    await asyncio.sleep(0.01)


class Shop(WsPathMixin):
    SOCKETS_KEY = SOCKETS

    # [field]
    @ws_rpc(lane="order_id")
    async def ws_rpc_add(self, payload: NewItem) -> None:
        """Put something into an order"""
        await reserve(payload.name)
        ORDERS.setdefault(payload.order_id, []).append(payload.name)

    # [/field]

    # [same]
    @ws_rpc(lane="order_id")
    async def ws_rpc_ship(self, payload: Order) -> list[str]:
        """Send an order away; what is in it"""
        return ORDERS.pop(payload.order_id, [])

    # [/same]

    # [method]
    @ws_rpc(lane=True)
    async def ws_rpc_number(self, payload: dict[str, Any]) -> int:
        """The next number of this connection"""
        number: int = getattr(self.state, "number", 0)
        await reserve("a number")
        self.state.number = number + 1  # nobody came in between
        return number

    # [/method]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app.router.add_view("/shop", Shop)
    return app
