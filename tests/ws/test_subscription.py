"""Subscriptions of the server's own: what is read, where one goes on, and how they end."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from openapi.errors import (
    CannotSubscribe,
    DeclarationError,
    InvalidData,
    PositionLost,
    TooSlow,
    UnexpectedData,
)
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page
from openapi.ws import ChannelRule, Latest, Limits, Message, Position, SocketsManager, Subscription
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.delivery import Delivery
from openapi.ws.subscriber import Subscriber
from openapi.ws.subscription import SubscriptionState
from tests.shuffled import pause, run, running_loop

KEEPS = [ChannelRule("kept:*", history=100), ChannelRule("short:*", history=3)]


@asynccontextmanager
async def managing(
    *rules: ChannelRule, broker: MemoryBroker | None = None, **limits: Any
) -> AsyncIterator[SocketsManager]:
    """A manager that ends with nothing left of its subscriptions."""
    sockets = SocketsManager(
        broker=broker or MemoryBroker(), channels=rules or KEEPS, limits=Limits(**limits)
    )
    async with sockets:
        yield sockets
        assert sockets.channels.info() == {}
    assert (len(sockets.channels.gates), len(sockets.channels.feeds)) == (0, 0)


async def read(messages: Subscription[Any], count: int) -> list[Any]:
    """The data of the next messages."""
    return [(await anext(messages)).data for _ in range(count)]


async def settle() -> None:
    """Let everything happen that is about to."""
    for _ in range(10):
        await asyncio.sleep(0)


# --- reading ------------------------------------------------------------------------------------


async def test_messages_are_read_in_the_order_in_which_they_were_published() -> None:
    async with managing() as sockets, sockets.subscription("news") as messages:
        for number in range(3):
            await sockets.publish("news", f"e{number}", {"n": number})
        assert [await anext(messages) for _ in range(3)] == [
            Message("news", f"e{number}", {"n": number}) for number in range(3)
        ]
        assert messages.position is None
        assert messages.recovered is None


async def test_only_the_events_that_fit_the_pattern_are_read() -> None:
    async with managing() as sockets, sockets.subscription("news", "task.*") as messages:
        assert sockets.channels.info() == {"news": {"task.*": 1}}
        for event in ("other", "task.done", "task", "task."):
            await sockets.publish("news", event, event)
        assert await read(messages, 2) == ["task.done", "task."]


async def test_a_reader_that_waits_is_woken() -> None:
    async with managing() as sockets, sockets.subscription("news") as messages:
        reading = asyncio.create_task(read(messages, 2))
        await settle()
        await sockets.publish("news", "", 1)
        await settle()
        assert not reading.done()
        await sockets.publish("news", "", 2)
        assert await reading == [1, 2]


async def test_who_stops_waiting_for_a_message_does_not_lose_it() -> None:
    async with managing() as sockets, sockets.subscription("news") as messages:
        for published in (False, True):
            waiting = asyncio.create_task(read(messages, 1))
            await settle()
            waiting.cancel()
            if published:  # it is cancelled already, and has not run
                await sockets.publish("news", "", 1)
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert await read(messages, 1) == [1]


async def test_two_who_read_one_subscription_share_its_messages() -> None:
    async with managing() as sockets, sockets.subscription("news") as messages:
        both = asyncio.gather(read(messages, 2), read(messages, 2))
        for number in range(4):
            await settle()
            await sockets.publish("news", "", number)
        one, other = await both
        assert sorted(one + other) == [0, 1, 2, 3]


async def test_subscriptions_are_independent_of_each_other() -> None:
    async with managing() as sockets, sockets.subscription("news") as one:
        async with sockets.subscription("news") as other:
            await sockets.publish("news", "", 1)
            assert sockets.channels.info() == {"news": {"*": 2}}
        await sockets.publish("news", "", 2)
        assert await read(one, 2) == [1, 2]
        assert [message.data async for message in other] == [1]


# --- types --------------------------------------------------------------------------------------


@dataclass
class Order:
    """What is read."""

    id: int
    items: list[str]
    paid: bool = False


async def test_data_is_of_the_readers_type() -> None:
    async with managing() as sockets:
        async with sockets.subscription("kept:1", type=Order) as messages:
            await sockets.publish("kept:1", "new", {"id": 1, "items": ["tea"]})
            message = await anext(messages)
            assert message.data == Order(1, ["tea"], paid=False)
            assert (message.event, message.position) == ("new", messages.position)


async def test_data_that_is_not_of_the_readers_type_is_told_and_the_next_can_be_read() -> None:
    async with managing() as sockets:
        async with sockets.subscription("kept:1", type=Order) as messages:
            for data in ({"id": "1", "items": ["a", 2]}, 5, {"id": 2, "items": []}):
                await sockets.publish("kept:1", "", data)
            with pytest.raises(UnexpectedData) as first:
                await anext(messages)
            assert first.value.errors == {
                "data.id": "expected `int`, got `str`",
                "data.items[1]": "expected `str`, got `int`",
            }
            assert isinstance(first.value.__cause__, InvalidData)
            assert messages.position is not None
            assert messages.position.offset == 1
            with pytest.raises(UnexpectedData) as second:
                await anext(messages)
            assert second.value.errors == {"data": "expected `object`, got `int`"}
            assert await read(messages, 1) == [Order(2, [])]
        async with sockets.subscription("news", type=list[int]) as numbers:
            await sockets.publish("news", "", [1, "2"])
            with pytest.raises(UnexpectedData) as third:
                await anext(numbers)
            assert third.value.errors == {"data[1]": "expected `int`, got `str`"}


async def test_a_type_that_is_none_is_refused_at_once() -> None:
    async with managing() as sockets:
        with pytest.raises(DeclarationError):
            sockets.subscription("news", type=print)


# --- positions ----------------------------------------------------------------------------------


async def test_the_position_is_right_behind_the_last_message_that_was_read() -> None:
    async with managing() as sockets:
        first = await sockets.publish("kept:1", "", 0)
        assert first is not None
        async with sockets.subscription("kept:1", "x*") as messages:
            assert messages.position == first
            for event in ("x1", "y", "x2"):
                await sockets.publish("kept:1", event, event)
            assert messages.position == first
            for event, offset in (("x1", 2), ("x2", 4)):
                message = await anext(messages)
                assert message.event == event
                assert message.position == messages.position == Position(offset, first.epoch)


async def test_who_comes_back_goes_on_where_it_left() -> None:
    async with managing() as sockets:
        async with sockets.subscription("kept:1") as messages:
            position = messages.position
        for number in range(7):
            await sockets.publish("kept:1", "", number)
        got = list[int]()
        while len(got) < 9:
            async with sockets.subscription("kept:1", recover=position) as messages:
                assert messages.recovered
                assert messages.position == position
                got += await read(messages, 3)
                position = messages.position
                if len(got) == 3:
                    await sockets.publish("kept:1", "", 7)
                    await sockets.publish("kept:1", "", 8)
        assert got == list(range(9))


async def test_who_missed_nothing_recovers_nothing() -> None:
    async with managing() as sockets:
        top = await sockets.publish("kept:1", "", 0)
        async with sockets.subscription("kept:1", recover=top) as messages:
            assert (messages.recovered, messages.position) == (True, top)
            await sockets.publish("kept:1", "", 1)
            assert await read(messages, 1) == [1]


async def test_what_was_missed_is_only_what_fits_the_pattern() -> None:
    async with managing() as sockets:
        top = await sockets.publish("kept:1", "", 0)
        for event in ("x1", "y", "x2"):
            await sockets.publish("kept:1", event, event)
        async with sockets.subscription("kept:1", "x*", recover=top) as messages:
            assert messages.recovered
            assert await read(messages, 2) == ["x1", "x2"]


@pytest.mark.parametrize("offset", [0, 1])
async def test_where_not_all_can_be_recovered_nothing_is_and_it_says_so(offset: int) -> None:
    async with managing() as sockets:
        for number in range(5):
            await sockets.publish("short:1", "", number)
        top = await _top(sockets)
        assert top is not None
        for position in (
            Position(offset, top.epoch),
            Position(4, "foreign"),
            Position(9, top.epoch),
        ):
            async with sockets.subscription("short:1", recover=position) as messages:
                assert (messages.recovered, messages.position) == (False, top)
                assert messages.queued_bytes == 0
        async with sockets.subscription("short:1", recover=Position(2, top.epoch)) as messages:
            assert messages.recovered
            assert await read(messages, 3) == [2, 3, 4]


async def test_on_a_channel_without_history_nothing_is_recovered() -> None:
    async with managing() as sockets:
        async with sockets.subscription("news", recover=Position(3, "x")) as messages:
            assert (messages.recovered, messages.position) == (False, None)
            await sockets.publish("news", "", 1)
            assert (await anext(messages)).position is None


async def test_a_callback_can_go_on_from_a_position_too() -> None:
    got = list[Any]()

    async def keep(channel: str, event: str, data: Any) -> None:
        got.append(data)

    async with managing() as sockets:
        top = await sockets.publish("kept:1", "", 0)
        await sockets.publish("kept:1", "", 1)
        joined = await sockets.channels.subscribe("kept:1", "*", keep, recover=top)
        assert joined is not None
        assert joined.recovered
        assert [each.data for each in joined.messages] == [1]
        await sockets.publish("kept:1", "", 2)
        assert got == [2]
        await sockets.channels.unregister("kept:1", "*", keep)


def test_a_subscriber_says_at_least_whether_it_is_gone_and_what_it_does_with_a_message() -> None:
    subscriber = Subscriber()
    with pytest.raises(NotImplementedError):
        assert subscriber.gone
    with pytest.raises(NotImplementedError):
        subscriber.deliver(Delivery("news", "", 1))
    with pytest.raises(NotImplementedError):
        subscriber.member("news")
    assert (subscriber.most, subscriber.behind("news"), subscriber.room()) == (None, None, None)
    assert not subscriber.full
    assert (subscriber.name, subscriber.limited) == ("", False)


def test_whenever_one_leaves_and_comes_back_nothing_is_lost_and_nothing_is_repeated() -> None:
    async def main() -> None:
        rng = running_loop().rng

        async def publish() -> None:
            for number in range(30):
                await pause()
                await sockets.publish("kept:1", "", number)

        async with managing() as sockets:
            top = await sockets.publish("kept:1", "", "first")
            publishing = asyncio.create_task(publish())
            position, got = top, list[Any]()
            while len(got) < 30:
                async with sockets.subscription("kept:1", recover=position) as messages:
                    assert messages.recovered
                    got += await read(messages, min(30 - len(got), rng.randint(0, 4)))
                    await pause()
                    position = messages.position
            await publishing
            assert got == list(range(30))

    for seed in range(200):
        run(seed, main)


def test_where_history_is_too_short_or_lost_no_gap_is_silent() -> None:
    async def main() -> int:
        rng, told = running_loop().rng, 0
        broker = MemoryBroker()

        async def publish() -> None:
            for number in range(40):
                await pause()
                if number in (10, 27):
                    broker.forget("short:1")
                await sockets.publish("short:1", "", number)

        async with managing(broker=broker) as sockets:
            position: Position | None = None
            publishing = asyncio.create_task(publish())
            expected: int | None = None
            while expected is None or expected < 40:
                async with sockets.subscription("short:1", recover=position) as messages:
                    if not messages.recovered:
                        told, expected = told + 1, None
                    for _ in range(rng.randint(1, 4)):
                        if publishing.done() and messages.position == await _top(sockets):
                            expected = 40
                            break
                        try:
                            message = await anext(messages)
                        except PositionLost as lost:
                            assert messages.position == Position(lost.offset, lost.epoch)
                            told, expected = told + 1, None
                            continue
                        assert message.position == messages.position
                        assert expected in (None, message.data)
                        expected = message.data + 1
                    await pause(most=9)
                    position = messages.position
            await publishing
        return told

    assert sum(run(seed, main) for seed in range(200)) > 200


async def _top(sockets: SocketsManager) -> Position | None:
    async with sockets.subscription("short:1") as messages:
        return messages.position


# --- messages that are lost ----------------------------------------------------------------------


async def lose(sockets: SocketsManager, broker: MemoryBroker, *data: Any) -> Position:
    """The stream of ``kept:1`` is lost, and another one begun."""
    broker.forget("kept:1")
    tops = [await sockets.publish("kept:1", "", each) for each in data]
    await settle()
    assert tops[-1] is not None
    return tops[-1]


async def test_who_loses_messages_is_told_and_goes_on_with_the_next() -> None:
    broker = MemoryBroker()
    async with managing(broker=broker) as sockets, sockets.subscription("kept:1") as messages:
        await sockets.publish("kept:1", "", 1)
        assert await read(messages, 1) == [1]
        reading = asyncio.create_task(read(messages, 1))
        await settle()
        top = await lose(sockets, broker, 2)
        with pytest.raises(PositionLost) as lost:
            await reading
        assert (lost.value.channel, lost.value.offset, lost.value.epoch) == ("kept:1", 0, top.epoch)
        assert messages.position == Position(0, top.epoch)
        assert await read(messages, 1) == [2]
        assert messages.position == top


async def test_position_lost_comes_before_the_messages_that_follow_it() -> None:
    broker = MemoryBroker()
    async with managing(broker=broker) as sockets, sockets.subscription("kept:1") as messages:
        await sockets.publish("kept:1", "", 1)
        await sockets.publish("kept:1", "", 2)
        assert await read(messages, 1) == [1]
        top = await lose(sockets, broker, 3, 4, 5)
        with pytest.raises(PositionLost):
            await anext(messages)  # 2 would be of a state that is to be loaded anew
        for offset in (1, 2, 3):
            message = await anext(messages)
            assert (message.data, message.position) == (offset + 2, Position(offset, top.epoch))


async def test_who_leaves_before_it_was_told_of_a_loss_is_told_when_it_comes_back() -> None:
    broker = MemoryBroker()
    async with managing(broker=broker) as sockets:
        async with sockets.subscription("kept:1") as messages:
            await sockets.publish("kept:1", "", 1)
            assert await read(messages, 1) == [1]
            before = messages.position
            await lose(sockets, broker, 2)
            assert messages.position == before
            with pytest.raises(PositionLost):
                await anext(messages)
            assert messages.position != before
        async with sockets.subscription("kept:1", recover=before) as messages:
            assert messages.recovered is False


async def test_a_loss_that_was_not_read_yet_is_told_once_though_there_is_another() -> None:
    broker = MemoryBroker()
    async with managing(broker=broker) as sockets, sockets.subscription("kept:1") as messages:
        await sockets.publish("kept:1", "", 1)
        await lose(sockets, broker, 2)
        top = await lose(sockets, broker, 3, 4)
        with pytest.raises(PositionLost) as lost:
            await anext(messages)
        assert lost.value.epoch == top.epoch
        assert await read(messages, 2) == [3, 4]


# --- readers that are too slow -------------------------------------------------------------------

BIG = "x" * 1000


async def test_a_reader_that_is_too_slow_reads_what_was_queued_and_is_told() -> None:
    async with managing() as sockets:
        async with sockets.subscription("news", "e*", queue_bytes=4000) as messages:
            for number in range(10):
                await sockets.publish("news", f"e{number}", [number, BIG])
                await settle()
            got: list[int] = []
            with pytest.raises(TooSlow) as ended:
                while True:
                    got.append((await anext(messages)).data[0])
            assert got == [0, 1, 2, 3]
            assert str(ended.value) == (
                "the subscription to 'news' (e*) ended: more than 4000 bytes of messages waited;"
                " read faster, or give it a larger queue_bytes"
            )
            assert sockets.channels.info() == {}
            with pytest.raises(TooSlow):
                await anext(messages)


async def test_a_reader_that_is_too_slow_harms_neither_the_publisher_nor_the_others() -> None:
    async with managing() as sockets, sockets.subscription("news") as first:
        async with (
            sockets.subscription("news", queue_bytes=10) as slow,
            sockets.subscription("news", "*", queue_bytes=10) as other,
            sockets.subscription("news") as last,
        ):
            await sockets.publish("news", "", BIG)
            await sockets.publish("news", "", 2)
            assert await read(first, 2) == await read(last, 2) == [BIG, 2]
            for ended in (slow, other):
                assert ended.state is SubscriptionState.ENDED
                assert await read(ended, 1) == [BIG]
                with pytest.raises(TooSlow):
                    await anext(ended)


async def test_behind_its_end_nothing_is_queued() -> None:
    async with managing() as sockets:
        async with sockets.subscription("news", queue_bytes=3000) as messages:
            for number in range(100):  # and nobody else runs meanwhile
                await sockets.publish("news", "", [number, BIG])
            assert messages.queued_bytes < 5000
            with pytest.raises(TooSlow):
                await read(messages, 100)


async def test_a_reader_that_went_on_behind_too_slow_loses_and_repeats_nothing() -> None:
    async with managing() as sockets:
        position, got = await sockets.publish("kept:1", "", "first"), list[int]()
        for number in range(20):
            await sockets.publish("kept:1", "", [number, BIG])
        while len(got) < 20:
            try:
                async with sockets.subscription(
                    "kept:1", recover=position, queue_bytes=100_000
                ) as messages:
                    assert messages.recovered
                    async for message in messages:
                        got.append(message.data[0])
                        position = message.position
                        if message.data[0] == 19:
                            break
            except TooSlow:
                pass
        assert got == list(range(20))


@pytest.mark.parametrize("size", [1, 100, 1000])
async def test_what_was_recovered_does_not_make_a_reader_slow(size: int) -> None:
    async with managing() as sockets:
        position = await sockets.publish("kept:1", "", "first")
        for number in range(20):
            await sockets.publish("kept:1", "", [number, "x" * size])
        async with sockets.subscription("kept:1", recover=position, queue_bytes=5000) as messages:
            if not messages.recovered:
                assert messages.queued_bytes == 0
            await sockets.publish("kept:1", "", [20, BIG])
            first = 0 if messages.recovered else 20
            got = [number for number, _ in await read(messages, 21 - first)]
            assert got == list(range(first, 21))
            assert messages.state is SubscriptionState.OPEN


@pytest.mark.parametrize(("queue_bytes", "recovered"), [(20_000, False), (30_000, True)])
async def test_more_than_half_of_what_may_be_queued_is_not_recovered(
    queue_bytes: int, recovered: bool
) -> None:
    async with managing() as sockets:
        position = await sockets.publish("kept:1", "", "first")
        for _ in range(10):
            await sockets.publish("kept:1", "", BIG)
        subscription = sockets.subscription("kept:1", recover=position, queue_bytes=queue_bytes)
        async with subscription as messages:
            assert messages.recovered is recovered


@pytest.mark.parametrize("history", [0, 100])
async def test_where_the_oldest_are_dropped_the_newest_are_read_and_the_others_counted(
    history: int,
) -> None:
    rule = ChannelRule("*", slow="drop_oldest", history=history)
    async with managing(rule) as sockets:
        async with sockets.subscription("news", queue_bytes=4000) as messages:
            for number in range(10):
                await sockets.publish("news", "", [number, BIG])
            assert messages.dropped == 7
            assert messages.queued_bytes <= 4000
            assert [number for number, _ in await read(messages, 3)] == [7, 8, 9]
            if history:
                assert messages.position is not None
                assert messages.position.offset == 10
            await sockets.publish("news", "", "x" * 5000)  # it alone is too much
            assert (messages.dropped, messages.queued_bytes) == (8, 0)
            await sockets.publish("news", "", "small")
            assert await read(messages, 1) == ["small"]


async def test_where_the_latest_is_kept_each_key_has_one_message() -> None:
    rules = ChannelRule("prices", slow=Latest(key="symbol")), ChannelRule("states", slow=Latest())
    async with managing(*rules) as sockets:
        async with sockets.subscription("prices", queue_bytes=4000) as messages:
            for number in range(9):
                data = {"symbol": "abc"[number % 3], "n": number, "text": BIG}
                await sockets.publish("prices", "tick", data)
            assert messages.dropped == 6
            assert [each["n"] for each in await read(messages, 3)] == [6, 7, 8]
            for number in range(9):  # more keys than there is room for
                data = {"symbol": f"s{number}", "n": number, "text": BIG}
                await sockets.publish("prices", "tick", data)
            assert messages.dropped == 12
            assert [each["n"] for each in await read(messages, 3)] == [6, 7, 8]
        async with sockets.subscription("states") as messages:
            for event in ("a", "b", "a"):
                await sockets.publish("states", event, event)
            assert await read(messages, 2) == ["b", "a"]


@pytest.mark.parametrize("recovery", [300, 5])
async def test_where_one_catches_up_all_is_read_however_far_behind_it_is(recovery: int) -> None:
    rule = ChannelRule("*", slow="catch_up", history=100)
    async with managing(rule, recovery=recovery) as sockets:
        async with sockets.subscription("news", "e*", queue_bytes=4000) as messages:
            for number in range(60):  # longer ago than what this process keeps
                await sockets.publish("news", "other" if number % 7 == 3 else "e", [number, BIG])
            assert messages.queued_bytes <= 4000
            expected = [number for number in range(60) if number % 7 != 3]
            assert messages.behind("news") is not None
            got = [number for number, _ in await read(messages, 20)]
            for number in range(60, 70):
                await sockets.publish("news", "e", [number, BIG])
            got += [number for number, _ in await read(messages, len(expected) - 10)]
            assert got == expected + list(range(60, 70))
            assert messages.behind("news") is None
            assert messages.dropped == 0
            await sockets.publish("news", "e", "live")
            assert await read(messages, 1) == ["live"]


async def test_where_history_is_too_short_to_catch_up_messages_are_lost_and_it_says_so() -> None:
    rule = ChannelRule("*", slow="catch_up", history=5)
    async with managing(rule) as sockets:
        async with sockets.subscription("news", queue_bytes=4000) as messages:
            for number in range(19):
                await sockets.publish("news", "", [number, BIG])
            top = await sockets.publish("news", "", [19, BIG])
            assert top is not None
            assert [number for number, _ in await read(messages, 3)] == [0, 1, 2]
            with pytest.raises(PositionLost) as lost:
                await anext(messages)
            assert (lost.value.offset, lost.value.epoch) == (20, top.epoch)
            await sockets.publish("news", "", "live")
            assert await read(messages, 1) == ["live"]


async def test_who_catches_up_and_loses_the_stream_is_told_once() -> None:
    broker = MemoryBroker()
    rule = ChannelRule("*", slow="catch_up", history=100)
    async with managing(rule, broker=broker) as sockets:
        async with sockets.subscription("kept:1", queue_bytes=4000) as messages:
            for number in range(10):
                await sockets.publish("kept:1", "", [number, BIG])
            top = await lose(sockets, broker, *([number, BIG] for number in range(10, 20)))
            with pytest.raises(PositionLost) as lost:
                await anext(messages)
            assert (lost.value.offset, lost.value.epoch) == (0, top.epoch)
            assert [number for number, _ in await read(messages, 10)] == list(range(10, 20))


async def test_the_servers_own_events_come_through_while_it_catches_up() -> None:
    rule = ChannelRule("*", slow="catch_up", history=100)
    async with managing(rule) as sockets:
        async with sockets.subscription("news", "e", queue_bytes=2500) as messages:
            for number in range(5):
                await sockets.publish("news", "e", [number, BIG])
            await sockets.publish("news", "$notice", "hello")
            events = [(await anext(messages)).event for _ in range(6)]
            assert sorted(events) == ["$notice", "e", "e", "e", "e", "e"]


class Reading(MemoryBroker):
    """Its history takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def history(self, channel: str, **options: Any) -> Page[Publication]:
        self.reading.set()
        await self.go.wait()
        return await super().history(channel, **options)


