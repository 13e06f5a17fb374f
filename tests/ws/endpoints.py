"""Applications under test, one endpoint at /stream."""

import warnings

from aiohttp import web

from openapi.spec import ApiPath
from openapi.ws import SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe


class Endpoint(ApiPath, WsPathMixin, Subscribe, Publish):
    """The documented example."""

    async def ws_rpc_info(self, payload):  # type: ignore[no-untyped-def] # as users write it
        """Server information"""
        return self.sockets.server_info()


def application(
    endpoint: type[web.View] = Endpoint, sockets: SocketsManager | None = None
) -> web.Application:
    """An application with one endpoint and its manager."""
    app = web.Application()
    app[MANAGER] = sockets or SocketsManager()
    with warnings.catch_warnings():  # aiohttp's opinion of the documented line
        warnings.simplefilter("ignore", web.NotAppKeyWarning)
        app["web_sockets"] = app[MANAGER]
    app.router.add_view("/stream", endpoint)
    return app


MANAGER = web.AppKey("sockets", SocketsManager)
