"""Channels with history against a plain list for each: what is recovered, and what comes live.

The server is a real one, on connections in memory; its clock is the model's. A step is over when
nothing happens any more, and then every client has got exactly what the model says.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from openapi.protocol.stream import Position
from openapi.ws import ChannelRule, Limits, SocketsManager
from openapi.ws.broker import Deliver
from openapi.ws.brokers.memory import MemoryBroker
from tests.extent import extent
from tests.shuffled import ShuffledLoop
from tests.unwatched import unwatched
from tests.ws.endpoints import application
from tests.ws.linked import Client, Linked

T = TypeVar("T")
Frame = dict[str, Any]

STEPS: Final = extent(20_000, 5_000)
SLICES: Final = extent(5, 2)
STEPS_OF_ONE: Final = 50
EXAMPLES: Final = STEPS // SLICES // STEPS_OF_ONE * 3 // 2  # for some end sooner

RECOVERY: Final = 6
#: How many messages are kept, and for how many seconds.
RULES: Final = {"short": (3, 60.0), "long": (10, 600.0)}
CHANNELS: Final = st.sampled_from(sorted(RULES))
CLIENTS: Final = st.integers(0, 2)
PATTERNS: Final = st.sampled_from(["*", "*", "a*", "b*"])
SELDOM: Final = st.integers(0, 3).map(lambda number: number == 3)
EVENTS: Final = st.sampled_from(["a", "b", "ab"])


@dataclass
class Stream:
    """What was published: event and time of the messages 1, 2, 3 …"""

    epoch: str = ""
    """Whatever the server says first."""
    messages: list[tuple[str, float]] = field(default_factory=list)

    @property
    def top(self) -> int:
        return len(self.messages)

    def event(self, offset: int) -> str:
        return self.messages[offset - 1][0]


@dataclass
class Channel:
    """One channel, and how far those who are subscribed have got."""

    name: str
    stream: Stream = field(default_factory=Stream)
    live: Stream | None = None
    """The stream whose messages they get; None where nobody is subscribed."""
    heard: int = 0
    """Its newest message that they got."""
    lost: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    """Epochs that are known to be those of lost streams, while anybody is subscribed."""

    @property
    def is_behind(self) -> bool:
        """Whether there is more than they heard of."""
        return self.live is not None and (self.live, self.heard) != (self.stream, self.stream.top)

    def first_kept(self, now: float) -> int:
        """The oldest message that history has."""
        keep, seconds = RULES[self.name]
        first = self.stream.top + 1
        while (
            first > 1
            and first > self.stream.top + 1 - keep
            and self.stream.messages[first - 2][1] >= now - seconds
        ):
            first -= 1
        return first


class User:
    """A client, on one connection after another."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.patterns: dict[str, list[str]] = {}
        self.due: dict[str, list[Frame]] = {}
        """What it is to have got since the last step, by channel."""
        self.positions: dict[str, list[tuple[str, int]]] = {}
        """Epochs and offsets that it was told, on any of its connections."""

    def wants(self, channel: str, event: str) -> bool:
        return any(fnmatchcase(event, pattern) for pattern in self.patterns.get(channel, ()))

    def knows(self, channel: str, epoch: str, offset: int) -> None:
        self.positions.setdefault(channel, []).append((epoch, offset))


