"""Any value as JSON text, and as MessagePack."""

import datetime
import math
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from openapi.errors import Unserializable
from openapi.schema._faults import LARGEST, OUT_OF_RANGE, SMALLEST, is_model, pydantic

__all__ = ["encode_json", "encode_msgpack", "plain_form"]

_ENDLESS: Final = "the value is nested too deeply, or contains itself"
# how a float that is not finite begins; other data may look like one
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search
# what MessagePack says, and JSON only by way of strings
_MORE_THAN_JSON: Final = (bytes, bytearray, memoryview, datetime.datetime)


def encode_json(value: object) -> bytes:
    """Write any value as JSON; NaN and Infinity become null. Raises :class:`Unserializable`.

    A ``msgspec.Raw`` in it is JSON text already.
    """
    try:
        return _encode(value)
    except RecursionError as error:
        raise Unserializable(_ENDLESS) from error
    except (TypeError, ValueError) as error:
        raise Unserializable(str(error)) from error


def encode_msgpack(value: object) -> bytes:
    """Write any value as MessagePack. Raises :class:`Unserializable`.

    Bytes are bin and a datetime with a zone is a timestamp; a datetime without one, a date and the
    like are strings as in JSON. NaN and Infinity become nil, since the value may go to other peers
    as JSON. An integer has 64 bits at most. The names of a map stay what they are, though
    ``Schema.unpack`` takes only those that JSON has a string for. A ``msgspec.Raw`` in the value
    is MessagePack already.
    """
    try:
        try:
            data = msgspec.msgpack.encode(value, enc_hook=_plain)
        except OverflowError:  # of an integer, or a datetime that is in no year in UTC
            value = msgspec.to_builtins(value, builtin_types=_MORE_THAN_JSON, enc_hook=_plain)
            return msgspec.msgpack.encode(_within_bounds(value))
        # two searches cost less than the expression, which has to be asked seldom
        may_be = data.find(b"\xcb\x7f") >= 0 or data.find(b"\xcb\xff") >= 0
        if may_be and _NOT_FINITE(data) is not None:
            data = msgspec.msgpack.encode(_within_bounds(msgspec.msgpack.decode(data)))
    except RecursionError as error:
        raise Unserializable(_ENDLESS) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise Unserializable(str(error)) from error
    return data


def _within_bounds(value: object) -> object:
    """Copy builtins, with None for floats that are not finite. Raises OverflowError."""
    if isinstance(value, dict):
        return {name: _within_bounds(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_within_bounds(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        raise OverflowError(OUT_OF_RANGE)
    if isinstance(value, datetime.datetime):
        try:
            msgspec.msgpack.encode(value)
        except OverflowError:
            return msgspec.to_builtins(value)
    return value


def plain_form(value: object) -> object:
    """What a reader gets of a value, all new: builtins, with bytes and datetimes among them.

    Raises :class:`Unserializable`.
    """
    try:
        return msgspec.to_builtins(
            value, str_keys=True, builtin_types=_MORE_THAN_JSON, enc_hook=_plain
        )
    except (TypeError, ValueError, RecursionError):  # such a name, or a Raw, has a JSON form only
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


_encode: Final = msgspec.json.Encoder(enc_hook=_plain).encode
