"""What a channel promises: which rule it has, what cannot be promised, and what comes of each."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations
from typing import Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openapi.errors import (
    CannotPublish,
    CannotSubscribe,
    DeclarationError,
    InvalidData,
    Unserializable,
)
from openapi.protocol.stream import Retention
from openapi.ws import (
    ChannelRule,
    Latest,
    Limits,
    Position,
    SocketsManager,
    occupancy,
    rules,
)
from openapi.ws.broker import Broker, Deliver
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.rules import ChannelRules
from tests.conftest import Serve
from tests.shuffled import pause, run, running_loop
from tests.ws.endpoints import MANAGER, application
from tests.ws.linked import Client, Linked
from tests.ws.peer import peer
from tests.ws.speaking import JSONRPC, NATIVE, PACKED, speaking

Payload = dict[str, Any]

# --- which rule a channel has -------------------------------------------------------------------

NAMES = ("*", "orders:*", "orders:eu:*", "orders:eu:1", "prices", "prices*", "p")


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("orders:1", "orders:*"),
        ("orders:", "orders:*"),
        ("orders:*", "orders:*"),
        ("orders", "*"),
        ("Orders:1", "*"),
        ("orders:eu:2", "orders:eu:*"),
        ("orders:eu:1", "orders:eu:1"),
        ("orders:eu:10", "orders:eu:*"),
        ("prices", "prices"),
        ("prices2", "prices*"),
        ("p", "p"),
        ("pr", "*"),
        ("*", "*"),
        ("", "*"),
    ],
)
def test_the_name_of_a_channel_or_else_the_longest_beginning_is_its_rule(
    channel: str, name: str
) -> None:
    for names in (NAMES, NAMES[::-1]):
        assert ChannelRules("Manager", [ChannelRule(each) for each in names]).of(channel).name == (
            name
        )


@given(
    names=st.sets(st.text("ab", max_size=3).map(lambda text: f"{text}*"), max_size=4),
    exact=st.sets(st.text("ab", min_size=1, max_size=3), max_size=2),
    channel=st.text("ab", max_size=4),
)
def test_in_which_order_rules_are_declared_does_not_matter(
    names: set[str], exact: set[str], channel: str
) -> None:
    fitting = [name for name in names if channel.startswith(name[:-1])]
    expected = channel if channel in exact else max(fitting, key=len, default="*")
    declared = [ChannelRule(name) for name in sorted(names | exact)]
    for order in permutations(declared, len(declared)):
        assert ChannelRules("Manager", order).of(channel).name == expected
        if len(declared) > 4:
            break  # one of 120 will do


def test_what_no_rule_fits_is_as_with_the_default_one() -> None:
    for declared in ((), (ChannelRule("orders:*", history=5),)):
        rule = ChannelRules("Manager", declared).of("news")
        assert rule == ChannelRule("*")
        assert not rule.refused
        assert (rule.schema, rule.retention, rule.prefix) == (None, Retention(0, 300), "")


def test_the_default_can_be_another_one() -> None:
    found = ChannelRules("Manager", [ChannelRule("*", refused=True), ChannelRule("news")])
    assert found.of("other").refused
    assert not found.of("news").refused


def test_a_manager_tells_the_rules_of_its_channels() -> None:
    rule = ChannelRule("orders:*", history=100, ttl=timedelta(minutes=1))
    sockets = SocketsManager(channels=[rule])
    assert sockets.rules.of("orders:7") is rule
    assert sockets.rules.all == (rule,)
    assert rule.retention == Retention(100, 60.0)


def test_of_ever_new_channels_not_every_rule_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "_REMEMBERED", 10)
    found = ChannelRules("Manager", [ChannelRule("a*"), ChannelRule("a7")])
    for number in range(100):
        assert found.of(f"a{number}").name == ("a7" if number == 7 else "a*")
        assert found.of(f"b{number}").name == "*"
        assert len(found._known) <= 10


# --- what cannot be promised --------------------------------------------------------------------


async def hook(channel: str) -> None:
    """A hook that does nothing."""


class Hooked:
    """Hooks of other kinds than functions."""

    async def method(self, channel: str) -> None:
        """It is fine."""


_NAME = 'its name is that of a channel, or what channels begin with and a "*"'
_SLOW = "slow is one of 'disconnect', 'drop_oldest', 'catch_up' or Latest(key=\"…\")"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"name": ""}, _NAME),
        ({"name": 5}, _NAME),
        ({"name": None}, _NAME),
        ({"name": "orders*eu"}, _NAME),
        ({"name": "*orders"}, _NAME),
        ({"name": "orders**"}, _NAME),
        ({"history": -1}, "history is a number of messages from 0, not -1"),
        ({"history": True}, "history is a number of messages from 0, not True"),
        ({"history": 1.5}, "history is a number of messages from 0, not 1.5"),
        ({"history": None}, "history is a number of messages from 0, not None"),
        ({"ttl": 300}, "ttl is a timedelta of more than 0, not 300"),
        (
            {"ttl": timedelta()},
            "ttl is a timedelta of more than 0, not datetime.timedelta(0)",
        ),
        (
            {"ttl": timedelta(seconds=-1)},
            "ttl is a timedelta of more than 0, not datetime.timedelta(days=-1, seconds=86399)",
        ),
        ({"presence": 1}, "presence is True or False, not 1"),
        ({"refused": "no"}, "refused is True or False, not 'no'"),
        ({"slow": "latest"}, _SLOW),
        ({"slow": Latest}, _SLOW),
        ({"slow": ["disconnect"]}, _SLOW),
        ({"slow": None}, _SLOW),
        (
            {"slow": Latest(key=5)},  # type: ignore[arg-type]
            "slow: the key of Latest is the name of a field of the data, not 5",
        ),
        ({"slow": "catch_up"}, 'slow="catch_up" reads from history: give it one, history=100'),
        ({"max_rate": 0}, "max_rate is a number of messages a second, more than 0, not 0"),
        ({"max_rate": -1.5}, "max_rate is a number of messages a second, more than 0, not -1.5"),
        ({"max_rate": True}, "max_rate is a number of messages a second, more than 0, not True"),
        ({"max_rate": "5"}, "max_rate is a number of messages a second, more than 0, not '5'"),
        (
            {"max_rate": float("nan")},
            "max_rate is a number of messages a second, more than 0, not nan",
        ),
        (
            {"max_rate": float("inf")},
            "max_rate is a number of messages a second, more than 0, not inf",
        ),
        (
            {"on_occupied": 5},
            "on_occupied is an `async def` function of a channel's name, not 5",
        ),
        (
            {"on_vacated": print},
            "on_vacated is an `async def` function of a channel's name, not"
            " <built-in function print>",
        ),
        ({"data": "Order"}, "data: Order: Type ''Order'' is not supported"),
        ({"data": 5}, "data: 5: Type '5' is not supported"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(
    options: dict[str, Any], fault: str
) -> None:
    options = {"name": "orders"} | options
    name = options.pop("name")
    with pytest.raises(DeclarationError) as refusal:
        ChannelRule(name, **options)
    assert str(refusal.value) == f"ChannelRule({name!r}): {fault}"


def test_what_can_be_meant_is_not_refused() -> None:
    ChannelRule("a", ttl=timedelta(microseconds=1), max_rate=0.001)
    ChannelRule("a", max_rate=5, slow=Latest())
    ChannelRule("a", history=1, slow="catch_up", data=list[int] | None)
    ChannelRule("a", on_occupied=hook, on_vacated=Hooked().method)
    ChannelRule("a", on_occupied=partial(hook))
    ChannelRule("a", refused=True, slow="drop_oldest", presence=False)


_ORDERS = ChannelRule("orders:*")


@pytest.mark.parametrize(
    ("channels", "fault"),
    [
        ([ChannelRule("a"), "orders:*"], "channels are ChannelRule(…), 'orders:*' is none"),
        ([None], "channels are ChannelRule(…), None is none"),
        ("orders:*", "channels are ChannelRule(…), 'o' is none"),
        (None, "channels is a list of ChannelRule(…), not None"),
        (_ORDERS, f"channels is a list of ChannelRule(…), not {_ORDERS!r}"),
        ([_ORDERS, ChannelRule("orders:*", history=5)], "there are two rules for 'orders:*'"),
        ([ChannelRule("a"), ChannelRule("b"), ChannelRule("a")], "there are two rules for 'a'"),
        ([ChannelRule("*"), ChannelRule("*", refused=True)], "there are two rules for '*'"),
    ],
)
def test_rules_that_are_none_or_two_of_one_name_are_refused_when_the_manager_is_made(
    channels: Any, fault: str
) -> None:
    with pytest.raises(DeclarationError) as refusal:
        SocketsManager(channels=channels)
    assert str(refusal.value) == f"SocketsManager: {fault}"


def test_the_same_beginning_with_and_without_a_star_are_two_names() -> None:
    SocketsManager(channels=[ChannelRule("orders"), ChannelRule("orders*")])


class Plain(Broker):
    """It carries messages, and keeps nothing."""

    def __init__(self) -> None:
        self.published: list[tuple[str, str, object]] = []

    async def open(self, deliver: Deliver) -> None:
        self.deliver = deliver

    async def publish(self, channel: str, event: str, data: object) -> None:
        if not channel.startswith("$"):  # the manager's own
            self.published.append((channel, event, data))
        await self.deliver(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        pass

    async def unsubscribe(self, channel: str) -> None:
        pass

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (ChannelRule("orders:*", history=1), "history"),
        (ChannelRule("orders:*", history=1, slow="catch_up"), "history"),
        (ChannelRule("orders:*", presence=True), "presence"),
        (ChannelRule("orders:*", history=1, presence=True), "history"),
    ],
)
def test_a_promise_that_the_broker_cannot_keep_is_refused_when_the_manager_is_made(
    rule: ChannelRule, what: str
) -> None:
    with pytest.raises(DeclarationError) as refusal:
        SocketsManager(broker=Plain(), channels=[ChannelRule("news", max_rate=5), rule])
    assert str(refusal.value) == (
        f"SocketsManager: the rule for 'orders:*' promises {what}, which the broker Plain cannot"
        " keep: leave it out, or take another broker"
    )


def test_what_every_broker_can_keep_is_not_refused() -> None:
    promises = [ChannelRule("a", data=int, max_rate=1, slow=Latest(), on_occupied=hook)]
    SocketsManager(broker=Plain(), channels=promises)


# --- channels that are refused ------------------------------------------------------------------


class Watched(MemoryBroker):
    """Notes whatever it is asked about a channel that is not the manager's own."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def note(self, channel: str) -> None:
        if not channel.startswith("$"):
            self.asked.append(channel)

    async def subscribe(self, channel: str) -> None:
        self.note(channel)
        await super().subscribe(channel)

    async def publish(self, channel: str, event: str, data: object) -> None:
        self.note(channel)
        await super().publish(channel, event, data)

    async def append(self, channel: str, *rest: Any, **options: Any) -> Position:
        self.asked.append(channel)
        return await super().append(channel, *rest, **options)


