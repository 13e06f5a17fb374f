"""Clients hop between two servers over a broker: nobody misses anything unawares."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from openapi.ws import Broker
from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.brokers.redis import RedisBroker
from tests.servers.fixtures import StartNats, StartValkey
from tests.servers.process import Server
from tests.ws.brokers.hopping import Hopping, two_servers


@dataclass(frozen=True)
class Carrying:
    """A server that keeps all that it acknowledged, and brokers of it."""

    server: Server
    broker: Callable[[bool], Broker]
    """Makes one that trusts restarts, or does not."""
    clients: int
    """How many hop while the server is killed."""


@pytest.fixture(params=["redis", "nats"])
def carrying(
    request: pytest.FixtureRequest, start_valkey: StartValkey, start_nats: StartNats
) -> Carrying:
    if request.param == "redis":
        redis = start_valkey(appendonly=True)
        return Carrying(redis, lambda trusts: RedisBroker(redis.url, trust_restarts=trusts), 150)
    nats = start_nats(config="jetstream { sync_interval: always }")
    return Carrying(nats, lambda trusts: NatsBroker(nats.url, trust_restarts=trusts), 300)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("clients", [300, pytest.param(1000, marks=pytest.mark.full)])
async def test_clients_that_hop_between_servers_get_every_message_once_in_order(
    carrying: Carrying, clients: int
) -> None:
    async with two_servers(lambda: carrying.broker(False)) as servers:
        figures = await servers.hop(clients=clients)
    assert figures.expected == figures.delivered == 201 * clients
    assert figures.resets > clients
    assert (figures.flagged, figures.silent, figures.refused) == (0, 0, 0), figures
    assert (figures.repeated, figures.swapped) == (0, 0), figures


@pytest.mark.timeout(300)
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
async def test_where_the_broker_is_killed_meanwhile_everything_is_delivered_or_flagged(
    carrying: Carrying, trusted: bool
) -> None:
    async def outage(servers: Hopping) -> None:
        began = time.perf_counter()
        carrying.server.kill()
        refused = await servers.away(carrying.clients // 2)
        carrying.server.start()
        sys.stdout.write(f"away for {time.perf_counter() - began:.2f} s, {refused} refused; ")

    async with two_servers(lambda: carrying.broker(trusted)) as servers:
        figures = await servers.hop(clients=carrying.clients, outage=outage)
    assert figures.delivered + figures.flagged == figures.expected, figures
    assert (figures.silent, figures.repeated, figures.swapped) == (0, 0, 0), figures
    assert figures.flagged == 0 or not trusted, figures
