"""What channels promise."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from aiohttp import web
from msgspec import Meta

from openapi.ws import ChannelRule, Latest, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

RUNNING: set[str] = set()


# [data]
@dataclass
class Order:
    id: int
    status: Literal["new", "paid", "sent"] = "new"
    items: Annotated[list[str], Meta(min_length=1)] | None = None


# [/data]


# [hooks]
async def switch_on(channel: str) -> None:
    """Somebody watches this camera."""
    RUNNING.add(channel.removeprefix("camera:"))


async def switch_off(channel: str) -> None:
    """Nobody does any more."""
    RUNNING.discard(channel.removeprefix("camera:"))


# [/hooks]


# [rules]
CHANNELS = [
    ChannelRule("orders:*", data=Order, history=100, ttl=timedelta(minutes=5), max_rate=5),
    ChannelRule("orders:drafts:*", data=Order),
    ChannelRule("prices", slow=Latest(key="symbol")),
    ChannelRule("room:*", presence=True),
    ChannelRule("camera:*", on_occupied=switch_on, on_vacated=switch_off),
    ChannelRule("*", refused=True),
]
# [/rules]


class Stream(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS


# [app]
def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(channels=CHANNELS)
    app.router.add_view("/stream", Stream)
    return app


# [/app]