def guarded() -> tuple[SocketsManager, Watched]:
    """All that is promised of the refused channels would be kept, were they not refused."""
    broker = Watched()
    refused = ChannelRule("closed:*", refused=True, history=5, presence=True)
    return SocketsManager(broker=broker, channels=[refused]), broker


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_a_client_gets_nothing_of_a_refused_channel(serve: Serve, dialect: str) -> None:
    sockets, broker = guarded()
    refusals: list[tuple[str, Payload, str]] = [
        ("subscribe", {}, "Invalid channel"),
        ("subscribe", {"event": "task.*"}, "Invalid channel"),
        ("subscribe", {"presence": True}, "Invalid channel"),
        ("subscribe", {"recover": {"offset": 0, "epoch": "x"}}, "Invalid channel"),
        ("unsubscribe", {}, "Invalid channel"),
        ("history", {}, "Invalid channel"),
        ("presence", {}, "Invalid channel"),
        ("publish", {"data": 1}, "Cannot publish to channel"),
        ("publish", {"data": 1, "key": "k"}, "Cannot publish to channel"),
    ]
    async with speaking(await serve(application(sockets=sockets)) / "stream", dialect) as client:
        for method, payload, text in refusals:
            error = await client.error(method, {"channel": "closed:1", **payload})
            assert (error["code"], error["errors"]) == (-32602, {"channel": text})
        await client.call("subscribe", {"channel": "closed"})
    assert broker.asked == ["closed"]


