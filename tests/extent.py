"""How much is tried: a part of it by ``make test``, all of it by ``make test-full``.

SCHEDULES = extent(10_000, 2_500)
"""

import os
from typing import Final

__all__ = ["FULL", "extent"]

FULL: Final = bool(os.environ.get("OPENAPI_FULL"))


def extent(full: int, otherwise: int) -> int:
    """How many there are of something."""
    return full if FULL else otherwise
