"""In what form a connection gets its messages: connections of one variant get the same bytes."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from openapi.protocol.frames import Codec
from openapi.protocol.framing import framer
from openapi.protocol.native import ObjectCodec

__all__ = ["Variant"]


class Variant:
    """A dialect, and the window of the compression in bits (0: none).

    There is one of each; but for dialects of an endpoint's own, which every connection has itself.
    """

    __slots__ = ("codec", "framed", "window")

    def __init__(self, codec: Codec, window: int) -> None:
        self.codec: Final = codec
        self.window: Final = window
        self.framed: Final[Callable[[bytes], bytes]] = framer(packed=codec.packed, window=window)
        """What is encoded as a WebSocket frame."""

    @staticmethod
    def of(codec: Codec, window: int = 0) -> "Variant":
        """The variant of a codec and a window."""
        return Variant(codec, window) if isinstance(codec, ObjectCodec) else _known(codec, window)


#: Three dialects, with a window of none, or of 9 to 15 bits.
_known: Final[Callable[[Codec, int], Variant]] = lru_cache(maxsize=64)(Variant)  # type: ignore[assignment] # a codec is hashable, and has no need to say so
