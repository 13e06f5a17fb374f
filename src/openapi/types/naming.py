"""The names of a file's own: of its types, and of the class of each endpoint."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from openapi.schema.outline import Enumeration, Record
from openapi.types.directions import Direction, Directions, Variant
from openapi.types.names import names_of
from openapi.types.surface import Surface

__all__ = ["Named", "named"]


@dataclass(frozen=True, slots=True)
class Named:
    """What things are called."""

    types: Mapping[Variant | Enumeration, str]
    clients: Sequence[str]
    """The classes of the endpoints, in their order."""

    def all(self) -> set[str]:
        """All names."""
        return {*self.types.values(), *self.clients}


def named(surfaces: Sequence[Surface], directions: Directions, taken: Collection[str]) -> Named:
    """Name everything, each as nothing else and as nothing that is ``taken``.

    A record that is two types is ``Order`` as it is received, and ``OrderInput`` as it is sent.
    """
    wanted: dict[Record | Enumeration | int, tuple[Sequence[str], Sequence[str]]] = {}
    for number, surface in enumerate(surfaces):
        wanted[number] = (surface.name, ["Client"])
    for record, _ in directions.variants:
        wanted[record] = (record.name, ["", "Input"] if directions.is_two(record) else [""])
    for enumeration in directions.enumerations:
        wanted[enumeration] = (enumeration.name, [""])
    names = names_of(wanted, taken)
    types: dict[Variant | Enumeration, str] = {
        each: names[each][0] for each in directions.enumerations
    }
    for variant in directions.variants:
        two = directions.is_two(variant.record) and variant.direction is Direction.SENT
        types[variant] = names[variant.record][1 if two else 0]
    return Named(types, [names[number][0] for number in range(len(surfaces))])
