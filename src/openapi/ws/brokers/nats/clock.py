"""The time on the server, which is one for all nodes."""

import time
from collections.abc import Callable
from datetime import datetime

__all__ = ["ServerClock"]


class ServerClock:
    """The server's clock, by what it said last; the system's until then.

    It is kept as what lies between the two, for both are set right while they run.
    """

    def __init__(self, system: Callable[[], float] = time.time) -> None:
        self._system = system
        self._ahead = 0.0

    def __call__(self) -> float:
        return self._system() + self._ahead

    def asked(self) -> float:
        """To be given to :meth:`heard` with the answer to what is asked now."""
        return self._system()

    def heard(self, said: str, asked: float) -> None:
        """What the server said: RFC 3339. It did so halfway between question and answer."""
        now = self._system()
        self._ahead = datetime.fromisoformat(_short(said)).timestamp() - (asked + now) / 2


def _short(said: str) -> str:
    """Without the nanoseconds, of which Python 3.11 reads no more than six digits."""
    seconds, point, fraction = said.removesuffix("Z").partition(".")
    return f"{seconds}{point}{fraction[:6].ljust(6, '0')}+00:00" if point else f"{seconds}+00:00"
