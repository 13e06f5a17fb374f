"""The shape of a pydantic model, which pydantic itself judges."""

from typing import Any

import msgspec

from openapi.schema._faults import Faults, at, pydantic
from openapi.schema._shape import ANYTHING, Shape

__all__ = ["Model"]


class Model(Shape):
    """A pydantic model."""

    is_untyped = True

    def __init__(self, model: type[Any]) -> None:
        self.model = self.whole = model
        name, schemas = pydantic().documents(model)
        self.is_object = schemas[name].get("type") == "object"
        self._names = schemas[name].get("properties", {}).keys()
        self._is_flat = len(schemas) == 1 and b'"$ref"' not in msgspec.json.encode(schemas)
        self.has_defaults = any(
            schema.get("properties", {}).keys() - schema.get("required", ())
            for schema in schemas.values()
        )
        self._lists = {
            field
            for field, schema in schemas[name].get("properties", {}).items()
            if any(option.get("type") == "array" for option in [schema, *schema.get("anyOf", ())])
        }

    def faults(self, value: object, path: str, found: Faults) -> None:
        if found.packed:  # pydantic is shown nothing that JSON does not have
            strange = Faults(packed=True)
            strange.collect(lambda item, _, into: ANYTHING.faults(item, path, into), value)
            if strange.errors:
                for where, text in strange.errors.items():
                    found.add(where, text)
                return
        adapter = pydantic()
        try:
            model = adapter.validated(self.model, value, lax=found.lax, packed=found.packed)
        except adapter.ValidationError as error:
            for steps, text in adapter.faults(error):
                where = path
                for step in steps:
                    where = f"{where}[{step}]" if isinstance(step, int) else at(where, step)
                found.add(where, text[:1].lower() + text[1:])
        else:
            if not found.packed:  # where all that pydantic might take has been looked at
                ANYTHING.faults(adapter.dumped(model), path, found)

    def fill(self, value: Any) -> bool:
        if self._is_flat and isinstance(value, dict) and value.keys() == self._names:
            return False
        adapter = pydantic()
        try:
            whole = adapter.dumped(adapter.validated(self.model, value, packed=True))
        except ValueError:  # it does not fit, or pydantic has no text for the bytes in it
            return False
        # An instance was written whole: it is left alone, for its validators may change a value
        # each time. What an instance made of a dict would be written as is what is sent for it.
        if _have_same_names(value, whole):
            return False
        if isinstance(value, dict):
            value.clear()
            value.update(whole)
        else:
            value[:] = whole
        return True

    def widened(self, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            name: [item] if name in self._lists and isinstance(item, str) else item
            for name, item in value.items()
        }


def _have_same_names(one: object, other: object) -> bool:
    """Tell whether two dicts, or two lists, differ in values only; True for anything else."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _have_same_names(item, other[name]) for name, item in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_have_same_names, one, other))
    return True
