"""Brokers as nodes of one world: a real server is between them."""

from openapi.ws.broker import Broker
from tests.servers.process import Server
from tests.ws.broker_nodes import Clock, World

__all__ = ["ServerWorld"]


class ServerWorld(World):
    """All of one server. Brokers go by :attr:`clock`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.clock = Clock()

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    async def kill(self, broker: Broker) -> None:
        # Whoever is killed says nothing; its connections end, and all that it had in mind is gone.
        # Nobody leaves when a broker is closed, so this is the same.
        await broker.aclose()

    async def away(self, *, silent: bool = False) -> None:
        if silent:
            self._server.pause()
        else:
            self._server.kill()

    async def back(self) -> None:
        self._server.resume()
        if not self._server.runs:
            self._server.start()
