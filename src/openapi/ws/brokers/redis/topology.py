"""Who has which slot of a cluster, as one of its nodes says."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, NamedTuple

from redis.exceptions import ResponseError

from openapi.errors import DeclarationError
from openapi.ws.brokers.redis.connection import Answer, Connection, packed
from openapi.ws.brokers.redis.names import SLOTS

__all__ = ["QUESTIONS", "At", "Topology", "ask"]

QUESTIONS: Final = ((b"CLUSTER", b"INFO"), (b"CLUSTER", b"SLOTS"))
"""The commands whose answers are a topology."""

#: What a node answers that is none. redis-py has no type for it.
_ALONE: Final = "cluster support disabled"


class At(NamedTuple):
    """Where a node is."""

    host: str
    port: int

    def told(self, host: str, port: int) -> "At":
        """Where another node is, of which this one has told. No host is this one's, nor is ``?``.

        The latter is said where a name is wanted, and there is none.
        """
        return At(self.host if host in {"", "?"} else host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class _Range(NamedTuple):
    low: int
    high: int
    at: At


@dataclass(frozen=True, slots=True)
class Topology:
    """Who has which slot. Of several answers the greatest :attr:`weight` is the newest."""

    ok: bool
    """Whether the node that said it is part of a cluster that works."""
    epoch: int
    """How many times primaries have changed, as far as that node has heard."""
    ranges: tuple[_Range, ...]

    @classmethod
    def read(cls, info: bytes, slots: Answer, *, asked: At) -> "Topology":
        """What ``CLUSTER INFO`` and ``CLUSTER SLOTS`` say. ``asked`` is the node that said it.

        Raises ValueError, TypeError or LookupError for what is not of that shape.
        """
        said = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)
        ranges = []
        for low, high, primary, *_ in slots:
            host, port = primary[:2]
            ranges.append(
                _Range(int(low), int(high), asked.told((host or b"").decode(), int(port)))
            )
        return cls(
            said[b"cluster_state"] == b"ok",
            int(said[b"cluster_current_epoch"]),
            tuple(sorted(ranges)),
        )

    @property
    def weight(self) -> tuple[bool, int]:
        """See :class:`Topology`: who is cut off from the others knows nothing new."""
        return self.ok, self.epoch

    def owner(self, slot: int) -> At | None:
        """The primary that has a slot."""
        index = bisect_right(self.ranges, slot, key=lambda each: each.low) - 1
        if index >= 0 and slot <= self.ranges[index].high:
            return self.ranges[index].at
        return None

    def slots(self, at: At) -> int:
        """How many slots a node has."""
        return sum(each.high - each.low + 1 for each in self.ranges if each.at == at)

    @property
    def unassigned(self) -> int:
        """How many slots nobody has."""
        return SLOTS - sum(each.high - each.low + 1 for each in self.ranges)

    @property
    def nodes(self) -> frozenset[At]:
        """Where the primaries are."""
        return frozenset(each.at for each in self.ranges)


async def ask(connection: Connection, at: At) -> Topology:
    """Ask a node over a connection of its own, which is closed then.

    Raises DeclarationError for a server that is alone; RedisError, OSError, and what
    :meth:`Topology.read` raises.
    """
    try:
        await connection.connect()
        await connection.send_packed_command(packed(QUESTIONS), check_health=False)
        answers = [
            await connection.read_response(
                disable_decoding=True, timeout=math.inf, disconnect_on_error=False
            )
            for _ in QUESTIONS
        ]
    except ResponseError as exc:
        if _ALONE in str(exc):
            raise DeclarationError(
                f"Redis at {at} is no node of a cluster: its URL begins with redis://"
            ) from None
        raise
    finally:
        await connection.disconnect(nowait=True)
    return Topology.read(*answers, asked=at)
