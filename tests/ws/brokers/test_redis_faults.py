"""Whatever becomes of a Redis server: who publishes is told, who listens is told, and it goes on.

Real servers, real sockets, two servers of one application with three clients each. What is lost on
a channel with history is heard later or flagged, never lost silently: everything that was
acknowledged is compared with what each client heard and was told. The figures are in the output.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Collection

import pytest

from openapi.errors import BrokerUnavailable, DeclarationError, ErrorCode
from openapi.protocol.limits import Limits
from openapi.protocol.stream import Retention
from openapi.ws import ChannelRule, SocketsManager
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.brokers.redis.names import Names
from tests.servers.fixtures import StartValkey
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Node
from tests.ws.brokers.ledger import all_hear
from tests.ws.brokers.stage import (
    BACK,
    CHANNEL,
    PATIENCE,
    assert_nothing_silent,
    open_files,
    stage,
    until,
)
from tests.ws.brokers.tampering import tampering
from tests.ws.endpoints import application
from tests.ws.tcp import Client, served

NAMES = Names("openapi")
META, LOG = NAMES.stream(CHANNEL)
KEPT = Retention(messages=100, seconds=60.0)

#: Connections of two brokers: one for commands and one for messages each.
CONNECTIONS = 4


def broker_of(server: ValkeyServer) -> Callable[[], RedisBroker]:
    return lambda: RedisBroker(server.url)


# --- the server dies and comes back ---------------------------------------------------------------


async def test_a_server_that_was_killed_and_kept_everything_costs_a_flag_at_most(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey(appendonly=True)
    async with stage(broker_of(server)) as play:
        await play.go_on()
        server.kill()
        await play.notices()
        server.start()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "kill -9, all written down")
    assert figures.told == len(play.witnesses)


async def test_a_server_that_is_trusted_to_keep_everything_costs_nothing(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey(appendonly=True)
    async with stage(lambda: RedisBroker(server.url, trust_restarts=True)) as play:
        await play.go_on()
        server.kill()
        await play.notices()
        server.start()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "kill -9, all written down and trusted")
    assert (figures.told, figures.heard) == (0, figures.expected)


@pytest.mark.parametrize("appendonly", [False, True], ids=["nothing kept", "all written down"])
@pytest.mark.parametrize("trusted", [False, True], ids=["", "trusted"])
async def test_what_nobody_heard_before_the_server_was_killed_is_heard_later_or_flagged(
    start_valkey: StartValkey, appendonly: bool, trusted: bool
) -> None:
    server, unheard = start_valkey(appendonly=appendonly), 20
    async with (
        tampering(server.port) as relay,
        stage(lambda: RedisBroker(relay.url, trust_restarts=trusted)) as play,
    ):
        await play.go_on()
        relay.swallow()
        await play.ledger.publish_many(play.managers, unheard)
        server.kill()
        await play.notices()
        server.start()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, f"kill -9, {unheard} unheard, {appendonly=}, {trusted=}")
    if appendonly and trusted:
        assert (figures.told, figures.flagged) == (0, 0)
    else:
        # And what one server published before the other one had found its way back.
        assert figures.told == len(play.witnesses)
        assert figures.flagged >= unheard * len(play.witnesses)


async def test_a_server_that_kept_all_but_the_newest_does_not_give_their_numbers_to_others(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with stage(broker_of(server)) as play:
        await play.go_on(20)
        server.execute("SAVE")
        await play.go_on(20)
        server.kill()
        await play.notices()
        server.start()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "kill -9, the newest lost")
    assert figures.told == len(play.witnesses)


@pytest.mark.parametrize("seconds", [0, pytest.param(10, marks=pytest.mark.full)])
async def test_a_server_that_stands_still_is_noticed_and_found_again(
    start_valkey: StartValkey, seconds: float
) -> None:
    server = start_valkey()
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
    assert figures.heard == figures.expected


# --- connections that end -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_connections_that_the_server_closes_are_made_anew_and_nothing_is_lost(
    start_valkey: StartValkey, kind: str
) -> None:
    server = start_valkey()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        assert server.execute("CLIENT", "KILL", "TYPE", kind) == 2
        figures = await play.recovers()
    assert_nothing_silent(play, figures, f"CLIENT KILL TYPE {kind}")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_messages_that_come_while_nobody_is_subscribed_are_read_from_history(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with tampering(server.port) as relay, stage(lambda: RedisBroker(relay.url)) as play:
        await play.go_on()
        assert relay.swallow() == 2
        await play.ledger.publish_many(play.managers, 50)
        assert server.execute("CLIENT", "KILL", "TYPE", "pubsub") == 2
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "50 messages unheard, then CLIENT KILL TYPE pubsub")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_what_was_missed_is_heard_at_once_though_nothing_comes_any_more(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with tampering(server.port) as relay, stage(lambda: RedisBroker(relay.url)) as play:
        await play.go_on()
        assert relay.swallow() == 2
        await play.ledger.publish_many(play.managers, 50)
        began = time.perf_counter()
        assert server.execute("CLIENT", "KILL", "TYPE", "pubsub") == 2
        async with asyncio.timeout(PATIENCE):
            await all_hear(play.witnesses, play.ledger.published)
        sys.stdout.write(f"heard after {time.perf_counter() - began:.2f} s\n")
        figures = play.ledger.judge(play.witnesses)
    assert_nothing_silent(play, figures, "50 messages unheard, and none behind them")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_more_was_missed_than_there_is_history_and_everybody_is_told(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with (
        tampering(server.port) as relay,
        stage(lambda: RedisBroker(relay.url), history=100) as play,
    ):
        await play.go_on()
        assert relay.swallow() == 2
        await play.ledger.publish_many(play.managers, 150)
        assert server.execute("CLIENT", "KILL", "TYPE", "pubsub") == 2
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "150 messages unheard of 100 kept")
    assert figures.told == len(play.witnesses)
    assert figures.flagged > 0


async def test_a_server_that_drops_a_slow_reader_loses_nothing(start_valkey: StartValkey) -> None:
    server = start_valkey("--client-output-buffer-limit", "pubsub 65536 0 0")
    async with tampering(server.port) as relay, stage(lambda: RedisBroker(relay.url)) as play:
        for manager in play.managers:
            await manager.subscribe("flood")
        await play.go_on()
        assert relay.hold() == 2
        await play.ledger.publish_many(play.managers, 20)
        flood = "x" * 1_000_000
        readers = dropped_by(server)
        while server.execute("CLIENT", "LIST", "TYPE", "pubsub"):
            await play.managers[0].publish("flood", "", flood)
        await play.ledger.publish_many(play.managers, 20)
        relay.let_go()
        figures = await play.recovers()
        assert dropped_by(server) >= readers + 2
    assert_nothing_silent(play, figures, "the output buffer was full")
    assert (figures.told, figures.heard) == (0, figures.expected)


def dropped_by(server: ValkeyServer) -> int:
    """How many clients a server has dropped because they read too slowly."""
    stats: dict[str, int] = server.execute("INFO", "stats")
    return int(stats["client_output_buffer_limit_disconnections"])


async def test_a_bus_that_is_alive_and_delivers_nothing_is_replaced(
    start_valkey: StartValkey,
) -> None:
    server, interval = start_valkey(), 0.3
    async with (
        tampering(server.port) as relay,
        stage(lambda: RedisBroker(relay.url, probe_interval=interval)) as play,
    ):
        await play.go_on()
        before = relay.connections
        assert relay.swallow() == 2
        began = time.perf_counter()
        await play.ledger.publish_many(play.managers, 20)
        await until(lambda: relay.connections == before + 2)
        found = time.perf_counter() - began
        figures = await play.recovers()
        assert relay.connections == before + 2
    sys.stdout.write(f"found and replaced after {found:.2f} s, probed every {interval} s\n")
    assert_nothing_silent(play, figures, "alive, and delivers nothing")
    assert (figures.told, figures.heard) == (0, figures.expected)
    assert found < interval + 1 + BACK


async def test_a_bus_that_is_only_quiet_is_left_alone(start_valkey: StartValkey) -> None:
    server, interval = start_valkey(), 0.05
    async with (
        tampering(server.port) as relay,
        stage(lambda: RedisBroker(relay.url, probe_interval=interval)) as play,
    ):
        published = commands(server, "publish")
        await until(lambda: commands(server, "publish") >= published + 10)  # probes
        assert relay.connections == CONNECTIONS
        await play.go_on()


def commands(server: ValkeyServer, name: str) -> int:
    """How often a server was given a command."""
    stats = server.execute("INFO", "commandstats").get(f"cmdstat_{name}")
    return int(stats["calls"]) if stats else 0


def reconnected(server: ValkeyServer, killed: Collection[str]) -> int:
    """How many are connected, but for those that were killed."""
    return sum(each["id"] not in killed for each in server.clients())


async def test_after_many_reconnections_there_are_as_many_connections_and_files_as_before(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        assert len(server.clients()) == CONNECTIONS
        files, tasks = open_files(), len(asyncio.all_tasks())
        for _ in range(5):
            killed = {each["id"] for each in server.clients()}
            for kind in ("pubsub", "normal"):
                assert server.execute("CLIENT", "KILL", "TYPE", kind) == 2
            await until(lambda killed=killed: reconnected(server, killed) == CONNECTIONS)  # type: ignore[misc]
            await play.until(lambda: not any(each.outage for each in play.managers))
            await play.go_on(2)
        assert len(server.clients()) == CONNECTIONS
        assert open_files() == files
        assert len(asyncio.all_tasks()) == tasks
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "20 reconnections")
    assert (figures.told, figures.heard) == (0, figures.expected)


# --- what it keeps is lost ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [("FLUSHALL",), ("DEL", META), ("DEL", META, LOG)],
    ids=["FLUSHALL", "meta", "meta and log"],
)
async def test_a_stream_that_is_lost_is_flagged_to_everybody(
    start_valkey: StartValkey, command: tuple[str | bytes, ...]
) -> None:
    server = start_valkey()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        server.execute(*command)
        figures = await play.recovers()
    assert_nothing_silent(play, figures, str(command))
    assert figures.told == len(play.witnesses)
    # All that was published is live, and nothing was missed.
    assert figures.heard == figures.expected


@pytest.mark.parametrize("command", [("FLUSHALL",), ("DEL", META)], ids=["FLUSHALL", "meta"])
async def test_what_nobody_heard_of_a_stream_that_is_lost_is_flagged(
    start_valkey: StartValkey, command: tuple[str | bytes, ...]
) -> None:
    server, unheard = start_valkey(), 20
    async with tampering(server.port) as relay, stage(lambda: RedisBroker(relay.url)) as play:
        await play.go_on()
        relay.swallow()
        await play.ledger.publish_many(play.managers, unheard)
        server.execute(*command)
        server.execute("CLIENT", "KILL", "TYPE", "pubsub")
        figures = await play.recovers()
    assert_nothing_silent(play, figures, f"{unheard} messages unheard, and {command}")
    assert figures.told == len(play.witnesses)
    assert figures.flagged >= unheard * len(play.witnesses)


async def test_messages_that_are_lost_and_were_heard_are_nobodys_loss(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        server.execute("DEL", LOG)
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "the log deleted")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_messages_that_are_lost_before_they_were_heard_are_flagged(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with tampering(server.port) as relay, stage(lambda: RedisBroker(relay.url)) as play:
        await play.go_on()
        relay.swallow()
        await play.ledger.publish_many(play.managers, 20)
        server.execute("DEL", LOG)
        server.execute("CLIENT", "KILL", "TYPE", "pubsub")
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "20 messages unheard, and the log deleted")
    assert figures.flagged >= 20 * len(play.witnesses)


async def test_scripts_that_were_forgotten_are_taught_again(start_valkey: StartValkey) -> None:
    server = start_valkey()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        server.execute("SCRIPT", "FLUSH", "SYNC")
        # To send what was refused once more would put it behind what came behind it.
        await play.until(lambda: play.ledger.refused)
        await play.until(lambda: not any(each.outage for each in play.managers))
        await play.go_on()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "SCRIPT FLUSH")
    assert (figures.told, figures.heard) == (0, figures.expected)


# --- a server that refuses ------------------------------------------------------------------------


async def test_a_server_without_memory_refuses_what_is_to_be_kept_until_it_has_some(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        server.execute("CONFIG", "SET", "maxmemory", 1)
        refused = play.ledger.refused
        for manager in play.managers:
            assert not await play.ledger.publish(manager)
            await manager.publish("plain", "", 1)  # nothing of it is kept
        assert play.ledger.refused == refused + 2
        server.execute("CONFIG", "SET", "maxmemory", 0)
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "maxmemory")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_a_server_that_takes_no_more_clients_is_tried_until_it_does(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with stage(broker_of(server)) as play:
        await play.go_on()
        server.execute("CONFIG", "SET", "maxclients", 1)
        for kind in ("pubsub", "normal"):
            server.execute("CLIENT", "KILL", "TYPE", kind)
        await play.notices()
        await play.until(lambda: server.execute("INFO", "stats")["rejected_connections"] > 0)
        server.execute("CONFIG", "SET", "maxclients", 100)
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "maxclients")
    assert figures.heard == figures.expected


def reason(node: Node) -> str:
    """Why a broker's server is away, or nothing."""
    outage = node.supervised.outage
    return "" if outage is None else outage.reason


