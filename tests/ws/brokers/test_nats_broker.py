"""The broker over NATS: what every broker must do, and what is its own."""

from collections.abc import AsyncIterator

import pytest

from tests.servers.nats import NatsServer
from tests.ws.broker_nodes import World
from tests.ws.brokers.nats_world import NatsWorld
from tests.ws.conformance import (
    Carrying,
    KeepingHistory,
    KeepingPresence,
    PublishingOnce,
    Supervising,
    SupervisingHistory,
)


class TestNatsBroker(
    Carrying,
    KeepingHistory,
    PublishingOnce,
    KeepingPresence,
    Supervising,
    SupervisingHistory,
):
    @pytest.fixture
    async def world(self, shared_nats: NatsServer) -> AsyncIterator[World]:
        world = NatsWorld(shared_nats)
        yield world
        await world.clear()
