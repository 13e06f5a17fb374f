"""Messages over NATS."""

from aiohttp import web

from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Stream(WsPathMixin, Publish, Subscribe):
    SOCKETS_KEY = SOCKETS


# [app]
def create_app(broker: str = "nats://localhost:4222") -> web.Application:
    app = web.Application()
    rules = [ChannelRule("orders", history=100), ChannelRule("*")]
    app[SOCKETS] = SocketsManager(broker=broker, channels=rules)
    app.router.add_view("/stream", Stream)
    return app


# [/app]


# [options]
def broker_of_the_shop(url: str) -> NatsBroker:
    return NatsBroker(
        url,
        prefix="shop",  # of all subjects and streams
        history_messages=1000,  # what a rule may promise at most
        history_seconds=86400.0,
        history_bytes=None,  # bytes on the server for all channels; None leaves it to the server
        partitions=4,  # streams for history; the same for all of one prefix, for ever
        storage="file",  # or "memory"
        replicas=1,  # 3 in a cluster
        trust_restarts=False,  # whether a restart of the server surely loses nothing
        timeout=2.0,  # seconds for one answer
        probe_interval=30.0,  # seconds without a message, before one is sent as a probe
    )


# [/options]
