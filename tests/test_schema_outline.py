"""Outlines of types: what they say that a JSON Schema does not."""

import datetime as dt
import enum
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel

from openapi.schema.outline import (
    EMPTY,
    NO_DEFAULT,
    Array,
    ArrayKind,
    Choice,
    Enumeration,
    Form,
    Outlines,
    Plain,
    Record,
    Row,
    Table,
    Tag,
    Type,
    Union,
)
from openapi.schema.outline import Field as OutlineField

T = TypeVar("T")


class Colour(enum.Enum):
    """What it looks like."""

    RED = "red"
    CRIMSON = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1


class Grade(enum.StrEnum):
    A = "a"


@dataclass
class Item:
    """Something on sale."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    price: Decimal = Decimal(1)
    colour: Colour = Colour.BLUE
    tags: list[str] = field(default_factory=list)
    made: dt.datetime = field(default_factory=dt.datetime.now)
    note: str | None = None
    seal: bytes = b""
    row: tuple[int, ...] = ()


@dataclass
class Tree:
    value: "Tree | None" = None


@dataclass
class Box(Generic[T]):
    content: T


class Circle(msgspec.Struct, tag="circle", rename="camel", omit_defaults=True):
    inner_radius: float = 0.5
    unset: int | msgspec.UnsetType = msgspec.UNSET


class Up(msgspec.Struct, array_like=True):
    by: int


class Point(NamedTuple):
    x: int
    y: int = 0


class Opening(TypedDict):
    day: dt.date
    note: NotRequired[str]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tags: list[str] = []
    born: dt.datetime = dt.datetime(2020, 1, 1)


class Lion(BaseModel):
    sort: Literal["lion"]


class Numbers(RootModel[list[int]]):
    """A model without fields."""


class Endless(RootModel[list["Endless"]]):
    """It is a list of itself."""


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Ignoring(BaseModel):
    model_config = ConfigDict(extra="ignore")
    a: int


class Owner(BaseModel):
    """Who has a pet."""

    name: str = Field(alias="fullName")
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    spouse: "Owner | None" = None
    same: Cat


class Everything(BaseModel):
    a: Cat | Dog
    b: Cat | Lion
    c: str | dt.datetime
    d: list[int] | tuple[int, str]
    e: Literal["a"] | Literal["b"] | None
    f: Literal[1, "a"] | str
    g: Literal[1, True, "a", 0.5]  # type: ignore[valid-type] # 0.5: PEP 586 allows no floats
    h: Literal[1] | int
    i: dict[str, int]
    j: dict[str, Any]
    k: set[UUID]
    row: tuple[int, str]
    m: Any
    n: Any | None
    o: Decimal
    p: bool | None
    q: dt.date | dt.time
    r: Colour = Colour.RED
    s: bytes
    t: dict[str, int] | Cat
    u: Literal[1, "a"] | None
    v: dt.timedelta
    w: Literal[True]
    x: list[Any]
    y: Literal[1, None, "a"] | Literal[2, "b"]
    z: Annotated[int, Field(json_schema_extra={"type": ["integer", "string"]})]


def of(hint: object) -> Type:
    return Outlines().of(hint)


def record(hint: object) -> Record:
    outline = of(hint)
    assert isinstance(outline, Record)
    return outline


def fields(outline: Record) -> dict[str, OutlineField]:
    return {each.name: each for each in outline.fields}


@pytest.mark.parametrize(
    ("hint", "outline"),
    [
        (None, Plain.NONE),
        (bool, Plain.BOOL),
        (Annotated[int, msgspec.Meta(ge=0, description="many")], Plain.INT),
        (float, Plain.FLOAT),
        (str, Plain.STR),
        (bytes, Plain.BYTES),
        (bytearray, Plain.BYTES),
        (dt.datetime, Plain.DATETIME),
        (dt.date, Plain.DATE),
        (dt.time, Plain.TIME),
        (dt.timedelta, Plain.TIMEDELTA),
        (UUID, Plain.UUID),
        (Decimal, Plain.DECIMAL),
        (Any, Plain.ANYTHING),
        (object, Plain.ANYTHING),
        (msgspec.Raw, Plain.ANYTHING),
        (int | Any, Plain.ANYTHING),
        (int | None, Union((Plain.INT, Plain.NONE))),
        (Literal["b", "a", None], Choice(("a", "b", None))),
        (list[int], Array(Plain.INT)),
        (tuple[int, ...], Array(Plain.INT, ArrayKind.TUPLE)),
        (set[int], Array(Plain.INT, ArrayKind.SET)),
        (frozenset[int], Array(Plain.INT, ArrayKind.FROZENSET)),
        (tuple[int, str], Row((Plain.INT, Plain.STR))),
        (dict[int, list[str]], Table(Plain.INT, Array(Plain.STR))),
    ],
    ids=str,
)
def test_what_has_no_name_is_what_it_is(hint: object, outline: Type) -> None:
    found = of(hint)
    if isinstance(outline, Choice):
        assert isinstance(found, Choice)
        assert set(found.values) == set(outline.values)
    elif isinstance(outline, Union):
        assert isinstance(found, Union)
        assert set(found.members) == set(outline.members)
    else:
        assert found == outline


@pytest.mark.parametrize(
    ("cls", "base"), [(Colour, Plain.ANYTHING), (Size, Plain.INT), (Grade, Plain.STR)]
)
def test_an_enumeration_has_its_members_once(cls: type[enum.Enum], base: Plain) -> None:
    outline = of(cls)
    assert isinstance(outline, Enumeration)
    assert outline.name == (*__name__.split("."), cls.__name__)
    assert outline.members == tuple((member.name, member.value) for member in cls)
    assert (outline.base, outline.doc) == (base, cls.__doc__ if cls is Colour else "")


def test_a_field_says_who_has_to_give_it_and_what_it_is_otherwise() -> None:
    outline = record(Item)
    assert (outline.name[-1], outline.doc, outline.form) == (
        "Item",
        "Something on sale.",
        Form.OBJECT,
    )
    found = fields(outline)
    assert (found["name"].required, found["name"].type) == (True, Plain.STR)
    assert all(each.sent for each in outline.fields)
    assert {name: each.default for name, each in found.items() if not each.required} == {
        "price": NO_DEFAULT,
        "colour": "blue",
        "tags": EMPTY,
        "made": NO_DEFAULT,
        "note": None,
        "seal": EMPTY,
        "row": EMPTY,
    }


def test_a_struct_says_what_it_omits_and_how_it_names_things() -> None:
    outline = record(Circle)
    assert outline.tag == Tag("type", "circle")
    radius, unset = outline.fields
    assert (radius.name, radius.label, radius.default) == ("innerRadius", "inner_radius", 0.5)
    assert (radius.required, radius.sent) == (False, False)
    assert (unset.required, unset.sent, unset.type) == (False, False, Plain.INT)
    assert unset.default is NO_DEFAULT


def test_the_form_of_a_record_is_that_of_its_class() -> None:
    forms = {Up: Form.ARRAY, Point: Form.TUPLE, Opening: Form.DICT, Tree: Form.OBJECT}
    for cls, form in forms.items():
        assert record(cls).form is form
    note = fields(record(Opening))["note"]
    assert (note.required, note.sent) == (False, False)


def test_of_one_class_there_is_one_outline_which_may_contain_itself() -> None:
    outlines = Outlines()
    tree = outlines.of(Tree)
    assert isinstance(tree, Record)
    assert tree.fields[0].type == Union((tree, Plain.NONE))
    assert outlines.of(list[Tree]) == Array(tree)
    assert outlines.of(Colour) is outlines.of(Colour)
    assert outlines.of(Owner) is outlines.of(Owner)


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (Box[int], "BoxOfInt"),
        (Box, "Box"),
        (Box[list[Item]], "BoxOfListOfItem"),
        (Box[dict[str, int | None]], "BoxOfDictOfStrAndIntOrNone"),
        (Box[Annotated[int, msgspec.Meta(ge=0)]], "BoxOfInt"),
        (Box[Literal["a"]], "BoxOfLiteral"),
        (Box[tuple[int, ...]], "BoxOfTupleOfIntAndAny"),
    ],
    ids=str,
)
def test_a_generic_class_has_its_arguments_in_its_name(hint: object, name: str) -> None:
    assert record(hint).name == (*__name__.split("."), name)


class Page(BaseModel, Generic[T]):
    items: list[T]


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (Page[int], "PageOfInt"),
        (Page[Page[dict[str, Cat]]], "PageOfPageOfDictOfStrAndCat"),
        (Page[int | None], "PageOfUnionOfIntAndNoneType"),
    ],
)
def test_a_generic_model_has_them_too(hint: object, name: str) -> None:
    assert record(hint).name[-1] == name


def test_a_class_in_another_is_named_by_both() -> None:
    @dataclass
    class Inner:
        pass

    name = ("test_a_class_in_another_is_named_by_both", "Inner")
    assert record(Inner).name[-2:] == name


# ---- pydantic


def test_a_model_has_the_fields_of_its_data() -> None:
    outline = record(Owner)
    assert (outline.name[-1], outline.doc, outline.form) == ("Owner", "Who has a pet.", Form.OBJECT)
    found = fields(outline)
    assert list(found) == ["fullName", "pet", "spouse", "same"]
    assert (found["fullName"].required, found["fullName"].label) == (True, "fullName")
    assert found["spouse"].type == Union((outline, Plain.NONE))
    assert (found["spouse"].required, found["spouse"].default) == (False, None)
    assert found["spouse"].sent


def test_models_that_a_field_tells_apart_have_tags() -> None:
    found = fields(record(Owner))
    union = found["pet"].type
    assert isinstance(union, Union)
    cat, dog = union.members
    assert isinstance(cat, Record)
    assert isinstance(dog, Record)
    assert (cat.tag, dog.tag) == (Tag("kind", "cat"), Tag("kind", "dog"))
    assert [each.name for each in cat.fields] == ["lives"]
    assert fields(dog)["tags"].default is EMPTY
    assert found["same"].type is cat
    alone = record(Cat)
    assert (alone.tag, [each.name for each in alone.fields]) == (None, ["kind", "lives"])


def test_a_model_without_fields_is_what_is_in_it() -> None:
    assert of(Numbers) == Array(Plain.INT)
    assert of(Endless) == Array(Plain.ANYTHING)
    assert of(Open) == Table(Plain.STR, Plain.ANYTHING)
    assert [each.name for each in record(Ignoring).fields] == ["a"]


def test_members_that_data_does_not_tell_apart_are_one() -> None:
    found = {name: each.type for name, each in fields(record(Everything)).items()}
    anything = Table(Plain.STR, Plain.ANYTHING)
    assert {name: outline for name, outline in found.items() if name != "r"} == {
        "a": anything,
        "b": anything,
        "c": Plain.STR,
        "d": Array(Plain.ANYTHING),
        "e": Union((Choice(("a", "b")), Plain.NONE)),
        "f": Union((Plain.STR, Plain.INT)),
        "g": Union((Plain.INT, Plain.BOOL, Plain.STR, Plain.FLOAT)),
        "h": Plain.INT,
        "i": Table(Plain.STR, Plain.INT),
        "j": anything,
        "k": Array(Plain.UUID, ArrayKind.SET),
        "row": Row((Plain.INT, Plain.STR)),
        "m": Plain.ANYTHING,
        "n": Plain.ANYTHING,
        "o": Union((Plain.FLOAT, Plain.STR)),
        "p": Union((Plain.BOOL, Plain.NONE)),
        "q": Plain.STR,
        "s": Plain.STR,
        "t": anything,
        "u": Union((Choice((1, "a")), Plain.NONE)),
        "v": Plain.TIMEDELTA,
        "w": Plain.BOOL,
        "x": Array(Plain.ANYTHING),
        "y": Union((Plain.STR, Plain.INT)),
        "z": Plain.ANYTHING,
    }
    assert found["r"] == Choice(("red", "blue"))
