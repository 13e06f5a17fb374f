"""A published message as it is kept: its data written once for each format."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Self

from openapi.errors import InvalidData, Unserializable
from openapi.schema import Schema, encode_json, encode_msgpack

__all__ = ["Data", "Publication", "packed_of"]

_ANYTHING: Final = Schema[Any](Any)


class Data:
    """What was published, as it was at that moment: whoever published it may change the object.

    ``packed`` is its MessagePack, or why it has none; None where that follows from the JSON text.
    """

    __slots__ = ("_packed", "json")

    def __init__(self, json: bytes, packed: bytes | str | None) -> None:
        self.json: Final = json
        """As JSON text."""
        self._packed = packed

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
        """How many bytes are held of it as MessagePack; 0 where it has no such form."""
        return len(self._packed) if isinstance(self._packed, bytes) else 0

    @property
    def packed(self) -> bytes:
        """As MessagePack. Raises Unserializable for what has a JSON form only."""
        if self._packed is None:
            self._packed = packed_of(self.json)
        if isinstance(self._packed, bytes):
            return self._packed
        raise Unserializable(self._packed)

    @property
    def apart(self) -> bytes | None:
        """Its MessagePack where that says more than the JSON text, as of bytes and times."""
        packed = self._packed
        return packed if isinstance(packed, bytes) and packed != packed_of(self.json) else None

    def digest(self, event: str) -> bytes:
        """16 bytes that only the same event with the same JSON text has."""
        name = event.encode("utf-8", "surrogatepass")
        return blake2b(b"%d:%b%b" % (len(name), name, self.json), digest_size=16).digest()


def packed_of(json: bytes) -> bytes | str:
    """The MessagePack of what a JSON text says, or why there is none."""
    try:
        return encode_msgpack(_ANYTHING.decode(json))
    except (InvalidData, Unserializable) as exc:  # an integer of more than 64 bits
        return str(exc)


@dataclass(frozen=True, slots=True)
class Publication:
    """A message of a channel that keeps history. ``at``: seconds since the epoch of the clock."""

    offset: int
    event: str
    data: Data
    at: float
