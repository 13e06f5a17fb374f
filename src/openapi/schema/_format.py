"""The two formats that data comes in.

To whoever judges it, data is builtins: what a JSON decoder gives, and out of MessagePack bytes and
datetimes as well. What else MessagePack can say is dealt with here, before anybody looks at it:

========================== ======================================================================
a name that is no string   becomes the string that JSON has for it: ``1`` is ``"1"``; nil, a bool
                           and an array have none, and are refused
NaN and Infinity           are refused, for the value may go on to a peer that speaks JSON
an extension type          is refused, but for the timestamp
========================== ======================================================================
"""

import datetime
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple, cast

import msgspec

from openapi.schema._collection import Array
from openapi.schema._faults import NO_NAME, Faults, at, built, check_scalar, converted
from openapi.schema._shape import Shape, reachable
from openapi.schema._write import encode_json, encode_msgpack

__all__ = [
    "JSON",
    "MSGPACK",
    "REFUSALS",
    "Data",
    "Fits",
    "Format",
    "Guard",
    "Unfit",
    "read_json",
    "text_of",
]

Data = bytes | str | msgspec.Raw


class Unfit(Exception):
    """The data does not fit, though msgspec takes it."""


# a TypeError is a set of any items that got one that cannot be in a set
REFUSALS: Final = (Unfit, msgspec.DecodeError, UnicodeError, RecursionError, TypeError)

Fits = Callable[[object], bool]


class Guard(NamedTuple):
    """How to find a number that may not be, with one look at nearly all data."""

    search: Callable[[bytes], object]
    """Gives None if there is none; it is shown one byte of every ``step``."""
    step: int
    certain: Callable[[bytes], object]
    """Tells for certain, and slowly, whether there is one."""


class Format:
    """JSON, or what is different in another format."""

    packed = False
    """Whether there may be more in it than in JSON."""
    unreadable = "JSON string expected"
    """What is said of data that is not in this format."""
    write = staticmethod(encode_json)
    """Write any value."""
    builtins: Callable[[Any], Any] = staticmethod(msgspec.json.Decoder().decode)
    """Read data that the decoder of a type has taken."""

    def decoder(self, hint: object, parts: Iterable[Shape]) -> Callable[[Any], Any]:
        """Make what decodes as a hint, in one pass if that can be."""
        return msgspec.json.Decoder(cast("Any", hint), dec_hook=built).decode

    def fits(self, shape: Shape, parts: Iterable[Shape]) -> Fits | None:
        """Make what msgspec does not check of a decoder's builtins; None if it checks all."""
        return shape.fits if any(part.is_open for part in parts) else None

    def names(self, shape: Shape) -> int | None:
        """How many colons there are at least in data that a decoder has taken.

        If there are no more, then it has the names of all fields once, and no others: so it fits.
        None if that cannot be told.
        """
        return shape.names

    def guard(self, parts: Iterable[Shape], faults: Callable[[Data], object]) -> Guard | None:
        """Make what finds numbers that msgspec takes and may not be; None if none can be."""
        if not any(part.is_wide for part in parts):
            return None
        # An integer of more than 63 bits has 19 digits, two of them among every ninth byte. What
        # only looks like one (a long fraction, a number in a string) costs a walk over the data.
        return Guard(_PAIR, 9, lambda data: _LONG in data.translate(_DIGITS) and faults(data))

    def read(self, data: Data, found: Faults) -> object:
        """Read builtins, and report what this format alone can say. Raises what msgspec does."""
        return read_json(data)


class _MessagePack(Format):
    packed = True
    unreadable = "MessagePack expected"
    write = staticmethod(encode_msgpack)
    builtins = staticmethod(msgspec.msgpack.Decoder().decode)

    def decoder(self, hint: object, parts: Iterable[Shape]) -> Callable[[Any], Any]:
        if any(_is_set_of_anything(part) for part in parts):
            # msgspec would make tuples of the arrays in it, which can be in a set
            builtins = self.builtins
            return lambda data: converted(builtins(data), hint, packed=True)
        hook = partial(built, packed=True)
        return msgspec.msgpack.Decoder(cast("Any", hint), dec_hook=hook).decode

    def fits(self, shape: Shape, parts: Iterable[Shape]) -> Fits | None:
        fits = super().fits(shape, parts)
        if not any(part.is_untyped for part in parts):
            return fits

        def all_fits(value: object) -> bool:
            if fits is not None and not fits(value):
                return False
            return _is_sayable(value) or not _faults_of(shape, value)

        return all_fits

    def names(self, shape: Shape) -> int | None:
        return None

    def guard(self, parts: Iterable[Shape], faults: Callable[[Data], object]) -> Guard | None:
        has_floats = any(part.is_untyped or part.is_real for part in parts)
        return Guard(_NOT_FINITE, 1, faults) if has_floats else None

    def read(self, data: Data, found: Faults) -> object:
        value = msgspec.msgpack.decode(cast("bytes", data))
        found.collect(_tidy, value)
        return value


# JSON: integers without end

# what a refusal is shown instead of an integer of thousands of digits, which is refused anyway
_ENDLESS: Final = re.compile(rb"[0-9]{309,}")
_PAIR: Final = re.compile(b"[0-9][0-9]").search
# digits become zeros, everything else blanks
_DIGITS: Final = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG: Final = b"0" * 19


def read_json(data: Data) -> object:
    """JSON text -> builtins, also with integers that are longer than msgspec reads."""
    try:
        return msgspec.json.decode(data)
    except msgspec.ValidationError:
        return msgspec.json.decode(_ENDLESS.sub(b"9" * 308, text_of(data)))


def text_of(data: Data) -> bytes:
    """Data as bytes, however it came."""
    return data.encode() if isinstance(data, str) else bytes(data)


# MessagePack: what JSON does not know

_KEPT: Final = (bytes, datetime.datetime)
# how a float of 64 or 32 bits begins that is not finite; other data may look like one
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]|\xca[\x7f\xff][\x80-\xff]").search


def _is_set_of_anything(shape: Shape) -> bool:
    is_set = isinstance(shape, Array) and shape.is_set
    return is_set and any(part.is_untyped for part in reachable(shape))


def _is_sayable(value: object) -> bool:
    """Tell whether all names in builtins are strings, and no extension is among the values.

    Where it is not so, that may yet be the type's own wish, as of a ``dict[int, str]``.
    """
    try:
        return bool(msgspec.to_builtins(value, str_keys=True, builtin_types=_KEPT) == value)
    except TypeError:
        return False


def _faults_of(shape: Shape, value: object) -> dict[str, str]:
    found = Faults(packed=True)
    found.collect(shape.faults, value)
    return found.errors


def _tidy(value: object, path: str, found: Faults) -> None:
    """Give builtins their names as JSON has them, in place; report what JSON cannot say."""
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            items = [*value.items()]
            value.clear()
            for key, item in items:
                name = _name(key)
                if name is None:
                    found.add(at(path, key), NO_NAME)
                else:
                    value[name] = item
        for name, item in value.items():
            if not isinstance(item, str | int):
                _tidy(item, at(path, name), found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if not isinstance(item, str | int):
                _tidy(item, f"{path}[{index}]", found)
    else:
        check_scalar(value, path, found)


def _name(key: object) -> str | None:
    """What JSON has for a key; None if it has nothing."""
    if isinstance(key, str):
        return key
    try:
        (name,) = msgspec.json.decode(msgspec.json.encode({key: None}))
    except TypeError:
        return None
    return cast("str", name)


JSON: Final = Format()
MSGPACK: Final = _MessagePack()
