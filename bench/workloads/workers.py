"""How much more two workers answer than one: `openapi serve --workers`, over Redis.

The load needs a core, and so does Valkey, a little. On a machine whose cores are all taken the wall
cannot say what a second worker is worth. So the CPU per call is measured as well: as long as it is
the same with two as with one, two free cores answer twice as much.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.figures import Headroom, Sample
from bench.load import connected
from bench.process import Meter, Server, cpu_of, everywhere
from bench.workloads.calls import Answers, confirm, exchange
from bench.workloads.own import is_ours
from bench.workloads.workload import Scale, Workload
from tests.servers.valkey import ValkeyServer

if TYPE_CHECKING:
    from bench.peers import Peer

__all__ = ["WORKLOADS"]

_CONNECTIONS: Final = 64
_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class _Served:
    """`openapi serve` of the application that the other figures are of."""

    workers: int
    broker: str
    name: str = "openapi serve"

    def command(self) -> Sequence[str | Path]:
        """See :class:`bench.process.Startable`."""
        return [
            *("env", f"BROKER={self.broker}", sys.executable, "-m", "openapi", "serve"),
            *("bench/servers/ours.py:create_app", "--port", "0", "--quiet"),
            *("--workers", str(self.workers)),
        ]


class _Serving(Server):
    """It says where it serves, and by which workers, as JSON."""

    def _port_of(self, line: bytes) -> int:
        said = json.loads(line)
        self.workers: list[int] = said.get("workers", self.pids)
        return int(said["url"].rstrip("/").rpartition(":")[2])


def _round(workload: Workload, peer: "Peer", scale: Scale, workers: int) -> Iterator[Sample]:
    with (
        everywhere(),
        ValkeyServer() as valkey,
        _Serving(_Served(workers, valkey.url), core=None) as server,
        connected(server.port, peer.dialect, _CONNECTIONS) as connections,
    ):
        answers = Answers(peer.dialect, _DEPTH)
        exchange(connections, answers, scale.warm)
        before = [cpu_of(pid) for pid in server.workers]
        with Meter(server) as meter:
            calls = exchange(connections, answers, scale.counted)
        used = [cpu_of(pid) - then for pid, then in zip(server.workers, before, strict=True)]
        confirm(connections, peer.dialect)
    name = f"{peer.name}, {workers} worker{'s' if workers > 1 else ''}"
    for suffix, title, unit, value in (
        ("", "CPU of the workers", workload.unit, sum(used) / calls * 1e6),
        ("-load", "CPU of the load", "µs of CPU per call", meter.load / calls * 1e6),
        ("-rate", "calls a second", "calls a second", calls / meter.seconds),
        ("-cores", "cores that the workers had", "cores", sum(used) / meter.seconds),
        ("-busier", "of their CPU, the busiest worker's", "%", max(used) / sum(used) * 100),
    ):
        whole = f"{workload.title}: {title}"
        yield Sample(f"{workload.id}{suffix}", whole, unit, value, peer=name)


def _measure(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    for workers in (1, 2):
        yield from _round(workload, peer, scale, workers)


WORKLOADS: Final = (
    Workload(
        "workers",
        f"typed RPC by `openapi serve --workers`, {_DEPTH} in flight on {_CONNECTIONS} connections",
        "µs of the workers' CPU per call",
        _measure,
        is_ours,
        rounds=3,
    ),
)
