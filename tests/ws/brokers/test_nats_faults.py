"""Whatever becomes of a NATS server: who publishes and who listens is told, and it goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.js.manager import JetStreamManager

from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.brokers.nats.names import Names
from tests.servers.fixtures import StartNats
from tests.servers.process import HOST
from tests.ws.brokers.outages import (
    Connections,
    Disconnecting,
    Ending,
    Forgetting,
    Kept,
    Scene,
    Start,
)
from tests.ws.brokers.stage import CHANNEL, assert_nothing_silent

NAMES = Names("openapi", 4)
LOG = NAMES.logs[NAMES.partition(CHANNEL)]


def garbled(data: bytes) -> bytes:
    """As the server says it, but for the messages with positions, which nobody can read."""
    return data.replace(b"log1 ", b"log? ")


class NatsScene(Scene):
    """A broker hears and publishes by one connection."""

    connections = 2
    hears_apart = False

    def broker(self, port: int, **options: Any) -> NatsBroker:
        return NatsBroker(f"nats://{HOST}:{port}", **options)

    def deafen(self) -> None:
        assert self.relay.garble(garbled) == 2

    async def end(self, which: Connections) -> None:
        # They are all the same.
        await self.relay.aclose()

    async def lose_stream(self, how: str) -> None:
        async with self._managing() as manager:
            assert await manager.delete_stream(LOG)

    async def lose_messages(self) -> None:
        async with self._managing() as manager:
            assert await manager.purge_stream(LOG)

    @asynccontextmanager
    async def _managing(self) -> AsyncIterator[JetStreamManager]:
        """Do something to the streams of the server."""
        client = await nats.connect(self.server.url)
        try:
            yield client.jsm()
        finally:
            await client.close()


@pytest.fixture
def start(start_nats: StartNats) -> Start:
    def scene(kept: Kept | None = None) -> NatsScene:
        config = "jetstream { sync_interval: always }" if kept is Kept.SYNCED else ""
        storage = "memory" if kept is Kept.NOTHING else "file"
        return NatsScene(start_nats(config=config), storage=storage)

    return scene


class TestOutages(Ending, Disconnecting, Forgetting):
    """A server of its own for each test."""


async def test_a_server_that_drops_a_slow_reader_loses_nothing(start_nats: StartNats) -> None:
    scene = NatsScene(start_nats(config="max_pending: 2MB\nmax_payload: 1MB"))
    async with scene.relayed(timeout=30.0, probe_interval=60.0) as play:
        relay = scene.relay
        flood = await nats.connect(scene.server.url)
        for manager in play.managers:
            await manager.subscribe("flood")
        await play.go_on()
        before = relay.connections
        # Who publishes over a connection that is held would wait.
        assert relay.hold() == 2
        subject, data = NAMES.live("flood"), b"x" * 500_000
        for _ in range(60):
            await flood.publish(subject, data)
        await flood.flush()
        relay.let_go()
        figures = await play.recovers()
        assert relay.connections >= before + 2
        await flood.close()
    assert_nothing_silent(play, figures, "the server's buffer was full")
    assert (figures.told, figures.heard) == (0, figures.expected)
