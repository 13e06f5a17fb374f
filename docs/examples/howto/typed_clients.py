"""An endpoint whose clients are typed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from aiohttp import web
from msgspec import Meta

from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


# [endpoint]
@dataclass
class Item:
    name: str
    count: Annotated[int, Meta(ge=1)] = 1


@dataclass
class Order:
    items: list[Item]
    gift: bool = False


@dataclass
class Receipt:
    number: int
    total: Decimal


@dataclass
class Progress:
    """How far an order is."""

    state: Literal["paid", "packed", "sent"]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


CHANNELS = [ChannelRule("orders:*", data=Progress, history=100)]


class Orders(WsPathMixin, Subscribe):
    """The orders of a shop"""

    SOCKETS_KEY = SOCKETS

    async def ws_rpc_order(self, payload: Order) -> Receipt:
        """Order something"""
        await self.sockets.publish("orders:7", "state", Progress("paid"))
        return Receipt(7, Decimal("2.50") * sum(item.count for item in payload.items))

    async def ws_rpc_stock(self, payload: Item) -> AsyncIterator[Item]:
        """What there is of an item, and what is left whenever some is sold"""
        for count in range(payload.count, 0, -1):
            yield Item(payload.name, count)


# [/endpoint]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(channels=CHANNELS)
    app.router.add_view("/orders", Orders)
    return app
