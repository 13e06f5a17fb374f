"""How much faster than with this project's server the load can go.

It is given a server that answers with prepared bytes, and then ours, in turn. That server pays for
its system calls as every other does, and the kernel does a good part of a client's work in them: so
this is a lower bound.
"""

import sys
from collections.abc import Iterator
from typing import Final

from bench.dialects import BY_HAND, Worded
from bench.figures import Headroom, Sample
from bench.peers import Peer
from bench.process import ROOT
from bench.workloads import calls, fan_out
from bench.workloads.own import is_ours
from bench.workloads.workload import Scale, Workload

__all__ = ["NULL", "WORKLOADS"]

NULL: Final = Peer(
    "null",
    "prepared bytes",
    lambda: [sys.executable, "-P", ROOT / "bench/servers/null.py"],
    Worded(BY_HAND),
)
_LOADS: Final = tuple(each for each in (*calls.WORKLOADS, *fan_out.WORKLOADS) if each.quick)


def _used(of: Workload, peer: Peer, scale: Scale) -> Headroom:
    return next(each for each in of.measure(of, peer, scale) if isinstance(each, Headroom))


def _measure(workload: Workload, peer: Peer, scale: Scale) -> Iterator[Sample | Headroom]:
    for of in _LOADS:
        null, ours = (_used(of, each, scale) for each in (NULL, peer))
        yield Sample(
            f"{workload.id}-{of.id}",
            f"{of.title}: the load with a server that answers with prepared bytes",
            "× of its rate with ours",
            null.rate / ours.rate,
        )
        yield null


WORKLOADS: Final = (
    Workload(
        "headroom",
        "the load, with a server that does next to nothing",
        "× of its rate with ours",
        _measure,
        is_ours,
        rounds=2,
    ),
)
