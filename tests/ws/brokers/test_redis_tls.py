"""Redis over TLS: who is trusted is talked to, and nobody else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from openapi.errors import BrokerUnavailable
from openapi.protocol.stream import Position, Retention
from openapi.ws.brokers.redis import RedisBroker
from tests.servers.tls import TlsFront, tls_front
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Message, Node

KEPT = Retention(messages=10, seconds=60.0)


@pytest.fixture
async def front(valkey: ValkeyServer) -> AsyncIterator[TlsFront]:
    async with tls_front(valkey.port) as front:
        yield front


async def test_messages_and_history_go_over_tls(front: TlsFront) -> None:
    broker = RedisBroker(f"rediss://localhost:{front.port}?ssl_ca_certs={front.authority}")
    node = Node(broker, 10.0)
    await broker.open(node.deliver)
    try:
        assert broker.outage is None
        await broker.subscribe("c")
        position = await broker.append("c", "done", {"n": 1}, retention=KEPT)
        assert await node.streamed("c", position) == [Message("done", {"n": 1}, position)]
        assert position == Position(1, position.epoch)
    finally:
        await broker.aclose()


async def test_who_is_not_to_be_trusted_is_away_and_the_reason_is_told(front: TlsFront) -> None:
    async def reason_of(url: str) -> str:
        broker = RedisBroker(url, timeout=3.0)  # a handshake takes a while on a busy machine
        await broker.open(Node(broker, 10.0).deliver)
        try:
            with pytest.raises(BrokerUnavailable):
                await broker.publish("c", "", 1)
            return "" if broker.outage is None else broker.outage.reason
        finally:
            await broker.aclose()

    nobody_vouches, another_name, no_tls = await asyncio.gather(
        reason_of(f"rediss://localhost:{front.port}"),
        reason_of(f"rediss://127.0.0.1:{front.port}?ssl_ca_certs={front.authority}"),
        reason_of(f"redis://localhost:{front.port}"),
    )
    for reason in (nobody_vouches, another_name):
        assert "CERTIFICATE_VERIFY_FAILED" in reason
    assert f"localhost:{front.port}" in no_tls
