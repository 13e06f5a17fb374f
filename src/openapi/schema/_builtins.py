"""Values of declared types as dictionaries and lists, all the way down."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from openapi.schema._faults import is_model, pydantic

__all__ = ["plain"]

_KEPT: Final = (bytes, bytearray, date, datetime, time, timedelta, Decimal, UUID)


def plain(value: object) -> Any:
    """An instance as a dictionary of its fields, and what is in it likewise.

    Dates, times, UUIDs, Decimals, bytes and tuples stay what they are. Fields have the names that
    they have in the data.
    """
    return msgspec.to_builtins(value, builtin_types=_KEPT, enc_hook=_plain)


def _plain(value: object) -> object:
    """Give msgspec a simpler form of a value that it does not know."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if is_model(type(value)):
        return pydantic().fields(value)
    raise TypeError(f"`{type(value).__name__}` has no form as plain builtins")
