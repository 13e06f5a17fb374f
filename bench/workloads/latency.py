"""How long a message takes to its subscribers, while the server's core is half full.

The load is an open loop: messages are published when they are due, whether or not the last ones
have arrived, and a delay is counted from when the message was due. So a server that falls behind
cannot make its own figures better.

The rate is half of that at which the core is full with messages that go alone: their CPU is
measured first, on the same process.
"""

import time
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Final

from bench.figures import Headroom, Sample
from bench.load import READ, connected, lost, watch
from bench.process import Meter, Server
from bench.workloads.fan_out import Audience, Publisher, publish, subscribe
from bench.workloads.own import asked, is_ours, said
from bench.workloads.workload import Scale, Workload

if TYPE_CHECKING:
    from bench.peers import Peer

__all__ = ["WORKLOADS", "Delays", "at_rate", "percentile"]

_SUBSCRIBERS: Final = 1000
_LOAD: Final = 0.5
#: Times as long as anything else is counted: a 99.9th percentile is of few.
_LONGER: Final = 2.5


def percentile(ordered: Sequence[float], part: float) -> float:
    """The least of some values, in their order, that is not exceeded by that part of them.

    Raises ``ValueError`` where there are none.
    """
    if not ordered:
        raise ValueError("there are no values")
    return ordered[min(len(ordered) - 1, max(0, ceil(part * len(ordered)) - 1))]


class Delays:
    """How late an audience gets what comes from now on, in ``seconds``.

    ``due`` is when each publication was to be sent, by :func:`time.perf_counter`; it is looked at
    when one has arrived.
    """

    def __init__(self, audience: Audience, due: Sequence[float]) -> None:
        self._audience = audience
        self._due = due
        self._done = dict.fromkeys(audience.have, len(audience.ends))
        self.seconds = array("d")

    def take(self, fd: int, data: bytes) -> None:
        """Take what was read from a subscriber just now."""
        now = time.perf_counter()
        audience, number = self._audience, self._done[fd]
        audience.take(fd, data)
        after = bisect_right(audience.ends, audience.have[fd])
        while number < after:
            self.seconds.append(now - self._due[number])
            number += 1
        self._done[fd] = number


def at_rate(publisher: Publisher, audience: Audience, rate: float, seconds: float) -> Delays:
    """Publish so many a second, for so long, and wait for the last delivery."""
    plan = [0.0] * publisher.sent
    delays, first = Delays(audience, plan), publisher.sent
    all_of_them = [publisher.connection, *audience.subscribers]
    wait = watch(all_of_them)
    recv = {connection.fd: connection.recv for connection in all_of_them}
    publishing = publisher.connection.fd
    begun = time.perf_counter()
    due, end = begun, begun + seconds
    while True:
        now = time.perf_counter()
        while due <= now and due < end:
            plan.append(due)
            publisher.publish(1)
            due = begun + (len(plan) - first) / rate
        if due < end:
            # Whole milliseconds: for the rest it asks again and again.
            ready = wait(int((due - now) * 1e3) / 1e3)
        elif publisher.acknowledged == publisher.sent and audience.has_all(publisher.sent):
            return delays
        else:
            ready = wait()
        for fd, _ in ready:
            data = recv[fd](READ) or lost()
            if fd == publishing:
                publisher.take(data)
            else:
                delays.take(fd, data)


def _measure(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    dialect, own = peer.dialect, is_ours(peer)
    with (
        Server(peer) as server,
        connected(server.port, dialect, _SUBSCRIBERS + 2) as connections,
    ):
        publisher, beside = Publisher(connections.pop(), dialect), connections.pop()
        subscribe(connections, dialect)
        audience = Audience(connections, dialect)
        publish(publisher, audience, 1, scale.warm)
        with Meter(server) as alone:
            count = publish(publisher, audience, 1, scale.counted / 2)
        rate = _LOAD * count / alone.cpu
        seconds = scale.counted * _LONGER
        if own:
            beside.say(said("lag", seconds=seconds))
        with Meter(server) as used:
            delays = at_rate(publisher, audience, rate, seconds)
        lag = next(filter(None, map(asked, beside.messages()))) if own else None
    late = sorted(delays.seconds)
    for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
        value = percentile(late, part) * 1e3
        yield Sample(f"{workload.id}-{name}", f"{workload.title}, {name}", workload.unit, value)
    busy = used.cpu / used.seconds * 100
    for name, title, unit, value in (
        ("rate", "messages published", "messages a second", rate),
        ("busy", "what the server used of its core", "%", busy),
    ):
        yield Sample(f"{workload.id}-{name}", f"{workload.title}: {title}", unit, value)
    if lag is not None:
        for name, title, key in (("lag", "p99", "p99"), ("lag-max", "the most", "max")):
            whole = f"lag of the server's loop at that load, by a timer of 1 ms: {title}"
            yield Sample(f"{workload.id}-{name}", whole, "ms", lag[key])
    yield used.headroom(workload.id, peer.name, len(late))


WORKLOADS: Final = (
    Workload(
        "latency-1000",
        f"delivery to {_SUBSCRIBERS:,} subscribers at half load",
        "ms",
        _measure,
        lambda peer: peer.fan_out,
        rounds=3,
    ),
)
