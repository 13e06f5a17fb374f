"""The bytes by which the key of a publication is remembered.

    key1 DIGEST OFFSET EPOCH AT

``DIGEST`` is what was published, in hexadecimal; ``OFFSET`` and ``EPOCH`` where, ``AT`` when, in
milliseconds since the epoch of the clock.
"""

from typing import Final, NamedTuple

from openapi.protocol.envelope import Unreadable
from openapi.protocol.stream import Position
from openapi.ws.broker import KEY_SECONDS

__all__ = ["Key", "expired"]

_VERSION: Final = "key1"


class Key(NamedTuple):
    """What was published with a key."""

    digest: bytes
    position: Position
    at: float

    def write(self) -> bytes:
        """Its bytes."""
        position, at = self.position, round(self.at * 1000)
        text = f"{_VERSION} {self.digest.hex()} {position.offset} {position.epoch} {at}"
        return text.encode()

    @classmethod
    def read(cls, raw: bytes) -> "Key":
        """Read its bytes. Raises Unreadable."""
        try:
            version, digest, offset, epoch, at = raw.decode("ascii").split(" ")
            if version != _VERSION:
                raise ValueError
            return cls(bytes.fromhex(digest), Position(int(offset), epoch), int(at) / 1000)
        except ValueError:
            raise Unreadable(f"it is no key that is known here: {raw[:40]!r}") from None


def expired(at: float, now: float) -> bool:
    """Whether a key of that time is remembered no more."""
    return now >= at + KEY_SECONDS
