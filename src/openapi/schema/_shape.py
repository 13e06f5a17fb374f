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

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeGuard

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
    reason,
)

__all__ = ["ANYTHING", "ARRAY", "BATCH", "Leaf", "Shape", "faulty_batches", "is_array", "reachable"]


def is_array(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    """Tell whether a value is a JSON array."""
    return isinstance(value, (list, tuple))


class Shape:
    """Anything at all, which is also what untyped data is: only integers have a bound."""

    is_object = False
    """Whether every value is a JSON object."""
    has_no_arrays = False
    """Whether it is of a kind that is no array itself; those look at their items in batches."""
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
    names: int | None = None
    """How many names of fields there are in all data of this kind; None if that varies, or if data
    that fits is not told by it from data that does not."""
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
        elif is_array(value):
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


BATCH: Final = 64


def faulty_batches(
    shape: Shape, values: Sequence[object], found: Faults
) -> Iterable[tuple[int, Sequence[object]]]:
    """The parts of a long array that have to be looked at one by one: ``(first index, values)``.

    Without this, one fault at the end of a long array would cost many times what decoding does.
    """
    for start in range(0, len(values), BATCH):
        batch = values[start : start + BATCH]
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

    has_no_arrays = True
    names = 0

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


ARRAY: Final = Leaf(list)


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
