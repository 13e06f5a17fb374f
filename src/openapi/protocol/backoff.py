"""How long a client waits before it connects again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Backoff", "delays"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How a client waits: see :func:`delays`. All are seconds.

    A connection that held for ``stable`` has the next delays begin anew; one that ended sooner does
    not, for a server that takes connections and drops them is not to be stormed.

    Raises ValueError for what is not positive.
    """

    first: float = 0.5
    cap: float = 20.0
    stable: float = 10.0

    def __post_init__(self) -> None:
        for name in ("first", "cap", "stable"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"Backoff({name}={getattr(self, name)!r}): expected seconds, more than 0"
                )


def delays(
    random: Callable[[], float], *, first: float = 0.5, cap: float = 20.0
) -> Iterator[float]:
    """Yield the delays before the first, second, third … attempt, in seconds, without end.

    Each is anywhere between zero and a ceiling that begins at ``first`` and doubles up to ``cap``.
    The jitter is full, and comes after the cap, so that the clients of a server that was away for
    long do not come back in step. ``random`` gives numbers from 0 to 1, as ``random.random`` does.

    A ceiling is never more than ``first`` and all delays so far: whose first attempts came quickly
    one after another, by chance, does not stay away for many times longer than the server did.

    After a connection that held, begin with a new generator.
    """
    ceiling, waited = first, 0.0
    while True:
        ceiling = min(ceiling, cap)
        delay = random() * min(ceiling, first + waited)
        waited += delay
        yield delay
        ceiling *= 2
