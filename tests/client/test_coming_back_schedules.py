"""A client that lasts, in many orders of events: the whole of it, with real servers in memory.

There are two servers behind one URL, whose brokers are late and lose what they carry, and whole
streams. The network is slow, is cut, goes silent, and refuses. Servers are killed, and shut down
with grace; each comes back. Meanwhile readers read their subscriptions, each of which lasts across
all that, and are cancelled; calls are made, streams are read, and messages published, once.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from aiohttp import web

from openapi.client import Backoff, Client, Position, PositionLost, Subscription
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode
from openapi.protocol.limits import Limits
from openapi.protocol.patterns import Pattern
from openapi.testing import Link
from openapi.testing.client import connected
from openapi.testing.link import refused
from openapi.testing.server import Server, ServerState
from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe
from tests.client.clouds import Cloud
from tests.shuffled import pause, run, running_loop
from tests.unwatched import unwatched

SCHEDULES: Final = 300
SLICES: Final = 10  # so that a failure names a part of them, and several may fail

CHANNEL: Final = "kept"
PATTERNS: Final = ("*", "*", "a*", "b*")
TROUBLES: Final = (
    *("cut", "cut", "kill", "drain", "drain"),
    *("silence", "refuse", "take back", "take back"),
)

SOCKETS: Final = web.AppKey("SOCKETS", SocketsManager)
WORLD: "web.AppKey[World]" = web.AppKey("WORLD")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong on purpose is logged, thousands of times."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


async def ended(app: web.Application) -> None:
    """The application has ended, and so does its manager."""
    await app[SOCKETS].drain()


def reported(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Something was reported to the loop: all of it is a fault, but for one of aiohttp's.

    What serves a connection fails where that is lost in the turn in which it was made.
    """
    failed = context.get("future")
    work = failed.get_coro() if isinstance(failed, asyncio.Task) else None
    name = getattr(work, "__qualname__", "")
    if name != "RequestHandler.start" or not isinstance(context["exception"], AssertionError):
        loop.default_exception_handler(context)


class Endpoint(WsPathMixin, Subscribe, Publish):
    """Allows everything, and answers everything, sooner or later."""

    SOCKETS_KEY = SOCKETS

    @property
    def world(self) -> "World":
        return self.request.app[WORLD]

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        await self.world.later()
        return True

    async def ws_rpc_run(self, payload: dict[str, int]) -> int:
        await self.world.later()
        self.world.runs[payload["n"]] += 1
        await self.world.later()
        return payload["n"]

    async def ws_rpc_count(self, payload: dict[str, int]) -> AsyncIterator[int]:
        for number in range(payload["to"]):
            await self.world.later()
            yield number


class Reader:
    """Reads a pattern by one subscription, and holds what it gets against what there is."""

    def __init__(self, world: "World", client: Client) -> None:
        self.world = world
        self.client = client
        self.event = world.rng.choice(PATTERNS)
        self.pattern = Pattern(self.event)
        self.position: Position | None = None

    async def live(self) -> None:
        """Subscribe, and again where the server took it back, or it was left."""
        while True:
            try:
                await self.subscribed()
            except CallFailed:
                self.world.seen["taken back"] += 1

    async def subscribed(self) -> None:
        """Subscribe, and read for a while."""
        rng = self.world.rng
        messages = self.client.subscribe(
            CHANNEL, self.event, recover=self.position, timeout=None, on_renewed=self.renewed
        )
        async with messages:
            if messages.recovered:
                assert messages.position == self.position
            else:
                assert messages.recovered is (None if self.position is None else False)
                self.position = messages.position
            while self.world.rests or rng.random() > 0.02:
                await pause(rng)
                reading = asyncio.ensure_future(anext(messages))
                try:
                    if rng.random() < 0.1 and not self.world.rests:
                        await asyncio.wait([reading], timeout=rng.choice([0, 0.1, 3]))
                        reading.cancel()
                    await asyncio.wait([reading])
                finally:
                    reading.cancel()
                self.read(messages, reading)

    def read(self, messages: Subscription[Any], reading: "asyncio.Future[Any]") -> None:
        """Something was read, or was not."""
        if reading.cancelled():
            self.world.seen["cancelled"] += 1
        elif isinstance(exc := reading.exception(), PositionLost):
            self.position = Position(exc.offset, exc.epoch)
            self.world.seen["lost"] += 1
        else:
            at, before = reading.result().position, self.position
            assert before is not None and at is not None
            assert at.epoch == before.epoch
            assert self.due(before)[:1] == [at.offset]
            streams = self.world.clouds[0].streams[CHANNEL]
            assert streams[at.epoch][at.offset] == reading.result().event
            self.position = at
            self.world.seen["messages"] += 1
        assert messages.position == self.position

    def renewed(self, messages: Subscription[Any]) -> None:
        """Is ``on_renewed``."""
        assert messages.recovered is not None
        self.world.seen["recovered" if messages.recovered else "not recovered"] += 1

    def due(self, position: Position) -> list[int]:
        """The messages behind a position that fit."""
        return self.world.clouds[0].behind(CHANNEL, position, self.pattern)


