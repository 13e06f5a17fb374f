"""Records and enumerations as interfaces and types.

A property is optional where it may be missing from the data that goes this way.
"""

from openapi.schema.outline import Enumeration, Field, Form, Record
from openapi.types.directions import Direction, Variant
from openapi.types.names import identifier
from openapi.types.typescript.annotations import Annotations
from openapi.types.typescript.layout import (
    bracketed,
    comment,
    indented,
    literal,
    property_name,
    union,
)

__all__ = ["Declarations", "differs"]


def differs(record: Record) -> bool:
    """Whether a record that is sent is another one than that which is received."""
    return any(field.required != field.sent for field in record.fields)


class Declarations:
    """Writes the types."""

    def __init__(self, annotations: Annotations) -> None:
        self._annotations = annotations

    def enumeration(self, enumeration: Enumeration) -> list[str]:
        """An enumeration, as the values that it has."""
        head = f"export type {self._annotations.types[enumeration]} ="
        values = [literal(value) for _, value in enumeration.members]
        return [*comment(enumeration.doc), *union(head, values, level=0)]

    def record(self, variant: Variant) -> list[str]:
        """A record."""
        record, direction = variant
        lines = comment(record.doc)
        name = self._annotations.types[variant]
        if record.form in (Form.TUPLE, Form.ARRAY):
            return [*lines, *self._tuple(name, record, direction)]
        body = list[str]()
        if record.tag is not None:
            body.append(f"{property_name(record.tag.field)}: {literal(record.tag.value)};")
        for field in record.fields:
            mark = "?" if _is_optional(field, direction) else ""
            members = self._annotations.members(field.type, direction)
            body += union(f"{property_name(field.name)}{mark}:", members, level=1)
        if not body:
            return [*lines, f"export type {name} = Record<string, never>;"]
        return [*lines, f"export interface {name} {{", *indented(body), "}"]

    def _tuple(self, name: str, record: Record, direction: Direction) -> list[str]:
        items = []
        if record.tag is not None:
            items.append(f"{_label(record.tag.field)}: {literal(record.tag.value)}")
        required = [not _is_optional(field, direction) for field in record.fields]
        for number, field in enumerate(record.fields):
            mark = "" if any(required[number:]) else "?"
            items.append(f"{_label(field.label)}{mark}: {self._text(field, direction)}")
        return bracketed(f"export type {name} = [", items, "];", level=0)

    def _text(self, field: Field, direction: Direction) -> str:
        return self._annotations.of(field.type, direction)


def _is_optional(field: Field, direction: Direction) -> bool:
    return not (field.required if direction is Direction.SENT else field.sent)


def _label(name: str) -> str:
    """The label of an item of a tuple."""
    return identifier(name)