@asynccontextmanager
async def catching_up() -> AsyncIterator[tuple[Reading, SocketsManager, Subscription[Any]]]:
    """A subscription whose reader is reading history, which waits."""
    broker = Reading()
    rule = ChannelRule("*", slow="catch_up", history=100)
    async with managing(rule, broker=broker, recovery=5) as sockets:
        async with sockets.subscription("kept:1", queue_bytes=3000) as messages:
            for number in range(20):
                await sockets.publish("kept:1", "", [number, BIG])
            assert [number for number, _ in await read(messages, 2)] == [0, 1]
            broker.go.clear()
            broker.reading.clear()
            yield broker, sockets, messages
            broker.go.set()


async def test_what_is_published_while_one_catches_up_is_read_in_its_turn() -> None:
    async with catching_up() as (broker, sockets, messages):
        reading = asyncio.create_task(read(messages, 23))
        await broker.reading.wait()
        for number in range(20, 25):
            await sockets.publish("kept:1", "", [number, BIG])
        broker.go.set()
        assert [number for number, _ in await reading] == list(range(2, 25))


async def test_who_is_cancelled_while_it_catches_up_can_go_on() -> None:
    async with catching_up() as (broker, _, messages):
        reading = asyncio.create_task(read(messages, 1))
        await broker.reading.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        broker.go.set()
        assert [number for number, _ in await read(messages, 18)] == list(range(2, 20))


