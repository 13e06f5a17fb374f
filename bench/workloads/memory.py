"""What an idle connection with one subscription costs: memory, tasks, and time of collections.

Memory is the slope of the server's proportional share (PSS) between two numbers of connections, so
that what the server needs without any is not counted.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from bench.figures import Headroom, Sample
from bench.load import connected
from bench.process import Server
from bench.workloads.fan_out import subscribe
from bench.workloads.own import is_ours, tell
from bench.workloads.workload import Scale, Workload

if TYPE_CHECKING:
    from bench.peers import Peer

__all__ = ["WORKLOADS"]

_FEW: Final = 500
_MANY: Final = 10_000
_COLLECTED: Final = 5000
#: Seconds in which a server may tidy up behind the last handshake.
_REST: Final = 0.5


def _memory(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    more = scale.of(_MANY - _FEW)
    with Server(peer) as server, ExitStack() as stack:

        def grow(count: int) -> int:
            connections = stack.enter_context(connected(server.port, peer.dialect, count))
            subscribe(connections, peer.dialect)
            time.sleep(_REST)
            return server.memory()

        few = grow(_FEW)
        many = grow(more)
    yield workload.sample((many - few) / more / 1024)


def _collect(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    with Server(peer) as server, ExitStack() as stack:
        control = stack.enter_context(connected(server.port, peer.dialect, 1))[0]
        count = scale.of(_COLLECTED)
        tell(control, "freeze")
        before = tell(control, "collect")
        subscribe(stack.enter_context(connected(server.port, peer.dialect, count)), peer.dialect)
        tell(control, "collect")  # what the handshakes left behind
        since = tell(control, "collect")
        tell(control, "freeze")
        frozen = tell(control, "collect")
    assert frozen["connections"] - before["connections"] == count
    yield workload.sample(frozen["ms"])
    yield Sample(
        f"{workload.id}-since",
        f"a full garbage collection at {_COLLECTED:,} connections that came since gc.freeze",
        workload.unit,
        since["ms"],
    )
    yield Sample(
        f"{workload.id}-tasks",
        "tasks of an idle connection",
        "tasks per connection",
        (frozen["tasks"] - before["tasks"]) / count,
    )


WORKLOADS: Final = (
    Workload(
        "memory-idle",
        f"memory of an idle connection with one subscription, from {_FEW} to {_MANY:,}",
        "KiB per connection",
        _memory,
        lambda peer: peer.fan_out,
        rounds=3,
    ),
    Workload(
        "gc-5000",
        f"a full garbage collection at {_COLLECTED:,} connections, after gc.freeze with them",
        "ms of CPU",
        _collect,
        is_ours,
    ),
)
