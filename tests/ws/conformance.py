"""What every broker is held against: all that ``ws/broker.py`` says.

    class TestMemoryBroker(Carrying, KeepingHistory):
        @pytest.fixture
        async def world(self) -> AsyncIterator[World]:
            yield MemoryWorld()

A test class derives from :class:`Carrying`, and from one class more for each ability of its broker.
Of an ability that it has not there are no tests, but one that says so. :class:`Ordering` is for
brokers that promise more of plain messages than all must. No test looks inside of a broker, or
takes it that a message is there at once.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pytest

from openapi.errors import (
    BrokerUnavailable,
    CannotPublish,
    CannotSubscribe,
    InvalidData,
    Unserializable,
)
from openapi.protocol.publication import Data
from openapi.protocol.stream import Page, Position, Retention
from openapi.ws.broker import (
    KEY_SECONDS,
    KeepsHistory,
    KeepsPresence,
    Member,
    PublishesOnce,
    Refreshed,
    Supervised,
)
from tests.ws.broker_nodes import Message, Node, Open, World, offsets_of, values_of

__all__ = [
    "Carrying",
    "KeepingHistory",
    "KeepingPresence",
    "Ordering",
    "PublishingOnce",
    "Supervising",
    "SupervisingHistory",
]

KEPT: Final = Retention(messages=100, seconds=3600.0)
UNBOUNDED: Final = Retention(messages=1_000_000, seconds=365 * 86400.0)
"""More than anybody wants."""
ALL: Final = 1000
TTL: Final = 60.0

#: Names that mean something to one server or another, and nothing to us.
CHANNELS: Final = [
    "orders:7",
    "a b",
    "a.b",
    ".a..b.",
    "*",
    ">",
    "a.*",
    "a.>",
    "[a-c]?",
    "{tag}x",
    "}{",
    "$SYS.x",
    "a/b\\c",
    "a\nb",
    "'\"%s%00",
    "ünï ☃ 🎈",
    "x" * 255,
    "☃" * 85,
]

VALUES: Final[list[Any]] = [
    None,
    False,
    0,
    -1.5,
    2**63,
    "",
    "\u0000\u2028☃🎈",
    [],
    {},
    [{"a": [1, None, {"b": "c"}]}, "d"],
    "x" * 60_000,
]


class _Suite:
    """What the parts of the suite share. A test class has the fixture ``world``."""

    @pytest.fixture
    async def nodes(self, world: World) -> AsyncIterator[Open]:
        opened: list[Node] = []

        async def start(
            count: int, *, pause: Callable[[], Awaitable[object]] | None = None
        ) -> list[Node]:
            new = [Node(each, world.patience, pause) for each in await world.brokers(count)]
            for node in new:
                await node.open()
            opened.extend(new)
            return new

        yield start
        for node in opened:
            await node.broker.aclose()


class Carrying(_Suite):
    """What :class:`~openapi.ws.broker.Broker` promises."""

    async def test_it_has_the_abilities_that_it_is_tested_for_and_no_others(
        self, nodes: Open
    ) -> None:
        (node,) = await nodes(1)
        tested = {
            KeepsHistory: isinstance(self, KeepingHistory),
            PublishesOnce: isinstance(self, PublishingOnce),
            KeepsPresence: isinstance(self, KeepingPresence),
            Supervised: isinstance(self, Supervising),
        }
        assert {ability: isinstance(node.broker, ability) for ability in tested} == tested

    async def test_a_message_reaches_every_node_that_is_subscribed_its_publishers_too(
        self, nodes: Open
    ) -> None:
        one, other, third = await nodes(3)
        for node in (one, other):
            await node.broker.subscribe("c")
        await one.broker.publish("c", "done", {"n": 1})
        for node in (one, other):
            assert await node.messages("c", 1) == [Message("done", {"n": 1})]
        await third.broker.subscribe("c")
        assert await third.so_far("c", one) == []

    async def test_what_nobody_hears_goes_nowhere_and_is_no_error(self, nodes: Open) -> None:
        (node,) = await nodes(1)
        await node.broker.publish("c", "", 1)
        await node.broker.subscribe("c")
        assert await node.so_far("c", node) == []

    async def test_messages_of_other_channels_do_not_come(self, nodes: Open) -> None:
        one, other = await nodes(2)
        for channel in CHANNELS[::2]:
            await one.broker.subscribe(channel)
        for channel in CHANNELS:
            await other.broker.publish(channel, "", channel)
        for channel in CHANNELS[1::2]:
            await one.broker.subscribe(channel)
            assert await one.so_far(channel, other) == []
        for channel in CHANNELS[::2]:
            assert await one.so_far(channel, other) == [Message("", channel)]

    @pytest.mark.parametrize("event", ["", "done", "a.*", "ünï ☃", "a b\n\x00", "x" * 255])
    async def test_an_event_is_any_text(self, nodes: Open, event: str) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        await other.broker.publish("c", event, None)
        assert await one.messages("c", 1) == [Message(event)]

    async def test_data_is_whatever_has_a_json_form(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        for value in VALUES:
            await other.broker.publish("c", "", value)
        assert [each.data for each in await one.messages("c", len(VALUES))] == VALUES

    async def test_data_may_be_written_already(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        await other.broker.publish("c", "", Data.of([1]))
        assert await one.messages("c", 1) == [Message("", [1])]

    async def test_a_message_is_what_it_was_when_it_was_published(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        data = [1]
        await other.broker.publish("c", "", data)
        data.append(2)
        assert await one.messages("c", 1) == [Message("", [1])]

    async def test_data_without_a_json_form_is_refused_whoever_is_subscribed(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        for subscribed in ([], [one], [one, other]):
            for node in subscribed:
                await node.broker.subscribe("c")
            with pytest.raises(Unserializable):
                await one.broker.publish("c", "", object())
        assert await one.so_far("c", other) == await other.so_far("c", one) == []

    async def test_messages_come_in_the_order_in_which_they_were_published(
        self, nodes: Open
    ) -> None:
        one, other, third = await nodes(3, pause=lambda: asyncio.sleep(0))
        for node in (one, other):
            await node.broker.subscribe("c")
        for number in range(200):
            await third.broker.publish("c", "", number)
        for node in (one, other):
            delivered = await node.messages("c", 200)
            assert [each.data for each in delivered] == list(range(200))

    async def test_a_node_that_is_stuck_keeps_nothing_from_the_others(self, nodes: Open) -> None:
        freed = asyncio.Event()
        (stuck,) = await nodes(1, pause=freed.wait)
        one, other = await nodes(2)
        for node in (stuck, one, other):
            await node.broker.subscribe("c")
        publishing = asyncio.create_task(other.broker.publish("c", "", 1))
        for node in (stuck, one, other):
            assert await node.messages("c", 1) == [Message("", 1)]
        freed.set()
        await publishing

    async def test_subscribing_twice_is_subscribing_once(self, nodes: Open) -> None:
        one, other = await nodes(2)
        for _ in range(2):
            await one.broker.subscribe("c")
        await other.broker.publish("c", "", 1)
        assert await one.so_far("c", other) == [Message("", 1)]
        await one.broker.unsubscribe("c")
        await other.broker.publish("c", "", 2)
        await one.broker.subscribe("c")
        assert await one.so_far("c", other) == [Message("", 1)]

    async def test_unsubscribing_ends_it_for_that_node_alone_and_is_harmless_again(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        await one.broker.unsubscribe("c")
        for node in (one, other):
            await node.broker.subscribe("c")
            await node.broker.subscribe("d")
        for _ in range(2):
            await one.broker.unsubscribe("c")
        await other.broker.publish("c", "", 1)
        await other.broker.publish("d", "", 2)
        assert await other.so_far("c", one) == [Message("", 1)]
        assert await one.so_far("d", other) == [Message("", 2)]
        await one.broker.subscribe("c")
        assert await one.so_far("c", other) == []

    @pytest.mark.parametrize("channel", ["$", "$nodes", "$node:4f.*", "$SYS.REQ", "$JS.API.INFO"])
    async def test_a_channel_of_the_manager_is_one_like_others(
        self, nodes: Open, channel: str
    ) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe(channel)
        await other.broker.publish(channel, "$asked", {"n": 1})
        assert await one.so_far(channel, other) == [Message("$asked", {"n": 1})]
        await one.broker.unsubscribe(channel)
        await other.broker.publish(channel, "$asked", {"n": 2})
        await one.broker.subscribe(channel)
        assert await one.so_far(channel, other) == [Message("$asked", {"n": 1})]

    async def test_nothing_is_missed_from_the_moment_when_subscribe_returns(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        for channel in map("c{}".format, range(10)):
            count, ends = 0, asyncio.Event()
            under_way = asyncio.Event()

            async def publish(
                channel: str = channel,
                ends: asyncio.Event = ends,
                under_way: asyncio.Event = under_way,
            ) -> None:
                nonlocal count
                while not ends.is_set():
                    count += 1
                    await other.broker.publish(channel, "", count)
                    await asyncio.sleep(0)
                    if count == 5:
                        under_way.set()

            publishing = asyncio.create_task(publish())
            await under_way.wait()
            await one.broker.subscribe(channel)
            first = count + 1  # what is under way now may be missed
            await one.messages(channel, 3)
            ends.set()
            await publishing
            heard = [each.data for each in await one.so_far(channel, other)]
            assert heard == list(range(heard[0], count + 1))
            assert heard[0] <= first

    async def test_many_channels_may_be_subscribed_to_at_once(self, nodes: Open) -> None:
        one, other = await nodes(2)
        channels = [f"c{number}" for number in range(200)]
        await asyncio.gather(*map(one.broker.subscribe, channels))
        await asyncio.gather(
            *map(one.broker.unsubscribe, channels[::2]),
            *(other.broker.publish(channel, "", channel) for channel in channels[1::2]),
        )
        for channel in channels[1::2]:
            assert await one.messages(channel, 1) == [Message("", channel)]

    async def test_what_is_closed_refuses_and_others_live_on(self, nodes: Open) -> None:
        one, other = await nodes(2)
        for node in (one, other):
            await node.broker.subscribe("c")
        for _ in range(2):
            await one.broker.aclose()
        with pytest.raises(CannotPublish):
            await one.broker.publish("c", "", 1)
        with pytest.raises(CannotSubscribe):
            await one.broker.subscribe("c")
        await other.broker.publish("c", "", 2)
        assert await other.so_far("c", other) == [Message("", 2)]
        assert one.delivered == {}

    async def test_what_was_never_opened_can_be_closed(self, world: World) -> None:
        (broker,) = await world.brokers(1)
        await broker.aclose()


class Ordering(_Suite):
    """What a broker promises that has one order for all: whoever publishes, it is the same."""

    async def test_what_many_publish_at_once_comes_in_one_order_everywhere(
        self, nodes: Open
    ) -> None:
        one, other, third = await nodes(3, pause=lambda: asyncio.sleep(0))
        for node in (one, other, third):
            await node.broker.subscribe("c")
        publishers = [one, other] * 25
        await asyncio.gather(
            *(node.broker.publish("c", "", n) for n, node in enumerate(publishers))
        )
        first = await one.messages("c", 50)
        assert sorted(each.data for each in first) == list(range(50))
        assert await other.messages("c", 50) == first
        assert await third.messages("c", 50) == first


async def append(node: Node, values: Iterable[int], retention: Retention = KEPT) -> Position:
    """Append some messages on the channel ``c``, one by one; returns the last position."""
    positions = [await node.history.append("c", "", value, retention=retention) for value in values]
    offsets = [position.offset for position in positions]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
    return positions[-1]


class KeepingHistory(_Suite):
    """What :class:`~openapi.ws.broker.KeepsHistory` promises."""

    async def test_a_stream_begins_when_it_is_first_read_and_its_first_message_is_number_1(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        top = (await one.history.history("c", retention=KEPT, limit=0)).top
        assert (top.offset, bool(top.epoch)) == (0, True)
        page = await other.history.history("c", retention=KEPT, limit=ALL)
        assert (list(page.messages), page.top) == ([], top)
        position = await other.history.append("c", "", 1, retention=KEPT)
        assert position == Position(1, top.epoch)

    async def test_a_stream_begins_when_it_is_first_appended_to(self, nodes: Open) -> None:
        one, other = await nodes(2)
        position = await one.history.append("c", "", 1, retention=KEPT)
        assert position.offset == 1
        assert (await other.history.history("c", retention=KEPT, limit=0)).top == position

    async def test_those_who_begin_a_stream_at_the_same_time_begin_the_same(
        self, nodes: Open
    ) -> None:
        several = await nodes(4)
        for channel in map("c{}".format, range(10)):
            reads = [node.history.history(channel, retention=KEPT, limit=0) for node in several[:3]]
            *pages, position = await asyncio.gather(
                *reads, several[3].history.append(channel, "", 1, retention=KEPT)
            )
            assert isinstance(position, Position)
            assert position.offset == 1
            for page in pages:
                assert isinstance(page, Page)
                assert page.top.epoch == position.epoch

    async def test_streams_are_each_channels_own(self, nodes: Open) -> None:
        (node,) = await nodes(1)
        tops = {
            channel: await node.history.append(channel, "", channel, retention=KEPT)
            for channel in CHANNELS
        }
        assert {top.offset for top in tops.values()} == {1}
        assert len({top.epoch for top in tops.values()}) == len(CHANNELS)
        for channel in CHANNELS:
            page = await node.history.history(channel, retention=KEPT, limit=ALL)
            assert (values_of(page), page.top) == ([channel], tops[channel])

    async def test_a_message_is_in_history_everywhere_when_append_returns(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        for number, (writer, reader) in enumerate([(one, other), (other, one)] * 10, 1):
            position = await writer.history.append("c", f"e{number}", number, retention=KEPT)
            page = await reader.history.history("c", retention=KEPT, limit=1, reverse=True)
            (message,) = page.messages
            assert page.top == position
            assert (message.offset, message.event) == (number, f"e{number}")
            assert json.loads(message.data.json) == number

    async def test_a_message_is_delivered_with_its_position(self, nodes: Open) -> None:
        one, other, third = await nodes(3)
        for node in (one, other):
            await node.broker.subscribe("c")
        position = await one.history.append("c", "done", {"n": 1}, retention=KEPT)
        for node in (one, other):
            assert await node.streamed("c", position) == [Message("done", {"n": 1}, position)]
        assert third.delivered == {}

    async def test_what_is_only_published_has_no_number_and_is_not_kept(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        first = await other.history.append("c", "", 1, retention=KEPT)
        await other.broker.publish("c", "", 2)
        second = await other.history.append("c", "", 3, retention=KEPT)
        assert (first.offset, second.offset) == (1, 2)
        delivered = await one.messages("c", 3)
        assert [each.position for each in delivered if each.data == 2] == [None]
        assert values_of(await one.history.history("c", retention=KEPT, limit=ALL)) == [1, 3]

    async def test_what_many_append_at_once_has_every_number_once_and_comes_in_order(
        self, nodes: Open
    ) -> None:
        one, other, third = await nodes(3, pause=lambda: asyncio.sleep(0))
        for node in (one, other, third):
            await node.broker.subscribe("c")
        positions = await asyncio.gather(
            *(
                node.history.append("c", "", number, retention=KEPT)
                for number, node in enumerate([one, other] * 25)
            )
        )
        (epoch,) = {position.epoch for position in positions}
        assert sorted(position.offset for position in positions) == list(range(1, 51))
        page = await third.history.history("c", retention=KEPT, limit=ALL)
        assert offsets_of(page) == list(range(1, 51))
        assert page.top == Position(50, epoch)
        values = dict(zip((each.offset for each in positions), range(50), strict=True))
        assert values_of(page) == [values[offset] for offset in range(1, 51)]
        for node in (one, other, third):
            assert await node.streamed("c", page.top) == [
                Message("", values[offset], Position(offset, epoch)) for offset in range(1, 51)
            ]

    async def test_a_node_that_is_stuck_keeps_no_position_from_the_others(
        self, nodes: Open
    ) -> None:
        freed = asyncio.Event()
        (stuck,) = await nodes(1, pause=freed.wait)
        one, other = await nodes(2)
        for node in (stuck, one, other):
            await node.broker.subscribe("c")
        appending = [
            asyncio.create_task(other.history.append("c", "", number, retention=KEPT))
            for number in range(1, 4)
        ]
        for node in (one, other):
            delivered = await node.messages("c", 3)
            assert [each.data for each in delivered] == [1, 2, 3]
        freed.set()
        for offset, position in enumerate(await asyncio.gather(*appending), 1):
            assert position.offset == offset

    async def test_whoever_is_cancelled_leaves_no_number_out(self, nodes: Open) -> None:
        one, other = await nodes(2, pause=lambda: asyncio.sleep(0))
        for node in (one, other):
            await node.broker.subscribe("c")
        for turns in range(6):
            appending = [
                asyncio.create_task(one.history.append("c", "", number, retention=KEPT))
                for number in range(5)
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in appending[::2]:
                task.cancel()
            await asyncio.gather(*appending, return_exceptions=True)
        top = await other.history.append("c", "", None, retention=KEPT)
        page = await one.history.history("c", retention=KEPT, limit=top.offset)
        assert offsets_of(page) == list(range(1, top.offset + 1))
        for node in (one, other):
            delivered = await node.streamed("c", top)
            positions = [each.position for each in delivered[: top.offset]]
            assert positions == [Position(offset, top.epoch) for offset in offsets_of(page)]

    async def test_of_more_than_are_kept_the_oldest_go_and_the_numbers_go_on(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        few = Retention(messages=3, seconds=KEPT.seconds)
        top = await append(one, range(1, 6), few)
        page = await other.history.history("c", retention=few, limit=ALL)
        assert (offsets_of(page), values_of(page), page.top.offset) == ([3, 4, 5], [3, 4, 5], 5)
        page = await other.history.history(
            "c", retention=few, since=Position(1, top.epoch), limit=ALL
        )
        assert offsets_of(page) == [3, 4, 5]

    async def test_whatever_a_rule_may_promise_can_be_kept(self, nodes: Open, world: World) -> None:
        one, other = await nodes(2)
        most = one.history.most or UNBOUNDED
        assert most.messages >= KEPT.messages
        assert most.seconds >= KEPT.seconds
        top = await append(one, range(1, 4), most)
        await world.pass_time(most.seconds / 2)
        page = await other.history.history("c", retention=most, limit=ALL)
        assert (values_of(page), page.top) == ([1, 2, 3], top)

    async def test_messages_go_with_their_time_and_the_epoch_stays(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        minute = Retention(messages=100, seconds=60.0)
        first = await one.history.append("c", "", 1, retention=minute)
        await world.pass_time(40)
        await one.history.append("c", "", 2, retention=minute)
        page = await other.history.history("c", retention=minute, limit=ALL)
        assert offsets_of(page) == [1, 2]
        await world.pass_time(40)
        page = await other.history.history("c", retention=minute, limit=ALL)
        assert (offsets_of(page), page.top) == ([2], Position(2, first.epoch))
        await world.pass_time(40)
        page = await one.history.history("c", retention=minute, limit=ALL)
        assert (offsets_of(page), page.top) == ([], Position(2, first.epoch))
        position = await other.history.append("c", "", 3, retention=minute)
        assert position == Position(3, first.epoch)
        page = await one.history.history("c", retention=minute, limit=ALL)
        assert offsets_of(page) == [3]

    async def test_what_is_kept_may_be_another_number_and_another_time_from_call_to_call(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        await append(one, range(1, 7))
        fewer = Retention(messages=4, seconds=KEPT.seconds)
        page = await other.history.history("c", retention=fewer, limit=2)
        assert offsets_of(page) == [3, 4]
        page = await other.history.history(
            "c", retention=fewer, since=Position(5, page.top.epoch), limit=ALL, reverse=True
        )
        assert offsets_of(page) == [4, 3]
        await append(one, [7], fewer)
        await append(one, range(8, 11))
        page = await other.history.history("c", retention=KEPT, limit=ALL)
        assert offsets_of(page) == list(range(4, 11))
        await world.pass_time(100)
        await one.history.append("c", "", 11, retention=KEPT)
        shorter = Retention(messages=100, seconds=60.0)
        page = await other.history.history("c", retention=shorter, limit=ALL)
        assert (offsets_of(page), page.top.offset) == ([11], 11)

    async def test_history_is_read_forwards_page_by_page(self, nodes: Open) -> None:
        one, other = await nodes(2)
        top = await append(one, range(1, 8))
        pages: list[list[int]] = []
        since: Position | None = None
        while since != top:
            page = await other.history.history("c", retention=KEPT, since=since, limit=3)
            assert page.top == top
            pages.append(offsets_of(page))
            since = Position(pages[-1][-1], top.epoch)
        assert pages == [[1, 2, 3], [4, 5, 6], [7]]
        page = await other.history.history(
            "c", retention=KEPT, since=Position(0, top.epoch), limit=2
        )
        assert offsets_of(page) == [1, 2]

    async def test_history_is_read_backwards_page_by_page(self, nodes: Open) -> None:
        one, other = await nodes(2)
        top = await append(one, range(1, 8))
        pages: list[list[int]] = []
        since: Position | None = None
        while since is None or since.offset > 1:
            page = await other.history.history(
                "c", retention=KEPT, since=since, limit=3, reverse=True
            )
            assert page.top == top
            pages.append(offsets_of(page))
            since = Position(pages[-1][-1], top.epoch)
        assert pages == [[7, 6, 5], [4, 3, 2], [1]]

    async def test_where_nothing_is_to_be_found_there_is_the_top(self, nodes: Open) -> None:
        (node,) = await nodes(1)
        top = await append(node, range(1, 4))
        for since, limit, reverse in (
            (top, ALL, False),
            (Position(99, top.epoch), ALL, False),
            (Position(1, top.epoch), ALL, True),
            (Position(0, top.epoch), ALL, True),
            (None, 0, False),
            (None, 0, True),
            (Position(1, top.epoch), 0, False),
            (Position(1, "another"), ALL, False),
            (Position(3, "another"), ALL, True),
            (Position(3, ""), ALL, True),
        ):
            page = await node.history.history(
                "c", retention=KEPT, since=since, limit=limit, reverse=reverse
            )
            assert (list(page.messages), page.top) == ([], top)

    async def test_a_stream_that_was_lost_begins_anew_with_another_epoch(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        await other.broker.subscribe("c")
        old = await append(one, range(1, 4))
        await other.streamed("c", old)
        await world.lose("c")
        top = await append(one, range(-1, -6, -1))
        assert top.offset == 5
        assert top.epoch != old.epoch
        delivered = await other.streamed("c", top)
        assert [each.position for each in delivered[3:]] == [
            Position(offset, top.epoch) for offset in range(1, 6)
        ]
        for since, reverse in ((old, False), (old, True), (Position(0, old.epoch), False)):
            page = await other.history.history(
                "c", retention=KEPT, since=since, limit=ALL, reverse=reverse
            )
            assert (list(page.messages), page.top) == ([], top)
        page = await other.history.history("c", retention=KEPT, limit=ALL)
        assert values_of(page) == [-1, -2, -3, -4, -5]

    async def test_a_stream_that_was_lost_and_is_read_first_has_no_messages(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        old = await one.history.append("c", "", 1, retention=KEPT)
        await one.history.append("d", "", 1, retention=KEPT)
        await world.lose("c")
        page = await other.history.history("c", retention=KEPT, since=old, limit=ALL)
        assert (list(page.messages), page.top.offset) == ([], 0)
        assert page.top.epoch != old.epoch
        assert await one.history.append("c", "", 2, retention=KEPT) == Position(1, page.top.epoch)
        assert (await one.history.append("d", "", 2, retention=KEPT)).offset == 2

    async def test_between_subscribing_and_reading_history_nothing_is_lost(
        self, nodes: Open
    ) -> None:
        one, other, third = await nodes(3)
        for channel in map("c{}".format, range(10)):
            ends, under_way = asyncio.Event(), asyncio.Event()

            async def go_on(
                node: Node,
                channel: str = channel,
                ends: asyncio.Event = ends,
                under_way: asyncio.Event = under_way,
            ) -> None:
                while not ends.is_set():
                    position = await node.history.append(channel, "", None, retention=KEPT)
                    if position.offset >= 5:
                        under_way.set()
                    if position.offset >= KEPT.messages - 10:
                        return
                    await asyncio.sleep(0)

            appending = [asyncio.create_task(go_on(node)) for node in (one, other)]
            await under_way.wait()
            await third.broker.subscribe(channel)
            page = await third.history.history(channel, retention=KEPT, limit=ALL)
            ends.set()
            await asyncio.gather(*appending)
            top = await one.history.append(channel, "", None, retention=KEPT)
            assert offsets_of(page) == list(range(1, page.top.offset + 1))
            live = [
                each.position.offset
                for each in await third.streamed(channel, top)
                if each.position is not None and each.position.epoch == page.top.epoch
            ]
            assert live == list(range(live[0], top.offset + 1))
            assert live[0] <= page.top.offset + 1

    async def test_data_is_kept_in_each_format_as_it_was(self, nodes: Open) -> None:
        one, other = await nodes(2)
        values = [*VALUES, {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "raw": b"\x00\xff"}]
        for value in values:
            await one.history.append("c", "", value, retention=KEPT)
        await one.history.append("c", "", Data.of(values[-1]), retention=KEPT)
        page = await other.history.history("c", retention=KEPT, limit=ALL)
        kept = [(each.data.json, each.data.packed) for each in page.messages]
        expected = [Data.of(value) for value in (*values, values[-1])]
        assert kept == [(each.json, each.packed) for each in expected]
        times = [each.at for each in page.messages]
        assert times == sorted(times)

    async def test_data_that_has_a_json_form_only_is_kept_in_that(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await other.broker.subscribe("c")
        top = await one.history.append("c", "", {"n": 2**70}, retention=KEPT)
        assert await other.streamed("c", top) == [Message("", {"n": 2**70}, top)]
        page = await other.history.history("c", retention=KEPT, limit=ALL)
        assert values_of(page) == [{"n": 2**70}]
        with pytest.raises(Unserializable):
            _ = page.messages[0].data.packed

    async def test_a_message_is_kept_as_it_was_when_it_was_appended(self, nodes: Open) -> None:
        (node,) = await nodes(1)
        data = [1]
        await node.history.append("c", "", data, retention=KEPT)
        data.append(2)
        page = await node.history.history("c", retention=KEPT, limit=ALL)
        assert values_of(page) == [[1]]

    async def test_what_is_refused_uses_no_number(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        await one.history.append("c", "", 1, retention=KEPT, key="k")
        for key in (None, "new"):
            with pytest.raises(Unserializable):
                await one.history.append("c", "", object(), retention=KEPT, key=key)
        with pytest.raises(InvalidData):
            await one.history.append("c", "", 2, retention=KEPT, key="k")
        await other.broker.aclose()
        with pytest.raises(CannotPublish):
            await other.history.append("c", "", 3, retention=KEPT)
        top = await one.history.append("c", "", 4, retention=KEPT, key="new")
        assert top.offset == 2
        assert [each.data for each in await one.streamed("c", top)] == [1, 4]

    async def test_a_key_makes_a_retry_return_the_position_and_do_nothing(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        position = await one.history.append("c", "done", {"n": [1]}, retention=KEPT, key="k")
        await one.history.append("c", "", None, retention=KEPT)
        for node in (one, other, other):
            again = await node.history.append("c", "done", {"n": [1]}, retention=KEPT, key="k")
            assert again == position
        top = await other.history.append("c", "", None, retention=KEPT)
        assert top.offset == 3
        assert len(await one.streamed("c", top)) == 3
        assert offsets_of(await one.history.history("c", retention=KEPT, limit=ALL)) == [1, 2, 3]

    async def test_of_those_who_append_at_once_with_one_key_one_does(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        positions = await asyncio.gather(
            *(
                node.history.append("c", "", 1, retention=KEPT, key="k")
                for node in [one, other] * 10
            )
        )
        assert {position.offset for position in positions} == {1}
        top = await other.history.append("c", "", 2, retention=KEPT)
        assert [each.data for each in await one.streamed("c", top)] == [1, 2]

    async def test_a_key_is_one_channels_and_one_messages(self, nodes: Open) -> None:
        (node,) = await nodes(1)
        for channel, key in (("c", "k"), ("d", "k"), ("c", "l"), ("c", ""), ("c", "ünï ☃{}")):
            await node.history.append(channel, "", 1, retention=KEPT, key=key)
        tops = [(await node.history.history(c, retention=KEPT, limit=0)).top for c in ("c", "d")]
        assert [top.offset for top in tops] == [4, 1]

    async def test_a_key_of_another_message_is_refused(self, nodes: Open) -> None:
        one, other = await nodes(2)
        position = await one.history.append("c", "done", 1, retention=KEPT, key="k")
        for event, data in (("done", 2), ("undone", 1)):
            with pytest.raises(InvalidData) as refusal:
                await other.history.append("c", event, data, retention=KEPT, key="k")
            assert list(refusal.value.errors) == ["key"]
        again = await other.history.append("c", "done", 1, retention=KEPT, key="k")
        assert again == position

    async def test_a_key_is_forgotten_in_its_time_whether_it_was_tried_again_or_not(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        first = await node.history.append("c", "", 1, retention=KEPT, key="k")
        await world.pass_time(KEY_SECONDS - 60)
        assert await node.history.append("c", "", 1, retention=KEPT, key="k") == first
        await world.pass_time(120)
        second = await node.history.append("c", "", 2, retention=KEPT, key="k")
        assert second == Position(2, first.epoch)

    async def test_a_key_outlives_its_message(self, nodes: Open, world: World) -> None:
        (node,) = await nodes(1)
        brief = Retention(messages=1, seconds=10.0)
        first = await node.history.append("c", "", 1, retention=brief, key="k")
        await node.history.append("c", "", 2, retention=brief)
        await world.pass_time(60)
        assert await node.history.append("c", "", 1, retention=brief, key="k") == first
        page = await node.history.history("c", retention=brief, limit=ALL)
        assert (offsets_of(page), page.top.offset) == ([], 2)


class PublishingOnce(_Suite):
    """What :class:`~openapi.ws.broker.PublishesOnce` promises."""

    async def test_a_retry_is_delivered_once_whoever_makes_it(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        for node in (one, other, one):
            await node.once.publish_once("c", "done", {"n": [1]}, key="k")
        assert await one.so_far("c", other) == [Message("done", {"n": [1]})]

    async def test_of_those_who_publish_at_once_with_one_key_one_does(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        await asyncio.gather(
            *(node.once.publish_once("c", "", 1, key="k") for node in [one, other] * 10)
        )
        assert await one.so_far("c", other) == [Message("", 1)]

    async def test_its_key_is_one_channels_and_one_messages(self, nodes: Open) -> None:
        one, other = await nodes(2)
        for channel in ("c", "d"):
            await one.broker.subscribe(channel)
        for channel, key in (("c", "k"), ("d", "k"), ("c", "l"), ("c", ""), ("c", "ünï ☃{}")):
            await other.once.publish_once(channel, "", key, key=key)
        assert [each.data for each in await one.so_far("c", other)] == ["k", "l", "", "ünï ☃{}"]
        assert [each.data for each in await one.so_far("d", other)] == ["k"]

    async def test_its_key_of_another_message_is_refused(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        await one.once.publish_once("c", "done", 1, key="k")
        for event, data in (("done", 2), ("undone", 1)):
            with pytest.raises(InvalidData) as refusal:
                await other.once.publish_once("c", event, data, key="k")
            assert list(refusal.value.errors) == ["key"]
        assert await one.so_far("c", other) == [Message("done", 1)]

    async def test_its_key_is_forgotten_in_its_time_whether_it_was_tried_again_or_not(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        await node.broker.subscribe("c")
        await node.once.publish_once("c", "", 1, key="k")
        await world.pass_time(KEY_SECONDS - 60)
        await node.once.publish_once("c", "", 1, key="k")
        assert len(await node.so_far("c", node)) == 1
        await world.pass_time(120)
        await node.once.publish_once("c", "", 2, key="k")
        assert [each.data for each in await node.so_far("c", node)] == [1, 2]

    async def test_a_key_of_what_was_refused_is_free(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        with pytest.raises(Unserializable):
            await one.once.publish_once("c", "", object(), key="k")
        await other.broker.aclose()
        with pytest.raises(CannotPublish):
            await other.once.publish_once("c", "", 2, key="k")
        await one.once.publish_once("c", "", 3, key="k")
        assert await one.so_far("c", one) == [Message("", 3)]

    async def test_its_messages_are_in_order_with_those_that_have_no_key(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        for number in range(20):
            if number % 2:
                await other.broker.publish("c", "", number)
            else:
                await other.once.publish_once("c", "", number, key=str(number))
        assert [each.data for each in await one.messages("c", 20)] == list(range(20))


ADA: Final = Member("ada", user=7, info={"name": "Ada", "tags": ["☃", None]})
BEA: Final = Member("bea", user="7")
SOMEBODY: Final = Member("4f!* {x}☃")


def many(member: Member, connections: int) -> Member:
    return Member(member.id, member.user, member.info, connections)


def gone(member: Member) -> Member:
    return many(member, 0)


class KeepingPresence(_Suite):
    """What :class:`~openapi.ws.broker.KeepsPresence` promises."""

    async def test_nobody_is_on_a_channel_that_nobody_entered(self, nodes: Open) -> None:
        (node,) = await nodes(1)
        assert list(await node.presence.members("c")) == []
        assert list(await node.presence.enter("c", {}, ttl=TTL)) == []
        assert list(await node.presence.leave("c", ["x"])) == []
        assert _found(await node.presence.refresh("c", ["x"], ttl=TTL)) == (["x"], [])
        assert list(await node.presence.members("c")) == []

    async def test_members_are_those_of_all_nodes_in_the_order_in_which_they_came(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        await one.presence.enter("c", {"1": BEA}, ttl=TTL)
        await other.presence.enter("c", {"2": ADA}, ttl=TTL)
        await one.presence.enter("c", {"3": SOMEBODY, "4": BEA}, ttl=TTL)
        for node in (one, other):
            assert list(await node.presence.members("c")) == [many(BEA, 2), ADA, SOMEBODY]
        await other.presence.leave("c", ["1", "4"])
        await other.presence.enter("c", {"5": BEA}, ttl=TTL)
        assert list(await one.presence.members("c")) == [ADA, SOMEBODY, BEA]

    async def test_a_member_comes_with_the_first_connection_and_goes_with_the_last(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        assert list(await one.presence.enter("c", {"1": ADA}, ttl=TTL)) == [ADA]
        assert list(await other.presence.enter("c", {"2": ADA, "3": BEA}, ttl=TTL)) == [BEA]
        assert list(await one.presence.enter("c", {"4": ADA}, ttl=TTL)) == []
        assert list(await one.presence.members("c")) == [many(ADA, 3), BEA]
        assert list(await one.presence.leave("c", ["1", "3"])) == [gone(BEA)]
        assert list(await other.presence.leave("c", ["2"])) == []
        assert list(await one.presence.leave("c", ["4"])) == [gone(ADA)]
        assert list(await other.presence.members("c")) == []
        assert list(await other.presence.enter("c", {"1": ADA}, ttl=TTL)) == [ADA]

    async def test_who_comes_with_several_connections_at_once_comes_once(self, nodes: Open) -> None:
        (node,) = await nodes(1)
        connections = {"1": ADA, "2": BEA, "3": ADA}
        assert list(await node.presence.enter("c", connections, ttl=TTL)) == [many(ADA, 2), BEA]
        assert list(await node.presence.leave("c", ["1", "3", "unknown"])) == [gone(ADA)]

    async def test_entering_and_leaving_again_changes_nothing(self, nodes: Open) -> None:
        one, other = await nodes(2)
        await one.presence.enter("c", {"1": ADA}, ttl=TTL)
        for node in (one, other):
            assert list(await node.presence.enter("c", {"1": ADA}, ttl=TTL)) == []
        assert list(await one.presence.members("c")) == [ADA]
        await one.presence.leave("c", ["1"])
        assert list(await other.presence.leave("c", ["1"])) == []

    async def test_what_was_said_last_of_a_member_holds(self, nodes: Open) -> None:
        one, other = await nodes(2)
        later, last = Member("ada", user=8, info="later"), Member("ada", info="last")
        await one.presence.enter("c", {"1": ADA}, ttl=TTL)
        await other.presence.enter("c", {"2": later}, ttl=TTL)
        assert list(await one.presence.members("c")) == [many(later, 2)]
        await other.presence.leave("c", ["2"])
        assert list(await one.presence.members("c")) == [later]
        await one.presence.enter("c", {"1": last}, ttl=TTL)
        assert list(await other.presence.members("c")) == [last]
        assert list(await other.presence.leave("c", ["1"])) == [gone(last)]

    async def test_channels_have_their_own_members(self, nodes: Open) -> None:
        (node,) = await nodes(1)
        for number, channel in enumerate(CHANNELS):
            member = Member(str(number))
            assert list(await node.presence.enter(channel, {"1": member}, ttl=TTL)) == [member]
        for number, channel in enumerate(CHANNELS):
            assert list(await node.presence.members(channel)) == [Member(str(number))]

    async def test_of_those_who_come_and_go_at_once_one_is_the_first_and_one_the_last(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        several = [(str(number), node) for number, node in enumerate([one, other] * 25)]
        came = await asyncio.gather(
            *(node.presence.enter("c", {name: ADA}, ttl=TTL) for name, node in several)
        )
        assert [member.id for members in came for member in members] == ["ada"]
        assert list(await one.presence.members("c")) == [many(ADA, 50)]
        went = await asyncio.gather(*(node.presence.leave("c", [n]) for n, node in several))
        assert [member for members in went for member in members] == [gone(ADA)]
        assert list(await one.presence.members("c")) == []

    async def test_who_is_refreshed_stays_and_who_is_not_is_gone(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        await one.presence.enter("c", {"1": ADA, "2": BEA, "3": BEA}, ttl=TTL)
        await world.pass_time(40)
        assert _found(await one.presence.refresh("c", ["1", "2"], ttl=TTL)) == ([], [])
        assert list(await other.presence.members("c")) == [ADA, many(BEA, 2)]
        await world.pass_time(40)
        assert list(await other.presence.members("c")) == [ADA, BEA]
        assert _found(await one.presence.refresh("c", ["1"], ttl=TTL)) == ([], [])
        await world.pass_time(40)
        assert list(await other.presence.members("c")) == [ADA]
        assert _found(await other.presence.refresh("c", (), ttl=TTL)) == ([], [gone(BEA)])
        assert _found(await one.presence.refresh("c", ["1"], ttl=TTL)) == ([], [])

    async def test_entering_again_keeps_a_connection_as_long_as_refreshing_does(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        await node.presence.enter("c", {"1": ADA}, ttl=TTL)
        await world.pass_time(40)
        await node.presence.enter("c", {"1": ADA}, ttl=TTL)
        await world.pass_time(40)
        assert list(await node.presence.members("c")) == [ADA]

    async def test_the_last_word_is_how_long_a_connection_stays(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        await node.presence.enter("c", {"1": ADA, "2": BEA}, ttl=TTL)
        await node.presence.refresh("c", ["1"], ttl=TTL / 4)
        await world.pass_time(TTL / 2)
        assert list(await node.presence.members("c")) == [BEA]

    async def test_refreshing_brings_nobody_back(self, nodes: Open, world: World) -> None:
        one, other = await nodes(2)
        await one.presence.enter("c", {"1": ADA, "2": BEA}, ttl=TTL)
        await other.presence.leave("c", ["1"])
        assert _found(await one.presence.refresh("c", ["1", "2"], ttl=TTL)) == (["1"], [])
        assert list(await other.presence.members("c")) == [BEA]
        await world.pass_time(TTL + 10)
        found = _found(await one.presence.refresh("c", ["2", "1"], ttl=TTL))
        assert found == (["1", "2"], [gone(BEA)])
        assert list(await other.presence.members("c")) == []
        assert list(await one.presence.enter("c", {"2": BEA}, ttl=TTL)) == [BEA]

    async def test_leaving_while_a_refresh_is_under_way_is_leaving(self, nodes: Open) -> None:
        one, other = await nodes(2)
        for number in range(20):
            name = str(number)
            await one.presence.enter("c", {name: ADA}, ttl=TTL)
            await asyncio.gather(
                one.presence.refresh("c", [name], ttl=TTL),
                other.presence.leave("c", [name]),
                one.presence.refresh("c", [name], ttl=TTL),
            )
            assert list(await one.presence.members("c")) == []

    async def test_who_has_expired_is_told_to_one_of_those_who_refresh_at_once(
        self, nodes: Open, world: World
    ) -> None:
        several = await nodes(4)
        await several[0].presence.enter("c", {"1": ADA, "2": BEA, "3": SOMEBODY}, ttl=TTL)
        await world.pass_time(TTL + 10)
        await several[1].presence.enter("c", {"4": Member("new")}, ttl=TTL)
        found = await asyncio.gather(
            *(node.presence.refresh("c", ["4"], ttl=TTL) for node in several * 5)
        )
        assert {tuple(each.lost) for each in found} == {()}
        told = [member for each in found for member in each.expired]
        assert sorted(member.id for member in told) == sorted(["ada", "bea", SOMEBODY.id])
        assert {member.connections for member in told} == {0}

    async def test_those_of_a_node_that_died_are_gone_in_their_time(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        await one.presence.enter("c", {"1": ADA, "2": BEA}, ttl=TTL)
        await other.presence.enter("c", {"3": BEA}, ttl=TTL)
        await world.kill(one.broker)
        await world.pass_time(40)
        assert _found(await other.presence.refresh("c", ["3"], ttl=TTL)) == ([], [])
        assert list(await other.presence.members("c")) == [ADA, many(BEA, 2)]
        await world.pass_time(40)
        assert list(await other.presence.members("c")) == [BEA]
        assert _found(await other.presence.refresh("c", ["3"], ttl=TTL)) == ([], [gone(ADA)])
        assert list(await other.presence.leave("c", ["3"])) == [gone(BEA)]

    async def test_who_comes_back_before_anybody_was_told_has_not_been_away(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        await one.presence.enter("c", {"1": ADA}, ttl=TTL)
        await world.pass_time(TTL + 10)
        assert list(await other.presence.members("c")) == []
        assert list(await other.presence.enter("c", {"2": ADA}, ttl=TTL)) == []
        assert list(await one.presence.members("c")) == [ADA]
        assert _found(await one.presence.refresh("c", ["1"], ttl=TTL)) == (["1"], [])
        assert list(await one.presence.leave("c", ["2"])) == [gone(ADA)]

    async def test_who_leaves_when_it_has_expired_is_told_once(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        await one.presence.enter("c", {"1": ADA}, ttl=TTL)
        await other.presence.enter("c", {"2": BEA}, ttl=4 * TTL)
        await world.pass_time(TTL + 10)
        assert list(await one.presence.leave("c", ["1"])) == [gone(ADA)]
        assert _found(await other.presence.refresh("c", ["2"], ttl=TTL)) == ([], [])


def _found(refreshed: Refreshed) -> tuple[list[str], list[Member]]:
    return sorted(refreshed.lost), list(refreshed.expired)


#: Turns of the loop in which a call surely returns that waits for nobody.
TURNS: Final = 50
#: Calls at once while the server is away.
MANY: Final = 500
#: More tasks than a broker has to find its server again.
CONNECTING: Final = 20


def _calls(node: Node) -> list[Callable[[], Awaitable[object]]]:
    """A call of each method that needs a server."""
    broker = node.broker
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: broker.publish("c", "", 1),
        lambda: broker.subscribe("new"),
    ]
    if isinstance(broker, KeepsHistory):
        history = broker
        calls += [
            lambda: history.append("c", "", 1, retention=KEPT),
            lambda: history.append("c", "", 1, retention=KEPT, key="k"),
            lambda: history.history("c", retention=KEPT, limit=ALL),
        ]
    if isinstance(broker, PublishesOnce):
        once = broker
        calls.append(lambda: once.publish_once("c", "", 1, key="k"))
    if isinstance(broker, KeepsPresence):
        presence = broker
        calls += [
            lambda: presence.enter("c", {"1": ADA}, ttl=TTL),
            lambda: presence.leave("c", ["1"]),
            lambda: presence.refresh("c", ["1"], ttl=TTL),
            lambda: presence.members("c"),
        ]
    return calls


async def _refusal(call: Callable[[], Awaitable[object]]) -> BrokerUnavailable:
    with pytest.raises(BrokerUnavailable) as refusal:
        await call()
    return refusal.value


async def _all_fail_at_once(node: Node) -> None:
    """Many calls while the server is away: none waits, and nothing of them is left."""
    calls = _calls(node)
    before = len(asyncio.all_tasks())
    refused = [asyncio.create_task(_refusal(calls[number % len(calls)])) for number in range(MANY)]
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert [task.done() for task in refused] == [True] * MANY
    for task in refused:
        refusal = task.result()
        assert refusal.retry_after is not None
        assert refusal.retry_after > 0
    assert len(asyncio.all_tasks()) < before + CONNECTING


class Supervising(_Suite):
    """What :class:`~openapi.ws.broker.Supervised` promises."""

    async def test_while_the_server_is_there_nothing_is_missed_and_nothing_is_away(
        self, nodes: Open
    ) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        await other.broker.publish("c", "", 1)
        assert await one.so_far("c", other) == [Message("", 1)]
        for node in (one, other):
            assert (node.supervised.outage, node.missed) == (None, [])

    async def test_while_the_server_is_away_each_call_fails_at_once_and_nothing_piles_up(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        await node.broker.subscribe("c")
        await world.away()
        await node.until_away()
        outage = node.supervised.outage
        assert outage is not None
        assert outage.reason
        assert abs(outage.since - time.time()) < 3600
        await _all_fail_at_once(node)
        await world.back()

    async def test_calls_that_are_under_way_when_the_server_falls_silent_fail_too(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        await node.broker.subscribe("c")
        await world.away(silent=True)
        async with asyncio.timeout(world.patience):
            await asyncio.gather(*map(_refusal, _calls(node)))
        await node.until_away()
        await _all_fail_at_once(node)
        await world.back()
        await node.until_back()
        await node.broker.publish("c", "again", None)
        await node.until("c", lambda all: all[-1:] == [Message("again")])

    @pytest.mark.parametrize("silent", [False, True], ids=["stopped", "silent"])
    async def test_when_the_server_is_back_what_is_wanted_is_delivered_again_and_nothing_else(
        self, nodes: Open, world: World, silent: bool
    ) -> None:
        one, other = await nodes(2)
        for channel in ("kept", "left"):
            await one.broker.subscribe(channel)
        await world.away(silent=silent)
        if silent:  # who asks for nothing hears of it much later
            asking = [partial(node.broker.publish, "c", "", 1) for node in (one, other)]
            await asyncio.gather(*map(_refusal, asking))
        for node in (one, other):
            await node.until_away()
        await one.broker.unsubscribe("left")
        await one.broker.unsubscribe("never")
        await _refusal(lambda: one.broker.subscribe("late"))
        await world.back()
        for node in (one, other):
            await node.until_back()
        for channel in ("left", "late", "kept"):
            await other.broker.publish(channel, "", channel)
        assert await one.so_far("kept", other) == [Message("", "kept")]
        if not silent:  # one that only stood still may have lost nothing
            assert any(told is None or "kept" in told for told in one.missed)
        for channel in ("left", "late"):
            await one.broker.subscribe(channel)
            assert await one.so_far(channel, other) == []

    async def test_it_goes_away_and_comes_back_as_often_as_it_does(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        await node.broker.subscribe("c")
        before = len(asyncio.all_tasks())
        for number in range(1, 4):
            told = len(node.missed)
            await world.away()
            await node.until_away()
            await world.back()
            await node.until_back()
            await node.broker.publish("c", "", number)
            assert (await node.so_far("c", node))[-1] == Message("", number)
            assert len(node.missed) > told
        async with asyncio.timeout(world.patience):  # it may be in the middle of looking around
            while len(tasks := asyncio.all_tasks()) > before:
                others = tasks - {asyncio.current_task()}
                await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)

    async def test_who_is_told_that_some_may_be_missed_misses_none_from_then_on(
        self, nodes: Open, world: World
    ) -> None:
        one, other = await nodes(2)
        await one.broker.subscribe("c")
        await world.away()
        for node in (one, other):
            await node.until_away()
        told = len(one.missed)
        await world.back()
        await other.until_back()
        published, after_told = 0, 0
        async with asyncio.timeout(world.patience):
            while after_told < 20:
                published += 1
                after_told += len(one.missed) > told
                await other.broker.publish("c", "", published)
        heard = [each.data for each in await one.so_far("c", other)]
        assert heard == list(range(published - len(heard) + 1, published + 1))
        assert len(heard) >= after_told

    async def test_a_broker_that_is_opened_while_its_server_is_away_finds_it_later(
        self, world: World
    ) -> None:
        await world.away()
        node = Node((await world.brokers(1))[0], world.patience)
        await node.open()
        try:
            assert node.supervised.outage is not None
            await _refusal(lambda: node.broker.subscribe("c"))
            await world.back()
            await node.until_back()
            await node.broker.subscribe("c")
            await node.broker.publish("c", "", 1)
            assert await node.so_far("c", node) == [Message("", 1)]
        finally:
            await node.broker.aclose()

    async def test_a_broker_whose_server_is_away_can_be_closed(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        await node.broker.subscribe("c")
        await world.away()
        await node.until_away()
        async with asyncio.timeout(world.patience):
            for _ in range(2):
                await node.broker.aclose()
        with pytest.raises(CannotPublish) as refusal:
            await node.broker.publish("c", "", 1)
        assert not isinstance(refusal.value, BrokerUnavailable)
        await world.back()


class SupervisingHistory(_Suite):
    """What a broker promises that is both :class:`Supervised` and one that keeps history."""

    async def test_no_position_is_another_messages_when_the_server_was_away(
        self, nodes: Open, world: World
    ) -> None:
        (node,) = await nodes(1)
        before = await append(node, range(1, 6))
        await world.away()
        await node.until_away()
        await world.back()
        await node.until_back()
        after = await node.history.append("c", "", 6, retention=KEPT)
        page = await node.history.history("c", retention=KEPT, since=before, limit=ALL)
        assert page.top == after
        if after.epoch == before.epoch:
            assert (after.offset, values_of(page)) == (6, [6])
        else:
            assert values_of(page) == []
