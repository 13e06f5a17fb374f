"""The methods of publish/subscribe over the wire: what they take, answer and refuse."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from yarl import URL

from openapi.errors import Unserializable
from openapi.ws import ChannelRule, Limits, Member, Position, SocketsManager, channels
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.pubsub import ChannelCallback
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.speaking import JSONRPC, NATIVE, PACKED, speaking

Payload = dict[str, Any]

RULES = [
    ChannelRule("kept:*", history=100),
    ChannelRule("short:*", history=3),
    ChannelRule("brief:*", history=100, ttl=timedelta(seconds=60)),
    ChannelRule("room:*", presence=True),
]


class Named(Endpoint):
    """Its user is who the URL says."""

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")


@pytest.fixture
def sockets() -> SocketsManager:
    return SocketsManager(channels=RULES)


@pytest.fixture
async def url(serve: Serve, sockets: SocketsManager) -> URL:
    return await serve(application(Named, sockets)) / "stream"


async def publish(sockets: SocketsManager, channel: str, *events: str) -> list[Payload]:
    """Publish a message for each event; returns them as clients get them."""
    messages = []
    for event in events:
        position = await sockets.publish(channel, event, {"said": event})
        message = {"channel": channel, "event": event, "data": {"said": event}}
        messages.append(message if position is None else message | {"offset": position.offset})
    return messages


async def position_of(sockets: SocketsManager, channel: str) -> Position:
    """Where a channel is."""
    async with sockets.subscription(channel) as messages:
        assert messages.position is not None
        return messages.position


def form(position: Position) -> Payload:
    """A position on the wire."""
    return {"offset": position.offset, "epoch": position.epoch}


# --- subscribe ----------------------------------------------------------------------------------


async def test_a_subscription_tells_all_that_the_connection_has_and_where_the_channel_is(
    url: URL, sockets: SocketsManager
) -> None:
    await publish(sockets, "kept:1", "a", "b")
    top = await position_of(sockets, "kept:1")
    async with peer(url) as client:
        assert await client.call("subscribe", {"channel": "news"}) == {
            "subscribed": {"news": ["*"]}
        }
        assert await client.call("subscribe", {"channel": "kept:1", "event": "x*"}) == {
            "subscribed": {"news": ["*"], "kept:1": ["x*"]},
            "offset": 2,
            "epoch": top.epoch,
        }
        for event in ("x*", "y", None):
            await client.call("subscribe", {"channel": "kept:1", "event": event})
        answer = await client.call("subscribe", {"channel": "kept:1", "event": ""})
        assert answer == {
            "subscribed": {"news": ["*"], "kept:1": ["x*", "y", "*"]},
            **form(top),
        }
        (message,) = await publish(sockets, "kept:1", "x1")
        await client.call("info")
        assert client.messages == [message]  # once, whatever fits


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_who_comes_back_gets_what_it_missed_and_then_what_follows(
    url: URL, sockets: SocketsManager, dialect: str
) -> None:
    await publish(sockets, "kept:1", "seen")
    since = await position_of(sockets, "kept:1")
    missed = await publish(sockets, "kept:1", "x1", "y", "x2")
    async with speaking(url, dialect) as client:
        for event, fitting in (("x*", [missed[0], missed[2]]), ("*", missed), ("z", [])):
            payload = {"channel": "kept:1", "event": event, "recover": form(since)}
            answer = await client.call("subscribe", payload)
            assert (answer["recovered"], answer["messages"]) == (True, fitting)
            assert (answer["offset"], answer["epoch"]) == (4, since.epoch)
        live = await publish(sockets, "kept:1", "x3")
        assert await client.message() == live[0]


async def test_who_missed_nothing_recovers_nothing(url: URL, sockets: SocketsManager) -> None:
    async with peer(url) as client:
        answer = await client.call("subscribe", {"channel": "kept:1"})
        since = {"offset": answer["offset"], "epoch": answer["epoch"]}
        assert since["offset"] == 0
    async with peer(url) as client:
        answer = await client.call("subscribe", {"channel": "kept:1", "recover": since})
        assert answer == {
            "subscribed": {"kept:1": ["*"]},
            "recovered": True,
            "messages": [],
            **since,
        }


async def test_where_not_everything_is_kept_nothing_is_recovered(
    url: URL, sockets: SocketsManager
) -> None:
    await publish(sockets, "short:1", *"abcde")
    top = await position_of(sockets, "short:1")
    async with peer(url) as client:
        for offset, epoch in (
            (1, top.epoch),
            (0, top.epoch),
            (6, top.epoch),
            (-1, top.epoch),
            (2**63, top.epoch),
            (5, "foreign"),
            (2, ""),
        ):
            payload = {"channel": "short:1", "recover": {"offset": offset, "epoch": epoch}}
            assert await client.call("subscribe", payload) == {
                "subscribed": {"short:1": ["*"]},
                "recovered": False,
                "messages": [],
                **form(top),
            }
        payload = {"channel": "short:1", "recover": form(Position(2, top.epoch))}
        answer = await client.call("subscribe", payload)
        assert [each["event"] for each in answer["messages"]] == ["c", "d", "e"]
        live = await publish(sockets, "short:1", "f")
        assert await client.message() == live[0]


async def test_on_a_channel_without_history_nothing_is_recovered(url: URL) -> None:
    async with peer(url) as client:
        payload = {"channel": "news", "recover": {"offset": 3, "epoch": "x"}}
        assert await client.call("subscribe", payload) == {
            "subscribed": {"news": ["*"]},
            "recovered": False,
            "messages": [],
        }


@pytest.mark.parametrize(("missed", "recovered"), [(4, True), (5, False)])
async def test_more_than_the_limit_is_not_recovered_whatever_its_events(
    serve: Serve, missed: int, recovered: bool
) -> None:
    sockets = SocketsManager(channels=RULES, limits=Limits(recovery=4))
    url = await serve(application(Named, sockets)) / "stream"
    await publish(sockets, "kept:1", "first")
    since = await position_of(sockets, "kept:1")
    await publish(sockets, "kept:1", *"abcde"[:missed])
    async with peer(url) as client:
        payload = {"channel": "kept:1", "event": "a", "recover": form(since)}
        answer = await client.call("subscribe", payload)
        assert answer["recovered"] is recovered
        assert len(answer["messages"]) == recovered


@pytest.mark.parametrize(("size", "recovered"), [(400, True), (600, False)])
async def test_more_than_half_of_what_may_be_queued_is_not_recovered(
    serve: Serve, size: int, recovered: bool
) -> None:
    sockets = SocketsManager(channels=RULES, limits=Limits(outbox_bytes=10_000))
    url = await serve(application(Named, sockets)) / "stream"
    await publish(sockets, "kept:1", "first")
    since = await position_of(sockets, "kept:1")
    for number in range(10):
        await sockets.publish("kept:1", "x" if number < 9 else "other", "x" * size)
    async with peer(url) as client:
        payload = {"channel": "kept:1", "event": "x", "recover": form(since)}
        answer = await client.call("subscribe", payload)
        assert answer["recovered"] is recovered
        assert len(answer["messages"]) == (9 if recovered else 0)
        payload["event"] = "other"  # of which there is less
        assert (await client.call("subscribe", payload))["recovered"] is True


@pytest.mark.parametrize(
    ("more", "errors"),
    [
        ({"recover": {"offset": 1}}, {"recover.epoch": "required"}),
        ({"recover": 5}, {"recover": "expected `object | null`, got `int`"}),
        ({"presence": 1}, {"presence": "expected `bool | null`, got `int`"}),
        ({"presence": True}, {"presence": "nobody knows who is on this channel"}),
        ({"history": 5}, {"history": "unknown field"}),
        ({"event": "e" * 256}, {"event": "longer than 255 bytes"}),
        ({"event": "ä" * 128}, {"event": "longer than 255 bytes"}),
        ({"channel": ""}, {"channel": "Invalid channel"}),
        ({"channel": "c" * 256}, {"channel": "longer than 255 bytes"}),
        (
            {"channel": "c" * 256, "event": "e" * 256},
            {"channel": "longer than 255 bytes", "event": "longer than 255 bytes"},
        ),
        ({"channel": "", "event": "e" * 256}, {"channel": "Invalid channel", "event": None}),
    ],
)
async def test_a_subscription_that_cannot_be_is_refused_and_leaves_nothing(
    url: URL, sockets: SocketsManager, more: Payload, errors: Payload
) -> None:
    async with peer(url) as client:
        error = await client.error("subscribe", {"channel": "news", **more})
        assert error["code"] == -32602
        assert error["errors"].keys() == errors.keys()
        for field, text in errors.items():
            assert text is None or error["errors"][field] == text
        assert sockets.channels.info() == {}
        assert len(sockets.channels.gates) == 0


async def test_names_may_be_as_long_as_the_limit(url: URL) -> None:
    async with peer(url) as client:
        payload = {"channel": "c" * 255, "event": "ä" * 127 + "*"}
        await client.call("subscribe", payload)
        await client.call("publish", {"channel": "c" * 255, "event": "ä" * 127, "data": 1})
        assert (await client.message())["data"] == 1


async def test_between_the_answer_and_what_follows_nothing_is_lost_and_nothing_is_repeated(
    url: URL, sockets: SocketsManager
) -> None:
    await publish(sockets, "kept:1", "first")
    since = await position_of(sockets, "kept:1")
    async with peer(url) as client:
        await client.send(
            {
                "id": "s",
                "method": "subscribe",
                "payload": {"channel": "kept:1", "recover": form(since)},
            }
        )
        for number in range(60):
            await publish(sockets, "kept:1", f"e{number}")
            await asyncio.sleep(0)
        answer = await client.receive()
        offsets = [each["offset"] for each in answer["response"]["messages"]]
        assert len(offsets) == answer["response"]["offset"] - 1
        while len(offsets) < 60:
            offsets.append((await client.receive())["offset"])
        assert offsets == list(range(2, 62))


# --- unsubscribe --------------------------------------------------------------------------------


async def test_one_pattern_or_the_whole_channel_can_be_left(url: URL) -> None:
    async with peer(url) as client:
        for event in ("a", "b", "*"):
            await client.call("subscribe", {"channel": "news", "event": event})
        await client.call("subscribe", {"channel": "other"})

        async def leave(**more: Any) -> Any:
            return (await client.call("unsubscribe", {"channel": "news", **more}))["subscribed"]

        assert await leave(event="b") == {"news": ["a", "*"], "other": ["*"]}
        assert await leave(event="c") == {"news": ["a", "*"], "other": ["*"]}
        assert await leave(event="*") == {"news": ["a"], "other": ["*"]}
        for nothing in ({}, {"event": None}, {"event": ""}):
            await client.call("subscribe", {"channel": "news"})
            assert await leave(**nothing) == {"other": ["*"]}
            error = await client.error("unsubscribe", {"channel": "news", **nothing})
            assert (error["code"], error["errors"]) == (-32602, {"channel": "Invalid channel"})


# --- publish ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_who_publishes_is_told_what_and_where(url: URL, dialect: str) -> None:
    async with speaking(url, dialect) as client:
        joined = await client.call("subscribe", {"channel": "kept:1"})
        events: list[tuple[Payload, str]] = [
            ({"event": "e"}, "e"),
            ({}, ""),
            ({"event": None}, ""),
            ({"event": ""}, ""),
        ]
        for more, event in events:
            for data in ({"n": 1}, None, [1, "ä"], 2**53):
                answer = await client.call("publish", {"channel": "kept:1", "data": data, **more})
                assert answer.pop("epoch") == joined["epoch"]
                expected = {"channel": "kept:1", "event": event, "data": data}
                assert answer == {**expected, "offset": answer["offset"]}
                assert await client.message() == answer
        answer = await client.call("publish", {"channel": "news", "data": 1})
        assert answer == {"channel": "news", "event": "", "data": 1}


@pytest.mark.parametrize(
    ("more", "errors"),
    [
        ({"data": ...}, {"data": "required"}),
        ({"event": "$join"}, {"event": "events that begin with $ are the server's"}),
        ({"event": "$"}, {"event": "events that begin with $ are the server's"}),
        ({"key": ""}, {"key": "expected 1 to 255 bytes"}),
        ({"key": "ä" * 128}, {"key": "expected 1 to 255 bytes"}),
        ({"key": 5}, {"key": "expected `str | null`, got `int`"}),
        ({"channel": ""}, {"channel": "Cannot publish to channel"}),
        ({"channel": "c" * 256, "event": "e" * 256}, {"channel": None, "event": None}),
    ],
)
async def test_what_cannot_be_published_is_refused_and_reaches_nobody(
    url: URL, sockets: SocketsManager, more: Payload, errors: Payload
) -> None:
    async with peer(url) as client:
        await client.call("subscribe", {"channel": "kept:1"})
        payload = {"channel": "kept:1", "data": 1, **more}
        error = await client.error(
            "publish", {key: value for key, value in payload.items() if value is not ...}
        )
        assert error["code"] == -32602
        assert error["errors"].keys() == errors.keys()
        for field, text in errors.items():
            assert text is None or error["errors"][field] == text
        await client.call("publish", {"channel": "kept:1", "data": "first", "key": "k" * 255})
        assert (await client.message())["offset"] == 1


@pytest.mark.parametrize("channel", ["kept:1", "news"])
async def test_a_message_with_a_key_can_be_sent_again(url: URL, channel: str) -> None:
    async with peer(url) as client:
        await client.call("subscribe", {"channel": channel})
        payload = {"channel": channel, "event": "e", "data": {"n": 1}, "key": "k"}
        first = await client.call("publish", payload)
        await client.call("publish", {"channel": channel, "data": "between", "key": None})
        assert await client.call("publish", payload) == first
        error = await client.error("publish", {**payload, "data": {"n": 2}})
        assert error["errors"] == {
            "key": "another message had this key on this channel; a new one needs a new key"
        }
        await client.call("info")
        assert [each["data"] for each in client.messages] == [{"n": 1}, "between"]


async def test_a_key_is_of_one_user_whatever_connection_they_publish_by(url: URL) -> None:
    anna, bert = url.with_query(user="anna"), url.with_query(user="bert")
    payload = {"channel": "kept:1", "data": 1, "key": "k"}

    async def offset_of(url: URL, **more: Any) -> int:
        async with peer(url) as client:
            offset: int = (await client.call("publish", {**payload, **more}))["offset"]
            return offset

    assert await offset_of(anna) == 1
    assert await offset_of(bert) == 2
    assert await offset_of(url) == 3
    assert await offset_of(anna) == 1
    assert await offset_of(url) == 3  # those who are no user have them together
    for forged in ('["anna","k"]', "anna\0k", "'anna'\0k", '"anna","k"'):
        assert await offset_of(url, key=forged, data=2) > 3
    assert await offset_of(url.with_query(user="anna\0k"), key="k", data=3) > 3
    assert await offset_of(anna) == 1


async def test_the_position_is_that_of_what_the_application_made_of_it(serve: Serve) -> None:
    class Stamped(Named):
        def get_publish_message(self, data: Any) -> Any:
            return {"said": data}

    sockets = SocketsManager(channels=[ChannelRule("*", history=5, data=dict[str, int])])
    async with peer(await serve(application(Stamped, sockets)) / "stream") as client:
        answer = await client.call("publish", {"channel": "c", "data": 1})
        assert (answer["data"], answer["offset"]) == ({"said": 1}, 1)
        error = await client.error("publish", {"channel": "c", "data": "x"})
        assert error["errors"] == {"data.said": "expected `int`, got `str`"}


# --- history ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_what_is_kept_can_be_read_whether_the_channel_is_subscribed_to_or_not(
    url: URL, sockets: SocketsManager, dialect: str
) -> None:
    messages = await publish(sockets, "kept:1", *"abcdefg")
    top = await position_of(sockets, "kept:1")
    async with speaking(url, dialect) as client:

        async def read(**more: Any) -> Any:
            found = await client.call("history", {"channel": "kept:1", **more})
            assert (found.pop("offset"), found.pop("epoch")) == (7, top.epoch)
            return found.pop("messages")

        def behind(offset: int) -> Payload:
            return {"offset": offset, "epoch": top.epoch}

        assert await read() == messages
        assert await read(since=None, limit=None, reverse=None) == messages
        assert await read(limit=2) == messages[:2]
        assert await read(since=behind(2), limit=3) == messages[2:5]
        assert await read(since=behind(0), limit=300) == messages
        assert await read(since=behind(7)) == await read(since=behind(70)) == []
        assert await read(limit=0) == []
        assert await read(reverse=True) == messages[::-1]
        assert await read(reverse=True, limit=2) == [messages[6], messages[5]]
        assert await read(reverse=True, since=behind(4), limit=2) == [messages[2], messages[1]]
        assert await read(reverse=True, since=behind(1)) == []
        assert sockets.channels.info() == {}


async def test_a_history_is_read_page_by_page_in_both_directions(
    url: URL, sockets: SocketsManager
) -> None:
    messages = await publish(sockets, "kept:1", *(f"e{n}" for n in range(50)))
    async with peer(url) as client:
        for reverse in (False, True):
            got, since = list[Payload](), None
            while True:
                page = await client.call(
                    "history",
                    {"channel": "kept:1", "since": since, "limit": 7, "reverse": reverse},
                )
                if not page["messages"]:
                    break
                got += page["messages"]
                since = {"offset": got[-1]["offset"], "epoch": page["epoch"]}
            assert got == (messages[::-1] if reverse else messages)


async def test_a_history_has_only_what_is_kept_still(serve: Serve) -> None:
    now = 1000.0
    sockets = SocketsManager(broker=MemoryBroker(clock=lambda: now), channels=RULES)
    url = await serve(application(Named, sockets)) / "stream"
    await publish(sockets, "short:1", *"abcde")
    await publish(sockets, "brief:1", "a", "b")
    now += 59
    await publish(sockets, "brief:1", "c")
    async with peer(url) as client:

        async def events(channel: str, **more: Any) -> str:
            found = await client.call("history", {"channel": channel, **more})
            return "".join(each["event"] for each in found["messages"])

        assert await events("short:1") == "cde"
        top = await position_of(sockets, "short:1")
        assert await events("short:1", since={"offset": 1, "epoch": top.epoch}) == "cde"
        assert await events("brief:1") == "abc"
        now += 2
        assert await events("brief:1") == "c"
        now += 100
        found = await client.call("history", {"channel": "brief:1"})
        assert (found["messages"], found["offset"]) == ([], 3)


async def test_a_page_is_at_most_half_of_what_may_be_queued_and_one_message_at_least(
    serve: Serve,
) -> None:
    sockets = SocketsManager(channels=RULES, limits=Limits(outbox_bytes=10_000))
    for size in (1000, 1000, 1000, 1000, 1000, 8000, 10):
        await sockets.publish("kept:1", "", "x" * size)
    async with peer(await serve(application(Named, sockets)) / "stream") as client:
        epoch = (await position_of(sockets, "kept:1")).epoch
        sizes = []
        since = {"offset": 0, "epoch": epoch}
        while since["offset"] != 7:
            page = await client.call("history", {"channel": "kept:1", "since": since})
            sizes.append([len(each["data"]) for each in page["messages"]])
            since = {"offset": page["messages"][-1]["offset"], "epoch": epoch}
        assert sizes == [[1000] * 4, [1000], [8000], [10]]


@pytest.mark.parametrize(
    ("more", "errors"),
    [
        ({"limit": 301}, {"limit": "expected an integer from 0 to 300"}),
        ({"limit": -1}, {"limit": "expected an integer from 0 to 300"}),
        ({"limit": True}, {"limit": "expected `int | null`, got `bool`"}),
        ({"since": {"offset": 1}}, {"since.epoch": "required"}),
        (
            {"since": {"offset": 0, "epoch": "foreign"}},
            {"since": "of another stream, which is lost: read without it"},
        ),
        ({"channel": "news"}, {"channel": "keeps no history"}),
        ({"channel": ""}, {"channel": "Invalid channel"}),
        ({"channel": "c" * 256}, {"channel": "longer than 255 bytes"}),
        ({"event": "x"}, {"event": "unknown field"}),
    ],
)
async def test_a_history_that_cannot_be_read_is_refused(
    url: URL, more: Payload, errors: Payload
) -> None:
    async with peer(url) as client:
        error = await client.error("history", {"channel": "kept:1", **more})
        assert (error["code"], error["errors"]) == (-32602, errors)
        await client.call("history", {"channel": "kept:1", "limit": 300})


async def test_data_that_one_dialect_cannot_say_spoils_no_history(
    url: URL, sockets: SocketsManager
) -> None:
    top = await position_of(sockets, "kept:1")
    with pytest.raises(Unserializable):
        await sockets.publish("kept:1", "", 2**70)
    kept = await publish(sockets, "kept:1", "e")
    for dialect in (NATIVE, PACKED, JSONRPC):
        async with speaking(url, dialect) as client:
            found = await client.call("history", {"channel": "kept:1"})
            assert found["messages"] == kept
            payload = {"channel": "kept:1", "recover": form(top)}
            assert (await client.call("subscribe", payload))["messages"] == kept


# --- presence -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A user of an application that has its own kind."""

    name: str

    def __str__(self) -> str:
        return f"person {self.name}"