class World:
    """One schedule."""

    def __init__(self, seen: Counter[str]) -> None:
        self.rng = rng = running_loop().rng
        self.seen = seen
        self.rests = False
        self.runs = Counter[int]()
        self.link = Link(seed=rng.randrange(2**32))
        self.late = rng.random() < 0.7
        self.lossy = rng.random() < 0.5
        self.history = rng.choice([2, 4, 50])
        self.clouds: list[Cloud] = []
        self.servers: list[Server] = []
        self.turn = 0

    async def run(self) -> None:
        """Let things happen for a while, and then come to rest."""
        rng = self.rng
        asyncio.get_running_loop().set_exception_handler(reported)
        late = rng.choice([0, 0, 0.2])
        self.link.to_server.delay = lambda: rng.choice([0, 0, late])
        self.link.to_client.delay = lambda: rng.choice([0, 0, late])
        async with AsyncExitStack() as stack:
            for _ in range(2):
                self.servers.append(await self.server())
            stack.push_async_callback(self.end)
            client = await stack.enter_async_context(self.client())
            readers = [Reader(self, client) for _ in range(3)]
            reading = [asyncio.create_task(reader.live()) for reader in readers]
            others = [
                asyncio.create_task(self.call(client, idempotent=True)),
                asyncio.create_task(self.call(client, idempotent=False)),
                asyncio.create_task(self.stream(client)),
                asyncio.create_task(self.publish(client)),
            ]
            await self.trouble()
            self.rests = True
            await asyncio.gather(*others)
            await asyncio.sleep(100)  # positions are compared meanwhile
            top = await self.clouds[0].now_at(CHANNEL)
            for reader, task in zip(readers, reading, strict=True):
                assert not task.done(), task
                assert reader.position is not None
                assert reader.position.epoch == top.epoch
                assert reader.due(reader.position) == []
            believed = dict.fromkeys((each.event for each in readers), 1)
            assert sorted(self.channels(), key=bool) == [{}, {CHANNEL: believed}]
            for task in reading:
                task.cancel()
            await asyncio.wait(reading)
            assert self.channels() == [{}, {}]
            assert len(self.link.connections) == 1
        assert not self.link.connections
        self.nothing_is_left(client)

    def channels(self) -> list[object]:
        """What each server believes that its connections are subscribed to."""
        return [each.app[SOCKETS].server_info()["channels"] for each in self.servers]

    def client(self) -> Any:
        """Connect the client, which needs the first attempt to succeed, as there is no trouble."""
        url = self.servers[0].url / "stream"
        reconnect = Backoff(first=0.5, cap=self.rng.choice([1, 20]))
        return connected(url, self.find, link=self.link, reconnect=reconnect, calls=4)

    def nothing_is_left(self, client: Any) -> None:
        """The client is closed: it has let go of all that it had."""
        client = client._client
        assert client.closed is not None
        assert not client._keeper._running
        assert not client._renewing._tasks
        assert not client._renewing._subscriptions
        assert not client._renewing._renewals
        assert not len(client._renewing._places)

    async def server(self) -> Server:
        """Start a server."""
        another = self.clouds[0] if self.clouds else None
        cloud = Cloud(self.rng, another, late=self.late, lossy=self.lossy)
        self.clouds.append(cloud)
        app = web.Application()
        app[WORLD] = self
        app[SOCKETS] = SocketsManager(
            broker=cloud,
            channels=[ChannelRule(CHANNEL, history=self.history)],
            limits=Limits(
                drain_window=self.rng.choice([1.0, 30.0]),
                close_timeout=1.0,
                ping_interval=None,
                node_interval=60.0,
            ),
        )
        app.router.add_view("/stream", Endpoint)
        app.on_cleanup.append(ended)  # it may be that nobody ever connects to it
        if self.rng.random() < 0.7:  # the other knows of it, and lets its clients come here first
            await app[SOCKETS].open()
        server = Server(app, shutdown_timeout=1.0)
        await server.start()
        return server

    async def end(self) -> None:
        """End all servers."""
        for server in self.servers:
            await server.aclose()
        for cloud in self.clouds:
            cloud.still()

    def find(self, host: str) -> Server:
        """The server to connect to: in turn, of those that listen."""
        for _ in self.servers:
            self.turn += 1
            server = self.servers[self.turn % 2]
            if server.state is ServerState.LISTENING:
                return server
        raise refused()

    async def later(self) -> None:
        """Take some turns, or some time."""
        rng = self.rng
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random())
        else:
            await pause(rng, most=2)

    async def trouble(self) -> None:
        """Let things go wrong, one after another, and heal them."""
        rng, link = self.rng, self.link
        for _ in range(5):
            await asyncio.sleep(rng.choice([0, 0.01, 1, 5]) * rng.random())
            await pause(rng, most=20)
            match rng.choice(TROUBLES):
                case "cut":
                    link.cut()
                case "silence":
                    link.halt()
                    await asyncio.sleep(rng.choice([1, 40]) * rng.random())
                    link.to_server.halted = link.to_client.halted = False
                case "refuse":
                    link.refusing = True
                    link.cut()
                    await asyncio.sleep(rng.random() * 3)
                    link.refusing = False
                case "take back":
                    for socket in tuple(self.servers[rng.randrange(2)].app[SOCKETS].sockets):
                        await (
                            self.servers[0]
                            .app[SOCKETS]
                            .unsubscribe_socket(CHANNEL, socket_id=socket.socket_id)
                        )
                case how:
                    await self.restart(rng.randrange(2), how)

    async def restart(self, number: int, how: str) -> None:
        """End a server, and start another in its place."""
        server = self.servers[number]
        await (server.shutdown() if how == "drain" else server.aclose())
        await server.aclose()
        self.servers[number] = await self.server()

    async def call(self, client: Client, *, idempotent: bool) -> None:
        """Call a method, again and again."""
        for number in range(0 if idempotent else 1, 24, 2):
            await self.later()
            try:
                got = await client.call(
                    "run", {"n": number}, timeout=None, idempotent=idempotent, returns=int
                )
            except ConnectionClosed as exc:
                assert exc.may_have_run
                assert not idempotent
                assert self.runs[number] <= 1
                self.seen["may have run"] += 1
            else:
                assert got == number
                assert self.runs[number] >= 1 if idempotent else self.runs[number] == 1
                self.seen["run again" if self.runs[number] > 1 else "run once"] += 1

    async def stream(self, client: Client) -> None:
        """Read streams, each to its end."""
        for length in range(0, 24, 3):
            await self.later()
            items: list[int] = []
            try:
                stream = client.stream("count", {"to": length}, type=int)
                async for item in stream:
                    items += [item]
            except ConnectionClosed:
                self.seen["stream ended"] += 1
            except CallFailed as exc:
                assert exc.code == ErrorCode.CANCELLED  # by a server whose time to end is over
            else:
                assert len(items) == length
            assert items == list(range(len(items)))

    async def publish(self, client: Client) -> None:
        """Publish, each message with a key; and lose streams."""
        rng = self.rng
        for number in range(24):
            await self.later()
            if rng.random() < 0.05:
                self.clouds[0].forget(CHANNEL)
            event = f"{rng.choice('ab')}{number}"
            position = await client.publish(CHANNEL, event, number, key=str(number), timeout=None)
            assert position is not None
            streams = self.clouds[0].streams[CHANNEL]
            assert streams[position.epoch][position.offset] == event
            assert sum(event in stream.values() for stream in streams.values()) == 1


@pytest.mark.parametrize("part", range(SLICES))
def test_each_reader_gets_each_message_once_or_is_told_and_each_call_ends_whatever_happens_when(
    part: int,
) -> None:
    seen = Counter[str]()

    async def scenario() -> None:
        await World(seen).run()

    chance = random.getstate()
    try:
        with unwatched(part > 0):
            for seed in range(part, SCHEDULES, SLICES):
                random.seed(seed)  # of what servers and clients leave to chance themselves
                run(seed, scenario, turns=200_000)
    finally:
        random.setstate(chance)
    assert len(seen) == 10, seen  # all of it does happen