async def test_the_servers_own_code_gets_nothing_of_a_refused_channel_either(serve: Serve) -> None:
    sockets, broker = guarded()
    text = "the rule for 'closed:*' refuses the channel 'closed:1'"
    for event in ("done", "$notice"):
        with pytest.raises(CannotPublish) as refusal:
            await sockets.publish("closed:1", event, 1)
        assert str(refusal.value) == text
    with pytest.raises(CannotPublish, match="refuses the channel"):
        await sockets.publish_once("closed:1", "done", 1, key="k")
    with pytest.raises(CannotSubscribe) as unsubscribable:
        async with sockets.subscription("closed:1"):
            pass
    assert str(unsubscribable.value) == (
        "the channel 'closed:1' is refused: channel: Invalid channel"
    )
    with pytest.raises(InvalidData, match="Invalid channel"):
        await sockets.channels.register("closed:1", "*", Inbox())
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        await client.call("info")
        (ws,) = sockets.sockets
        with pytest.raises(InvalidData, match="Invalid channel"):
            await sockets.subscribe_socket("closed:1", socket_id=ws.socket_id)
    assert broker.asked == []
    assert sockets.channels.info() == {}


async def test_a_manager_that_carries_messages_itself_refuses_what_its_rules_refuse(
    serve: Serve,
) -> None:
    class Own(SocketsManager):
        async def publish(self, channel: str, event: str, data: Any) -> None:
            await self.channels(channel, {"event": event, "data": data})

    sockets = Own(channels=[ChannelRule("closed", refused=True)])
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        for more in ({}, {"key": "k"}):
            error = await client.error("publish", {"channel": "closed", "data": 1, **more})
            assert error["errors"] == {"channel": "Cannot publish to channel"}
        await client.call("publish", {"channel": "open", "data": 1})


async def test_where_the_default_is_refused_only_what_has_a_rule_is_there(serve: Serve) -> None:
    sockets = SocketsManager(channels=[ChannelRule("*", refused=True), ChannelRule("news:*")])
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        await client.error("subscribe", {"channel": "other"})
        await client.call("subscribe", {"channel": "news:1"})
        await client.call("publish", {"channel": "news:1", "data": 1})
        assert (await client.message())["data"] == 1


# --- typed data ---------------------------------------------------------------------------------


