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
* a field that is left out has its default, in what was decoded and in what is sent

``_build`` makes a shape of a hint, ``_shape`` finds what is wrong with data, ``_faults`` says it,
``_complete`` gives instances the defaults that msgspec leaves out, ``_write`` writes any value,
``_document`` writes the JSON Schema, and ``_pydantic`` is the one file that imports pydantic.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar, cast, get_type_hints

import msgspec

from openapi.errors import DeclarationError, InvalidData, Unserializable
from openapi.schema import _document, _faults, _shape
from openapi.schema._build import shape_of
from openapi.schema._builtins import fields_of, plain
from openapi.schema._complete import completer
from openapi.schema._faults import MAX_FAULTS, TOO_DEEP
from openapi.schema._write import encode_json, encode_msgpack

__all__ = [
    "MAX_FAULTS",
    "Schema",
    "encode_json",
    "encode_msgpack",
    "fields_of",
    "hints_of",
    "is_json",
    "plain",
]

T = TypeVar("T")

_Text = bytes | str | msgspec.Raw

_NOT_JSON: Final = "JSON string expected"


class _Unfit(Exception):
    """The data does not fit, though msgspec takes it."""


# what a refusal is shown instead of an integer of thousands of digits, which is refused anyway
_ENDLESS: Final = re.compile(rb"[0-9]{309,}")
_PAIR: Final = re.compile("[0-9][0-9]").search
_PAIR_OF_BYTES: Final = re.compile(b"[0-9][0-9]").search
# digits become zeros, everything else blanks
_DIGITS: Final = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG: Final = b"0" * 19
# a TypeError is a set of any items that got one that cannot be in a set
_REFUSALS: Final = (_Unfit, msgspec.DecodeError, UnicodeError, RecursionError, TypeError)


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
        fits = self._shape.fits if any(part.is_open for part in parts) else None
        guard = _guard(self._faults_of_text) if any(part.is_wide for part in parts) else None
        # what msgspec leaves out: defaults
        fill = self._shape.fill if any(part.has_defaults for part in parts) else None
        self._complete = completer(hint)
        decode = msgspec.json.Decoder(cast("Any", hint), dec_hook=_faults.built).decode
        self._received: Callable[[_Text], T] = _received(decode, fits, guard, self._complete)
        self._sent = _sent(decode, fits, guard, fill)
        self._whole = self._shape.whole
        self._whole_sent = _sent(decode, fits, guard, None)

    @staticmethod
    def of(hint: object) -> "Schema[Any]":
        """Return the schema of a hint, which is made once; of a schema, itself.

        The last 512 are kept. A hint that is not hashable, as ``Annotated[int, []]``, is built
        anew each time. Raises :class:`DeclarationError` as the class does.
        """
        if isinstance(hint, Schema):
            return hint
        try:
            hash(hint)
        except TypeError:
            return Schema(hint)
        return _known(hint)

    def decode(self, data: _Text) -> T:
        """Read JSON text. Raises :class:`InvalidData`."""
        try:
            return self._received(data)
        except _REFUSALS as error:
            raise InvalidData(self._faults_of_text(data) or _reason(error)) from error

    def convert(self, value: object, *, lax: bool = False) -> T:
        """Read builtins: what a JSON decoder gives. Raises :class:`InvalidData`.

        ``lax`` is for query strings and path variables: strings become numbers, booleans and so
        on, and a string where a list belongs is its only item.
        """
        faults = _faults.Faults(lax=lax)
        try:
            if lax:
                value = self._shape.widened(value)
            faults.collect(self._shape.faults, value)
            if not faults.errors:
                result = _faults.converted(value, self.hint, strict=not lax)
                if self._complete is not None:
                    self._complete(result)
                return cast("T", result)
        except RecursionError:
            faults.errors[""] = TOO_DEEP
        except (msgspec.ValidationError, TypeError) as error:
            path, text = _faults.reason(error)
            faults.errors[path] = text
        raise InvalidData(faults.errors)

    def encode(self, value: object) -> bytes:
        """Write as JSON text that :meth:`decode` accepts; what the type does not have is left out.

        ``value`` is an instance of the type, or anything else that has its form: a dict for a
        dataclass is welcome. Fields with a default are always written, whichever it is, but for
        those that a Struct with ``omit_defaults`` omits. NaN and Infinity become null, so they do
        not fit a ``float``.

        Raises :class:`InvalidData` if it does not fit and :class:`Unserializable` if it has no
        JSON form.
        """
        data = encode_json(value)
        try:
            return (self._whole_sent if type(value) is self._whole else self._sent)(data)
        except Unserializable:  # of a default; it is a TypeError, but no refusal
            raise
        except _REFUSALS:
            data = msgspec.json.encode(self._pruned(data))
        try:
            return self._sent(data)
        except Unserializable:
            raise
        except _REFUSALS as error:
            raise InvalidData(self._faults_of_text(data) or _reason(error)) from error

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

    def _pruned(self, data: bytes) -> object:
        try:
            return self._shape.pruned(_read(data))
        except RecursionError as error:
            raise InvalidData({"": TOO_DEEP}) from error
        except (msgspec.DecodeError, UnicodeError) as error:  # of a msgspec.Raw in the value
            raise InvalidData(self._faults_of_text(data)) from error

    def _faults_of_text(self, data: _Text) -> dict[str, str]:
        """Name every faulty field of JSON text, as far as a walk over it can tell."""
        faults = _faults.Faults()
        try:
            faults.collect(self._shape.faults, _read(data))
        except RecursionError:
            return {"": TOO_DEEP}
        except msgspec.ValidationError as error:
            return _reason(error)
        except (msgspec.DecodeError, UnicodeError):
            return {"": _NOT_JSON}
        return faults.errors


