"""The shapes of what has named fields, as an object or as a row of an array."""

import typing
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from openapi.schema._faults import Faults, at, converted, reason
from openapi.schema._shape import ARRAY, Leaf, Shape, is_array, reachable

__all__ = ["Default", "Object", "Row", "Tag"]

_OBJECT: Final = Leaf(dict)


Default = Callable[[], object]
"""Makes the default of a field, as builtins."""


class Tag(NamedTuple):
    """What tells a Struct from others in a union."""

    field: str
    value: str | int


class Object(Shape):
    """A JSON object with named fields."""

    has_no_arrays = True

    is_object = True
    is_wide = False

    def __init__(self, hint: object, *, closed: bool, tag: Tag | None = None) -> None:
        self.hint = hint
        self.is_open = not closed
        self.tag = tag
        self.fields: dict[str, tuple[Shape, bool]] = {}  # shape, required
        self._defaults: list[tuple[str, Default]] = []
        self._only_required = False
        self._deeper: list[tuple[str, Callable[[Any], bool]]] = []
        self._deeper_to_fill: list[tuple[str, Callable[[Any], bool]]] = []
        cls: Any = typing.get_origin(hint) or hint
        self._struct = cls if issubclass(cls, msgspec.Struct) else None
        hooks = ("__post_init__", "__attrs_attrs__")
        self._has_hooks = any(hasattr(cls, hook) for hook in hooks)

    def add(
        self, name: str, shape: Shape, *, required: bool, default: Default | None = None
    ) -> None:
        self.fields[name] = (shape, required)
        if default is not None:
            self._defaults.append((name, default))
            self.has_defaults = True

    def finish(self) -> None:
        """Prepare :meth:`fits` and :meth:`fill`, when the shapes of all fields are complete."""
        self._only_required = all(required for _, required in self.fields.values())
        inside = [shape.names for shape, _ in self.fields.values()]
        if self._only_required and None not in inside:
            self.names = len(inside) + sum(filter(None, inside))
        self._deeper = [
            (name, shape.fits)
            for name, (shape, _) in self.fields.items()
            if any(part.is_open for part in reachable(shape))
        ]
        self._deeper_to_fill = [
            (name, shape.fill)
            for name, (shape, _) in self.fields.items()
            if any(part.has_defaults for part in reachable(shape))
        ]
        if not self._deeper_to_fill:
            self.whole = self._struct
        # arrays inside it are judged in batches themselves
        if all(part.has_no_arrays for part in reachable(self)):
            self.batch = self.hint

    def has_tag_of(self, value: Any) -> bool:
        return self.tag is not None and value.get(self.tag.field) == self.tag.value

    def parts(self) -> Iterable[Shape]:
        return [shape for shape, _ in self.fields.values()]

    def fits(self, value: Any) -> bool:
        # msgspec saw to it that required fields are there: with them alone, their number tells
        if self._only_required:
            if len(value) != len(self.fields):
                return False
        elif not value.keys() <= self.fields.keys():
            return False
        for name, fits in self._deeper:
            if name in value and not fits(value[name]):
                return False
        return True

    def faults(self, value: object, path: str, found: Faults) -> None:
        if not isinstance(value, dict):
            return _OBJECT.faults(value, path, found)
        before = len(found.errors)
        for name, (shape, required) in self.fields.items():
            if name in value:
                shape.faults(value[name], at(path, name), found)
            elif required:
                found.add(at(path, name), "required")
        for name in value:
            if name not in self.fields:
                found.add(at(path, name), "unknown field")
        if self._has_hooks and len(found.errors) == before:
            _check_hooks(value, self.hint, path, found)

    def fill(self, value: Any) -> bool:
        if type(value) is not dict:
            return False
        filled = False
        # as many as there are, but not the same: then some are unknown, and it does not fit
        if len(value) != len(self.fields):
            for name, default in self._defaults:
                if name not in value:
                    value[name] = default()
                    filled = True
        for name, fill in self._deeper_to_fill:
            if name in value and fill(value[name]):
                filled = True
        return filled

    def pruned(self, value: object) -> object:
        if not isinstance(value, dict):
            return value
        known = ((name, item) for name, item in value.items() if name in self.fields)
        return {name: self.fields[name][0].pruned(item) for name, item in known}

    def widened(self, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            name: self.fields[name][0].widened(item) if name in self.fields else item
            for name, item in value.items()
        }


class Row(Shape):
    """A JSON array with a shape for each position: tuple[X, Y], NamedTuple, array_like Struct."""

    is_wide = False

    def __init__(self, hint: object, *, closed: bool = True, tag: Tag | None = None) -> None:
        self.hint = hint
        self.is_open = not closed
        self.tag = tag
        self.items: list[Shape] = []
        self._defaults: list[Default | None] = []
        self._required = 0
        self._has_hooks = hasattr(typing.get_origin(hint) or hint, "__post_init__")

    def add(
        self, name: str, shape: Shape, *, required: bool, default: Default | None = None
    ) -> None:
        self.items.append(shape)
        if required:
            self._required += 1
        else:
            self._defaults.append(default)
            self.has_defaults = True

    def has_tag_of(self, value: Any) -> bool:
        return self.tag is not None and list(value[:1]) == [self.tag.value]

    def parts(self) -> Iterable[Shape]:
        return self.items

    def fits(self, value: Any) -> bool:
        return len(value) <= len(self.items) and all(
            shape.fits(item) for shape, item in zip(self.items, value, strict=False)
        )

    def faults(self, value: object, path: str, found: Faults) -> None:
        if not is_array(value):
            return ARRAY.faults(value, path, found)
        before = len(found.errors)
        if not self._required <= len(value) <= len(self.items):
            most = len(self.items)
            size = f"{most}" if self._required == most else f"{self._required} to {most}"
            return found.add(path, f"expected `array` of length {size}")
        for index, (shape, item) in enumerate(zip(self.items, value, strict=False)):
            shape.faults(item, f"{path}[{index}]", found)
        if self._has_hooks and len(found.errors) == before:
            _check_hooks(value, self.hint, path, found)

    def fill(self, value: Any) -> bool:
        if type(value) is not list or len(value) < self._required:
            return False
        size = len(value)
        for default in self._defaults[size - self._required :]:
            if default is None:  # what follows cannot be there without it
                break
            value.append(default())
        inside = [shape.fill(item) for shape, item in zip(self.items, value, strict=False)]
        return len(value) > size or any(inside)

    def pruned(self, value: object) -> object:
        if not is_array(value):
            return value
        return [shape.pruned(item) for shape, item in zip(self.items, value, strict=False)]

    def widened(self, value: object) -> object:
        if not is_array(value):
            return value
        known = [shape.widened(item) for shape, item in zip(self.items, value, strict=False)]
        return known + list(value[len(known) :])


def _check_hooks(value: object, hint: object, path: str, found: Faults) -> None:
    """Report what a class's own code (``__post_init__``, attrs validators) says to good fields."""
    try:
        converted(value, hint, lax=found.lax, packed=found.packed)
    except msgspec.ValidationError as error:
        found.add(path, reason(error)[1])
