"""JSON Schemas: that they say what is accepted, no more and no less."""

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from openapi.errors import InvalidData
from openapi.schema import Schema

T = TypeVar("T")
Json = Any


class Colour(Enum):
    """What it looks like."""

    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


@dataclass
class Item:
    """Something on sale.

    In stock or not.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, pattern="^[a-z]*$", description="In English")]
    price: Annotated[float, msgspec.Meta(ge=0)]
    colour: Colour = Colour.RED


@dataclass
class Tree:
    value: int
    left: "Tree | None" = None
    more: list["Tree"] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    first_name: str | msgspec.UnsetType = msgspec.UNSET


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


class Up(msgspec.Struct, array_like=True, tag="up"):
    by: int


class Down(msgspec.Struct, array_like=True, tag="down"):
    by: int = 0


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Point(NamedTuple):
    x: int
    label: str = ""


Meta = msgspec.Meta

# What a type accepts, to be damaged: then the type and its schema have to agree again.
EXAMPLES: list[tuple[object, list[Json]]] = [
    (int, [0, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1]),
    (Annotated[int, Meta(gt=1, lt=5)], [2, 1, 4, 5]),
    (Annotated[int, Meta(ge=1, le=5, multiple_of=2)], [2, 0, 1, 5, 6]),
    (float, [1, 1.5, 10**20]),
    (bool, [True, 0]),
    (None, [None, 0]),
    (str, ["", "é"]),
    (Annotated[str, Meta(max_length=2)], ["éé", "abc"]),
    (Item, [{"name": "tea", "price": 1.5, "colour": "blue"}, {"name": "", "price": -1}]),
    (Tree, [{"value": 1, "left": {"value": 2}, "more": [{"value": 3}]}]),
    (Box[int], [{"content": 1}]),
    (Box[list[Item]], [{"content": [{"name": "a", "price": 1}]}]),
    (Strict, [{"firstName": "x"}, {"first_name": "x"}]),
    (Circle, [{"type": "Circle", "radius": 1}, {"radius": 1}]),
    (Circle | Square, [{"type": "Circle", "radius": 1}, {"type": "Square", "side": 1}]),
    (Circle | Square | None, [{"type": "Circle", "radius": 1}, {"side": 1}, None]),
    (Up | Down, [["up", 1], ["down"], ["down", 1, 2]]),
    (Movie, [{"title": "Alien", "year": 1979}, {"title": "Alien"}]),
    (Point, [[1], [1, "x"], [1, "x", 2]]),
    (Colour, ["red", "pink"]),
    (Size, [1, 3]),
    (Literal["a", 1, None], ["a", 1, None, 2]),
    (list[int], [[1, 2]]),
    (Annotated[list[int], Meta(min_length=1, max_length=2)], [[1], [1, 2], [1, 2, 3]]),
    (list[Any], [[1, "x"]]),
    (tuple[int, str], [[1, "x"]]),
    (tuple[()], [[]]),
    (tuple[int, ...], [[1, 2]]),
    (set[str], [["a", "b"], ["a", "a"]]),
    (dict[str, int], [{"a": 1}]),
    (dict[int, int], [{"1": 1, "-2": 2}, {"01": 1}, {"x": 1}]),
    (dict[Colour, int], [{"red": 1}, {"pink": 1}]),
    (dict[Literal["a", "b"], int], [{"a": 1}, {"c": 1}]),
    (dict[Annotated[str, Meta(max_length=1)], int], [{"a": 1}, {"bc": 1}]),
    (Annotated[dict[str, int], Meta(min_length=1)], [{"a": 1}, {}]),
    (Item | list[int] | str | None, [{"name": "a", "price": 1}, [1], "x", None]),
    (Any, [{"a": [1]}]),
    (dict[str, object], [{"a": [1]}]),
]

# Formats are remarks in JSON Schema: the strings themselves are not compared.
FORMATS: list[tuple[object, list[Json]]] = [
    (bytes, ["YWJj"]),
    (Annotated[bytes, Meta(min_length=2, max_length=3)], ["YWI=", "YWJj"]),
    (date, ["2026-01-02"]),
    (time, ["03:04:05"]),
    (datetime, ["2026-01-02T03:04:05Z"]),
    (timedelta, ["PT1S"]),
    (UUID, ["00000000-0000-0000-0000-000000000001"]),
    (Decimal, ["1.5", 1.5, 2]),
    (dict[UUID, int], [{"00000000-0000-0000-0000-000000000001": 1}]),
    (dict[Decimal, int], [{"1.5": 1}]),
]


def validator(hint: object) -> Draft202012Validator:
    defs: dict[str, Any] = {}
    document = Schema[object](hint).json_schema(defs, "#/$defs/{name}")
    whole = json.loads(json.dumps({**document, "$defs": defs}))
    Draft202012Validator.check_schema(whole)
    return Draft202012Validator(whole)


def accepts(hint: object, data: Json) -> bool:
    try:
        Schema[object](hint).decode(json.dumps(data))
    except InvalidData:
        return False
    return True


@pytest.mark.parametrize(("hint", "examples"), EXAMPLES, ids=lambda part: str(part)[:40])
def test_a_schema_accepts_what_the_type_accepts(hint: object, examples: list[Json]) -> None:
    valid = validator(hint).is_valid
    assert [valid(data) for data in examples] == [accepts(hint, data) for data in examples]
    assert valid(examples[0])


@pytest.mark.parametrize(("hint", "examples"), FORMATS, ids=lambda part: str(part)[:40])
def test_a_schema_accepts_what_has_a_format(hint: object, examples: list[Json]) -> None:
    valid = validator(hint).is_valid
    for data in examples:
        assert accepts(hint, data)
        assert valid(data)
    assert not valid(True)


def places(data: Json) -> list[list[Any]]:
    """The paths to everything in the data, the data itself first."""
    found: list[list[Any]] = [[]]
    parts: Iterable[tuple[Any, Json]] = ()
    if isinstance(data, dict):
        parts = data.items()
    elif isinstance(data, list):
        parts = enumerate(data)
    for key, item in parts:
        found += [[key, *path] for path in places(item)]
    return found


@st.composite
def damaged(draw: st.DrawFn) -> tuple[int, Json]:
    """A type, by its number, and data that nearly fits it."""
    number = draw(st.integers(0, len(EXAMPLES) - 1))
    data = copy.deepcopy(draw(st.sampled_from(EXAMPLES[number][1])))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(data)))
        other = draw(
            st.sampled_from([None, True, 0, 3, -1, 1.5, "", "x", "red", [], {}, [1], {"value": 1}])
        )
        if not path:
            data = draw(st.sampled_from([data, other]))
            if isinstance(data, dict):
                data = {**data, draw(st.sampled_from(["x", "type", "name", "value"])): other}
            elif isinstance(data, list):
                data = [*data, other]
            continue
        *way, last = path
        holder = data
        for step in way:
            holder = holder[step]
        if draw(st.booleans()):
            holder[last] = other
        elif isinstance(holder, dict):
            del holder[last]
    return number, data


VALIDATORS = [validator(hint) for hint, _ in EXAMPLES]


@given(damaged())
def test_a_schema_and_its_type_agree_on_damaged_data(case: tuple[int, Json]) -> None:
    number, data = case
    assert VALIDATORS[number].is_valid(data) is accepts(EXAMPLES[number][0], data)


def test_a_set_may_repeat_itself_on_the_way_in() -> None:
    hint = Annotated[set[str], Meta(min_length=1, max_length=1)]
    assert accepts(hint, ["a", "a"])
    assert validator(hint).is_valid(["a", "a"])
    assert not validator(hint).is_valid([])


def test_a_schema_is_readable() -> None:
    components: dict[str, Any] = {}
    assert Schema[object](Item).json_schema(components) == {"$ref": "#/components/schemas/Item"}
    assert components == {
        "Item": {
            "title": "Item",
            "description": "Something on sale.\n\nIn stock or not.",
            "type": "object",
            "properties": {
                "name": {
                    "type": "string",
                    "minLength": 1,
                    "pattern": "^[a-z]*$",
                    "description": "In English",
                },
                "price": {"type": "number", "minimum": 0},
                "colour": {"$ref": "#/components/schemas/Colour", "default": "red"},
            },
            "required": ["name", "price"],
            "additionalProperties": False,
        },
        "Colour": {
            "title": "Colour",
            "description": "What it looks like.",
            "enum": ["red", "blue"],
        },
    }


def test_defaults_are_shown_where_json_can_say_them() -> None:
    @dataclass
    class Defaults:
        a: list[int] = field(default_factory=list)
        b: date = date(2026, 1, 2)
        c: Any = object()
        d: list[int] = field(default_factory=lambda: [1])
        e: float = float("inf")
        f: int | None = None

    components: dict[str, Any] = {}
    Schema[object](Defaults).json_schema(components)
    properties = components["Defaults"]["properties"]
    defaults = {name: part["default"] for name, part in properties.items() if "default" in part}
    assert defaults == {"a": [], "b": "2026-01-02", "f": None}
    assert "required" not in components["Defaults"]
    assert "description" not in components["Defaults"]


def test_a_union_of_tagged_structs_says_what_tells_them_apart() -> None:
    components: dict[str, Any] = {}
    document = Schema[object](Circle | Square).json_schema(components)
    assert document["discriminator"] == {
        "propertyName": "type",
        "mapping": {
            "Circle": "#/components/schemas/Circle",
            "Square": "#/components/schemas/Square",
        },
    }
    assert components["Circle"]["properties"]["type"] == {"const": "Circle"}


def make(name: str, part: object) -> Any:
    return msgspec.defstruct(name, [("a", part)], module="shop.models")


def test_types_of_one_name_have_names_of_their_own() -> None:
    kinds = [make("Thing", part) for part in (int, str, float)]
    components: dict[str, Any] = {}
    refs = [Schema[object](kind).json_schema(components)["$ref"] for kind in [*kinds, *kinds]]
    names = [ref.rpartition("/")[2] for ref in refs]
    assert names == ["Thing", "shop.models.Thing", "shop.models.Thing_2"] * 2
    assert components["Thing"]["properties"]["a"]["type"] == "integer"
    assert components["shop.models.Thing"]["properties"]["a"]["type"] == "string"


def test_a_name_that_others_put_there_is_left_alone() -> None:
    components: dict[str, Any] = {"Thing": {"type": "string"}}
    assert Schema[object](make("Thing", int)).json_schema(components) == {
        "$ref": "#/components/schemas/shop.models.Thing"
    }
    assert components["Thing"] == {"type": "string"}


def test_generic_types_are_named_with_their_arguments() -> None:
    components: dict[str, Any] = {}
    for hint in (Box[int], Box[str], Box[int], Box[list[Item]]):
        Schema[object](hint).json_schema(components)
    assert set(components) == {"Box_int", "Box_str", "Box_list_Item", "Item", "Colour"}
    assert components["Box_int"]["title"] == "Box[int]"
    for name in components:
        assert name.replace("_", "").replace(".", "").isalnum()


def test_raw_data_may_be_anything() -> None:
    assert Schema[object](msgspec.Raw).json_schema({}) == {}
    assert Schema[object](list[msgspec.Raw]).json_schema({}) == {"type": "array"}
