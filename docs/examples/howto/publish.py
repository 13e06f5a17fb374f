"""Publishing from an HTTP view and from a background task."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from openapi.spec import ApiPath
from openapi.ws import CannotPublish, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Stream(WsPathMixin, Subscribe):
    SOCKETS_KEY = SOCKETS


# [view]
class Alarm(ApiPath):
    async def post(self) -> web.Response:
        """Raise the alarm"""
        await self.request.app[SOCKETS].publish("house", "alarm", {"floor": 1})
        return web.Response(status=204)


# [/view]


# [task]
async def tick(app: web.Application) -> None:
    """Publish a number, again and again."""
    number = 0
    while True:
        try:
            await app[SOCKETS].publish("clock", "tick", number)
        except CannotPublish:
            return  # the server is shutting down
        number += 1
        await asyncio.sleep(1)


async def ticking(app: web.Application) -> AsyncIterator[None]:
    """Own the task, as long as the application runs."""
    task = asyncio.create_task(tick(app))
    yield
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


# [/task]


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app.router.add_view("/stream", Stream)
    app.router.add_view("/alarm", Alarm)
    app.cleanup_ctx.append(ticking)
    return app


# [/app]
