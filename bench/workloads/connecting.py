"""Handshake and first subscription; and how many connections there may be at once."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from bench.figures import Headroom, Sample
from bench.load import connected
from bench.process import Meter, Server
from bench.workloads.fan_out import Audience, Publisher, publish, subscribe
from bench.workloads.own import is_ours
from bench.workloads.workload import Scale, Workload

if TYPE_CHECKING:
    from bench.peers import Peer

__all__ = ["WORKLOADS"]

_CONNECTIONS: Final = 2000
_HELD: Final = 10_000


def _connect(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    count = scale.of(_CONNECTIONS)
    with Server(peer) as server, ExitStack() as stack:
        subscribe(stack.enter_context(connected(server.port, peer.dialect, 200)), peer.dialect)
        with Meter(server) as used:
            connections = stack.enter_context(connected(server.port, peer.dialect, count))
            subscribe(connections, peer.dialect)
    yield workload.sample(used.cpu / count * 1e6)
    yield used.headroom(workload.id, peer.name, count)


def _hold(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    count = scale.of(_HELD)
    with Server(peer) as server, connected(server.port, peer.dialect, count + 1) as connections:
        publisher = Publisher(connections.pop(), peer.dialect)
        subscribe(connections, peer.dialect)
        audience = Audience(connections, peer.dialect)
        begun = time.perf_counter()
        publish(publisher, audience, 1, 0)
        took = time.perf_counter() - begun
    assert audience.has_all(1)
    yield workload.sample(len(connections))
    yield Sample(
        f"{workload.id}-time", "one publish to all that are held", "ms until all had it", took * 1e3
    )


WORKLOADS: Final = (
    Workload(
        "connect",
        "handshake and one subscription",
        "µs of server CPU per connection",
        _connect,
        lambda peer: peer.fan_out,
        quick=True,
    ),
    Workload(
        "hold-10000",
        "connections at once, each with one subscription",
        "connections that one publish reached",
        _hold,
        is_ours,
        rounds=3,
    ),
)
