"""Whatever the types are: the file is formatted, it can be imported, and has the same types."""

import datetime as dt
import enum
import keyword
import sys
from collections.abc import Iterator
from dataclasses import field, make_dataclass
from decimal import Decimal
from operator import attrgetter
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openapi.protocol.methods import Method
from openapi.schema import Schema
from openapi.schema.outline import (
    Array,
    Choice,
    Enumeration,
    Form,
    Outlines,
    Plain,
    Record,
    Row,
    Table,
    Type,
    Union,
)
from openapi.types import Channels, Endpoint
from tests.types.written import fixed, formatted, imported, in_python

CLASSES = st.sampled_from(
    ["Item", "Order", "Any", "Client", "Stream", "_Hidden", "list", "Ünï", "Literal", "A" * 45]
)
NAMES = st.sampled_from(
    ["name", "list", "date", "field", "Item", "payload", "dict", "x_1", "UUID", "b" * 40, "ß"]
)
WIRE_NAMES = st.one_of(
    NAMES, st.sampled_from(["from", "no-name", "__x", 'a"b', "", "1st"]), st.text(max_size=8)
)
WORDS = st.text(st.characters(codec="utf-8"), max_size=30)

LEAVES: list[Any] = [
    *(None, bool, int, float, str, bytes, Any, Decimal, UUID),
    *(dt.datetime, dt.date, dt.time, dt.timedelta),
]


@st.composite
def literals(draw: st.DrawFn) -> Any:
    values = draw(st.lists(st.one_of(WORDS, st.integers(-9, 9)), min_size=1, max_size=5))
    return Literal[tuple(values)]


@st.composite
def enums(draw: st.DrawFn) -> Any:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    base = draw(st.sampled_from([enum.Enum, enum.IntEnum, enum.StrEnum]))
    values = [n if base is enum.IntEnum else f"{n} 'x'" for n in range(len(names))]
    return base(draw(CLASSES), dict(zip(names, values, strict=True)))


