"""JSON Schema 2020-12 of a type: true to what is decoded, and readable in a document."""

import inspect
import itertools
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import msgspec
from msgspec import inspect as mi

from openapi.schema._faults import LARGEST, SMALLEST, is_model, pydantic

__all__ = ["Names", "closure", "described", "document"]

_Fielded = mi.DataclassType | mi.StructType | mi.TypedDictType | mi.NamedTupleType


class _Component(dict[str, Any]):
    """A named schema, which remembers of what it is: other types of that name need another."""

    origin: object = None


class Names:
    """The named schemas of one document, and how to refer to them."""

    def __init__(self, components: dict[str, Any], ref: str) -> None:
        self._components = components
        self._ref = ref

    def named(
        self, origin: object, names: Iterator[str], write: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Refer to the schema of ``origin``, written now if this is the first time."""
        name = next(name for name in names if self._is_for(origin, name))
        if name not in self._components:
            component = _Component()
            component.origin = origin
            self._components[name] = component  # before it is written: it may refer to itself
            component.update(write())
        return {"$ref": self._ref.format(name=name)}

    def _is_for(self, origin: object, name: str) -> bool:
        known = self._components.get(name)
        return known is None or (isinstance(known, _Component) and known.origin == origin)


def document(hint: object, names: Names) -> dict[str, Any]:
    """The schema of a hint, or a reference to it."""
    return _schema(mi.type_info(hint), names)


_FORMATS: Final[dict[type[mi.Type], dict[str, Any]]] = {
    mi.NoneType: {"type": "null"},
    mi.BoolType: {"type": "boolean"},
    mi.DateType: {"type": "string", "format": "date"},
    mi.TimeType: {"type": "string", "format": "time"},
    mi.DateTimeType: {"type": "string", "format": "date-time"},
    mi.TimeDeltaType: {"type": "string", "format": "duration"},
    mi.UUIDType: {"type": "string", "format": "uuid"},
    mi.DecimalType: {"anyOf": [{"type": "string", "format": "decimal"}, {"type": "number"}]},
}


def _schema(node: mi.Type, names: Names) -> dict[str, Any]:
    match node:
        case mi.Metadata():
            return _schema(node.type, names) | (node.extra_json_schema or {})
        case mi.UnionType():
            return _union(node, names)
        case mi.CustomType():
            return _model(node.cls, names) if is_model(node.cls) else {}
        case mi.IntType():
            return {"type": "integer"} | _range(node, SMALLEST, LARGEST)
        case mi.FloatType():
            return {"type": "number"} | _range(node, None, None)
        case mi.StrType():
            return {"type": "string"} | _limits(node, "Length") | _some(pattern=node.pattern)
        case mi.BytesType() | mi.ByteArrayType():
            return {"type": "string", "contentEncoding": "base64"} | _some(
                minLength=_in_base64(node.min_length), maxLength=_in_base64(node.max_length)
            )
        case mi.LiteralType():
            return {"enum": list(node.values)}
        case mi.EnumType():
            return names.named(node.cls, _names_for(node.cls), lambda: _enum(node.cls))
        case mi.ListType() | mi.VarTupleType():
            return _array(node.item_type, names) | _limits(node, "Items")
        case mi.SetType() | mi.FrozenSetType():
            # repeated items are accepted, and count once: only the lower bound is true of both
            return _array(node.item_type, names) | _some(minItems=node.min_length)
        case mi.TupleType():
            return _row([_schema(item, names) for item in node.item_types], len(node.item_types))
        case mi.DictType():
            return _table(node, names)
        case mi.DataclassType() | mi.StructType() | mi.TypedDictType() | mi.NamedTupleType():
            return names.named(node.cls, _names_for(node.cls), lambda: _fielded(node, names))
    return dict(_FORMATS.get(type(node), {}))


def _some(**keywords: object) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if value is not None}


def _range(node: mi.IntType | mi.FloatType, low: int | None, high: int | None) -> dict[str, Any]:
    return _some(
        minimum=low if node.ge is None and node.gt is None else node.ge,
        exclusiveMinimum=node.gt,
        maximum=high if node.le is None and node.lt is None else node.le,
        exclusiveMaximum=node.lt,
        multipleOf=node.multiple_of,
    )


def _limits(node: Any, what: str) -> dict[str, Any]:
    return _some(**{f"min{what}": node.min_length, f"max{what}": node.max_length})


def _in_base64(size: int | None) -> int | None:
    return None if size is None else (size + 2) // 3 * 4


def _array(item: mi.Type, names: Names) -> dict[str, Any]:
    schema = _schema(item, names)
    return {"type": "array"} | ({"items": schema} if schema else {})


def _row(items: list[dict[str, Any]], required: int) -> dict[str, Any]:
    prefix = {"prefixItems": items} if items else {}
    return {"type": "array", **prefix, "minItems": required, "maxItems": len(items)}


def _table(node: mi.DictType, names: Names) -> dict[str, Any]:
    value = _schema(node.value_type, names)
    key = node.key_type.type if isinstance(node.key_type, mi.Metadata) else node.key_type
    if isinstance(key, mi.IntType):
        name: dict[str, Any] = {"pattern": "^-?(0|[1-9][0-9]*)$"}
    elif isinstance(key, mi.EnumType):
        name = {"enum": [str(member.value) for member in key.cls]}
    elif isinstance(key, mi.LiteralType):
        name = {"enum": [str(choice) for choice in key.values]}
    else:
        name = _schema(key, names)
        name = name if name.pop("type", "string") == "string" else {}
    return {
        "type": "object",
        **({"additionalProperties": value} if value else {}),
        **({"propertyNames": name} if name else {}),
        **_limits(node, "Properties"),
    }


def _union(node: mi.UnionType, names: Names) -> dict[str, Any]:
    schema: dict[str, Any] = {"anyOf": [_schema(member, names) for member in node.types]}
    tagged = [
        (member, option)
        for member, option in zip(node.types, schema["anyOf"], strict=True)
        if isinstance(member, mi.StructType) and member.tag_field and not member.array_like
    ]
    if len(tagged) > 1:
        # among others the tag has to be there; a Struct that stands alone does not need it
        for member, option in tagged:
            option["required"] = [member.tag_field]
    if len(tagged) == len(node.types):
        schema["discriminator"] = {
            "propertyName": tagged[0][0].tag_field,
            "mapping": {str(member.tag): option["$ref"] for member, option in tagged},
        }
    return schema


def _enum(cls: type[Any]) -> dict[str, Any]:
    return {"title": cls.__name__, **described(cls), "enum": [member.value for member in cls]}


def _fielded(node: _Fielded, names: Names) -> dict[str, Any]:
    head = {"title": _title(node.cls), **described(node.cls)}
    tag = None
    if isinstance(node, mi.StructType) and node.tag is not None:
        tag = {"const": node.tag}
    if isinstance(node, mi.NamedTupleType) or (isinstance(node, mi.StructType) and node.array_like):
        items = [tag] if tag else []
        required = len(items) + sum(field.required for field in node.fields)
        items += [_field(field, names) for field in node.fields]
        return head | _row(items, required)
    properties = {field.encode_name: _field(field, names) for field in node.fields}
    if tag:
        properties = {str(cast("mi.StructType", node).tag_field): tag} | properties
    required_names = [field.encode_name for field in node.fields if field.required]
    return {
        **head,
        "type": "object",
        "properties": properties,
        **({"required": required_names} if required_names else {}),
        "additionalProperties": False,
    }


def _field(field: mi.Field, names: Names) -> dict[str, Any]:
    schema = _schema(field.type, names)
    if field.default_factory in (list, dict, set, tuple, frozenset):
        default = field.default_factory()
    elif field.default is not msgspec.NODEFAULT:
        default = field.default
    else:
        return schema
    try:
        written = msgspec.json.decode(msgspec.json.encode(default))
    except TypeError:  # UNSET, or something else that JSON cannot say
        return schema
    if written is None and default is not None:  # infinity, which becomes null
        return schema
    return schema | {"default": written}


def described(cls: type[Any]) -> dict[str, str]:
    """The class's own docstring, not one that a decorator wrote or a base class has."""
    text = vars(typing.get_origin(cls) or cls).get("__doc__")
    if not text or text.startswith(f"{cls.__name__}("):
        return {}
    return {"description": inspect.cleandoc(text)}


def _title(cls: Any) -> str:
    name = getattr(cls, "__name__", str(cls))
    arguments = [_title(part) for part in typing.get_args(cls)]
    return f"{name}[{', '.join(arguments)}]" if arguments else str(name)


def _names_for(cls: Any) -> Iterator[str]:
    """Its name, or if that is taken its full name, or if that is taken too a number more."""
    return _candidates(_title(cls), f"{cls.__module__}.{_title(cls)}")


def _candidates(short: str, full: str) -> Iterator[str]:
    yield _clean(short)
    yield _clean(full)
    yield from (f"{_clean(full)}_{number}" for number in itertools.count(2))


def _clean(name: str) -> str:
    """Only what OpenAPI allows in the name of a component."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_")


def _model(cls: type[Any], names: Names) -> dict[str, Any]:
    """Move pydantic's own definitions to the components."""
    top, schemas = pydantic().documents(cls)

    def place(name: str) -> dict[str, Any]:
        # pydantic does not say of what class a definition is: take all that it says for it
        origin = {other: schemas[other] for other in closure(name, schemas)}
        return names.named(
            (name, origin),
            _candidates(name, f"{cls.__module__}.{name}"),
            lambda: cast("dict[str, Any]", moved(schemas[name])),
        )

    def moved(part: Any) -> Any:
        if isinstance(part, list):
            return [moved(item) for item in part]
        if not isinstance(part, dict):
            return part
        here = {name: moved(item) for name, item in part.items() if name != "$ref"}
        return here | (place(_target(part["$ref"])) if isinstance(part.get("$ref"), str) else {})

    return place(top)


def _target(ref: str) -> str:
    return ref.rpartition("/")[2]


def closure(name: str, schemas: dict[str, dict[str, Any]]) -> list[str]:
    """The definition and those that it refers to, directly or not."""
    found = [name]
    for each in found:
        text = msgspec.json.encode(schemas[each]).decode()
        found += [
            other
            for other in dict.fromkeys(re.findall(r'"\$ref":"#/\$defs/([^"]+)"', text))
            if other not in found
        ]
    return found
