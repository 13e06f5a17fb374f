"""From a type hint to its shape: what is supported, and how a refusal to support it reads."""

import dataclasses
import datetime
import decimal
import typing
import uuid
from typing import Annotated, Any, Final, Literal, cast, get_type_hints

import msgspec
from msgspec import inspect as mi

from openapi.errors import DeclarationError
from openapi.schema._collection import Array, Table
from openapi.schema._faults import LARGEST, SMALLEST, built, is_model
from openapi.schema._model import Model
from openapi.schema._record import Default, Object, Row, Tag
from openapi.schema._shape import ANYTHING, ARRAY, Leaf, Shape, reachable
from openapi.schema._union import Union
from openapi.schema._write import plain_form

__all__ = ["label", "shape_of", "written_default"]


def label(hint: object) -> str:
    """How messages call a type."""
    return hint.__qualname__ if isinstance(hint, type) else str(hint)


def shape_of(hint: object) -> Shape:
    """Make the shape of a type hint. Raises DeclarationError, naming the part that cannot be."""
    where = label(hint)
    try:
        # only the decoder refuses ambiguous unions
        msgspec.json.Decoder(cast("Any", hint), dec_hook=built)
        node = mi.type_info(hint)
    except (NameError, AttributeError, SyntaxError) as error:
        raise DeclarationError(
            f"{where}: an annotation cannot be resolved ({error}); define the types that it names "
            "in the module, outside `if TYPE_CHECKING:`"
        ) from error
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"{where}: {error}") from error
    _refuse_foreign_constraints(hint, where)
    builder = _Builder()
    shape = builder.shape(node, where)
    for each in reversed(reachable(shape)):  # those inside first
        if isinstance(each, Object):
            each.finish()
    return shape


_PLAIN: Final[dict[type[mi.Type], object]] = {
    mi.NoneType: None,
    mi.BoolType: bool,
    mi.IntType: int,
    mi.StrType: str,
    mi.BytesType: bytes,
    mi.ByteArrayType: bytearray,
    mi.DateTimeType: datetime.datetime,
    mi.DateType: datetime.date,
    mi.TimeType: datetime.time,
    mi.TimeDeltaType: datetime.timedelta,
    mi.UUIDType: uuid.UUID,
    mi.DecimalType: decimal.Decimal,
}


def _constrained(plain: object, node: mi.Type) -> object:
    """A type with the constraints of a node, whose names are those of msgspec.Meta."""
    names = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")
    limits = {name: getattr(node, name, None) for name in names}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    return Annotated[plain, msgspec.Meta(**limits)] if limits else plain


def _is_unbounded(node: mi.IntType) -> bool:
    low = node.ge if node.ge is not None else node.gt
    high = node.le if node.le is not None else node.lt
    return low is None or high is None or low < SMALLEST or high > LARGEST


_Fielded = mi.NamedTupleType | mi.StructType | mi.DataclassType | mi.TypedDictType


