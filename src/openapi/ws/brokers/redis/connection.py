"""All that is used of a connection of redis-py: it connects, commands and answers go over it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

__all__ = ["Connect", "Connection", "packed"]

Answer: TypeAlias = Any
"""What a server answers: bytes, integers, None, lists of these."""


class Connection(Protocol):
    """One connection. It raises RedisError and OSError."""

    async def connect(self) -> None:
        """Connect, and say who it is."""

    async def disconnect(self, *, nowait: bool) -> None:
        """Close it. Harmless where it is not connected."""

    async def send_packed_command(self, command: bytes, *, check_health: bool) -> None:
        """Write bytes, and wait while too many are on their way."""

    async def read_response(
        self, *, disable_decoding: bool, timeout: float, disconnect_on_error: bool
    ) -> Answer:
        """The next answer. Raises ResponseError for one that is an error."""


Connect: TypeAlias = Callable[[], Connection]
"""Makes a connection that is not connected yet. It speaks RESP2 and has no time-out of its own."""


def packed(commands: Iterable[Sequence[bytes]]) -> bytes:
    """The bytes of commands: arrays of bulk strings (RESP2)."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        parts += [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
    return b"".join(parts)
