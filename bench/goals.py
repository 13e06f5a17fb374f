"""What the project wants of itself, computed from what was measured.

A goal is a number with a bound: a median of ours, or one beside another median. Who reads the
report sees the bound, the number, and whether it was met; nothing of that is written by hand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bench.figures import median

__all__ = ["GOALS", "Goal", "Medians", "Outcome", "medians"]

OURS: Final = "ours"

Medians = Mapping[tuple[str, str], float]
"""The medians by workload and peer."""


class Outcome(Enum):
    """What became of a goal."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Goal:
    """``measure`` is to be at most ``bound``, or, with ``at_least``, no less than it.

    It returns None where what it needs was not measured. ``unit`` stands behind both numbers.
    """

    name: str
    bound: float
    unit: str
    measure: Callable[[Medians], float | None]
    at_least: bool = False

    def outcome(self, of: Medians) -> Outcome:
        """Whether it is met."""
        measured = self.measure(of)
        if measured is None:
            return Outcome.NOT_MEASURED
        met = measured >= self.bound if self.at_least else measured <= self.bound
        return Outcome.MET if met else Outcome.MISSED


def medians(figures: Sequence[Mapping[str, object]]) -> dict[tuple[str, str], float]:
    """The medians of all figures that have values."""
    found = dict[tuple[str, str], float]()
    for figure in figures:
        workload, peer, values = figure["workload"], figure["peer"], figure["values"]
        assert isinstance(workload, str) and isinstance(peer, str) and isinstance(values, list)
        if values:
            found[workload, peer] = median(values)
    return found


def _beside(workload: str, peer: str) -> Callable[[Medians], float | None]:
    """Ours as a multiple of the peer's."""
    return lambda of: _ratio(of.get((workload, OURS)), of.get((workload, peer)))


def _grown(workload: str, since: str) -> Callable[[Medians], float | None]:
    """Ours as a multiple of ours of another workload."""
    return lambda of: _ratio(of.get((workload, OURS)), of.get((since, OURS)))


def _of(workload: str) -> Callable[[Medians], float | None]:
    """Ours."""
    return lambda of: of.get((workload, OURS))


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


def _calls() -> Iterator[Goal]:
    for depth, aiohttp in ((1, 0.75), (16, 0.6)):
        beside = (
            ("aiohttp", aiohttp),
            ("picows", 1.15),
            ("python-socketio", 0.12),
            ("aio-openapi 3.2.1", 0.12),
        )
        for peer, bound in beside:
            name = f"Typed RPC, {depth} in flight, beside {peer}"
            yield Goal(name, bound, "×", _beside(f"rpc-{depth}", peer))


def _fan_out() -> Iterator[Goal]:
    for subscribers in (500, 5000):
        for peer, bound in (("websockets", 0.15), ("picows", 0.3), ("Node ws", 0.2)):
            name = f"Fan-out to {subscribers:,}, 8 in flight, beside {peer}"
            yield Goal(name, bound, "×", _beside(f"fan-out-{subscribers}-8", peer))
        for peer, bound in (("websockets", 0.65), ("picows", 1.0)):
            name = f"Fan-out to {subscribers:,}, isolated, beside {peer}"
            yield Goal(name, bound, "×", _beside(f"fan-out-{subscribers}-isolated", peer))
    for way, suffix in (("8 in flight", ""), ("isolated", "-isolated")):
        name = f"Fan-out with 10,000 other patterns, {way}, beside none"
        yield Goal(name, 1.5, "×", _grown(f"patterns-10000{suffix}", f"patterns-0{suffix}"))


GOALS: Final[tuple[Goal, ...]] = (
    *_calls(),
    *_fan_out(),
    Goal("Memory per idle connection", 10.0, " KiB", _of("memory-idle")),
    Goal("Connections held", 10_000, "", _of("hold-10000"), at_least=True),
    Goal("Full collection with 5,000 connections, frozen", 20.0, " ms", _of("gc-5000")),
    Goal(
        "Full collection with 5,000 connections that came since the freeze",
        20.0,
        " ms",
        _of("gc-5000-since"),
    ),
    Goal("Tasks per idle connection", 1.0, "", _of("gc-5000-tasks")),
    Goal("Delivery at half load, p99", 25.0, " ms", _of("latency-1000-p99")),
    Goal("Lag of the loop at half load, p99", 10.0, " ms", _of("latency-1000-lag")),
    Goal("Recovery of 1,000 clients", 1.5, " s", _of("recovery-1000x100")),
    Goal("Readings of the stream's messages for that", 1.0, "", _of("recovery-1000x100-reads")),
)
