"""What things are called."""

import enum
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pytest

from openapi.protocol.methods import Method
from openapi.schema import Schema
from openapi.types import Endpoint
from openapi.types.names import camel_case, identifier, names_of, snake_case
from tests.types.written import fixed, formatted, imported, in_python, in_typescript

Order = msgspec.defstruct(
    "Order", [("a", int, msgspec.field(name="__x")), ("b", str, msgspec.field(name="class"))]
)


class Odd(enum.Enum):
    FIRST = "an enum with values that are so long that no line has place for them all together"
    SECOND = "so that each of them has a line of its own"


@dataclass
class Point:
    x: int


@dataclass
class Promise:
    x: int


@dataclass
class Wide:
    choice: Literal["one of the words", "another of the words", "and one more of the words"] | Point
    union: tuple[Literal["a word that is long", "and another one"], ...] | Point | int | None = None


def methods(**results: Any) -> Endpoint:
    """An endpoint whose methods have these results."""

    async def function(self: object, payload: object) -> None: ...

    return Endpoint(
        name=("app", "App"),
        paths=(),
        methods=tuple(
            Method(name, function, returns=Schema(hint)) for name, hint in results.items()
        ),
    )


def test_two_of_one_name_are_told_apart_by_what_they_are_in() -> None:
    wanted = {
        1: (("shop", "orders", "Item"), ["", "Input"]),
        2: (("shop", "my_stock", "Item"), [""]),
        3: (("other", "my_stock", "Item"), [""]),
        4: (("shop", "_Order"), [""]),
        5: (("shop", "Taken"), [""]),
        6: (("same", "Same"), [""]),
        7: (("same", "Same"), [""]),
    }
    assert names_of(wanted, {"Taken"}) == {
        1: ["OrdersItem", "OrdersItemInput"],
        2: ["ShopMyStockItem"],
        3: ["OtherMyStockItem"],
        4: ["Order"],
        5: ["ShopTaken"],
        6: ["Same"],
        7: ["Same2"],
    }


@pytest.mark.parametrize(
    ("text", "snake", "camel"),
    [
        ("live_scores", "live_scores", "liveScores"),
        ("liveScores/2", "live_scores_2", "liveScores2"),
        ("a.b:c", "a_b_c", "aBC"),
        ("2fa", "2fa", "2fa"),
        ("::", "_", "_"),
    ],
)
def test_words_are_joined(text: str, snake: str, camel: str) -> None:
    assert (snake_case(text), camel_case(text)) == (snake, camel)


def test_an_identifier_has_nothing_that_cannot_be_in_one() -> None:
    texts = ("name", "no-name", "1st", "", "ß²", "a b")
    assert [*map(identifier, texts)] == ["name", "no_name", "_1st", "_", "ß_", "a_b"]


def test_names_that_python_has_taken_are_others_there() -> None:
    text = in_python(methods(**{"import": Order, "client": int, "__init__": Odd, "wide": Wide}))
    assert formatted(text) == text
    assert fixed(text) == text
    module = imported(text)
    order = module.Order(a=1, b="2")
    assert msgspec.json.decode(msgspec.json.encode(order)) == {"__x": 1, "class": "2"}
    assert {"import_", "client_2", "_init__"} <= vars(module.AppClient).keys()
    assert module.Wide(choice="one of the words").union is None


def test_names_that_typescript_has_taken_are_others_there() -> None:
    text = in_typescript(methods(constructor=Promise, client=Odd))
    assert "  constructor2(payload: object = {}, options" in text
    assert "Promise<TestNamesPromise> {" in text
    assert "  client2(" in text
    assert "export type Odd =\n  | " in text


def test_documentation_is_what_a_file_can_have() -> None:
    @dataclass
    class Documented:
        a: int

    Documented.__doc__ = '"Quoted" \\d \x00 */\ud800 """ "\n\n\tand more"  \n'
    text = in_python(methods(a=Documented))
    assert formatted(text) == text
    assert imported(text).Documented.__doc__.split() == (
        ['"Quoted"', "\\d", "*/?", '"""', '"', "and", 'more"']
    )
    assert ' * "Quoted" \\d  *\\/?' in in_typescript(methods(a=Documented))
