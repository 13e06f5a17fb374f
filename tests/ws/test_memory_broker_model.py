"""The broker of one process against plain lists, while its clock jumps."""

import asyncio
import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from openapi.protocol.stream import Position, Retention
from openapi.ws.broker import KEY_SECONDS, Member
from openapi.ws.brokers.memory import MemoryBroker
from tests.ws.broker_nodes import Clock, offsets_of

KEPT = Retention(messages=10, seconds=60.0)

channels = st.sampled_from(["c", "d"])
seconds = st.sampled_from([0.0, 1.0, 30.0, 61.0, 301.0])
retentions = st.sampled_from([KEPT, Retention(2, 60.0), Retention(5, 1000.0), Retention(10, 2.0)])


class Machine(RuleBasedStateMachine):
    """A broker whose clock jumps; ``passed`` is the time that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.passed = Clock(), 0.0
        self.brokers = [MemoryBroker(clock=self.clock)]
        self.brokers.append(self.brokers[0].sibling())
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        self.loop.close()

    @rule(seconds=seconds)
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.passed += seconds
        self.look()

    @rule(seconds=st.floats(0.5, 1e9))
    def go_back(self, seconds: float) -> None:
        self.clock.now -= round(seconds)
        self.look()

    def look(self) -> None:
        """Let the broker see the clock as it is now."""
        self.loop.run_until_complete(self.brokers[0].members("nobody"))


class Streams(Machine):
    """Histories and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.tops: dict[str, Position] = {}
        self.kept: dict[str, list[tuple[int, int, float]]] = {"c": [], "d": []}
        self.seconds = dict.fromkeys(self.kept, 0.0)
        self.keys: dict[tuple[str, str], tuple[int, Position, float]] = {}
        self.heard: list[tuple[str, Position]] = []
        self.epochs: set[str] = set()
        self.number = 0
        for broker in self.brokers:
            self.loop.run_until_complete(self.begin(broker))

    async def begin(self, broker: MemoryBroker) -> None:
        async def deliver(
            channel: str, event: str, data: object, position: Position | None = None
        ) -> None:
            assert position is not None
            self.heard.append((channel, position))

        await broker.open(deliver)
        for channel in self.kept:
            await broker.subscribe(channel)

    def keep(self, channel: str, retention: Retention) -> None:
        self.seconds[channel] = retention.seconds
        self.expire(channel)
        self.kept[channel] = self.kept[channel][-retention.messages :]

    def expire(self, channel: str) -> None:
        self.kept[channel] = [
            each for each in self.kept[channel] if self.passed - each[2] <= self.seconds[channel]
        ]

    def came_to_be(self, channel: str, position: Position) -> None:
        if channel not in self.tops:
            assert position.epoch not in self.epochs
            self.epochs.add(position.epoch)
            self.tops[channel] = Position(0, position.epoch)

    @rule(
        node=st.sampled_from([0, 1]),
        channel=channels,
        retention=retentions,
        key=st.sampled_from([None, None, "k", "l"]),
    )
    def append(self, node: int, channel: str, retention: Retention, key: str | None) -> None:
        known = self.keys.get((channel, key or ""))
        if known is not None and self.passed - known[2] >= KEY_SECONDS:
            known = None
        self.number += 1
        number = self.number if known is None else known[0]
        self.heard.clear()
        position = self.loop.run_until_complete(
            self.brokers[node].append(channel, "", number, retention=retention, key=key)
        )
        if known is not None:
            assert (position, self.heard) == (known[1], [])
            return
        self.came_to_be(channel, position)
        before = self.tops[channel]
        assert position == Position(before.offset + 1, before.epoch)
        assert self.heard == [(channel, position)] * 2
        self.tops[channel] = position
        self.kept[channel].append((position.offset, number, self.passed))
        self.keep(channel, retention)
        for each in self.kept:
            self.expire(each)  # with each message, other channels are looked at
        if key is not None:
            self.keys[channel, key] = number, position, self.passed

    @rule(
        node=st.sampled_from([0, 1]),
        channel=channels,
        retention=retentions,
        offset=st.none() | st.integers(0, 30),
        limit=st.integers(0, 12),
        reverse=st.booleans(),
    )
    def read(
        self,
        node: int,
        channel: str,
        retention: Retention,
        offset: int | None,
        limit: int,
        reverse: bool,
    ) -> None:
        since = None
        if offset is not None and channel in self.tops:
            since = Position(offset, self.tops[channel].epoch)
        page = self.loop.run_until_complete(
            self.brokers[node].history(
                channel, retention=retention, since=since, limit=limit, reverse=reverse
            )
        )
        self.came_to_be(channel, page.top)
        assert page.top == self.tops[channel]
        self.keep(channel, retention)
        kept = self.kept[channel]
        if since is not None and reverse:
            kept = [each for each in kept if each[0] < since.offset]
        elif since is not None:
            kept = [each for each in kept if each[0] > since.offset]
        expected = (kept[::-1] if reverse else kept)[:limit]
        assert offsets_of(page) == [offset for offset, _, _ in expected]
        assert [json.loads(each.data.json) for each in page.messages] == [n for _, n, _ in expected]

    @rule(channel=channels)
    def lose(self, channel: str) -> None:
        self.brokers[0].forget(channel)
        self.tops.pop(channel, None)
        self.kept[channel].clear()

    @invariant()
    def has_no_gap(self) -> None:
        for channel, top in self.tops.items():
            offsets = [offset for offset, _, _ in self.kept[channel]]
            assert offsets == list(range(top.offset + 1 - len(offsets), top.offset + 1))