class Bus(MemoryBroker):
    """Does not deliver as many messages as it is told to lose."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock=clock)
        self.lost = 0

    async def open(self, deliver: Deliver) -> None:
        async def carry(
            channel: str, event: str, data: object, position: Position | None = None
        ) -> None:
            if self.lost:
                self.lost -= 1
            else:
                await deliver(channel, event, data, position)

        await super().open(carry)


class Model(RuleBasedStateMachine):
    """Publish, subscribe, recover, drop, expire, lose, in any order."""

    seen: ClassVar = Counter[str]()

    @initialize(order=st.integers(0, 2**16))
    def begin(self, order: int) -> None:
        self.wall = 1_000_000.0
        self.now = self.wall
        self.channels = {name: Channel(name) for name in RULES}
        self.users = [User() for _ in range(3)]
        self.loop = ShuffledLoop(order, turns=1_000_000)
        self.bus = Bus(lambda: self.wall)
        self.sockets = SocketsManager(
            broker=self.bus,
            channels=[
                ChannelRule(name, history=keep, ttl=timedelta(seconds=seconds))
                for name, (keep, seconds) in RULES.items()
            ],
            limits=Limits(ping_interval=None, recovery=RECOVERY),
        )
        self.server = Linked(application(sockets=self.sockets))
        self.run(self.server.__aenter__())

    # What clients do

    @rule(number=CLIENTS, channel=CHANNELS, pattern=PATTERNS)
    def subscribe(self, number: int, channel: str, pattern: str) -> None:
        answer = self.join(self.users[number], channel, pattern, None)
        assert "recovered" not in answer

    @rule(
        number=CLIENTS,
        channel=CHANNELS,
        events=st.lists(EVENTS, max_size=RECOVERY + 1),
        away=st.sampled_from([0.0, 0.0, 30.0, 61.0]),
    )
    def come_back(self, number: int, channel: str, events: list[str], away: float) -> None:
        """Cut off, and back at where it was, sooner or later."""
        user = self.users[number]
        if channel not in user.patterns:
            self.join(user, channel, "*", None)
        self.drop(number)
        self.burst(channel, events)
        self.time_passes(away)
        self.join(user, channel, "*", user.positions[channel][-1])

    @rule(number=CLIENTS, channel=CHANNELS, pattern=PATTERNS)
    def recover(self, number: int, channel: str, pattern: str) -> None:
        user = self.users[number]
        if positions := user.positions.get(channel):
            self.join(user, channel, pattern, positions[-1])

    @rule(number=CLIENTS, channel=CHANNELS, pattern=PATTERNS, data=st.data())
    def recover_from_long_ago(
        self, number: int, channel: str, pattern: str, data: st.DataObject
    ) -> None:
        user = self.users[number]
        if positions := user.positions.get(channel):
            position = data.draw(st.sampled_from(positions))
            self.join(user, channel, pattern, position)

    @rule(number=CLIENTS, channel=CHANNELS, ahead=st.integers(1, 2), is_other=st.booleans())
    def recover_from_nowhere(self, number: int, channel: str, ahead: int, is_other: bool) -> None:
        stream = self.channels[channel].stream
        epoch = "other" if is_other else stream.epoch or "none"
        self.join(self.users[number], channel, "*", (epoch, stream.top + ahead))

    @rule(number=CLIENTS, channel=CHANNELS, pattern=st.none() | PATTERNS)
    def unsubscribe(self, number: int, channel: str, pattern: str | None) -> None:
        user = self.users[number]
        if user.client is None:
            return
        payload = {"channel": channel, "event": pattern}
        answer = self.run(user.client.ask("unsubscribe", payload))
        has = user.patterns.get(channel)
        if has is None:
            assert answer["error"]["errors"] == {"channel": "Invalid channel"}
            return
        user.patterns[channel] = [each for each in has if pattern not in (None, each)]
        if not user.patterns[channel]:
            self.part(user, channel)
        assert answer["response"] == {"subscribed": user.patterns}

    @rule(number=CLIENTS, channel=CHANNELS, event=EVENTS)
    def publish(self, number: int, channel: str, event: str) -> None:
        user = self.users[number]
        payload = {"channel": channel, "event": event, "data": None}
        answer = self.run(self.connected(user).ask("publish", payload))["response"]
        self.published(channel, event)
        stream = self.channels[channel].stream
        stream.epoch = stream.epoch or answer["epoch"]
        assert answer == payload | {"offset": stream.top, "epoch": stream.epoch}
        user.knows(channel, stream.epoch, stream.top)

    @rule(number=CLIENTS)
    def drop(self, number: int) -> None:
        """The connection is lost."""
        user = self.users[number]
        if user.client is not None:
            user.client.reset()
            user.client = None
            for channel in tuple(user.patterns):
                self.part(user, channel)

    @rule(
        number=CLIENTS,
        channel=CHANNELS,
        back=st.none() | st.integers(0, 12),
        reverse=st.booleans(),
        limit=st.integers(0, RECOVERY),
    )
    def history(
        self, number: int, channel: str, back: int | None, reverse: bool, limit: int
    ) -> None:
        about = self.channels[channel]
        stream = about.stream
        kept = range(about.first_kept(self.now), stream.top + 1)
        payload = {"channel": channel, "reverse": reverse, "limit": limit}
        if back is not None and stream.epoch:
            since = max(0, stream.top - back)
            payload["since"] = {"offset": since, "epoch": stream.epoch}
            kept = (
                range(kept.start, min(since, kept.stop))
                if reverse
                else kept[max(0, since + 1 - kept.start) :]
            )
        answer = self.run(self.connected(self.users[number]).ask("history", payload))["response"]
        stream.epoch = stream.epoch or answer["epoch"]
        expected = (kept[::-1] if reverse else kept)[:limit]
        messages = [self.frame(channel, stream, offset) for offset in expected]
        assert answer == {"messages": messages, "offset": stream.top, "epoch": stream.epoch}

    @rule(number=CLIENTS, channel=CHANNELS)
    def read_another_stream(self, number: int, channel: str) -> None:
        payload = {"channel": channel, "since": {"offset": 0, "epoch": "other"}}
        answer = self.run(self.connected(self.users[number]).ask("history", payload))
        assert list(answer["error"]["errors"]) == ["since"]

    # What happens to the server

    @rule(channel=CHANNELS, events=st.lists(EVENTS, min_size=1, max_size=8))
    def burst(self, channel: str, events: list[str]) -> None:
        """Many messages, one after another, with no time for anything in between."""

        async def publish() -> None:
            for event in events:
                await self.sockets.publish(channel, event, None)

        if self.channels[channel].is_behind:
            events = events[:1]  # or what is read would depend on when
        self.run(publish())
        for event in events:
            self.published(channel, event)

    @rule(channel=CHANNELS, events=st.lists(EVENTS, min_size=1, max_size=6))
    def publish_in_vain(self, channel: str, events: list[str]) -> None:
        """Messages that are kept, and that the bus does not deliver."""

        async def publish() -> None:
            for event in events:
                if self.channels[channel].live is not None:
                    self.bus.lost = 1
                await self.sockets.publish(channel, event, None)

        self.run(publish())
        for event in events:
            self.channels[channel].stream.messages.append((event, self.now))

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        """By the clock; nobody looks at it meanwhile."""
        self.wall += seconds
        self.now += seconds
        self.run(self.bus.members("nobody"))  # the broker's clock sees it

    @rule(seconds=st.sampled_from([1.0, 61.0, 5000.0]))
    def the_clock_is_set_back(self, seconds: float) -> None:
        """No time has passed."""
        self.wall -= seconds
        self.run(self.bus.members("nobody"))

    @rule()
    def it_is_quiet(self) -> None:
        """So long that positions are compared."""
        self.run(asyncio.sleep(60))
        for channel in self.channels.values():
            if channel.is_behind:
                self.notice(channel, None)

    @rule(channel=CHANNELS, is_lost=SELDOM)
    def lose(self, channel: str, is_lost: bool) -> None:
        """The stream is lost; nobody is told."""
        if is_lost:
            self.bus.forget(channel)
            self.channels[channel].stream = Stream()

    # What the model says

    def published(self, name: str, event: str) -> None:
        """A message was published, and carried."""
        channel = self.channels[name]
        was_behind = channel.is_behind
        channel.stream.messages.append((event, self.now))
        if channel.live is None:
            return
        if was_behind:
            self.notice(channel, channel.stream.top)
        else:
            self.hand_on(channel)

    def notice(self, channel: Channel, came: int | None) -> None:
        """They are behind, which is found out; ``came`` is the message that told."""
        stream = channel.stream
        if channel.live is not stream:
            self.reset(channel, stream.top if came is None else came - 1)
        elif channel.heard + 1 < channel.first_kept(self.now):
            self.reset(channel, stream.top)
        while channel.heard < stream.top:
            self.hand_on(channel)

    def hand_on(self, channel: Channel) -> None:
        assert channel.live is not None
        channel.heard += 1
        for user in self.users:
            if user.wants(channel.name, channel.live.event(channel.heard)):
                frame = self.frame(channel.name, channel.live, channel.heard)
                user.due.setdefault(channel.name, []).append(frame)

    def reset(self, channel: Channel, offset: int) -> None:
        self.seen["resets"] += 1
        if channel.live is not None and channel.live is not channel.stream:
            channel.lost.append(channel.live.epoch)
        channel.live, channel.heard = channel.stream, offset
        for user in self.users:
            if channel.name in user.patterns:
                frame = {"channel": channel.name, "event": "$reset", "data": {"offset": offset}}
                user.due.setdefault(channel.name, []).append(frame)

    def frame(self, channel: str, stream: Stream, offset: int) -> Frame:
        return {"channel": channel, "event": stream.event(offset), "data": None, "offset": offset}

    def join(
        self, user: User, name: str, pattern: str, since: tuple[str, int] | None
    ) -> dict[str, Any]:
        """Subscribe, and compare the answer."""
        client, channel = self.connected(user), self.channels[name]
        payload: dict[str, Any] = {"channel": name, "event": pattern}
        if since is not None:
            payload["recover"] = {"epoch": since[0], "offset": since[1]}
        answer: dict[str, Any] = self.run(client.ask("subscribe", payload))["response"]
        if channel.live is None:
            channel.live, channel.heard = channel.stream, channel.stream.top
            channel.lost.clear()
        # A position that the stream may have reached unseen is looked for.
        looks = since is not None and (
            since[1] > channel.heard
            if since[0] == channel.live.epoch
            else since[0] not in channel.lost
        )
        if looks and channel.is_behind:
            self.notice(channel, None)
        live = channel.live
        live.epoch = live.epoch or answer["epoch"]
        if looks and since is not None and since[0] != live.epoch:
            channel.lost.append(since[0])
        if pattern not in (patterns := user.patterns.setdefault(name, [])):
            patterns.append(pattern)
        expected = {
            "subscribed": user.patterns,
            "offset": channel.heard,
            "epoch": live.epoch,
        }
        user.knows(name, live.epoch, channel.heard)
        if since is not None:
            recovered = self.is_kept(channel, since)
            if recovered is None:
                recovered = bool(answer["recovered"])
            expected["recovered"] = recovered
            offsets = range(since[1] + 1, channel.heard + 1) if recovered else range(0)
            expected["messages"] = [
                self.frame(name, live, offset)
                for offset in offsets
                if fnmatchcase(live.event(offset), pattern)
            ]
            self.seen["recovered" if recovered else "not recovered"] += (
                len(offsets) if recovered else 1
            )
        assert answer == expected
        return answer

    def is_kept(self, channel: Channel, since: tuple[str, int]) -> bool | None:
        """Whether all is kept behind a position. None: history has it no more, a process may."""
        epoch, offset = since
        assert channel.live is not None
        if epoch != channel.live.epoch or not 0 <= channel.heard - offset <= RECOVERY:
            return False
        if channel.live is channel.stream and offset + 1 >= channel.first_kept(self.now):
            return True
        if offset == channel.heard:
            return True
        return None if channel.is_behind else False

    def part(self, user: User, name: str) -> None:
        """A user has left a channel."""
        del user.patterns[name]
        if not any(name in each.patterns for each in self.users):
            self.channels[name].live = None

    def connected(self, user: User) -> Client:
        if user.client is None:
            user.client = self.run(self.server.connect())
        return user.client

    @invariant()
    def everyone_has_got_what_they_should(self) -> None:
        self.seen["steps"] += 1
        self.run(asyncio.sleep(0.001))
        for user in self.users:
            came: dict[str, list[Frame]] = {}
            while user.client is not None and not user.client.messages.empty():
                frame = user.client.messages.get_nowait()
                name = frame["channel"]
                stream = self.channels[name].stream
                if frame["event"] == "$reset":
                    epoch = frame["data"].pop("epoch")
                    stream.epoch = stream.epoch or epoch
                    assert epoch == stream.epoch
                came.setdefault(name, []).append(frame)
                offset = frame["data"]["offset"] if frame["data"] else frame["offset"]
                live = self.channels[name].live
                if live is not None:
                    user.knows(name, live.epoch, offset)
            if user.client is not None:
                assert came == user.due
            user.due = {}

    # How it is run

    def run(self, doing: Awaitable[T]) -> T:
        """Do something, until nothing happens any more."""

        async def settled() -> T:
            result = await doing
            await asyncio.sleep(0.001)
            return result

        with patch("time.time", lambda: self.wall):
            return self.loop.run_until_complete(settled())

    def teardown(self) -> None:
        self.run(self.server.__aexit__(None, None, None))
        self.loop.wind_up(failed=False)
        self.loop.close()
        assert not self.loop.faults


@pytest.mark.parametrize("part", range(SLICES))
def test_what_is_recovered_and_what_comes_live_is_exactly_what_a_list_says(part: int) -> None:
    class Part(Model):
        seen: ClassVar = Counter[str]()

    with unwatched(part > 0):
        run_state_machine_as_test(
            seed(part)(Part),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS_OF_ONE,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    seen = Part.seen
    assert seen["steps"] >= STEPS // SLICES
    assert min(seen["recovered"], seen["not recovered"], seen["resets"]) > 10, seen
