"""Types as decoders and encoders. This file's own annotations are strings, as in many programs."""

from __future__ import annotations

import json
import re
import types
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import annotated_types
import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openapi.errors import DeclarationError, InvalidData, Unserializable
from openapi.schema import MAX_FAULTS, Schema, encode_json, hints_of, is_json

if TYPE_CHECKING:
    from fractions import Fraction as OnlyForTypeCheckers

T = TypeVar("T")
Json = Any
UserId = NewType("UserId", int)
Rating = Annotated[int, msgspec.Meta(ge=1, le=5)]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


@dataclass
class Item:
    name: str
    price: float
    colour: Colour = Colour.RED


UNCHECKED: Any = (1, "x")  # as from a program without a type checker


@dataclass
class Order:
    id: int
    items: list[Item]
    paid: bool
    rating: Rating | None = None
    note: Annotated[str, msgspec.Meta(max_length=5)] = ""


@dataclass
class Tree:
    value: int
    left: Tree | None = None
    right: Tree | None = None
    more: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T


class Closed(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    first_name: str
    last_name: str = ""


class Open(msgspec.Struct):
    a: int
    inner: Item | None = None


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


class Pair(msgspec.Struct, array_like=True):
    a: int
    b: int = 0


class Up(msgspec.Struct, array_like=True, tag="up"):
    by: int


class Down(msgspec.Struct, array_like=True, tag="down"):
    by: int


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Point(NamedTuple):
    x: int
    y: int
    label: str = ""


@attrs.define
class Even:
    number: int = attrs.field()

    @number.validator
    def _check(self, _: object, value: int) -> None:
        if value % 2:
            raise ValueError("Must be even")


@dataclass
class Span:
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise ValueError("start is after end")


class Shown(msgspec.Struct, array_like=True):
    at: int

    def __post_init__(self) -> None:
        if self.at < 0:
            raise ValueError("before the beginning")


def faults(hint: object, text: str | bytes | msgspec.Raw) -> dict[str, str]:
    """What the type says to JSON text."""
    with pytest.raises(InvalidData) as caught:
        Schema[object](hint).decode(text)
    return caught.value.errors


def faults_of(hint: object, data: object, *, lax: bool = False) -> dict[str, str]:
    """What the type says to builtins."""
    with pytest.raises(InvalidData) as caught:
        Schema[object](hint).convert(data, lax=lax)
    return caught.value.errors


ACCEPTED: list[tuple[object, Json, object]] = [
    (Item, {"name": "tea", "price": 1.5}, Item("tea", 1.5)),
    (Item, {"name": "tea", "price": 1}, Item("tea", 1.0)),
    (Item, {"name": "t", "price": 1, "colour": "blue"}, Item("t", 1.0, Colour.BLUE)),
    (Tree, {"value": 1, "left": {"value": 2}}, Tree(1, Tree(2))),
    (Tree, {"value": 1, "more": [{"value": 2}]}, Tree(1, more=[Tree(2)])),
    (Box[int], {"content": 1}, Box(1)),
    (Box[Item], {"content": {"name": "tea", "price": 1}}, Box(Item("tea", 1.0))),
    (Box, {"content": [1, "x"]}, Box([1, "x"])),
    (Closed, {"firstName": "Ada"}, Closed("Ada")),
    (Open, {"a": 1}, Open(1)),
    (Circle, {"type": "Circle", "radius": 1}, Circle(1.0)),
    (Circle, {"radius": 1}, Circle(1.0)),
    (Circle | Square, {"type": "Square", "side": 2}, Square(2.0)),
    (Pair, [1, 2], Pair(1, 2)),
    (Pair, [1], Pair(1)),
    (Up | Down, ["down", 3], Down(3)),
    (Movie, {"title": "Alien"}, {"title": "Alien"}),
    (Movie, {"title": "Alien", "year": 1979}, {"title": "Alien", "year": 1979}),
    (Point, [1, 2], Point(1, 2)),
    (Even, {"number": 2}, Even(2)),
    (Span, {"start": 1, "end": 2}, Span(1, 2)),
    (UserId, 3, 3),
    (int | str | None, "x", "x"),
    (int | float, 1.5, 1.5),
    (Order | list[int] | None, [1], [1]),
    (Literal["a", 1, None], 1, 1),
    (Size, 2, Size.LARGE),
    (Rating, 5, 5),
    (bytes, "YWJj", b"abc"),
    (date, "2026-01-02", date(2026, 1, 2)),
    (time, "03:04:05", time(3, 4, 5)),
    (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (timedelta, "PT1S", timedelta(seconds=1)),
    (UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
    (Decimal, "1.10", Decimal("1.10")),
    (list[int], [1, 2], [1, 2]),
    (tuple[int, str], [1, "x"], (1, "x")),
    (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
    (set[int], [1, 1], {1}),
    (frozenset[str], ["a"], frozenset("a")),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[int, int], {"1": 1}, {1: 1}),
    (dict[str, object], {"a": [1, None]}, {"a": [1, None]}),
    (dict, {"a": {"b": 1}}, {"a": {"b": 1}}),
    (Any, {"a": [1.5, "x", None, True]}, {"a": [1.5, "x", None, True]}),
    (Any | None, [1], [1]),
    (None, None, None),
    (float, 10**20, 1e20),
]


@pytest.mark.parametrize(("hint", "data", "value"), ACCEPTED, ids=lambda part: str(part)[:40])
def test_each_supported_type_is_decoded_converted_and_written_back(
    hint: object, data: Json, value: object
) -> None:
    schema = Schema[object](hint)
    text = json.dumps(data)
    for form in (text, text.encode(), msgspec.Raw(text.encode())):
        assert schema.decode(form) == value
    assert schema.convert(data) == value
    assert schema.decode(schema.encode(value)) == value
    assert schema.convert(schema.dump(value)) == value
    assert schema.hint is hint


REFUSED: list[tuple[object, Json, dict[str, str]]] = [
    (int, True, {"": "expected `int`, got `bool`"}),
    (float, True, {"": "expected `float`, got `bool`"}),
    (int, "1", {"": "expected `int`, got `str`"}),
    (int, 1.0, {"": "expected `int`, got `float`"}),
    (int, None, {"": "expected `int`, got `null`"}),
    (None, 1, {"": "expected `null`, got `int`"}),
    (Rating, 6, {"": "expected `int` <= 5"}),
    (Colour, "pink", {"": "expected one of `red`, `blue`"}),
    (Colour, 1, {"": "expected `str`, got `int`"}),
    (Colour | None, "pink", {"": "expected one of `red`, `blue`"}),
    (Literal["only"], "x" * 500, {"": "expected `only`"}),
    (Literal["only"] | None, 1, {"": "expected `str | null`, got `int`"}),
    (date, "today", {"": "invalid RFC3339 encoded date"}),
    (bytes, "%", {"": "invalid base64 encoded string"}),
    (UUID, "x", {"": "invalid UUID"}),
    (Item, [], {"": "expected `object`, got `array`"}),
    (Item, {"name": 1}, {"name": "expected `str`, got `int`", "price": "required"}),
    (Item, {"name": "", "price": 1, "x.y": 1}, {"x.y": "unknown field"}),
    (
        Order,
        {
            "id": "1",
            "items": [{"name": "tea", "price": 1}, {"price": "1", "size": 2}, 3],
            "paid": 1,
            "rating": 9,
            "note": "too long",
            "extra": {},
        },
        {
            "id": "expected `int`, got `str`",
            "items[1].name": "required",
            "items[1].price": "expected `float`, got `str`",
            "items[1].size": "unknown field",
            "items[2]": "expected `object`, got `int`",
            "paid": "expected `bool`, got `int`",
            "rating": "expected `int` <= 5",
            "note": "expected `str` of length <= 5",
            "extra": "unknown field",
        },
    ),
    (
        Tree,
        {"value": 1, "left": {"value": 2, "right": {"values": 3}}},
        {"left.right.value": "required", "left.right.values": "unknown field"},
    ),
    (Tree, {"value": 1, "more": [{"value": 2, "x": 1}]}, {"more[0].x": "unknown field"}),
    (Tree, {"value": 1, "left": 2}, {"left": "expected `object | null`, got `int`"}),
    (Box[int], {"content": "x"}, {"content": "expected `int`, got `str`"}),
    (Box[int], {"content": 1, "x": 1}, {"x": "unknown field"}),
    (Closed, {"first_name": ""}, {"firstName": "required", "first_name": "unknown field"}),
    (Open, {"a": 1, "b": 2}, {"b": "unknown field"}),
    (Open, {"a": 1, "inner": {"name": "", "price": 1, "b": 2}}, {"inner.b": "unknown field"}),
    (Circle, {"type": "Square", "radius": 1}, {"type": "expected `Circle`"}),
    (Circle | Square, {"radius": 1}, {"type": "required"}),
    (Circle | Square, {"type": "Line"}, {"type": "expected one of `Circle`, `Square`"}),
    (Circle | Square, {"type": "Square"}, {"side": "required"}),
    (Circle | Square, 1, {"": "expected `object`, got `int`"}),
    (Circle | Square, [], {"": "expected `object`, got `array`"}),
    (Circle | None, {"type": "Circle", "r": 1}, {"radius": "required", "r": "unknown field"}),
    (Circle | Square, {"type": "Square", "side": 1, "x": 1}, {"x": "unknown field"}),
    (Pair, [1, 2, 3], {"": "expected `array` of length 1 to 2"}),
    (Pair, {}, {"": "expected `array`, got `object`"}),
    (Pair, ["x", None], {"[0]": "expected `int`, got `str`", "[1]": "expected `int`, got `null`"}),
    (Up | Down, ["left", 1], {"[0]": "expected one of `up`, `down`"}),
    (Up | Down, [], {"[0]": "required"}),
    (Up | Down, ["up", "x"], {"[1]": "expected `int`, got `str`"}),
    (Up | Down, {}, {"": "expected `array`, got `object`"}),
    (Up | Down, "up", {"": "expected `array`, got `str`"}),
    (
        Movie,
        {"year": "x", "z": 1},
        {"title": "required", "year": "expected `int`, got `str`", "z": "unknown field"},
    ),
    (Point, [1], {"": "expected `array` of length 2 to 3"}),
    (tuple[int, str], [1], {"": "expected `array` of length 2"}),
    (tuple[int, Item], [1, {"name": "", "price": 1, "x": 1}], {"[1].x": "unknown field"}),
    (Even, {"number": 3}, {"": "must be even"}),
    (Even, {"number": "3"}, {"number": "expected `int`, got `str`"}),
    (
        list[Span],
        [{"start": 2, "end": 1}, {"start": 1, "end": 2}, {"start": 3, "end": 1}],
        {"[0]": "start is after end", "[2]": "start is after end"},
    ),
    (
        list[Shown],
        [[1], [-1], ["x"], [-1]],
        {
            "[1]": "before the beginning",
            "[2][0]": "expected `int`, got `str`",
            "[3]": "before the beginning",
        },
    ),
    (list[int], {}, {"": "expected `array`, got `object`"}),
    (list[Item], [{"name": "", "price": 1, "x": 1}], {"[0].x": "unknown field"}),
    (Annotated[list[int], msgspec.Meta(min_length=1)], [], {"": "expected `array` of length >= 1"}),
    (set, [[1]], {"": "items of a set must be plain values"}),
    (dict[str, int], [], {"": "expected `object`, got `array`"}),
    (dict[str, Item], {"a": {"name": "", "price": 1, "x": 1}}, {"a.x": "unknown field"}),
    (
        dict[int, int],
        {"x": "y", "1": 1},
        {"x": "expected `int`, got `str`"},
    ),
    (dict[int, int], {"x": 1}, {"x": "as a name: expected `int`, got `str`"}),
    (Order | list[int] | None, ["x"], {"[0]": "expected `int`, got `str`"}),
    (Order | list[int] | None, "x", {"": "expected `object | array | null`, got `str`"}),
    (Item, {"name": "", "price": 1, "k" * 500: 1}, {"k" * 64 + "…": "unknown field"}),
]


@pytest.mark.parametrize(("hint", "data", "errors"), REFUSED, ids=lambda part: str(part)[:40])
def test_a_refusal_names_every_faulty_field(
    hint: object, data: Json, errors: dict[str, str]
) -> None:
    assert faults(hint, json.dumps(data)) == errors
    assert faults_of(hint, data) == errors


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", "NaN", '{"a":1}x', '"\ud800"', b'"\xff"', b"\xff", msgspec.Raw(b"{")]
)
@pytest.mark.parametrize("hint", [Order, Any, dict, Closed])
def test_what_is_no_json_is_refused_as_such(hint: object, text: Json) -> None:
    assert faults(hint, text) == {"": "JSON string expected"}


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Any, "[" * 100_000),
        (Order, "[" * 100_000),
        (Tree, '{"value":1,"left":' * 100_000),
        (Tree, '{"value":1,"left":' * 900 + '{"value":1}' + "}" * 900),
    ],
    ids=["any", "wrong", "endless", "recursive"],
)
def test_data_that_is_nested_too_deeply_is_refused(hint: object, text: str) -> None:
    assert faults(hint, text) == {"": "nested too deeply"}


