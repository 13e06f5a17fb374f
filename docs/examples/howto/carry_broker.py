"""A broker: two servers whose clients hear of each other."""

import asyncio

from aiohttp import web

from openapi.protocol.publication import Data
from openapi.ws import Broker, CannotPublish, CannotSubscribe, SocketsManager, WsPathMixin
from openapi.ws.broker import Deliver
from openapi.ws.pubsub import Publish, Subscribe


# [broker]
class Hub:
    """What is between the servers. Here it is a dictionary; yours is on the network."""

    def __init__(self) -> None:
        self.channels: dict[str, dict[HubBroker, Deliver]] = {}


class HubBroker(Broker):
    """One server's connection to the hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.deliver: Deliver | None = None

    async def open(self, deliver: Deliver) -> None:
        self.deliver = deliver

    async def publish(self, channel: str, event: str, data: object) -> None:
        if self.deliver is None:
            raise CannotPublish("the broker is closed")
        data = Data.of(data)  # written now, or refused, whoever is subscribed
        servers = self.hub.channels.get(channel, {}).values()
        delivering = asyncio.gather(*(deliver(channel, event, data) for deliver in servers))
        await asyncio.shield(delivering)  # if the publisher is cancelled, it goes to all

    async def subscribe(self, channel: str) -> None:
        if self.deliver is None:
            raise CannotSubscribe("the broker is closed")
        self.hub.channels.setdefault(channel, {})[self] = self.deliver

    async def unsubscribe(self, channel: str) -> None:
        servers = self.hub.channels.get(channel, {})
        servers.pop(self, None)
        if not servers:
            self.hub.channels.pop(channel, None)

    async def aclose(self) -> None:
        self.deliver = None
        for channel in list(self.hub.channels):
            await self.unsubscribe(channel)


# [/broker]


class Stream(WsPathMixin, Subscribe, Publish):
    """The endpoint"""


# [app]
def create_app(hub: Hub) -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager(broker=HubBroker(hub))
    app.router.add_view("/stream", Stream)
    return app


# [/app]
