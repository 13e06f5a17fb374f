"""Subscriptions, in ten thousand orders of events: what clients believe and what the server does.

Clients subscribe, recover, unsubscribe, publish, cancel, close and are cut off; ``authorize``
suspends, and allows, refuses or raises; the server subscribes, takes back, asks anew, disconnects.
Whatever the order: each client gets exactly what it is to get while it believes to be subscribed,
both believe the same at rest, and nothing is left when all is over.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, Final
from unittest.mock import patch

import pytest

from openapi.errors import CannotSubscribe, InvalidData, RpcError
from openapi.protocol.topics import TopicIndex
from openapi.spec import ApiPath
from openapi.ws import ChannelRule, Limits, SocketsManager, WsPathMixin, channels
from openapi.ws.connection import Connection
from openapi.ws.pubsub import Publish, Subscribe
from openapi.ws.subscriber import Subscriber
from tests.extent import extent
from tests.shuffled import pause, run, running_loop
from tests.unwatched import unwatched
from tests.ws.belief import Belief, Call
from tests.ws.endpoints import application
from tests.ws.linked import Client, Linked
from tests.ws.weather import Weather

SCHEDULES: Final = extent(10_000, 2_500)
SLICES: Final = extent(20, 5)  # so that a failure names a part of them, and several may fail

KEPT: Final = 4
RECOVERED: Final = 3
PATTERNS: Final = ("*", "*", "a*", "b*")
CHANNELS: Final = ("kept", "kept", "passing")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong on purpose is logged, thousands of times."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Index(TopicIndex[Subscriber]):
    """The server's own belief. It notes who was to get what, and when each subscription began."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: dict[tuple[Subscriber, str], list[str]] = {}
        self.begun: dict[tuple[Subscriber, str, str], int] = {}
        self.refused: dict[tuple[Subscriber, str, str], int] = {}
        """When ``authorize`` was last asked anew and said no."""
        self.asking: set[asyncio.Task[Any]] = set()
        """Those who ask anew."""
        self.moment = 0

    @property
    def asks_anew(self) -> bool:
        """Whether somebody runs who asks anew."""
        return asyncio.current_task() in self.asking

    def now(self) -> int:
        self.moment += 1
        return self.moment

    def subscribers(self, channel: str, event: str) -> Collection[Subscriber]:
        found = super().subscribers(channel, event)
        for subscriber in found:
            self.handed.setdefault((subscriber, channel), []).append(event)
        return found

    def subscribe(self, subscriber: Subscriber, channel: str, pattern: str) -> bool:
        self.begun[subscriber, channel, pattern] = self.now()
        return super().subscribe(subscriber, channel, pattern)

    def unsubscribe(self, subscriber: Subscriber, channel: str, pattern: str | None = None) -> bool:
        if self.asks_anew:
            assert pattern is not None
            key = subscriber, channel, pattern
            assert self.begun[key] < self.refused[key], "what was said of another one's life"
        return super().unsubscribe(subscriber, channel, pattern)


class Endpoint(ApiPath, WsPathMixin, Subscribe, Publish):
    """Allows, refuses or fails, sooner or later."""

    async def on_connect(self) -> None:
        await self.world.broker.wait()
        self.world.endpoints.append(self)
        if self.world.rng.random() < 0.3:
            self.world.unread.add(self.connection.deliveries)

    @property
    def world(self) -> "World":
        """The schedule that it is of."""
        sockets = self.sockets
        assert isinstance(sockets, Manager)
        return sockets.world

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        world, index = self.world, self.world.index
        anew, moment, chance = index.asks_anew, index.now(), world.rng.random()
        if world.suspends:
            await world.broker.wait()
        allowed = chance > (0.5 if anew else 0.2)
        if anew and not allowed:
            index.refused[self.connection.deliveries, channel, event] = moment
        if action == "history":
            return self.connection.deliveries not in world.unread
        if chance < 0.03:
            raise RuntimeError("broken")
        if chance < 0.1:
            raise RpcError(77, "never")
        return allowed


class Manager(SocketsManager):
    """Takes its time behind a subscription, where the schedule says so."""

    def __init__(self, world: "World", **options: Any) -> None:
        super().__init__(**options)
        self.world = world
        with patch.object(channels, "TopicIndex", lambda: world.index):
            assert self.channels.index is world.index

    async def subscribe_to_event(self, channel: str, event: str) -> None:
        if self.world.feeds_slowly:
            await self.world.broker.wait()
            if self.world.rng.random() < 0.1:
                raise CannotSubscribe("nothing feeds it")


