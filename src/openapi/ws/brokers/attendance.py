"""Who is on one channel: members, and when each of their connections expires."""

from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from openapi.schema import Schema, encode_json
from openapi.ws.broker import Member

__all__ = ["Attendance"]

_Kept: TypeAlias = tuple[int, list[tuple[str, str | int | None, Any, dict[str, int]]]]
_KEPT: Final = Schema[_Kept](_Kept)


class _Present:
    """A member: when each of its connections expires."""

    __slots__ = ("connections", "said")

    def __init__(self, said: Member) -> None:
        self.said = said
        self.connections: dict[str, float] = {}

    def seen(self, now: float) -> Member:
        count = sum(expires > now for expires in self.connections.values())
        return Member(self.said.id, self.said.user, self.said.info, count)


class Attendance:
    """Who is on one channel. Those who have expired are there until they are told."""

    __slots__ = ("_members", "_whose", "ends")

    def __init__(self) -> None:
        self._members: dict[str, _Present] = {}
        self._whose: dict[str, _Present] = {}
        self.ends = 0.0
        """When all have long expired, unless somebody enters or is refreshed."""

    def __len__(self) -> int:
        return len(self._whose)

    def enter(
        self, connections: Mapping[str, Member], ttl: float, now: float
    ) -> dict[str, _Present]:
        """Returns the new members, by id."""
        new: dict[str, _Present] = {}
        for name, member in connections.items():
            present = self._members.get(member.id)
            if self._whose.get(name, present) is not present:
                self.take((name,))  # it was another member's, who did not say that it left
            if present is None:
                present = new[member.id] = self._members[member.id] = _Present(member)
            present.said = member
            present.connections[name] = now + ttl
            self._whose[name] = present
        self.ends = max(self.ends, now + 2 * ttl)
        return new

    def take(self, connections: Collection[str]) -> list[_Present]:
        """Returns the members who are gone."""
        gone = []
        for name in connections:
            present = self._whose.pop(name, None)
            if present is not None:
                del present.connections[name]
                if not present.connections:
                    del self._members[present.said.id]
                    gone.append(present)
        return gone

    def expired(self, now: float) -> list[str]:
        """The connections that were not refreshed in time."""
        whose = self._whose.items()
        return [name for name, present in whose if present.connections[name] <= now]

    def refresh(self, connections: Collection[str], ttl: float, now: float) -> list[str]:
        """Returns those that are not there."""
        lost = []
        for name in connections:
            present = self._whose.get(name)
            if present is None:
                lost.append(name)
            else:
                present.connections[name] = now + ttl
                self.ends = max(self.ends, now + 2 * ttl)
        return lost

    def members(self, now: float) -> list[Member]:
        seen = (present.seen(now) for present in self._members.values())
        return [member for member in seen if member.connections]

    def dump(self) -> bytes:
        """As JSON text: ``[ends, [[id, user, info, {connection: expires}], …]]``.

        Times are whole milliseconds, so that it does not get longer by a refresh.
        """
        members = [
            (
                each.said.id,
                each.said.user,
                each.said.info,
                {name: _milliseconds(expires) for name, expires in each.connections.items()},
            )
            for each in self._members.values()
        ]
        return encode_json((_milliseconds(self.ends), members))

    @classmethod
    def load(cls, raw: bytes) -> "Attendance":
        """What :meth:`dump` wrote. Raises InvalidData."""
        attendance = cls()
        ends, members = _KEPT.decode(raw)
        attendance.ends = ends / 1000
        for id, user, info, connections in members:
            present = attendance._members[id] = _Present(Member(id, user, info))
            present.connections = {name: each / 1000 for name, each in connections.items()}
            attendance._whose.update(dict.fromkeys(connections, present))
        return attendance


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
