"""A pydantic model as the type of a payload."""

from aiohttp import web

# [model]
from pydantic import BaseModel, Field

from openapi.ws import SocketsManager, WsPathMixin


class Person(BaseModel):
    name: str = Field(min_length=1)
    age: int = Field(ge=0)


class People(WsPathMixin):
    async def ws_rpc_greet(self, payload: Person) -> str:
        """Say hello"""
        return f"Hello {payload.name}"


# [/model]


def create_app() -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager()
    app.router.add_view("/people", People)
    return app
