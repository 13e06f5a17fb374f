"""A server that asks its clients."""

from dataclasses import dataclass

from aiohttp import web

from openapi.client import connect
from openapi.errors import CallFailed, UnexpectedData
from openapi.spec import ApiPath
from openapi.ws import RpcError, SocketsManager, WsPathMixin

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

FILES = {"plan.txt", "notes.txt"}


# [types]
@dataclass
class File:
    name: str


@dataclass
class Question:
    text: str


@dataclass
class Choice:
    yes: bool


# [/types]


# [endpoint]
class Desk(WsPathMixin):
    SOCKETS_KEY = SOCKETS

    async def on_connect(self) -> None:
        """Know whose connection it is"""
        self.user = self.request.query.get("user")

    async def ws_rpc_delete(self, payload: File) -> list[str]:
        """Delete a file, if the caller means it; the files that there are"""
        question = Question(f"Delete {payload.name}?")
        try:
            choice = await self.call("confirm", question, returns=Choice, timeout=20.0)
        except (TimeoutError, CallFailed, UnexpectedData):
            raise RpcError(1001, "You did not confirm it") from None
        if choice.yes:
            FILES.discard(payload.name)
            await self.notify("deleted", payload)
        return sorted(FILES)


# [/endpoint]


# [view]
class Vote(ApiPath):
    async def post(self) -> web.Response:
        """Ask all connections of a user at once"""
        sockets, user = self.request.app[SOCKETS], self.request.query["user"]
        question = Question("Lunch?")
        replies = await sockets.call("confirm", question, user=user, returns=Choice, timeout=20.0)
        return web.json_response(
            {reply.socket_id: None if reply.error else reply.result.yes for reply in replies}
        )


# [/view]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app.router.add_view("/desk", Desk)
    app.router.add_view("/vote", Vote)
    return app


# [client]
async def confirm(payload: Question) -> Choice:
    """Asked by the server"""
    return Choice(yes="plan" not in payload.text)


async def delete(url: str, name: str) -> list[str]:
    """Delete a file, and answer the server's question meanwhile."""
    async with connect(url, serve={"confirm": confirm}) as client:
        return await client.call("delete", {"name": name}, returns=list[str])


# [/client]
