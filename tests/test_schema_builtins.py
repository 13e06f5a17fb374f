"""Instances as plain dictionaries and lists."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pytest
from pydantic import BaseModel, Field, computed_field

from openapi.schema import Schema, fields_of, plain


class Level(Enum):
    LOW = "low"


class Point(NamedTuple):
    x: int
    level: Level = Level.LOW


class Camel(msgspec.Struct, rename="camel"):
    first_name: str
    more: tuple[Point, ...] = ()


@attrs.define
class Span:
    start: date
    tags: set[str] = attrs.field(factory=set)


@dataclass
class Order:
    id: UUID
    level: Level = Level.LOW
    spans: list[Span] = field(default_factory=list)
    names: dict[str, Camel] = field(default_factory=dict)
    extra: Any = None


class Inner(BaseModel):
    level: Level = Level.LOW
    at: date = Field(alias="on")


class Outer(BaseModel):
    inner: list[Inner]
    tags: set[str] = {"a"}

    @computed_field  # type: ignore[prop-decorator] # pydantic's own order of decorators
    @property
    def size(self) -> int:
        return len(self.inner)


def test_an_instance_is_a_dictionary_all_the_way_down() -> None:
    order = Order(
        UUID(int=1),
        spans=[Span(date(2026, 1, 2), {"a"})],
        names={"x": Camel("Ada", (Point(1),))},
        extra=(1, [Span(date(2026, 1, 3))]),
    )
    assert plain(order) == {
        "id": UUID(int=1),
        "level": "low",
        "spans": [{"start": date(2026, 1, 2), "tags": ["a"]}],
        "names": {"x": {"firstName": "Ada", "more": ((1, "low"),)}},
        "extra": (1, [{"start": date(2026, 1, 3), "tags": []}]),
    }


@pytest.mark.parametrize(
    "value",
    [
        b"abc",
        date(2026, 1, 2),
        datetime(2026, 1, 2, tzinfo=UTC),
        time(1, 2),
        timedelta(1),
        Decimal("1.10"),
        UUID(int=1),
        1,
        1.5,
        "x",
        True,
        None,
    ],
    ids=str,
)
def test_what_has_no_parts_stays_what_it_is(value: object) -> None:
    assert plain([value]) == [value]
    assert type(plain(value)) is type(value)


def test_a_model_is_a_dictionary_too_without_what_it_computes() -> None:
    model = Outer(inner=[Inner(on=date(2026, 1, 2))])
    data = {"inner": [{"level": "low", "on": date(2026, 1, 2)}], "tags": ["a"]}
    assert plain(model) == data
    assert plain({"models": [model]}) == {"models": [data]}


def test_raw_json_is_what_it_says() -> None:
    assert plain({"a": msgspec.Raw(b"[1]")}) == {"a": [1]}


def test_a_decoded_instance_has_its_defaults_as_a_dictionary_too() -> None:
    order = Schema[Order](Order).decode(f'{{"id":"{UUID(int=1)}"}}')
    assert plain(order) == {
        "id": UUID(int=1),
        "level": "low",
        "spans": [],
        "names": {},
        "extra": None,
    }


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="`object` has no form as plain builtins"):
        plain([object()])


@attrs.define
class Loose:
    inner: list[Span]


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({"a": 1}, {"a": 1}),
        (Camel("Ada"), {"first_name": "Ada", "more": ()}),
        (Loose([Span(date(2026, 1, 2))]), {"inner": [Span(date(2026, 1, 2))]}),
        (Inner(on=date(2026, 1, 2)), {"level": Level.LOW, "at": date(2026, 1, 2)}),
        (
            Order(UUID(int=1)),
            {"id": UUID(int=1), "level": Level.LOW, "spans": [], "names": {}, "extra": None},
        ),
        ([1], None),
        (1, None),
        (None, None),
    ],
)
def test_fields_are_those_of_an_instance_one_level_deep(
    value: object, fields: dict[str, Any] | None
) -> None:
    assert fields_of(value) == fields