def test_builtins_that_are_nested_too_deeply_are_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert faults_of(Any, endless) == {"": "nested too deeply"}


def test_a_value_that_is_nested_too_deeply_is_not_sent() -> None:
    tree = Tree(0)
    for _ in range(900):
        tree = Tree(0, tree)
    with pytest.raises(InvalidData, match="nested too deeply"):
        Schema[Tree](Tree).encode(tree)


def test_a_set_has_its_length_without_what_is_repeated() -> None:
    hint = dict[str, Annotated[set[int], msgspec.Meta(min_length=2)]]
    assert faults(hint, '{"a":[1,1]}') == {"[...]": "expected `array` of length >= 2"}


def test_a_refusal_has_a_bounded_length() -> None:
    errors = faults(list[int], json.dumps(["x"] * 10_000))
    assert len(errors) == MAX_FAULTS + 1
    assert errors[""] == f"there are more than {MAX_FAULTS} faulty fields"
    assert len(faults(list[int], json.dumps(["x"] * MAX_FAULTS))) == MAX_FAULTS
    (text,) = faults_of(Even, {"number": 10**15 + 1}).values()
    assert text == "must be even"


@dataclass
class Talkative:
    a: int

    def __post_init__(self) -> None:
        raise ValueError("No " * 500)


