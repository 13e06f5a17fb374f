"""Who is in a room."""

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from openapi.client import Client, Member
from openapi.ws import ChannelRule, Limits, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

NAMES = {"ada": "Ada Lovelace", "grace": "Grace Hopper"}


# [room]
class Room(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS

    async def on_connect(self) -> None:
        """Know who it is"""
        self.user = self.request.query.get("user")

    def presence_info(self, channel: str) -> Any:
        """What the others see"""
        return {"name": NAMES[self.user]} if self.user in NAMES else None


# [/room]


# [app]
def create_app(limits: Limits | None = None) -> web.Application:
    app = web.Application()
    rules = [ChannelRule("room:*", presence=True)]
    app[SOCKETS] = SocketsManager(channels=rules, limits=limits)
    app.router.add_view("/rooms", Room)
    return app


# [/app]


# [client]
async def watch(client: Client, room: str) -> AsyncIterator[list[str]]:
    """Who is in a room, and again whenever that has changed."""
    async with client.subscribe(room, presence=True) as messages:
        members = {member.id: member for member in await client.presence(room)}
        yield list(members)
        async for message in messages:
            member = message.data
            if not isinstance(member, Member):
                continue
            if message.event == "$join":
                members[member.id] = member
            else:
                members.pop(member.id, None)
            yield list(members)


# [/client]
