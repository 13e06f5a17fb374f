"""A bus that loses, repeats and delays what it carries to one node: its subscribers see no gap.

All in virtual time. What is published on one node reaches the other over a :class:`Bus`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from openapi.errors import CannotSubscribe, ErrorCode, PositionLost
from openapi.protocol.stream import Position
from openapi.ws import ChannelRule, Limits, SocketsManager
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.subscription import Subscription
from tests.extent import extent
from tests.shuffled import run, running_loop
from tests.ws.bus import Bus, Unreachable
from tests.ws.endpoints import application
from tests.ws.linked import Client, Linked

SEEDS = extent(20, 8)
LIMITS = Limits(ping_interval=None)
CHECK = LIMITS.position_check
SOON = CHECK * (1 + 1 / 16)
"""In which a message that was lost on a quiet channel is found: seconds."""


class Nodes:
    """Two managers on one memory: ``near`` publishes, ``far`` hears of it over ``bus``."""

    def __init__(self, *, history: int = 100, limits: Limits = LIMITS) -> None:
        rules = [ChannelRule("c*", history=history)]
        self.memory = MemoryBroker()
        self.bus = Bus(self.memory)
        self.near = SocketsManager(broker=self.memory, channels=rules, limits=limits)
        self.far = SocketsManager(broker=self.bus, channels=rules, limits=limits)
        self.server = Linked(application(sockets=self.far))
        self.published = 0

    async def publish(self, count: int = 1, *, channel: str = "c") -> Position:
        """Publish messages that are their own numbers; returns the position of the last."""
        position: Position | None = None
        for _ in range(count):
            self.published += 1
            position = await self.near.publish(channel, "n", self.published)
        assert position is not None
        return position


@asynccontextmanager
async def nodes(**options: Any) -> AsyncIterator[Nodes]:
    both = Nodes(**options)
    async with both.server:
        yield both
    await both.near.drain()


def lost(*numbers: int) -> Any:
    """The weather in which exactly these messages are lost on their way."""
    return lambda number: () if number in numbers else (0,)


async def read(messages: Subscription[int], count: int) -> list[int]:
    """The next so many messages."""
    return [(await anext(messages)).data for _ in range(count)]


def offsets(frames: Sequence[dict[str, Any]]) -> list[int]:
    return [each["offset"] for each in frames]


async def take(client: Client, count: int) -> list[dict[str, Any]]:
    """The next so many frames of a client that are no answers."""
    return [await client.messages.get() for _ in range(count)]


# Bridged in place


def test_a_message_that_was_lost_is_read_before_the_next_one_goes_out() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            client = await n.server.connect()
            await client.call("subscribe", {"channel": "c"})
            n.bus.weather = lost(3, 4)
            await n.publish(6)
            assert await read(messages, 6) == [1, 2, 3, 4, 5, 6]
            assert offsets(await take(client, 6)) == [1, 2, 3, 4, 5, 6]
            assert n.bus.reads == [0, LIMITS.recovery]  # once for all of them

    for seed in range(SEEDS):
        run(seed, main)


def test_messages_that_come_twice_go_out_once() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            n.bus.weather = lambda number: (0, 0, 2)
            await n.publish(5)
            await n.bus.deliver_late()
            n.bus.weather = lambda number: (0,)
            await n.publish()
            assert await read(messages, 6) == [1, 2, 3, 4, 5, 6]
            assert n.bus.reads == [0]

    for seed in range(SEEDS):
        run(seed, main)


def test_messages_that_come_out_of_order_go_out_in_order() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            n.bus.weather = lambda number: (2,) if number % 3 == 1 else (0,)
            await n.publish(30)
            await n.bus.deliver_late()
            assert await read(messages, 30) == [*range(1, 31)]

    for seed in range(SEEDS):
        run(seed, main)


def test_in_any_weather_everybody_gets_every_message_once_in_order() -> None:
    async def main() -> None:
        rng = running_loop().rng
        weathers: list[Sequence[int]] = [(0,)] * 6 + [(), (), (0, 0), (1,), (3,), (0, 2), (1, 4)]
        async with nodes() as n, n.far.subscription("c") as first:
            clients = [await n.server.connect() for _ in range(3)]
            start = await clients[0].call("subscribe", {"channel": "c"})
            await clients[1].call("subscribe", {"channel": "c"})
            n.bus.weather = lambda number: rng.choice(weathers)
            if rng.random() < 0.5:
                n.bus.reading = lambda: asyncio.sleep(rng.choice([0, 0.01, 1]))
            began: dict[str, Any] = {}
            for _ in range(30):
                await n.publish(rng.randint(1, 3))
                await asyncio.sleep(rng.choice([0, 0, 0.001, 0.5]))
                if n.published > 20 and not began:
                    clients[1].reset()
                    recover = {"offset": 0, "epoch": start["epoch"]}
                    payload = {"channel": "c", "recover": recover}
                    began = await clients[2].call("subscribe", payload)
            await n.bus.deliver_late()
            await asyncio.sleep(SOON + 4)  # the last ones may have been lost
            everything = [*range(1, n.published + 1)]
            assert await read(first, n.published) == everything
            assert offsets([each for each in clients[0].received if "offset" in each]) == everything
            assert began["recovered"] is True
            live = [each for each in clients[2].received if "channel" in each]
            assert offsets([*began["messages"], *live]) == everything
            got = offsets([each for each in clients[1].received if "offset" in each])
            assert got == everything[: len(got)]

    for seed in range(200):
        run(seed, main)


@pytest.mark.parametrize("comes_back", [False, True])
def test_what_comes_while_a_channel_opens_is_not_missed(comes_back: bool) -> None:
    async def main() -> None:
        async with nodes() as n:
            position = await n.publish(3)
            answer = Answer(n.bus)
            messages = n.far.subscription("c", recover=position if comes_back else None)
            entering = asyncio.ensure_future(messages.__aenter__())
            await answer.there.wait()  # it says 3
            await n.publish(3)
            answer.travels.set()
            await entering
            assert messages.position is not None
            first = messages.position.offset + 1
            assert first == 4 if comes_back else 4 <= first <= 7
            await n.publish(3)
            assert await read(messages, 10 - first) == [*range(first, 10)]
            await messages.__aexit__(None, None, None)

    for seed in range(SEEDS):
        run(seed, main)


class Answer:
    """The next reading of a bus: what was read is there, and travels until it is told to come."""

    def __init__(self, bus: Bus) -> None:
        self.there = asyncio.Event()
        self.travels = asyncio.Event()
        self._asked = False
        self._bus = bus
        bus.reading = self._wait

    async def _wait(self) -> None:
        if not self._asked:
            self._asked = True  # it is on its way to the broker
        else:
            self.there.set()
            self._bus.reading = None
            await self.travels.wait()


def test_what_a_second_subscription_waits_for_holds_up_no_message_of_the_first() -> None:
    async def main() -> None:
        async with nodes() as n:
            client = await n.server.connect()
            await n.publish(2)
            joined = await client.call("subscribe", {"channel": "c", "event": "n"})
            answer = Answer(n.bus)
            recover = {"offset": 0, "epoch": joined["epoch"]}
            second = client.begin("subscribe", {"channel": "c", "recover": recover})
            await answer.there.wait()
            await n.publish(2)
            assert offsets(await take(client, 2)) == [3, 4]
            answer.travels.set()
            response = (await client.answer(second))["response"]
            assert response["recovered"] is True
            assert offsets(response["messages"]) == [*range(1, response["offset"] + 1)]
            await n.publish()
            assert offsets(await take(client, 1)) == [5]
            assert response["offset"] == 4

    for seed in range(SEEDS):
        run(seed, main)


def test_more_than_a_page_is_read_page_by_page() -> None:
    async def main() -> None:
        limits = Limits(ping_interval=None, recovery=10)
        async with nodes(limits=limits) as n, n.far.subscription("c") as messages:
            n.bus.weather = lost(*range(2, 52))
            await n.publish(52)
            assert await read(messages, 52) == [*range(1, 53)]
            assert n.bus.reads == [0, 10, 10, 10, 10, 10, 10]

    for seed in range(SEEDS):
        run(seed, main)


# What cannot be bridged


def test_a_gap_that_history_cannot_bridge_is_a_reset_to_a_true_position() -> None:
    async def main() -> None:
        async with nodes(history=5) as n, n.far.subscription("c") as messages:
            client = await n.server.connect()
            await client.call("subscribe", {"channel": "c"})
            n.bus.weather = lost(*range(3, 10))
            await n.publish(10)
            assert await read(messages, 2) == [1, 2]
            with pytest.raises(PositionLost) as raised:
                await anext(messages)
            position = messages.position
            assert position is not None
            assert (raised.value.offset, raised.value.epoch) == (position.offset, position.epoch)
            frames = await take(client, 3)
            assert offsets(frames[:2]) == [1, 2]
            assert frames[2] == {
                "channel": "c",
                "event": "$reset",
                "data": {"offset": position.offset, "epoch": position.epoch},
            }
            assert position.offset == 10
            await n.publish(2)
            assert await read(messages, 2) == [11, 12]
            assert offsets(await take(client, 2)) == [11, 12]
            # From there it can be recovered, here and elsewhere.
            for sockets in (n.near, n.far):
                async with sockets.subscription("c", recover=position) as again:
                    assert again.recovered is True
                    assert await read(again, 2) == [11, 12]

    for seed in range(SEEDS):
        run(seed, main)


def test_a_stream_that_was_lost_is_a_reset_to_the_new_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            before = await n.publish(3)
            assert await read(messages, 3) == [1, 2, 3]
            n.memory.forget("c")
            after = await n.publish(2)
            assert after.epoch != before.epoch
            with pytest.raises(PositionLost) as raised:
                await anext(messages)
            assert (raised.value.offset, raised.value.epoch) == (0, after.epoch)
            assert await read(messages, 2) == [4, 5]
            assert messages.position == Position(2, after.epoch)

    for seed in range(SEEDS):
        run(seed, main)
    assert "messages of channel 'c' are lost" in caplog.text


def test_a_new_stream_whose_first_messages_were_lost_begins_where_they_are_heard() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            await n.publish(3)
            assert await read(messages, 3) == [1, 2, 3]
            n.memory.forget("c")
            n.bus.weather = lost(4, 5)
            after = await n.publish(3)
            with pytest.raises(PositionLost) as raised:
                await anext(messages)
            assert (raised.value.offset, raised.value.epoch) == (2, after.epoch)
            assert await read(messages, 1) == [6]

    for seed in range(SEEDS):
        run(seed, main)


@pytest.mark.parametrize("open_before", [False, True])
def test_a_position_in_a_stream_that_was_lost_recovers_nothing(open_before: bool) -> None:
    async def main() -> None:
        async with nodes() as n, AsyncExitStack() as stack:
            if open_before:
                await stack.enter_async_context(n.far.subscription("c"))
            old = await n.publish(3)
            n.memory.forget("c")
            new = await n.publish(5)
            client = await n.server.connect()
            recover = {"offset": old.offset, "epoch": old.epoch}
            joined = await client.call("subscribe", {"channel": "c", "recover": recover})
            joined.pop("subscribed")
            position = {"offset": new.offset, "epoch": new.epoch}
            assert joined == {"recovered": False, "messages": [], **position}
            await n.publish()
            assert offsets(await take(client, 1)) == [6]

    for seed in range(SEEDS):
        run(seed, main)


def test_a_message_of_a_stream_that_was_lost_before_changes_nothing() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            n.bus.weather = lambda number: (0, 4) if number == 3 else (0,)
            await n.publish(3)
            n.memory.forget("c")
            await n.publish(5)  # and the old third one comes again
            assert await read(messages, 3) == [1, 2, 3]
            with pytest.raises(PositionLost):
                await anext(messages)
            assert await read(messages, 5) == [4, 5, 6, 7, 8]

    for seed in range(SEEDS):
        run(seed, main)


# Channels that are quiet


def test_the_last_message_of_a_quiet_channel_is_found_when_it_was_lost() -> None:
    async def main() -> None:
        loop = running_loop()
        async with nodes() as n, n.far.subscription("c") as messages:
            await asyncio.sleep(loop.rng.random() * 100)
            n.bus.weather = lost(2)
            await n.publish(2)
            published = loop.time()
            assert await read(messages, 2) == [1, 2]
            assert CHECK * 0.9 < loop.time() - published <= SOON + 0.001

    for seed in range(SEEDS):
        run(seed, main)


def test_a_quiet_channel_whose_stream_was_lost_is_a_reset() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            before = await n.publish()
            assert await read(messages, 1) == [1]
            n.memory.forget("c")
            with pytest.raises(PositionLost) as raised:
                await anext(messages)
            assert raised.value.offset == 0
            assert raised.value.epoch != before.epoch

    for seed in range(SEEDS):
        run(seed, main)


def test_a_channel_on_which_something_comes_now_and_then_is_not_read() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            for _ in range(20):
                await asyncio.sleep(CHECK * 0.9)
                await n.publish()
            assert await read(messages, 20) == [*range(1, 21)]
            assert n.bus.reads == [0]

    for seed in range(SEEDS):
        run(seed, main)


def test_a_channel_that_nobody_subscribes_to_any_more_is_not_read() -> None:
    async def main() -> None:
        async with nodes() as n:
            async with n.far.subscription("c") as messages:
                await n.publish()
                await read(messages, 1)
            await asyncio.sleep(5 * CHECK)
            assert n.bus.reads == [0]
            assert len(n.far.channels.feeds) == 0

    for seed in range(SEEDS):
        run(seed, main)


def test_of_many_quiet_channels_some_are_read_at_a_time() -> None:
    async def main() -> None:
        reading = most = 0

        async def slow() -> None:
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            await asyncio.sleep(0.1)
            reading -= 1

        async with nodes() as n:
            client = await n.server.connect()
            for number in range(100):
                await client.call("subscribe", {"channel": f"c{number}"})
            n.bus.weather = lost(*range(1, 101))
            for number in range(100):
                await n.publish(channel=f"c{number}")
            n.bus.reading = slow
            got = await take(client, 100)
            assert {each["channel"] for each in got} == {f"c{number}" for number in range(100)}
            assert 1 < most <= 64

    for seed in range(3):
        run(seed, main)


# A broker that cannot be read


# What the broker says itself


@pytest.mark.parametrize("channels", [["c", "another"], None])
def test_what_may_have_been_missed_is_read_at_once(channels: Sequence[str] | None) -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            n.bus.weather = lost(2, 3)
            await n.publish(3)
            assert await read(messages, 1) == [1]
            since = running_loop().time()
            n.bus.missed(channels)
            assert await read(messages, 2) == [2, 3]
            assert running_loop().time() == since
            n.bus.missed(["another"])
            assert n.bus.reads == [0, LIMITS.recovery]

    for seed in range(SEEDS):
        run(seed, main)


def test_what_may_have_been_missed_behind_a_reading_is_read_once_more() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            n.bus.weather = lost(2, 4)
            await n.publish(2)
            answer = Answer(n.bus)
            n.bus.missed(None)
            await answer.there.wait()  # it says 2
            await n.publish(2)
            n.bus.missed(None)
            answer.travels.set()
            since = running_loop().time()
            assert await read(messages, 4) == [1, 2, 3, 4]
            assert running_loop().time() == since

    for seed in range(SEEDS):
        run(seed, main)


def test_what_may_have_been_missed_while_a_channel_opens_is_read_as_soon_as_it_is_open() -> None:
    async def main() -> None:
        async with nodes() as n:
            answer = Answer(n.bus)
            messages = n.far.subscription("c")
            entering = asyncio.ensure_future(messages.__aenter__())
            await answer.there.wait()  # it says 0
            n.bus.weather = lost(1)
            await n.publish()
            n.bus.missed(None)
            answer.travels.set()
            await entering
            since = running_loop().time()
            assert await read(messages, 1) == [1]
            assert running_loop().time() == since
            await messages.__aexit__(None, None, None)

    for seed in range(SEEDS):
        run(seed, main)


def test_who_waits_to_try_again_tries_as_soon_as_the_broker_is_back(full_backoff: None) -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as messages:
            n.bus.weather = lost(1)
            n.bus.broken = True
            await n.publish(2)
            await asyncio.sleep(20)  # the next time is in 11.5 s
            assert n.far.outage is not None
            n.bus.broken = False
            since = running_loop().time()
            n.bus.missed(None)
            assert await read(messages, 2) == [1, 2]
            assert running_loop().time() == since
            assert n.far.outage is None

    for seed in range(SEEDS):
        run(seed, main)


@pytest.fixture
def full_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each delay is as long as it may be: 0.5 s, 1 s, 2 s … up to 20 s."""
    monkeypatch.setattr("openapi.ws.feeds.random.random", lambda: 1.0)