class _Builder:
    """Shapes from msgspec's description of a type; each class once, for it may contain itself."""

    def __init__(self) -> None:
        self._made: dict[int, Shape] = {}

    def shape(self, node: mi.Type, where: str) -> Shape:
        match node:
            case mi.Metadata():
                return self.shape(node.type, where)
            case mi.AnyType() | mi.RawType():
                return ANYTHING
            case mi.CustomType():
                return self._custom(node.cls, where)
            case mi.UnionType():
                members = [self.shape(member, where) for member in node.types]
                return ANYTHING if ANYTHING in members else Union(members)
            case mi.IntType():
                return Leaf(_constrained(int, node), wide=_is_unbounded(node))
            case mi.FloatType():
                return Leaf(_constrained(float, node), real=True)
            case mi.LiteralType():
                return Leaf(Literal[node.values], choices=node.values)
            case mi.EnumType():
                return Leaf(node.cls, choices=[member.value for member in node.cls])
            case mi.DictType():
                key = self.shape(node.key_type, where)
                table = Table(Leaf(_constrained(dict, node)), key)
                table.value = self.shape(node.value_type, f"{where}[]")
                return table
            case mi.ListType() | mi.VarTupleType():
                return self._array(node, Leaf(_constrained(list, node)), where)
            case mi.SetType() | mi.FrozenSetType():
                # its length is that without the repeated items: left to msgspec
                return self._array(node, ARRAY, where)
            case mi.TupleType():
                row = Row(None)
                for index, item in enumerate(node.item_types):
                    row.add("", self.shape(item, f"{where}[{index}]"), required=True)
                return row
            case mi.NamedTupleType() | mi.StructType() | mi.DataclassType() | mi.TypedDictType():
                if id(node) not in self._made:
                    self._fielded(node)
                return self._made[id(node)]
        if type(node) in _PLAIN:
            return Leaf(_constrained(_PLAIN[type(node)], node))
        raise DeclarationError(f"{where}: {type(node).__name__} is not supported")

    def _custom(self, kind: type[Any], where: str) -> Shape:
        if kind is object:
            return ANYTHING
        if is_model(kind):
            return Model(kind)
        raise DeclarationError(
            f"{where}: `{label(kind)}` is not supported; take a dataclass, a msgspec.Struct, a "
            "TypedDict or a builtin type"
        )

    def _array(
        self,
        node: mi.ListType | mi.VarTupleType | mi.SetType | mi.FrozenSetType,
        outside: Leaf,
        where: str,
    ) -> Shape:
        array = Array(outside, is_set=outside is ARRAY)
        array.item = self.shape(node.item_type, f"{where}[]")
        return array

    def _fielded(self, node: _Fielded) -> None:
        shape: Object | Row
        tag = None
        if isinstance(node, mi.StructType):
            if node.tag is not None and node.tag_field is not None:
                tag = Tag(node.tag_field, node.tag)
            kind = Row if node.array_like else Object
            shape = kind(node.cls, closed=node.forbid_unknown_fields, tag=tag)
        elif isinstance(node, mi.NamedTupleType):
            shape = Row(node.cls)
        else:
            shape = Object(node.cls, closed=False)
        self._made[id(node)] = shape
        if tag is not None:
            leaf = Leaf(Literal[tag.value], choices=[tag.value])
            shape.add(
                tag.field, leaf, required=isinstance(shape, Row), default=_default_of(tag.value)
            )
        where = label(node.cls)
        _refuse_fields_without_a_way_in(node.cls, where)
        for field in node.fields:
            part = self.shape(field.type, f"{where}.{field.name}")
            default = written_default(node, field)
            shape.add(field.encode_name, part, required=field.required, default=default)


def written_default(node: _Fielded, field: mi.Field) -> Default | None:
    """What an instance that was made without the field is written with; None if without it."""
    cls: Any = typing.get_origin(node.cls) or node.cls
    is_struct = isinstance(node, mi.StructType) and not node.array_like
    if is_struct and cls.__struct_config__.omit_defaults:
        return None
    if hasattr(cls, "__attrs_attrs__") and field.name.startswith("_"):
        return None  # msgspec does not write private attributes of these, not even when set
    if field.default_factory in (list, dict):
        return cast("Default", field.default_factory)
    if field.default_factory is not msgspec.NODEFAULT:
        make = field.default_factory
        return lambda: plain_form(make())
    if field.default is not msgspec.NODEFAULT:
        return _default_of(field.default)
    return None  # UNSET


def _default_of(value: object) -> Default:
    if value is None or type(value) in (bool, int, str):
        return lambda: value
    return lambda: plain_form(value)


def _refuse_fields_without_a_way_in(cls: Any, where: str) -> None:
    """msgspec would require such a field in the data, and then overwrite it."""
    origin = typing.get_origin(cls) or cls
    for field in getattr(origin, "__dataclass_fields__", {}).values():
        has_default = (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
        if not field.init and not has_default:
            raise DeclarationError(
                f"{where}.{field.name}: a field with init=False needs a default to be decoded"
            )
    for name, hint in get_type_hints(origin, include_extras=True).items():
        _refuse_foreign_constraints(hint, f"{where}.{name}")


def _refuse_foreign_constraints(hint: object, where: str) -> None:
    """msgspec ignores what it does not know in Annotated: say so, rather than check nothing."""
    for note in getattr(hint, "__metadata__", ()):
        if type(note).__module__.partition(".")[0] in ("annotated_types", "pydantic"):
            raise DeclarationError(
                f"{where}: {label(type(note))} would not be checked; use msgspec.Meta"
            )
    for part in typing.get_args(hint):
        _refuse_foreign_constraints(part, where)
