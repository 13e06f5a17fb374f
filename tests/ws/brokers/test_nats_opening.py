"""What the NATS broker asks of its server, and how it refuses one that has not got it."""

import asyncio
import json
import ssl
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import nats
import pytest
import trustme

from openapi.errors import BrokerUnavailable, CannotPublish, CannotSubscribe, DeclarationError
from openapi.protocol.stream import Retention
from openapi.ws import ChannelRule, SocketsManager
from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.brokers.nats.address import Address
from openapi.ws.brokers.nats.clock import ServerClock
from openapi.ws.brokers.nats.link import Link
from tests.servers.fixtures import StartNats
from tests.servers.nats import NatsServer
from tests.servers.process import HOST
from tests.ws.broker_nodes import Message, Node
from tests.ws.brokers.nats_world import NatsWorld

KEPT = Retention(messages=100, seconds=60.0)
PATIENCE = 20.0


@asynccontextmanager
async def opened(broker: NatsBroker) -> AsyncIterator[Node]:
    node = Node(broker, PATIENCE)
    await node.open()
    try:
        yield node
    finally:
        await broker.aclose()


async def refusal(broker: NatsBroker) -> str:
    """Why a broker cannot be opened. Nothing is left of it then, and it can be tried again."""
    before, texts = asyncio.all_tasks(), set()
    for _ in range(2):
        with pytest.raises(DeclarationError) as refused:
            await broker.open(Node(broker, PATIENCE).deliver)
        texts.add(str(refused.value))
    assert asyncio.all_tasks() == before
    await broker.aclose()
    return texts.pop()


