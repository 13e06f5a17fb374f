"""permessage-deflate (RFC 7692), stateless in both directions.

No context is kept from one message to the next, by the server's choice of
``server_no_context_takeover`` and ``client_no_context_takeover``. So a connection pins no window,
and one compressed frame is good for every receiver that agreed on the same window.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["Corrupt", "Deflate", "Inflater", "compress"]

NAME: Final = "permessage-deflate"

_WINDOW: Final = 12
"""Bits of our own window at most: 4 KiB holds most messages, and is quick to clear."""

_OFFERS: Final = 16
"""Offers that are looked at. A client sends one or two; more is an attack."""

_MEMORY_LEVEL: Final = 5
_LEVEL: Final = 6

# What the sender took off (RFC 7692 section 7.2.1), then an empty final block: if the decoder is
# not at its end after that, the message was cut inside a block.
_TAIL: Final = b"\x00\x00\xff\xff\x03\x00"


class Corrupt(Exception):
    """A compressed message is no DEFLATE stream that RFC 7692 section 7.2 allows."""


@dataclass(frozen=True, slots=True)
class Deflate:
    """What was agreed on. ``window`` is ours, ``client_window`` the client's, 8 to 15 bits.

    ``response`` is the value of the ``Sec-WebSocket-Extensions`` header of the answer.
    """

    window: int
    client_window: int = 15
    response: str = ""

    @classmethod
    def negotiate(cls, offers: Iterable[str]) -> "Deflate | None":
        """Accept the first offer that can be honoured. A malformed one is declined.

        ``offers`` are the elements of the ``Sec-WebSocket-Extensions`` header.
        """
        for _, offer in zip(range(_OFFERS), offers, strict=False):
            accepted = cls._accept(offer)
            if accepted is not None:
                return accepted
        return None

    @classmethod
    def _accept(cls, offer: str) -> "Deflate | None":
        name, *parameters = offer.split(";", 5)  # there are four, and none may come twice
        if name.strip(" \t").lower() != NAME:
            return None
        seen: set[str] = set()
        window, client_window = _WINDOW, 15
        response = [NAME, "server_no_context_takeover", "client_no_context_takeover"]
        for parameter in parameters:
            key, equals, value = (part.strip(" \t") for part in parameter.partition("="))
            if key in seen:
                return None
            seen.add(key)
            if key in ("server_no_context_takeover", "client_no_context_takeover"):
                if equals:
                    return None
            elif key == "server_max_window_bits":
                bits = _window_bits(value)
                # zlib cannot make a raw stream with a window of 8 bits.
                if bits is None or bits == 8:
                    return None
                window = min(bits, _WINDOW)
                response.append(f"server_max_window_bits={window}")
            elif key == "client_max_window_bits":
                if not equals:
                    continue
                bits = _window_bits(value)
                if bits is None:
                    return None
                client_window = bits
                response.append(f"client_max_window_bits={bits}")
            else:
                return None
        return cls(window, client_window, "; ".join(response))


def _window_bits(value: str) -> int | None:
    """Read 8 to 15, without leading zeros, perhaps in quotes (RFC 7692 section 7.1.2)."""
    if value[:1] == value[-1:] == '"':
        value = value[1:-1]
    return _BITS.get(value)


_BITS: Final = {str(bits): bits for bits in range(8, 16)}


def compress(payload: bytes, window: int) -> bytes:
    """Compress one message with a fresh window of 9 to 15 bits."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -window, _MEMORY_LEVEL)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Inflater:
    """One inbound message, inflated piece by piece and never past what the caller allows."""

    __slots__ = ("_stream",)

    def __init__(self, window: int = 15) -> None:
        # Clients that cannot do 8 bits say so and use 9.
        self._stream = zlib.decompressobj(-max(window, 9))

    def feed(self, piece: bytes, limit: int) -> bytes:
        """Inflate ``piece``. More than ``limit`` bytes out means that there was too much.

        Raises:
            Corrupt: this is no DEFLATE stream.
        """
        try:
            out = self._stream.decompress(piece, limit + 1)
        except zlib.error as error:
            raise Corrupt from error
        # A final block may only be followed by the header of the empty block whose rest the
        # sender took off (RFC 7692 section 7.2.3.4).
        if self._stream.unused_data not in (b"", b"\x00"):
            raise Corrupt
        return out

    def finish(self, limit: int) -> bytes:
        """Inflate what is left at the end of the message.

        Raises:
            Corrupt: the message was cut, or is no DEFLATE stream.
        """
        if self._stream.eof:
            return b""
        out = self.feed(_TAIL, limit)
        if len(out) <= limit and not self._stream.eof:
            raise Corrupt
        return out
