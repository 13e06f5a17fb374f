"""The broker over Redis or Valkey: what every broker must do, and what is its own."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.exceptions import ResponseError

from openapi.errors import BrokerUnavailable, CannotPublish, CannotSubscribe, DeclarationError
from openapi.protocol.envelope import VERSION, Envelope
from openapi.protocol.stream import Position, Retention
from openapi.ws import ChannelRule, SocketsManager
from openapi.ws.broker import Member, broker_from_url
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.brokers.redis.names import Names
from tests.servers.valkey import ValkeyServer
from tests.ws.broker_nodes import Message, Node, World, offsets_of, values_of
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


KEPT = Retention(messages=100, seconds=60.0)
PATIENCE = 20.0
NAMES = Names("openapi")

Opened = Callable[..., Awaitable[Node]]


@pytest.fixture
async def opened(valkey: ValkeyServer) -> AsyncIterator[Opened]:
    """Open brokers of the shared server, or of another URL."""
    nodes: list[Node] = []

    async def start(
        url: str = valkey.url,
        pause: Callable[[], Awaitable[object]] | None = None,
        **options: object,
    ) -> Node:
        node = Node(RedisBroker(url, **options), PATIENCE, pause)  # type: ignore[arg-type]
        nodes.append(node)
        await node.open()
        return node

    yield start
    for node in nodes:
        await node.broker.aclose()


# --- its life -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "rediss+cluster"])
def test_it_is_what_these_urls_name(scheme: str) -> None:
    assert isinstance(broker_from_url(f"{scheme}://127.0.0.1:1"), RedisBroker)


async def test_one_broker_of_two_managers_is_refused(opened: Opened) -> None:
    node = await opened()
    with pytest.raises(DeclarationError, match="this RedisBroker is open already"):
        await node.broker.open(node.deliver)


async def test_before_it_is_open_nothing_is_published_and_nobody_subscribes() -> None:
    broker = RedisBroker()
    with pytest.raises(CannotPublish, match="the broker is not open"):
        await broker.publish("c", "", 1)
    with pytest.raises(CannotPublish, match="the broker is not open"):
        await broker.append("c", "", 1, retention=KEPT)
    with pytest.raises(CannotPublish, match="the broker is not open"):
        await broker.publish_once("c", "", 1, key="k")
    with pytest.raises(CannotSubscribe, match="the broker is not open"):
        await broker.subscribe("c")


async def test_when_it_is_closed_its_connections_are_and_its_deliveries_have_ended(
    valkey: ValkeyServer, opened: Opened
) -> None:
    cleaned: list[str] = []

    async def wait_and_clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    node = await opened(pause=wait_and_clean_up)
    await node.broker.subscribe("c")
    await node.broker.publish("c", "", 1)
    await node.messages("c", 1)
    await node.broker.aclose()
    assert cleaned == ["up"]
    async with asyncio.timeout(PATIENCE):
        while valkey.clients():  # noqa: ASYNC110 # the server is not told at once
            await asyncio.sleep(0.005)


# --- what is in the server ------------------------------------------------------------------------


async def test_brokers_of_other_prefixes_have_nothing_in_common(opened: Opened) -> None:
    await have_nothing_in_common(await opened(prefix="one"), await opened(prefix="other"))


async def test_databases_of_one_server_have_nothing_in_common(
    opened: Opened, valkey: ValkeyServer
) -> None:
    await have_nothing_in_common(await opened(), await opened(f"{valkey.url}/1"))
    prefixes = {name.split(":")[0] for name in valkey.execute("PUBSUB", "CHANNELS")}
    assert prefixes == {"openapi", "openapi@1"}


async def have_nothing_in_common(one: Node, other: Node) -> None:
    for node in (one, other):
        await node.broker.subscribe("c")
        await node.broker.publish("c", "", 1)
        position = await node.history.append("c", "", 2, retention=KEPT, key="k")
        assert position.offset == 1
        await node.once.publish_once("c", "", 3, key="k")
        await node.presence.enter("c", {"1": Member("ada")}, ttl=60)
    for node in (one, other):
        assert [each.data for each in await node.so_far("c", node)] == [1, 2, 3]
        assert list(await node.presence.members("c")) == [Member("ada")]


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "a:b", "a@1"])
def test_a_prefix_that_would_mean_something_else_is_refused(prefix: str) -> None:
    with pytest.raises(DeclarationError, match="the prefix of a Redis broker is a text without"):
        RedisBroker(prefix=prefix)


async def test_nothing_is_kept_for_ever(valkey: ValkeyServer, opened: Opened) -> None:
    node = await opened()
    await node.history.append("appended", "", 1, retention=KEPT)
    await node.history.append("with a key", "", 1, retention=KEPT, key="k")
    await node.history.history("only read", retention=KEPT, limit=1)
    await node.once.publish_once("once", "", 1, key="k")
    await node.presence.enter("present", {"1": Member("ada")}, ttl=60)
    keys = valkey.execute("KEYS", "*")
    assert len(keys) == 9
    assert {key: valkey.execute("PTTL", key) > 0 for key in keys} == dict.fromkeys(keys, True)
    await node.presence.leave("present", ["1"])
    assert len(valkey.execute("KEYS", "*")) == 7


async def test_the_clock_of_messages_is_the_servers(valkey: ValkeyServer, opened: Opened) -> None:
    node = await opened()
    before = seconds(valkey)
    await node.history.append("c", "", 1, retention=KEPT)
    page = await node.history.history("c", retention=KEPT, limit=1)
    assert before - 0.001 <= page.messages[0].at <= seconds(valkey)
    assert before - 0.001 <= node.history.now() <= seconds(valkey) + 0.1


def seconds(server: ValkeyServer) -> float:
    """The time on a server's clock."""
    whole, micros = server.execute("TIME")
    return int(whole) + int(micros) / 1_000_000