def test_while_the_broker_cannot_be_read_it_is_tried_again_and_nothing_is_lost(
    caplog: pytest.LogCaptureFixture, full_backoff: None
) -> None:
    async def main() -> None:
        caplog.clear()
        async with nodes(history=2000) as n, n.far.subscription("c") as messages:
            n.bus.weather = lost(2)
            n.bus.broken = True
            await n.publish(3)
            assert await read(messages, 1) == [1]
            await asyncio.sleep(60)
            await n.publish(1500)  # more than waits for a reading
            assert messages.queued_bytes == 0
            tried = len(n.bus.reads) - 1
            assert tried == 8  # after 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 and 51.5 s
            said = [each for each in caplog.records if "'c' cannot be read" in each.message]
            assert len(said) == 1  # an outage is one
            assert said[0].levelno == logging.ERROR
            assert said[0].exc_info is not None
            assert said[0].exc_info[0] is Unreachable
            n.bus.broken = False
            assert await read(messages, 1502) == [*range(2, 1504)]

    for seed in range(SEEDS):
        run(seed, main)


def test_an_outage_that_outlasts_history_is_a_reset(full_backoff: None) -> None:
    async def main() -> None:
        async with nodes(history=10) as n, n.far.subscription("c") as messages:
            n.bus.weather = lost(2)
            n.bus.broken = True
            await n.publish(3)
            await asyncio.sleep(60)
            await n.publish(20)
            n.bus.broken = False
            assert await read(messages, 1) == [1]
            with pytest.raises(PositionLost) as raised:
                await anext(messages)
            await n.publish(2)
            assert await read(messages, 2) == [raised.value.offset + 1, raised.value.offset + 2]

    for seed in range(SEEDS):
        run(seed, main)