class Rosters(Machine):
    """Who is present, and who was told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.expires: dict[str, tuple[str, float]] = {}
        self.told: set[str] = set()

    @rule(
        name=st.sampled_from("123456"),
        member=st.sampled_from("ab"),
        ttl=st.sampled_from([10.0, 60.0, 1000.0]),
    )
    def enter(self, name: str, member: str, ttl: float) -> None:
        id, _ = self.expires.get(name, (member, 0.0))  # it stays the same member's
        self.expires[name] = id, self.passed + ttl
        new = self.run(self.brokers[0].enter("c", {name: Member(id)}, ttl=ttl))
        assert [each.id for each in new] == ([] if id in self.told else [id])
        self.told.add(id)

    @rule(names=st.sets(st.sampled_from("123456")))
    def leave(self, names: set[str]) -> None:
        for name in names:
            self.expires.pop(name, None)
        gone = self.run(self.brokers[1].leave("c", names))
        assert {each.id for each in gone} == self.told - self.there()
        self.told = self.there()

    @rule(names=st.sets(st.sampled_from("123456")), ttl=st.sampled_from([10.0, 60.0]))
    def refresh(self, names: set[str], ttl: float) -> None:
        for name, (_, expires) in tuple(self.expires.items()):
            if expires <= self.passed:
                del self.expires[name]
        found = self.run(self.brokers[1].refresh("c", names, ttl=ttl))
        assert set(found.lost) == names - self.expires.keys()
        assert {each.id for each in found.expired} == self.told - self.there()
        self.told = self.there()
        for name in names & self.expires.keys():
            self.expires[name] = self.expires[name][0], self.passed + ttl

    @rule()
    def look_at_members(self) -> None:
        members = self.run(self.brokers[0].members("c"))
        alive = [id for id, expires in self.expires.values() if expires > self.passed]
        assert {each.id: each.connections for each in members} == {
            id: alive.count(id) for id in alive
        }

    def there(self) -> set[str]:
        return {id for id, _ in self.expires.values()}

    def run(self, call: Any) -> Any:
        return self.loop.run_until_complete(call)

    @rule(seconds=seconds)
    def pass_time(self, seconds: float) -> None:
        # Nobody is away for so long that all are forgotten without a word.
        latest = max((expires for _, expires in self.expires.values()), default=self.passed)
        super().pass_time(min(seconds, max(0.0, latest + 5.0 - self.passed)))


TestStreams = Streams.TestCase
TestStreams.settings = settings(max_examples=60, stateful_step_count=40)
TestRosters = Rosters.TestCase
TestRosters.settings = settings(max_examples=60, stateful_step_count=40)
