"""The network between a client and its server.

| fault       | at the level of | by                                           | is told         |
|-------------|-----------------|----------------------------------------------|-----------------|
| half-open   | bytes           | ``link.halt()``, or for one direction        | nobody          |
|             |                 | ``link.to_client.halted = True``             |                 |
| delayed     | bytes           | ``link.to_server.delay = 0.2``               | nobody          |
| cut         | connections     | ``link.cut()``                               | both ends       |
| refused     | connections     | ``link.refusing = True``                     | who connects    |
| dropped     | messages        | ``link.to_client.drop = 0.1``                | nobody          |
| duplicated  | messages        | ``link.to_client.duplicate = 0.1``           | nobody          |
"""

import errno
import os
import random
from asyncio import sleep
from typing import TYPE_CHECKING, Final

from openapi.testing.direction import Direction

if TYPE_CHECKING:
    from openapi.testing.transport import Connected

__all__ = ["Link", "refused"]


class Link:
    """What all connections of a client go over: it lasts when they end, and so do its faults.

    ``seed`` is of all that is left to chance. Several clients may share a link. A fault whose name
    is misspelled raises AttributeError: a test would pass without it.
    """

    __slots__ = ("connections", "random", "refusing", "to_client", "to_server")

    def __init__(self, *, seed: int = 0) -> None:
        self.random: Final = random.Random(seed)
        """For a ``delay`` that is left to chance."""
        # Each has its own: which messages are lost does not depend on what else is said when.
        self.to_server: Final = Direction(random.Random(f"{seed} to server"))
        """From clients to the server."""
        self.to_client: Final = Direction(random.Random(f"{seed} to client"))
        """From the server to clients."""
        self.refusing = False
        """Whether new connections are refused, as by a host where nobody listens."""
        self.connections: Final[set[Connected]] = set()
        """Those that there are, half-open ones among them."""

    @property
    def halted(self) -> bool:
        """Whether nothing passes, in one direction at least."""
        return self.to_server.halted or self.to_client.halted

    @property
    def faulty(self) -> bool:
        """Whether any fault is set."""
        return self.refusing or self.to_server.faulty or self.to_client.faulty

    def halt(self) -> None:
        """Let nothing pass in either direction, and tell nobody: connections are half-open.

        Who connects waits. :meth:`heal` lets what was held go on, unless its ends have gone.
        """
        self.to_server.halted = self.to_client.halted = True

    def heal(self) -> None:
        """Take all faults away."""
        self.refusing = False
        self.to_server.heal()
        self.to_client.heal()

    def cut(self) -> None:
        """Reset all connections: both ends are told, and what was under way is lost."""
        for connection in tuple(self.connections):
            connection.cut()

    async def reached(self) -> None:
        """Wait as long as it takes to reach the server. Raises ConnectionRefusedError."""
        await sleep(self.to_server.takes() + self.to_client.takes())
        while self.halted:
            await self.to_server.passes()
            await self.to_client.passes()
        if self.refusing:
            raise refused()


def refused() -> ConnectionRefusedError:
    """What is raised where nobody listens."""
    return ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
