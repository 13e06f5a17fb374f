"""Subscriptions of a client that is cut off, in many orders of events, with the real server.

Its broker is late, loses what it carries, and whole streams. Several readers of one connection
subscribe, recover, leave, are cancelled, and come back. Whatever the order: each of them gets each
message that fits it once, in order, or is told that some are lost.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from openapi.client import Message, Position, PositionLost, Subscription
from openapi.client.presence import member_of
from openapi.client.subscriptions import Subscriptions
from openapi.errors import CallFailed, ConnectionClosed
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.native import JSON_CLIENT
from openapi.protocol.patterns import Pattern
from openapi.protocol.session import Session
from openapi.rpc.peer import Peer
from openapi.schema import Schema, encode_json
from openapi.spec import ApiPath
from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe
from tests.shuffled import pause, run, running_loop
from tests.unwatched import unwatched
from tests.ws.endpoints import application
from tests.ws.linked import Client, Frame, Linked
from tests.ws.raw import TEXT, masked
from tests.ws.weather import Weather

SCHEDULES: Final = 300
SLICES: Final = 10  # so that a failure names a part of them, and several may fail

CHANNEL: Final = "kept"
PATTERNS: Final = ("*", "*", "a*", "b*")

_read: Final = Schema.of(Any).decode


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong on purpose is logged, thousands of times."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Endpoint(ApiPath, WsPathMixin, Subscribe):
    """Allows everything, sooner or later."""

    broker: Weather

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        await type(self).broker.wait()
        return True


class End:
    """The client's end of a connection: all of it but the socket."""

    def __init__(self, link: Client) -> None:
        session = Session(
            MethodTable({}),
            send=lambda message: link.write(masked(TEXT, message)),
            codec=JSON_CLIENT,
            limits=Limits(),
        )
        self.peer = Peer(session, invoke=_nothing, asked=64)
        self.subscriptions = Subscriptions(
            self.peer.ask, read=_read, write=encode_json, leave_timeout=5.0
        )
        link.heard = self._heard
        link.closed.add_done_callback(lambda closed: self._ended())

    def subscribe(self, event: str, recover: Position | None) -> Subscription[Any]:
        """As :meth:`openapi.client.Client.subscribe`."""
        return Subscription(
            CHANNEL,
            event,
            recover=recover,
            presence=False,
            decode=_read,
            read_member=member_of,
            queue_bytes=2**20,
            open=self.subscriptions.open,
            close=self.subscriptions.close,
        )

    def _heard(self, frame: Frame) -> None:
        for message in self.peer.receive(json.dumps(frame)):
            self.subscriptions.deliver(message)  # type: ignore[arg-type] # no $reconnect is sent

    def _ended(self) -> None:
        self.peer.end(1006)
        self.subscriptions.end(ConnectionClosed(1006))