def test_a_long_text_of_the_application_is_cut() -> None:
    assert len(faults(Talkative, '{"a":1}')[""]) == 201


# Integers

LOWEST, HIGHEST = -(2**63), 2**64 - 1


@pytest.mark.parametrize("number", [LOWEST, HIGHEST, 0, 10**18])
def test_integers_of_64_bits_are_accepted(number: int) -> None:
    assert Schema[int](int).decode(str(number)) == number
    assert Schema[object](Any).decode(f'{{"a":{number}}}') == {"a": number}
    assert Schema[object](int).convert(str(number), lax=True) == number


@pytest.mark.parametrize("number", [LOWEST - 1, HIGHEST + 1, 10**399, -(10**399)])
def test_longer_integers_are_refused_wherever_they_are(number: int) -> None:
    refusal = "integer out of range"
    assert faults(int, str(number)) == {"": refusal}
    assert faults(int | None, str(number)) == {"": refusal}
    assert faults(Annotated[int, msgspec.Meta(multiple_of=1)], str(number)) == {"": refusal}
    assert faults(Any, f'{{"a":[1,{{"b":{number}}}]}}') == {"a[1].b": refusal}
    assert faults(dict, f'{{"a":{number},"b":{number}}}') == {"a": refusal, "b": refusal}
    assert faults(dict[int, None], f'{{"{number}":null}}') == {
        f"{number}"[:64] + "…" * (len(str(number)) > 64): refusal
    }
    assert faults(Tree, f'{{"value":1,"left":{{"value":{number}}}}}') == {"left.value": refusal}
    assert faults(Movie, f'{{"title":"","year":{number}}}') == {"year": refusal}
    assert faults_of(Any, [number]) == {"[0]": refusal}
    assert faults_of(int, str(number), lax=True) == {"": refusal}
    assert faults_of(int, "9" * 5000, lax=True) == {"": refusal}


