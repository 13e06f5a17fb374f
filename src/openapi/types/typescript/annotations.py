"""Types as TypeScript writes them: what JSON has, with names for strings that mean more."""

from collections.abc import Collection, Mapping
from typing import Final

from openapi.schema.outline import (
    Array,
    Choice,
    Enumeration,
    Plain,
    Record,
    Row,
    Table,
    Type,
    Union,
)
from openapi.types.directions import Direction, Directions, Variant
from openapi.types.names import free
from openapi.types.typescript.layout import comment, literal

__all__ = ["Annotations"]

_PLAIN: Final = {
    Plain.ANYTHING: "unknown",
    Plain.NONE: "null",
    Plain.BOOL: "boolean",
    Plain.INT: "number",
    Plain.FLOAT: "number",
    Plain.STR: "string",
}
_STRINGS: Final = {
    Plain.BYTES: ("Base64", "Bytes, as base64."),
    Plain.DATETIME: ("DateTime", 'A date and time of ISO 8601, as "2026-12-24T18:00:00Z".'),
    Plain.DATE: ("CalendarDate", 'A date of ISO 8601, as "2026-12-24".'),
    Plain.TIME: ("TimeOfDay", 'A time of ISO 8601, as "18:00:00".'),
    Plain.TIMEDELTA: ("Duration", 'A duration of ISO 8601, as "PT90S".'),
    Plain.UUID: ("Uuid", "A UUID."),
    Plain.DECIMAL: ("Decimal", 'A number with all of its digits, as "12.50".'),
}


class Annotations:
    """Writes types. ``types`` has the names of records and enumerations."""

    def __init__(
        self,
        directions: Directions,
        types: Mapping[Variant | Enumeration, str],
        taken: Collection[str],
    ) -> None:
        self.types: Final = types
        self.directions: Final = directions
        self._taken = {*taken}
        self._strings: dict[Plain, str] = {}

    def of(self, outline: Type, direction: Direction) -> str:
        """A type."""
        match outline:
            case Plain():
                return _PLAIN.get(outline) or self._string(outline)
            case Enumeration():
                return self.types[outline]
            case Record():
                return self.types[self.directions.variant(outline, direction)]
            case Choice() | Union():
                return " | ".join(self.members(outline, direction))
            case Array():
                items = self.members(outline.item, direction)
                return f"({' | '.join(items)})[]" if len(items) > 1 else f"{items[0]}[]"
            case Row():
                return f"[{', '.join(self.of(item, direction) for item in outline.items)}]"
            case Table():
                value = self.of(outline.value, direction)
                if isinstance(outline.key, Choice | Enumeration):
                    return f"Partial<Record<{self.of(outline.key, direction)}, {value}>>"
                return f"Record<string, {value}>"

    def members(self, outline: Type, direction: Direction) -> list[str]:
        """The members of a union, each once; of another type, that alone."""
        match outline:
            case Choice():
                return [*map(literal, outline.values)]
            case Union():
                texts = (self.members(member, direction) for member in outline.members)
                return [*dict.fromkeys(text for each in texts for text in each)]
        return [self.of(outline, direction)]

    def strings(self) -> list[list[str]]:
        """The declarations of strings that mean more, as far as they were written."""
        return [
            [*comment(_STRINGS[plain][1]), f"export type {name} = string;"]
            for plain, name in sorted(self._strings.items(), key=lambda each: each[1])
        ]

    def _string(self, plain: Plain) -> str:
        if plain not in self._strings:
            name = free(_STRINGS[plain][0], self._taken, lambda number: "String" * (number - 1))
            self._taken.add(name)
            self._strings[plain] = name
        return self._strings[plain]