class Present(Named):
    """Says something of itself."""

    async def on_connect(self) -> None:
        name = self.request.query.get("user")
        if name is not None:
            self.user = int(name) if name.isdigit() else Person(name) if name == "eve" else name

    def presence_info(self, channel: str) -> Any:
        """What others may know"""
        return {"at": channel} if self.user == "anna" else None


async def members(client: Peer, channel: str = "room:1") -> list[Payload]:
    """Who is there."""
    found: list[Payload] = (await client.call("presence", {"channel": channel}))["members"]
    return found


async def test_who_is_there_is_told_to_who_asks_with_what_they_say_of_themselves(
    serve: Serve, sockets: SocketsManager
) -> None:
    url = await serve(application(Present, sockets)) / "stream"
    async with peer(url) as asker:
        assert await members(asker) == []
        async with (
            peer(url.with_query(user="anna")) as anna,
            peer(url.with_query(user="anna")) as again,
            peer(url.with_query(user="7")) as seven,
            peer(url.with_query(user="eve")) as eve,
            peer(url) as nobody,
        ):
            for client in (anna, again, seven, eve, nobody):
                await client.call("subscribe", {"channel": "room:1"})
            *known, last = await members(asker)
            assert known == [
                {"id": "anna", "user": "anna", "info": {"at": "room:1"}, "connections": 2},
                {"id": "7", "user": 7, "connections": 1},
                {"id": "person eve", "user": "person eve", "connections": 1},
            ]
            ids = {ws.socket_id for ws in sockets.sockets}
            assert last == {"id": last["id"], "connections": 1}
            assert last["id"] not in ids  # that is a secret
            await again.call("unsubscribe", {"channel": "room:1"})
            await seven.call("unsubscribe", {"channel": "room:1"})
            found = await members(asker)
            assert [(each["id"], each["connections"]) for each in found] == [
                ("anna", 1),
                ("person eve", 1),
                (last["id"], 1),
            ]


