"""Which lane a call belongs to: calls of a connection that have equal keys share one.

| declared        | key                                                                       |
|-----------------|---------------------------------------------------------------------------|
| ``lane=None``   | None: no lane                                                             |
| ``lane=True``   | the name of the method                                                    |
| ``lane="room"`` | ``("room", value)``; None where the payload has no such field, or null it |

A field is called as in the data, whatever it is called in Python, and so its value is: a method
that takes a UUID shares its lanes with one that takes the text.
"""

import json
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final, cast

from openapi.errors import DeclarationError, Unserializable
from openapi.schema import Schema, encode_json, fields_of

__all__ = ["LaneField"]

_AS_THEY_ARE: Final = (str, int, float, bool)


class LaneField:
    """The field of a payload that says the lane.

    ``payload`` types it, None where it is any object; ``as_dict`` is whether it is a dictionary
    all the same. Raises :class:`DeclarationError` if it has no such field.
    """

    __slots__ = ("_default", "_key", "name")

    def __init__(self, name: str, payload: Schema[Any] | None, *, as_dict: bool = False) -> None:
        fields = _fields(payload) if payload is not None else None
        if fields is not None and name not in fields:
            there = f"its fields are {', '.join(fields)}" if fields else "it has no fields"
            raise DeclarationError(f"lane: its payload has no field {name!r}, {there}")
        self.name: Final = name
        self._key = _name_in_dict(payload.hint, name) if payload is not None and as_dict else name
        # a Struct that omits defaults leaves the field out of the dictionary
        self._default = (fields or {}).get(name, {}).get("default")

    def key(self, payload: object) -> Hashable | None:
        """The key of a decoded payload."""
        if isinstance(payload, dict):
            value = payload.get(self._key, self._default)
        else:
            kind: Any = type(payload)
            value = _reader(kind, self.name)(payload)
        form = value if type(value) in _AS_THEY_ARE else _form(value)
        return None if form is None else (self.name, form)


def _form(value: object) -> Hashable | None:
    """A value as it is in the data; objects and arrays as text, objects in one order."""
    try:
        form = json.loads(encode_json(value))
    except Unserializable:  # what stands for a field that was left out
        return None
    if isinstance(form, dict | list):
        return json.dumps(form, sort_keys=True).encode()  # no str, so no string of the data
    return cast("Hashable", form)


def _fields(payload: Schema[Any]) -> Mapping[str, Mapping[str, Any]] | None:
    """The JSON Schemas of the fields, by name; None where there may be any."""
    components: dict[str, Any] = {}
    return _properties(payload.json_schema(components, "{name}"), components)


def _properties(
    schema: Mapping[str, Any], components: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]] | None:
    schema = components.get(schema.get("$ref", ""), schema)
    if "anyOf" in schema:
        # Structs with tags: no others are told apart. Without their defaults, for that of one is
        # not that of another, which may have no such field.
        options = [_properties(option, components) or {} for option in schema["anyOf"]]
        return {name: {} for option in options for name in option}
    if schema.get("additionalProperties", "properties" not in schema) is not False:
        return None
    return cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))


@lru_cache(maxsize=512)
def _reader(kind: type, field: str) -> Callable[[Any], object]:
    """Make what reads a field of the data from instances, whatever it is called in Python."""
    if config := getattr(kind, "__struct_config__", None):
        if config.tag_field == field:
            return partial(_constant, config.tag)
        renamed = _of_struct(kind)
        return attrgetter(renamed[field]) if field in renamed else partial(_constant, None)
    if field in getattr(kind, "__dataclass_fields__", ()):
        return attrgetter(field)
    for name, info in _of_model(kind):
        if field in _aliases(name, info):
            return attrgetter(name)
    return lambda payload: (fields_of(payload) or {}).get(field)


def _constant(value: object, payload: object) -> object:
    return value


def _of_struct(kind: Any) -> dict[str, str]:
    """The attributes of a Struct, by their names in the data."""
    return dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))


def _name_in_dict(hint: object, field: str) -> str:
    """What a field is called in the dictionary that is made of a payload."""
    kind = getattr(hint, "__origin__", hint)  # without Annotated
    for name, info in _of_model(kind):
        if field in _aliases(name, info):
            return str(info.serialization_alias or name)
    return field


def _of_model(kind: object) -> list[tuple[str, Any]]:
    """The fields of a pydantic model, as pydantic describes them."""
    return [*getattr(kind, "__pydantic_fields__", {}).items()]


def _aliases(name: str, info: Any) -> list[object]:
    """The names that a field of a pydantic model has in the data."""
    alias = info.validation_alias
    texts = [each for each in getattr(alias, "choices", [alias]) if isinstance(each, str)]
    return [*texts] or [name]
