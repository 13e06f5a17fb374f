"""A board of tasks: everybody who looks at it sees what changes."""

from dataclasses import dataclass

from aiohttp import web

from openapi.spec import ApiPath

# [imports]
from openapi.ws import RpcError, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

# [/imports]


@dataclass
class NewTask:
    title: str
    minutes: int = 30


@dataclass
class Task(NewTask):
    id: int = 0
    done: bool = False


@dataclass
class Which:
    id: int


SOCKETS = web.AppKey("SOCKETS", SocketsManager)
TASKS = web.AppKey("TASKS", dict[int, Task])

routes = web.RouteTableDef()


# [board]
@routes.view("/board")
class Board(ApiPath, WsPathMixin, Subscribe, Publish):
    """The board"""

    SOCKETS_KEY = SOCKETS

    async def ws_rpc_add(self, payload: NewTask) -> Task:
        """Add a task"""
        tasks = self.request.app[TASKS]
        task = Task(title=payload.title, minutes=payload.minutes, id=len(tasks) + 1)
        tasks[task.id] = task
        await self.sockets.publish("tasks", "added", task)
        return task

    async def ws_rpc_finish(self, payload: Which) -> Task:
        """Mark a task as done"""
        task = self.request.app[TASKS].get(payload.id)
        if task is None:
            raise RpcError(404, "There is no such task", data={"id": payload.id})
        task.done = True
        await self.sockets.publish("tasks", "finished", task)
        return task


# [/board]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app[TASKS] = {}
    app.add_routes(routes)
    return app