def test_who_leaves_during_an_outage_leaves_nobody_who_reads() -> None:
    async def main() -> None:
        async with nodes() as n:
            async with n.far.subscription("c") as messages:
                n.bus.weather = lost(1)
                n.bus.broken = True
                await n.publish(2)
                await asyncio.sleep(10)
            await asyncio.sleep(0.001)
            reads = len(n.bus.reads)
            assert reads > 1
            await asyncio.sleep(100)
            assert len(n.bus.reads) == reads
            assert messages.queued_bytes == 0
            assert len(n.far.channels.feeds) == 0

    for seed in range(SEEDS):
        run(seed, main)


def test_a_channel_whose_position_cannot_be_read_is_not_subscribed_to() -> None:
    async def main() -> None:
        async with nodes() as n:
            client = await n.server.connect()
            n.bus.broken = True
            refused = await client.ask("subscribe", {"channel": "c"})
            assert "error" in refused
            with pytest.raises((Unreachable, CannotSubscribe)):
                async with n.far.subscription("c"):
                    raise AssertionError("it was entered")
            await asyncio.sleep(1)
            assert len(n.far.channels.feeds) == len(n.far.channels) == 0
            n.bus.broken = False
            await n.publish(2)
            assert (await client.call("subscribe", {"channel": "c"}))["offset"] == 2
            await n.publish()
            assert offsets(await take(client, 1)) == [3]

    for seed in range(SEEDS):
        run(seed, main)


