"""What is measured, one file for each idea."""

from typing import Final

from bench.workloads import calls, fan_out
from bench.workloads.workload import Scale, Workload

__all__ = ["WORKLOADS", "Scale", "Workload"]

WORKLOADS: Final[tuple[Workload, ...]] = (*calls.WORKLOADS, *fan_out.WORKLOADS)
