"""Types in the order in which they are built on each other."""

from openapi.schema.outline import Record, Type
from openapi.types.directions import Directions, Variant, parts

__all__ = ["ordered"]


def ordered(directions: Directions) -> list[Variant]:
    """The records, each behind those in it, as far as these do not have it in them again."""
    found: dict[Variant, None] = {}
    begun: set[Variant] = set()
    for variant in directions.variants:
        _visit(variant, directions, begun, found)
    return list(found)


def _visit(
    variant: Variant, directions: Directions, begun: set[Variant], found: dict[Variant, None]
) -> None:
    if variant in begun:
        return
    begun.add(variant)
    for record in _records(variant.record):
        _visit(directions.variant(record, variant.direction), directions, begun, found)
    found[variant] = None


def _records(outline: Type) -> list[Record]:
    """The records in a type, outside of other records."""
    found: list[Record] = []
    for part in parts(outline):
        found += [part] if isinstance(part, Record) else _records(part)
    return found