def test_a_client_that_catches_up_during_an_outage_loses_nothing(full_backoff: None) -> None:
    async def main() -> None:
        bus = Bus(MemoryBroker())
        sockets = SocketsManager(
            broker=bus,
            channels=[ChannelRule("c", history=1000, slow="catch_up")],
            limits=Limits(ping_interval=None, outbox_bytes=8000, recovery=10),
        )
        async with Linked(application(sockets=sockets), high_water=1000) as server:
            client = await server.connect()
            await client.call("subscribe", {"channel": "c"})
            client.pause()
            for number in range(1, 101):
                await sockets.publish("c", "n", [number, "x" * 200])
                await asyncio.sleep(0.01)
            bus.broken = True
            client.resume()
            await asyncio.sleep(60)
            tried = len(bus.reads)
            assert tried > 2
            bus.broken = False
            await sockets.publish("c", "n", [101])
            assert offsets(await take(client, 101)) == [*range(1, 102)]

    for seed in range(SEEDS):
        run(seed, main)


# Clients that are ahead of this node


def test_a_client_that_heard_elsewhere_what_is_late_here_gets_nothing_twice() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as here:
            n.bus.weather = lambda number: (3,) if number > 3 else (0,)
            position = await n.publish(5)  # of which this node has 3
            assert await read(here, 3) == [1, 2, 3]
            client = await n.server.connect()
            recover = {"offset": position.offset, "epoch": position.epoch}
            joined = await client.call("subscribe", {"channel": "c", "recover": recover})
            joined.pop("subscribed")
            assert joined == {"recovered": True, "messages": [], **recover}
            assert await read(here, 2) == [4, 5]  # who was here before has them by now
            n.bus.weather = lambda number: (0,)
            await n.publish(3)
            await n.bus.deliver_late()
            await n.publish(1)
            assert offsets(await take(client, 4)) == [6, 7, 8, 9]
            assert await read(here, 4) == [6, 7, 8, 9]

    for seed in range(SEEDS):
        run(seed, main)


