"""A list of tasks, to be tested."""

from dataclasses import dataclass
from itertools import count

from aiohttp import web

from openapi.ws import Broker, ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


@dataclass
class NewTask:
    title: str


@dataclass
class Task:
    id: int
    title: str


class Tasks(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS
    ids = count(1)

    async def on_connect(self) -> None:
        """Know who it is"""
        self.user = self.request.query.get("user")

    async def ws_rpc_add(self, payload: NewTask) -> Task:
        """Add a task"""
        task = Task(next(self.ids), payload.title)
        await self.sockets.publish("tasks", "added", task)
        return task


# [app]
def create_app(broker: str | Broker = "memory://") -> web.Application:
    app = web.Application()
    rules = [ChannelRule("tasks", history=100), ChannelRule("room", presence=True)]
    app[SOCKETS] = SocketsManager(broker=broker, channels=rules)
    app.router.add_view("/stream", Tasks)
    return app


# [/app]
