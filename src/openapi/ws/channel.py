"""Views of the channels that somebody in this process is subscribed to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openapi.ws.channels import Channels

__all__ = ["Channel", "Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """An event pattern that a channel is subscribed with, and by how many."""

    name: str
    subscribers: int


class Channel:
    """A view of one channel."""

    __slots__ = ("_channels", "name")

    def __init__(self, name: str, channels: "Channels") -> None:
        self.name = name
        self._channels = channels

    def info(self) -> dict[str, int]:
        """``{pattern: subscribers}``"""
        return self._channels.index.channel_info(self.name)

    @property
    def events(self) -> tuple[str, ...]:
        """The event patterns that it is subscribed with."""
        return tuple(self.info())

    def __len__(self) -> int:
        return len(self.info())

    def __contains__(self, event: str) -> bool:
        return event in self.info()

    def __iter__(self) -> Iterator[Event]:
        return (Event(name, subscribers) for name, subscribers in self.info().items())

    async def __call__(self, message: Mapping[str, Any]) -> None:
        """Deliver ``{"event", "data"}``."""
        await self._channels(self.name, message)
