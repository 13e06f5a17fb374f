"""Publishing from a script and from another service, over the broker of the servers."""

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from openapi.errors import BrokerUnavailable
from openapi.ws import ChannelRule, Position, Publisher, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe

# [rules]
BROKER = os.environ.get("BROKER", "redis://localhost")


@dataclass
class Payment:
    id: str
    cents: int


CHANNELS = [ChannelRule("orders:*", data=Payment, history=100, ttl=timedelta(hours=1))]
# [/rules]


class Stream(WsPathMixin, Subscribe):
    """The endpoint"""


# [server]
def create_app() -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager(broker=BROKER, channels=CHANNELS)
    app.router.add_view("/stream", Stream)
    return app


# [/server]


# [script]
async def paid(order: str, payment: Payment) -> None:
    """Tell everybody who looks at the order, and who comes back to it."""
    async with Publisher(BROKER, channels=CHANNELS) as publisher:
        await publisher.publish(f"orders:{order}", "paid", payment)


def main() -> None:
    _, order, id, cents = sys.argv
    asyncio.run(paid(order, Payment(id, int(cents))))


# [/script]


# [again]
async def surely(publisher: Publisher, order: str, payment: Payment) -> Position | None:
    """Publish it once, however often that is tried."""
    while True:
        try:
            return await publisher.publish_once(f"orders:{order}", "paid", payment, key=payment.id)
        except BrokerUnavailable as exc:
            await asyncio.sleep((exc.retry_after or 1000) / 1000)


# [/again]


if __name__ == "__main__":
    main()