class User:
    """A client that does things by chance."""

    def __init__(self, world: "World", client: Client) -> None:
        self.world = world
        self.rng = world.rng
        self.client = client
        self.belief = Belief(world.broker.streams)
        client.heard = self.heard
        self.places: dict[str, tuple[str, int]] = {}

    def heard(self, frame: dict[str, Any]) -> None:
        known = len(self.belief.recoveries)
        self.belief.heard(frame)
        for recovery in self.belief.recoveries[known:]:
            epoch, offset = recovery.since
            newest, top = self.world.broker.top(recovery.channel)
            if not recovery.recovered and self.subscriber not in self.world.unread:
                is_kept = epoch == newest and offset <= top <= offset + RECOVERED
                assert not is_kept, "all that it missed is kept, and it gets nothing of it"
            self.world.seen["recovered" if recovery.recovered else "not recovered"] += 1

    @property
    def subscriber(self) -> Subscriber:
        """The server's end."""
        connection = self.client.transport.get_protocol()
        assert isinstance(connection, Connection)
        return connection.deliveries

    async def live(self) -> None:
        """Do some things, waiting for the answers or not."""
        for _ in range(self.rng.randint(3, 9)):
            await self.pause()
            if self.client.gone:
                return
            if self.rng.random() >= 0.1 or not self.cancel():
                await self.call()
        for channel, place in self.belief.position.items():
            self.places[channel] = place
        end = self.rng.random()
        if end < 0.2:
            self.client.reset()
        elif end < 0.3:
            self.client.close()
            await self.client.closed

    async def call(self) -> None:
        """Call a method, and perhaps wait for the answer."""
        channel = self.rng.choice(CHANNELS)
        method = self.rng.choice(["subscribe", "subscribe", "unsubscribe", "publish"])
        payload: dict[str, Any] = {"channel": channel}
        call = Call(method, channel)
        if method == "publish":
            payload |= self.world.message()
        else:
            if method == "subscribe" or self.rng.random() < 0.5:
                call.pattern = payload["event"] = self.rng.choice(PATTERNS)
            place = self.belief.position.get(channel) or self.places.get(channel)
            if method == "subscribe" and place is not None and self.rng.random() < 0.7:
                call.recover = place
                payload["recover"] = {"offset": place[1], "epoch": place[0]}
        number = self.client.begin(method, payload)
        self.belief.called(number, call)
        if self.rng.random() < 0.5:
            with suppress(ConnectionResetError):
                await self.client.answer(number)

    def cancel(self) -> bool:
        """Cancel a call, if there is one."""
        calls = list(self.belief.calls)
        if calls:
            number = self.rng.choice(calls)
            self.client.send({"id": number, "cancel": True})
            self.belief.calls[number].cancelled = True
        return bool(calls)

    async def pause(self) -> None:
        await pause(self.rng)
        if self.rng.random() < 0.3:
            await asyncio.sleep(self.rng.random() * 2)

    def check(self) -> None:
        """At rest, both believe the same, and all has come that was to come."""
        index, subscriber = self.world.index, self.subscriber
        if self.client.gone:
            assert not index.channels(subscriber)
        else:
            truth = {channel: set(of) for channel, of in index.subscriptions(subscriber).items()}
            assert {channel: set(of) for channel, of in self.belief.subscribed.items()} == truth
            assert self.belief.said == truth
            assert not self.belief.due()
            assert not self.belief.early
            assert not self.belief.calls
        for channel in set(CHANNELS):
            handed = index.handed.get((subscriber, channel), [])
            came = self.belief.live.get(channel, [])
            if self.client.gone:  # what was under way behind the last one is lost
                handed = handed[: handed.index(came[-1]) + 1] if came else []
            # What is held for a subscription that fails in the end goes nowhere.
            failed = self.belief.failed.get(channel, set()) if self.world.feeds_slowly else set()
            for event in handed:
                assert event in came or any(fnmatchcase(event, pattern) for pattern in failed)
            assert came == [event for event in handed if event in came]


