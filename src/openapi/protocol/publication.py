"""A published message as it is kept: its data written once for each format."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self

from openapi.errors import Unserializable
from openapi.schema import encode_json, encode_msgpack

__all__ = ["Data", "Publication"]


class Data:
    """What was published, as it was at that moment: whoever published it may change the object."""

    __slots__ = ("_packed", "json")

    def __init__(self, json: bytes, packed: bytes | str) -> None:
        self.json: Final = json
        """As JSON text."""
        self._packed: Final = packed

    @classmethod
    def of(cls, value: object) -> Self:
        """Write a value; what is written already stays as it is.

        Raises Unserializable where it has no JSON form.
        """
        if isinstance(value, cls):
            return value
        json = encode_json(value)
        try:
            return cls(json, encode_msgpack(value))
        except Unserializable as exc:  # an integer of more than 64 bits
            return cls(json, str(exc))  # its text: the exception would keep the value alive

    @property
    def packed_bytes(self) -> int:
        """How many bytes it has as MessagePack; 0 where it has no such form."""
        return len(self._packed) if isinstance(self._packed, bytes) else 0

    @property
    def packed(self) -> bytes:
        """As MessagePack. Raises Unserializable for what has a JSON form only."""
        if isinstance(self._packed, bytes):
            return self._packed
        raise Unserializable(self._packed)

    def digest(self, event: str) -> bytes:
        """16 bytes that only the same event with the same JSON text has."""
        name = event.encode("utf-8", "surrogatepass")
        return blake2b(b"%d:%b%b" % (len(name), name, self.json), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Publication:
    """A message of a channel that keeps history. ``at``: seconds since the epoch of the clock."""

    offset: int
    event: str
    data: Data
    at: float