class Inbox:
    """A callback that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, Any]] = []

    async def __call__(self, channel: str, event: str, data: Any) -> None:
        self.messages.append((channel, event, data))


@dataclass
class Item:
    """A line of an order."""

    name: str
    price: float
    count: int = 1


@dataclass
class Order:
    """What is published on `orders:*`."""

    id: int
    seal: bytes
    items: list[Item] = field(default_factory=list)
    state: Literal["new", "paid"] = "new"


class Tick(TypedDict):
    """What is published on `ticks`."""

    symbol: str
    note: NotRequired[str]


TYPED = [
    ChannelRule("orders:*", data=Order, history=10),
    ChannelRule("drafts:*", data=Order),
    ChannelRule("ticks", data=Tick),
    ChannelRule("numbers", data=list[int]),
]

GOOD = {"id": 7, "seal": "//8=", "items": [{"name": "tea", "price": 2}]}
WHOLE = {
    "id": 7,
    "seal": "//8=",
    "items": [{"name": "tea", "price": 2.0, "count": 1}],
    "state": "new",
}
BAD = {"id": "7", "items": [{"price": 2}, {"name": 5, "price": None}], "state": "lost"}
FAULTS = {
    "data.id": "expected `int`, got `str`",
    "data.seal": "required",
    "data.items[0].name": "required",
    "data.items[1].name": "expected `str`, got `int`",
    "data.items[1].price": "expected `float`, got `null`",
}


@pytest.mark.parametrize("channel", ["orders:1", "drafts:1"])
@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_all_that_is_wrong_with_what_a_client_publishes_is_told_at_once(
    serve: Serve, dialect: str, channel: str
) -> None:
    app = application(sockets=SocketsManager(channels=TYPED))
    async with speaking(await serve(app) / "stream", dialect) as client:
        await client.call("subscribe", {"channel": channel})
        error = await client.error("publish", {"channel": channel, "data": BAD})
        assert (error["code"], error["message"]) == (-32602, "Invalid RPC parameters")
        assert error["errors"].pop("data.state").startswith("expected")
        assert error["errors"] == FAULTS
        for data, kind in ((None, "null"), (5, "int"), ([], "array"), ("x", "str")):
            error = await client.error("publish", {"channel": channel, "data": data})
            assert error["errors"] == {"data": f"expected `object`, got `{kind}`"}
        await client.call("publish", {"channel": channel, "event": "last", "data": GOOD})
        assert (await client.message())["event"] == "last"  # and nothing before


@pytest.mark.parametrize("channel", ["orders:1", "drafts:1"])
async def test_all_that_is_wrong_with_what_the_server_publishes_is_told_at_once(
    channel: str,
) -> None:
    inbox = Inbox()
    async with SocketsManager(channels=TYPED) as sockets:
        await sockets.channels.register(channel, "*", inbox)
        for publish in (sockets.publish, partial(sockets.publish_once, key="k")):
            with pytest.raises(InvalidData) as refusal:
                await publish(channel, "e", BAD)
            assert set(refusal.value.errors) == {*FAULTS, "data.state"}
            with pytest.raises((InvalidData, Unserializable)):
                await publish(channel, "e", object())
            with pytest.raises(InvalidData, match="data.items"):
                await publish(channel, "e", Order(7, b"", items=[5]))  # type: ignore[list-item]
        assert inbox.messages == []


async def test_the_faults_of_a_list_are_told_by_their_places() -> None:
    async with SocketsManager(channels=TYPED) as sockets:
        with pytest.raises(InvalidData) as refusal:
            await sockets.publish("numbers", "", [1, "2", 3, None])
        assert refusal.value.errors == {
            "data[1]": "expected `int`, got `str`",
            "data[3]": "expected `int`, got `null`",
        }


@pytest.mark.parametrize("channel", ["orders:1", "drafts:1"])
@pytest.mark.parametrize("publisher", [NATIVE, PACKED, JSONRPC])
async def test_what_is_published_is_complete_and_nothing_more_in_every_dialect(
    serve: Serve, publisher: str, channel: str
) -> None:
    inbox = Inbox()
    app = application(sockets=SocketsManager(channels=TYPED))
    await app[MANAGER].channels.register(channel, "*", inbox)
    url = await serve(app) / "stream"
    async with (
        speaking(url, NATIVE) as native,
        speaking(url, PACKED) as packed,
        speaking(url, JSONRPC) as jsonrpc,
    ):
        clients = {NATIVE: native, PACKED: packed, JSONRPC: jsonrpc}
        for client in clients.values():
            await client.call("subscribe", {"channel": channel})
        data: Payload = dict(GOOD)
        if publisher == PACKED:
            data["seal"] = b"\xff\xff"
        published = await clients[publisher].call(
            "publish", {"channel": channel, "event": "e", "data": data}
        )
        assert published["data"] == {**WHOLE, "seal": data["seal"]}
        await app[MANAGER].publish(channel, "e", Order(7, b"\xff\xff", [Item("tea", 2)]))
        await app[MANAGER].publish(channel, "e", {**GOOD, "colour": "red"})
        for offset in (1, 2, 3):
            numbered = {"offset": offset} if channel == "orders:1" else {}
            for dialect, client in clients.items():
                seal = b"\xff\xff" if dialect == PACKED else "//8="
                assert await client.message() == {
                    "channel": channel,
                    "event": "e",
                    "data": {**WHOLE, "seal": seal},
                    **numbered,
                }
    assert inbox.messages == [(channel, "e", WHOLE)] * 3


@pytest.mark.parametrize("channel", ["orders:1", "drafts:1"])
async def test_a_field_that_the_type_has_not_is_a_clients_mistake(
    serve: Serve, channel: str
) -> None:
    app = application(sockets=SocketsManager(channels=TYPED))
    async with peer(await serve(app) / "stream") as client:
        await client.call("subscribe", {"channel": channel})
        data = {**GOOD, "items": [{"name": "tea", "price": 2, "cost": 1}], "colour": "red"}
        error = await client.error("publish", {"channel": channel, "data": data})
        assert error["errors"] == {
            "data.items[0].cost": "unknown field",
            "data.colour": "unknown field",
        }
        await client.call("publish", {"channel": channel, "event": "last", "data": GOOD})
        assert (await client.message())["event"] == "last"


@pytest.mark.parametrize("history", [0, 5])
async def test_what_a_type_leaves_open_keeps_its_bytes(serve: Serve, history: int) -> None:
    sockets = SocketsManager(channels=[ChannelRule("open", data=dict[str, Any], history=history)])
    url = await serve(application(sockets=sockets)) / "stream"
    data = {"raw": b"\x00\xff", "at": datetime(2026, 1, 2, tzinfo=UTC), "big": 2**63}
    async with speaking(url, PACKED) as packed, speaking(url) as native:
        for client in (packed, native):
            await client.call("subscribe", {"channel": "open"})
        await packed.call("publish", {"channel": "open", "data": data})
        assert (await packed.message())["data"] == data
        assert (await native.message())["data"] == {
            "raw": "AP8=",
            "at": "2026-01-02T00:00:00Z",
            "big": 2**63,
        }


async def test_what_is_kept_is_as_it_was_published(serve: Serve) -> None:
    sockets = SocketsManager(channels=TYPED)
    url = await serve(application(sockets=sockets)) / "stream"
    order = Order(7, b"\x00\xff")
    await sockets.publish("orders:1", "e", order)
    order.state = "paid"  # it is published already
    for dialect, seal in ((NATIVE, "AP8="), (JSONRPC, "AP8="), (PACKED, b"\x00\xff")):
        async with speaking(url, dialect) as client:
            found = await client.call("history", {"channel": "orders:1"})
            data: Payload = {"id": 7, "seal": seal, "items": [], "state": "new"}
            assert [message["data"] for message in found["messages"]] == [data]


async def test_untyped_bytes_and_dates_survive_messagepack_with_history_and_without(
    serve: Serve,
) -> None:
    sockets = SocketsManager(
        channels=[ChannelRule("kept", history=5), ChannelRule("typed", data=Any)]
    )
    url = await serve(application(sockets=sockets)) / "stream"
    async with speaking(url, PACKED) as one, speaking(url, PACKED) as other:
        for channel in ("kept", "typed", "plain"):
            await one.call("subscribe", {"channel": channel})
            data: Payload = {"raw": b"\x00\xff", "big": 2**63}
            await other.call("publish", {"channel": channel, "data": data})
            assert (await one.message())["data"] == data


async def test_a_typed_channel_without_history_gives_a_broker_plain_values() -> None:
    broker = Plain()
    async with SocketsManager(broker=broker, channels=[ChannelRule("drafts", data=Order)]) as node:
        await node.publish("drafts", "e", Order(7, b"\xff", [Item("tea", 2)]))
        await node.publish("other", "e", (1, 2))
    assert broker.published == [
        ("drafts", "e", {**WHOLE, "seal": b"\xff"}),
        ("other", "e", (1, 2)),
    ]


async def test_fields_that_need_not_be_there_stay_away() -> None:
    inbox = Inbox()
    async with SocketsManager(channels=TYPED) as sockets:
        await sockets.channels.register("ticks", "*", inbox)
        await sockets.publish("ticks", "", {"symbol": "A", "volume": 5})
        await sockets.publish("ticks", "", {"symbol": "A", "note": "x"})
    assert [data for _, _, data in inbox.messages] == [
        {"symbol": "A"},
        {"symbol": "A", "note": "x"},
    ]


async def test_what_the_server_says_itself_on_a_typed_channel_is_of_no_type() -> None:
    inbox = Inbox()
    async with SocketsManager(channels=TYPED) as sockets:
        await sockets.channels.register("orders:1", "*", inbox)
        assert await sockets.publish("orders:1", "$notice", "hello") is None
    assert inbox.messages == [("orders:1", "$notice", "hello")]


# --- how often may be published -----------------------------------------------------------------

HURRIED = [
    ChannelRule("chat:*", max_rate=5),
    ChannelRule("chat:slow:*", max_rate=0.5),
    ChannelRule("free:*"),
]


async def publish(client: Client, channel: str) -> Payload | None:
    """The error, if it is refused."""
    answer = await client.ask("publish", {"channel": channel, "data": 1})
    error: Payload | None = answer.get("error")
    return error


def hurried(scenario: Callable[[Linked, SocketsManager], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario in virtual time."""

    async def main() -> None:
        sockets = SocketsManager(channels=HURRIED, limits=Limits(ping_interval=None))
        async with Linked(application(sockets=sockets)) as server:
            await scenario(server, sockets)

    run(1, main)


