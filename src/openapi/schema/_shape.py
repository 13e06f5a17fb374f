"""A type as a tree of shapes, which can tell everything that is wrong with a value.

msgspec decodes in one pass and stops at the first fault; it also lets unknown fields of everything
but strict Structs pass. So each shape answers what msgspec does not:

=========== ==================================================================================
fits        has data that msgspec took only known fields? (on the way in, each time: fast)
faults      everything that is wrong with data (only after a refusal)
fill        add the fields that data has not, and defaults for (on the way out, each time: fast)
pruned      the data without unknown fields (on the way out, only after a refusal)
widened     the data with a list where a lone string stands for one (query strings)
=========== ==================================================================================

Data here is always builtins: what a JSON decoder gives.
"""

import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeGuard, cast

import msgspec

from openapi.schema._faults import (
    LARGEST,
    NO_CHOICE,
    NO_NAME,
    SMALLEST,
    Faults,
    at,
    check_scalar,
    converted,
    one_of,
    pydantic,
    reason,
)

__all__ = [
    "ANYTHING",
    "ARRAY",
    "Array",
    "Leaf",
    "Model",
    "Object",
    "Row",
    "Shape",
    "Table",
    "Tag",
    "Union",
    "reachable",
]


def _is_array(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    return isinstance(value, (list, tuple))


class Shape:
    """Anything at all, which is also what untyped data is: only integers have a bound."""

    is_object = False
    """Whether every value is a JSON object."""
    is_wide = True
    """Whether it may be an integer without bounds."""
    is_untyped = False
    """Whether there may be anything in it."""
    is_real = False
    """Whether it may be a float."""
    is_open = False
    """Whether it has fields whose names msgspec does not check."""
    has_defaults = False
    """Whether it has fields, in itself, that are written though the data has them not."""
    whole: type[Any] | None = None
    """A class whose instances are written with all fields, so that nothing is to be filled."""
    batch: object = None
    """The hint by which many are judged at once, if that is cheap; see :func:`_are_faultless`."""

    def parts(self) -> Iterable["Shape"]:
        """The shapes directly inside."""
        return ()

    def fits(self, value: Any) -> bool:
        return True

    def faults(self, value: object, path: str, found: Faults) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                if found.packed and not isinstance(name, str):
                    found.add(at(path, name), NO_NAME)
                if not _is_harmless(item):
                    self.faults(item, at(path, name), found)
        elif _is_array(value):
            for index, item in enumerate(value):
                if not _is_harmless(item):
                    self.faults(item, f"{path}[{index}]", found)
        else:
            check_scalar(value, path, found)

    def fill(self, value: Any) -> bool:
        """Add to data what it lacks, in place, and tell whether it lacked anything.

        Data that does not fit may stay as it is: whether it fits is found out afterwards.
        """
        return False

    def pruned(self, value: object) -> object:
        return value

    def widened(self, value: object) -> object:
        return value


ANYTHING: Final = Shape()
ANYTHING.is_untyped = True


def _is_harmless(item: object) -> bool:
    """Tell of the commonest values that they are no faults, before a path is made for them."""
    return isinstance(item, str) or (isinstance(item, int) and SMALLEST <= item <= LARGEST)


_BATCH: Final = 64


def _faulty_batches(
    shape: Shape, values: Sequence[object], found: Faults
) -> Iterable[tuple[int, Sequence[object]]]:
    """The parts of a long array that have to be looked at one by one: ``(first index, values)``.

    Without this, one fault at the end of a long array would cost many times what decoding does.
    """
    for start in range(0, len(values), _BATCH):
        batch = values[start : start + _BATCH]
        if found.lax or shape.batch is None or not _are_faultless(shape, batch):
            yield start, batch


def _are_faultless(shape: Shape, values: Sequence[object]) -> bool:
    hint: Any = shape.batch
    try:
        converted(values, list[hint])
    except msgspec.ValidationError:
        return False
    numbers = Faults()
    numbers.collect(ANYTHING.faults, values)
    return not numbers.errors and all(map(shape.fits, values))


class Leaf(Shape):
    """A type without parts, or the outside of one with parts: what msgspec alone can judge."""

    def __init__(
        self,
        hint: object,
        *,
        wide: bool = False,
        real: bool = False,
        choices: Sequence[object] = (),
    ) -> None:
        self.hint = self.batch = hint
        self.is_wide = wide
        self.is_real = real
        self.choices = choices

    def faults(self, value: object, path: str, found: Faults) -> None:
        try:
            result = converted(value, self.hint, lax=found.lax)
        except msgspec.ValidationError as error:
            text = reason(error)[1]
            if self.choices and text == NO_CHOICE:
                text = one_of(self.choices)
            found.add(path, text)
        else:
            check_scalar(result, path, found)

    def takes(self, text: str) -> bool:
        """Tell whether a text from a query string is one of these."""
        try:
            converted(text, self.hint, lax=True)
        except msgspec.ValidationError:
            return False
        return True


_OBJECT: Final = Leaf(dict)
ARRAY: Final = Leaf(list)


Default = Callable[[], object]
"""Makes the default of a field, as builtins."""


class Tag(NamedTuple):
    """What tells a Struct from others in a union."""

    field: str
    value: str | int


class Object(Shape):
    """A JSON object with named fields."""

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
        if all(isinstance(part, (Leaf, Object, Union)) for part in reachable(self)):
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


def _check_hooks(value: object, hint: object, path: str, found: Faults) -> None:
    """Report what a class's own code (``__post_init__``, attrs validators) says to good fields."""
    try:
        converted(value, hint, lax=found.lax, packed=found.packed)
    except msgspec.ValidationError as error:
        found.add(path, reason(error)[1])


class Array(Shape):
    """A JSON array of any number of one shape: list, set, tuple[X, ...]."""

    is_wide = False

    def __init__(self, outside: Leaf, *, is_set: bool = False) -> None:
        self.outside = outside
        self.is_set = is_set
        self.item: Shape = ANYTHING

    def parts(self) -> Iterable[Shape]:
        return [self.item]

    def fits(self, value: Any) -> bool:
        return all(map(self.item.fits, value))

    def faults(self, value: object, path: str, found: Faults) -> None:
        self.outside.faults(value, path, found)
        if _is_array(value):
            for start, batch in _faulty_batches(self.item, value, found):
                for index, item in enumerate(batch, start):
                    self.item.faults(item, f"{path}[{index}]", found)

    def fill(self, value: Any) -> bool:
        # a sum, for all of them have to be filled
        return type(value) is list and sum(map(self.item.fill, value)) > 0

    def pruned(self, value: object) -> object:
        return [self.item.pruned(item) for item in value] if _is_array(value) else value

    def widened(self, value: object) -> object:
        if isinstance(value, str):
            value = [value]
        return [self.item.widened(item) for item in value] if _is_array(value) else value


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
        if not _is_array(value):
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
        if not _is_array(value):
            return value
        return [shape.pruned(item) for shape, item in zip(self.items, value, strict=False)]

    def widened(self, value: object) -> object:
        if not _is_array(value):
            return value
        known = [shape.widened(item) for shape, item in zip(self.items, value, strict=False)]
        return known + list(value[len(known) :])


class Table(Shape):
    """A JSON object with any names: dict[K, V]."""

    is_object = True

    def __init__(self, outside: Leaf, key: Shape) -> None:
        self.outside = outside
        self.value: Shape = ANYTHING
        # a key is a string in JSON, whatever it is in Python: let msgspec read it as a key
        self._key = dict[key.hint, None] if isinstance(key, Leaf) else None  # type: ignore[name-defined] # made here
        self.is_wide = isinstance(key, Leaf) and key.is_wide
        self.is_real = isinstance(key, Leaf) and key.is_real
        self.is_untyped = not isinstance(key, Leaf)

    def parts(self) -> Iterable[Shape]:
        return [self.value]

    def fits(self, value: Any) -> bool:
        return all(map(self.value.fits, value.values()))

    def faults(self, value: object, path: str, found: Faults) -> None:
        self.outside.faults(value, path, found)
        if isinstance(value, dict):
            names = list(value)
            if self._key is not None:
                self._check_names(names, path, found)
            elif found.packed:
                for name in names:
                    if not isinstance(name, str):
                        found.add(at(path, name), NO_NAME)
            for start, batch in _faulty_batches(self.value, list(value.values()), found):
                for name, item in zip(names[start : start + len(batch)], batch, strict=True):
                    self.value.faults(item, at(path, name), found)

    def _check_names(self, names: list[object], path: str, found: Faults) -> None:
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            if self._fault_of_names(batch):
                for name in batch:
                    if text := self._fault_of_names([name]):
                        found.add(at(path, name), text)

    def _fault_of_names(self, names: list[object]) -> str:
        faults = Faults()
        try:
            keys = cast("dict[object, None]", converted(dict.fromkeys(names), self._key))
            faults.collect(ANYTHING.faults, list(keys))
        except msgspec.ValidationError as error:
            return f"as a name: {reason(error)[1]}"
        return next(iter(faults.errors.values()), "")

    def fill(self, value: Any) -> bool:
        return type(value) is dict and sum(map(self.value.fill, value.values())) > 0

    def pruned(self, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: self.value.pruned(item) for name, item in value.items()}

    def widened(self, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: self.value.widened(item) for name, item in value.items()}


class Model(Shape):
    """A pydantic model."""

    is_untyped = True

    def __init__(self, model: type[Any]) -> None:
        self.model = self.whole = model
        name, schemas = pydantic().documents(model)
        self.is_object = schemas[name].get("type") == "object"
        self._names = schemas[name].get("properties", {}).keys()
        self._is_flat = len(schemas) == 1 and b'"$ref"' not in msgspec.json.encode(schemas)
        self.has_defaults = any(
            schema.get("properties", {}).keys() - schema.get("required", ())
            for schema in schemas.values()
        )
        self._lists = {
            field
            for field, schema in schemas[name].get("properties", {}).items()
            if any(option.get("type") == "array" for option in [schema, *schema.get("anyOf", ())])
        }

    def faults(self, value: object, path: str, found: Faults) -> None:
        if found.packed:  # pydantic is shown nothing that JSON does not have
            strange = Faults(packed=True)
            strange.collect(lambda item, _, into: ANYTHING.faults(item, path, into), value)
            if strange.errors:
                for where, text in strange.errors.items():
                    found.add(where, text)
                return
        adapter = pydantic()
        try:
            model = adapter.validated(self.model, value, lax=found.lax, packed=found.packed)
        except adapter.ValidationError as error:
            for steps, text in adapter.faults(error):
                where = path
                for step in steps:
                    where = f"{where}[{step}]" if isinstance(step, int) else at(where, step)
                found.add(where, text[:1].lower() + text[1:])
        else:
            if not found.packed:  # where all that pydantic might take has been looked at
                ANYTHING.faults(adapter.dumped(model), path, found)

    def fill(self, value: Any) -> bool:
        if self._is_flat and isinstance(value, dict) and value.keys() == self._names:
            return False
        adapter = pydantic()
        try:
            whole = adapter.dumped(adapter.validated(self.model, value, packed=True))
        except ValueError:  # it does not fit, or pydantic has no text for the bytes in it
            return False
        # An instance was written whole: it is left alone, for its validators may change a value
        # each time. What an instance made of a dict would be written as is what is sent for it.
        if _have_same_names(value, whole):
            return False
        if isinstance(value, dict):
            value.clear()
            value.update(whole)
        else:
            value[:] = whole
        return True

    def widened(self, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            name: [item] if name in self._lists and isinstance(item, str) else item
            for name, item in value.items()
        }


def _have_same_names(one: object, other: object) -> bool:
    """Tell whether two dicts, or two lists, differ in values only; True for anything else."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _have_same_names(item, other[name]) for name, item in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_have_same_names, one, other))
    return True


class Union(Shape):
    """One of several shapes; the JSON type tells which, and among Structs their tag."""

    is_wide = False

    def __init__(self, members: list[Shape]) -> None:
        self.members = members
        self.is_object = all(member.is_object for member in members)
        # next to a model there is nothing but None
        self.model = next((member for member in members if isinstance(member, Model)), None)
        self.whole = None if self.model is None else self.model.whole
        self.objects = [member for member in members if isinstance(member, (Object, Table))]
        self.arrays = [member for member in members if isinstance(member, (Array, Row))]
        leaves = [member for member in members if isinstance(member, Leaf)]
        self.rest = Leaf(
            _union(
                *(leaf.hint for leaf in leaves),
                *([dict] if self.objects else []),
                *([list] if self.arrays else []),
            ),
            choices=next((leaf.choices for leaf in leaves if leaf.choices), ()),
        )

    def parts(self) -> Iterable[Shape]:
        return self.members

    def _candidates(self, value: object) -> Sequence[Shape]:
        if self.model is not None and value is not None:
            return [self.model]
        if isinstance(value, dict):
            return self.objects or [self.rest]
        if _is_array(value):
            return self.arrays or [self.rest]
        return [self.rest]

    def _chosen(self, value: object) -> Shape | None:
        """The shape that a value has to have; None if there are several and no tag tells."""
        candidates = self._candidates(value)
        if len(candidates) == 1:
            return candidates[0]
        tagged = (shape for shape in candidates if isinstance(shape, (Object, Row)))
        return next((shape for shape in tagged if shape.has_tag_of(value)), None)

    def fits(self, value: Any) -> bool:
        chosen = self._chosen(value)
        return chosen is None or chosen.fits(value)

    def faults(self, value: object, path: str, found: Faults) -> None:
        chosen = self._chosen(value)
        if chosen is not None:
            return chosen.faults(value, path, found)
        tags = [
            shape.tag
            for shape in self._candidates(value)
            if isinstance(shape, (Object, Row)) and shape.tag is not None
        ]
        place = at(path, tags[0].field) if isinstance(value, dict) else f"{path}[0]"
        missing = tags[0].field not in value if isinstance(value, dict) else not value
        found.add(place, "required" if missing else one_of([tag.value for tag in tags]))

    def fill(self, value: Any) -> bool:
        chosen = self._chosen(value)
        return chosen is not None and chosen.fill(value)

    def pruned(self, value: object) -> object:
        chosen = self._chosen(value)
        return value if chosen is None else chosen.pruned(value)

    def widened(self, value: object) -> object:
        if isinstance(value, str) and self.arrays:
            return value if self.rest.takes(value) else self.arrays[0].widened(value)
        chosen = self._chosen(value)
        return value if chosen is None else chosen.widened(value)


def _union(*hints: object) -> object:
    return typing.Union[hints]  # noqa: UP007 - the members are only known now


def reachable(shape: Shape) -> list[Shape]:
    """The shape and everything inside it, each once."""
    found = {id(shape): shape}
    queue = [shape]
    for each in queue:
        for part in each.parts():
            if id(part) not in found:
                found[id(part)] = part
                queue.append(part)
    return queue
