"""Messages over Redis, Valkey or a cluster of them."""

from aiohttp import web

from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


class Stream(WsPathMixin, Publish, Subscribe):
    SOCKETS_KEY = SOCKETS


# [app]
def create_app(broker: str = "redis://localhost:6379") -> web.Application:
    app = web.Application()
    rules = [ChannelRule("orders", history=100), ChannelRule("*")]
    app[SOCKETS] = SocketsManager(broker=broker, channels=rules)
    app.router.add_view("/stream", Stream)
    return app


# [/app]


# [options]
def broker_of_the_shop(url: str) -> RedisBroker:
    return RedisBroker(
        url,
        prefix="shop",  # of all keys and channels
        timeout=2.0,  # seconds for one answer
        probe_interval=30.0,  # seconds without a message, before one is sent as a probe
        epoch_ttl=30 * 86400.0,  # seconds that a stream is known behind its last use
        trust_restarts=False,  # whether a restart of the server surely loses nothing
    )


# [/options]
