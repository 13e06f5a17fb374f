"""Names that are in :mod:`tests.types.shop` too."""

from dataclasses import dataclass

from aiohttp import web

from openapi.ws import WsPathMixin


@dataclass
class Item:
    count: int


class Shop(WsPathMixin):
    async def ws_rpc_count(self, payload: Item) -> Item:
        return payload


def create_app() -> web.Application:
    app = web.Application()
    app.router.add_view("/shop", Shop)
    return app


def create_nothing() -> web.Application:
    return web.Application()


def fail() -> web.Application:
    raise LookupError("no settings")
