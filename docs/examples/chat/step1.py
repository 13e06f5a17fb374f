"""A chat: what is said in a room, everybody there gets."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from openapi.errors import ErrorCode
from openapi.ws import ChannelRule, RpcError, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


@dataclass
class Say:
    """What a client sends."""

    text: Annotated[str, Meta(min_length=1, max_length=500)]
    room: Annotated[str, Meta(pattern=r"^[a-z]{1,20}$")] = "lobby"


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
        said = Said(str(self.user), payload.text)
        await self.sockets.publish(f"room:{payload.room}", "said", said)
        return said


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(channels=CHANNELS)
    app.router.add_view("/chat", Chat)
    return app
