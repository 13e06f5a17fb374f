"""An endpoint to be tested: it adds, echoes, waits, and has channels of each kind."""

import asyncio
from typing import Any

from aiohttp import web

from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.broker import Broker
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)
CALLED = web.AppKey("CALLED", list[str])
ENDED = web.AppKey("ENDED", list[str])

RULES = (
    ChannelRule("log:*", history=100),
    ChannelRule("room:*", presence=True),
    ChannelRule("*"),
)


class Board(WsPathMixin, Subscribe, Publish):
    """Its user is who it says it is."""

    SOCKETS_KEY = SOCKETS

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        self.request.app[CALLED].append("echo")
        return payload

    async def ws_rpc_wait(self, payload: dict[str, Any]) -> None:
        """Take so many seconds."""
        self.request.app[CALLED].append("wait")
        await asyncio.sleep(payload["seconds"])


async def hello(request: web.Request) -> web.Response:
    """What is no WebSocket."""
    return web.json_response({"hello": request.remote})


def make_app(broker: Broker | None = None) -> web.Application:
    """The application, of one node of several where it is given a broker."""
    app = web.Application()
    app[SOCKETS] = SocketsManager(broker=broker or "memory://", channels=RULES)
    app[CALLED], app[ENDED] = [], []
    app.router.add_view("/stream", Board)
    app.router.add_get("/hello", hello)

    async def ended(app: web.Application) -> None:
        app[ENDED].append("cleaned up")

    app.on_cleanup.append(ended)
    return app
