"""From a pydantic model to its outline, by way of the JSON Schema that pydantic writes.

What it says of a type is all that there is: an enum is a :class:`Choice`, a Decimal a number or a
string. Members of a union that cannot be told apart in JSON are one type, the narrowest that has
both: a decoder takes that, and no union of two strings.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from openapi.schema._document import closure
from openapi.schema._faults import pydantic
from openapi.schema._outline import (
    EMPTY,
    NO_DEFAULT,
    Array,
    ArrayKind,
    Choice,
    Default,
    Field,
    Form,
    Plain,
    Record,
    Row,
    Table,
    Tag,
    Type,
    Union,
)

__all__ = ["Models"]

_OBJECT: Final = Table(Plain.STR, Plain.ANYTHING)
_GENERIC: Final = re.compile(r"\w+\[.+\]")
_SIMPLE: Final = {
    "null": Plain.NONE,
    "boolean": Plain.BOOL,
    "integer": Plain.INT,
    "number": Plain.FLOAT,
}
_FORMATS: Final = {
    "date-time": Plain.DATETIME,
    "date": Plain.DATE,
    "time": Plain.TIME,
    "duration": Plain.TIMEDELTA,
    "uuid": Plain.UUID,
}
_STRINGS: Final = frozenset({Plain.STR, *_FORMATS.values()})


class Models:
    """The outlines of some models; of one definition there is one."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bytes], Record] = {}

    def of(self, model: type[Any]) -> Type:
        """The outline of a model."""
        top, schemas = pydantic().documents(model)
        return _Definitions(model.__module__, schemas, self._made).named(top)


class _Definitions:
    """The schemas of a model and of what is in it, which refer to each other by name."""

    def __init__(
        self,
        module: str,
        schemas: dict[str, dict[str, Any]],
        made: dict[tuple[str, bytes], Record],
    ) -> None:
        self._module = module.split(".")
        self._schemas = schemas
        self._made = made
        self._tags = dict(_tags(schemas))
        self._under_way: set[str] = set()

    def named(self, name: str) -> Type:
        schema = self._schemas[name]
        if "properties" not in schema or schema.get("additionalProperties"):
            if name in self._under_way:
                return Plain.ANYTHING  # a list of such lists has no end
            self._under_way.add(name)
            found = self._type(schema)
            self._under_way.remove(name)
            return found
        tag = self._tag(name, schema["properties"])
        # pydantic does not say of what class a definition is: take all that it says for it
        inside = {other: self._schemas[other] for other in closure(name, self._schemas)}
        key = (name, msgspec.json.encode((tag and tag.field, inside)))
        record = self._made.get(key)
        if record is None:
            title = (*self._module, _spelled(str(schema.get("title", name))))
            record = Record(title, schema.get("description", ""), Form.OBJECT, tag)
            self._made[key] = record
            record.fields = tuple(
                self._field(field, each, field in schema.get("required", ()))
                for field, each in schema["properties"].items()
                if tag is None or field != tag.field
            )
        return record

    def _tag(self, name: str, properties: Mapping[str, Any]) -> Tag | None:
        field = self._tags.get(name, "")
        value = properties.get(field, {}).get("const")
        return Tag(field, value) if type(value) in (str, int) else None

    def _field(self, name: str, schema: Mapping[str, Any], required: bool) -> Field:
        default: Default = NO_DEFAULT
        if not required and "default" in schema:
            default = _default(schema["default"])
        return Field(
            name=name,
            label=name,
            type=self._type(schema),
            required=required,
            sent=True,
            default=default,
        )

    def _type(self, schema: Mapping[str, Any]) -> Type:
        match schema:
            case {"$ref": str(target)}:
                return self.named(target.rpartition("/")[2])
            case {"const": value}:
                return _choice([value])
            case {"enum": list(values)}:
                return _choice(values)
            case {"anyOf": list(members)} | {"oneOf": list(members)}:
                return _union([self._type(member) for member in members])
            case {"type": "string", **rest}:
                return _FORMATS.get(str(rest.get("format")), Plain.STR)
            case {"type": "array", "prefixItems": list(items), "maxItems": most} if most == len(
                items
            ):
                return Row(tuple(map(self._type, items)))
            case {"type": "array", **rest}:
                kind = ArrayKind.SET if rest.get("uniqueItems") else ArrayKind.LIST
                return Array(self._type(rest.get("items", {})), kind)
            case {"type": "object", "additionalProperties": dict(value)}:
                return Table(Plain.STR, self._type(value))
            case {"type": "object"}:
                return _OBJECT
            case {"type": str(kind)}:
                return _SIMPLE.get(kind, Plain.ANYTHING)
        return Plain.ANYTHING