@lru_cache(maxsize=512)
def _known(hint: object) -> Schema[Any]:
    return Schema(hint)


def _reason(error: Exception) -> dict[str, str]:
    return dict([_faults.reason(error)])


# All that is done each time, when nothing is wrong, is done in the next two.


def _received(
    decode: Callable[[_Text], T],
    fits: Callable[[object], bool] | None,
    guard: Callable[[_Text], None] | None,
    complete: Callable[[T], None] | None,
) -> Callable[[_Text], T]:
    """Add to a decoder the checks that it lacks, and defaults to its result. Raises _REFUSALS."""
    if fits is None and guard is None and complete is None:
        return decode
    builtins = msgspec.json.Decoder().decode

    def received(data: _Text) -> T:
        value = decode(data)
        if fits is not None and not fits(builtins(data)):
            raise _Unfit
        if guard is not None:
            if isinstance(data, str):
                suspect = _PAIR(data[::9]) is not None
            else:
                text = data if type(data) is bytes else bytes(data)
                suspect = _PAIR_OF_BYTES(text[::9]) is not None
            if suspect:
                guard(data)
        if complete is not None:
            complete(value)
        return value

    return received


def _sent(
    decode: Callable[[_Text], object],
    fits: Callable[[object], bool] | None,
    guard: Callable[[_Text], None] | None,
    fill: Callable[[object], bool] | None,
) -> Callable[[bytes], bytes]:
    """Make what checks data as :func:`_received` does, and adds defaults. Raises _REFUSALS."""
    builtins = msgspec.json.Decoder().decode

    def sent(data: bytes) -> bytes:
        if fits is not None or fill is not None:
            value = builtins(data)
            if fill is not None and fill(value):
                data = msgspec.json.encode(value)
            decode(data)
            if fits is not None and not fits(value):
                raise _Unfit
        else:
            decode(data)
        if guard is not None and _PAIR_OF_BYTES(data[::9]) is not None:
            guard(data)
        return data

    return sent


def _guard(faults: Callable[[_Text], object]) -> Callable[[_Text], None]:
    """Make what raises _Unfit for JSON text with an integer that is out of range.

    An integer of more than 63 bits has 19 digits, two of them among every ninth byte. To look for
    those first costs less than this; what only looks like such an integer here (a long fraction, a
    number in a string) costs a walk over the data.
    """

    def guard(data: _Text) -> None:
        if _LONG in _bytes(data).translate(_DIGITS) and faults(data):
            raise _Unfit

    return guard


def _bytes(data: _Text) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


def _read(data: _Text) -> object:
    """JSON text -> builtins, also with integers that are longer than msgspec reads."""
    try:
        return msgspec.json.decode(data)
    except msgspec.ValidationError:
        return msgspec.json.decode(_ENDLESS.sub(b"9" * 308, _bytes(data)))


def is_json(data: _Text) -> bool:
    """Tell whether a text is JSON that can be read, whatever its integers: a walk over it."""
    try:
        _read(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


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
