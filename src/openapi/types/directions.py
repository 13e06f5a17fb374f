"""Which way types go.

A field with a default is there in all that the server sends, and may be left out of what is sent to
it. So a record that goes both ways may have to be two types: one with the field, one where it is
optional. It is two only where a language needs it, and then so is every record that has it inside.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from openapi.schema.outline import Array, Enumeration, Record, Row, Table, Type, Union

__all__ = ["Direction", "Directions", "Variant", "parts"]


class Direction(Enum):
    """From a client to the server, or from the server to a client."""

    SENT = "sent"
    RECEIVED = "received"


class Variant(NamedTuple):
    """A record as it goes one way, or both ways alike."""

    record: Record
    direction: Direction


class Directions:
    """The types that are sent and received; ``differs`` says which records are not alike."""

    def __init__(
        self,
        sent: Iterable[Type],
        received: Iterable[Type],
        differs: Callable[[Record], bool],
    ) -> None:
        there, back = _inside(sent), _inside(received)
        self._both = [each for each in there if isinstance(each, Record) and each in back]
        self._split = {
            record
            for record in self._both
            if any(isinstance(each, Record) and differs(each) for each in _inside([record]))
        }
        self.enumerations: list[Enumeration] = [
            each for each in dict.fromkeys([*there, *back]) if isinstance(each, Enumeration)
        ]
        self.variants: list[Variant] = [
            *dict.fromkeys(
                self.variant(each, direction)
                for way, direction in ((there, Direction.SENT), (back, Direction.RECEIVED))
                for each in way
                if isinstance(each, Record)
            )
        ]

    def variant(self, record: Record, direction: Direction) -> Variant:
        """The variant of a record that goes one way."""
        if record in self._both and record not in self._split:
            return Variant(record, Direction.RECEIVED)
        return Variant(record, direction)

    def is_two(self, record: Record) -> bool:
        """Whether what is sent is another type than what is received."""
        return record in self._split


def parts(outline: Type) -> Iterator[Type]:
    """The types directly inside."""
    match outline:
        case Array():
            yield outline.item
        case Row():
            yield from outline.items
        case Table():
            yield from (outline.key, outline.value)
        case Union():
            yield from outline.members
        case Record():
            yield from (field.type for field in outline.fields)


def _inside(outlines: Iterable[Type]) -> dict[Type, None]:
    """The types and everything in them, each once, in the order in which they are met."""
    found: dict[Type, None] = {}
    queue = [*outlines]
    while queue:
        outline = queue.pop(0)
        if outline not in found:
            found[outline] = None
            queue += parts(outline)
    return found
