"""RFC 6455, the server's frames: a message, a ping, a pong or a closing as bytes.

They need no connection, and what is sent is not masked, so that one frame can go to many.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from openapi.errors import CloseCode

from .deflate import compress

__all__ = [
    "binary_frame",
    "close_frame",
    "framer",
    "may_send",
    "ping_frame",
    "pong_frame",
    "text_frame",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

FIN: Final = 0x80
COMPRESSED: Final = 0x40
MASKED: Final = 0x80

_SHORT_TEXT: Final = [bytes((FIN | TEXT, size)) for size in range(126)]

COMPRESS_FROM: Final = 256
"""Bytes. To compress a shorter payload costs more than it saves."""


def may_send(code: int) -> bool:
    """Tell whether a closing frame may have this code (RFC 6455 section 7.4)."""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


def text_frame(payload: bytes, window: int = 0, *, compress_from: int = COMPRESS_FROM) -> bytes:
    """Frame a text message, which must be UTF-8.

    ``window``: the bits agreed on (9 to 15) for permessage-deflate, 0 for none; the frame depends
    on no other message, so all receivers with this window can get it. ``compress_from``: bytes; a
    shorter payload is left as it is.
    """
    size = len(payload)
    if size < 126 and (window == 0 or size < compress_from):
        return _SHORT_TEXT[size] + payload  # most answers, and they are framed one by one
    return _message_frame(FIN | TEXT, payload, window, compress_from)


def binary_frame(payload: bytes, window: int = 0, *, compress_from: int = COMPRESS_FROM) -> bytes:
    """Frame a binary message. The options are those of :func:`text_frame`."""
    return _message_frame(FIN | BINARY, payload, window, compress_from)


@lru_cache(maxsize=32)
def framer(*, packed: bool, window: int) -> Callable[[bytes], bytes]:
    """:func:`binary_frame` where it is ``packed``, else :func:`text_frame`, with this window."""
    frame = binary_frame if packed else text_frame
    return partial(frame, window=window) if window else frame


def ping_frame(payload: bytes = b"") -> bytes:
    """Frame a ping.

    Raises:
        ValueError: ``payload`` has more than 125 bytes.
    """
    return _control_frame(FIN | PING, payload)


def pong_frame(payload: bytes) -> bytes:
    """Frame the answer to a ping with this payload.

    Raises:
        ValueError: ``payload`` has more than 125 bytes.
    """
    return _control_frame(FIN | PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Frame the closing of a connection; 1005 makes one without a code.

    A reason of more than 123 bytes of UTF-8 is cut after a whole character.

    Raises:
        ValueError: ``code`` may not be sent.
    """
    if code == CloseCode.NO_STATUS:
        return _control_frame(FIN | CLOSE, b"")
    if not may_send(code):
        raise ValueError(
            f"close code {code} cannot be sent; "
            "use 1000-1003, 1007-1014, or one of your own from 3000-4999"
        )
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return _control_frame(FIN | CLOSE, code.to_bytes(2) + text)


def _message_frame(first: int, payload: bytes, window: int, compress_from: int) -> bytes:
    if window and len(payload) >= compress_from:
        first |= COMPRESSED
        payload = compress(payload, window)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, 126, size >> 8, size & 0xFF)) + payload
    return bytes((first, 127)) + size.to_bytes(8) + payload


def _control_frame(first: int, payload: bytes) -> bytes:
    if len(payload) > 125:
        raise ValueError(f"a control frame holds at most 125 bytes, not {len(payload)}")
    return bytes((first, len(payload))) + payload
