"""Defaults: decoded instances have them all, and what is sent has them too."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    NamedTuple,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator

from openapi.errors import InvalidData, Unserializable
from openapi.schema import Schema, encode_json
from openapi.schema._complete import completer

T = TypeVar("T")
Json = Any


class Level(Enum):
    LOW = "low"
    HIGH = "high"


@dataclass
class Task:
    title: str
    level: Level = Level.LOW
    due: date | None = None
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    x: int
    s: str = "low"


@dataclass(slots=True)
class Slotted:
    x: int
    s: str = "low"
    task: Task | None = None


@dataclass
class HalfSlotted(Slotted):
    more: int = 3


@dataclass
class Node:
    value: int = 0
    left: Optional["Node"] = None
    more: list["Node"] = field(default_factory=list)
    by_name: dict[str, "Node"] = field(default_factory=dict)


@dataclass
class Box(Generic[T]):
    content: T
    label: str = ""


class Struct(msgspec.Struct, rename="camel"):
    the_task: Task
    size_of: int = 1


class Brief(msgspec.Struct, omit_defaults=True):
    a: int
    b: int = 2
    frozen: Frozen | None = None


class Circle(msgspec.Struct, tag=True):
    radius: float = 1.0


class Square(msgspec.Struct, tag=True):
    task: Task
    side: float = 2.0


class Row(msgspec.Struct, array_like=True):
    a: int
    b: Level = Level.LOW
    frozen: Frozen | None = None


class Point(NamedTuple):
    x: int
    y: int = 2
    frozen: Frozen = Frozen(0)


class Bag(TypedDict):
    task: Task
    other: NotRequired[Task]
    size: NotRequired[int]


class Maker:
    kind = "maker's"
    parts: tuple[str, ...] = ()


@attrs.define(slots=False)
class Open(Maker):
    x: int
    kind: str = "open"
    task: Task | None = None
    parts: list[str] = attrs.field(factory=list)  # type: ignore[assignment] # what programs do


@attrs.define
class Shut:
    x: int
    kind: str = "shut"
    task: Task | None = None
    _hidden: int = 5


@dataclass
class Parent:
    tags: Any = ()
    size: int = 1


@dataclass
class Child(Parent):
    # the class has no attribute of its own for these, and answers with the parent's
    tags: Any = field(default_factory=lambda: ["child"])
    size: int = field(default_factory=lambda: 2)


@dataclass
class WithCode:
    x: int
    s: str = "low"

    def __post_init__(self) -> None:
        self.cached = self.x  # as many attributes now as there are fields


@dataclass
class Fixed:
    x: int = 1
    version: int = field(default=4, init=False)


@dataclass
class Patch:
    id: int
    name: str | msgspec.UnsetType = msgspec.UNSET
    size: int = 3


@dataclass
class Answering:
    x: int
    made: list[int] = field(default_factory=list)
    s: str = "low"

    def __getattr__(self, name: str) -> object:
        if name == "made":
            return None
        raise AttributeError(name)


class Backed:
    """A descriptor that keeps its value under another name."""

    def __get__(self, instance: Any, owner: type) -> Any:
        return 5 if instance is None else instance.backing

    def __set__(self, instance: Any, value: int) -> None:
        instance.backing = value


@dataclass
class Described:
    x: int
    y: int = Backed()  # type: ignore[assignment] # a dataclass takes what it gives for the default


DECODED: Final[list[tuple[object, Json, object]]] = [
    (Task, {"title": "a"}, Task("a")),
    (Frozen, {"x": 1}, Frozen(1)),
    (Slotted, {"x": 1, "task": {"title": "a"}}, Slotted(1, task=Task("a"))),
    (HalfSlotted, {"x": 1}, HalfSlotted(1)),
    (HalfSlotted, {"x": 1, "task": {"title": "a"}}, HalfSlotted(1, task=Task("a"))),
    (Node, {}, Node()),
    (
        Node,
        {"left": {"more": [{}, {"by_name": {"a": {"left": {}}}}]}},
        Node(left=Node(more=[Node(), Node(by_name={"a": Node(left=Node())})])),
    ),
    (Box[int], {"content": 1}, Box(1)),
    (Box[Box[Task]], {"content": {"content": {"title": "a"}}}, Box(Box(Task("a")))),
    (Box, {"content": {"title": "a"}}, Box({"title": "a"})),
    (Struct, {"theTask": {"title": "a"}}, Struct(Task("a"))),
    (Circle | Square, {"type": "Square", "task": {"title": "a"}}, Square(Task("a"))),
    (Row, [1], Row(1)),
    (Row, [1, "low", {"x": 1}], Row(1, Level.LOW, Frozen(1))),
    (Point, [1], Point(1)),
    (Point, [1, 2, {"x": 1}], Point(1, 2, Frozen(1))),
    (Bag, {"task": {"title": "a"}}, {"task": Task("a")}),
    (
        Bag,
        {"task": {"title": "a"}, "other": {"title": "b"}},
        {"task": Task("a"), "other": Task("b")},
    ),
    (Open, {"x": 1}, Open(1)),
    (Open, {"x": 1, "task": {"title": "a"}}, Open(1, task=Task("a"))),
    (Shut, {"x": 1, "task": {"title": "a"}}, Shut(1, task=Task("a"))),
    (Child, {}, Child()),
    (Child, {"tags": ["x"]}, Child(["x"])),
    (WithCode, {"x": 1}, WithCode(1)),
    (Patch, {"id": 1}, Patch(1)),
    (Described, {"x": 1}, Described(1, 5)),
    (list[Task], [{"title": "a"}, {"title": "b"}], [Task("a"), Task("b")]),
    (tuple[Task, ...], [{"title": "a"}], (Task("a"),)),
    (tuple[int, Task, Task | None], [1, {"title": "a"}, None], (1, Task("a"), None)),
    (set[Frozen], [{"x": 1}], {Frozen(1)}),
    (frozenset[Frozen], [{"x": 1}], frozenset([Frozen(1)])),
    (dict[str, Task], {"a": {"title": "a"}}, {"a": Task("a")}),
    (dict[str, list[Task | None]], {"a": [None, {"title": "a"}]}, {"a": [None, Task("a")]}),
    (Task | None, {"title": "a"}, Task("a")),
    (Task | None, None, None),
    (Task | list[Task] | int, [{"title": "a"}], [Task("a")]),
    (Task | list[Task] | int, 3, 3),
    (Annotated[Task, msgspec.Meta(description="x")], {"title": "a"}, Task("a")),
    (Annotated[Task | None, msgspec.Meta(title="x")], {"title": "a"}, Task("a")),
]


def form(value: Any) -> Json:
    """The JSON that a value has to be written as: the plain way, attribute by attribute."""
    match value:
        case Enum():
            return value.value
        case date():
            return value.isoformat()
        case msgspec.Struct() if value.__struct_config__.array_like:
            return [form(getattr(value, name)) for name in value.__struct_fields__]
        case msgspec.Struct():
            config = value.__struct_config__
            names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
            tag = {} if config.tag is None else {config.tag_field: config.tag}
            return tag | {to: form(getattr(value, name)) for name, to in names}
        case list() | tuple() | set() | frozenset():
            return [form(item) for item in value]
        case dict():
            return {name: form(item) for name, item in value.items()}
    if attrs.has(type(value)):
        names_of = [each.name for each in attrs.fields(type(value)) if each.name[0] != "_"]
    elif dataclasses.is_dataclass(value):
        names_of = [each.name for each in dataclasses.fields(value)]
    else:
        return value
    items = {name: getattr(value, name) for name in names_of}
    return {name: form(item) for name, item in items.items() if item is not msgspec.UNSET}


@pytest.mark.parametrize(("hint", "data", "value"), DECODED, ids=lambda part: str(part)[:40])
def test_what_was_decoded_is_sent_with_all_of_its_fields(
    hint: object, data: Json, value: object
) -> None:
    schema = Schema[object](hint)
    for decoded in (schema.decode(json.dumps(data)), schema.convert(data)):
        assert decoded == value
        assert json.loads(encode_json(decoded)) == form(value)
        assert json.loads(schema.encode(decoded)) == form(value)
        assert schema.dump(decoded) == form(value)


@pytest.mark.parametrize(("hint", "data", "value"), DECODED, ids=lambda part: str(part)[:40])
def test_a_client_cannot_tell_a_dictionary_from_an_instance(
    hint: object, data: Json, value: object
) -> None:
    schema = Schema[object](hint)
    assert schema.dump(data) == schema.dump(value) == form(value)
    assert json.loads(schema.encode(data)) == form(value)


def test_all_fields_are_in_the_instance_itself() -> None:
    node = Schema[Node](Node).decode('{"left":{"value":1}}')
    assert node.left is not None
    assert set(vars(node)) == set(vars(node.left)) == {"value", "left", "more", "by_name"}
    assert vars(Schema[Patch](Patch).decode('{"id":1}')) == vars(Patch(1))
    fixed = Schema[Fixed](Fixed).decode("{}")
    assert vars(fixed) == {"x": 1, "version": 4}
    with_code = Schema[WithCode](WithCode).decode('{"x":1}')
    assert vars(with_code) == {"x": 1, "cached": 1, "s": "low"}


def test_a_default_that_only_the_class_has_is_sent_as_well() -> None:
    made = Fixed(2)
    assert "version" not in vars(made)
    assert Schema[Fixed](Fixed).dump(made) == {"x": 2, "version": 4}
    assert Schema[object](list[Fixed]).dump([made, {}]) == [
        {"x": 2, "version": 4},
        {"x": 1, "version": 4},
    ]


def test_made_defaults_are_not_shared() -> None:
    for schema in (Schema[Child](Child), Schema[Child](Child)):
        one, other = schema.decode("{}"), schema.decode("{}")
        one.tags.append("x")
        assert other.tags == ["child"]
        assert schema.dump({}) == {"tags": ["child"], "size": 2}


def test_a_class_that_answers_for_missing_attributes_gets_them_all() -> None:
    value = Schema[Answering](Answering).decode('{"x":1}')
    assert vars(value) == {"x": 1, "made": [], "s": "low"}


def test_a_default_that_does_not_fit_its_type_is_no_part_to_look_into() -> None:
    @dataclass
    class Loose:
        task: Task = None  # type: ignore[assignment] # what programs without a type checker do
        row: tuple[Task, int] = ()  # type: ignore[assignment]
        x: int = 1

    schema = Schema[Loose](Loose)
    assert schema.decode("{}") == Loose()
    with pytest.raises(InvalidData) as caught:
        schema.encode({"row": [{"title": "a"}, 1]})
    assert caught.value.errors == {"task": "expected `object`, got `null`"}


def test_what_a_struct_omits_stays_omitted() -> None:
    schema = Schema[Brief](Brief)
    assert schema.dump(Brief(1)) == schema.dump({"a": 1}) == {"a": 1}
    data = {"a": 1, "frozen": {"x": 1}}
    assert schema.dump(schema.decode(json.dumps(data))) == {"a": 1, "frozen": {"x": 1, "s": "low"}}
    assert schema.dump(data) == {"a": 1, "frozen": {"x": 1, "s": "low"}}


def test_the_tag_of_a_struct_is_a_default_where_none_else_can_stand() -> None:
    assert Schema[Circle](Circle).dump({}) == {"type": "Circle", "radius": 1.0}
    assert Schema[object](Circle | None).dump({}) == {"type": "Circle", "radius": 1.0}
    with pytest.raises(InvalidData) as caught:
        Schema[object](Circle | Square).dump({})
    assert caught.value.errors == {"type": "required"}


def test_private_attributes_of_attrs_classes_are_sent_from_neither() -> None:
    schema = Schema[Shut](Shut)
    assert "_hidden" not in schema.encode(Shut(1)).decode()
    assert "_hidden" not in schema.encode({"x": 1}).decode()


def test_a_row_is_filled_as_far_as_its_defaults_go() -> None:
    class Gap(msgspec.Struct, array_like=True):
        a: int
        b: int = 2
        c: int | msgspec.UnsetType = msgspec.UNSET
        d: int = 4

    schema = Schema[Gap](Gap)
    assert schema.dump([1]) == [1, 2]
    assert schema.dump([1, 2, 3]) == [1, 2, 3, 4]
    with pytest.raises(InvalidData):
        schema.dump([])
    with pytest.raises(InvalidData):
        schema.dump(1)


@pytest.mark.parametrize(
    ("hint", "value", "errors"),
    [
        (Task, {}, {"title": "required"}),
        (Task, {"title": 1, "x": 1}, {"title": "expected `str`, got `int`"}),
        (Task, [], {"": "expected `object`, got `array`"}),
        (list[Task], {}, {"": "expected `array`, got `object`"}),
        (list[Task], [{"title": "a"}, 1], {"[1]": "expected `object`, got `int`"}),
        (dict[str, Task], [], {"": "expected `object`, got `array`"}),
        (Struct, {"theTask": {}}, {"theTask.title": "required"}),
        (tuple[Task, Task], [{"title": "a"}], {"": "expected `array` of length 2"}),
        (Node, {"left": {"left": {"more": 1}}}, {"left.left.more": "expected `array`, got `int`"}),
        (Box[Any], {"content": 2**64}, {"content": "integer out of range"}),
    ],
    ids=lambda part: str(part)[:40],
)
def test_defaults_do_not_hide_what_does_not_fit(
    hint: object, value: Json, errors: dict[str, str]
) -> None:
    with pytest.raises(InvalidData) as caught:
        Schema[object](hint).encode(value)
    assert caught.value.errors == errors


def test_a_default_without_a_json_form_is_named() -> None:
    @dataclass
    class Sentinel:
        x: int
        y: Any = object  # as a mark for "none given"

    for data in ({"x": 1}, {"x": 1, "unknown": 2}, Sentinel(1)):
        with pytest.raises(Unserializable, match="`type` has no JSON form"):
            Schema[Sentinel](Sentinel).encode(data)


def test_a_list_that_lacks_defaults_deep_in_data_is_refused_when_it_is_too_deep() -> None:
    data: Json = {}
    for _ in range(800):
        data = {"left": data}
    with pytest.raises(InvalidData, match="nested too deeply"):
        Schema[Node](Node).encode(data)


@pytest.mark.parametrize(
    "hint",
    [int, Any, dict[str, Any], list[int], Circle | None, Slotted | None, Shut, Brief | None, Bag],
    ids=str,
)
def test_nothing_is_done_where_msgspec_leaves_nothing_out(hint: object) -> None:
    affected = (Slotted | None, Shut, Brief | None, Bag)
    assert (completer(hint) is not None) is (hint in affected)


# pydantic


class Address(BaseModel):
    city: str
    zip_code: str = Field("0", alias="zip")


class Person(BaseModel):
    name: str
    home: Address = Address(city="London", zip="0")
    homes: list[Address] = []


class Counting(BaseModel):
    model_config = ConfigDict(extra="ignore")
    n: int
    more: list[int] = []

    @field_validator("n")
    @classmethod
    def _count(cls, value: int) -> int:
        return value + 1


class Strict(BaseModel):
    a: int


class Addresses(RootModel[list[Address]]):
    pass


class Text(RootModel[str]):
    pass


@dataclass
class Letter:
    to: Person | None = None
    via: list[Address] = field(default_factory=list)


LONDON = {"city": "London", "zip": "0"}
ADA = {"name": "Ada", "home": LONDON, "homes": []}


@pytest.mark.parametrize(
    ("hint", "data", "sent"),
    [
        (Address, {"city": "London"}, LONDON),
        (Address, {"city": "London", "zip": "1"}, {"city": "London", "zip": "1"}),
        (Person, {"name": "Ada"}, ADA),
        (Person, ADA, ADA),
        (Person, {"name": "Ada", "homes": [{"city": "London"}]}, ADA | {"homes": [LONDON]}),
        (Person | None, {"name": "Ada"}, ADA),
        (list[Person], [{"name": "Ada"}], [ADA]),
        (dict[str, Address | None], {"a": {"city": "London"}, "b": None}, {"a": LONDON, "b": None}),
        (Letter, {"to": {"name": "Ada"}}, {"to": ADA, "via": []}),
        (Letter, {"via": [{"city": "London"}]}, {"to": None, "via": [LONDON]}),
        (Addresses, [{"city": "London"}], [LONDON]),
        (Text, "x", "x"),
        (Strict, {"a": 1}, {"a": 1}),
        (Strict | None, {"a": 1}, {"a": 1}),
    ],
    ids=lambda part: str(part)[:40],
)
def test_models_are_sent_with_their_defaults_too(hint: object, data: Json, sent: Json) -> None:
    schema = Schema[object](hint)
    assert schema.dump(data) == sent
    assert schema.dump(schema.convert(data)) == sent
    assert json.loads(encode_json(schema.convert(data))) == sent


def test_a_model_in_a_dictionary_is_written_as_the_instance_of_it_would_be() -> None:
    schema = Schema[object](list[Counting])
    assert schema.dump([{"n": 1}]) == [{"n": 2, "more": []}]
    # and what is whole already is not validated into something else
    assert schema.dump([Counting(n=1)]) == [{"n": 2, "more": []}]
    assert Schema[object](Counting).dump(Counting(n=1)) == {"n": 2, "more": []}


def test_a_model_that_does_not_fit_is_not_sent() -> None:
    for hint, value in ((Person, {"home": {}}), (list[Person], [1]), (Person | None, [])):
        with pytest.raises(InvalidData):
            Schema[object](hint).dump(value)


# Everything at once


NAMES = st.text("ab", max_size=2)
TASKS = st.builds(
    Task,
    title=st.text(),
    level=st.sampled_from(Level),
    due=st.none() | st.dates(),
    tags=st.lists(st.text(), max_size=2),
)
NODES = st.recursive(
    st.builds(Node, value=st.integers(-3, 3)),
    lambda nodes: st.builds(
        Node,
        value=st.integers(-3, 3),
        left=st.none() | nodes,
        more=st.lists(nodes, max_size=3),
        by_name=st.dictionaries(NAMES, nodes, max_size=3),
    ),
    max_leaves=6,
)


@dataclass
class All:
    tasks: dict[str, list[Task]]
    node: Node = field(default_factory=Node)
    pair: tuple[Frozen, Slotted | None] = (Frozen(0), None)
    either: Task | list[Node] | None = None
    boxes: tuple[Box[Task | None], ...] = ()
    text: str = "x"


ALL = st.builds(
    All,
    tasks=st.dictionaries(NAMES, st.lists(TASKS, max_size=2), max_size=2),
    node=NODES,
    pair=st.tuples(
        st.builds(Frozen, x=st.integers(0, 3), s=st.sampled_from(["low", "x"])),
        st.none() | st.builds(Slotted, x=st.integers(0, 3), task=st.none() | TASKS),
    ),
    either=st.none() | TASKS | st.lists(NODES, max_size=2),
    boxes=st.lists(st.builds(Box, content=st.none() | TASKS, label=NAMES), max_size=2).map(tuple),
    text=NAMES,
)


def without_defaults(value: Any, leaves_out: Callable[[], bool]) -> Json:
    """Data of a value from which some of the fields that have their default are left out."""
    if dataclasses.is_dataclass(value):
        data = {}
        for each in dataclasses.fields(value):
            item = getattr(value, each.name)
            if each.default_factory is not dataclasses.MISSING:
                default: object = each.default_factory()
            else:
                default = each.default
            if item != default or not leaves_out():
                data[each.name] = without_defaults(item, leaves_out)
        return data
    if isinstance(value, dict):
        return {name: without_defaults(item, leaves_out) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_defaults(item, leaves_out) for item in value]
    return form(value)


@given(ALL, st.data())
def test_what_comes_back_is_what_the_program_sees(value: All, chance: st.DataObject) -> None:
    data = without_defaults(value, lambda: chance.draw(st.booleans()))
    wanted = json.loads(json.dumps(dataclasses.asdict(value), default=form))
    schema = Schema[All](All)
    text = json.dumps(data)
    for decoded in (schema.decode(text), schema.convert(data)):
        assert decoded == value
        assert json.loads(encode_json(decoded)) == wanted
        assert schema.dump(decoded) == wanted
    assert schema.dump(data) == wanted
    assert schema.dump(value) == wanted
    assert schema.decode(schema.encode(data)) == value