def test_an_integer_of_thousands_of_digits_is_named_among_the_other_faults() -> None:
    text = f'{{"value":{"9" * 5000},"left":{{"value":"x"}},"more":[{{"value":-{"1" * 9999}}}]}}'
    assert faults(Tree, text) == {
        "value": "integer out of range",
        "left.value": "expected `int`, got `str`",
        "more[0].value": "integer out of range",
    }
    assert faults(Any, f"[{'9' * 5000}]") == {"[0]": "integer out of range"}


def test_a_float_beyond_what_a_float_can_be_is_refused() -> None:
    assert faults(float, "1e999") == {"": "number out of range"}
    assert faults(float, "9" * 5000) == {"": "number out of range"}
    assert faults_of(float, float("nan")) == {"": "expected a finite number"}
    assert faults_of(Any, [float("inf")]) == {"[0]": "expected a finite number"}
    assert faults_of(float, "inf", lax=True) == {"": "expected a finite number"}


def test_bounded_integers_are_refused_by_their_bounds() -> None:
    for hint in (Rating, Annotated[int, msgspec.Meta(gt=0, lt=2**60)]):
        assert "expected `int` <" in faults(hint, "9" * 30)[""]
        assert Schema[int](hint).decode("3") == 3


def test_what_only_looks_like_a_long_integer_is_accepted() -> None:
    number = "12345678901234567890123"
    schema = Schema[object](Any)
    assert schema.decode(f'["{number}"]') == [number]
    assert schema.decode(f"[0.{number}]") == [float(f"0.{number}")]
    assert Schema[float](float).decode(number) == float(number)
    assert Schema[Decimal](Decimal).decode(number) == Decimal(number)


