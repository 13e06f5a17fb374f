"""An application with one of everything, which the tests of openapi.spec serve."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from aiohttp import web

from openapi.protocol.methods import MethodTable
from openapi.spec import ApiPath, op


@dataclass
class Person:
    """Somebody"""

    name: str
    age: int


@dataclass
class NewTask:
    """What a task is made of"""

    title: Annotated[str, msgspec.Meta(min_length=1, description="What to do")]
    severity: Literal["low", "high"] = "low"
    due: date | None = None
    people: list[Person] = field(default_factory=list)


@dataclass
class Task(NewTask):
    """A task"""

    id: int = 0


@dataclass
class Filters:
    """Which tasks"""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100, description="How many at most")] = 10
    done: bool | None = None
    tag: list[str] = field(default_factory=list)


@dataclass
class TaskId:
    id: int


class Change(TypedDict, total=False):
    """What shall be different"""

    title: str
    severity: Literal["low", "high"]


class TasksPath(ApiPath):
    """Tasks

    All of them.
    """

    tags = ("Task",)

    @op(query_schema=Filters, response_schema=list[Task])
    async def get(self) -> list[dict[str, Any]]:
        """List tasks

        The newest *first*.
        """
        filters = self.cleaned("query_schema", self.request.query)
        assert isinstance(filters, Filters)
        return [{"title": tag, "secret": 1} for tag in filters.tag[: filters.limit]]

    @op(body_schema=NewTask, response_schema=Task, response=201, responses={409: "It exists"})
    async def post(self) -> web.StreamResponse:
        """Add a task"""
        task = self.cleaned("body_schema", await self.json_data())
        assert isinstance(task, NewTask)
        if task.title == "known":
            raise web.HTTPConflict
        return self.json_response(self.dump("response_schema", {**asdict(task), "id": 1, "x": 2}))


class TaskPath(ApiPath):
    """A task"""

    tags = ("Task",)
    path_schema = TaskId

    @op(response_schema=Task)
    async def get(self) -> Task:
        """Show a task"""
        where = self.cleaned("path_schema", self.request.match_info)
        return Task(id=where.id, title="one")

    @op(body_schema=Change, response_schema=dict[str, Any], tags=["Change"], deprecated=True)
    async def patch(self) -> dict[str, Any]:
        """Change a task"""
        return self.insert_data(await self.json_data())

    @op(response=204, operation_id="forget")
    async def delete(self) -> None:
        """Forget a task"""


class BulkPath(ApiPath):
    """Many tasks"""

    @op(body_schema=list[NewTask], response_schema=list[str])
    async def post(self) -> list[str]:
        """Add many tasks"""
        tasks = self.cleaned("body_schema", await self.json_data())
        return [task.title for task in tasks]


class FormPath(ApiPath):
    """A form"""

    @op(
        body_schema=Person, response_schema=Person, body_content="application/x-www-form-urlencoded"
    )
    async def post(self) -> Person:
        """Send the form"""
        person = self.cleaned("body_schema", await self.form_data())
        assert isinstance(person, Person)
        return person


class PlainPath(ApiPath):
    async def get(self) -> web.Response:
        return self.json_response({"nan": float("nan"), "url": str(self.full_url())})


class HiddenPath(ApiPath):
    """Nobody shall know"""

    private = True

    @op()
    async def get(self) -> dict[str, str]:
        return {}


class RpcMixin:
    """Stands for WsPathMixin: a class with RPC methods, whose GET is an upgrade."""

    rpc_methods: MethodTable

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.rpc_methods = MethodTable.of(cls)

    async def get(self) -> web.StreamResponse:
        """The library's own words"""
        raise NotImplementedError


class Add:
    async def ws_rpc_add(self, payload: Person) -> int:
        """Add a person

        At length.
        """
        return payload.age

    async def ws_rpc_bare(self, payload: dict[str, Any]) -> Any:
        return payload


class StreamPath(ApiPath, RpcMixin, Add):
    """The stream

    Of events.
    """

    tags = ("Stream",)


class BackwardPath(Add, RpcMixin, ApiPath):
    pass


def add_routes(app: web.Application) -> None:
    app.router.add_view("/tasks", TasksPath)
    app.router.add_view("/tasks/{id}", TaskPath)
    app.router.add_view("/bulk", BulkPath)
    app.router.add_view("/form", FormPath)
    app.router.add_view("/plain", PlainPath)
    app.router.add_view("/hidden", HiddenPath)
