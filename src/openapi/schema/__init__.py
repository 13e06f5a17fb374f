"""A type hint as a decoder, an encoder and a JSON Schema. Only this package knows msgspec.

    schema = Schema(Order)
    order = schema.decode(b'{"item": "tea", "count": 2}')      # an Order, or InvalidData
    schema.encode(order)                                       # JSON that decodes as an Order

A hint may be a dataclass, ``msgspec.Struct``, TypedDict, NamedTuple or attrs class (also generic,
recursive, or with its annotations as strings), a pydantic model when pydantic is installed, an
enum, ``Literal``, ``Annotated`` with ``msgspec.Meta``, a builtin, date, time, UUID, Decimal, and
unions, lists, tuples, sets and dicts of these.

Rules that all of them share, whatever validates them:

* an object has no fields but those of its type: ``unknown field``
* a field without a default must be there: ``required``
* an integer is between -2**63 and 2**64 - 1, in untyped data too: ``integer out of range``
* a bool is no integer and "1" is no number; an integer is a float
* a refusal names every faulty field, up to :data:`MAX_FAULTS`

``_build`` makes a shape of a hint, ``_shape`` says what is wrong with data, ``_document`` writes
the JSON Schema, and ``_pydantic`` is the one file that imports pydantic.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, Generic, TypeVar, cast, get_type_hints

import msgspec

from openapi.errors import DeclarationError, InvalidData, Unserializable
from openapi.schema import _document, _shape
from openapi.schema._build import shape_of
from openapi.schema._shape import MAX_FAULTS

__all__ = ["MAX_FAULTS", "Schema", "encode_json", "hints_of"]

T = TypeVar("T")

_NOT_JSON: Final = "JSON string expected"
_TOO_DEEP: Final = "nested too deeply"
# what a refusal is shown instead of an integer of thousands of digits, which is refused anyway
_ENDLESS: Final = re.compile(rb"[0-9]{309,}")
# a TypeError is a set of any items that got one that cannot be in a set
_REFUSALS: Final = (msgspec.DecodeError, UnicodeError, RecursionError, TypeError)


class _Unfit(Exception):
    """The data does not fit, as far as msgspec can tell; the cause says the first reason."""


class Schema(Generic[T]):
    """One type hint as a decoder, an encoder and a JSON Schema.

    Raises :class:`DeclarationError`, naming the part, if the hint has no JSON form.
    """

    hint: object
    """What it was made from."""
    is_object: bool
    """Whether every value is a JSON object."""

    def __init__(self, hint: object) -> None:
        self.hint = hint
        self._shape = shape_of(hint)
        self.is_object = self._shape.is_object
        # what msgspec does not check: unknown fields of most types, and the size of integers
        parts = _shape.reachable(self._shape)
        self._open = any(part.is_open for part in parts)
        self._wide = any(part.is_wide for part in parts)
        self._decode: Callable[[bytes | str | msgspec.Raw], T] = msgspec.json.Decoder(
            cast("Any", hint), dec_hook=_shape.built
        ).decode

    def decode(self, data: bytes | str | msgspec.Raw) -> T:
        """Read JSON text. Raises :class:`InvalidData`."""
        try:
            return self._attempt(data)
        except _Unfit as unfit:
            raise InvalidData(self._faults_of_text(data, unfit)) from unfit.__cause__

    def convert(self, value: object, *, lax: bool = False) -> T:
        """Read builtins: what a JSON decoder gives. Raises :class:`InvalidData`.

        ``lax`` is for query strings and path variables: strings become numbers, booleans and so
        on, and a string where a list belongs is its only item.
        """
        faults = _shape.Faults(lax=lax)
        try:
            if lax:
                value = self._shape.widened(value)
            faults.collect(self._shape, value)
            if not faults.errors:
                return cast("T", _shape.converted(value, self.hint, strict=not lax))
        except RecursionError:
            faults.errors[""] = _TOO_DEEP
        except (msgspec.ValidationError, TypeError) as error:
            path, text = _shape.reason(error)
            faults.errors[path] = text
        raise InvalidData(faults.errors)

    def encode(self, value: object) -> bytes:
        """Write as JSON text that :meth:`decode` accepts; what the type does not have is left out.

        ``value`` is an instance of the type, or anything else that has its form: a dict for a
        dataclass is welcome. NaN and Infinity become null, so they do not fit a ``float``.

        Raises :class:`InvalidData` if it does not fit and :class:`Unserializable` if it has no
        JSON form.
        """
        data = encode_json(value)
        try:
            self._attempt(data)
        except _Unfit:
            data = msgspec.json.encode(self._shape.pruned(msgspec.json.decode(data)))
            self.decode(data)
        return data

    def dump(self, value: object) -> object:
        """Do as :meth:`encode`, but to builtins: dict, list, str, int, float, bool and None."""
        return msgspec.json.decode(self.encode(value))

    def json_schema(
        self, components: dict[str, Any], ref: str = "#/components/schemas/{name}"
    ) -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of what :meth:`decode` accepts.

        Types that have a name go into ``components`` under a unique one, and ``ref`` is how they
        are referred to. Use the same ``components`` for all schemas of one document.
        """
        return _document.document(self.hint, _document.Names(components, ref))

    def _attempt(self, data: bytes | str | msgspec.Raw) -> T:
        try:
            value = self._decode(data)
            if self._open and not self._shape.fits(msgspec.json.decode(data)):
                raise _Unfit
        except _REFUSALS as error:
            raise _Unfit from error
        if self._wide and _has_long_number(data) and self._faults_of_text(data):
            raise _Unfit
        return value

    def _faults_of_text(
        self, data: bytes | str | msgspec.Raw, unfit: _Unfit | None = None
    ) -> dict[str, str]:
        """Name every faulty field of JSON text; none only if ``unfit`` was not given."""
        faults = _shape.Faults()
        try:
            faults.collect(self._shape, _read(data))
        except RecursionError:
            return {"": _TOO_DEEP}
        except msgspec.ValidationError as error:
            return dict([_shape.reason(error)])
        except (msgspec.DecodeError, UnicodeError):
            return {"": _NOT_JSON}
        if not faults.errors and unfit is not None:
            return dict([_shape.reason(unfit.__cause__)])
        return faults.errors


