"""What outlines are made of: see :mod:`openapi.schema.outline`."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

__all__ = [
    "EMPTY",
    "NO_DEFAULT",
    "Array",
    "ArrayKind",
    "Choice",
    "Default",
    "Enumeration",
    "Field",
    "Form",
    "Plain",
    "Record",
    "Row",
    "Table",
    "Tag",
    "Type",
    "Union",
]


class Plain(Enum):
    """A value without parts. In JSON, those from BYTES on are strings."""

    ANYTHING = "anything"
    NONE = "none"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STR = "str"
    BYTES = "bytes"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    TIMEDELTA = "timedelta"
    UUID = "uuid"
    DECIMAL = "decimal"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[str | int | None, ...]


@dataclass(slots=True, eq=False)
class Enumeration:
    """One of some values that have names."""

    name: tuple[str, ...]
    """From the package to the class, as ``("shop", "orders", "Colour")``."""
    doc: str
    base: Plain
    """STR or INT if its members are strings or integers themselves, otherwise ANYTHING."""
    members: tuple[tuple[str, str | int], ...]


class ArrayKind(Enum):
    """What an array is in Python."""

    LIST = "list"
    TUPLE = "tuple"
    SET = "set"
    FROZENSET = "frozenset"


@dataclass(frozen=True, slots=True)
class Array:
    """Any number of one type."""

    item: "Type"
    kind: ArrayKind = ArrayKind.LIST


@dataclass(frozen=True, slots=True)
class Row:
    """An array of so many items."""

    items: tuple["Type", ...]


@dataclass(frozen=True, slots=True)
class Table:
    """An object with any names. ``key`` is what they are in Python; in JSON they are strings."""

    key: "Type"
    value: "Type"


class Form(Enum):
    """What a record is in Python, and in JSON."""

    OBJECT = "object"
    """A class with fields; an object."""
    DICT = "dict"
    """A TypedDict; an object."""
    TUPLE = "tuple"
    """A NamedTuple; an array."""
    ARRAY = "array"
    """A Struct that is ``array_like``; an array."""


class _Mark(Enum):
    NO_DEFAULT = "no default"
    EMPTY = "empty"


NO_DEFAULT: Final = _Mark.NO_DEFAULT
"""There is no default, or none that can be written down."""
EMPTY: Final = _Mark.EMPTY
"""An empty list, set, tuple or dict, or no bytes."""

Default: TypeAlias = str | int | float | bool | None | _Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a record."""

    name: str
    """In the data."""
    label: str
    """In Python; where that is not known, the name."""
    type: "Type"
    required: bool
    """Whether who sends it to the server has to give it."""
    sent: bool
    """Whether the server always sends it."""
    default: Default
    """In its JSON form. What is not required may have none: the server makes it."""


@dataclass(frozen=True, slots=True)
class Tag:
    """By what a record is told from others: a field, or the first item, and its value."""

    field: str
    value: str | int


@dataclass(slots=True, eq=False)
class Record:
    """A type with fields. It may contain itself."""

    name: tuple[str, ...]
    """From the package to the class, as ``("shop", "orders", "Order")``; unique to no one."""
    doc: str
    form: Form
    tag: Tag | None = None
    fields: tuple[Field, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Union:
    """One of several. No member is a Union itself."""

    members: tuple["Type", ...]


Type: TypeAlias = Plain | Choice | Enumeration | Array | Row | Table | Record | Union
