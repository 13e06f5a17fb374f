"""Channels whose readers may be slower than their messages."""

from collections.abc import AsyncIterator

from aiohttp import web

from openapi.client import connect
from openapi.ws import ChannelRule, Latest, Limits, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

# [rules]
CHANNELS = [
    ChannelRule("orders:*", history=100),  # slow="disconnect"
    ChannelRule("logs:*", slow="drop_oldest"),
    ChannelRule("prices", slow=Latest(key="symbol")),
    ChannelRule("audit", history=10_000, slow="catch_up"),
]
# [/rules]


class Stream(WsPathMixin, Subscribe):
    SOCKETS_KEY = SOCKETS


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(channels=CHANNELS, limits=Limits(outbox_bytes=256 * 1024))
    app.router.add_view("/stream", Stream)
    return app


# [/app]


# [client]
async def follow(url: str, host: str) -> AsyncIterator[str]:
    """The lines of a log, and where some were left out, how many."""
    async with connect(url) as client, client.subscribe(f"logs:{host}", type=str) as messages:
        known = 0
        async for message in messages:
            if messages.dropped > known:
                yield f"({messages.dropped - known} lines are left out)"
                known = messages.dropped
            yield message.data


# [/client]
