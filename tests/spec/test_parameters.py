"""The fields of a type as variables of a query string or a path."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import msgspec
import pydantic
import pytest

from openapi.errors import DeclarationError
from openapi.schema import Schema
from openapi.spec.parameters import parameters_of


class Colour(Enum):
    RED = "red"


@dataclass
class Nested:
    n: int


@dataclass
class Plain:
    a: Annotated[int, msgspec.Meta(description="A number")]
    colour: Colour
    b: list[str] | None = None
    c: tuple[int, str] = (1, "")
    d: int | Nested | None = None
    e: Any = None


def test_each_field_has_a_name_a_schema_and_whether_it_is_required() -> None:
    components: dict[str, Any] = {}
    fields = {field.name: field for field in parameters_of(Schema(Plain), components)}
    assert {name: field.required for name, field in fields.items()} == {
        "a": True,
        "colour": True,
        "b": False,
        "c": False,
        "d": False,
        "e": False,
    }
    assert fields["a"].schema["type"] == "integer"
    assert fields["a"].schema["description"] == "A number"
    assert "Colour" in components


def test_a_class_without_fields_has_no_variables() -> None:
    @dataclass
    class Empty: ...

    assert parameters_of(Schema(Empty), {}) == []


def test_a_pydantic_model_has_variables() -> None:
    class Model(pydantic.BaseModel):
        a: int
        b: str | None = None

    assert [(f.name, f.required) for f in parameters_of(Schema(Model), {})] == [
        ("a", True),
        ("b", False),
    ]


@pytest.mark.parametrize(
    "hint", [Nested, list[Nested], Nested | None, dict[str, int], tuple[Nested, ...]]
)
def test_a_field_that_holds_objects_is_refused(hint: object) -> None:
    wrong = msgspec.defstruct("Wrong", [("x", hint)])
    with pytest.raises(DeclarationError, match=r"Wrong\.x holds an object"):
        parameters_of(Schema(wrong), {})


@pytest.mark.parametrize("hint", [int, list[Nested], dict[str, Any], Nested | None])
def test_a_type_without_named_fields_is_refused(hint: object) -> None:
    with pytest.raises(DeclarationError, match="is no class with fields"):
        parameters_of(Schema(hint), {})
