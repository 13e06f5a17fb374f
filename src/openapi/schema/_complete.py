"""Decoded instances with all of their fields.

msgspec does not set a default that the class has as an attribute, as most dataclasses do:

    @dataclass
    class Task:
        title: str
        state: str = "new"

    vars(msgspec.json.decode(b'{"title": "a"}', type=Task))    # {"title": "a"}

``task.state`` is found all the same, but an encoder that looks into the instance does not send it.
So what was decoded is completed in place, wherever such an instance can be in it.
"""

import inspect
import typing
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import inspect as mi

__all__ = ["completer"]

_Complete = Callable[[Any], None]
_Table = dict[type, _Complete]
"""What completes a value, by its class; values of other classes need nothing."""
_Inside = list[tuple[str, _Table]]
"""The parts of a value that may be incomplete themselves, by name."""
_Fielded = mi.DataclassType | mi.StructType | mi.TypedDictType | mi.NamedTupleType

_NOTHING: Final = object()


def completer(hint: object) -> _Complete | None:
    """What completes a decoded value of a type hint; None if msgspec leaves nothing out of any."""
    node = mi.type_info(hint)
    table = _Builder().table(node)
    if isinstance(node, mi.UnionType | mi.Metadata) or not table:
        return _one(table) if table else None
    (complete,) = table.values()
    return complete


class _Builder:
    """Tables from msgspec's description of a type; each class once, for it may contain itself."""

    def __init__(self) -> None:
        self._made: dict[int, _Complete] = {}

    def table(self, node: mi.Type) -> _Table:
        if not any(isinstance(part, mi.DataclassType) and _left_out(part) for part in _all(node)):
            return {}
        match node:
            case mi.ListType():
                return {list: _each(self.table(node.item_type))}
            case mi.VarTupleType():
                return {tuple: _each(self.table(node.item_type))}
            case mi.SetType():
                return {set: _each(self.table(node.item_type))}
            case mi.FrozenSetType():
                return {frozenset: _each(self.table(node.item_type))}
            case mi.DictType():
                return {dict: _values(self.table(node.value_type))}
            case mi.TupleType():
                return {tuple: _row([self.table(item) for item in node.item_types])}
            case mi.TypedDictType():
                return {dict: self._fielded(node, _items)}
            case mi.StructType() | mi.NamedTupleType():
                return {_class(node): self._fielded(node, _attributes)}
            case mi.DataclassType():
                return {_class(node): self._fielded(node, partial(_instance, node))}
        # a union, or a type with metadata
        tables = [self.table(part) for part in _parts(node)]
        return {kind: complete for table in tables for kind, complete in table.items()}

    def _fielded(self, node: _Fielded, make: Callable[[_Inside], _Complete]) -> _Complete:
        if id(node) not in self._made:
            inside: _Inside = []
            self._made[id(node)] = make(inside)
            for field in node.fields:
                if table := self.table(field.type):
                    inside.append((field.name, table))
        return self._made[id(node)]


# What is inside a type


def _class(node: mi.DataclassType | mi.StructType | mi.NamedTupleType) -> type[Any]:
    return typing.get_origin(node.cls) or node.cls


def _parts(node: mi.Type) -> Iterable[mi.Type]:
    match node:
        case mi.Metadata():
            return [node.type]
        case mi.UnionType():
            return node.types
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            return [node.item_type]
        case mi.DictType():
            return [node.value_type]
        case mi.TupleType():
            return node.item_types
        case mi.DataclassType() | mi.StructType() | mi.TypedDictType() | mi.NamedTupleType():
            return [field.type for field in node.fields]
    return ()


def _all(node: mi.Type) -> list[mi.Type]:
    """The type and everything inside it, each class once."""
    found = {id(node): node}
    queue = [node]
    for each in queue:
        for part in _parts(each):
            if id(part) not in found:
                found[id(part)] = part
                queue.append(part)
    return queue


# Which fields msgspec leaves out


def _in_dict(node: mi.DataclassType) -> list[mi.Field]:
    """The fields that instances have in their ``__dict__``, not in a slot or other descriptor."""
    cls = _class(node)
    if not cls.__dictoffset__:
        return []
    return [field for field in node.fields if not hasattr(_static(cls, field), "__set__")]


def _left_out(node: mi.DataclassType) -> list[mi.Field]:
    """Those with a default that msgspec does not set, for something answers to their name."""
    cls = _class(node)
    return [
        field
        for field in _in_dict(node)
        if not field.required
        and (_static(cls, field) is not _NOTHING or hasattr(cls, "__getattr__"))
    ]


def _static(cls: type[Any], field: mi.Field) -> object:
    """The class's attribute of a field's name, without asking a descriptor for its value."""
    return inspect.getattr_static(cls, field.name, _NOTHING)


# How each kind of value is completed


def _one(table: _Table) -> _Complete:
    find = table.get

    def complete(value: Any) -> None:
        inner = find(type(value))
        if inner is not None:
            inner(value)

    return complete


def _each(table: _Table) -> _Complete:
    find = table.get

    def complete(values: Iterable[Any]) -> None:
        for value in values:
            inner = find(type(value))
            if inner is not None:
                inner(value)

    return complete


def _values(table: _Table) -> _Complete:
    each = _each(table)
    return lambda value: each(value.values())


def _row(tables: list[_Table]) -> _Complete:
    finds = [table.get for table in tables]

    def complete(row: Any) -> None:
        for find, value in zip(finds, row, strict=False):
            inner = find(type(value))
            if inner is not None:
                inner(value)

    return complete


def _items(inside: _Inside) -> _Complete:
    def complete(value: Any) -> None:
        for name, table in inside:
            inner = table.get(type(value.get(name)))
            if inner is not None:
                inner(value[name])

    return complete


def _attributes(inside: _Inside) -> _Complete:
    def complete(value: Any) -> None:
        for name, table in inside:
            item = getattr(value, name)
            inner = table.get(type(item))
            if inner is not None:
                inner(item)

    return complete


def _instance(node: mi.DataclassType, inside: _Inside) -> _Complete:
    left_out = _left_out(node)
    complete_parts = _attributes(inside)
    if not left_out:
        return complete_parts
    factories = tuple(
        (field.name, field.default_factory)
        for field in left_out
        if field.default_factory is not msgspec.NODEFAULT
    )
    defaults = tuple(
        # what has neither a default nor a factory here has the default UNSET
        (field.name, msgspec.UNSET if field.default is msgspec.NODEFAULT else field.default)
        for field in left_out
        if field.default_factory is msgspec.NODEFAULT
    )
    # code of its own may set other attributes, and then their number tells nothing
    has_code = any(hasattr(_class(node), hook) for hook in ("__post_init__", "__attrs_attrs__"))
    size = -1 if has_code else len(_in_dict(node))

    def complete(value: Any) -> None:
        fields = value.__dict__
        if len(fields) != size:
            for name, default in defaults:
                if name not in fields:
                    fields[name] = default
            for name, factory in factories:
                if name not in fields:
                    fields[name] = factory()
        if inside:
            complete_parts(value)

    return complete
