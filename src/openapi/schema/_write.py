"""Any value as JSON text."""

from collections.abc import Mapping

import msgspec

from openapi.errors import Unserializable
from openapi.schema._faults import is_model, pydantic

__all__ = ["encode_json", "json_form"]


def encode_json(value: object) -> bytes:
    """Write any value as JSON; NaN and Infinity become null. Raises :class:`Unserializable`."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except RecursionError as error:
        raise Unserializable("the value is nested too deeply, or contains itself") from error
    except (TypeError, ValueError) as error:
        raise Unserializable(str(error)) from error


def json_form(value: object) -> object:
    """What a reader gets of a value: dict, list, str, int, float, bool and None, all new."""
    return msgspec.json.decode(encode_json(value))


def _plain(value: object) -> object:
    """Give msgspec a simpler form of a value that it cannot write."""
    for base in (str, int, float):  # msgspec takes no subclasses of these
        if isinstance(value, base):
            return base(value)
    if isinstance(value, Mapping):
        return dict(value)
    if is_model(type(value)):
        return pydantic().dumped(value)
    raise TypeError(f"`{type(value).__name__}` has no JSON form")