async def test_who_leaves_while_it_catches_up_reads_nothing_more() -> None:
    async with catching_up() as (broker, sockets, messages):
        reading = asyncio.create_task(_next(messages))
        await broker.reading.wait()
        messages.end(None)
        broker.go.set()
        assert await reading is None


async def _next(messages: Subscription[Any]) -> Message[Any] | None:
    return await anext(messages, None)


# --- how one begins and ends ---------------------------------------------------------------------


async def test_the_iteration_ends_when_the_server_does() -> None:
    sockets = SocketsManager(channels=KEEPS)

    async def collect() -> list[Any]:
        async with sockets.subscription("kept:1") as messages:
            return [message.data async for message in messages]

    reading = asyncio.create_task(collect())
    await settle()
    await sockets.publish("kept:1", "", 1)
    await settle()
    await sockets.publish("kept:1", "", 2)
    await sockets.drain()
    assert await reading == [1, 2]
    assert (sockets.channels.info(), len(sockets.channels.feeds)) == ({}, 0)


async def test_who_comes_when_the_server_has_ended_is_refused() -> None:
    sockets = SocketsManager(channels=KEEPS)
    await sockets.drain()
    for channel in ("news", "kept:1"):
        with pytest.raises(CannotSubscribe, match=f"the channel '{channel}' is refused"):
            async with sockets.subscription(channel):
                pass