class World:
    """One schedule."""

    def __init__(self, seen: Counter[str]) -> None:
        self.rng = rng = running_loop().rng
        self.seen = seen
        self.broker = Weather(rng, late=rng.random() < 0.5, lossy=rng.random() < 0.5)
        self.index = Index()
        self.suspends = rng.random() < 0.8
        self.feeds_slowly = rng.random() < 0.3
        self.users: list[User] = []
        self.endpoints: list[Endpoint] = []
        self.unread: set[Subscriber] = set()
        """Those whom ``authorize`` lets read no history."""
        self.number = 0
        self.sockets = Manager(
            self,
            broker=self.broker,
            channels=[ChannelRule("kept", history=KEPT)],
            limits=Limits(ping_interval=None, recovery=RECOVERED, node_interval=1000),
        )

    def message(self) -> dict[str, Any]:
        """What can be published. No two are equal."""
        self.number += 1
        event = f"{self.rng.choice('ab')}{self.number}"
        return {"event": event, "data": event}

    async def run(self) -> None:
        rng = self.rng
        late = rng.choice([0, 0.2])
        app = application(Endpoint, self.sockets)
        async with Linked(app, delay=lambda: rng.choice([0, 0, late])) as server:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(rng.randint(1, 3)):
                    tasks.create_task(self.come_and_go(server))
                tasks.create_task(self.serve())
            await asyncio.sleep(60)  # positions are compared meanwhile
            for user in self.users:
                user.check()
            self.leave(server)
            await asyncio.sleep(20)
            self.check_nothing_is_left()

    async def come_and_go(self, server: Linked) -> None:
        places: dict[str, tuple[str, int]] = {}
        for _ in range(self.rng.randint(1, 2)):
            user = User(self, server.link())
            user.places = places
            self.users.append(user)
            if not await user.client.opened:
                return
            await user.live()
            if not user.client.gone:
                return

    async def serve(self) -> None:
        """What the server does of its own."""
        rng = self.rng
        async with asyncio.TaskGroup() as tasks:
            for _ in range(rng.randint(3, 9)):
                await pause(rng)
                if rng.random() < 0.5:
                    await asyncio.sleep(rng.random() * 2)
                tasks.create_task(self.act())

    async def act(self) -> None:
        rng, sockets = self.rng, self.sockets
        channel = rng.choice(CHANNELS)
        chance = rng.random()
        if chance < 0.5 or not self.endpoints:
            message = self.message()
            await sockets.publish(channel, message["event"], message["data"])
            return
        socket = rng.choice(self.endpoints)
        if chance < 0.65:
            task = asyncio.current_task()
            assert task is not None
            self.index.asking.add(task)
            self.seen["taken back"] += len(await socket.reauthorize())
        elif chance < 0.8:
            await self.invite(socket.socket_id, channel)
        elif chance < 0.93:
            self.seen["expelled"] += await sockets.unsubscribe_socket(
                channel, socket_id=socket.socket_id
            )
        elif chance < 0.96:
            await sockets.disconnect(socket_id=socket.socket_id)
        else:
            self.broker.forget(channel)

    async def invite(self, socket_id: str, channel: str) -> None:
        """Subscribe somebody who did not ask for it."""
        pattern = self.rng.choice(PATTERNS)
        try:
            count = await self.sockets.subscribe_socket(channel, pattern, socket_id=socket_id)
            self.seen["invited"] += count
        except InvalidData:
            assert self.feeds_slowly

    def leave(self, server: Linked) -> None:
        """Everyone goes."""
        for client in server.clients:
            if self.rng.random() < 0.5:
                client.reset()
            else:
                client.close()

    def check_nothing_is_left(self) -> None:
        left = self.sockets.channels
        sizes = len(left), len(left.gates), len(left.feeds), len(left.occupancy)
        assert sizes == (0, 0, 0, 0)
        assert not left._watchers
        assert self.sockets.server_info() == {"connections": 0, "channels": {}}
        assert not [each for each in self.broker._subscribed if not each.startswith("$")]
        assert not self.broker._lines
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, others
        for user in self.users:
            self.seen["messages"] += sum(map(len, user.belief.live.values()))
            self.seen["resets"] += user.belief.resets


def schedule(seed: int, seen: Counter[str]) -> None:
    async def main() -> None:
        await World(seen).run()

    try:
        run(seed, main)
    except BaseException as exc:
        exc.add_note(f"seed {seed}")
        raise


@pytest.mark.parametrize("part", range(SLICES))
def test_clients_and_server_agree_on_who_has_which_messages_whatever_happens_when(
    part: int,
) -> None:
    seen = Counter[str]()
    with unwatched(part > 0):
        for seed in range(part, SCHEDULES, SLICES):
            schedule(seed, seen)
    # all of it does happen
    assert min(seen.values()) >= 10, seen  # how often depends on the order of the loop
    assert len(seen) == 7, seen
