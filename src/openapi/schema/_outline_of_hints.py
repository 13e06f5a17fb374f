"""From a type hint to its outline."""

import typing
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, cast

from msgspec import inspect as mi

from openapi.schema._build import written_default
from openapi.schema._document import described
from openapi.schema._faults import is_model
from openapi.schema._outline import (
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
    Row,
    Table,
    Tag,
    Type,
    Union,
)
from openapi.schema._outline_of_models import Models

__all__ = ["Outlines"]

_PLAIN: Final[dict[type[mi.Type], Plain]] = {
    mi.NoneType: Plain.NONE,
    mi.BoolType: Plain.BOOL,
    mi.IntType: Plain.INT,
    mi.FloatType: Plain.FLOAT,
    mi.StrType: Plain.STR,
    mi.BytesType: Plain.BYTES,
    mi.ByteArrayType: Plain.BYTES,
    mi.DateTimeType: Plain.DATETIME,
    mi.DateType: Plain.DATE,
    mi.TimeType: Plain.TIME,
    mi.TimeDeltaType: Plain.TIMEDELTA,
    mi.UUIDType: Plain.UUID,
    mi.DecimalType: Plain.DECIMAL,
}
_ARRAYS: Final = {
    mi.ListType: ArrayKind.LIST,
    mi.VarTupleType: ArrayKind.TUPLE,
    mi.SetType: ArrayKind.SET,
    mi.FrozenSetType: ArrayKind.FROZENSET,
}

_Fielded = mi.DataclassType | mi.StructType | mi.TypedDictType | mi.NamedTupleType


class Outlines:
    """The outlines of some types; of one class there is one, however often it occurs."""

    def __init__(self) -> None:
        # classes may have arguments that are not hashable
        self._made: list[tuple[object, Record | Enumeration]] = []
        self._models = Models()

    def of(self, hint: object) -> Type:
        """The outline of a type hint, which is one that :class:`Schema` takes."""
        return self._type(mi.type_info(cast("Any", hint)))

    def _type(self, node: mi.Type) -> Type:
        match node:
            case mi.Metadata():
                return self._type(node.type)
            case mi.CustomType() if is_model(node.cls):
                return self._models.of(node.cls)
            case mi.UnionType():
                members = tuple(map(self._type, node.types))
                return Plain.ANYTHING if Plain.ANYTHING in members else Union(members)
            case mi.LiteralType():
                return Choice(tuple(node.values))
            case mi.EnumType():
                return self._enumeration(node.cls)
            case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
                return Array(self._type(node.item_type), _ARRAYS[type(node)])
            case mi.TupleType():
                return Row(tuple(map(self._type, node.item_types)))
            case mi.DictType():
                return Table(self._type(node.key_type), self._type(node.value_type))
            case mi.DataclassType() | mi.StructType() | mi.TypedDictType() | mi.NamedTupleType():
                return self._record(node)
        return _PLAIN.get(type(node), Plain.ANYTHING)

    def _known(self, cls: object) -> Record | Enumeration | None:
        return next((made for known, made in self._made if known == cls), None)

    def _enumeration(self, cls: type[Enum]) -> Type:
        known = self._known(cls)
        if known is None:
            members = tuple((member.name, member.value) for member in cls)
            doc = described(cls).get("description", "")
            base = Plain.STR if issubclass(cls, str) else Plain.ANYTHING
            base = Plain.INT if issubclass(cls, int) else base
            known = Enumeration(_name(cls), doc, base, members)
            self._made.append((cls, known))
        return known

    def _record(self, node: _Fielded) -> Type:
        known = self._known(node.cls)
        if known is None:
            doc = described(node.cls).get("description", "")
            known = record = Record(_name(node.cls), doc, _form(node), _tag(node))
            self._made.append((node.cls, known))  # before its fields: they may be of its own type
            record.fields = tuple(self._field(node, each) for each in node.fields)
        return known

    def _field(self, node: _Fielded, field: mi.Field) -> Field:
        return Field(
            name=field.encode_name,
            label=field.name,
            type=self._type(field.type),
            required=field.required,
            sent=field.required or written_default(node, field) is not None,
            default=_default(field),
        )


def _form(node: _Fielded) -> Form:
    match node:
        case mi.TypedDictType():
            return Form.DICT
        case mi.NamedTupleType():
            return Form.TUPLE
        case mi.StructType():
            return Form.ARRAY if node.array_like else Form.OBJECT
    return Form.OBJECT


def _tag(node: _Fielded) -> Tag | None:
    if isinstance(node, mi.StructType) and node.tag is not None and node.tag_field is not None:
        return Tag(node.tag_field, node.tag)
    return None


def _default(field: mi.Field) -> Default:
    if field.default_factory in (list, dict, set, tuple, frozenset):
        return EMPTY
    default = field.default
    if isinstance(default, Enum):
        default = default.value
    if default is None or type(default) in (str, int, float, bool):
        return cast("Default", default)
    return EMPTY if default in ((), frozenset(), b"") else NO_DEFAULT


def _name(cls: type[Any]) -> tuple[str, ...]:
    origin = typing.get_origin(cls) or cls
    *outer, short = (part for part in origin.__qualname__.split(".") if part != "<locals>")
    arguments = "And".join(map(_label, typing.get_args(cls)))
    short = f"{short}Of{arguments}" if arguments else short
    return (*origin.__module__.split("."), *outer, short)


def _label(hint: object) -> str:
    """How an argument of a generic class is called in the names of its classes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _label(arguments[0])
    if origin in (typing.Union, UnionType):
        return "Or".join(map(_label, arguments))
    name = "None" if hint is NoneType else getattr(origin or hint, "__name__", "Any")
    name = name[:1].upper() + name[1:]
    if not arguments or origin is typing.Literal:
        return name
    return f"{name}Of{'And'.join(map(_label, arguments))}"
