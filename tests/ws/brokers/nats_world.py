"""NATS brokers as nodes of one world: a real server is between them."""

from typing import Any
from uuid import uuid4

import nats

from openapi.ws.broker import Broker
from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.brokers.nats.names import Names
from tests.servers.nats import NatsServer
from tests.ws.brokers.server_world import ServerWorld

__all__ = ["NatsWorld"]


class NatsWorld(ServerWorld):
    """All of one prefix on one server. ``options`` are those of every broker."""

    def __init__(self, server: NatsServer, **options: Any) -> None:
        super().__init__(server)
        self.server = server
        self.prefix = f"t{uuid4().hex[:12]}"
        self.options: dict[str, Any] = {
            "prefix": self.prefix,
            "partitions": 2,
            "clock": self.clock,
            **options,
        }
        self.names = Names(self.prefix, self.options["partitions"])

    def broker(self, **options: Any) -> NatsBroker:
        """A broker, with other options if need be."""
        return NatsBroker(self.server.url, **{**self.options, **options})

    async def brokers(self, count: int) -> list[Broker]:
        return [self.broker() for _ in range(count)]

    async def lose(self, channel: str) -> None:
        client = await nats.connect(self.server.url)
        stream = self.names.logs[self.names.partition(channel)]
        assert await client.jsm().purge_stream(stream, subject=self.names.log(channel))
        await client.close()

    async def clear(self) -> None:
        """Have nothing on the server any more."""
        await self.back()
        client = await nats.connect(self.server.url)
        for stream in (*self.names.logs, self.names.onces, self.names.rosters):
            try:
                await client.jsm().delete_stream(stream)
            except nats.js.errors.NotFoundError:
                continue
        await client.close()
