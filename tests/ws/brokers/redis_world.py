"""Redis brokers as nodes of one world: a real server is between them."""

from typing import Any

from openapi.ws.broker import Broker
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.brokers.redis.names import Names
from tests.servers.valkey import ValkeyServer
from tests.ws.brokers.server_world import ServerWorld

__all__ = ["RedisWorld"]


class RedisWorld(ServerWorld):
    """All of one server. ``options`` are those of every broker."""

    def __init__(self, server: ValkeyServer, **options: Any) -> None:
        super().__init__(server)
        self.server = server
        self._options = {"clock": self.clock, **options}
        self._names = Names("openapi")

    async def brokers(self, count: int) -> list[Broker]:
        return [RedisBroker(self.server.url, **self._options) for _ in range(count)]

    async def lose(self, channel: str) -> None:
        assert self.server.execute("DEL", *self._names.stream(channel)) == 2