@pytest.mark.parametrize("recover", [None, Position(0, "x")])
async def test_entering_while_the_server_ends_is_refused(recover: Position | None) -> None:
    broker = Reading()
    broker.go.clear()
    sockets = SocketsManager(broker=broker, channels=KEEPS)

    async def enter() -> None:
        async with sockets.subscription("kept:1", recover=recover) as messages:
            async for _ in messages:
                pass

    entering = asyncio.create_task(enter())
    await broker.reading.wait()
    await sockets.drain()
    broker.go.set()
    with pytest.raises(CannotSubscribe):
        await entering
    assert (sockets.channels.info(), len(sockets.channels.feeds)) == ({}, 0)


async def test_who_waits_for_the_broker_as_the_server_ends_is_refused() -> None:
    class Slow(SocketsManager):
        waits, go = asyncio.Event(), asyncio.Event()

        async def subscribe(self, channel: str) -> None:
            self.waits.set()
            await self.go.wait()

    sockets = Slow()
    messages = sockets.subscription("news")
    entering = asyncio.create_task(messages.__aenter__())
    await sockets.waits.wait()
    await sockets.drain()
    sockets.go.set()
    with pytest.raises(CannotSubscribe, match="Invalid channel"):
        await entering
    assert messages.state is SubscriptionState.ENDED
    assert sockets.channels.info() == {}


