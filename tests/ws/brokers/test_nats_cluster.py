"""A cluster of three NATS servers, of which each stream has three replicas."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from openapi.errors import BrokerUnavailable
from openapi.protocol.stream import Position, Retention
from openapi.ws.brokers.nats import NatsBroker
from tests.servers.nats import NatsServer
from tests.servers.process import HOST, free_port
from tests.ws.broker_nodes import Node, offsets_of

KEPT = Retention(messages=1000, seconds=3600.0)
#: Servers choose who leads, which takes them some seconds.
PATIENCE = 60.0


@pytest.fixture
def cluster() -> Iterator[list[NatsServer]]:
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats-route://{HOST}:{port}"' for port in ports)
    configs = [
        f"server_name: s{number}\n"
        f'cluster {{ name: c, listen: "{HOST}:{port}", routes: [{routes}] }}'
        for number, port in enumerate(ports)
    ]
    with ExitStack() as stack:
        yield [stack.enter_context(NatsServer(config=config)) for config in configs]


@pytest.mark.full
@pytest.mark.timeout(180)
async def test_where_the_server_is_lost_that_was_asked_the_others_go_on_with_all_that_was_kept(
    cluster: list[NatsServer],
) -> None:
    first = cluster[0]
    nodes = [Node(NatsBroker(first.url, replicas=3), PATIENCE) for _ in range(2)]
    try:
        for node in nodes:
            await node.open()
        for node in nodes:
            await node.until_back()
            await node.broker.subscribe("c")
        for number in range(99):
            key = str(number) if number % 2 else None
            await nodes[number % 2].history.append("c", "", number, retention=KEPT, key=key)
        last = await nodes[0].history.append("c", "", 99, retention=KEPT)
        assert last.offset == 100
        began = time.perf_counter()
        first.kill()
        again: Position | None = None
        while again is None:
            try:
                again = await nodes[0].history.append("c", "", 100, retention=KEPT, key="k")
            except BrokerUnavailable:
                await asyncio.sleep(0.05)  # another one is to be the leader first
        sys.stdout.write(f"appended again after {time.perf_counter() - began:.2f} s\n")
        assert again == Position(101, last.epoch)
        for node in nodes:
            await node.until_back()
            page = await node.history.history("c", retention=KEPT, limit=1000)
            assert (offsets_of(page), page.top) == (list(range(1, 102)), again)
    finally:
        for node in nodes:
            await node.broker.aclose()
