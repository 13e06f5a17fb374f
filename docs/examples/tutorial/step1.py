"""A board of tasks: one method that can be called."""

from dataclasses import dataclass

from aiohttp import web

from openapi.spec import ApiPath
from openapi.ws import SocketsManager, WsPathMixin


@dataclass
class NewTask:
    title: str
    minutes: int = 30


@dataclass
class Task(NewTask):
    id: int = 0
    done: bool = False


SOCKETS = web.AppKey("SOCKETS", SocketsManager)
TASKS = web.AppKey("TASKS", dict[int, Task])

routes = web.RouteTableDef()


@routes.view("/board")
class Board(ApiPath, WsPathMixin):
    """The board"""

    SOCKETS_KEY = SOCKETS

    async def ws_rpc_add(self, payload: NewTask) -> Task:
        """Add a task"""
        tasks = self.request.app[TASKS]
        task = Task(title=payload.title, minutes=payload.minutes, id=len(tasks) + 1)
        tasks[task.id] = task
        return task


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app[TASKS] = {}
    app.add_routes(routes)
    return app
