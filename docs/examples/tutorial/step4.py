"""A board of tasks: over HTTP too, and with a document."""

from dataclasses import dataclass

from aiohttp import web

# [imports]
from openapi.spec import ApiPath, Documents, op
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


# [add]
async def add_task(app: web.Application, new: NewTask) -> Task:
    """Put a task on the board, and tell everybody."""
    tasks = app[TASKS]
    task = Task(title=new.title, minutes=new.minutes, id=len(tasks) + 1)
    tasks[task.id] = task
    await app[SOCKETS].publish("tasks", "added", task)
    return task


# [/add]


@routes.view("/board")
class Board(ApiPath, WsPathMixin, Subscribe, Publish):
    """The board"""

    SOCKETS_KEY = SOCKETS

    # [method]
    async def ws_rpc_add(self, payload: NewTask) -> Task:
        """Add a task"""
        return await add_task(self.request.app, payload)

    # [/method]

    async def ws_rpc_finish(self, payload: Which) -> Task:
        """Mark a task as done"""
        task = self.request.app[TASKS].get(payload.id)
        if task is None:
            raise RpcError(404, "There is no such task", data={"id": payload.id})
        task.done = True
        await self.sockets.publish("tasks", "finished", task)
        return task


# [view]
@routes.view("/tasks")
class Tasks(ApiPath):
    """Tasks"""

    @op(response_schema=list[Task])
    async def get(self) -> list[Task]:
        """List the tasks"""
        return list(self.request.app[TASKS].values())

    @op(body_schema=NewTask, response_schema=Task, response=201)
    async def post(self) -> Task:
        """Add a task"""
        new = self.cleaned(NewTask, await self.json_data())
        return await add_task(self.request.app, new)


# [/view]


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app[TASKS] = {}
    app.add_routes(routes)
    Documents(title="Board", version="1.0").setup(app)
    return app


# [/app]