def records(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(dataclasses(inside), structs(inside), typed_dicts(inside), tuples(inside))


@st.composite
def dataclasses(draw: st.DrawFn, inside: st.SearchStrategy[Any]) -> Any:
    fields: list[Any] = []
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        hint, default = draw(st.one_of(defaults(), st.tuples(inside, st.just(...))))
        if default is ...:
            made = field()
        elif isinstance(default, list):
            made = field(default_factory=default.copy)
        else:
            made = field(default=default)
        fields.append((name, hint, made))
    made = make_dataclass(draw(CLASSES), fields, kw_only=True)
    made.__doc__ = draw(WORDS)
    return made


@st.composite
def defaults(draw: st.DrawFn) -> tuple[Any, Any]:
    hint, values = draw(
        st.sampled_from(
            [
                (int, st.integers(-99, 99)),
                (str, WORDS),
                (float, st.floats()),
                (bool, st.booleans()),
                (int | None, st.none()),
                (list[int], st.just([])),
                (dt.date, st.just(dt.date(2026, 1, 1))),
                (bytes, st.sampled_from([b"", b"a"])),
            ]
        )
    )
    return hint, draw(values)


@st.composite
def structs(draw: st.DrawFn, inside: st.SearchStrategy[Any]) -> Any:
    wire = draw(st.lists(WIRE_NAMES.filter(is_name_of_struct), max_size=4, unique=True))
    fields = [
        (f"f{number}", draw(inside), msgspec.field(name=name)) for number, name in enumerate(wire)
    ]
    tagged = draw(st.booleans()) and "type" not in wire
    return msgspec.defstruct(
        draw(CLASSES), fields, array_like=draw(st.booleans()), tag=tagged or None, kw_only=True
    )


def is_name_of_struct(name: str) -> bool:
    return not any(char in '"\\' or char < " " for char in name)


@st.composite
def typed_dicts(draw: st.DrawFn, inside: st.SearchStrategy[Any]) -> Any:
    hints = draw(st.dictionaries(WIRE_NAMES, inside, max_size=3))
    some = {
        name: NotRequired[hint] if draw(st.booleans()) else hint for name, hint in hints.items()
    }
    make: Any = TypedDict
    return make(draw(CLASSES), some)


@st.composite
def tuples(draw: st.DrawFn, inside: st.SearchStrategy[Any]) -> Any:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    make: Any = NamedTuple
    return make(draw(CLASSES), [(name, draw(inside)) for name in names])


def of(generic: Any, *arguments: Any) -> Any:
    return generic[arguments]


def composed(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        inside.map(lambda hint: of(list, hint)),
        inside.map(lambda hint: of(tuple, hint, ...)),
        inside.map(lambda hint: of(dict, str, hint)),
        st.lists(inside, max_size=4).map(lambda hints: of(tuple, *hints)),
        inside.map(lambda hint: hint | None if hint is not None else None),
        records(inside),
    )


HINTS = st.recursive(
    st.one_of(st.sampled_from(LEAVES), literals(), enums()), composed, max_leaves=12
)


@pytest.fixture(autouse=True, scope="module")
def forgotten() -> Iterator[None]:
    yield
    sys.modules.pop("written_client", None)


@settings(max_examples=25)
@given(
    st.lists(HINTS, min_size=1, max_size=4), st.lists(NAMES, min_size=4, max_size=4, unique=True)
)
def test_a_file_has_the_types_of_the_server(hints: list[Any], names: list[str]) -> None:
    schemas = [Schema[Any](hint) for hint in hints]
    methods = [
        Method(name, lambda target, payload: None, returns=schema, stream=bool(number % 2))
        for number, (name, schema) in enumerate(zip(names, schemas, strict=False))
    ]
    endpoint = Endpoint(
        name=("app", "Order"),
        paths=("/",),
        methods=tuple(methods),
        channels=(Channels(rule="x:*", data=hints[0], takes=hints[0], history=True),),
    )
    text = in_python(endpoint)
    assert formatted(text) == text
    assert fixed(text) == text
    module = imported(text)
    (its,) = (
        made
        for name, made in vars(module).items()
        if name.endswith("OrderClient") or (name.endswith("Client") and hasattr(made, "publish_x"))
    )
    asked = Asked()
    client: Any = its(asked)
    outlines = Outlines()
    for method in methods:
        label = f"{method.name}_" if keyword.iskeyword(method.name) else method.name
        call = getattr(client, label)()
        if not method.stream:
            with pytest.raises(StopIteration):
                call.send(None)
        assert forms(Outlines().of(asked.hint)) == forms(outlines.of(method.returns.hint))  # type: ignore[union-attr]


class Asked:
    """A client that notes the type that it is asked for."""

    hint: Any = None

    async def call(self, method: str, *payload: object, returns: object = Any, **_: object) -> Any:
        self.hint = returns

    def stream(self, method: str, *payload: object, type: object = Any, **_: object) -> Any:
        self.hint = type


def forms(outline: Type, within: tuple[Record, ...] = ()) -> object:
    """What is on the wire: an outline without names."""
    match outline:
        case Choice():
            return {"choice": set(outline.values)}
        case Enumeration():
            return {"enum": [value for _, value in outline.members]}
        case Array():
            return {"array": forms(outline.item, within), "kind": outline.kind}
        case Row():
            return {"row": [forms(item, within) for item in outline.items]}
        case Table():
            return {"table": forms(outline.value, within), "key": forms(outline.key, within)}
        case Union():
            return {"union": [forms(member, within) for member in outline.members]}
        case Record():
            if outline in within:
                return within.index(outline)
            is_array = outline.form in (Form.TUPLE, Form.ARRAY)
            # of an object, msgspec says first what is required
            by = None if is_array else attrgetter("name")
            fields = outline.fields if by is None else sorted(outline.fields, key=by)
            return {
                "record": [
                    ("" if is_array else each.name, forms(each.type, (*within, outline)))
                    for each in fields
                ],
                "tag": outline.tag and (outline.tag if not is_array else outline.tag.value),
                "array": is_array,
            }
        case Plain():
            return outline