async def test_large_offsets_are_exact(valkey: ValkeyServer, opened: Opened) -> None:
    node, large = await opened(), 2**53 - 10
    await node.broker.subscribe("c")
    first = await node.history.append("c", "", 0, retention=KEPT)
    meta, log = NAMES.stream("c")
    valkey.execute("HSET", meta, "o", large)
    valkey.execute("DEL", log)
    for number in range(1, 6):
        position = await node.history.append("c", "", number, retention=KEPT)
        assert position == Position(large + number, first.epoch)
    top = Position(large + 5, first.epoch)
    page = await node.history.history("c", retention=KEPT, limit=10, since=top, reverse=True)
    assert offsets_of(page) == [large + number for number in (4, 3, 2, 1)]
    delivered = await node.streamed("c", top)
    assert [each.position for each in delivered[1:]] == [
        Position(large + number, first.epoch) for number in range(1, 6)
    ]


# --- what is not ours -----------------------------------------------------------------------------


async def test_messages_that_cannot_be_read_are_ignored_counted_and_said_once(
    valkey: ValkeyServer, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    node = await opened()
    await node.broker.subscribe("c")
    newer = b"2" + Envelope.write("", 1)[len(VERSION) :]
    for message in (b"", b"nonsense", newer):
        valkey.execute("PUBLISH", NAMES.bus("c"), message)
    await node.broker.publish("c", "", "ours")
    assert await node.so_far("c", node) == [Message("", "ours")]
    assert isinstance(node.broker, RedisBroker)
    assert node.broker.ignored == 3
    said = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(said) == 1
    assert "under the prefix 'openapi' is ignored" in said[0].getMessage()


async def test_what_is_kept_and_cannot_be_read_is_left_out(
    valkey: ValkeyServer, opened: Opened
) -> None:
    node = await opened()
    await node.history.append("c", "", 1, retention=KEPT)
    meta, log = NAMES.stream("c")
    valkey.execute("XADD", log, f"2-{seconds(valkey) * 1000:.0f}", "m", b"2\nnewer")
    valkey.execute("HSET", meta, "o", 2)
    await node.history.append("c", "", 3, retention=KEPT)
    page = await node.history.history("c", retention=KEPT, limit=10)
    assert (offsets_of(page), values_of(page)) == ([1, 3], [1, 3])
    assert isinstance(node.broker, RedisBroker)
    assert node.broker.ignored == 1


# --- bounds ---------------------------------------------------------------------------------------


async def test_a_message_that_is_too_large_is_refused(opened: Opened) -> None:
    node, large = await opened(), "x" * (16 * 1024 * 1024)
    for refused in (
        node.broker.publish("c", "", large),
        node.history.append("c", "", large, retention=KEPT),
        node.once.publish_once("c", "", large, key="k"),
    ):
        with pytest.raises(CannotPublish, match="16777216 may be carried"):
            await refused
    assert (await node.history.append("c", "", 1, retention=KEPT)).offset == 1


@pytest.mark.parametrize(("calls", "size"), [(10_000, 1), (33, 1_000_000)])
async def test_more_than_may_wait_for_an_answer_is_refused_at_once(
    valkey: ValkeyServer, opened: Opened, calls: int, size: int
) -> None:
    node, data = await opened(timeout=PATIENCE), "x" * size
    valkey.pause()
    try:
        waiting = [
            asyncio.create_task(node.broker.publish("c", "", data)) for _ in range(calls + 1)
        ]
        for _ in range(3):
            await asyncio.sleep(0)
        refused = [task for task in waiting if task.done()]
        assert len(refused) == 1
        for task in refused:
            with pytest.raises(BrokerUnavailable):
                task.result()
    finally:
        valkey.resume()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(result is None for result in results) == calls
    assert node.supervised.outage is None


async def test_while_too_many_deliveries_wait_no_more_messages_are_read(opened: Opened) -> None:
    freed = asyncio.Event()
    node, other, count = await opened(pause=freed.wait), await opened(), 3000
    await node.broker.subscribe("c")
    await asyncio.gather(*(other.broker.publish("c", "", number) for number in range(count)))
    delivered = await node.messages("c", 1001)
    assert len(delivered) == 1001
    freed.set()
    assert [each.data for each in await node.messages("c", count)] == list(range(count))


async def test_a_delivery_that_fails_is_said_and_the_next_are_made(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise LookupError("a bug")

    node = await opened(pause=fail)
    await node.broker.subscribe("c")
    for number in range(2):
        await node.broker.publish("c", "", number)
    assert [each.data for each in await node.messages("c", 2)] == [0, 1]
    async with asyncio.timeout(PATIENCE):
        while len(caplog.records) < 2:  # noqa: ASYNC110 # nobody tells when it is said
            await asyncio.sleep(0.005)
    assert {each.getMessage() for each in caplog.records} == {
        "a message that came over Redis was not delivered"
    }


# --- what was evicted ----------------------------------------------------------------------------

ADA, BEA = Member("ada", user=7), Member("bea")


async def test_who_is_present_is_so_again_when_what_is_said_of_them_was_evicted(
    opened: Opened, valkey: ValkeyServer
) -> None:
    node = await opened()
    await node.presence.enter("c", {"1": ADA, "2": BEA}, ttl=60)
    assert valkey.execute("DEL", "openapi:p:c") == 1
    assert list(await node.presence.members("c")) == []
    found = await node.presence.refresh("c", ["1", "2"], ttl=60)
    assert (list(found.lost), list(found.expired)) == (["1", "2"], [])
    assert list(await node.presence.enter("c", {"1": ADA}, ttl=60)) == [ADA]
    assert list(await node.presence.members("c")) == [ADA]


async def test_who_is_present_is_so_again_when_the_times_were_evicted_and_nobody_stays_for_ever(
    opened: Opened, valkey: ValkeyServer
) -> None:
    node = await opened()
    await node.presence.enter("c", {"1": ADA, "of a process that died": ADA, "2": BEA}, ttl=60)
    assert valkey.execute("DEL", "openapi:x:c") == 1
    found = await node.presence.refresh("c", ["1", "2"], ttl=60)
    assert sorted(found.lost) == ["1", "2"]
    assert sorted(each.id for each in found.expired) == ["ada", "bea"]
    assert list(await node.presence.enter("c", {"1": ADA}, ttl=60)) == [ADA]
    assert list(await node.presence.leave("c", ["1"])) == [Member("ada", user=7, connections=0)]
    assert valkey.execute("EXISTS", "openapi:p:c", "openapi:x:c") == 0


# --- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis://localhost:port", "cannot be read"),
        ("redis://localhost:6379/?socket_timeout=soon", "cannot be read"),
        ("redis://a:1,b:2", "names one server; several of a cluster are redis"),
        ("redis+cluster://a:1,b:2/3", "has no databases"),
        ("redis://a:1/orders", "cannot be read"),
        ("redis://:s3cret@localhost:port", "cannot be read"),
        ("redis://user:s3cret#1@localhost", "are written %2F, %3F, %23"),
        ("redis://user:s3cret?1@localhost", "cannot be read"),
        ("redis://user:s3cret/1@localhost", "cannot be read"),
        ("redis://user:s3cret[1@localhost", "cannot be read"),
        ("redis://:s3cret@localhost?nonsense=1", "an option that redis-py has not"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_its_password(url: str, wrong: str) -> None:
    with pytest.raises(DeclarationError, match=wrong) as refusal:
        RedisBroker(url)
    assert "s3cret" not in str(refusal.value)


# --- what is large --------------------------------------------------------------------------------


async def test_a_reading_of_large_messages_is_no_more_than_a_page_and_goes_on_from_there(
    opened: Opened,
) -> None:
    node = await opened()
    appended = [
        await node.history.append("c", "", f"{number}" * 400_000, retention=KEPT)
        for number in range(8)
    ]
    top = appended[-1]
    found: list[int] = []
    while len(found) < 8:
        since = Position(found[-1], top.epoch) if found else None
        page = await node.history.history("c", retention=KEPT, since=since, limit=100)
        assert page.top == top
        offsets = [each.offset for each in page.messages]
        assert len(offsets) in (2, 3)  # of 1 MiB
        found += offsets
    assert found == list(range(1, 9))
    newest = await node.history.history("c", retention=KEPT, limit=100, reverse=True)
    assert [each.offset for each in newest.messages] == [8, 7, 6]


async def test_who_missed_more_than_a_page_recovers_all_of_it(valkey: ValkeyServer) -> None:
    rule = ChannelRule("c", history=KEPT.messages)
    sockets = SocketsManager(broker=valkey.url, channels=[rule])
    async with sockets:
        first = await sockets.publish("c", "", 0)
        for number in range(1, 21):
            await sockets.publish("c", "", f"{number}" * 100_000)
        messages = sockets.subscription("c", recover=first, queue_bytes=16 * 1024 * 1024)
        async with messages:
            assert messages.recovered
            found = [(await anext(messages)).data for _ in range(20)]
        assert found == [f"{number}" * 100_000 for number in range(1, 21)]


async def test_one_message_is_a_page_however_large_it_is(opened: Opened) -> None:
    node = await opened()
    await node.history.append("c", "", "x" * 3_000_000, retention=KEPT)
    await node.history.append("c", "", 2, retention=KEPT)
    page = await node.history.history("c", retention=KEPT, limit=100)
    assert [each.offset for each in page.messages] == [1]


async def test_while_callbacks_take_too_long_it_is_said_and_behind_that_all_is_heard(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    freed = asyncio.Event()
    stuck, other = await opened(pause=freed.wait), await opened()
    await stuck.broker.subscribe("c")
    for number in range(1100):
        await other.broker.publish("c", "", number)
    await stuck.messages("c", 1001)
    assert len([each for each in caplog.records if "are not done" in each.getMessage()]) == 1
    freed.set()
    assert [each.data for each in await stuck.messages("c", 1100)] == list(range(1100))


# --- what goes wrong in the server ---------------------------------------------------------------


async def test_what_cannot_be_kept_uses_no_number(opened: Opened, valkey: ValkeyServer) -> None:
    node = await opened()
    await node.history.append("c", "", 1, retention=KEPT)
    valkey.execute("RENAME", "openapi:s:c", "aside")
    valkey.execute("SET", "openapi:s:c", "no stream")
    for _ in range(3):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await node.history.append("c", "", 2, retention=KEPT)
    valkey.execute("DEL", "openapi:s:c")
    valkey.execute("RENAME", "aside", "openapi:s:c")
    assert (await node.history.append("c", "", 2, retention=KEPT)).offset == 2


async def test_whoever_is_cancelled_while_it_opens_leaves_one_that_can_be_opened_and_closed(
    valkey: ValkeyServer,
) -> None:
    before = asyncio.all_tasks()
    for turns in range(0, 40, 3):
        broker = RedisBroker(valkey.url)
        node = Node(broker, PATIENCE)
        opening = asyncio.create_task(node.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        if opening.cancelled():
            await node.open()
        await broker.publish("c", "", 1)
        await broker.aclose()
    assert asyncio.all_tasks() == before


async def test_one_that_was_closed_is_not_opened_again(opened: Opened) -> None:
    node = await opened()
    await node.broker.aclose()
    with pytest.raises(DeclarationError, match="was closed: make a new one"):
        await node.open()


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_times_are_numbers_of_seconds(seconds: float) -> None:
    for option in ("timeout", "probe_interval", "epoch_ttl"):
        with pytest.raises(ValueError, match=f"{option} must be more than 0"):
            RedisBroker(**{option: seconds})  # type: ignore[arg-type] # all of them are floats
