"""Redis brokers as nodes of one world: a real server is between them."""

from typing import Any

from openapi.ws.broker import Broker
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.brokers.redis.names import Names
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Clock, World

__all__ = ["RedisWorld"]


class RedisWorld(World):
    """All of one server. ``options`` are those of every broker."""

    def __init__(self, server: ValkeyServer, **options: Any) -> None:
        self.server = server
        self.clock = Clock()
        self._options = {"clock": self.clock, **options}
        self._names = Names("openapi")

    async def brokers(self, count: int) -> list[Broker]:
        return [RedisBroker(self.server.url, **self._options) for _ in range(count)]

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    async def lose(self, channel: str) -> None:
        assert self.server.execute("DEL", *self._names.stream(channel)) == 2

    async def kill(self, broker: Broker) -> None:
        # Whoever is killed says nothing; its connections end, and all that it had in mind is gone.
        # Nobody leaves when a broker is closed, so this is the same.
        await broker.aclose()

    async def away(self, *, silent: bool = False) -> None:
        if silent:
            self.server.pause()
        else:
            self.server.kill()

    async def back(self) -> None:
        self.server.resume()
        if not self.server.runs:
            self.server.start()
