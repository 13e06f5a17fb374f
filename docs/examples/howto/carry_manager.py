"""A manager that carries its messages itself, through a queue."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from openapi.ws import CannotPublish, CannotSubscribe, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe


# [manager]
class QueueManager(SocketsManager):
    """Channels whose names begin with ``_`` are nobody's."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, str, Any]] = asyncio.Queue(maxsize=1000)

    async def publish(self, channel: str, event: str, data: Any) -> None:
        if channel.startswith("_"):
            raise CannotPublish
        await self.queue.put((channel, event, data))

    async def subscribe(self, channel: str) -> None:
        if channel.startswith("_"):
            raise CannotSubscribe

    async def unsubscribe(self, channel: str) -> None:
        """Nothing to do: the queue has every channel."""

    async def carry(self, app: web.Application) -> AsyncIterator[None]:
        """Deliver what is in the queue, as long as the application runs."""
        task = asyncio.create_task(self.work())
        yield
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()  # it failed: say so

    async def work(self) -> None:
        """Hand each message to the channels."""
        while True:
            channel, event, data = await self.queue.get()
            await self.channels(channel, {"event": event, "data": data})


# [/manager]


class Stream(WsPathMixin, Subscribe, Publish):
    """The endpoint"""


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app["web_sockets"] = manager = QueueManager()
    app.cleanup_ctx.append(manager.carry)
    app.router.add_view("/stream", Stream)
    return app


# [/app]