async def opened(broker: RedisBroker) -> Node:
    node = Node(broker, PATIENCE)
    await node.open()
    return node


async def test_a_password_that_is_wrong_or_missing_is_an_outage_until_it_is_right(
    start_valkey: StartValkey, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_valkey(password="first")
    urls = [server.url.replace("first", "s3cret"), server.url.replace(":first@", "")]
    wrong, missing = (Node(RedisBroker(url), PATIENCE) for url in urls)
    opening = asyncio.gather(wrong.open(), missing.open())
    try:
        for node, said in ((wrong, "password"), (missing, "uthentication")):
            await node.until_away()
            assert said in reason(node)
            with pytest.raises(BrokerUnavailable):
                await node.broker.publish("c", "", 1)
            assert "s3cret" not in reason(node) + caplog.text
        server.execute("CONFIG", "SET", "requirepass", "s3cret")
        await wrong.until_back()
        server.execute("CONFIG", "SET", "requirepass", "")
        await missing.until_back()
        await opening
        await missing.broker.subscribe("c")
        await wrong.broker.publish("c", "", 1)
        assert len(await missing.messages("c", 1)) == 1
    finally:
        for node in (wrong, missing):
            await node.broker.aclose()


async def test_a_server_that_is_too_old_is_refused_when_it_is_opened(
    valkey: ValkeyServer,
) -> None:
    async with tampering(valkey.port) as relay:
        relay.rewrite = lambda data: data.replace(b"redis_version:7.", b"redis_version:6.")
        broker = RedisBroker(relay.url)
        with pytest.raises(DeclarationError, match=r"version 6\..*: Redis or Valkey 7 is needed"):
            await broker.open(Node(broker, PATIENCE).deliver)
        await broker.aclose()


async def test_a_server_that_was_replaced_by_one_that_is_too_old_is_an_outage(
    valkey: ValkeyServer,
) -> None:
    async with tampering(valkey.port) as relay:
        node = await opened(RedisBroker(relay.url))
        try:
            relay.rewrite = lambda data: data.replace(b"redis_version:7.", b"redis_version:6.")
            assert valkey.execute("CLIENT", "KILL", "TYPE", "normal") == 1
            await until(lambda: "has version 6." in reason(node))
            relay.rewrite = lambda data: data
            await node.until_back()
        finally:
            await node.broker.aclose()


# --- who is present -------------------------------------------------------------------------------


@pytest.mark.parametrize("appendonly", [False, True], ids=["nothing kept", "all written down"])
async def test_who_is_present_is_so_again_when_the_server_is_back_and_who_left_is_not(
    start_valkey: StartValkey, appendonly: bool
) -> None:
    server = start_valkey(appendonly=appendonly)
    limits = Limits(presence_interval=0.2, presence_ttl=PATIENCE, presence_grace=0.01)
    rules = [ChannelRule("room", presence=True)]
    near, far = (
        SocketsManager(broker=RedisBroker(server.url), channels=rules, limits=limits)
        for _ in range(2)
    )
    async with served(application(sockets=near)) as a, served(application(sockets=far)) as b:
        stays, leaves, ends = [await Client.open(url) for url in (a, b, b)]
        for client in (stays, leaves, ends):
            await client.call("subscribe", {"channel": "room"})
        await until_present(stays, 3)
        server.kill()
        await until(lambda: bool(near.outage and far.outage))
        refusal = await stays.ask("presence", {"channel": "room"})
        assert refusal["error"]["code"] == ErrorCode.BROKER_UNAVAILABLE
        await leaves.call("unsubscribe", {"channel": "room"})
        ends.reset()
        server.start()
        began = time.perf_counter()
        await until_present(leaves, 1)
        sys.stdout.write(f"present again after {time.perf_counter() - began:.2f} s\n")
        assert await present(stays) == 1
        for client in (stays, leaves):
            client.reset()


async def until_present(client: Client, count: int) -> None:
    """Wait until so many are in the room, as the server of one client says."""
    async with asyncio.timeout(PATIENCE):
        while await present(client) != count:  # noqa: ASYNC110 # that server is not told at once
            await asyncio.sleep(0.01)


async def present(client: Client) -> int | None:
    """How many are in the room, as one server says; None while nobody can tell."""
    answer = await client.ask("presence", {"channel": "room"})
    if "error" in answer:
        assert answer["error"]["code"] == ErrorCode.BROKER_UNAVAILABLE
        return None
    return len(answer["response"]["members"])
