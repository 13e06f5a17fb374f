"""What is measured, one file for each idea."""

from typing import Final

from bench.workloads import (
    calls,
    connecting,
    fan_out,
    headroom,
    latency,
    memory,
    nodes,
    recovering,
    slow_reader,
    workers,
)
from bench.workloads.workload import Scale, Workload

__all__ = ["WORKLOADS", "Scale", "Workload"]

WORKLOADS: Final[tuple[Workload, ...]] = (
    *calls.WORKLOADS,
    *fan_out.WORKLOADS,
    *headroom.WORKLOADS,
    *connecting.WORKLOADS,
    *memory.WORKLOADS,
    *latency.WORKLOADS,
    *recovering.WORKLOADS,
    *nodes.WORKLOADS,
    *workers.WORKLOADS,
    *slow_reader.WORKLOADS,
)