def out_of_range(data: object, path: str = "") -> set[str]:
    """The paths of long integers, the plain way."""
    if isinstance(data, dict):
        parts = [
            out_of_range(item, f"{path}.{name}" if path else name) for name, item in data.items()
        ]
        return set().union(*parts)
    if isinstance(data, list):
        return set().union(*(out_of_range(item, f"{path}[{i}]") for i, item in enumerate(data)))
    return {path} if isinstance(data, int) and not LOWEST <= data <= HIGHEST else set()


@given(
    st.recursive(
        st.one_of(
            st.integers(-(10**25), 10**25),
            st.integers(LOWEST - 2, LOWEST + 2),
            st.integers(HIGHEST - 2, HIGHEST + 2),
            st.text("0123456789é. ", max_size=30),
            st.floats(allow_nan=False, allow_infinity=False),
            st.none(),
        ),
        lambda part: st.lists(part) | st.dictionaries(st.text("ab1", min_size=1), part),
        max_leaves=8,
    ),
    st.sampled_from(["", " " * 7, "x" * 2000]),
)
def test_no_long_integer_gets_through_and_nothing_else_is_refused(data: Json, padding: str) -> None:
    data = [padding, data]
    for text in (json.dumps(data), json.dumps(data, ensure_ascii=False, separators=(",", ":"))):
        try:
            assert Schema[object](Any).decode(text) == data
            assert Schema[object](Any).decode(text.encode()) == data
            refused = set()
        except InvalidData as error:
            refused = set(error.errors)
        assert refused == out_of_range(data)


# All faults at once

PARTS: dict[str, tuple[Json, Json]] = {
    "id": (1, "1"),
    "items": ([], {}),
    "paid": (True, 1),
    "rating": (None, 7),
    "note": ("ok", "too long"),
    "unknown": (None, 1),
}


@given(st.sets(st.sampled_from(sorted(PARTS))))
def test_exactly_the_faulty_fields_are_named(wrong: set[str]) -> None:
    data = {name: part[name in wrong] for name, part in PARTS.items()}
    if "unknown" not in wrong:
        del data["unknown"]
    if wrong:
        assert set(faults(Order, json.dumps(data))) == wrong
    else:
        assert Schema[Order](Order).decode(json.dumps(data)) == Order(1, [], True, None, "ok")


@settings(max_examples=20)
@given(st.sets(st.integers(0, 299), max_size=20))
def test_the_faults_of_a_long_array_are_all_found(wrong: set[int]) -> None:
    def damage(good: Json, bad: Json) -> list[Json]:
        return [bad if index in wrong else good for index in range(300)]

    cases: list[tuple[object, Json, Json, str]] = [
        (int, 1, "x", ""),
        (int, 1, 2**64, ""),
        (float, 1, True, ""),
        (Box[int], {"content": 1}, {"content": 1, "x": 1}, ".x"),
        (Box[Any], {"content": 1}, {"content": [2**64]}, ".content[0]"),
        (Span, {"start": 1, "end": 1}, {"start": 2, "end": 1}, ""),
        (Circle | None, None, {"radius": 1, "x": 1}, ".x"),
        (Tree, {"value": 1}, {"value": 1, "more": [1]}, ".more[0]"),
    ]
    for hint, good, bad, below in cases:
        data = damage(good, bad)
        table = dict(zip(map(str, range(300)), data, strict=True))
        if not wrong:
            Schema[object](list[hint]).convert(data)  # type: ignore[valid-type]
            continue
        in_list = faults_of(list[hint], data)  # type: ignore[valid-type]
        assert set(in_list) == {f"[{index}]{below}" for index in wrong}
        in_table = faults_of(dict[int, hint], table)  # type: ignore[valid-type]
        assert set(in_table) == {f"{index}{below}" for index in wrong}


