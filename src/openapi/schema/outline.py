"""A type as plain data, for whoever writes it down elsewhere: in another file, another language.

    outlines = Outlines()
    outlines.of(list[Order])        # Array(item=Record(name=("shop", "orders", "Order"), …))

A JSON Schema says what data may be. An outline says what its types are: what they are called, that
a string is a Decimal, which fields a reader can rely on and which a sender may leave out.
Constraints, as ``Meta(ge=0)``, are not in it.

=========== ============================================ ===========================
Plain       a value without parts, or anything at all    ``int``, ``datetime``, ``Any``
Choice      one of some strings, integers and None       ``Literal["cpu", "memory"]``
Enumeration the same, with names                         ``class Colour(Enum)``
Array       any number of one type                       ``list[int]``, ``set[int]``
Row         so many, each of its own type                ``tuple[int, str]``
Table       names and values                             ``dict[str, int]``
Record      fields                                       a dataclass and the like
Union       one of several                               ``Order | None``
=========== ============================================ ===========================
"""

from openapi.schema._outline import (
    EMPTY,
    NO_DEFAULT,
    Array,
    ArrayKind,
    Choice,
    Default,
    Enumeration,
    Field,
    Form,
    Plain,
    Record,
    Row,
    Table,
    Tag,
    Type,
    Union,
)
from openapi.schema._outline_of_hints import Outlines

__all__ = [
    "EMPTY",
    "NO_DEFAULT",
    "Array",
    "ArrayKind",
    "Choice",
    "Default",
    "Enumeration",
    "Field",
    "Form",
    "Outlines",
    "Plain",
    "Record",
    "Row",
    "Table",
    "Tag",
    "Type",
    "Union",
]
