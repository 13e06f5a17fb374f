"""One of several servers on one broker: `python -m bench.node URL`. It prints its port."""

import asyncio
import sys

from aiohttp import web

from openapi.ws import Limits, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Endpoint(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS


async def serve(broker: str) -> None:
    """Serve on a free port of 127.0.0.1, until it is ended."""
    app = web.Application()
    app[SOCKETS] = SocketsManager(broker=broker, limits=Limits(ping_interval=None))
    app.router.add_view("/stream", Endpoint)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await app[SOCKETS].open()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