def test_who_publishes_too_often_is_told_when_to_come_again() -> None:
    async def scenario(server: Linked, sockets: SocketsManager) -> None:
        client = await server.connect()
        for _ in range(2):
            for _ in range(5):
                assert await publish(client, "chat:1") is None
            assert await publish(client, "chat:1") == {
                "code": -32003,
                "message": "At most 5 messages a second may be published here",
                "data": {"limit": "max_rate", "max": 5},
                "retry_after": 200,
            }
            await asyncio.sleep(0.1994)
            error = await publish(client, "chat:1")
            assert error is not None
            assert error["retry_after"] == 1
            await asyncio.sleep(0.001)
            assert await publish(client, "chat:1") is None
            assert await publish(client, "chat:1") is not None
            await asyncio.sleep(1000)

    hurried(scenario)


def test_a_rate_is_of_all_channels_of_its_rule_and_of_no_others() -> None:
    async def scenario(server: Linked, sockets: SocketsManager) -> None:
        client = await server.connect()
        for number in range(5):
            assert await publish(client, f"chat:{number}") is None
        assert await publish(client, "chat:other") is not None
        assert await publish(client, "chat:slow:1") is None
        error = await publish(client, "chat:slow:2")
        assert error is not None
        assert (error["retry_after"], error["data"]["max"]) == (2000, 0.5)
        assert error["message"] == "At most 0.5 messages a second may be published here"
        for _ in range(100):
            assert await publish(client, "free:1") is None

    hurried(scenario)


