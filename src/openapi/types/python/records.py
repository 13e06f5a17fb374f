"""Records and enumerations as classes.

A record is what it is on the server, a TypedDict or a NamedTuple, and otherwise a dataclass. It is
a ``msgspec.Struct`` where a dataclass could not say it: that it has a tag, that it is an array, or
that a field has another name in the data.

| the field                          | received           | sent                          |
|------------------------------------|--------------------|-------------------------------|
| is required                        | ``x: int``         | ``x: int``                    |
| has a default that can be written  | ``x: int = 3``     | ``x: int = 3``                |
| has one that only the server makes | ``x: int``         | ``x: int | UnsetType = UNSET``|
| may be missing from what is sent   | with ``UNSET`` too | with ``UNSET``                |
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from openapi.schema.outline import (
    EMPTY,
    NO_DEFAULT,
    Array,
    ArrayKind,
    Choice,
    Default,
    Enumeration,
    Field,
    Form,
    Plain,
    Record,
    Table,
    Type,
    Union,
)
from openapi.types.directions import Direction, Variant
from openapi.types.names import camel_case, capitalized, free
from openapi.types.python.annotations import Annotations, Place, label
from openapi.types.python.layout import (
    assigned,
    bracketed,
    declared,
    docstring,
    indented,
    literal,
    width,
)

__all__ = ["Classes", "differs", "labels"]

_Fields: TypeAlias = list[tuple[str, Field]]
"""Fields, and what they are called."""

#: What msgspec takes for no other name of a field.
_UNSPEAKABLE: Final = re.compile(r'["\\\x00-\x1f]').search
_ARRAYS: Final = (Form.TUPLE, Form.ARRAY)
_BUILTINS: Final = frozenset({"list", "set", "frozenset", "dict"})
_VALUES: Final[dict[Plain, tuple[type, ...]]] = {
    Plain.ANYTHING: (str, int, float, bool, type(None)),
    Plain.NONE: (type(None),),
    Plain.BOOL: (bool,),
    Plain.INT: (int,),
    Plain.FLOAT: (int, float),
    Plain.STR: (str,),
}

#: How wide a default may be. One that is wider is left to the server.
_DEFAULT: Final = 60


def differs(record: Record) -> bool:
    """Whether a record that is sent is another one than that which is received."""
    return any(
        field.sent and not field.required and _default(field, defaultdict(str)) is None
        for field in record.fields
    )


def labels(record: Record) -> list[str]:
    """What the fields of a record are called."""
    found: list[str] = []
    for field in record.fields:
        found.append(free(label(field.label), found))
    return found


class Classes:
    """Writes the classes. ``defined`` are the names of types that a file has so far."""

    def __init__(self, annotations: Annotations) -> None:
        self._annotations = annotations
        self._imports = annotations.imports
        self._types = annotations.types
        self._defined: set[str] = set()

    def enumeration(self, enumeration: Enumeration) -> list[str]:
        """An enumeration."""
        name = self._types[enumeration]
        self._defined.add(name)
        base = {Plain.STR: "StrEnum", Plain.INT: "IntEnum"}.get(enumeration.base, "Enum")
        lines = list[str]()
        for member, (_, value) in zip(_members(enumeration), enumeration.members, strict=True):
            lines += assigned(member, _written(value), level=1)
        head = f"class {name}({self._imports.name('enum', base)}):"
        return [head, *_body(enumeration.doc, lines)]

    def record(self, variant: Variant) -> list[str]:
        """A record."""
        record = variant.record
        fields = [*zip(labels(record), record.fields, strict=True)]
        if record.form is Form.DICT and not _is_renamed(fields):
            lines = self._typed_dict(variant, fields)
        elif record.form is Form.DICT or any(_UNSPEAKABLE(field.name) for _, field in fields):
            lines = self._typed_dict_of_names(variant, fields)
        elif record.form is Form.TUPLE and self._can_be_tuple(fields):
            lines = [f"class {self._types[variant]}({self._imports.name('typing', 'NamedTuple')}):"]
            lines += self._fields(variant, fields, "")
        elif record.form in _ARRAYS or record.tag is not None or _is_renamed(fields):
            lines = self._struct(variant, fields)
        else:
            decorator = self._imports.name("dataclasses", "dataclass")
            lines = [f"@{decorator}(frozen=True, slots=True, kw_only=True)"]
            lines += [f"class {self._types[variant]}:"]
            lines += self._fields(variant, fields, "dataclasses")
        self._defined.add(self._types[variant])
        return lines

    def _struct(self, variant: Variant, fields: _Fields) -> list[str]:
        record = variant.record
        bases = [self._imports.name("msgspec", "Struct"), "frozen=True", "kw_only=True"]
        if record.form in _ARRAYS:
            bases.append("array_like=True")
        if record.tag is not None:
            bases.append(f"tag_field={literal(record.tag.field)}")
            bases.append(f"tag={_written(record.tag.value)}")
        lines = bracketed(f"class {self._types[variant]}(", bases, "):", level=0)
        return lines + self._fields(variant, fields, "msgspec")

    def _typed_dict(self, variant: Variant, fields: _Fields) -> list[str]:
        hidden, base = {name for name, _ in fields}, self._imports.name("typing", "TypedDict")
        body = list[str]()
        for name, field in fields:
            body += self._entry(variant, name, field, hidden, (f"{name}: ", ""))
        return [f"class {self._types[variant]}({base}):", *_body(variant.record.doc, body)]

    def _typed_dict_of_names(self, variant: Variant, fields: _Fields) -> list[str]:
        """One whose names are none in Python."""
        name, base = self._types[variant], self._imports.name("typing", "TypedDict")
        lines = [f"{name} = {base}(", f"    {literal(name)},", "    {"]
        for key, field in fields:
            around = f"{literal(field.name)}: ", ","
            lines += indented(indented(self._entry(variant, key, field, (), around)))
        return [*lines, "    },", ")"]

    def _entry(
        self,
        variant: Variant,
        name: str,
        field: Field,
        hidden: Collection[str],
        around: tuple[str, str],
    ) -> list[str]:
        """A field of a TypedDict, between what is around it."""
        (before, after), text = around, self._text(variant, name, field, hidden)
        if field.required or (variant.direction is Direction.RECEIVED and field.sent):
            return [before + text + after]
        before += f"{self._imports.name('typing', 'NotRequired', hidden)}["
        return bracketed(before, [text], f"]{after}", level=2 if after else 1)

    def _fields(self, variant: Variant, fields: _Fields, module: str) -> list[str]:
        """The fields; ``module`` has the function ``field`` for what has to be said of one."""
        hidden, lines = {name for name, _ in fields}, list[str]()
        for name, field in fields:
            default, ending = _default(field, self._types), ""
            if default and default[1] in _BUILTINS:
                default = (default[0], self._imports.name("builtins", default[1], hidden))
            if field.required:
                default = None
            elif default is None and (variant.direction is Direction.SENT or not field.sent):
                default = ("default", self._imports.name("msgspec", "UNSET", hidden))
                if field.type is not Plain.ANYTHING:
                    ending = f" | {self._imports.name('msgspec', 'UnsetType', hidden)}"
            options = [default] if default else []
            if variant.record.form not in _ARRAYS and name != field.name:
                options.append(("name", literal(field.name)))
            text = self._text(variant, name, field, hidden, ending)
            left = f"{name}: {text}"
            if not options:
                lines += declared(name, text, level=1)
            elif options[0][0] == "default" and len(options) == 1:
                lines += assigned(left, options[0][1], level=1)
            else:
                left += f" = {self._imports.name(module, 'field', hidden)}("
                lines += bracketed(left, [f"{key}={text}" for key, text in options], ")", level=1)
        return _body(variant.record.doc, lines)

    def _text(
        self, variant: Variant, name: str, field: Field, hidden: Collection[str], ending: str = ""
    ) -> str:
        """The type of a field; in quotes where something in it is still to come."""
        place = Place(
            direction=variant.direction,
            context=self._types[variant] + capitalized(camel_case(name)),
            hidden=hidden,
            room=max(20, min(56, 80 - width(name))),
        )
        annotation = self._annotations.of(field.type, place)
        text = annotation.text + ending
        return text if annotation.uses <= self._defined else literal(text)

    def _can_be_tuple(self, fields: _Fields) -> bool:
        return not any(
            name != field.name
            or name.startswith("_")
            or not (field.required or (_default(field, self._types) or ("",))[0] == "default")
            for name, field in fields
        )


def _is_renamed(fields: _Fields) -> bool:
    return any(name != field.name for name, field in fields)


def _body(doc: str, lines: list[str]) -> list[str]:
    """What is in a class."""
    documented = docstring(doc)
    between = [""] if documented and lines else []
    return indented([*documented, *between, *lines] or ["pass"])


def _written(value: str | int | float | None) -> str:
    if isinstance(value, str):
        return literal(value)
    return repr(value).replace("e+", "e")


def _default(field: Field, types: Mapping[Any, str]) -> tuple[str, str] | None:
    """The default of a field as ``(default or default_factory, text)``.

    None where it has none, or none that can be written.
    """
    members = field.type.members if isinstance(field.type, Union) else (field.type,)
    for member in members:
        found = _default_of(field.default, member, types)
        if found is not None:
            return found
    return None


def _default_of(default: Default, member: Type, types: Mapping[Any, str]) -> tuple[str, str] | None:
    match member:
        case Array() if default is EMPTY and member.kind is ArrayKind.TUPLE:
            return "default", "()"
        case Array() if default is EMPTY:
            return "default_factory", member.kind.value
        case Table() if default is EMPTY:
            return "default_factory", "dict"
        case Plain.BYTES if default is EMPTY:
            return "default", 'b""'
        case Enumeration():
            known = [*zip(_members(member), member.members, strict=True)]
            for name, (_, value) in known:
                if _is(value, default):
                    return "default", f"{types[member]}.{name}"
        case Choice() if any(_is(value, default) for value in member.values):
            return _short(default)
        case Plain() if type(default) in _VALUES.get(member, ()):
            return _short(default)
    return None


def _short(default: Default) -> tuple[str, str] | None:
    if default is EMPTY or default is NO_DEFAULT:
        return None
    if isinstance(default, float) and not math.isfinite(default):
        return None
    text = _written(default)
    return ("default", text) if width(text) <= _DEFAULT else None


def _is(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default


def _members(enumeration: Enumeration) -> list[str]:
    found: list[str] = []
    for name, _ in enumeration.members:
        found.append(free(label(name), found))
    return found
