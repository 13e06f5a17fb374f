"""One direction of a link, and what goes wrong in it."""

import asyncio
import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from openapi.testing.pipe import Pipe

__all__ = ["Direction"]


class Direction:
    """What passes from a client to its server, or back. Set the faults at any time.

    ===========  ===================  ==========================================================
    fault        of what              what happens
    ===========  ===================  ==========================================================
    halted       bytes                nothing passes, and nobody is told; when it is over, what
                                      was held goes on
    delay        bytes                each piece takes so many seconds, the order stays
    drop         WebSocket messages   so likely, a whole message is lost, between 0 and 1
    duplicate    WebSocket messages   so likely, a whole message comes twice, between 0 and 1
    ===========  ===================  ==========================================================

    Handshakes, pings, pongs and closing frames are neither dropped nor duplicated. A fault whose
    name is misspelled raises AttributeError: a test would pass without it.
    """

    __slots__ = (
        "_drop",
        "_duplicate",
        "_passing",
        "_random",
        "delay",
        "dropped",
        "duplicated",
        "pipes",
    )

    def __init__(self, random: random.Random) -> None:
        self.delay: float | Callable[[], float] = 0.0
        """Seconds, or what is asked for them."""
        self.dropped = 0
        """Messages that were lost."""
        self.duplicated = 0
        """Messages that came twice."""
        self.pipes: Final[set[Pipe]] = set()
        self._random: Final = random
        self._passing = asyncio.Event()
        self._passing.set()
        self._drop = self._duplicate = 0.0

    @property
    def halted(self) -> bool:
        """Whether nothing passes."""
        return not self._passing.is_set()

    @halted.setter
    def halted(self, halted: bool) -> None:
        if halted:
            self._passing.clear()
        else:
            self._passing.set()
            for pipe in tuple(self.pipes):
                pipe.go_on()

    async def passes(self) -> None:
        """Wait until it is not halted."""
        await self._passing.wait()

    @property
    def drop(self) -> float:
        """How likely a message is lost."""
        return self._drop

    @drop.setter
    def drop(self, chance: float) -> None:
        self._drop = _chance("drop", chance)

    @property
    def duplicate(self) -> float:
        """How likely a message that is not lost comes twice."""
        return self._duplicate

    @duplicate.setter
    def duplicate(self, chance: float) -> None:
        self._duplicate = _chance("duplicate", chance)

    @property
    def faulty(self) -> bool:
        """Whether any fault is set."""
        return bool(self.halted or self.delay or self._drop or self._duplicate)

    def heal(self) -> None:
        """Let everything pass at once, and once."""
        self.delay = self.drop = self.duplicate = 0.0
        self.halted = False

    def takes(self) -> float:
        """How long the next piece is under way: seconds."""
        return self.delay() if callable(self.delay) else self.delay

    def times(self) -> int:
        """How often the next message is to come: 0, 1 or 2."""
        if self._happens(self._drop):
            self.dropped += 1
            return 0
        if self._happens(self._duplicate):
            self.duplicated += 1
            return 2
        return 1

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance


def _chance(name: str, chance: float) -> float:
    if not 0 <= chance <= 1:
        raise ValueError(f"{name} is how likely it is, from 0 to 1, and not {chance!r}")
    return chance
