"""Late brokers of several servers: what one publishes, the others carry, each when it likes."""

import random

from openapi.protocol.stream import Position, Retention
from openapi.ws.brokers.memory import MemoryBroker
from tests.ws.weather import Weather

__all__ = ["Cloud"]

_RETENTION = Retention(messages=1, seconds=1e9)


class Cloud(Weather):
    """The broker of one server, beside ``another``: they share what is kept."""

    def __init__(
        self, rng: random.Random, another: "Cloud | None" = None, *, late: bool, lossy: bool
    ) -> None:
        super().__init__(rng, late=late, lossy=lossy)
        if another is not None:
            self._memory = another._memory
            self.streams = another.streams

    async def now_at(self, channel: str) -> Position:
        """Where the channel is."""
        return (await MemoryBroker.history(self, channel, retention=_RETENTION, limit=1)).top

    def still(self) -> None:
        """Carry nothing any more, also what came behind its end."""
        for task in self._tasks:
            task.cancel()

    def _know(self, channel: str, event: str, position: Position) -> None:
        # It may be the last to hear of it, and a key that is used again has its first position.
        events = self.streams.setdefault(channel, {}).setdefault(position.epoch, {})
        assert events.setdefault(position.offset, event) == event
