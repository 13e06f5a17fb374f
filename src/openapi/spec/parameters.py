"""The fields of a type that travel one by one as strings: query strings and path variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from openapi.errors import DeclarationError
from openapi.schema import Schema

__all__ = ["REF", "Parameter", "parameters_of"]

REF: Final = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One field: its name on the wire, its JSON Schema, and whether it must be there."""

    name: str
    schema: Mapping[str, Any]
    required: bool


def parameters_of(schema: Schema[Any], components: dict[str, Any]) -> list[Parameter]:
    """The fields of ``schema``, in order; named types that they refer to go into ``components``.

    Raises :class:`DeclarationError` for a type that has no fields of its own, and for a field that
    no string and no list of strings can carry.
    """
    whole = _resolved(schema.json_schema(components), components)
    if not schema.is_object or "properties" not in whole:
        raise DeclarationError(
            f"{_name(schema.hint)} is no class with fields; each field is one variable, so use"
            " a dataclass, a Struct, a TypedDict or the like"
        )
    required = frozenset(whole.get("required", ()))
    fields: list[Parameter] = []
    for name, field in whole["properties"].items():
        if _holds_objects(field, components):
            raise DeclarationError(
                f"{_name(schema.hint)}.{name} holds an object, which no query string and no path"
                " can carry; use plain values, or lists of them"
            )
        fields.append(Parameter(name=name, schema=field, required=name in required))
    return fields


def _name(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _resolved(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = components[schema["$ref"].removeprefix(REF)]
    return schema


def _holds_objects(schema: Mapping[str, Any], components: Mapping[str, Any]) -> bool:
    schema = _resolved(schema, components)
    options = [
        option
        for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
        if option.get("type") != "null"
    ]
    if options:
        return all(_holds_objects(option, components) for option in options)
    kind = schema.get("type")
    if kind == "array":
        items = (*schema.get("prefixItems", ()), schema.get("items"))
        return any(isinstance(item, dict) and _holds_objects(item, components) for item in items)
    return kind == "object"
