"""Errors of an application."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from openapi.errors import ErrorCode, InvalidData
from openapi.ws import RpcError, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

STOCK = {"tea": 3}


@dataclass
class Purchase:
    item: str
    count: int = 1


class Shop(WsPathMixin, Subscribe, Publish):
    # [own]
    async def ws_rpc_buy(self, payload: Purchase) -> int:
        """Buy something; how many are left"""
        left = STOCK.get(payload.item, 0) - payload.count
        if left < 0:
            raise RpcError(
                1001,
                "Not so many are left",
                data={"left": STOCK.get(payload.item, 0)},
                retry_after=60_000,
            )
        return left

    # [/own]

    # [fields]
    async def ws_rpc_reserve(self, payload: Purchase) -> None:
        """Reserve something"""
        errors = {}
        if payload.item not in STOCK:
            errors["item"] = "unknown item"
        if payload.count > 10:
            errors["count"] = "at most 10"
        if errors:
            raise InvalidData(errors)

    # [/fields]

    # [refuse]
    async def ws_rpc_publish(self, payload: dict[str, Any]) -> Any:
        """Publish an event on a channel: the staff's only"""
        if self.request.headers.get("Authorization") != "Bearer staff":
            raise RpcError(ErrorCode.NOT_ALLOWED, "Only the staff publishes")
        return await super().ws_rpc_publish(payload)

    # [/refuse]

    async def ws_rpc_fail(self, payload: dict[str, Any]) -> None:
        """Fail"""
        raise ZeroDivisionError("what nobody else is told")


def create_app() -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager()
    app.router.add_view("/shop", Shop)
    return app
