"""What was measured: values of some rounds, kept as JSON while they come.

The JSON has three parts, and the report is made from it alone:

- ``machine``: what it was measured on
- ``figures``: ``{"workload", "title", "unit", "peer", "values": [one of each round], "notes",
  "failures"}``; the last are rounds that have no value
- ``headroom``: ``{"what", "peer", "server", "load", "rate"}``, the parts of their cores that both
  used, and what they did in a second; the peer ``null`` answers with prepared bytes, so that the
  load can show how fast it is
"""

import json
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Figure", "Figures", "Headroom", "Sample", "interleaved", "median", "ratio", "spread"]

T = TypeVar("T")


def median(values: Sequence[float]) -> float:
    """The middle of some values. Raises ``ValueError`` where there are none."""
    if not values:
        raise ValueError("there are no values")
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """How far the greatest is from the least; 0 for a single value."""
    if not values:
        raise ValueError("there are no values")
    return max(values) - min(values)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Our median as a multiple of theirs; None where theirs is 0, or one of both is not there."""
    if not ours or not theirs or median(theirs) == 0:
        return None
    return median(ours) / median(theirs)


def interleaved(peers: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """A B C A B C: what disturbs the machine for a while disturbs all alike. Rounds from 1."""
    for number in range(1, rounds + 1):
        for peer in peers:
            yield number, peer


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of a workload found."""

    workload: str
    title: str
    unit: str
    value: float
    notes: str = ""
    #: Where it is of something else than the peer that was measured: "python-socketio, 2 workers".
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Headroom:
    """The parts of their cores that a server and the load used, and operations a second."""

    what: str
    peer: str
    server: float
    load: float
    rate: float


@dataclass(slots=True)
class Figure:
    """The rounds of one workload with one peer."""

    workload: str
    title: str
    unit: str
    peer: str
    values: list[float] = field(default_factory=list)
    notes: str = ""
    #: Rounds that have no value.
    failures: int = 0

    @property
    def median(self) -> float:
        """The middle of its rounds."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """How far its rounds are apart."""
        return spread(self.values)

    def note(self, text: str) -> None:
        """Say something beside the values; the same is said once."""
        if text and text not in self.notes:
            self.notes = f"{self.notes}; {text}" if self.notes else text


class Figures:
    """All of one run. Each change is written to ``path`` at once, as a whole."""

    def __init__(self, machine: Mapping[str, Any], path: Path | None = None) -> None:
        self._machine = machine
        self._path = path
        self._figures: dict[tuple[str, str], Figure] = {}
        self._headroom: dict[tuple[str, str], list[Headroom]] = {}

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._figures.values())

    @property
    def failures(self) -> int:
        """Rounds of any of them that have no value."""
        return sum(each.failures for each in self)

    def figure(self, workload: str, peer: str) -> Figure | None:
        """One of them; None where it was not measured."""
        return self._figures.get((workload, peer))

    def add(self, sample: Sample, peer: str) -> Figure:
        """Take the value of a round."""
        found = self._figure(sample.workload, sample.title, sample.unit, sample.peer or peer)
        found.values.append(sample.value)
        found.note(sample.notes)
        self._write()
        return found

    def fail(self, workload: str, title: str, unit: str, peer: str, why: str) -> None:
        """A round has no value; the figure says why."""
        figure = self._figure(workload, title, unit, peer)
        figure.failures += 1
        figure.note(f"failed: {why}")
        self._write()

    def used(self, headroom: Headroom) -> None:
        """Take what a round used of the two cores."""
        self._headroom.setdefault((headroom.what, headroom.peer), []).append(headroom)
        self._write()

    @property
    def headroom(self) -> list[Headroom]:
        """For each workload and peer, the medians of the rounds."""
        return [
            Headroom(
                what,
                peer,
                server=round(median([each.server for each in some]), 3),
                load=round(median([each.load for each in some]), 3),
                rate=round(median([each.rate for each in some])),
            )
            for (what, peer), some in self._headroom.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """See the module's docstring."""
        return {
            "machine": dict(self._machine),
            "figures": [asdict(each) for each in self],
            "headroom": [asdict(each) for each in self.headroom],
        }

    def _figure(self, workload: str, title: str, unit: str, peer: str) -> Figure:
        made = Figure(workload, title, unit, peer)
        return self._figures.setdefault((workload, peer), made)

    def _write(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_name(self._path.name + ".part")
            part.write_text(json.dumps(self.as_json(), indent=1) + "\n")
            os.replace(part, self._path)
