"""A node as a process of its own: ``python node_process.py PORT BROKER``."""

import sys
from typing import Any

from aiohttp import web

from openapi.ws import Limits, SocketsManager, WsPathMixin, healthz


class Endpoint(WsPathMixin):
    """Asks all nodes."""

    async def on_connect(self) -> None:
        """Its user is who the URL says."""
        self.user = self.request.query.get("user")

    async def ws_rpc_call(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Ask all connections of a user"""
        replies = await self.sockets.call("ask", user=payload["user"])
        return {
            "results": [reply.result for reply in replies],
            "missing": [[each.node and each.node.pid, each.reason] for each in replies.missing],
        }

    async def ws_rpc_info(self, payload: dict[str, Any]) -> dict[str, Any]:
        """What there is in all nodes"""
        return await self.sockets.server_info(cluster=True)


async def create_app(broker: str) -> web.Application:
    """Create the application, with the broker open."""
    app = web.Application()
    sockets = SocketsManager(broker=broker, limits=Limits(node_interval=0.5))
    app["web_sockets"] = sockets
    app.router.add_view("/stream", Endpoint)
    app.router.add_get("/healthz", healthz)
    await sockets.open()
    return app


if __name__ == "__main__":
    web.run_app(create_app(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), print=None)
