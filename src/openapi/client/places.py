"""Who waits to say something: a bounded number of callers."""

from typing import Final

from openapi.errors import CallFailed, ErrorCode

__all__ = ["Places"]


class Places:
    """Counts them. At most ``most`` wait."""

    __slots__ = ("_most", "_taken")

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._taken: dict[object, None] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self) -> object:
        """Wait from now on; give the place back to :meth:`leave`. Raises CallFailed, -32004."""
        if len(self._taken) >= self._most:
            raise CallFailed(
                ErrorCode.TOO_MANY_CALLS,
                f"{self._most} calls wait to be sent, wait for an answer before the next",
                data={"limit": "waiting", "max": self._most},
            )
        place = object()
        self._taken[place] = None
        return place

    def leave(self, place: object) -> None:
        """It waits no longer. Harmless the second time."""
        self._taken.pop(place, None)