def _bytes(data: bytes | str | msgspec.Raw) -> bytes:
    if type(data) is bytes:
        return data
    return data.encode() if isinstance(data, str) else bytes(data)


def _read(data: bytes | str | msgspec.Raw) -> object:
    """JSON text -> builtins, also with integers that are longer than msgspec reads."""
    try:
        return msgspec.json.decode(data)
    except msgspec.ValidationError:
        return msgspec.json.decode(_ENDLESS.sub(b"9" * 308, _bytes(data)))


def encode_json(value: object) -> bytes:
    """Write any value as JSON; NaN and Infinity become null. Raises :class:`Unserializable`."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except RecursionError as error:
        raise Unserializable("the value is nested too deeply, or contains itself") from error
    except (TypeError, ValueError) as error:
        raise Unserializable(str(error)) from error


def hints_of(function: Callable[..., object]) -> dict[str, object]:
    """Return the annotations of a function as types, also where they were written as strings.

    Raises :class:`DeclarationError` for a name that cannot be found.
    """
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        name = getattr(function, "__qualname__", repr(function))
        raise DeclarationError(
            f"{name}: an annotation cannot be resolved ({error}); the types of handlers are needed "
            "when the program runs: define them in the module, outside `if TYPE_CHECKING:`"
        ) from error


# Digits become zeros, everything else blanks: nineteen zeros in a row are a long number.
_DIGITS: Final = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG: Final = b"0" * 19


def _has_long_number(data: bytes | str | msgspec.Raw) -> bool:
    """Tell whether JSON text may contain an integer that needs more than 63 bits.

    Such an integer has 19 digits. Looking for them in the text costs a fraction of a walk over the
    data; a string or a long fraction that looks so only costs the walk.
    """
    data = _bytes(data)
    # any 19 digits in a row have three among every sixth byte
    if len(data) > 1024 and b"000" not in data[::6].translate(_DIGITS):
        return False
    return _LONG in data.translate(_DIGITS)


def _plain(value: object) -> object:
    """Give msgspec a simpler form of a value that it cannot write."""
    for base in (str, int, float):  # msgspec takes no subclasses of these
        if isinstance(value, base):
            return base(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    if _shape.is_model(type(value)):
        return _shape.pydantic().dumped(value)
    raise TypeError(f"`{type(value).__name__}` has no JSON form")
