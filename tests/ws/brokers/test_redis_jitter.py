"""A thousand clients hop between two servers over Redis: nobody misses anything unawares."""

import sys
import time

import pytest

from openapi.ws.brokers.redis import RedisBroker
from tests.servers.fixtures import StartValkey
from tests.servers.valkey import ValkeyServer
from tests.ws.brokers.hopping import Hopping, two_servers

CLIENTS = 1000


@pytest.mark.timeout(300)
async def test_a_thousand_clients_that_hop_between_servers_get_every_message_once_in_order(
    valkey: ValkeyServer,
) -> None:
    async with two_servers(lambda: RedisBroker(valkey.url)) as servers:
        figures = await servers.hop(clients=CLIENTS)
    assert figures.expected == figures.delivered == 201 * CLIENTS
    assert figures.resets > CLIENTS
    assert (figures.flagged, figures.silent, figures.refused) == (0, 0, 0), figures
    assert (figures.repeated, figures.swapped) == (0, 0), figures


@pytest.mark.timeout(300)
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
async def test_where_the_broker_is_killed_meanwhile_everything_is_delivered_or_flagged(
    start_valkey: StartValkey, trusted: bool
) -> None:
    server, clients = start_valkey(appendonly=True), 150

    async def outage(servers: Hopping) -> None:
        began = time.perf_counter()
        server.kill()
        refused = await servers.away(clients // 2)
        server.start()
        sys.stdout.write(f"away for {time.perf_counter() - began:.2f} s, {refused} refused; ")

    async with two_servers(lambda: RedisBroker(server.url, trust_restarts=trusted)) as servers:
        figures = await servers.hop(clients=clients, outage=outage)
    assert figures.delivered + figures.flagged == figures.expected, figures
    assert (figures.silent, figures.repeated, figures.swapped) == (0, 0, 0), figures
    assert figures.flagged == 0 or not trusted, figures
