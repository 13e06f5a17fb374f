"""How often something may be done: a bucket of tokens, without a clock of its own."""

__all__ = ["Bucket"]


class Bucket:
    """``rate`` tokens come a second, and ``most`` stay: at first it is full.

    Without ``most`` those of a second stay, but one at least.
    """

    __slots__ = ("_at", "_most", "_rate", "_tokens")

    def __init__(self, rate: float, now: float, *, most: float | None = None) -> None:
        self._rate = rate
        self._most = max(1.0, rate) if most is None else most
        self._tokens = self._most
        self._at = now

    def take(self, now: float) -> float:
        """Take a token. Returns 0, or in how many seconds there will be one."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0
