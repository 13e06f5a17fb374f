"""The broker that docs/how-to/carry-messages.md shows, held against the contract.

That page shows a part of this file too: tests/ws/test_hub_broker.py.
"""

# [suite]
from collections.abc import AsyncIterator

import pytest

from docs.examples.howto.carry_broker import Hub, HubBroker
from openapi.ws import Broker
from tests.ws.broker_nodes import World
from tests.ws.conformance import Carrying


class HubWorld(World):
    def __init__(self) -> None:
        self.hub = Hub()

    async def brokers(self, count: int) -> list[Broker]:
        return [HubBroker(self.hub) for _ in range(count)]

    async def pass_time(self, seconds: float) -> None:
        """Nothing is kept here that gets old."""

    async def kill(self, broker: Broker) -> None:
        await broker.aclose()


class TestHubBroker(Carrying):
    @pytest.fixture
    async def world(self) -> AsyncIterator[World]:
        yield HubWorld()


# [/suite]
