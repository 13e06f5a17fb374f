"""The broker over NATS: what every broker must do, and what is its own."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from openapi.errors import (
    BrokerUnavailable,
    CannotPublish,
    CannotSubscribe,
    RpcError,
    Unserializable,
)
from openapi.protocol.envelope import Envelope
from openapi.protocol.stream import Position, Retention
from openapi.ws.broker import Member, Refreshed
from openapi.ws.brokers.nats import NatsBroker
from openapi.ws.brokers.nats.link import Link
from openapi.ws.brokers.nats.record import Record
from tests.servers.fixtures import StartNats
from tests.servers.nats import NatsServer
from tests.servers.process import HOST
from tests.ws.broker_nodes import Message, Node, World, values_of
from tests.ws.brokers.nats_world import NatsWorld
from tests.ws.conformance import (
    Carrying,
    KeepingHistory,
    KeepingPresence,
    PublishingOnce,
    Supervising,
    SupervisingHistory,
    append,
)

KEPT = Retention(messages=1000, seconds=3600.0)


class TestNatsBroker(
    Carrying,
    KeepingHistory,
    PublishingOnce,
    KeepingPresence,
    Supervising,
    SupervisingHistory,
):
    @pytest.fixture
    async def world(self, shared_nats: NatsServer) -> AsyncIterator[World]:
        world = NatsWorld(shared_nats)
        yield world
        await world.clear()


@pytest.fixture
async def world(shared_nats: NatsServer) -> AsyncIterator[NatsWorld]:
    world = NatsWorld(shared_nats)
    yield world
    await world.clear()


@asynccontextmanager
async def opened(
    world: NatsWorld,
    count: int = 1,
    *,
    pause: Callable[[], Awaitable[object]] | None = None,
    **options: Any,
) -> AsyncIterator[list[Node]]:
    """So many open brokers."""
    nodes = [Node(world.broker(**options), world.patience, pause) for _ in range(count)]
    for node in nodes:
        await node.open()
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.broker.aclose()


@asynccontextmanager
async def speaking(world: NatsWorld) -> AsyncIterator[Client]:
    """Somebody else on the server."""
    client = await nats.connect(world.server.url)
    try:
        yield client
    finally:
        await client.close()


def nats_of(node: Node) -> NatsBroker:
    assert isinstance(node.broker, NatsBroker)
    return node.broker


async def top(node: Node, channel: str = "c") -> Position:
    return (await node.history.history(channel, retention=KEPT, limit=0)).top


# --- a server that is restarted -------------------------------------------------------------------


@pytest.mark.parametrize("read", [True, False], ids=["read", "appended to"])
async def test_behind_a_restart_a_stream_has_a_new_epoch_its_old_numbers_and_its_messages(
    start_nats: StartNats, read: bool
) -> None:
    world = NatsWorld(start_nats())
    async with opened(world, 2) as (one, other):
        old = await append(one, range(1, 4))
        await world.away()
        for node in (one, other):
            await node.until_away()
        await world.back()
        for node in (one, other):
            await node.until_back()
        if read:
            new = await top(other)
            assert (new.offset, await top(one)) == (3, new)
            assert await append(one, [4]) == Position(4, new.epoch)
        else:
            new = await append(other, [4])
        assert new.epoch != old.epoch
        page = await one.history.history("c", retention=KEPT, limit=10)
        assert (values_of(page), page.top) == ([1, 2, 3, 4], Position(4, new.epoch))
        page = await one.history.history("c", retention=KEPT, since=old, limit=10)
        assert list(page.messages) == []


async def test_a_server_that_is_trusted_to_lose_nothing_keeps_its_epochs(
    start_nats: StartNats,
) -> None:
    world = NatsWorld(start_nats(config="jetstream { sync_interval: always }"))
    async with opened(world, trust_restarts=True) as (node,):
        old = await append(node, range(1, 4))
        await world.away()
        await node.until_away()
        await world.back()
        await node.until_back()
        assert await append(node, [4]) == Position(4, old.epoch)


async def test_a_server_that_lost_the_newest_messages_gives_their_numbers_with_a_new_epoch(
    start_nats: StartNats,
) -> None:
    world = NatsWorld(start_nats())
    store, saved = world.server.folder / "streams", world.server.folder / "saved"
    async with opened(world) as (node,):
        await append(node, range(1, 4))
        world.server.stop()
        await node.until_away()
        shutil.copytree(store, saved)
        world.server.start()
        await node.until_back()
        before = await append(node, [4, 5])
        world.server.kill()
        await node.until_away()
        shutil.rmtree(store)
        saved.rename(store)  # as it was before its power failed
        world.server.start()
        await node.until_back()
        after = await append(node, [-4])
        assert (before.offset, after.offset) == (5, 4)
        assert after.epoch != before.epoch


async def test_who_does_not_trust_restarts_does_not_where_others_do(start_nats: StartNats) -> None:
    world = NatsWorld(start_nats())
    async with opened(world, trust_restarts=True) as (trusting,), opened(world) as (doubting,):
        await append(trusting, [1])
        old = await append(doubting, [2])  # it may have been restarted before that
        assert await append(trusting, [3]) == Position(3, old.epoch)
        assert await append(doubting, [4]) == Position(4, old.epoch)
        assert await append(trusting, [5]) == Position(5, old.epoch)
        await world.away()
        for node in (trusting, doubting):
            await node.until_away()
        await world.back()
        for node in (trusting, doubting):
            await node.until_back()
        new = await append(doubting, [6])
        assert new.epoch != old.epoch
        assert await append(trusting, [7]) == Position(7, new.epoch)


# --- streams that are gone ------------------------------------------------------------------------


async def test_whatever_finds_a_stream_gone_has_it_made_anew_and_goes_on(
    world: NatsWorld, caplog: pytest.LogCaptureFixture
) -> None:
    names = world.names
    async with opened(world, 2) as (one, other), speaking(world) as somebody:
        manager = somebody.jsm()
        epochs = {(await append(one, [1])).epoch}

        async def lose(stream: str) -> None:
            assert await manager.delete_stream(stream)
            one.missed.clear()

        log = names.logs[names.partition("c")]
        await lose(log)
        position = await append(one, [1])  # by a node that takes it to be where it was
        assert (position.offset, one.missed) == (1, [None])
        epochs.add(position.epoch)
        assert (await append(other, [2])).offset == 2
        await lose(log)
        position = await other.history.append("c", "", 3, retention=KEPT, key="k")
        assert position.offset == 1
        epochs.add(position.epoch)
        await lose(log)
        epochs.add((await top(one)).epoch)
        await other.broker.subscribe("c")
        await lose(names.onces)
        await one.once.publish_once("c", "", 4, key="k")
        assert (await other.messages("c", 1))[-1] == Message("", 4)
        await lose(names.rosters)
        assert await one.presence.enter("c", {"1": Member("ada")}, ttl=60) == [Member("ada")]
        await lose(names.rosters)
        assert await one.presence.members("c") == []
        assert one.missed == [None]
    assert len(epochs) == 4
    told = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert set(told) == {"streams of NATS were gone, with all that they kept, and are new"}


async def test_a_stream_that_is_gone_is_found_by_looking_after_it_too(
    world: NatsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openapi.ws.brokers.nats.server._TEND", 0.01)
    monkeypatch.setattr("openapi.ws.brokers.nats.server._ILL", 0.01)
    async with opened(world) as (node,), speaking(world) as somebody:
        assert await somebody.jsm().delete_stream(world.names.onces)
        async with asyncio.timeout(world.patience):
            while not node.missed:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        info = await somebody.jsm().stream_info(world.names.onces)
        assert info.config.name == world.names.onces


async def test_streams_that_cannot_be_had_again_are_an_outage_of_a_part_until_they_can(
    world: NatsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openapi.ws.brokers.nats.server._ILL", 0.01)
    async with opened(world) as (node,), speaking(world) as somebody:
        await node.broker.subscribe("c")
        manager = somebody.jsm()
        for stream in (*world.names.logs, world.names.onces):
            assert await manager.delete_stream(stream)
        # Somebody else has the subjects.
        await manager.add_stream(name=f"{world.prefix}_other", subjects=[f"{world.prefix}.once.>"])
        with pytest.raises(BrokerUnavailable, match="subjects overlap with an existing stream"):
            await append(node, [1])
        nats_of(node)._server.link().doubt_it()
        await node.until_away()
        outage = node.supervised.outage
        assert outage is not None
        assert "subjects overlap" in outage.reason
        await node.broker.publish("c", "", 1)  # nothing of it is kept
        assert await node.so_far("c", node) == [Message("", 1)]
        assert await manager.delete_stream(f"{world.prefix}_other")
        await node.until_back()
        assert None in node.missed
        assert (await append(node, [1])).offset == 1


async def test_what_cannot_be_kept_for_want_of_room_is_refused_and_nothing_is_away(
    start_nats: StartNats,
) -> None:
    config = (
        "accounts { A { jetstream: { max_file: 300KB }, users: [{user: me, password: s3cret}] } }"
    )
    world = NatsWorld(start_nats(config=config, user="me", password="s3cret"))
    async with opened(world) as (node,):
        await node.broker.subscribe("c")
        with pytest.raises(BrokerUnavailable, match="NATS cannot keep messages now") as refusal:
            await append(node, ["x" * 10_000] * 100)  # type: ignore[list-item]
        assert "resource" in str(refusal.value)
        last = await top(node)
        assert 0 < last.offset < 100
        await node.streamed("c", last)


# --- what others say ------------------------------------------------------------------------------


async def test_what_is_no_message_of_ours_is_ignored_counted_and_told_once(
    world: NatsWorld, caplog: pytest.LogCaptureFixture
) -> None:
    live = world.names.live("c")
    async with opened(world) as (node,), speaking(world) as somebody:
        await node.broker.subscribe("c")
        good = Record("-", 1, Position(1, "e"), [Envelope.write("", 1, Position(1, "e"), 1.0)])
        garbage = [
            b"",
            b"{}",
            b"2\n",
            b"1\n\xc1",
            b"log1 - 1 7 e 1\n",
            good.write().replace(b"\n1 1", b"\n9 1"),
            good.envelopes[0],
        ]
        for each in garbage:
            await somebody.publish(live, each)
        await somebody.publish(live, good.write(), headers={"Nats-Sequence": "x"})
        await somebody.flush()
        await node.broker.publish("c", "", 1)
        assert await node.so_far("c", node) == [Message("", 1)]
        assert nats_of(node).ignored == len(garbage) + 1
    told = [each for each in caplog.records if "there is what cannot be read" in each.message]
    assert len(told) == 1


async def test_headers_that_are_none_cost_nobody_the_connection(world: NatsWorld) -> None:
    live = world.names.live("c").encode()
    async with opened(world) as (node,):
        await node.broker.subscribe("c")
        reader, writer = await asyncio.open_connection(HOST, world.server.port)
        writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
        for headers in (b"NATS/1.0", b"NATS/1.0 503 \xff\xff\xff\r\n\r\n"):
            size = len(headers)
            writer.write(b"HPUB %b %d %d\r\n%b{}\r\n" % (live, size, size + 2, headers))
        writer.write(b"PING\r\n")
        await reader.readuntil(b"PONG")
        writer.close()
        await node.broker.publish("c", "", 1)
        assert await node.so_far("c", node) == [Message("", 1)]
        assert nats_of(node).ignored == 2
        assert node.missed == []


async def test_a_log_in_which_somebody_writes_garbage_is_begun_anew(world: NatsWorld) -> None:
    async with opened(world, 2) as (one, other), speaking(world) as somebody:
        old = await append(one, range(1, 4))
        run = nats_of(one)._server.run.encode()
        for garbage in (b"garbage", b"log1 %b 1 1 e 7\ngarbage" % run):
            await somebody.jetstream().publish(world.names.log("c"), garbage)
        # It is the newest, and read as one that has what nobody can read.
        page = await other.history.history("c", retention=KEPT, limit=10)
        assert (list(page.messages), page.top) == ([], Position(1, "e"))
        await somebody.jetstream().publish(world.names.log("c"), b"garbage")
        new = await append(other, [5, 6])
        assert new.offset == 2
        assert new.epoch != old.epoch
        for node in (one, other):
            page = await node.history.history("c", retention=KEPT, limit=10)
            assert (values_of(page), page.top) == ([5, 6], new)


async def test_what_is_behind_much_garbage_is_found(
    world: NatsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openapi.ws.brokers.nats.logs._READ", 3)
    monkeypatch.setattr("openapi.ws.brokers.nats.logs._NEAR", 1)
    async with opened(world) as (node,), speaking(world) as somebody:
        for number in range(1, 11):
            await append(node, [number])
        for _ in range(20):
            await somebody.jetstream().publish(world.names.log("c"), b"garbage")
        for number in range(1, 13):
            await append(node, [number])
        newest = await top(node)
        for since in (0, 2, 7, 10):
            nats_of(node)._logs.clear()
            page = await node.history.history(
                "c", retention=KEPT, since=Position(since, newest.epoch), limit=2
            )
            assert values_of(page) == [since + 1, since + 2]
        nats_of(node)._logs.clear()
        page = await node.history.history("c", retention=KEPT, limit=100)
        assert values_of(page) == list(range(1, 13))


async def test_garbage_among_what_is_kept_ends_what_is_found(world: NatsWorld) -> None:
    async with opened(world) as (node,), speaking(world) as somebody:
        newest = await append(node, range(1, 4))
        stream = world.names.logs[world.names.partition("c")]
        at = (await somebody.jsm().stream_info(stream)).state.last_seq
        assert await somebody.jsm().delete_msg(stream, at - 1)
        page = await node.history.history("c", retention=KEPT, limit=10)
        assert (values_of(page), page.top) == ([3], newest)


async def test_garbage_in_place_of_a_key_or_a_roster_is_none(world: NatsWorld) -> None:
    names = world.names
    async with opened(world) as (node,), speaking(world) as somebody:
        for subject in (names.key("c", "k"), names.once("c", "k"), names.roster("c")):
            await somebody.jetstream().publish(subject, b"garbage")
        await node.broker.subscribe("c")
        for _ in range(2):
            await node.once.publish_once("c", "", 1, key="k")
            assert (await node.history.append("c", "", 2, retention=KEPT, key="k")).offset == 1
        assert [each.data for each in await node.so_far("c", node)] == [1, 2]
        assert await node.presence.enter("c", {"1": Member("ada")}, ttl=60) == [Member("ada")]
        assert await node.presence.members("c") == [Member("ada")]


# --- bounds ---------------------------------------------------------------------------------------


async def test_who_waits_for_a_message_for_too_long_misses_some_and_is_told_when_there_is_room(
    world: NatsWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("openapi.ws.brokers.nats.live._WAITING", 10)
    freed = asyncio.Event()
    async with opened(world, pause=freed.wait) as (stuck,), opened(world) as (other,):
        await stuck.broker.subscribe("c")
        await stuck.broker.subscribe("d")
        for number in range(15):
            await other.history.append("c", "", number, retention=KEPT)
        await other.broker.publish("d", "", 1)
        await stuck.messages("d", 1)  # another channel is not held up
        assert [each.data for each in stuck.delivered["c"]] == list(range(10))
        assert stuck.missed == []
        freed.set()
        async with asyncio.timeout(world.patience):
            while not stuck.missed:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert stuck.missed == [("c",)]
        assert len((await append(other, [15]), await stuck.messages("c", 11))) == 2
    assert "5 messages of channel 'c' were dropped" in caplog.text


async def test_a_delivery_that_fails_is_in_the_log_and_nobody_elses(
    world: NatsWorld, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise LookupError("a bug")

    async with opened(world, pause=fail_later) as (one,), opened(world) as (other,):
        for node in (one, other):
            await node.broker.subscribe("c")
        for number in range(2):
            await one.broker.publish("c", "", number)
        for node in (one, other):
            assert len(await node.messages("c", 2)) == 2
    failed = [each for each in caplog.records if "cannot be delivered" in each.message]
    assert [each.exc_info and each.exc_info[0] for each in failed] == [LookupError] * 2


async def test_what_is_being_delivered_ends_with_the_broker(world: NatsWorld) -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with opened(world, pause=wait) as (node,):
        await node.broker.subscribe("c")
        await node.broker.publish("c", "", 1)
        await node.messages("c", 1)
    assert ended.is_set()


async def test_a_message_that_is_too_long_is_refused_and_others_are_not(world: NatsWorld) -> None:
    long = "x" * (1 << 20)
    async with opened(world) as (node,):
        await node.broker.subscribe("c")
        refused = (
            node.broker.publish("c", "", long),
            node.once.publish_once("c", "", long, key="k"),
            node.history.append("c", "", long, retention=KEPT),
            node.history.append("c", "", long, retention=KEPT, key="k"),
        )
        appended = [node.history.append("c", "", n, retention=KEPT) for n in range(3)]
        *positions, one, two, three, four = await asyncio.gather(
            *appended, *refused, return_exceptions=True
        )
        for refusal in (one, two, three, four):
            assert isinstance(refusal, CannotPublish)
            assert "is too long: the NATS server takes 104" in str(refusal)
        assert [each.offset for each in positions if isinstance(each, Position)] == [1, 2, 3]
        assert (await node.history.append("c", "", 3, retention=KEPT, key="k")).offset == 4


async def test_what_cannot_be_encoded_is_refused_and_what_is_with_it_is_not(
    world: NatsWorld,
) -> None:
    async with opened(world) as (node,):
        *appended, no_event = await asyncio.gather(
            *(node.history.append("c", event, 1, retention=KEPT) for event in ("", "e", "\ud800")),
            return_exceptions=True,
        )
        assert [each.offset for each in appended if isinstance(each, Position)] == [1, 2]
        assert isinstance(no_event, Unserializable)
        info = ("", "i", "\ud800")
        *entered, no_info = await asyncio.gather(
            *(node.presence.enter("c", {i: Member(i, info=i)}, ttl=60) for i in info),
            return_exceptions=True,
        )
        assert entered == [[Member(i, info=i)] for i in info[:2]]
        assert isinstance(no_info, Unserializable)


async def test_those_who_are_there_can_be_refreshed_however_full_a_channel_is(
    start_nats: StartNats,
) -> None:
    world = NatsWorld(start_nats(config="max_payload: 10000"))
    async with opened(world) as (node,):
        world.clock.now = float(round(world.clock.now))
        there: list[str] = []
        with pytest.raises(RpcError, match="No more connections can be on this channel"):
            while len(there) < 1000:
                name = f"connection-{len(there)}"
                await node.presence.enter("c", {name: Member("ada")}, ttl=60)
                there.append(name)
        await world.pass_time(30.123456)
        assert await node.presence.refresh("c", there, ttl=60) == Refreshed([], [])
        await world.pass_time(50)
        assert await node.presence.members("c") == [Member("ada", connections=len(there))]


async def test_many_who_publish_with_one_key_at_once_hold_nobody_up(world: NatsWorld) -> None:
    async with opened(world) as (node,):

        def publish(value: str, key: str | None = None) -> Awaitable[Position]:
            return node.history.append("c", "", value, retention=KEPT, key=key)

        old = await publish("old", "k")
        *new, again, plain = await asyncio.gather(
            *(publish("new", "n") for _ in range(300)), publish("old", "k"), publish("plain")
        )
        assert (set(new), again, plain.offset) == ({Position(2, old.epoch)}, old, 3)


async def test_a_channel_whose_name_is_too_long_is_refused_and_costs_nobody_the_connection(
    world: NatsWorld,
) -> None:
    longest, longer = "é" * 500, "é" * 501
    async with opened(world) as (node,):
        await node.broker.subscribe(longest)
        await node.history.append(longest, "", 1, retention=KEPT)
        await node.once.publish_once(longest, "", 2, key="k")
        await node.presence.enter(longest, {"1": Member("ada")}, ttl=60)
        for publishing in (
            node.broker.publish(longer, "", 1),
            node.history.append(longer, "", 1, retention=KEPT),
            node.once.publish_once(longer, "", 1, key="k"),
        ):
            with pytest.raises(CannotPublish, match="name is too long for NATS"):
                await publishing
        with pytest.raises(CannotSubscribe, match="name is too long for NATS"):
            await node.broker.subscribe(longer)
        with pytest.raises(CannotSubscribe, match="name is too long for NATS"):
            await node.presence.enter(longer, {"1": Member("ada")}, ttl=60)
        await node.broker.unsubscribe(longer)
        assert not await node.presence.members(longer)
        assert [each.data for each in await node.so_far(longest, node)] == [1, 2]


async def test_more_members_than_one_message_can_hold_are_refused_and_may_leave(
    world: NatsWorld,
) -> None:
    info = "x" * 300_000
    async with opened(world) as (node,):
        enter = [
            node.presence.enter("c", {str(n): Member(str(n), info=info)}, ttl=60) for n in range(5)
        ]
        entered = await asyncio.gather(*enter, return_exceptions=True)
        refusals = [each for each in entered if isinstance(each, RpcError)]
        assert [refusal.code for refusal in refusals] == [-32007] * 2
        assert "NATS keeps who is there in one message" in refusals[0].message
        assert [member.id for member in await node.presence.members("c")] == ["0", "1", "2"]
        assert await node.presence.leave("c", ["0"])
        assert await node.presence.enter("c", {"5": Member("5", info=info)}, ttl=60)


async def test_what_waits_in_one_process_goes_out_together_and_keeps_its_numbers(
    world: NatsWorld,
) -> None:
    async with opened(world, 2) as (one, other), speaking(world) as somebody:
        await other.broker.subscribe("c")
        positions = await asyncio.gather(
            *(
                one.history.append("c", "", n, retention=KEPT, key=str(n) if n % 100 == 0 else None)
                for n in range(1000)
            )
        )
        assert [position.offset for position in positions] == list(range(1, 1001))
        delivered = await other.streamed("c", positions[-1])
        assert [each.data for each in delivered] == list(range(1000))
        stream = world.names.logs[world.names.partition("c")]
        state = (await somebody.jsm().stream_info(stream)).state
        assert state.messages <= 10 + 10  # keys, and what they went out with


async def test_more_than_one_question_reads_is_read_with_several(
    world: NatsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openapi.ws.brokers.nats.logs._READ", 7)
    async with opened(world, 2) as (one, other):
        newest = await append(one, range(1, 31))
        for node in (one, other):
            page = await node.history.history("c", retention=KEPT, limit=100)
            assert (values_of(page), page.top) == (list(range(1, 31)), newest)
        since = Position(20, newest.epoch)
        page = await one.history.history("c", retention=KEPT, since=since, limit=5)
        assert values_of(page) == [21, 22, 23, 24, 25]


async def test_a_page_of_a_long_history_is_read_without_the_rest_of_it(
    world: NatsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openapi.ws.brokers.nats.logs._NEAR", 4)
    read: list[int] = []
    ask_for_many = Link.ask_for_many

    async def counting(link: Link, subject: str, payload: bytes) -> list[Msg]:
        answers = await ask_for_many(link, subject, payload)
        read.append(sum(len(each.data) for each in answers))
        return answers

    monkeypatch.setattr(Link, "ask_for_many", counting)
    async with opened(world, 2) as (one, other):
        for number in range(1, 201):
            newest = await one.history.append("c", "", f"{number}" + "x" * 40_000, retention=KEPT)

        async def page(since: int | None = None, *, limit: int, reverse: bool = False) -> list[int]:
            read.clear()
            position = None if since is None else Position(since, newest.epoch)
            nats_of(other)._logs.clear()
            found = await other.history.history(
                "c", retention=KEPT, since=position, limit=limit, reverse=reverse
            )
            assert found.top == newest
            assert sum(read) < 3 << 20  # of eight
            assert found.more is (limit == 1000)
            return [each.offset for each in found.messages]

        assert await page(limit=1, reverse=True) == [200]
        assert await page(limit=3) == [1, 2, 3]
        assert await page(198, limit=10) == [199, 200]
        assert await page(120, limit=2) == [121, 122]
        assert await page(120, limit=2, reverse=True) == [119, 118]
        # A page is a megabyte at most, but for the last message: whoever wants more reads on.
        assert await page(limit=1000) == list(range(1, 28))
        assert await page(27, limit=1000) == list(range(28, 55))
        newer = await page(limit=1000, reverse=True)
        assert newer == list(range(200, 200 - len(newer), -1))
        assert 16 <= len(newer) <= 27


async def test_a_history_that_is_read_by_many_at_once_costs_nobody_the_connection(
    world: NatsWorld,
) -> None:
    async with opened(world, 2) as (one, other):
        for _ in range(40):
            await one.history.append("c", "", "x" * 900_000, retention=KEPT)
        appending = asyncio.create_task(other.history.append("d", "", 1, retention=KEPT))
        pages = await asyncio.gather(
            *(other.history.history("c", retention=KEPT, limit=100) for _ in range(60))
        )
        for page in pages:
            assert [each.offset for each in page.messages] == [1, 2]
        assert (await appending).offset == 1
        assert other.supervised.outage is None
        assert other.missed == []


async def test_what_was_kept_before_an_epoch_is_found_in_a_long_history_too(
    start_nats: StartNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openapi.ws.brokers.nats.logs._READ", 3)
    monkeypatch.setattr("openapi.ws.brokers.nats.logs._NEAR", 2)
    world = NatsWorld(start_nats())
    async with opened(world) as (node,):
        for number in range(1, 21):
            await append(node, [number])
        world.server.kill()
        await node.until_away()
        await world.back()
        await node.until_back()
        for number in range(21, 31):
            await append(node, [number])
        newest = await top(node)
        for since in (1, 15, 19, 20, 21, 25):
            nats_of(node)._logs.clear()
            page = await node.history.history(
                "c", retention=KEPT, since=Position(since, newest.epoch), limit=3
            )
            assert values_of(page) == [since + 1, since + 2, since + 3]


async def test_the_leader_is_asked_where_others_may_lag_behind(
    world: NatsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(world, 2) as (one, other):
        newest = await append(one, range(1, 11))

        async def nothing(link: Link, subject: str, payload: bytes) -> list[Msg]:
            return []

        monkeypatch.setattr(Link, "ask_for_many", nothing)
        page = await other.history.history("c", retention=KEPT, limit=100)
        assert values_of(page) == [10]
        monkeypatch.setattr(nats_of(other)._server, "replicated", True)
        page = await other.history.history("c", retention=KEPT, limit=100)
        assert (values_of(page), page.top) == (list(range(1, 11)), newest)


async def test_more_than_may_be_under_way_is_refused_at_once(
    world: NatsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(world) as (node,):
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "link._ASKED": lambda: node.once.publish_once("c", "", 1, key="k"),
            "link._PENDING": lambda: node.broker.publish("c", "", 1),
            "turns._WAITING": lambda: node.history.append("c", "", 1, retention=KEPT),
        }
        for bound, call in calls.items():
            with monkeypatch.context() as patch:
                patch.setattr(f"openapi.ws.brokers.nats.{bound}", 0)
                with pytest.raises(BrokerUnavailable, match="More .* try again later"):
                    await call()
        await node.broker.publish("c", "", 1)
        assert node.supervised.outage is None
