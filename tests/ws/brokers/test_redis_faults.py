"""Whatever becomes of a Redis server: who publishes and who listens is told, and it goes on."""

import asyncio
import sys
import time
from typing import Any

import pytest

from openapi.errors import BrokerUnavailable, DeclarationError, ErrorCode
from openapi.protocol.limits import Limits
from openapi.protocol.stream import Retention
from openapi.ws import ChannelRule, SocketsManager
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.brokers.redis.names import Names
from tests.servers.fixtures import StartValkey
from tests.servers.process import HOST
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Node
from tests.ws.brokers.ledger import all_hear
from tests.ws.brokers.outages import (
    Connections,
    Disconnecting,
    Ending,
    Forgetting,
    Kept,
    Scene,
    Start,
)
from tests.ws.brokers.stage import CHANNEL, PATIENCE, assert_nothing_silent, until
from tests.ws.brokers.tampering import tampering
from tests.ws.endpoints import application
from tests.ws.tcp import Client, served

NAMES = Names("openapi")
META, LOG = NAMES.stream(CHANNEL)
KEPT = Retention(messages=100, seconds=60.0)

#: How a stream is lost.
LOST: dict[str, tuple[str | bytes, ...]] = {
    "FLUSHALL": ("FLUSHALL",),
    "meta": ("DEL", META),
    "meta and log": ("DEL", META, LOG),
}

#: What the server calls the connections of a broker.
KINDS = {
    Connections.HEARING: ("pubsub",),
    Connections.ASKING: ("normal",),
    Connections.ALL: ("pubsub", "normal"),
}


class RedisScene(Scene):
    """A broker has one connection for commands, and one for messages."""

    connections = 4
    hears_apart = True
    server: ValkeyServer

    def broker(self, port: int, **options: Any) -> RedisBroker:
        return RedisBroker(f"redis://{HOST}:{port}", **options)

    def deafen(self) -> None:
        assert self.relay.swallow() == 2

    async def end(self, which: Connections) -> None:
        for kind in KINDS[which]:
            assert self.server.execute("CLIENT", "KILL", "TYPE", kind) == 2

    def connected(self) -> int:
        return len(self.server.clients())

    async def lose_stream(self, how: str) -> None:
        self.server.execute(*LOST[how])

    async def lose_messages(self) -> None:
        self.server.execute("DEL", LOG)


@pytest.fixture
def start(start_valkey: StartValkey) -> Start:
    return lambda kept=None: RedisScene(start_valkey(appendonly=kept not in (None, Kept.NOTHING)))


class TestOutages(Ending, Disconnecting, Forgetting):
    """A server of its own for each test."""

    @pytest.fixture(params=[Connections.HEARING, Connections.ASKING], ids=["pubsub", "normal"])
    def ended(self, request: pytest.FixtureRequest) -> Connections:
        which: Connections = request.param
        return which

    @pytest.fixture(params=LOST)
    def lost(self, request: pytest.FixtureRequest) -> str:
        how: str = request.param
        return how


# --- the server dies and comes back ---------------------------------------------------------------


async def test_a_server_that_kept_all_but_the_newest_does_not_give_their_numbers_to_others(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    async with RedisScene(server).direct() as play:
        await play.go_on(20)
        server.execute("SAVE")
        await play.go_on(20)
        server.kill()
        await play.notices()
        server.start()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "kill -9, the newest lost")
    assert figures.told == len(play.witnesses)


# --- connections that end -------------------------------------------------------------------------


async def test_what_was_missed_is_heard_at_once_though_nothing_comes_any_more(
    start_valkey: StartValkey,
) -> None:
    scene = RedisScene(start_valkey())
    async with scene.unheard(50) as play:
        began = time.perf_counter()
        await scene.end(Connections.HEARING)
        async with asyncio.timeout(PATIENCE):
            await all_hear(play.witnesses, play.ledger.published)
        sys.stdout.write(f"heard after {time.perf_counter() - began:.2f} s\n")
        figures = play.ledger.judge(play.witnesses)
    assert_nothing_silent(play, figures, "50 messages unheard, and none behind them")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_a_server_that_drops_a_slow_reader_loses_nothing(start_valkey: StartValkey) -> None:
    server = start_valkey("--client-output-buffer-limit", "pubsub 65536 0 0")
    scene = RedisScene(server)
    async with scene.relayed() as play:
        for manager in play.managers:
            await manager.subscribe("flood")
        await play.go_on()
        assert scene.relay.hold() == 2
        await play.ledger.publish_many(play.managers, 20)
        flood = "x" * 1_000_000
        readers = dropped_by(server)
        while server.execute("CLIENT", "LIST", "TYPE", "pubsub"):
            await play.managers[0].publish("flood", "", flood)
        await play.ledger.publish_many(play.managers, 20)
        scene.relay.let_go()
        figures = await play.recovers()
        assert dropped_by(server) >= readers + 2
    assert_nothing_silent(play, figures, "the output buffer was full")
    assert (figures.told, figures.heard) == (0, figures.expected)


def dropped_by(server: ValkeyServer) -> int:
    """How many clients a server has dropped because they read too slowly."""
    stats: dict[str, int] = server.execute("INFO", "stats")
    return int(stats["client_output_buffer_limit_disconnections"])


async def test_a_bus_that_is_only_quiet_is_left_alone(start_valkey: StartValkey) -> None:
    server = start_valkey()
    scene = RedisScene(server, probe_interval=0.05)
    async with scene.relayed() as play:
        published = commands(server, "publish")
        await until(lambda: commands(server, "publish") >= published + 10)  # probes
        assert scene.relay.connections == scene.connections
        await play.go_on()


def commands(server: ValkeyServer, name: str) -> int:
    """How often a server was given a command."""
    stats = server.execute("INFO", "commandstats").get(f"cmdstat_{name}")
    return int(stats["calls"]) if stats else 0


# --- what it keeps is lost ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["FLUSHALL", "meta"])
async def test_what_nobody_heard_of_a_stream_that_is_lost_is_flagged(
    start_valkey: StartValkey, how: str
) -> None:
    scene, unheard = RedisScene(start_valkey()), 20
    async with scene.unheard(unheard) as play:
        await scene.lose_stream(how)
        await scene.end(Connections.HEARING)
        figures = await play.recovers()
    assert_nothing_silent(play, figures, f"{unheard} messages unheard, and {how}")
    assert figures.told == len(play.witnesses)
    assert figures.flagged >= unheard * len(play.witnesses)


async def test_messages_that_are_lost_and_were_heard_are_nobodys_loss(
    start_valkey: StartValkey,
) -> None:
    scene = RedisScene(start_valkey())
    async with scene.direct() as play:
        await play.go_on()
        await scene.lose_messages()
        figures = await play.recovers()
    assert_nothing_silent(play, figures, "the log deleted")
    assert (figures.told, figures.heard) == (0, figures.expected)


async def test_scripts_that_were_forgotten_are_taught_again(start_valkey: StartValkey) -> None:
    server = start_valkey()
    async with RedisScene(server).direct() as play:
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
    async with RedisScene(server).direct() as play:
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
    async with RedisScene(server).direct() as play:
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
