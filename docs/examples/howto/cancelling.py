"""Calls that somebody does not want any more."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from openapi.client import connect
from openapi.ws import SocketsManager, WsPathMixin, ws_rpc

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Cursor:
    """A place in a table. The database has few of them."""

    opened = 0

    def __init__(self) -> None:
        Cursor.opened += 1

    async def row(self, number: int) -> str:
        """One row."""
        await asyncio.sleep(0.01)
        return f"row {number}"

    def close(self) -> None:
        """Give it back."""
        Cursor.opened -= 1


@dataclass
class Export:
    rows: int


@dataclass
class Payment:
    cents: int


LEDGER: list[int] = []


async def charge(cents: int) -> None:
    """Have the bank do it."""
    await asyncio.sleep(0.01)


class Shop(WsPathMixin):
    SOCKETS_KEY = SOCKETS

    # [handler]
    async def ws_rpc_export(self, payload: Export) -> list[str]:
        """All rows of the table"""
        cursor = Cursor()
        try:
            return [await cursor.row(number) for number in range(payload.rows)]
        finally:
            cursor.close()  # also when the call was cancelled, at whichever row

    # [/handler]

    # [shield]
    @ws_rpc(shield=True)
    async def ws_rpc_pay(self, payload: Payment) -> int:
        """Pay; how many payments there are"""
        await charge(payload.cents)
        LEDGER.append(payload.cents)  # whatever was charged is in the ledger
        return len(LEDGER)

    # [/shield]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app.router.add_view("/shop", Shop)
    return app


# [client]
async def export(url: str, unwanted: asyncio.Event) -> None:
    """Begin an export that somebody does not want any more."""
    async with connect(url) as client:
        export = asyncio.create_task(client.call("export", {"rows": 1_000_000}, timeout=3600.0))
        await unwanted.wait()
        export.cancel()  # the server is told
        await asyncio.wait([export])


# [/client]
