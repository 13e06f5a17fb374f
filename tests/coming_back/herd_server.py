"""A server to kill, to end in order, and to start in its place: ``herd_server.py PORT``.

| | |
|---|---|
| `/stream` | an endpoint |
| `/` | which process it is, and since when it answers, by the clock that all processes share |
| `POST /publish` | publishes a message on the channel `news` |

When it has loaded all that it needs, it leaves a file ``LOADED`` in its folder; it listens when
there is a file ``LISTEN``. So how long nobody listens is for the test to say, and not for a machine
that it shares with all clients. Another may still listen on the same port.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

from aiohttp import web

from openapi.ws import ChannelRule, Limits, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

__all__ = ["CHANNEL", "LISTEN", "LOADED"]

CHANNEL: Final = "news"

LOADED: Final = "loaded"
LISTEN: Final = "listen"

#: How many connections may wait to be taken. 128, as is usual, are too few here: the others believe
#: that they are connected, and wait in vain until they try again.
_BACKLOG: Final = 2048
#: Seconds over which it sends its clients back when it ends, at most. They are 200 a second, so two
#: thousand would otherwise need ten.
_WINDOW: Final = 5.0
#: Seconds, before it looks again whether there is a file.
_PAUSE: Final = 0.005

_SOCKETS = web.AppKey("_SOCKETS", SocketsManager)
_SINCE = web.AppKey("_SINCE", list[float])


class Stream(Subscribe, WsPathMixin):
    """Whoever comes."""

    SOCKETS_KEY = _SOCKETS


async def who(request: web.Request) -> web.Response:
    """Answer who this is."""
    return web.json_response({"pid": os.getpid(), "since": request.app[_SINCE][0]})


async def publish(request: web.Request) -> web.Response:
    """Publish a message; answer how many are connected."""
    sockets = request.app[_SOCKETS]
    await sockets.publish(CHANNEL, "n", None)
    return web.json_response(len(sockets.sockets))


async def started(app: web.Application) -> None:
    """It listens when it may."""
    Path(LOADED).touch()
    while not Path(LISTEN).exists():  # noqa: ASYNC110 # the test cannot set an event here
        await asyncio.sleep(_PAUSE)
    app[_SINCE].append(time.monotonic())


def application() -> web.Application:
    """The application."""
    app = web.Application()
    app[_SOCKETS] = SocketsManager(
        channels=[ChannelRule(CHANNEL)], limits=Limits(drain_window=_WINDOW)
    )
    app[_SINCE] = []
    app.on_startup.append(started)
    app.router.add_view("/stream", Stream)
    app.router.add_get("/", who)
    app.router.add_post("/publish", publish)
    return app


if __name__ == "__main__":
    web.run_app(
        application(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        backlog=_BACKLOG,
        reuse_port=True,
        print=None,
    )