async def test_a_stream_that_is_lost_while_one_enters_is_no_loss_but_recovers_nothing() -> None:
    class Losing(MemoryBroker):
        reads = 0

        async def history(self, channel: str, **options: Any) -> Page[Publication]:
            self.reads += 1
            if self.reads == 2:  # the first tells where the stream is
                self.forget(channel)
            return await super().history(channel, **options)

    broker = Losing()
    async with managing(broker=broker) as sockets:
        top = await sockets.publish("kept:1", "", 0)
        assert top is not None
        ahead = Position(5, top.epoch)  # of a server that heard more than this one
        async with sockets.subscription("kept:1", recover=ahead) as messages:
            assert messages.recovered is False
            assert messages.position is not None
            assert messages.position.epoch != top.epoch
            await sockets.publish("kept:1", "", 1)
            assert await read(messages, 1) == [1]


async def test_a_subscription_is_entered_before_it_is_read_and_once() -> None:
    async with managing() as sockets:
        messages = sockets.subscription("news")
        with pytest.raises(RuntimeError, match=r"enter the subscription first: async with manager"):
            await anext(messages)
        async with messages:
            with pytest.raises(RuntimeError, match="a subscription is entered once"):
                async with messages:
                    pass
        with pytest.raises(RuntimeError) as again:
            async with messages:
                pass
        assert str(again.value) == (
            "a subscription is entered once; call manager.subscription() again"
        )
        assert [message async for message in messages] == []