async def test_who_asked_is_told_who_joins_and_leaves_and_nobody_else(
    url: URL, sockets: SocketsManager
) -> None:
    anna, bert = url.with_query(user="anna"), url.with_query(user="bert")
    async with peer(anna) as one, peer(bert) as other, peer(url) as third:
        await third.call("subscribe", {"channel": "room:1"})
        await members(third)
        await one.call("subscribe", {"channel": "room:1", "event": "x", "presence": True})
        joined = await one.message()
        assert joined == {
            "channel": "room:1",
            "event": "$join",
            "data": {"id": "anna", "user": "anna"},
        }
        await other.call("subscribe", {"channel": "room:1"})
        await members(one)
        await other.call("unsubscribe", {"channel": "room:1"})
        await members(one)
        assert [(each["event"], each["data"]["id"]) for each in one.messages] == [
            ("$join", "bert"),
            ("$leave", "bert"),
        ]
        one.messages.clear()
        await one.call("unsubscribe", {"channel": "room:1"})
        await other.call("subscribe", {"channel": "room:1", "presence": True})
        await one.call("subscribe", {"channel": "room:1"})  # and does not ask any more
        await members(one)
        await other.call("unsubscribe", {"channel": "room:1"})
        await members(third)
        assert one.messages == third.messages == []


