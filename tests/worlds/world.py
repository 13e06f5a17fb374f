"""What a world is: a server of its own, with what a test may do to it."""

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["World"]


class World(ABC):
    """One of them. It is opened once, and closed in the end."""

    @abstractmethod
    async def open(self) -> dict[str, Any]:
        """Start it; returns what a test must know of it."""

    @abstractmethod
    async def act(self, action: str, argument: Any) -> Any:
        """Do something to it; returns what came of it. Raises LookupError for what it is not."""

    @abstractmethod
    async def close(self) -> None:
        """End all that belongs to it."""
