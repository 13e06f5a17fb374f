"""What bench/workers.py has served: the application of bench/server.py, over Redis."""

import os

from aiohttp import web

from bench.server import SOCKETS, Endpoint
from openapi.ws import Limits, SocketsManager


def create_app() -> web.Application:
    """Create the application, with the broker that the environment says."""
    app = web.Application()
    limits = Limits(ping_interval=None)
    app[SOCKETS] = SocketsManager(broker=os.environ["BROKER"], limits=limits)
    app.router.add_view("/stream", Endpoint)
    return app
