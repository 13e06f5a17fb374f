"""The broker over Redis or Valkey: what every broker must do, and what is its own."""

from collections.abc import AsyncIterator

import pytest

from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import World
from tests.ws.brokers.redis_world import RedisWorld
from tests.ws.conformance import (
    Carrying,
    KeepingHistory,
    KeepingPresence,
    Ordering,
    PublishingOnce,
    Supervising,
    SupervisingHistory,
)


class TestRedisBroker(
    Carrying,
    Ordering,
    KeepingHistory,
    PublishingOnce,
    KeepingPresence,
    Supervising,
    SupervisingHistory,
):
    @pytest.fixture
    async def world(self, valkey: ValkeyServer) -> AsyncIterator[World]:
        world = RedisWorld(valkey)
        yield world
        await world.back()