@asynccontextmanager
async def greeting(**info: object) -> AsyncIterator[str]:
    """A server that says so of itself, and understands no more than it must to be connected to."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        said = {"server_id": "N", "headers": True, "max_payload": 1 << 20, **info}
        writer.write(b"INFO %b\r\n" % json.dumps(said).encode())
        while line := await reader.readline():
            heard.append(line)
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        writer.close()

    heard: list[bytes] = []
    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield f"nats://{HOST}:{server.sockets[0].getsockname()[1]}"
    assert not any(b"s3cret" in line for line in heard)


# --- servers that are of no use -------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.11.9", "2.9.10", "2.11.0-preview.1"])
async def test_a_server_that_is_too_old_is_refused_when_it_is_opened(version: str) -> None:
    async with greeting(version=version) as url:
        text = await refusal(NatsBroker(url))
    assert f"is of version {version}: 2.12 or newer is needed" in text


async def test_a_server_of_ones_own_making_is_taken_as_it_is() -> None:
    async with greeting(version="dev") as url, opened(NatsBroker(url, timeout=0.1)) as node:
        outage = node.supervised.outage
        assert outage is not None
        assert "version" not in outage.reason


async def test_a_server_without_jetstream_is_refused_by_a_sentence_that_names_the_setting(
    start_nats: StartNats,
) -> None:
    text = await refusal(NatsBroker(start_nats(jetstream=False).url))
    assert "NATS is there without JetStream" in text
    assert "`jetstream {}` in the server's configuration, or its option -js" in text


async def test_an_account_without_jetstream_is_refused(start_nats: StartNats) -> None:
    accounts = "accounts { A { jetstream: enabled }, B { users: [{user: me, password: s3cret}] } }"
    server = start_nats(config=accounts, user="me", password="s3cret")
    text = await refusal(NatsBroker(server.url))
    assert "refuses JetStream to this account" in text
    assert "s3cret" not in text


async def test_an_account_that_may_not_have_so_many_streams_is_refused(
    start_nats: StartNats,
) -> None:
    accounts = (
        "accounts { A { jetstream: { max_streams: 3 }, users: [{user: me, password: s3cret}] } }"
    )
    server = start_nats(config=accounts, user="me", password="s3cret")
    text = await refusal(NatsBroker(server.url))
    assert "NATS refuses the stream " in text  # any of those behind the third
    assert "the limits of the server or the account" in text


async def test_more_replicas_than_there_are_servers_are_refused(shared_nats: NatsServer) -> None:
    text = await refusal(NatsWorld(shared_nats).broker(replicas=3))
    assert "replicas > 1 not supported in non-clustered mode" in text


async def test_a_password_that_is_wrong_is_an_outage_that_says_so(
    start_nats: StartNats, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_nats("--user", "me", "--pass", "right", user="me", password="s3cret")
    async with opened(NatsBroker(server.url)) as node:
        outage = node.supervised.outage
        assert outage is not None
        assert "Authorization Violation" in outage.reason
        assert "s3cret" not in outage.reason + caplog.text
        assert "NATS refuses" not in caplog.text  # at each try, where the outage is said once
        with pytest.raises(BrokerUnavailable):
            await node.broker.publish("c", "", 1)
    token = start_nats("--auth", "t0ken")
    async with opened(NatsBroker(token.url.replace("//", "//t0ken@"))) as node:
        assert node.supervised.outage is None


async def test_permissions_that_are_missing_are_an_outage_and_in_the_log(
    start_nats: StartNats, caplog: pytest.LogCaptureFixture
) -> None:
    users = (
        "authorization { users: [{user: me, password: s3cret,"
        ' permissions: { subscribe: ["other.>"] }}] }'
    )
    server = start_nats(config=users, user="me", password="s3cret")
    async with opened(NatsBroker(server.url, timeout=0.2)) as node:
        assert node.supervised.outage is not None
    (told, *_) = [each for each in caplog.records if "refuses what is asked" in each.message]
    assert 'permissions violation for subscription to "openapi.own.' in told.message


# --- encryption -----------------------------------------------------------------------------------


async def test_nothing_secret_is_said_to_a_server_that_does_not_encrypt() -> None:
    async with greeting(version="2.12.0") as url:
        tls = url.replace("nats://", "tls://")
        for account in ("", "me:s3cret@", "s3cret@"):
            text = await refusal(NatsBroker(tls.replace("//", f"//{account}")))
            assert "does not encrypt: have the server do it by its setting tls" in text
            assert "s3cret" not in text


async def test_a_server_that_encrypts_is_spoken_to_in_secret(
    start_nats: StartNats, tmp_path: Path
) -> None:
    authority, certificate, key = trustme.CA(), tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("localhost", HOST)
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}'
    server = start_nats("--user", "me", "--pass", "s3cret", config=tls)
    url = f"tls://me:s3cret@localhost:{server.port}"
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with opened(NatsBroker(url, tls=context)) as node:
        await node.broker.subscribe("c")
        await node.broker.publish("c", "", 1)
        assert await node.so_far("c", node) == [Message("", 1)]
    async with opened(NatsBroker(url)) as node:  # nobody vouches for it
        outage = node.supervised.outage
        assert outage is not None
        assert "certificate verify failed" in outage.reason


async def test_credentials_that_are_of_no_use_are_refused(
    shared_nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shop.creds"

    async def refused() -> str:
        return await refusal(NatsBroker(shared_nats.url, credentials=str(file)))

    assert "cannot be read: FileNotFoundError" in await refused()
    file.write_text("-----BEGIN NATS USER JWT-----\ns3cret")
    text = await refused()
    assert "has no credentials of NATS" in text
    assert "s3cret" not in text
    file.write_text("-----BEGIN NATS USER JWT-----\n-----BEGIN USER NKEY SEED-----\n")
    monkeypatch.setattr("openapi.ws.brokers.nats.address.find_spec", lambda _: None)
    assert "need the package nkeys: pip install 'nats-py[nkeys]'" in await refused()
    monkeypatch.setattr("openapi.ws.brokers.nats.address.find_spec", lambda _: object())
    Address(shared_nats.url, credentials=str(file)).check()


# --- settings -------------------------------------------------------------------------------------


def test_settings_that_leave_no_room_are_refused() -> None:
    for name in ("history_messages", "partitions", "replicas", "history_bytes"):
        with pytest.raises(ValueError, match=f"NatsBroker: {name} must be 1 or more, not 0"):
            NatsBroker(**{name: 0})  # type: ignore[arg-type]
    for name in ("history_seconds", "timeout", "probe_interval"):
        with pytest.raises(ValueError, match=f"NatsBroker: {name} must be more than 0, not -1"):
            NatsBroker(**{name: -1.0})  # type: ignore[arg-type]


def test_a_rule_that_promises_more_than_it_keeps_is_refused() -> None:
    broker = NatsBroker(history_messages=50)
    with pytest.raises(DeclarationError, match="NatsBroker keeps at most 50 for 86400 seconds"):
        SocketsManager(broker=broker, channels=[ChannelRule("*", history=51)])


async def test_one_copy_of_history_in_a_cluster_is_refused_unless_restarts_are_trusted(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = NatsWorld(shared_nats)
    info = vars(Link)["info"].fget
    clustered = property(lambda link: {**info(link), "cluster": "c"})
    with monkeypatch.context() as patch:
        patch.setattr(Link, "info", clustered)
        assert "may lose the newest messages silently" in await refusal(world.broker())
        async with opened(world.broker(trust_restarts=True)):
            pass
    await world.clear()


async def test_all_of_one_prefix_have_as_many_partitions(shared_nats: NatsServer) -> None:
    world = NatsWorld(shared_nats)
    async with opened(world.broker()):
        text = await refusal(world.broker(partitions=3))
    assert "was made for partitions=2, and this broker has partitions=3" in text
    await world.clear()


async def test_of_two_who_begin_at_once_with_other_partitions_one_is_refused(
    shared_nats: NatsServer,
) -> None:
    for _ in range(5):
        world = NatsWorld(shared_nats)
        brokers = [world.broker(), world.broker(partitions=3)]
        opening = (broker.open(Node(broker, PATIENCE).deliver) for broker in brokers)
        outcomes = await asyncio.gather(*opening, return_exceptions=True)
        (refused,) = [outcome for outcome in outcomes if outcome is not None]
        assert isinstance(refused, DeclarationError)
        assert "all of one prefix have the same" in str(refused)
        winner = brokers[outcomes.index(None)]
        async with opened(world.broker(partitions=winner._names.partitions)):
            for broker in brokers:
                await broker.aclose()
        world.names = winner._names
        await world.clear()


async def test_of_two_who_begin_at_once_the_one_who_asks_for_more_history_gets_it(
    shared_nats: NatsServer,
) -> None:
    for _ in range(5):
        world = NatsWorld(shared_nats)
        brokers = [world.broker(history_messages=most) for most in (100, 500)]
        await asyncio.gather(*(each.open(Node(each, PATIENCE).deliver) for each in brokers))
        client = await nats.connect(shared_nats.url)
        for log in world.names.logs:
            config = (await client.jsm().stream_info(log)).config
            assert config.max_msgs_per_subject == 516
        await client.close()
        for broker in brokers:
            await broker.aclose()
        await world.clear()


async def test_a_bound_of_bytes_is_shared_by_the_partitions_and_raised_by_who_has_a_greater_one(
    shared_nats: NatsServer,
) -> None:
    world = NatsWorld(shared_nats)

    for history_bytes, there in ((1, 1), (301, 151), (100, 151), (None, 151), (1000, 500)):
        async with opened(world.broker(history_bytes=history_bytes)):
            client = await nats.connect(shared_nats.url)
            assert (await client.jsm().stream_info(world.names.logs[0])).config.max_bytes == there
            await client.close()
    await world.clear()


async def test_who_makes_the_streams_has_the_servers_time_at_once(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = NatsWorld(shared_nats, clock=None)
    late = partial(ServerClock, lambda: time.time() - 3600)
    with monkeypatch.context() as patch:
        patch.setattr("openapi.ws.brokers.nats.server.ServerClock", late)
        broker = world.broker()
    async with opened(broker) as node:
        assert abs(node.history.now() - time.time()) < 60
    await world.clear()


async def test_a_stream_keeps_as_much_as_any_of_its_nodes_asks_for(
    shared_nats: NatsServer,
) -> None:
    world = NatsWorld(shared_nats)

    async def kept() -> tuple[int, float | None]:
        client = await nats.connect(shared_nats.url)
        config = (await client.jsm().stream_info(world.names.logs[1])).config
        await client.close()
        return config.max_msgs_per_subject, config.max_age

    day = 86400.0
    for messages, seconds, there in (
        (100, 1.0, (116, 30 * day)),
        (500, 1.0, (516, 30 * day)),
        (50, 60 * day, (516, 60 * day)),
        (50, 1.0, (516, 60 * day)),
    ):
        async with opened(world.broker(history_messages=messages, history_seconds=seconds)):
            assert await kept() == there
    await world.clear()


async def test_what_is_kept_of_all_channels_may_be_bounded(shared_nats: NatsServer) -> None:
    world = NatsWorld(shared_nats, history_bytes=100_000)
    async with opened(world.broker()) as node:
        for _ in range(99):
            await node.history.append("c", "", "x" * 5000, retention=KEPT)
        top = await node.history.append("c", "", "x", retention=KEPT)
        page = await node.history.history("c", retention=KEPT, limit=1000)
        assert 5 <= len(page.messages) <= 10
        assert page.messages[-1].offset == page.top.offset == top.offset == 100
    await world.clear()


async def test_without_a_clock_the_time_is_the_servers(shared_nats: NatsServer) -> None:
    world = NatsWorld(shared_nats, clock=None)
    async with opened(world.broker()) as node, opened(world.broker()) as other:
        before = node.history.now()
        await node.history.append("c", "", 1, retention=KEPT)
        page = await other.history.history("c", retention=KEPT, limit=1)
        # Both take it to be the same, but for the time that an answer takes.
        assert abs(page.messages[0].at - before) < 5
        assert abs(other.history.now() - node.history.now()) < 5
    await world.clear()


# --- its life -------------------------------------------------------------------------------------


async def test_one_broker_of_two_managers_is_refused_and_one_may_be_opened_again(
    shared_nats: NatsServer,
) -> None:
    world = NatsWorld(shared_nats)
    broker = world.broker()
    node = Node(broker, PATIENCE)
    for _ in range(2):
        await node.open()
        with pytest.raises(DeclarationError, match="this NatsBroker is open already"):
            await broker.open(node.deliver)
        await broker.subscribe("c")
        await broker.publish("c", "", 1)
        await node.so_far("c", node)
        await broker.aclose()
    await world.clear()


async def test_before_it_is_open_nothing_is_published_and_nobody_subscribes() -> None:
    broker = NatsBroker()
    for call in (
        broker.publish("c", "", 1),
        broker.append("c", "", 1, retention=KEPT),
        broker.publish_once("c", "", 1, key="k"),
    ):
        with pytest.raises(CannotPublish, match="the broker is not open"):
            await call
    with pytest.raises(CannotSubscribe, match="the broker is not open"):
        await broker.subscribe("c")
    await broker.unsubscribe("c")
    assert broker.outage is None