# Query strings and path variables


@dataclass
class Query:
    limit: int = 10
    ratio: float = 0.5
    full: bool = False
    since: date | None = None
    tags: list[str] = field(default_factory=list)
    ids: set[int] | None = None
    kind: Literal["a", "b"] = "a"
    either: str | list[str] = ""


def test_strings_of_a_query_become_what_their_fields_are() -> None:
    data = {
        "limit": "20",
        "ratio": "1.5",
        "full": "true",
        "since": "2026-01-02",
        "tags": "x",
        "ids": ["1", "2"],
        "kind": "b",
        "either": "y",
    }
    assert Schema[Query](Query).convert(data, lax=True) == Query(
        20, 1.5, True, date(2026, 1, 2), ["x"], {1, 2}, "b", "y"
    )


def test_a_lone_string_is_the_only_item_of_a_list_wherever_the_list_is() -> None:
    def lax(hint: object, data: object) -> object:
        return Schema[object](hint).convert(data, lax=True)

    assert lax(list[int], "1") == [1]
    assert lax(list[list[int]], [["1"], "2"]) == [[1], [2]]
    assert lax(dict[str, list[int]], {"a": "1"}) == {"a": [1]}
    assert lax(tuple[list[int], int], ["1", "2"]) == ([1], 2)
    assert lax(list[int] | None, "1") == [1]
    assert lax(list[int] | None, "null") is None
    assert lax(list[int] | Query | None, {"tags": "x"}) == Query(tags=["x"])
    assert lax(Up | Down, ["up", "3"]) == Up(3)
    assert lax(int | None, "1") == 1
    assert lax(str, "1") == "1"


def test_a_wrong_query_names_every_faulty_field() -> None:
    data = {"limit": "x", "full": "maybe", "ids": "y", "page": "1"}
    assert faults_of(Query, data, lax=True) == {
        "limit": "expected `int`, got `str`",
        "full": "expected `bool`, got `str`",
        "ids[0]": "expected `int`, got `str`",
        "page": "unknown field",
    }
    assert faults_of(Query, "x", lax=True) == {"": "expected `object`, got `str`"}
    assert faults_of(dict[str, int], "x", lax=True) == {"": "expected `object`, got `str`"}
    assert faults_of(list[int], 1, lax=True) == {"": "expected `array`, got `int`"}
    assert faults_of(Pair, "x", lax=True) == {"": "expected `array`, got `str`"}
    assert faults_of(Pair, ["1", "2", "3"], lax=True) == {"": "expected `array` of length 1 to 2"}
    assert faults_of(Up | Down, ["left"], lax=True) == {"[0]": "expected one of `up`, `down`"}


# The way out


def test_a_dictionary_is_as_good_as_an_instance() -> None:
    schema = Schema[Item](Item)
    sent = b'{"name":"tea","price":1,"colour":"red"}'
    assert schema.encode({"name": "tea", "price": 1}) == sent
    assert schema.encode(Item("tea", 1)) == sent
    assert schema.dump(Item("tea", 1)) == {"name": "tea", "price": 1, "colour": "red"}


@pytest.mark.parametrize(
    ("hint", "value", "sent"),
    [
        (Item, {"name": "", "price": 1, "secret": 2}, {"name": "", "price": 1, "colour": "red"}),
        (Closed, {"firstName": "", "secret": 2}, {"firstName": "", "lastName": ""}),
        (
            Open,
            {"a": 1, "inner": {"name": "", "price": 1, "b": 2}},
            {"a": 1, "inner": {"name": "", "price": 1, "colour": "red"}},
        ),
        (
            list[Item],
            [{"name": "", "price": 1, "b": 2}],
            [{"name": "", "price": 1, "colour": "red"}],
        ),
        (dict[str, Movie], {"a": {"title": "", "b": 2}}, {"a": {"title": ""}}),
        (Circle | Square, {"type": "Square", "side": 1, "b": 2}, {"type": "Square", "side": 1}),
        (tuple[Movie, int], [{"title": "", "b": 2}, 1], [{"title": ""}, 1]),
        (Pair, [1, 2, 3], [1, 2]),
        (Order | list[Movie] | None, [{"title": "", "b": 2}], [{"title": ""}]),
        (dict, {"kept": [1]}, {"kept": [1]}),
    ],
    ids=lambda part: str(part)[:40],
)
def test_what_the_type_does_not_have_is_not_sent(hint: object, value: Json, sent: Json) -> None:
    schema = Schema[object](hint)
    assert json.loads(schema.encode(value)) == sent
    assert schema.dump(value) == sent
    schema.decode(schema.encode(value))


