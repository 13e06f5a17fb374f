"""Names on the server: the subjects of a channel, and the streams that keep them.

| what                                 | subject                         | stream               |
|--------------------------------------|---------------------------------|----------------------|
| messages, as nodes hear them         | ``PREFIX.live.CHANNEL``         |                      |
| messages of a channel with history   | ``PREFIX.log.I.CHANNEL``        | ``PREFIX_log_I``     |
| keys of these                        | ``PREFIX.key.I.HASH``           | ``PREFIX_log_I``     |
| messages with a key, and no history  | ``PREFIX.once.CHANNEL.HASH``    | ``PREFIX_once``      |
| who is on a channel: a bucket        | ``$KV.PREFIX_presence.CHANNEL`` | ``KV_P…_presence``   |
| answers to one node                  | ``PREFIX.own.NODE.N``           |                      |

A channel is one token of a subject, whatever its name: a byte that is no letter, digit, ``_`` or
``-`` is written as ``=`` and two digits. So no name is a pattern, or reaches another channel.
"""

import re
from hashlib import blake2b
from typing import Final

from openapi.errors import DeclarationError

__all__ = ["Names"]

_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
#: What a channel's name has at most as a token. A line to the server has 4096 unless it says so.
_TOKEN: Final = 3000
#: What a character is at most: four bytes.
_MOST: Final = 12
_BYTES: Final = [chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in range(256)]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _token(channel: str) -> str:
    # "=" alone is no byte, so it is the name without any.
    return "".join([_BYTES[byte] for byte in _utf8(channel)]) or "="


def _hash(*texts: str) -> str:
    hashed = blake2b(digest_size=16)
    for raw in map(_utf8, texts):
        hashed.update(b"%d:%b" % (len(raw), raw))
    return hashed.hexdigest()


class Names:
    """The names of one application. Raises DeclarationError for a prefix that is no token."""

    def __init__(self, prefix: str, partitions: int) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise DeclarationError(
                f"NatsBroker: the prefix {prefix!r} must be 1 to 64 ASCII letters, digits, - and _"
            )
        self.prefix: Final = prefix
        self.partitions: Final = partitions
        self.logs: Final = [f"{prefix}_log_{number}" for number in range(partitions)]
        self.onces: Final = f"{prefix}_once"
        self.bucket: Final = f"{prefix}_presence"
        self.rosters: Final = f"KV_{self.bucket}"

    @staticmethod
    def fits(channel: str) -> bool:
        """Whether a channel's name is not too long for a subject."""
        return len(channel) * _MOST <= _TOKEN or len(_token(channel)) <= _TOKEN

    def own(self, node: str) -> str:
        """Where one node hears what is meant for it alone."""
        return f"{self.prefix}.own.{node}"

    def live(self, channel: str) -> str:
        return f"{self.prefix}.live.{_token(channel)}"

    def partition(self, channel: str) -> int:
        """Which of the streams with logs has the channel's."""
        digest = blake2b(_utf8(channel), digest_size=4).digest()
        return int.from_bytes(digest) % self.partitions

    def log(self, channel: str) -> str:
        return f"{self.prefix}.log.{self.partition(channel)}.{_token(channel)}"

    def key(self, channel: str, key: str) -> str:
        return f"{self.prefix}.key.{self.partition(channel)}.{_hash(channel, key)}"

    def once(self, channel: str, key: str) -> str:
        return f"{self.prefix}.once.{_token(channel)}.{_hash(key)}"

    def roster(self, channel: str) -> str:
        return f"$KV.{self.bucket}.{_token(channel)}"
