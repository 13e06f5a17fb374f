"""Who may do what on which channel."""

from aiohttp import web

from openapi.errors import ErrorCode
from openapi.spec import ApiPath
from openapi.ws import ChannelRule, RpcError, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

#: Who may come into which room.
ROOMS = {"room:1": {"ada", "grace"}, "room:2": {"ada"}}

SECRETS = {"ada's secret": "ada", "grace's secret": "grace"}


# [authorize]
class Room(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        """Members of a room may do anything there; everyone may listen to the news"""
        if channel == "news":
            return action in ("subscribe", "history")
        if self.user is None:
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, "Sign in first")
        return self.user in ROOMS.get(channel, ())

    # [/authorize]

    # [user]
    async def ws_rpc_sign_in(self, payload: dict[str, str]) -> str | None:
        """Say who you are"""
        self.user = SECRETS.get(payload.get("secret", ""))
        await self.reauthorize()
        return self.user

    # [/user]


# [revoke]
class Members(ApiPath):
    async def delete(self) -> web.Response:
        """Show somebody out of a room"""
        user = self.request.match_info["user"]
        ROOMS[self.request.match_info["room"]].discard(user)
        for ws in list(self.request.app[SOCKETS].sockets):
            if ws.user == user:
                await ws.reauthorize()
        return web.Response(status=204)


# [/revoke]


# [app]
def create_app() -> web.Application:
    app = web.Application()
    rules = [
        ChannelRule("news", history=100),
        ChannelRule("room:*", history=100, presence=True),
        ChannelRule("*", refused=True),
    ]
    app[SOCKETS] = SocketsManager(channels=rules)
    app.router.add_view("/rooms", Room)
    app.router.add_view("/rooms/{room}/{user}", Members)
    return app


# [/app]
