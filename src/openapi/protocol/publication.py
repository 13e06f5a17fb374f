"""A published message as it is kept: its data written once for each format."""

from dataclasses import dataclass
from typing import Self

from openapi.errors import Unserializable
from openapi.schema import encode_json, encode_msgpack

__all__ = ["Data", "Publication"]


class Data:
    """What was published, as it was at that moment: whoever published it may change the object."""

    __slots__ = ("_packed", "json")

    def __init__(self, json: bytes, packed: bytes | Unserializable) -> None:
        self.json = json
        """As JSON text."""
        self._packed = packed

    @classmethod
    def of(cls, value: object) -> Self:
        """Write a value. Raises Unserializable where it has no JSON form."""
        json = encode_json(value)
        try:
            return cls(json, encode_msgpack(value))
        except Unserializable as exc:  # an integer of more than 64 bits
            return cls(json, exc)

    @property
    def packed(self) -> bytes:
        """As MessagePack. Raises Unserializable for what has a JSON form only."""
        if isinstance(self._packed, bytes):
            return self._packed
        raise Unserializable(str(self._packed)) from self._packed


@dataclass(frozen=True, slots=True)
class Publication:
    """A message of a channel that keeps history. ``at``: seconds since the epoch of the clock."""

    offset: int
    event: str
    data: Data
    at: float
