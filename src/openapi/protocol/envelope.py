"""A message as it travels between processes, and as a server keeps it.

| part   | what it is                                                                           |
|--------|--------------------------------------------------------------------------------------|
| header | ``1``; of a message with a position ``1 OFFSET EPOCH AT``, ``AT`` in milliseconds    |
|        | since the epoch of the clock. ASCII, up to the first line feed                       |
| body   | MessagePack: ``[event, json, packed]``. ``json`` is the JSON text of the data, as    |
|        | bytes; ``packed`` its MessagePack, as bytes, or nil where that follows from ``json`` |

The header is text, so that a script in a server can write it. ``1`` is the version: what begins
with another one is for a newer or an older process, and unreadable here.
"""

from typing import Final, NamedTuple, TypeAlias

from openapi.errors import InvalidData, OpenApiError
from openapi.protocol.publication import Data
from openapi.protocol.stream import Position
from openapi.schema import Schema, is_json

__all__ = ["VERSION", "Envelope", "Unreadable"]

VERSION: Final = b"1"
"""With which every header begins."""

#: A header has a version, two integers of 64 bits and an epoch.
_HEADER_BYTES: Final = 128

#: What JavaScript can count to.
_LARGEST: Final = 2**53 - 1

_Body: TypeAlias = tuple[str, bytes, bytes | None]
_BODY: Final = Schema[_Body](_Body)
_ANYTHING: Final = Schema[object](object)


class Unreadable(OpenApiError, ValueError):
    """Bytes that are no message, or one of another version. The text says what is wrong."""


class Envelope(NamedTuple):
    """A message that was read."""

    event: str
    data: Data
    position: Position | None = None
    at: float = 0.0
    """When it was published, of one with a position: seconds since the epoch of the clock."""

    @staticmethod
    def write(event: str, data: object, position: Position | None = None, at: float = 0.0) -> bytes:
        """The bytes of a message. Raises Unserializable for data that has no JSON form."""
        header = VERSION
        if position is not None:
            where = b"%d %b %d" % (position.offset, position.epoch.encode(), round(at * 1000))
            header = b"%b %b" % (VERSION, where)
        data = Data.of(data)
        return b"%b\n%b" % (header, _BODY.pack((event, data.json, data.apart)))

    @classmethod
    def read(cls, raw: bytes, *, most: int) -> "Envelope":
        """Read the bytes of a message. Raises Unreadable, and for more bytes than ``most``.

        They come over a network: nothing in them is taken for what it says it is.
        """
        if len(raw) > most:
            raise Unreadable(f"it has {len(raw)} bytes, more than {most}")
        end = raw.find(b"\n", 0, _HEADER_BYTES)
        version, *where = raw[: max(end, 0)].split(b" ")
        if version != VERSION:
            raise Unreadable(f"its version is none that is known here: {raw[:16]!r}")
        position, at = None, 0.0
        if where:
            try:
                offset, epoch, milliseconds = where
                position = Position(int(offset), epoch.decode("ascii"))
                at = int(milliseconds) / 1000
                if not 0 <= position.offset <= _LARGEST:
                    raise ValueError
            except ValueError:
                raise Unreadable(f"its position cannot be read: {raw[:end]!r}") from None
        try:
            event, json, packed = _BODY.unpack(raw[end + 1 :])
            if packed is not None:
                _ANYTHING.unpack(packed)
        except InvalidData as exc:
            raise Unreadable(f"its body cannot be read: {exc}") from None
        if not is_json(json):
            raise Unreadable("its data is no JSON")
        return cls(event, Data(json, packed), position, at)
