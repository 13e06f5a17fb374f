"""Past one process: what is published on one node reaches 1,000 subscribers on another, over Redis.

Beside it the same by python-socketio's AsyncRedisManager. Node B, which delivers, has the server's
core. Node A and Valkey share the load's, so that the wall says more of the machine than of them:
CPU per delivery is the better figure.

Throughput is with 8 messages under way: the next is published when the eighth last has arrived.
Latency is from when a message is due to the clients that read, at 20 messages a second.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bench.figures import Headroom, Sample
from bench.load import READ, connected, lost, watch
from bench.process import LOAD_CORE, Meter, Server, cpu_of
from bench.workloads.fan_out import Audience, Publisher, subscribe
from bench.workloads.latency import at_rate, percentile
from bench.workloads.workload import Scale, Workload
from tests.servers.valkey import ValkeyServer

if TYPE_CHECKING:
    from bench.peers import Peer

__all__ = ["WORKLOADS"]

_SUBSCRIBERS: Final = 1000
_UNDER_WAY: Final = 8
#: Messages a second while delays are taken down.
_RATE: Final = 20
_PEERS: Final = ("ours", "python-socketio")


def _publish(publisher: Publisher, audience: Audience, seconds: float) -> int:
    """Publish for so long, and wait for what is under way; returns how many publications."""
    subscribers = audience.subscribers
    wait = watch([publisher.connection, *subscribers])
    recv = {each.fd: each.recv for each in (publisher.connection, *subscribers)}
    publishing, take, before = publisher.connection.fd, audience.take, publisher.sent
    end = time.perf_counter() + seconds
    publisher.publish(_UNDER_WAY)
    while True:
        for fd, _ in wait():
            data = recv[fd](READ) or lost()
            if fd == publishing:
                publisher.take(data)
            else:
                take(fd, data)
        if time.perf_counter() < end:
            while audience.has(publisher.sent - _UNDER_WAY + 1):
                publisher.publish(1)
        elif publisher.acknowledged == publisher.sent and audience.has_all(publisher.sent):
            return publisher.sent - before


def _measure(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    dialect = peer.dialect
    with (
        ValkeyServer() as valkey,
        Server(peer, "--broker", valkey.url, core=LOAD_CORE) as a,
        Server(peer, "--broker", valkey.url) as b,
        connected(a.port, dialect, 1) as (first,),
        connected(b.port, dialect, _SUBSCRIBERS) as subscribers,
    ):
        publisher = Publisher(first, dialect)
        subscribe(subscribers, dialect)
        audience = Audience(subscribers, dialect)
        _publish(publisher, audience, scale.warm)
        carried, published = cpu_of(valkey.pid), a.cpu()
        with Meter(b) as used:
            count = _publish(publisher, audience, scale.counted)
        carried, published = cpu_of(valkey.pid) - carried, a.cpu() - published
        late = sorted(at_rate(publisher, audience, _RATE, scale.counted * 1.5).seconds)
    deliveries = count * _SUBSCRIBERS
    yield workload.sample(used.cpu / deliveries * 1e6)
    yield used.headroom(workload.id, peer.name, deliveries)
    for name, title, unit, value in (
        ("throughput", "deliveries a second", "deliveries a second", deliveries / used.seconds),
        ("publish", "CPU of node A", "µs of CPU per message", published / count * 1e6),
        ("valkey", "CPU of Valkey", "µs of CPU per message", carried / count * 1e6),
        ("p50", f"delay at {_RATE} messages a second, p50", "ms", percentile(late, 0.5) * 1e3),
        ("p99", f"delay at {_RATE} messages a second, p99", "ms", percentile(late, 0.99) * 1e3),
    ):
        yield Sample(f"{workload.id}-{name}", f"{workload.title}: {title}", unit, value)


WORKLOADS: Final = (
    Workload(
        "redis-node",
        f"from one node to {_SUBSCRIBERS:,} subscribers on another, over Valkey",
        "µs of CPU of the other node per delivery",
        _measure,
        lambda peer: peer.name in _PEERS,
    ),
)
