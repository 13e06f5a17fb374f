"""Values of declared types as dictionaries and lists, all the way down."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

__all__ = ["plain"]

_KEPT: Final = (bytes, bytearray, date, datetime, time, timedelta, Decimal, UUID)


def plain(value: object) -> Any:
    """An instance as a dictionary of its fields, and what is in it likewise.

    Dates, times, UUIDs, Decimals and bytes stay what they are.
    """
    return msgspec.to_builtins(value, builtin_types=_KEPT)
