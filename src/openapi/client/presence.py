"""Who is on a channel, as a server says it. What it says more is passed over: it is newer."""

from dataclasses import dataclass
from typing import Any

from openapi.errors import InvalidData

__all__ = ["Member", "member_of", "members_of"]


@dataclass(frozen=True, slots=True)
class Member:
    """Who is on a channel: a user, however many connections they have, or one that is nobody's.

    ``info`` is what the server tells of them, plain values. ``connections`` is None in ``$join``
    and ``$leave``, which do not say it.
    """

    id: str
    user: str | int | None = None
    info: Any = None
    connections: int | None = None


def member_of(data: object) -> Member:
    """Read the data of ``$join`` and ``$leave``. Raises InvalidData."""
    match data:
        case {"id": str(id), **fields}:
            user, connections = fields.get("user"), fields.get("connections")
            return Member(
                id,
                user if isinstance(user, str | int) else None,
                fields.get("info"),
                connections if isinstance(connections, int) else None,
            )
    raise InvalidData({"": "expected a member, an object with an id"})


def members_of(response: object) -> list[Member]:
    """Read the response of ``presence``. Raises InvalidData."""
    match response:
        case {"members": list(members)}:
            return [member_of(member) for member in members]
    raise InvalidData({"members": "expected an array"})
