"""A type hint as a decoder, an encoder and a JSON Schema. Only this package knows msgspec.

    schema = Schema(Order)
    order = schema.decode(b'{"item": "tea", "count": 2}')      # an Order, or InvalidData
    schema.encode(order)                                       # JSON that decodes as an Order
    schema.unpack(schema.pack(order))                          # the same by way of MessagePack

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

MessagePack is read and written by the same rules, and refused with the same texts. What is valid
in one format is valid in the other, so that a value can go on to a peer that speaks the other:

* ``bytes`` are bin and a datetime with a zone is a timestamp, in untyped data too; base64 and ISO
  strings are taken where a type has these, as in JSON
* a name that is no string counts as the string that JSON has for it (``1`` as ``"1"``), unless the
  type says otherwise, as ``dict[int, str]``; nil, a bool or an array is refused as a name
* NaN and Infinity are refused, and nil when they are sent; extension types are refused
* a pydantic model is written in its JSON form, and reads its untyped fields in that form

``_build`` makes a shape of a hint, ``_shape`` finds what is wrong with data, ``_faults`` says it,
``_complete`` gives instances the defaults that msgspec leaves out, ``_write`` writes any value,
``_format`` knows JSON from MessagePack, ``_codec`` reads and writes one type in one of them,
``_document`` writes the JSON Schema, and ``_pydantic`` is the one file that imports pydantic.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar, cast, get_type_hints

import msgspec

from openapi.errors import DeclarationError, InvalidData, Unserializable
from openapi.schema import _document, _faults
from openapi.schema._build import shape_of
from openapi.schema._builtins import fields_of, plain
from openapi.schema._codec import Codec
from openapi.schema._complete import completer
from openapi.schema._faults import MAX_FAULTS, TOO_DEEP
from openapi.schema._format import JSON, MSGPACK, REFUSALS, Data, read_json
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


class Schema(Generic[T]):
    """One type hint as a decoder, an encoder and a JSON Schema.

    Raises :class:`DeclarationError`, naming the part, if the hint has no JSON form.
    """

    hint: object
    """What it was made from."""
    is_object: bool
    """Whether every value is a JSON object."""
    receive: Callable[[Data], T]
    """:meth:`decode`, for who calls it so often that a look-up counts."""

    def __init__(self, hint: object) -> None:
        self.hint = hint
        self._shape = shape_of(hint)
        self.is_object = self._shape.is_object
        self._complete = completer(hint)
        self._json: Codec[T] = Codec(JSON, hint, self._shape, self._complete)
        self.receive = self._json.receive
        # each look-up counts
        self._send = self._json.send
        self._send_whole = self._json.send_whole
        self._whole = self._shape.whole

    @cached_property
    def _msgpack(self) -> Codec[T]:
        return Codec(MSGPACK, self.hint, self._shape, self._complete)

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

    def decode(self, data: bytes | str | msgspec.Raw) -> T:
        """Read JSON text. Raises :class:`InvalidData`."""
        return self.receive(data)

    def unpack(self, data: bytes | msgspec.Raw) -> T:
        """Read MessagePack. Raises :class:`InvalidData`, with the texts of :meth:`decode`.

        What JSON has as a string may be one here too: bytes as base64, a datetime, the names of a
        ``dict[int, str]``. In untyped data bin is bytes and a timestamp a datetime in UTC.
        """
        return self._msgpack.receive(data)

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
                result = _faults.converted(value, self.hint, lax=lax)
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
        try:
            return (self._send_whole if type(value) is self._whole else self._send)(value)
        except Unserializable:
            raise
        except REFUSALS:
            return self._json.send_known(value)

    def pack(self, value: object) -> bytes:
        """Write as MessagePack that :meth:`unpack` accepts: what :meth:`encode` is for JSON.

        Raises what :meth:`encode` does, for the same values. Bytes, datetimes with a zone and
        integers of 64 bits survive, typed and untyped. Only where the type takes some part of the
        value in its JSON form alone, as a ``str`` takes a date, its untyped parts are sent so too.
        """
        codec = self._msgpack
        try:
            return (codec.send_whole if type(value) is self._whole else codec.send)(value)
        except REFUSALS:  # and Unserializable: an integer may be one for JSON alone
            pass
        try:
            return codec.send_known(value)
        except (InvalidData, Unserializable) as error:
            if isinstance(error, InvalidData) and error.errors == {"": MSGPACK.unreadable}:
                raise  # of a msgspec.Raw
            return codec.send_known(self._instance(value, error))

    def _instance(self, value: object, error: Exception) -> T:
        """An instance of a value that has the type's form in JSON only. Raises as encode does."""
        try:
            return self.convert(self.dump(value))
        except InvalidData as refusal:
            # that it is no JSON is said of a msgspec.Raw, which is no JSON indeed
            raise (error if refusal.errors == {"": JSON.unreadable} else refusal) from error

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


@lru_cache(maxsize=512)
def _known(hint: object) -> Schema[Any]:
    return Schema(hint)


def is_json(data: Data) -> bool:
    """Tell whether a text is JSON that can be read, whatever its integers: a walk over it."""
    try:
        read_json(data)
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
