"""What is published once reaches all subscribers of a channel.

*Isolated*: the next is published when the last has reached everybody. *8 in flight*: on one
connection eight publishes are on their way, and the next follows as one of them is acknowledged.
"""

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from bench.figures import Headroom, Sample
from bench.load import READ, Connection, Frames, WrongAnswerError, connected, lost, watch
from bench.process import Meter, Server
from bench.workloads.own import is_ours
from bench.workloads.workload import Scale, Workload

if TYPE_CHECKING:
    from bench.dialects import Dialect
    from bench.peers import Peer

__all__ = ["CHANNEL", "WORKLOADS", "Audience", "Publisher", "publish", "subscribe"]

CHANNEL: Final = "c"
_UNIT: Final = "µs of server CPU per delivery"
_FEW: Final = 500
_ISOLATED: Final = 1
_MANY: Final = 8


def subscribe(
    connections: Sequence[Connection], dialect: "Dialect", channel: str = CHANNEL
) -> None:
    """Subscribe all of them; each has its answer when this returns."""
    for begin in range(0, len(connections), 100):
        some = connections[begin : begin + 100]
        for connection in some:
            connection.say(dialect.subscribe(channel))
        for connection in some:
            next(filter(dialect.subscribed, connection.messages()))


class Publisher:
    """A connection that publishes; ``sent`` and ``acknowledged`` count what it did."""

    def __init__(self, connection: Connection, dialect: "Dialect", channel: str = CHANNEL) -> None:
        self.connection = connection
        self._dialect = dialect
        self._channel = channel
        self._frames = Frames()
        self.sent = 0
        self.acknowledged = 0

    def publish(self, count: int) -> None:
        """Publish the next ones, in one write."""
        numbers = range(self.sent, self.sent + count)
        self.connection.send(
            b"".join(
                self.connection.frame(self._dialect.publish(self._channel, number))
                for number in numbers
            )
        )
        self.sent += count

    def take(self, data: bytes) -> int:
        """How many were acknowledged by what was read."""
        count = 0
        for one in self._frames.feed(data):
            if one.opcode >= 8:
                self.connection.control(one)
            elif self._dialect.published(one.payload):
                count += 1
        self.acknowledged += count
        if self.acknowledged > self.sent:
            raise WrongAnswerError("more was acknowledged than published")
        return count


class Hearing(Protocol):
    """What is needed of a dialect to check deliveries."""

    def delivered(self, payload: bytes) -> int | None:
        """The number of the publication; None for another message. Raises AssertionError."""


class Audience:
    """Checks what subscribers get: everything that is published, once, in its order.

    Who gets a publication first has it checked as a whole, and its frame is added to ``stream``:
    what everybody else gets is compared with that, byte by byte. Only where it differs it is taken
    apart: there was a ping, or a server tells each subscriber something of its own.

    ``received`` is how far all have come in ``stream``, together, in bytes.
    """

    def __init__(self, subscribers: Sequence[Connection], dialect: Hearing) -> None:
        self._dialect = dialect
        self._subscribers = {connection.fd: connection for connection in subscribers}
        self._cut: dict[int, Frames] = {}
        self.stream = bytearray()
        #: Where in ``stream`` each publication ends.
        self.ends: list[int] = []
        #: How far each has come.
        self.have = dict.fromkeys(self._subscribers, 0)
        self.received = 0

    @property
    def subscribers(self) -> list[Connection]:
        """Who they are."""
        return list(self._subscribers.values())

    def leave(self, connection: Connection) -> None:
        """Expect nothing more of a subscriber."""
        del self._subscribers[connection.fd]
        self.received -= self.have.pop(connection.fd)

    def take(self, fd: int, data: bytes) -> None:
        """Take what was read from a subscriber. Raises ``AssertionError`` for what is wrong."""
        at = self.have[fd]
        if fd not in self._cut and self.stream.startswith(data, at):
            self.have[fd] = at + len(data)
            self.received += len(data)
        else:
            self._look(fd, at, data)

    def has_all(self, count: int) -> bool:
        """Whether everybody has so many publications, and there were no more."""
        return len(self.ends) == count and self.received == len(self.stream) * len(self.have)

    def has(self, count: int) -> bool:
        """Whether as much was delivered as the first so many publications are to everybody."""
        if count <= 0:
            return True
        return len(self.ends) >= count and self.received >= self.ends[count - 1] * len(self.have)

    def _look(self, fd: int, at: int, data: bytes) -> None:
        number = bisect_right(self.ends, at)
        begin = self.ends[number - 1] if number else 0
        frames = self._cut.pop(fd, None) or Frames(bytes(self.stream[begin:at]))
        for one in frames.feed(data):
            if one.opcode >= 8:
                self._subscribers[fd].control(one)
                continue
            found = self._dialect.delivered(one.payload)
            if found is None:
                continue
            if found != number:
                raise WrongAnswerError(f"publication {number} was to come, not {found}")
            if number == len(self.ends):
                self.stream += one.raw
                self.ends.append(len(self.stream))
            number += 1
        now = self.ends[number - 1] if number else 0
        self.received += now - at
        self.have[fd] = now
        if frames.rest:
            self._cut[fd] = frames


