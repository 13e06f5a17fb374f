"""The scripts that run inside of the server, each as one act."""

from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Final

__all__ = ["APPEND", "HISTORY", "ONCE", "PRESENT", "SCRIPTS", "Script"]


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the digest by which a server knows it."""

    source: bytes
    digest: bytes

    @classmethod
    def load(cls, name: str) -> "Script":
        """That of a file beside this one, behind what all begin with."""
        folder = files(__package__)
        source = b"\n".join(
            folder.joinpath(f"{each}.lua").read_bytes() for each in ("stream", name)
        )
        return cls(source, sha1(source, usedforsecurity=False).hexdigest().encode())


APPEND: Final = Script.load("append")
HISTORY: Final = Script.load("history")
ONCE: Final = Script.load("once")
PRESENT: Final = Script.load("present")

SCRIPTS: Final = (APPEND, HISTORY, ONCE, PRESENT)
