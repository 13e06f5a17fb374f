"""Types as Python writes them. What is long has a name of its own, at the end of the types."""

import keyword
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from openapi.schema.outline import (
    Array,
    ArrayKind,
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
from openapi.types.names import free, identifier
from openapi.types.python.imports import Imports
from openapi.types.python.layout import STEP, WIDTH, bracketed, indented, literal, width

__all__ = ["Annotation", "Annotations", "Place", "label"]

#: How wide a type may be where it stands.
_ROOM: Final = 56

#: How long a name for a type may become that is made of several.
_LONGEST: Final = 40

_PLAIN: Final = {
    Plain.ANYTHING: ("typing", "Any"),
    Plain.BOOL: ("builtins", "bool"),
    Plain.INT: ("builtins", "int"),
    Plain.FLOAT: ("builtins", "float"),
    Plain.STR: ("builtins", "str"),
    Plain.BYTES: ("builtins", "bytes"),
    Plain.DATETIME: ("datetime", "datetime"),
    Plain.DATE: ("datetime", "date"),
    Plain.TIME: ("datetime", "time"),
    Plain.TIMEDELTA: ("datetime", "timedelta"),
    Plain.UUID: ("uuid", "UUID"),
    Plain.DECIMAL: ("decimal", "Decimal"),
}


def label(name: str) -> str:
    """A name as an identifier that is no keyword, nor private to its class."""
    name = identifier(name)
    if name.startswith("__"):
        name = f"_{name.lstrip('_')}"
    return f"{name}_" if keyword.iskeyword(name) else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a type is written."""

    direction: Direction
    context: str
    """What a name for it begins with, as ``OrderKind``."""
    hidden: Collection[str] = field(default=(), repr=False)
    """The names that mean something else there."""
    room: int = _ROOM


@dataclass(frozen=True, slots=True)
class Annotation:
    """A type as it is written, and the names of this file's own types that are in it."""

    text: str
    uses: frozenset[str] = frozenset()


class Annotations:
    """Writes types. ``types`` has the names of records and enumerations."""

    def __init__(
        self,
        imports: Imports,
        directions: Directions,
        types: Mapping[Variant | Enumeration, str],
        taken: Collection[str],
    ) -> None:
        self.imports: Final = imports
        self.directions: Final = directions
        self.types: Final = types
        self.aliases: Final[dict[str, list[str]]] = {}
        """What has a name because it is long: its lines, behind those of what is in it."""
        self._taken = {*taken}
        self._known: dict[str, str] = {}

    def of(self, outline: Type, place: Place) -> Annotation:
        """A type as it is written at a place."""
        match outline:
            case Plain.NONE:
                return Annotation("None")
            case Plain():
                return Annotation(self.imports.name(*_PLAIN[outline], place.hidden))
            case Enumeration():
                name = self.types[outline]
                return Annotation(name, frozenset({name}))
            case Record():
                name = self.types[self.directions.variant(outline, place.direction)]
                return Annotation(name, frozenset({name}))
            case Choice():
                return self._choice(outline, place)
            case Union():
                return self._union(outline, place)
            case Array():
                items = [self.of(outline.item, place)]
                if outline.kind is ArrayKind.TUPLE:
                    items.append(Annotation("..."))
                return self._subscript(("builtins", outline.kind.value), items, place)
            case Table():
                items = [self.of(outline.key, place), self.of(outline.value, place)]
                return self._subscript(("builtins", "dict"), items, place)
            case Row():
                items = [self.of(item, place) for item in outline.items] or [Annotation("()")]
                return self._subscript(("builtins", "tuple"), items, place)

    def _choice(self, choice: Choice, place: Place) -> Annotation:
        values = [
            Annotation(literal(value) if isinstance(value, str) else repr(value))
            for value in choice.values
        ]
        return self._subscript(("typing", "Literal"), values, place)

    def _subscript(
        self, generic: tuple[str, str], items: list[Annotation], place: Place
    ) -> Annotation:
        before = f"{self.imports.name(*generic, place.hidden)}["
        texts, uses = [item.text for item in items], _uses(items)
        line = f"{before}{', '.join(texts)}]"
        if width(line) <= place.room:
            return Annotation(line, uses)
        name = self._named(line, place)
        self.aliases.setdefault(name, bracketed(self._left(name) + before, texts, "]", level=0))
        return Annotation(name, frozenset({name}))

    def _union(self, union: Union, place: Place) -> Annotation:
        members = [self.of(member, place) for member in union.members]
        texts = list(dict.fromkeys(member.text for member in members))
        line = " | ".join(texts)
        if width(line) <= place.room:
            return Annotation(line, _uses(members))
        name = self._named(line, place)
        lines = [self._left(name) + line]
        if width(lines[0]) > WIDTH:
            lines = [line] if width(STEP + line) <= WIDTH else _one_by_one(texts)
            lines = [f"{self._left(name)}(", *indented(lines), ")"]
        self.aliases.setdefault(name, lines)
        return Annotation(name, frozenset({name}))

    def _named(self, line: str, place: Place) -> str:
        """A name for what is too long; the same for what is the same."""
        if line not in self._known:
            taken = {*self._taken, *place.hidden, *self.imports.local}
            self._known[line] = free(place.context[:_LONGEST], taken, str)
            self._taken.add(self._known[line])
            self.imports.take(self._known[line])
        return self._known[line]

    def _left(self, name: str) -> str:
        return f"{name}: {self.imports.name('typing', 'TypeAlias')} = "


def _one_by_one(members: list[str]) -> list[str]:
    first, *others = members
    return [first, *(f"| {other}" for other in others)]


def _uses(annotations: list[Annotation]) -> frozenset[str]:
    return frozenset[str]().union(*(annotation.uses for annotation in annotations))
