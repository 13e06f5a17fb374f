"""A broker: two servers whose clients hear of each other."""

from aiohttp import web

from openapi.ws import Broker, CannotPublish, SocketsManager, WsPathMixin
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
        for deliver in list(self.hub.channels.get(channel, {}).values()):
            await deliver(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        assert self.deliver is not None  # a manager opens its broker first
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