def test_a_client_that_heard_elsewhere_of_a_new_stream_goes_on_in_it() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as here:
            await n.publish(3)
            assert await read(here, 3) == [1, 2, 3]
            n.bus.weather = lambda number: (9,)  # what comes of the new stream is late
            n.memory.forget("c")
            position = await n.publish(2)
            client = await n.server.connect()
            recover = {"offset": position.offset, "epoch": position.epoch}
            joined = await client.call("subscribe", {"channel": "c", "recover": recover})
            joined.pop("subscribed")
            assert joined == {"recovered": True, "messages": [], **recover}
            with pytest.raises(PositionLost):
                await anext(here)
            n.bus.weather = lambda number: (0,)
            await n.publish(3)
            await n.bus.deliver_late()
            assert offsets(await take(client, 3)) == [3, 4, 5]
            assert client.messages.empty()

    for seed in range(SEEDS):
        run(seed, main)


def test_an_epoch_that_nobody_has_costs_one_reading_however_many_come_with_it() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c"):
            position = await n.publish(3)
            for _ in range(5):
                client = await n.server.connect()
                recover = {"offset": 2, "epoch": "another"}
                joined = await client.call("subscribe", {"channel": "c", "recover": recover})
                assert (joined["recovered"], joined["epoch"]) == (False, position.epoch)
            assert n.bus.reads == [0, LIMITS.recovery]

    for seed in range(SEEDS):
        run(seed, main)