async def test_two_cannot_enter_one_subscription_at_once() -> None:
    broker = Reading()
    async with managing(broker=broker) as sockets:
        top = await sockets.publish("kept:1", "", 0)
        await sockets.publish("kept:1", "", 1)
        broker.go.clear()
        messages = sockets.subscription("kept:1", recover=top)
        first = asyncio.create_task(messages.__aenter__())
        await broker.reading.wait()
        second = asyncio.create_task(messages.__aenter__())
        await settle()
        broker.go.set()
        assert await first is messages
        with pytest.raises(RuntimeError, match="a subscription is entered once"):
            await second
        assert await read(messages, 1) == [1]
        assert messages.queued_bytes == 0
        await messages.__aexit__(None, None, None)


async def test_one_that_is_never_entered_is_nowhere() -> None:
    async with managing() as sockets:
        messages = sockets.subscription("kept:1", recover=Position(3, "x"))
        assert messages.state is SubscriptionState.NEW
        assert (messages.queued_bytes, messages.dropped, messages.gone) == (0, 0, False)
        assert messages.position == Position(3, "x")
        assert sockets.channels.info() == {}


async def test_a_refused_channel_cannot_be_entered() -> None:
    async with managing(ChannelRule("closed", refused=True)) as sockets:
        messages = sockets.subscription("closed")
        with pytest.raises(CannotSubscribe) as refusal:
            async with messages:
                pass
        assert str(refusal.value) == "the channel 'closed' is refused: channel: Invalid channel"
        assert messages.state is SubscriptionState.ENDED


