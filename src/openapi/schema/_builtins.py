"""Values of declared types as dictionaries: all the way down, or one level."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

import msgspec

from openapi.schema._faults import is_model, pydantic

__all__ = ["fields_of", "plain"]

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


def fields_of(value: object) -> dict[str, Any] | None:
    """The fields of an instance by name, one level deep: their values as they are.

    None if it has none, as a list. Fields have the names that they have in Python.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value):
        names = [item.name for item in fields(value)]
    elif isinstance(value, msgspec.Struct):
        names = [*value.__struct_fields__]
    elif attrs := getattr(type(value), "__attrs_attrs__", None):
        names = [item.name for item in attrs]
    elif is_model(type(value)):
        return dict(cast("Any", value))
    else:
        return None
    return {name: getattr(value, name) for name in names}