def _spelled(title: str) -> str:
    """``Page[int]`` as ``PageOfInt``, as generic types that are no models."""
    if not _GENERIC.fullmatch(title):
        return title
    words: list[str] = re.findall(r"\w+|[\[,]", title)
    signs = {"[": "Of", ",": "And"}
    return words[0] + "".join(signs.get(each, each[:1].upper() + each[1:]) for each in words[1:])


def _tags(part: object) -> Iterator[tuple[str, str]]:
    """The definitions that are told apart by a field: their names, and the field's."""
    if isinstance(part, Mapping):
        match part:
            case {"discriminator": {"propertyName": str(field), "mapping": dict(mapping)}}:
                for target in mapping.values():
                    yield target.rpartition("/")[2], field
    if isinstance(part, Mapping | list):
        for each in part.values() if isinstance(part, Mapping) else part:
            yield from _tags(each)


def _default(value: object) -> Default:
    if value is None or type(value) in (str, int, float, bool):
        return cast("Default", value)
    return EMPTY if value in ([], {}) else NO_DEFAULT


def _choice(values: list[object]) -> Type:
    if all(value is None or type(value) in (str, int) for value in values):
        return Choice(tuple(dict.fromkeys(cast("list[str | int | None]", values))))
    kinds = {bool: Plain.BOOL, str: Plain.STR, int: Plain.INT}
    return _union([kinds.get(type(value), Plain.FLOAT) for value in values])


def _union(members: list[Type]) -> Type:
    flat: dict[Type, None] = {}
    for member in members:
        for each in member.members if isinstance(member, Union) else (member,):
            flat[each] = None
    if Plain.ANYTHING in flat:
        return Plain.ANYTHING
    merged = [*_merged(list(flat))]
    return merged[0] if len(merged) == 1 else Union(tuple(merged))


def _merged(members: list[Type]) -> Iterator[Type]:
    """The members of a union, of each JSON type one; of objects more, where tags tell them."""
    kinds: dict[str, list[Type]] = {}
    for member in members:
        kinds.setdefault(_kind(member), []).append(member)
    if "mixed" in kinds and (len(kinds["mixed"]) > 1 or kinds.keys() & {"string", "integer"}):
        del kinds["mixed"]
        kinds |= {"string": [Plain.STR], "integer": [Plain.INT]}
    for kind, alike in kinds.items():
        if len(alike) == 1 or (kind == "object" and _are_told_apart(alike)):
            yield from alike
        elif kind == "object":
            yield _OBJECT
        elif kind == "array":
            yield Array(Plain.ANYTHING)
        elif all(isinstance(each, Choice) for each in alike):
            values = (value for each in alike for value in cast("Choice", each).values)
            yield Choice(tuple(dict.fromkeys(values)))
        else:
            yield {"string": Plain.STR, "integer": Plain.INT}.get(kind, Plain.ANYTHING)


def _kind(member: Type) -> str:
    match member:
        case Choice():
            strings = [isinstance(value, str) for value in member.values if value is not None]
            return "string" if all(strings) else "mixed" if any(strings) else "integer"
        case Array() | Row():
            return "array"
        case Record() | Table():
            return "object"
    return "string" if member in _STRINGS else "integer" if member is Plain.INT else str(member)


def _are_told_apart(records: list[Type]) -> bool:
    tags = {each.tag for each in records if isinstance(each, Record) and each.tag is not None}
    return len(tags) == len(records) and len({tag.field for tag in tags}) == 1
