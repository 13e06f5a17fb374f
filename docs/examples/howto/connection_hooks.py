"""What happens when a connection comes and goes."""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from openapi.errors import ErrorCode
from openapi.ws import RpcError, SocketsManager, WsPathMixin

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

USERS = {"Bearer ada's secret": "ada"}


@dataclass
class Presence:
    here: list[str] = field(default_factory=list)
    left: list[tuple[str, int]] = field(default_factory=list)


PRESENCE = web.AppKey("PRESENCE", Presence)


# [hooks]
class Room(WsPathMixin):
    SOCKETS_KEY = SOCKETS

    async def on_connect(self) -> None:
        """Let in who is known"""
        user = USERS.get(self.request.headers.get("Authorization", ""))
        if user is None:
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, "Send an Authorization that is known")
        self.user = user
        self.state.said = 0
        self.request.app[PRESENCE].here.append(user)

    async def on_disconnect(self, code: int) -> None:
        """Note who is gone, and how"""
        presence = self.request.app[PRESENCE]
        presence.here.remove(str(self.user))
        presence.left.append((str(self.user), code))

    async def ws_rpc_say(self, payload: dict[str, Any]) -> str:
        """Say something; what was said so far"""
        self.state.said += 1
        return f"{self.user} said {self.state.said} things"


# [/hooks]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app[PRESENCE] = Presence()
    app.router.add_view("/room", Room)
    return app