def test_attributes_that_are_no_fields_are_not_sent() -> None:
    item = Item("tea", 1)
    item.__dict__["cache"] = 1
    assert Schema[Item](Item).dump(item) == {"name": "tea", "price": 1, "colour": "red"}


@pytest.mark.parametrize(
    ("hint", "value", "errors"),
    [
        (
            Item,
            Item(*UNCHECKED),
            {
                "name": "expected `str`, got `int`",
                "price": "expected `float`, got `str`",
            },
        ),
        (Item, Item("", float("nan")), {"price": "expected `float`, got `null`"}),
        (Item, {"extra": 1}, {"name": "required", "price": "required"}),
        (Item, [], {"": "expected `object`, got `array`"}),
        (list[Item], 1, {"": "expected `array`, got `int`"}),
        (dict[str, Item], 1, {"": "expected `object`, got `int`"}),
        (tuple[int, int], 1, {"": "expected `array`, got `int`"}),
        (Circle | Square, {"type": "x"}, {"type": "expected one of `Circle`, `Square`"}),
        (int, 2**64, {"": "integer out of range"}),
        (Any, [10**400], {"[0]": "integer out of range"}),
    ],
    ids=lambda part: str(part)[:40],
)
def test_what_does_not_fit_is_not_sent(hint: object, value: object, errors: dict[str, str]) -> None:
    with pytest.raises(InvalidData) as caught:
        Schema[object](hint).encode(value)
    assert caught.value.errors == errors


@given(
    st.builds(
        Order,
        id=st.integers(LOWEST, HIGHEST),
        items=st.lists(
            st.builds(
                Item,
                name=st.text(),
                price=st.floats(allow_nan=False, allow_infinity=False),
                colour=st.sampled_from(Colour),
            )
        ),
        paid=st.booleans(),
        rating=st.none() | st.integers(1, 5),
        note=st.text(max_size=5),
    )
)
def test_what_is_sent_is_what_is_received(order: Order) -> None:
    schema = Schema[Order](Order)
    assert schema.decode(schema.encode(order)) == order
    assert schema.convert(schema.dump(order)) == order


# Any value as JSON


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


class Plain(StrEnum):
    A = "a"


class Odd(Enum):
    A = 1.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, '{"a":[1,2.5,null,true,"é"]}'),
        ([float("nan"), float("inf"), -float("inf")], "[null,null,null]"),
        ([Text("t"), Number(3), Real(1.5), Plain.A, Odd.A], '["t",3,1.5,"a",1.5]'),
        ({Text("t"): 1, Plain.A: 2, 3: 4}, '{"t":1,"a":2,"3":4}'),
        (types.MappingProxyType({"a": 1}), '{"a":1}'),
        (OrderedDict(a=1), '{"a":1}'),
        ((Item("tea", 1.0), Open(1), Point(1, 2), Even(2)), None),
        ([date(2026, 1, 2), UUID(int=1), Decimal("1.5"), b"abc", {1}], None),
    ],
    ids=str,
)
def test_any_value_with_a_json_form_is_written(value: object, text: str | None) -> None:
    data = encode_json(value)
    assert json.loads(data) is not None
    assert text is None or data.decode() == text


def test_a_value_without_a_json_form_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    for value, text in [
        (object(), "`object` has no JSON form"),
        ([Item], "`type` has no JSON form"),
        ({(1, 2): 3}, "`tuple` has no JSON form"),
        ("\ud800", "surrogates not allowed"),
        (endless, "nested too deeply, or contains itself"),
    ]:
        with pytest.raises(Unserializable, match=re.escape(text)):
            encode_json(value)
    with pytest.raises(Unserializable):
        Schema[object](Any).encode(object())


