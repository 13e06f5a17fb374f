"""An application of several processes: what is done in all of them, and how each of them is."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from openapi.spec import ApiPath
from openapi.ws import SocketsManager, WsPathMixin, healthz
from openapi.ws.pubsub import Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


@dataclass
class Question:
    text: str


@dataclass
class Choice:
    yes: bool


class Stream(WsPathMixin, Subscribe):
    SOCKETS_KEY = SOCKETS

    async def on_connect(self) -> None:
        """Know whose connection it is"""
        self.user = self.request.query.get("user")


# [poll]
class Poll(ApiPath):
    async def post(self) -> web.Response:
        """Ask all connections of a user, whichever processes they are at"""
        sockets, user = self.request.app[SOCKETS], self.request.query["user"]
        replies = await sockets.call(
            "confirm", Question("Lunch?"), user=user, returns=Choice, timeout=20.0
        )
        yes = sum(reply.error is None and reply.result.yes for reply in replies)
        return web.json_response(
            {"yes": yes, "of": len(replies), "not asked": [str(each) for each in replies.missing]}
        )


# [/poll]


# [cluster]
class Cluster(ApiPath):
    async def get(self) -> web.Response:
        """How many are connected, and where"""
        return web.json_response(await self.request.app[SOCKETS].server_info(cluster=True))


# [/cluster]


# [app]
async def opening(app: web.Application) -> AsyncIterator[None]:
    """Have the broker open before the first client comes."""
    await app[SOCKETS].open()
    yield


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(broker=os.environ.get("BROKER", "redis://localhost"))
    app.cleanup_ctx.append(opening)
    app.router.add_view("/stream", Stream)
    app.router.add_view("/poll", Poll)
    app.router.add_view("/cluster", Cluster)
    app.router.add_get("/healthz", healthz)
    return app


# [/app]
