"""Whatever becomes of a NATS server: who publishes is told, who listens is told, and it goes on.

Real servers, real sockets, two servers of one application with three clients each. What is lost on
a channel with history is heard later or flagged, never lost silently: everything that was
acknowledged is compared with what each client heard and was told. The figures are in the output.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats
import pytest
from nats.js.manager import JetStreamManager

from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.brokers.nats.names import Names
from tests.servers.fixtures import StartNats
from tests.servers.nats import NatsServer
from tests.servers.process import HOST
from tests.ws.brokers.stage import (
    BACK,
    CHANNEL,
    assert_nothing_silent,
    open_files,
    stage,
    until,
)
from tests.ws.brokers.tampering import Tampering, tampering

NAMES = Names("openapi", 4)
LOG = NAMES.logs[NAMES.partition(CHANNEL)]


def broker_of(server: NatsServer) -> Callable[[], NatsBroker]:
    return lambda: NatsBroker(server.url)


@asynccontextmanager
async def managing(server: NatsServer) -> AsyncIterator[JetStreamManager]:
    """Do something to the streams of a server."""
    client = await nats.connect(server.url)
    try:
        yield client.jsm()
    finally:
        await client.close()


def url_of(relay: Tampering) -> str:
    return f"nats://{HOST}:{relay.port}"


def garbled(data: bytes) -> bytes:
    """As the server says it, but for the messages with positions, which nobody can read."""
    return data.replace(b"log1 ", b"log? ")


# --- the server dies and comes back ---------------------------------------------------------------


async def test_a_server_that_was_killed_costs_a_flag_at_most(start_nats: StartNats) -> None:
    server = start_nats()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        server.kill()
        await play.notices()
        server.start()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "kill -9")
    assert figures.told == len(play.witnesses)


async def test_a_server_that_is_trusted_to_keep_everything_costs_nothing(
    start_nats: StartNats,
) -> None:
    server = start_nats(config="jetstream { sync_interval: always }")
    async with stage(lambda: NatsBroker(server.url, trust_restarts=True)) as play:
        await play.go_on()
        server.kill()
        await play.notices()
        server.start()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "kill -9, trusted")
    assert (figures.told, figures.heard) == (0, figures.expected)


@pytest.mark.parametrize("storage", ["memory", "file"])
@pytest.mark.parametrize("trusted", [False, True], ids=["", "trusted"])
async def test_what_nobody_heard_before_the_server_was_killed_is_heard_later_or_flagged(
    start_nats: StartNats, storage: str, trusted: bool
) -> None:
    server, unheard = start_nats(), 20

    def broker() -> NatsBroker:
        return NatsBroker(url_of(relay), trust_restarts=trusted, storage=storage)  # type: ignore[arg-type]

    async with tampering(server.port) as relay, stage(broker) as play:
        await play.go_on()
        relay.rewrite = garbled
        await play.ledger.publish_many(play.managers, unheard)
        server.kill()
        await play.notices()
        relay.rewrite = bytes
        server.start()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, f"kill -9, {unheard} unheard, {storage=}, {trusted=}")
    kept = storage == "file" and trusted
    assert figures.told == (0 if kept else len(play.witnesses))
    # One server may be back before the other, and publish what nobody hears at that one.
    lost = unheard * len(play.witnesses)
    assert figures.flagged == 0 if kept else figures.flagged >= lost


@pytest.mark.parametrize("seconds", [0, pytest.param(10, marks=pytest.mark.full)])
async def test_a_server_that_stands_still_is_noticed_and_found_again(
    start_nats: StartNats, seconds: float
) -> None:
    server = start_nats()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        server.pause()
        began = time.perf_counter()
        await play.notices()
        noticed = time.perf_counter() - began
        await asyncio.sleep(seconds)
        await play.holds_out()
        server.resume()
        figures = await play.recovers()
    sys.stdout.write(f"noticed after {noticed:.2f} s\n")
    assert_nothing_silent(play, figures, f"stopped for {seconds} s more")
    assert (figures.told, figures.heard) == (0, figures.expected)


# --- connections that end -------------------------------------------------------------------------


async def test_connections_that_end_are_made_anew_and_nothing_is_lost(
    start_nats: StartNats,
) -> None:
    server = start_nats()
    async with tampering(server.port) as relay, stage(lambda: NatsBroker(url_of(relay))) as play:
        await play.go_on()
        await relay.aclose()
        figures = await play.recovers()
        assert relay.connections == 4
    assert_nothing_silent(play, figures, "connections closed")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_messages_that_come_while_nobody_hears_are_read_from_history(
    start_nats: StartNats,
) -> None:
    server = start_nats()
    async with tampering(server.port) as relay, stage(lambda: NatsBroker(url_of(relay))) as play:
        await play.go_on()
        relay.rewrite = garbled
        await play.ledger.publish_many(play.managers, 50)
        relay.rewrite = bytes
        await relay.aclose()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "50 messages unheard, then connections closed")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_more_was_missed_than_there_is_history_and_everybody_is_told(
    start_nats: StartNats,
) -> None:
    server = start_nats()
    async with tampering(server.port) as relay, stage(lambda: NatsBroker(url_of(relay))) as play:
        await play.go_on()
        relay.rewrite = garbled
        await play.ledger.publish_many(play.managers, 400)
        relay.rewrite = bytes
        await relay.aclose()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "400 messages unheard of 300 kept")
    assert figures.told == len(play.witnesses)
    assert figures.flagged > 0


async def test_a_server_that_drops_a_slow_reader_loses_nothing(start_nats: StartNats) -> None:
    server = start_nats(config="max_pending: 2MB\nmax_payload: 1MB")
    async with (
        tampering(server.port) as relay,
        stage(lambda: NatsBroker(url_of(relay), timeout=30.0, probe_interval=60.0)) as play,
    ):
        flood = await nats.connect(server.url)
        for manager in play.managers:
            await manager.subscribe("flood")
        await play.go_on()
        before = relay.connections
        for each in relay._carried:
            each.going.clear()
        subject, data = NAMES.live("flood"), b"x" * 500_000
        await play.ledger.publish_many(
            [play.managers[0]], 0
        )  # who publishes over a held connection would wait
        for _ in range(60):
            await flood.publish(subject, data)
        await flood.flush()
        relay.let_go()
        figures = await play.recovers()
        assert relay.connections >= before + 2
        await flood.close()
    assert_nothing_silent(play, figures, "the server's buffer was full")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_a_bus_that_is_alive_and_delivers_nothing_is_replaced(
    start_nats: StartNats,
) -> None:
    server, interval = start_nats(), 0.3
    async with (
        tampering(server.port) as relay,
        stage(lambda: NatsBroker(url_of(relay), probe_interval=interval)) as play,
    ):
        await play.go_on()
        before = relay.connections
        for each in relay._carried:
            each.swallows = True
        began = time.perf_counter()
        await until(lambda: relay.connections == before + 2)
        found = time.perf_counter() - began
        figures = await play.recovers()
        assert relay.connections == before + 2
    sys.stdout.write(f"found and replaced after {found:.2f} s, probed every {interval} s\n")
    assert_nothing_silent(play, figures, "alive, and delivers nothing")
    assert (figures.told, figures.heard) == (0, figures.expected)
    assert found < interval + 1 + BACK


async def test_after_many_reconnections_there_are_as_many_connections_and_files_as_before(
    start_nats: StartNats,
) -> None:
    server = start_nats()
    async with tampering(server.port) as relay, stage(lambda: NatsBroker(url_of(relay))) as play:
        await play.go_on()
        files, tasks = open_files(), len(asyncio.all_tasks())
        for turn in range(1, 11):
            await relay.aclose()
            await until(lambda turn=turn: relay.connections == 2 + 2 * turn)  # type: ignore[misc]
            await play.until(lambda: not any(each.outage for each in play.managers))
            await play.go_on(2)
        await until(lambda: open_files() <= files)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "20 reconnections")
    assert (figures.told, figures.heard) == (0, figures.expected)


# --- what it keeps is lost ------------------------------------------------------------------------


async def test_a_stream_that_was_deleted_is_new_at_once_and_flagged_to_everybody(
    start_nats: StartNats,
) -> None:
    server = start_nats()
    async with stage(broker_of(server)) as play, managing(server) as manager:
        await play.go_on()
        assert await manager.delete_stream(LOG)
        figures = await play.recovers()
        assert play.ledger.refused == 0
    assert_nothing_silent(play, figures, "the stream deleted")
    assert figures.told == len(play.witnesses)
    assert figures.heard == figures.expected


async def test_messages_that_are_purged_before_they_were_heard_are_flagged(
    start_nats: StartNats,
) -> None:
    server = start_nats()
    async with (
        tampering(server.port) as relay,
        stage(lambda: NatsBroker(url_of(relay))) as play,
        managing(server) as manager,
    ):
        await play.go_on()
        relay.rewrite = garbled
        await play.ledger.publish_many(play.managers, 20)
        assert await manager.purge_stream(LOG)
        relay.rewrite = bytes
        await relay.aclose()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "20 messages unheard, and the stream purged")
    assert figures.flagged >= 20 * len(play.witnesses)