def test_a_rate_is_of_one_connection_and_not_of_the_servers_own_code() -> None:
    async def scenario(server: Linked, sockets: SocketsManager) -> None:
        one, other = await server.connect(), await server.connect()
        assert await publish(one, "chat:slow:1") is None
        assert await publish(one, "chat:slow:1") is not None
        assert await publish(other, "chat:slow:1") is None
        for _ in range(20):
            await sockets.publish("chat:slow:1", "", 1)
        again = await server.connect()
        assert await publish(again, "chat:slow:1") is None

    hurried(scenario)


def test_what_is_refused_for_another_reason_counts_as_well() -> None:
    async def scenario(server: Linked, sockets: SocketsManager) -> None:
        client = await server.connect()
        answers = [
            await client.ask("publish", {"channel": "chat:slow:1", "event": event, "data": 1})
            for event in ("$join", "e" * 300, "fine", "late")
        ]
        codes = [answer.get("error", {}).get("code") for answer in answers]
        assert codes == [-32602, -32602, None, -32003]  # it had never come to the rule

    hurried(scenario)


# --- the first and the last of a channel --------------------------------------------------------


class Occupancy:
    """Hooks that note when they begin and end, and never overlap on one channel."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.ended: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self.called = asyncio.Event()
        self.failure: Exception | None = None
        self._busy: set[str] = set()

    @property
    def rule(self) -> ChannelRule:
        """The rule of every channel."""
        return ChannelRule("*", on_occupied=self.occupied, on_vacated=self.vacated)

    async def occupied(self, channel: str) -> None:
        """See ``on_occupied``."""
        await self._note(channel, "occupied")

    async def vacated(self, channel: str) -> None:
        """See ``on_vacated``."""
        await self._note(channel, "vacated")

    async def _note(self, channel: str, what: str) -> None:
        assert channel not in self._busy
        self._busy.add(channel)
        self.log.append(f"{channel} {what}")
        self.called.set()
        try:
            await self.go.wait()
            if self.failure is not None:
                raise self.failure
            self.ended.append(f"{channel} {what}")
        finally:
            self._busy.discard(channel)

    def hold(self) -> None:
        """Let hooks wait from now on."""
        self.go.clear()
        self.called.clear()


async def test_hooks_are_called_for_the_first_and_the_last_subscriber_of_a_channel(
    serve: Serve,
) -> None:
    hooks = Occupancy()
    sockets = SocketsManager(channels=[hooks.rule])
    url = await serve(application(sockets=sockets)) / "stream"
    async with peer(url) as one, peer(url) as other:
        await one.call("subscribe", {"channel": "a"})
        assert hooks.log == ["a occupied"]
        await one.call("subscribe", {"channel": "a", "event": "x"})
        await other.call("subscribe", {"channel": "a"})
        await other.call("subscribe", {"channel": "b"})
        await one.call("unsubscribe", {"channel": "a"})
        assert hooks.log == ["a occupied", "b occupied"]
        await other.call("unsubscribe", {"channel": "a"})
        assert hooks.log == ["a occupied", "b occupied", "a vacated"]
        await one.call("subscribe", {"channel": "a"})
        assert hooks.log == ["a occupied", "b occupied", "a vacated", "a occupied"]
    await sockets.drain()
    assert sorted(hooks.log[4:]) == ["a vacated", "b vacated"]


async def test_callbacks_and_subscriptions_of_the_server_count_as_subscribers() -> None:
    hooks, inbox = Occupancy(), Inbox()
    async with SocketsManager(channels=[hooks.rule]) as sockets:
        await sockets.channels.register("a", "*", inbox)
        assert hooks.log == ["a occupied"]
        async with sockets.subscription("a"):
            await sockets.channels.unregister("a", "*", inbox)
            assert hooks.log == ["a occupied"]
    assert hooks.log == ["a occupied", "a vacated"]


async def test_the_first_subscriber_waits_for_the_hook_and_other_channels_do_not(
    serve: Serve,
) -> None:
    hooks, inbox = Occupancy(), Inbox()
    only = ChannelRule("a", on_occupied=hooks.occupied)
    app = application(sockets=SocketsManager(channels=[only]))
    async with peer(await serve(app) / "stream") as client:
        hooks.hold()
        await client.send({"id": "a", "method": "subscribe", "payload": {"channel": "a"}})
        await hooks.called.wait()
        second = asyncio.create_task(app[MANAGER].channels.register("a", "*", inbox))
        await client.call("subscribe", {"channel": "b"})
        await app[MANAGER].publish("a", "early", 1)
        await app[MANAGER].publish("b", "b", 1)
        assert (await client.message())["event"] == "b"
        assert app[MANAGER].channels.info() == {"b": {"*": 1}}
        assert not second.done()
        hooks.go.set()
        assert (await client.receive())["id"] == "a"
        await second
        await app[MANAGER].publish("a", "a", 1)
        assert (await client.receive())["event"] == "a"
    assert inbox.messages == [("a", "a", 1)]


async def test_who_comes_while_the_channel_is_vacated_waits_and_finds_it_occupied_anew() -> None:
    hooks, one, other = Occupancy(), Inbox(), Inbox()
    async with SocketsManager(channels=[hooks.rule]) as sockets:
        await sockets.channels.register("a", "*", one)
        hooks.hold()
        leaving = asyncio.create_task(sockets.channels.unregister("a", "*", one))
        await hooks.called.wait()
        coming = asyncio.create_task(sockets.channels.register("a", "*", other))
        hooks.go.set()
        await asyncio.gather(leaving, coming)
        assert hooks.log == ["a occupied", "a vacated", "a occupied"]
        await sockets.publish("a", "", 1)
        assert (one.messages, other.messages) == ([], [("a", "", 1)])


async def test_who_waits_behind_the_first_one_finds_the_channel_occupied_though_that_left() -> None:
    hooks, one, other = Occupancy(), Inbox(), Inbox()
    async with SocketsManager(channels=[hooks.rule]) as sockets:
        hooks.hold()
        first = asyncio.create_task(sockets.channels.register("a", "*", one))
        await hooks.called.wait()
        second = asyncio.create_task(sockets.channels.register("a", "*", other))
        await asyncio.sleep(0)  # it waits behind the first one
        hooks.go.set()
        await first
        await sockets.channels.unregister("a", "*", one)
        await second
        await sockets.publish("a", "", 1)
        assert other.messages == [("a", "", 1)]
        await sockets.channels.unregister("a", "*", other)
    assert hooks.log == ["a occupied", "a vacated"] * (len(hooks.log) // 2)
    assert hooks.log == hooks.ended


async def test_who_waits_behind_a_first_one_that_gives_up_finds_the_channel_occupied() -> None:
    hooks, one, other = Occupancy(), Inbox(), Inbox()
    async with SocketsManager(channels=[hooks.rule]) as sockets:
        hooks.hold()
        first = asyncio.create_task(sockets.channels.register("a", "*", one))
        await hooks.called.wait()
        second = asyncio.create_task(sockets.channels.register("a", "*", other))
        await asyncio.sleep(0)  # it waits behind the first one
        first.cancel()
        await asyncio.wait([first])
        hooks.go.set()
        await second
        assert first.cancelled()
        assert hooks.ended[-1:] == ["a occupied"]
        await sockets.channels.unregister("a", "*", other)
    assert hooks.log == ["a occupied", "a vacated"] * (len(hooks.log) // 2)


async def test_who_leaves_while_the_channel_is_being_occupied_has_it_vacated_behind_that() -> None:
    hooks, inbox = Occupancy(), Inbox()
    async with SocketsManager(channels=[hooks.rule]) as sockets:
        hooks.hold()
        coming = asyncio.create_task(sockets.channels.register("a", "*", inbox))
        await hooks.called.wait()
        coming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await coming
        hooks.go.set()
    assert hooks.log == ["a occupied", "a vacated"]
    assert sockets.channels.info() == {}


@pytest.mark.parametrize("hook", ["on_occupied", "on_vacated"])
async def test_one_hook_alone_is_called_too(hook: str) -> None:
    hooks, inbox = Occupancy(), Inbox()
    function = hooks.occupied if hook == "on_occupied" else hooks.vacated
    rule = ChannelRule("a", **{hook: function})  # type: ignore[arg-type]
    async with SocketsManager(channels=[rule]) as sockets:
        for _ in range(2):
            await sockets.channels.register("a", "*", inbox)
            await sockets.channels.unregister("a", "*", inbox)
    assert hooks.log == [f"a {hook[3:]}"] * 2


async def test_a_hook_that_fails_is_logged_and_the_next_one_is_called_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, inbox = Occupancy(), Inbox()
    hooks.failure = ValueError("a bug in the hook")
    async with SocketsManager(channels=[hooks.rule]) as sockets:
        for _ in range(2):
            await sockets.channels.register("a", "*", inbox)
            await sockets.publish("a", "", 1)
            await sockets.channels.unregister("a", "*", inbox)
    assert hooks.log == ["a occupied", "a vacated"] * 2
    assert len(inbox.messages) == 2
    assert [record.message.split(" failed ")[1] for record in caplog.records] == [
        "for channel 'a'"
    ] * 4
    assert "a bug in the hook" in caplog.text


@pytest.mark.parametrize("hook", ["on_occupied", "on_vacated"])
@pytest.mark.parametrize("way", ["register", "subscription"])
async def test_a_hook_that_would_wait_for_itself_is_told_so(
    caplog: pytest.LogCaptureFixture, hook: str, way: str
) -> None:
    async def again(channel: str) -> None:
        if way == "register":
            await sockets.channels.register(channel, "*", Inbox())
        else:
            async with sockets.subscription(channel):
                pass

    inbox = Inbox()
    rule = ChannelRule("a", **{hook: again})  # type: ignore[arg-type]
    async with SocketsManager(channels=[rule]) as sockets:
        await sockets.channels.register("a", "*", inbox)
        await sockets.publish("a", "", 1)
        await sockets.channels.unregister("a", "*", inbox)
    assert inbox.messages == [("a", "", 1)]
    assert (
        "a hook of the channel 'a' subscribes to it, and whoever subscribes waits for the hook:"
        " start a task there, and let that subscribe"
    ) in caplog.text


async def test_a_hook_may_use_other_channels_and_start_what_uses_its_own() -> None:
    tasks: list[asyncio.Task[Any]] = []
    own, other = Inbox(), Inbox()

    async def occupied(channel: str) -> None:
        await sockets.channels.register("other", "*", other)
        await sockets.publish("other", "", channel)
        await sockets.publish(channel, "", "nobody is there")
        tasks.append(asyncio.create_task(sockets.channels.register(channel, "*", own)))

    async with SocketsManager(channels=[ChannelRule("a", on_occupied=occupied)]) as sockets:
        async with sockets.subscription("a") as messages:
            await asyncio.gather(*tasks)
            await sockets.publish("a", "", 1)
            assert (await anext(messages)).data == 1
    assert own.messages == [("a", "", 1)]
    assert other.messages == [("other", "", "a")]


def test_a_hook_that_does_not_return_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        hooks = Occupancy()
        hooks.hold()
        async with SocketsManager(channels=[hooks.rule]) as sockets:
            coming = asyncio.create_task(sockets.channels.register("a", "*", Inbox()))
            await asyncio.sleep(100)
            assert not coming.done()
            hooks.go.set()
            await coming
            assert len(sockets.channels.occupancy) == 1
            sockets.channels.clear()
            assert len(sockets.channels.occupancy) == 0

    run(1, main)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "still runs for channel 'a', and nobody can subscribe meanwhile" in record.message


async def test_while_too_many_channels_are_being_left_the_next_subscription_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(Plain):
        go = asyncio.Event()

        async def unsubscribe(self, channel: str) -> None:
            await self.go.wait()

    monkeypatch.setattr(occupancy, "_VACATING", 3)
    broker, inbox = Slow(), Inbox()
    async with SocketsManager(broker=broker) as sockets:
        for number in range(4):
            await sockets.channels.register(f"c{number}", "*", inbox)
            sockets.channels.leave(inbox)
        coming = asyncio.create_task(sockets.channels.register("last", "*", inbox))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not coming.done()
        broker.go.set()
        await coming
        assert sockets.channels.info() == {"last": {"*": 1}}


async def test_where_the_broker_refuses_the_channel_no_hook_is_called() -> None:
    class Refusing(Plain):
        async def subscribe(self, channel: str) -> None:
            raise CannotSubscribe(channel)

    class Broken(Plain):
        async def subscribe(self, channel: str) -> None:
            raise OSError("the wire is cut")

    hooks = Occupancy()
    for broker, error in ((Refusing(), InvalidData), (Broken(), OSError)):
        async with SocketsManager(broker=broker, channels=[hooks.rule]) as sockets:
            with pytest.raises(error):
                await sockets.channels.register("a", "*", Inbox())
    assert hooks.log == []


def test_in_any_order_of_coming_and_going_hooks_take_turns() -> None:
    async def main() -> int:
        rng, hooks = running_loop().rng, Occupancy()
        hooks.hold()
        inboxes = [Inbox() for _ in range(3)]

        async def come_and_go(inbox: Inbox) -> None:
            for _ in range(3):
                await pause(most=9)
                await sockets.channels.register("a", "*", inbox)
                await sockets.publish("a", "", 1)
                assert inbox.messages
                await pause()
                await sockets.channels.unregister("a", "*", inbox)

        async def let_go() -> None:
            for _ in range(60):
                await pause()
                hooks.go.set()
                await asyncio.sleep(0)
                hooks.go.clear()
            hooks.go.set()

        async with SocketsManager(channels=[hooks.rule]) as sockets:
            tasks = [asyncio.create_task(come_and_go(inbox)) for inbox in inboxes]
            letting = asyncio.create_task(let_go())
            if rng.random() < 0.5:
                await pause(most=20)
                rng.choice(tasks).cancel()
            await asyncio.wait([*tasks, letting])
            for inbox in inboxes:
                sockets.channels.leave(inbox)
        assert hooks.log == ["a occupied", "a vacated"] * (len(hooks.log) // 2)
        assert all(task.cancelled() or task.exception() is None for task in tasks)
        return len(hooks.log) // 2

    times = {run(seed, main) for seed in range(500)}
    assert {1, 2, 3} <= times  # sometimes they overlap, and sometimes it is empty in between