async def test_entering_that_fails_behind_the_beginning_leaves_nothing() -> None:
    class Feeding(SocketsManager):
        error: type[Exception] | None = None
        waits = asyncio.Event()

        async def subscribe_to_event(self, channel: str, event: str) -> None:
            if self.error is not None:
                raise self.error
            self.waits.set()
            await asyncio.Event().wait()

    async with Feeding() as sockets:
        for error in (CannotSubscribe, OSError):
            sockets.error = error
            messages = sockets.subscription("news")
            with pytest.raises(error):
                async with messages:
                    pass
            assert messages.state is SubscriptionState.ENDED
            known = weakref.ref(messages)
            del messages
            gc.collect()
            assert known() is None
        sockets.error = None
        messages = sockets.subscription("news")
        entering = asyncio.create_task(messages.__aenter__())
        await sockets.waits.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert messages.state is SubscriptionState.ENDED
        assert sockets.channels.info() == {}


async def test_entering_that_is_cancelled_leaves_nothing() -> None:
    broker = Reading()
    broker.go.clear()
    async with managing(broker=broker) as sockets:
        messages = sockets.subscription("kept:1")
        entering = asyncio.create_task(messages.__aenter__())
        await broker.reading.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert messages.state is SubscriptionState.ENDED
        broker.go.set()
        await settle()
        assert sockets.channels.info() == {}
        assert len(sockets.channels.feeds) == 0


async def test_a_failure_within_it_leaves_it_too() -> None:
    async with managing() as sockets:
        with pytest.raises(OSError, match="the wire is cut"):
            async with sockets.subscription("news") as messages:
                raise OSError("the wire is cut")
        assert messages.state is SubscriptionState.ENDED
        assert messages.gone


async def test_one_that_was_left_is_freed_at_once() -> None:
    async with managing() as sockets:
        gc.disable()
        try:
            for channel in ("news", "kept:1"):
                async with sockets.subscription(channel, queue_bytes=2000) as messages:
                    known = weakref.ref(messages)
                    await sockets.publish(channel, "", 1)
                    assert await read(messages, 1) == [1]
                del messages
                assert known() is None
        finally:
            gc.enable()
