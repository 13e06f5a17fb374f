"""A server that ends without losing answers."""

import asyncio
from typing import Any

from aiohttp import web

from openapi.ws import Limits, SocketsManager, WsPathMixin

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Stream(WsPathMixin):
    SOCKETS_KEY = SOCKETS

    async def ws_rpc_slow(self, payload: dict[str, Any]) -> str:
        """Take a second"""
        await asyncio.sleep(1)
        return "done"


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(limits=Limits(drain_window=20.0))
    app.router.add_view("/stream", Stream)
    return app


def main() -> None:
    # longer than drain_window: aiohttp must not lose patience first
    web.run_app(create_app(), shutdown_timeout=30.0, backlog=2048)


# [/app]


# [drain]
async def before_a_deployment(app: web.Application) -> None:
    """Let go of every client, while HTTP is still served."""
    await app[SOCKETS].drain()


# [/drain]