class Reader:
    """Reads a pattern, over many connections, and holds what it gets against what there is."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.event = world.rng.choice(PATTERNS)
        self.pattern = Pattern(self.event)
        self.position: Position | None = None

    async def read(self, end: End) -> None:
        """Subscribe, and read until the connection ends, or for a while."""
        rng = self.world.rng
        messages = end.subscribe(self.event, self.position)
        try:
            async with messages:
                self.entered(messages)
                while self.world.rests or rng.random() > 0.05:
                    await pause(rng)
                    try:
                        self.got(await anext(messages))
                    except PositionLost as exc:
                        self.position = Position(exc.offset, exc.epoch)
                        self.world.seen["lost"] += 1
                    assert messages.position == self.position
        except CallFailed:
            self.world.seen["taken back"] += 1
        finally:
            assert messages.position == self.position

    def entered(self, messages: Subscription[Any]) -> None:
        """It is subscribed."""
        if messages.recovered:
            assert messages.position == self.position
            self.world.seen["recovered"] += 1
        else:
            assert messages.recovered is (None if self.position is None else False)
            self.position = messages.position
            self.world.seen["not recovered"] += 1

    def got(self, message: Message[Any]) -> None:
        """A message came: it is the next that fits."""
        before, at = self.position, message.position
        assert before is not None and at is not None
        assert at.epoch == before.epoch
        assert self.due(before)[:1] == [at.offset]
        assert self.world.broker.streams[CHANNEL][at.epoch][at.offset] == message.event
        self.position = at
        self.world.seen["messages"] += 1

    def due(self, position: Position) -> list[int]:
        """The messages behind a position that fit."""
        return self.world.broker.behind(CHANNEL, position, self.pattern)


class World:
    """One schedule."""

    def __init__(self, seen: Counter[str]) -> None:
        self.rng = rng = running_loop().rng
        self.seen = seen
        self.rests = False
        self.broker = Endpoint.broker = Weather(
            rng, late=rng.random() < 0.7, lossy=rng.random() < 0.5
        )
        self.sockets = SocketsManager(
            broker=self.broker,
            channels=[ChannelRule(CHANNEL, history=rng.choice([3, 30]))],
            limits=Limits(ping_interval=None),
        )

    async def run(self) -> None:
        """Let things happen for a while, and then come to rest."""
        rng = self.rng
        late = rng.choice([0, 0.2])
        readers = [Reader(self) for _ in range(3)]
        app = application(Endpoint, self.sockets)
        async with Linked(app, delay=lambda: rng.choice([0, 0, late])) as server:
            publishing = asyncio.create_task(self.publish())
            while not publishing.done():
                await self.connection(server, readers, rng.random() * 4)
            self.rests = True
            await self.connection(server, readers, 100)  # positions are compared meanwhile
            epoch, top = self.broker.top(CHANNEL)
            for reader in readers:
                assert reader.position is not None
                assert reader.position.epoch == epoch
                assert reader.due(reader.position) == []

    async def connection(self, server: Linked, readers: list[Reader], seconds: float) -> None:
        """Connect, read, and be cut off after so many seconds."""
        link = await server.connect()
        end = End(link)
        reading = [asyncio.create_task(self.read(each, end)) for each in readers]
        await asyncio.sleep(seconds)
        await pause(self.rng)
        if self.rests:
            believed = {each.event for each in readers}
            assert self.sockets.server_info()["channels"] == {CHANNEL: dict.fromkeys(believed, 1)}
        link.reset()
        await asyncio.gather(*reading)
        await end.subscriptions.wait_idle()
        assert end.subscriptions._channels == {}

    async def read(self, reader: Reader, end: End) -> None:
        """Read as long as the connection lasts, perhaps cancelled now and then."""
        rng = self.rng
        while True:
            reading = asyncio.create_task(reader.read(end))
            if not self.rests and rng.random() < 0.5:
                await asyncio.sleep(rng.choice([0, 0.2, rng.random()]))
                await pause(rng, most=20)
                reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled():
                exc = reading.exception()
                if isinstance(exc, ConnectionClosed):
                    return
                reading.result()

    async def publish(self) -> None:
        """Publish, and take subscriptions back, and lose streams."""
        rng = self.rng
        for number in range(30):
            await pause(rng)
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random())
            if rng.random() < 0.1:
                for socket in tuple(self.sockets.sockets):
                    await self.sockets.unsubscribe_socket(CHANNEL, socket_id=socket.socket_id)
            if rng.random() < 0.05:
                self.broker.forget(CHANNEL)
            await self.sockets.publish(CHANNEL, f"{rng.choice('ab')}{number}", number)


async def _nothing(call: object) -> None:
    """The server calls nothing."""


@pytest.mark.parametrize("part", range(SLICES))
def test_each_message_is_read_once_or_some_are_told_to_be_lost_whatever_happens_when(
    part: int,
) -> None:
    seen = Counter[str]()

    async def scenario() -> None:
        await World(seen).run()

    with unwatched(part > 0):
        for seed in range(part, SCHEDULES, SLICES):
            run(seed, scenario)
    assert min(seen.values()) > 3, seen  # all of it does happen
    assert len(seen) == 5, seen
