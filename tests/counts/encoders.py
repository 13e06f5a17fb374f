"""How often something was encoded, and compressed, whoever asked for it.

msgspec is asked by whoever encodes, and zlib by whoever compresses. So the interpreter's own word
is taken for what was called, and no name of ours is in it.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["encoding"]

_JSON: Final = ("json_encode", "json.Encoder")
_MSGPACK: Final = ("msgpack_encode", "msgpack.Encoder")


@contextmanager
def encoding() -> Iterator[Counter[str]]:
    """Counts what is encoded meanwhile: by ``json`` and ``msgpack``, and ``deflate``."""
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and (kind := _kind(repr(called))):
            counts[kind] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield counts
    finally:
        sys.setprofile(before)


def _kind(called: str) -> str:
    if "encode" in called:
        if any(each in called for each in _JSON):
            return "json"
        if any(each in called for each in _MSGPACK):
            return "msgpack"
    elif " compressobj>" in called:
        return "deflate"
    return ""