def test_a_client_that_is_ahead_of_a_node_that_cannot_read_is_to_come_back_later() -> None:
    async def main() -> None:
        loop = running_loop()
        async with nodes() as n, n.far.subscription("c") as here:
            n.bus.weather = lost(2)
            position = await n.publish(2)
            n.bus.broken = True
            client = await n.server.connect()
            recover = {"offset": position.offset, "epoch": position.epoch}
            asked = loop.time()
            payload = {"channel": "c", "recover": recover}
            error = (await client.ask("subscribe", payload))["error"]
            assert (error["code"], error["retry_after"]) == (ErrorCode.BROKER_UNAVAILABLE, 5000)
            assert loop.time() - asked < 6
            assert n.far.channels.info() == {"c": {"*": 1}}
            n.bus.broken = False
            assert await read(here, 2) == [1, 2]
            assert (await client.call("subscribe", payload))["recovered"] is True

    for seed in range(SEEDS):
        run(seed, main)


def test_a_client_that_is_ahead_of_the_stream_itself_recovers_nothing_and_harms_nobody() -> None:
    async def main() -> None:
        async with nodes() as n, n.far.subscription("c") as here:
            position = await n.publish(2)
            client = await n.server.connect()
            recover = {"offset": 999, "epoch": position.epoch}
            joined = await client.call("subscribe", {"channel": "c", "recover": recover})
            assert (joined["recovered"], joined["messages"], joined["offset"]) == (False, [], 2)
            await n.publish(1)
            assert offsets(await take(client, 1)) == [3]
            assert await read(here, 3) == [1, 2, 3]

    for seed in range(SEEDS):
        run(seed, main)
