"""pydantic models, the only file that imports pydantic.

The model's own ``extra`` and ``strict`` hold. Where a model does not set them they are ``forbid``
and ``True`` here, as for every other type: unknown fields are refused, and "1" is no number.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from pydantic import VERSION, BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import SchemaValidator
from pydantic_core.core_schema import IntSchema, ModelSchema

__all__ = ["BaseModel", "documents", "dumped", "faults", "fields", "validated"]

if tuple(map(int, VERSION.split(".")[:2])) < (2, 13):
    raise ImportError(f"this is pydantic {VERSION}")


def validated(
    model: type[BaseModel], value: object, *, lax: bool = False, packed: bool = False
) -> object:
    """Builtins -> an instance of ``model``. Raises pydantic's own ValidationError.

    ``packed``: there may be bytes among them. Then strings are base64 where the model has bytes.
    """
    # by way of JSON text, since only then does pydantic's strict mode take dates from strings
    text = msgspec.json.encode(value)
    validator = _validator(model, packed and _has_bytes(value))
    return validator.validate_json(text, strict=False if lax else None)


def _has_bytes(value: object) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return isinstance(value, bytes)
    return any(map(_has_bytes, value))


def faults(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    """Where and why: ``[(location, text), ...]``."""
    texts = {"missing": "required", "extra_forbidden": "unknown field"}
    return [
        (fault["loc"], texts.get(fault["type"], fault["msg"]))
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def dumped(value: BaseModel) -> object:
    """An instance as builtins, with what a decoder of it accepts: no computed fields."""
    return value.model_dump(mode="json", by_alias=True, exclude_computed_fields=True)


def fields(value: BaseModel) -> object:
    """An instance as a dictionary, in which dates and the like stay what they are."""
    return value.model_dump(by_alias=True, exclude_computed_fields=True)


def documents(model: type[BaseModel]) -> tuple[str, dict[str, dict[str, Any]]]:
    """The JSON Schemas of a model and of those in it: ``(name of the model's, {name: schema})``.

    They refer to each other as ``#/$defs/NAME``.
    """
    refs, document = models_json_schema(
        [(model, "validation")], ref_template="#/$defs/{model}", schema_generator=_Generator
    )
    name = refs[model, "validation"]["$ref"].rpartition("/")[2]
    return name, document["$defs"]


class _Generator(GenerateJsonSchema):
    """pydantic's generator, with the rules that it does not know of."""

    def model_schema(self, schema: ModelSchema) -> dict[str, Any]:
        result = super().model_schema(schema)
        if not schema.get("root_model") and "extra" not in schema["cls"].model_config:
            result.setdefault("additionalProperties", False)
        return result

    def int_schema(self, schema: IntSchema) -> dict[str, Any]:
        return {"minimum": -(2**63), "maximum": 2**64 - 1} | super().int_schema(schema)


@lru_cache(maxsize=1024)
def _validator(model: type[BaseModel], base64: bool) -> SchemaValidator:
    model.model_rebuild()
    held = {"val_json_bytes": "base64"} if base64 else {}
    # without the ready-made validators of the models inside, which know only their own settings
    return SchemaValidator(_closed(model.__pydantic_core_schema__, held), _use_prebuilt=False)


def _closed(schema: Any, held: Mapping[str, Any]) -> Any:
    """Copy a core schema, with this library's rules where a model leaves them open.

    The settings in ``held`` are put in the place of the model's own.
    """
    if isinstance(schema, list):
        return [_closed(item, held) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = {key: _closed(item, held) for key, item in schema.items()}
    if copy.get("type") == "model":
        rules = {"extra_fields_behavior": "forbid", "strict": True}
        copy["config"] = {**rules, **copy.get("config", {}), **held}
    return copy
