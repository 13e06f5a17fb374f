"""How many calls run that nothing cancels: they cost a place until they are over."""

from collections.abc import Iterator
from contextlib import contextmanager

from openapi.errors import ErrorCode, RpcError

__all__ = ["Shielded"]


class Shielded:
    """Counts shielded calls, ``most`` at once."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self._most = most

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one more. Raises RpcError where there are too many."""
        if self.count >= self._most:
            raise RpcError(
                ErrorCode.TOO_MANY_CALLS,
                f"{self._most} shielded calls are in flight, try again later",
                data={"limit": "shielded", "max": self._most},
            )
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
