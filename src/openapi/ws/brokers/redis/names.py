"""What is named what in a server: ``{prefix}:{kind}:{channel}``, and where it is in a cluster.

| kind | key or bus channel                                          |
|------|-------------------------------------------------------------|
| b    | the bus channel of a channel                                |
| m    | what is known of its stream: a hash                         |
| s    | its messages: a stream, whose ids are ``offset-at``         |
| k    | a key of a publication                                      |
| p    | who is present: a hash                                      |
| x    | when each of their connections expires: a sorted set        |

In a cluster a channel is in one of a fixed number of partitions, and so is all that belongs to it:
``{prefix}:{tag}:{kind}:{channel}``, with the tag in braces, which decides on the slot (Redis
Cluster specification, "Hash tags"). A channel's own braces come behind it and mean nothing.
"""

from binascii import crc_hqx
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from openapi.errors import DeclarationError

__all__ = ["PARTITIONS", "SLOTS", "Names", "slot_of"]

SLOTS: Final = 16384
"""Slots of a cluster."""

PARTITIONS: Final = 128
"""Partitions of a cluster: the more, the more evenly they lie; each is a subscription at most."""


#: With these a name of one prefix could be one of another, or have another slot.
_OUR_OWN: Final = frozenset(":@{}")


class Names:
    """The names that begin with a prefix; with ``partitions`` those of a cluster.

    ``database`` is its number, for bus channels are of all databases of a server. Raises
    DeclarationError for a prefix that is empty, or has what would make it mean something else.
    """

    def __init__(self, prefix: str, *, database: int = 0, partitions: int = 0) -> None:
        if not prefix or set(prefix) & _OUR_OWN:
            raise DeclarationError(
                "the prefix of a Redis broker is a text without"
                f" {' '.join(sorted(_OUR_OWN))}, not {prefix!r}"
            )
        self.partitions: Final = partitions
        start = prefix.encode() + (b"@%d" % database if database else b"")
        self._least: Final = len(start)
        self._starts: Final = (
            [b"%b:{%b}" % (start, tag) for tag in _tags(partitions)] if partitions else [start]
        )

    def partition(self, channel: str) -> int:
        """In which partition a channel is."""
        return crc_hqx(_encoded(channel), 0) % self.partitions if self.partitions else 0

    def slot(self, partition: int) -> int:
        """The slot of a partition."""
        return slot_of(self._starts[partition])

    def bus(self, channel: str) -> bytes:
        """The bus channel of a channel."""
        return self._named(b"b", channel)

    def probe(self, partition: int, name: str) -> bytes:
        """A bus channel in a partition that no channel has."""
        return b"%b:probe:%b" % (self._starts[partition], name.encode())

    def channel_of(self, bus: bytes) -> str:
        """The channel of a bus channel."""
        name = bus[bus.index(b":b:", self._least) + 3 :]
        return name.decode("utf-8", "surrogatepass")

    def stream(self, channel: str) -> tuple[bytes, bytes]:
        """The keys of a stream: what is known of it, and its messages."""
        return self._named(b"m", channel), self._named(b"s", channel)

    def present(self, channel: str) -> tuple[bytes, bytes]:
        """The keys of who is present: who they are, and when they expire."""
        return self._named(b"p", channel), self._named(b"x", channel)

    def key(self, channel: str, key: str, *, kept: bool) -> bytes:
        """The key of what was published with a key; ``kept`` on a channel that keeps history."""
        name = _encoded(channel)
        digest = blake2b(b"%d:%d:%b%b" % (kept, len(name), name, _encoded(key)), digest_size=20)
        return b"%b:k:%b" % (self._starts[self.partition(channel)], digest.hexdigest().encode())

    def _named(self, kind: bytes, channel: str) -> bytes:
        return b"%b:%b:%b" % (self._starts[self.partition(channel)], kind, _encoded(channel))


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    if start >= 0 and end > start + 1:
        key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _tags(partitions: int) -> Sequence[bytes]:
    """A hash tag for each partition, so that they lie evenly among the slots.

    Plain numbers do not: of 128, one of six nodes may get 15 and another 27.
    """
    tags: dict[int, bytes] = {}
    number = 0
    while len(tags) < partitions:
        tag = b"%d" % number
        tags.setdefault(slot_of(tag) * partitions // SLOTS, tag)
        number += 1
    return [tags[partition] for partition in range(partitions)]
