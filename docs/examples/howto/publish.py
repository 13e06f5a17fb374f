"""Publishing, reading and letting people in, from HTTP views and background tasks."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from openapi.errors import InvalidData
from openapi.spec import ApiPath, op
from openapi.ws import CannotPublish, ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)
FLOORS = web.AppKey("FLOORS", list[int])

CHANNELS = [ChannelRule("payments", history=1000)]


@dataclass
class Fire:
    floor: int


@dataclass
class Payment:
    id: str
    cents: int


class Stream(WsPathMixin, Subscribe):
    SOCKETS_KEY = SOCKETS

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")


# [view]
class Alarm(ApiPath):
    async def post(self) -> web.Response:
        """Raise the alarm"""
        await self.request.app[SOCKETS].publish("house", "alarm", Fire(floor=1))
        return web.Response(status=204)


# [/view]


# [once]
class Payments(ApiPath):
    @op(body_schema=Payment, response=204)
    async def post(self) -> web.Response:
        """A payment was made, says the bank, and says it again until it has an answer"""
        payment = self.cleaned(Payment, await self.json_data())
        sockets = self.request.app[SOCKETS]
        try:
            await sockets.publish_once("payments", "made", payment, key=payment.id)
        except InvalidData:
            self.raise_validation_error(errors={"id": "another payment had this id"})
        return web.Response(status=204)


# [/once]


# [guests]
class Guest(ApiPath):
    """Somebody, by the name in the path"""

    async def get(self) -> web.Response:
        """Where they are subscribed, for each of their connections"""
        sockets, user = self.request.app[SOCKETS], self.request.match_info["user"]
        connections = await sockets.connections(user=user)
        return web.json_response([connection.channels for connection in connections])

    async def put(self) -> web.Response:
        """Have them hear what happens in the house"""
        sockets, user = self.request.app[SOCKETS], self.request.match_info["user"]
        connections = await sockets.subscribe_socket("house", user=user)
        return web.json_response({"connections": connections})

    async def delete(self) -> web.Response:
        """Send them away"""
        sockets, user = self.request.app[SOCKETS], self.request.match_info["user"]
        connections = await sockets.disconnect(user=user, reason="the party is over")
        return web.json_response({"connections": connections})


# [/guests]


# [task]
async def tick(app: web.Application) -> None:
    """Publish a number, again and again."""
    number = 0
    while True:
        try:
            await app[SOCKETS].publish("clock", "tick", number)
        except CannotPublish:
            return  # the server is shutting down
        number += 1
        await asyncio.sleep(1)


async def ticking(app: web.Application) -> AsyncIterator[None]:
    """Own the task, as long as the application runs."""
    task = asyncio.create_task(tick(app))
    yield
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


# [/task]


# [reading]
async def write_down(app: web.Application) -> None:
    """Keep the floors on which there was a fire."""
    async with app[SOCKETS].subscription("house", "alarm", type=Fire) as fires:
        async for fire in fires:
            app[FLOORS].append(fire.data.floor)


# [/reading]


async def writing_down(app: web.Application) -> AsyncIterator[None]:
    """Own the task, as long as the application runs."""
    task = asyncio.create_task(write_down(app))
    yield
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(channels=CHANNELS)
    app[FLOORS] = []
    app.router.add_view("/stream", Stream)
    app.router.add_view("/alarm", Alarm)
    app.router.add_view("/payments", Payments)
    app.router.add_view("/guests/{user}", Guest)
    app.cleanup_ctx.extend([ticking, writing_down])
    return app


# [/app]
