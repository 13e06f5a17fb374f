"""A chat: what is said in a room, everybody there gets."""

# [os]
import os

# [/os]
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from openapi.browser import client_module
from openapi.errors import ErrorCode
from openapi.ws import ChannelRule, RpcError, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


@dataclass
class Say:
    """What a client sends."""

    text: Annotated[str, Meta(min_length=1, max_length=500)]
    room: Annotated[str, Meta(pattern=r"^[a-z]{1,20}$")] = "lobby"
    key: Annotated[str, Meta(max_length=64)] | None = None  # the same key: said once


@dataclass
class Said:
    """What everybody gets."""

    name: str
    text: str


CHANNELS = [
    ChannelRule("room:*", data=Said, history=100, ttl=timedelta(hours=1), presence=True),
    ChannelRule("*", refused=True),
]


class Chat(WsPathMixin, Subscribe):
    """The chat"""

    SOCKETS_KEY = SOCKETS

    async def on_connect(self) -> None:
        """Take the name from the URL"""
        name = self.request.query.get("name", "")
        if not 1 <= len(name) <= 20:
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, "Say who you are: ?name=…")
        self.user = name

    async def ws_rpc_say(self, payload: Say) -> Said:
        """Say something in a room"""
        channel = f"room:{payload.room}"
        said = Said(str(self.user), payload.text)
        if payload.key is None:
            await self.sockets.publish(channel, "said", said)
        else:
            key = f"{self.user} {payload.key}"
            await self.sockets.publish_once(channel, "said", said, key=key)
        return said


PAGE = Path(__file__).parent / "page"


async def index(request: web.Request) -> web.FileResponse:
    """The page"""
    return web.FileResponse(PAGE / "index.html")


# [app]
def create_app() -> web.Application:
    app = web.Application()
    broker = os.environ.get("BROKER", "memory://")
    app[SOCKETS] = SocketsManager(broker=broker, channels=CHANNELS)
    app.router.add_view("/chat", Chat)
    app.router.add_get("/", index)
    app.router.add_static("/page", PAGE)
    app.router.add_routes([client_module("/openapi.js")])
    return app


# [/app]
