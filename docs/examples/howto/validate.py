"""Types of payloads and results."""

from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import Meta

from openapi.ws import SocketsManager, WsPathMixin, ws_rpc


# [types]
class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Item:
    name: Annotated[str, Meta(min_length=1, max_length=40)]
    price: Annotated[float, Meta(gt=0)]
    size: Size = Size.SMALL


@dataclass
class Order:
    items: Annotated[list[Item], Meta(min_length=1)]
    wanted: date | None = None
    pay: Literal["cash", "card"] = "card"
    notes: dict[str, str] = field(default_factory=dict)


@dataclass
class Receipt:
    total: float


# [/types]


class Shop(WsPathMixin):
    # [typed]
    async def ws_rpc_order(self, payload: Order) -> Receipt:
        """Order something"""
        return Receipt(total=sum(item.price for item in payload.items))

    # [/typed]

    # [result]
    async def ws_rpc_quote(self, payload: Order) -> Receipt:
        """What an order would cost"""
        total = sum(item.price for item in payload.items)
        return {"total": total, "secret": "is not sent"}  # type: ignore[return-value]

    # [/result]

    # [plain]
    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        """Any object, which is sent back"""
        return payload

    # [/plain]

    # [decorator]
    @ws_rpc(body_schema=Order, response_schema=Receipt)
    async def ws_rpc_order_as_dict(self, payload: dict[str, Any]) -> dict[str, Any]:
        """As in 3.2: the payload is validated, and reaches the method as a dict"""
        return {"total": sum(item["price"] for item in payload["items"])}

    # [/decorator]


def create_app() -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager()
    app.router.add_view("/shop", Shop)
    return app
