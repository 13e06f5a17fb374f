"""A chat: what is said in a room, everybody there gets."""

import os
from dataclasses import dataclass
from datetime import timedelta

# [compare]
from hmac import compare_digest

# [/compare]
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


# [staff]
STAFF = {"ada": "1815", "grace": "1906"}  # names and secrets: yours are in a database

# [/staff]
CHANNELS = [
    ChannelRule("room:*", data=Said, history=100, ttl=timedelta(hours=1), presence=True),
    ChannelRule("*", refused=True),
]


class Chat(WsPathMixin, Subscribe):
    """The chat"""

    SOCKETS_KEY = SOCKETS

    # [secret]
    async def on_connect(self) -> None:
        """Take the name from the URL; some need a secret"""
        name = self.request.query.get("name", "")
        if not 1 <= len(name) <= 20:
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, "Say who you are: ?name=…")
        given = self.request.query.get("secret", "")
        if name in STAFF and not compare_digest(given.encode(), STAFF[name].encode()):
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, "This name needs its secret")
        self.user = name

    # [/secret]

    # [authorize]
    async def authorize(self, action: str, channel: str, event: str) -> bool:
        """The staff's room is the staff's, all others are everybody's"""
        return channel != "room:staff" or self.user in STAFF

    # [/authorize]

    async def ws_rpc_say(self, payload: Say) -> Said:
        """Say something in a room"""
        # [may]
        channel = f"room:{payload.room}"
        if not await self.authorize("publish", channel, "said"):
            raise RpcError(ErrorCode.NOT_ALLOWED, f"You may not speak in {payload.room}")
        # [/may]
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


def create_app() -> web.Application:
    app = web.Application()
    broker = os.environ.get("BROKER", "memory://")
    app[SOCKETS] = SocketsManager(broker=broker, channels=CHANNELS)
    app.router.add_view("/chat", Chat)
    app.router.add_get("/", index)
    app.router.add_static("/page", PAGE)
    app.router.add_routes([client_module("/openapi.js")])
    return app
