"""An application that several processes serve."""

import os

from aiohttp import web

from openapi.ws import Limits, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Stream(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS

    async def ws_rpc_process(self, payload: dict[str, str]) -> int:
        """The id of the process that answers"""
        return os.getpid()


# [app]
def create_app() -> web.Application:
    app = web.Application()
    broker = os.environ.get("BROKER", "redis://localhost")
    app[SOCKETS] = SocketsManager(broker=broker, limits=Limits(drain_window=8.0))
    app.router.add_view("/stream", Stream)
    return app


# [/app]