def publish(publisher: Publisher, audience: Audience, in_flight: int, seconds: float) -> int:
    """Publish for so long, and wait for what is on its way; returns how many publications.

    With one in flight, the next waits for the last delivery; with several for an acknowledgement.
    Raises ``AssertionError`` for what is wrong, ``TimeoutError`` for what does not come.
    """
    subscribers = audience.subscribers
    wait = watch([publisher.connection, *subscribers])
    recv = {each.fd: each.recv for each in (publisher.connection, *subscribers)}
    publishing, take, before = publisher.connection.fd, audience.take, publisher.sent
    end = time.perf_counter() + seconds
    publisher.publish(in_flight)
    while True:
        acknowledged = 0
        for fd, _ in wait():
            data = recv[fd](READ) or lost()
            if fd == publishing:
                acknowledged += publisher.take(data)
            else:
                take(fd, data)
        goes_on = time.perf_counter() < end
        if goes_on and in_flight > 1:
            if acknowledged:
                publisher.publish(acknowledged)
        elif publisher.acknowledged == publisher.sent and audience.has_all(publisher.sent):
            if not goes_on:
                return publisher.sent - before
            publisher.publish(1)


def _measure(
    subscribers: int,
    in_flight: int,
    options: Sequence[str],
    workload: Workload,
    peer: "Peer",
    scale: Scale,
) -> Iterator[Sample | Headroom]:
    dialect = peer.dialect
    with (
        Server(peer, *options) as server,
        connected(server.port, dialect, subscribers + 1) as connections,
    ):
        publisher = Publisher(connections.pop(), dialect)
        subscribe(connections, dialect)
        audience = Audience(connections, dialect)
        publish(publisher, audience, in_flight, scale.warm)
        with Meter(server) as used:
            count = publish(publisher, audience, in_flight, scale.counted)
    yield workload.sample(used.cpu / count / subscribers * 1e6)
    yield used.headroom(workload.id, peer.name, count * subscribers)


def _to(subscribers: int, in_flight: int) -> Workload:
    way = "isolated" if in_flight == _ISOLATED else f"{in_flight} publishes in flight"
    return Workload(
        f"fan-out-{subscribers}-{'isolated' if in_flight == _ISOLATED else in_flight}",
        f"fan-out to {subscribers:,} subscribers, {way}",
        _UNIT,
        partial(_measure, subscribers, in_flight, ()),
        lambda peer: peer.fan_out,
        quick=subscribers == _FEW,
    )


def _beside(
    patterns: int, workload: Workload, peer: "Peer", scale: Scale
) -> Iterator[Sample | Headroom]:
    options = ("--patterns", str(patterns))
    yield from _measure(_FEW, _MANY, options, workload, peer, scale)
    isolated = replace(
        workload,
        id=f"{workload.id}-isolated",
        title=workload.title.replace(f"{_MANY} publishes in flight", "isolated"),
    )
    yield from _measure(_FEW, _ISOLATED, options, isolated, peer, scale)


def _patterns(count: int) -> Workload:
    return Workload(
        f"patterns-{count}",
        f"fan-out to {_FEW} subscribers, {_MANY} publishes in flight,"
        f" beside {count:,} other patterns",
        _UNIT,
        partial(_beside, count),
        is_ours,
    )


WORKLOADS: Final = (
    *(
        _to(subscribers, in_flight)
        for subscribers in (_FEW, 5000)
        for in_flight in (_ISOLATED, _MANY)
    ),
    *map(_patterns, (0, 100, 10_000)),
)