async def test_who_asks_twice_is_told_once(url: URL) -> None:
    async with peer(url.with_query(user="anna")) as one, peer(url) as other:
        for event in ("x", "y"):
            payload = {"channel": "room:1", "event": event, "presence": True}
            await one.call("subscribe", payload)
        await other.call("subscribe", {"channel": "room:1"})
        await members(one)
        await other.call("unsubscribe", {"channel": "room:1"})
        await members(one)
        assert [each["event"] for each in one.messages] == ["$join", "$join", "$leave"]


async def test_who_becomes_another_user_is_present_as_that_one(
    url: URL, sockets: SocketsManager
) -> None:
    async with peer(url.with_query(user="anna")) as one, peer(url) as other:
        await one.call("subscribe", {"channel": "room:1"})
        await one.call("subscribe", {"channel": "news"})
        await other.call("subscribe", {"channel": "room:1", "presence": True})
        (ws,) = [each for each in sockets.sockets if each.user == "anna"]
        other.messages.clear()
        ws.user = "bert"
        assert "bert" in [each["id"] for each in await members(other)]
        about = [(each["event"], each["data"]["id"]) for each in other.messages]
        assert set(about) >= {("$leave", "anna"), ("$join", "bert")}
        ws.user = None
        found = await members(one)
        assert [("user" in each, each["connections"]) for each in found] == [(False, 1)] * 2


