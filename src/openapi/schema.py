"""A type hint as a decoder, an encoder and a JSON Schema. The only file that knows msgspec."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from openapi.errors import DeclarationError, InvalidData, Unserializable

__all__ = ["Schema", "encode_json", "hints_of"]

T = TypeVar("T")


class Schema(Generic[T]):
    """One type hint as a decoder, an encoder and a JSON Schema."""

    def __init__(self, hint: object) -> None:
        self.hint = hint
        try:
            self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(hint)  # type: ignore[arg-type]
            info = msgspec.inspect.type_info(hint)
        except (TypeError, NameError) as error:
            raise DeclarationError(str(error)) from error
        self.is_object: bool = isinstance(
            info,
            (
                msgspec.inspect.DataclassType,
                msgspec.inspect.StructType,
                msgspec.inspect.TypedDictType,
                msgspec.inspect.DictType,
            ),
        )

    def decode(self, data: bytes | str | msgspec.Raw) -> T:
        """JSON text -> T. Raises InvalidData."""
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise InvalidData({"": str(error)}) from error
        except (msgspec.DecodeError, UnicodeError) as error:
            raise InvalidData({"": "JSON string expected"}) from error
        except RecursionError as error:
            raise InvalidData({"": "nested too deeply"}) from error

    def convert(self, value: object, *, lax: bool = False) -> T:
        """Builtins -> T. Raises InvalidData."""
        try:
            result: T = msgspec.convert(value, self.hint, strict=not lax)  # type: ignore[call-overload]
        except msgspec.ValidationError as error:
            raise InvalidData({"": str(error)}) from error
        return result

    def encode(self, value: object) -> bytes:
        """Validate and write as JSON. Raises InvalidData, Unserializable."""
        data = encode_json(value)
        self.decode(data)
        return data

    def dump(self, value: object) -> object:
        """Validate and turn into builtins. Raises InvalidData, Unserializable."""
        return msgspec.json.decode(self.encode(value))

    def json_schema(
        self, components: dict[str, Any], ref: str = "#/components/schemas/{name}"
    ) -> dict[str, Any]:
        """JSON Schema 2020-12; named types go into ``components``."""
        (schema,), parts = msgspec.json.schema_components([self.hint], ref_template=ref)
        components.update(parts)
        return schema


def encode_json(value: object) -> bytes:
    """Any value as JSON; NaN and Infinity become null. Raises Unserializable."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unserializable(str(error)) from error


def hints_of(function: Callable[..., object]) -> dict[str, object]:
    """The resolved annotations of a function."""
    return get_type_hints(function, include_extras=True)
