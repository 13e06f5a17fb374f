"""How long a client waits before it connects again."""

from collections.abc import Callable, Iterator

__all__ = ["delays"]


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