async def test_where_the_broker_cannot_be_told_who_left_no_more_rooms_can_be_entered(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(MemoryBroker):
        stuck, go = asyncio.Event(), asyncio.Event()

        async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
            self.stuck.set()
            await self.go.wait()
            return await super().leave(channel, connections)

    monkeypatch.setattr(channels, "_UNTOLD", 3)
    broker = Stuck()
    sockets = SocketsManager(broker=broker, channels=RULES)
    async with peer(await serve(application(Named, sockets)) / "stream") as client:
        for number in range(4):
            room = {"channel": f"room:{number}"}
            await client.call("subscribe", room)
            assert len(await members(client, f"room:{number}")) == 1
            await client.call("unsubscribe", room)
        await broker.stuck.wait()
        error = await client.error("subscribe", {"channel": "room:4"})
        assert (error["code"], error["retry_after"]) == (-32008, 1000)
        assert error["message"] == "Who is on this channel cannot be told, try again later"
        await client.call("subscribe", {"channel": "news"})
        broker.go.set()
        assert await members(client, "room:0") == []
        while "error" in await client.ask("subscribe", {"channel": "room:4"}):
            pass


@pytest.mark.parametrize(
    ("channel", "errors"),
    [
        ("news", {"channel": "nobody knows who is on this channel"}),
        ("", {"channel": "Invalid channel"}),
        ("c" * 256, {"channel": "longer than 255 bytes"}),
    ],
)
async def test_presence_where_there_is_none_is_refused(
    url: URL, channel: str, errors: Payload
) -> None:
    async with peer(url) as client:
        error = await client.error("presence", {"channel": channel})
        assert (error["code"], error["errors"]) == (-32602, errors)


async def test_info_without_a_json_form_is_the_applications_mistake_and_leaves_nothing(
    serve: Serve, sockets: SocketsManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Named):
        def presence_info(self, channel: str) -> Any:
            return object()

    url = await serve(application(Wrong, sockets)) / "stream"
    async with peer(url) as client:
        error = await client.error("subscribe", {"channel": "room:1"})
        assert error["code"] == -32603
        assert await members(client) == []
        assert sockets.channels.info() == {}
        await client.call("subscribe", {"channel": "news"})  # where nobody asks for it


# --- the socket as a callback -------------------------------------------------------------------


async def test_a_socket_is_one_subscriber_however_it_is_named(serve: Serve) -> None:
    class Joining(Named):
        async def ws_rpc_join(self, payload: Payload) -> Any:
            """Subscribe in three ways"""
            await self.channels.register("news", "a", self.channel_callback)
            await self.channels.register("news", "b", ChannelCallback(self))
            await self.channels.register("news", "c", self.connection.deliveries)
            return self.channels.get_subscribed(self.channel_callback)

    app = application(Joining)
    async with peer(await serve(app) / "stream") as client:
        assert await client.call("join") == {"news": ["a", "b", "c"]}
        (ws,) = app[MANAGER].sockets
        assert app[MANAGER].channels.get_subscribed(ws.connection) == {"news": ["a", "b", "c"]}
        for event in "abc":
            await app[MANAGER].publish("news", event, 1)
        assert [(await client.message())["event"] for _ in range(3)] == ["a", "b", "c"]
        assert await client.call("unsubscribe", {"channel": "news"}) == {"subscribed": {}}
        app[MANAGER].channels.leave(ws.connection)  # harmless
        await asyncio.sleep(0)
