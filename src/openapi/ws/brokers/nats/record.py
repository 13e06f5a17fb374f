"""The bytes of one message in the log of a channel: some publications, or where its stream begins.

| part   | what it is                                                                           |
|--------|--------------------------------------------------------------------------------------|
| header | ``log1 RUN FLOOR OFFSET EPOCH LENGTH LENGTH …``. ASCII, up to the first line feed     |
| body   | one :class:`~openapi.protocol.envelope.Envelope` for each length, one behind another |

``OFFSET`` and ``EPOCH`` are where the stream is behind it. Without publications it is a mark: of
where the stream begins, or has a new epoch. ``FLOOR`` is the offset of the oldest publication that
is kept. ``RUN`` names the run of the server, ``-`` where that does not matter.

``log1`` is the version: what begins with something else is for another one, or not from us.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from openapi.protocol.envelope import Envelope, Unreadable
from openapi.protocol.stream import Position

__all__ = ["Record"]

_VERSION: Final = b"log1"
_HEADER_BYTES: Final = 4096
_EPOCH_BYTES: Final = 64
#: The greatest offset: far enough from what JavaScript can count to, for more to be appended.
_LARGEST: Final = 2**52


class Record(NamedTuple):
    """A record that was read. The envelopes' last one has its position, unless it is a mark."""

    run: str
    floor: int
    top: Position
    envelopes: Sequence[bytes] = ()

    @property
    def first(self) -> int:
        """The offset of its first publication; of the next one to come where it has none."""
        return self.top.offset + 1 - len(self.envelopes)

    def write(self) -> bytes:
        """Its bytes."""
        where = f"{self.run} {self.floor} {self.top.offset} {self.top.epoch}"
        lengths = "".join(f" {len(each)}" for each in self.envelopes)
        header = f"{_VERSION.decode()} {where}{lengths}\n".encode()
        return header + b"".join(self.envelopes)

    @staticmethod
    def is_one(raw: bytes) -> bool:
        """Whether these are the bytes of a record, and not those of an envelope."""
        return raw.startswith(_VERSION)

    @classmethod
    def read(cls, raw: bytes) -> "Record":
        """Read the bytes of a record. Raises Unreadable. Its envelopes are still to be read."""
        end = raw.find(b"\n", 0, _HEADER_BYTES)
        version, *words = raw[: max(end, 0)].split(b" ")
        try:
            if version != _VERSION:
                raise ValueError
            run, floor, offset, epoch, *lengths = (word.decode("ascii") for word in words)
            top, envelopes, begin = Position(int(offset), epoch), [], end + 1
            if not (0 <= int(floor) <= top.offset + 1 <= _LARGEST and len(epoch) <= _EPOCH_BYTES):
                raise ValueError
            for length in map(int, lengths):
                if length < 0:
                    raise ValueError
                envelopes.append(raw[begin : begin + length])
                begin += length
            if begin != len(raw) or not 0 <= len(envelopes) <= top.offset:
                raise ValueError
            return cls(run, int(floor), top, envelopes)
        except ValueError:
            raise Unreadable(f"it is no record that is known here: {raw[:40]!r}") from None

    def publications(self, *, most: int) -> list[Envelope]:
        """Read what it has. Raises Unreadable."""
        return [Envelope.read(each, most=most) for each in self.envelopes]