@pytest.mark.parametrize("text", [b"{bad", b"\xff", b"1e999", b"9" * 400])
def test_raw_text_that_is_no_json_is_not_sent(text: bytes) -> None:
    with pytest.raises(InvalidData):
        Schema[object](Any).encode([msgspec.Raw(text)])


# Declarations


class NoSchema:
    pass


@dataclass
class Parent:
    children: list[dict[str, NoSchema]]


@dataclass
class Unresolved:
    part: OnlyForTypeCheckers


@dataclass
class Computed:
    a: int
    total: int = field(init=False)


@dataclass
class Foreign:
    a: dict[str, Annotated[int, annotated_types.Gt(3)]]


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (NoSchema, "NoSchema: `NoSchema` is not supported; take a dataclass, a msgspec.Struct"),
        (list[NoSchema], "list[tests.test_schema.NoSchema][]: `NoSchema` is not supported"),
        (tuple[int, complex], "tuple[int, complex][1]: `complex` is not supported"),
        (Parent, "Parent.children[][]: `NoSchema` is not supported"),
        (Box[NoSchema], "Box[tests.test_schema.NoSchema].content: `NoSchema` is not supported"),
        (Unresolved, "Unresolved: an annotation cannot be resolved"),
        (Computed, "Computed.total: a field with init=False needs a default to be decoded"),
        (Foreign, "Foreign.a: Gt would not be checked; use msgspec.Meta"),
        (Annotated[int, annotated_types.Lt(3)], "Lt would not be checked; use msgspec.Meta"),
        (Item | Order, "more than one dataclass"),
        ("Item", "Type ''Item'' is not supported"),
        (memoryview, "memoryview: MemoryViewType is not supported"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_an_unsupported_type_is_refused_when_it_is_declared(hint: object, text: str) -> None:
    with pytest.raises(DeclarationError, match=re.escape(text)):
        Schema[object](hint)


@pytest.mark.parametrize(
    ("hint", "is_object"),
    [
        (Item, True),
        (Closed, True),
        (Movie, True),
        (Even, True),
        (dict, True),
        (dict[str, int], True),
        (Circle | Square, True),
        (Item | None, False),
        (Pair, False),
        (Point, False),
        (list[Item], False),
        (Any, False),
        (None, False),
    ],
)
def test_a_schema_knows_whether_its_values_are_objects(hint: object, is_object: bool) -> None:
    assert Schema[object](hint).is_object is is_object


def test_hints_are_resolved_though_they_are_strings() -> None:
    async def method(self: Any, payload: Annotated[Order, "x"], *, other: Tree | None) -> int:
        raise NotImplementedError

    assert method.__annotations__["payload"] == "Annotated[Order, 'x']"
    assert hints_of(method) == {
        "self": Any,
        "payload": Annotated[Order, "x"],
        "other": Tree | None,
        "return": int,
    }
    assert hints_of(lambda: None) == {}


def test_a_hint_that_cannot_be_resolved_names_the_function() -> None:
    def method(payload: OnlyForTypeCheckers) -> None:
        raise NotImplementedError

    with pytest.raises(DeclarationError, match=r"method: an annotation cannot be resolved .*Only"):
        hints_of(method)


def test_the_schema_of_a_hint_is_made_once() -> None:
    assert Schema.of(list[int]) is Schema.of(list[int])
    schema: Schema[int] = Schema(int)
    assert Schema.of(schema) is schema
    assert Schema.of(Annotated[int, []]).decode(b"1") == 1


def test_the_schemas_that_are_kept_are_bounded() -> None:
    first = Schema.of(Literal["first"])
    for n in range(600):
        Schema.of(Literal[f"{n}"])
    assert Schema.of(Literal["first"]) is not first


def test_a_hint_that_is_no_type_is_built_and_refused_once() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  # that is what makes it so

    for hint in (complex, Unhashable()):
        with pytest.raises(DeclarationError) as caught:
            Schema.of(hint)
        assert not isinstance(caught.value.__context__, DeclarationError)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (b"{}", True),
        ("1", True),
        (b"9" * 400, True),
        (b"[" * 5 + b"]" * 5, True),
        (b"", False),
        (b"{", False),
        (b'"\xff"', False),
        ("NaN", False),
        (b"[" * 100_000 + b"]" * 100_000, False),
    ],
)
def test_what_can_be_read_as_json_is_told_from_what_cannot(text: bytes | str, known: bool) -> None:
    assert is_json(text) is known
