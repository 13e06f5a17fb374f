"""Who is in a room."""

import asyncio
from typing import Any

from aiohttp import web

from openapi.client import Client, Member, Subscription
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
class Members:
    """Who is in a room."""

    def __init__(self, client: Client, room: str) -> None:
        self.client = client
        self.room = room
        self.members: dict[str, Member] = {}

    async def watch(self) -> None:
        """Keep up, for ever."""
        async with asyncio.TaskGroup() as group:

            def renewed(messages: Subscription[Any]) -> None:
                group.create_task(self.load())  # nobody told who came and went meanwhile

            async with self.client.subscribe(
                self.room, presence=True, on_renewed=renewed
            ) as messages:
                await self.load()
                async for message in messages:
                    if isinstance(message.data, Member):
                        self.apply(message.event, message.data)

    async def load(self) -> None:
        """Ask who is there."""
        members = await self.client.presence(self.room)
        self.members = {member.id: member for member in members}
        self.show()

    def apply(self, event: str, member: Member) -> None:
        """A member came, or is gone."""
        if event == "$join":
            self.members[member.id] = member
        else:
            self.members.pop(member.id, None)
        self.show()

    def show(self) -> None:
        """It has changed."""


# [/client]
