"""The shapes of any number of values of one shape: arrays and tables."""

from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec

from openapi.schema._faults import NO_NAME, Faults, at, converted, reason
from openapi.schema._shape import ANYTHING, BATCH, Leaf, Shape, faulty_batches, is_array

__all__ = ["Array", "Table"]


_OBJECT: Final = Leaf(dict)


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
        if is_array(value):
            for start, batch in faulty_batches(self.item, value, found):
                for index, item in enumerate(batch, start):
                    self.item.faults(item, f"{path}[{index}]", found)

    def fill(self, value: Any) -> bool:
        # a sum, for all of them have to be filled
        return type(value) is list and sum(map(self.item.fill, value)) > 0

    def pruned(self, value: object) -> object:
        return [self.item.pruned(item) for item in value] if is_array(value) else value

    def widened(self, value: object) -> object:
        if isinstance(value, str):
            value = [value]
        return [self.item.widened(item) for item in value] if is_array(value) else value


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
            for start, batch in faulty_batches(self.value, list(value.values()), found):
                for name, item in zip(names[start : start + len(batch)], batch, strict=True):
                    self.value.faults(item, at(path, name), found)

    def _check_names(self, names: list[object], path: str, found: Faults) -> None:
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
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
