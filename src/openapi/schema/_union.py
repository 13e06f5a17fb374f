"""One of several shapes."""

import typing
from collections.abc import Iterable, Sequence
from typing import Any

from openapi.schema._collection import Array, Table
from openapi.schema._faults import Faults, at, one_of
from openapi.schema._model import Model
from openapi.schema._record import Object, Row
from openapi.schema._shape import Leaf, Shape, is_array

__all__ = ["Union"]


class Union(Shape):
    """One of several shapes; the JSON type tells which, and among Structs their tag."""

    is_wide = False
    has_no_arrays = True

    def __init__(self, members: list[Shape]) -> None:
        self.members = members
        self.is_object = all(member.is_object for member in members)
        # next to a model there is nothing but None
        self.model = next((member for member in members if isinstance(member, Model)), None)
        self.whole = None if self.model is None else self.model.whole
        self.objects = [member for member in members if isinstance(member, (Object, Table))]
        self.arrays = [member for member in members if isinstance(member, (Array, Row))]
        leaves = [member for member in members if isinstance(member, Leaf)]
        self.names = 0 if len(leaves) == len(members) else None
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
        if is_array(value):
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
