"""What a workload is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures import Headroom, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.peers import Peer

__all__ = ["Scale", "Workload"]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done. Times in seconds."""

    #: What is done before anything counts.
    warm: float
    #: How long what counts goes on.
    counted: float
    #: Everything that is of some number is of this part of it.
    part: float = 1.0

    def of(self, number: int) -> int:
        """That part of a number; 1 at least."""
        return max(1, round(number * self.part))


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing that is measured, with each peer that takes part.

    ``measure`` is one round, with a server process of its own; it is given this workload. It may
    find several samples, whose workloads begin with ``id``. What it raises becomes a note of the
    figure.
    """

    id: str
    title: str
    unit: str
    measure: "Callable[[Workload, Peer, Scale], Iterator[Sample | Headroom]]"
    takes_part: "Callable[[Peer], bool]"
    #: Whether `--quick` has it.
    quick: bool = False
    #: Rounds at the most; None for as many as are wanted.
    rounds: int | None = None

    def sample(self, value: float, notes: str = "") -> Sample:
        """What a round of it found, where that is a single number."""
        return Sample(self.id, self.title, self.unit, value, notes)
