"""Which calls share a lane: those whose payloads have the same value in the same field."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from openapi.errors import DeclarationError
from openapi.protocol.methods import Method, MethodTable, ws_rpc

ID = "6f1b2c7e-3c53-4c0b-9d6e-1b2f1f0a8c11"


class Color(Enum):
    """Its values are what the data has."""

    RED = "red"


@dataclass
class Order:
    """A dataclass."""

    room: str | None = "attic"
    number: int | float | bool = 0
    id: UUID | None = None
    day: date | None = None
    color: Color | None = None
    parts: list[int] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)


class Renamed(msgspec.Struct, rename="camel", tag="renamed"):
    """Its fields have other names in the data."""

    room_id: int | msgspec.UnsetType = msgspec.UNSET


class Other(msgspec.Struct, tag="other"):
    """A second one of a union."""

    room: int
    copy: int = 0


class Brief(msgspec.Struct, omit_defaults=True):
    """Its defaults are not written."""

    room: str = "attic"


class Dict(TypedDict):
    """A dictionary."""

    room: NotRequired[int | None]


@attrs.define
class Attrs:
    """An attrs class."""

    room: int


class Model(pydantic.BaseModel):
    """A model whose fields have names of their own in the data, and not always the same."""

    room: int = pydantic.Field(default=1, alias="roomId")
    floor: int = pydantic.Field(default=2, validation_alias="floorNumber")
    side: int = pydantic.Field(default=3, serialization_alias="sideOut")
    door: int = pydantic.Field(
        default=4, validation_alias=pydantic.AliasChoices("doorNumber", "gate")
    )


class Open(pydantic.BaseModel):
    """A model that takes fields which it does not have."""

    model_config = pydantic.ConfigDict(extra="allow")
    room: int = 1


class Deaf(pydantic.BaseModel):
    """A model that ignores fields which it does not have."""

    model_config = pydantic.ConfigDict(extra="ignore")
    room: int = 1


class Generated(pydantic.BaseModel):
    """A model whose names in the data are made."""

    model_config = pydantic.ConfigDict(alias_generator=str.upper)
    room: int = 1


def method(lane: Literal[True] | str | None, hint: object = Any, *, plain: bool = False) -> Method:
    """A method with this lane, whose payload is of that type, or with ``plain`` a dictionary."""

    async def ws_rpc_x(self: object, payload: Any) -> None:
        pass

    if not plain:
        ws_rpc_x.__annotations__["payload"] = hint
    decorated = ws_rpc(lane=lane, body_schema=hint if plain else None)(ws_rpc_x)
    return MethodTable.of(type("Owner", (), {"ws_rpc_x": decorated}))["x"]


def key(lane: str, hint: object, data: bytes, *, plain: bool = False) -> Hashable | None:
    """The lane of a call with this payload."""
    declared = method(lane, hint, plain=plain)
    return declared.lane_of(declared.decode(data))


def test_a_method_without_a_lane_has_none() -> None:
    assert method(None).lane_of({"room": 1}) is None


def test_the_lane_of_a_method_is_the_same_for_all_its_calls_and_for_no_other_method() -> None:
    class Two:
        @ws_rpc(lane=True)
        async def ws_rpc_a(self, payload: dict[str, Any]) -> None:
            pass

        @ws_rpc(lane=True)
        async def ws_rpc_b(self, payload: dict[str, Any]) -> None:
            pass

    table = MethodTable.of(Two)

    assert table["a"].lane_of({}) == table["a"].lane_of({"room": 1})
    assert table["a"].lane_of({}) != table["b"].lane_of({})


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("lane", "hint", "data", "value"),
    [
        ("room", Any, b'{"room": "a"}', "a"),
        ("room", dict[str, int], b'{"room": 5}', 5),
        ("room", Order, b'{"room": "a"}', "a"),
        ("room", Order, b"{}", "attic"),
        ("room", Annotated[Order, msgspec.Meta(title="x")], b'{"room": "a"}', "a"),
        ("number", Order, b'{"number": 1.5}', 1.5),
        ("id", Order, f'{{"id": "{ID}"}}'.encode(), ID),
        ("day", Order, b'{"day": "2026-01-01"}', "2026-01-01"),
        ("color", Order, b'{"color": "red"}', "red"),
        ("roomId", Renamed, b'{"roomId": 5}', 5),
        ("type", Renamed, b'{"type": "renamed"}', "renamed"),
        ("type", Renamed | Other, b'{"type": "other", "room": 1}', "other"),
        ("roomId", Renamed | Other, b'{"type": "renamed", "roomId": 1}', 1),
        ("room", Brief, b"{}", "attic"),
        ("room", Brief, b'{"room": "attic"}', "attic"),
        ("room", Dict, b'{"room": 5}', 5),
        ("room", Attrs, b'{"room": 5}', 5),
        ("roomId", Model, b'{"roomId": 5}', 5),
        ("floorNumber", Model, b'{"floorNumber": 5}', 5),
        ("side", Model, b'{"side": 5}', 5),
        ("doorNumber", Model, b'{"doorNumber": 5}', 5),
        ("doorNumber", Model, b'{"gate": 5}', 5),
        ("floorNumber", Annotated[Model, msgspec.Meta(title="x")], b'{"floorNumber": 5}', 5),
        ("ROOM", Generated, b'{"ROOM": 5}', 5),
        ("room", Open, b'{"room": 5}', 5),
        ("copy", Open, b'{"copy": 5}', 5),
    ],
)
def test_the_lane_of_a_field_is_its_value_as_the_data_has_it(
    lane: str, hint: object, data: bytes, value: object, plain: bool
) -> None:
    assert key(lane, hint, data, plain=plain and hint is not Any) == (lane, value)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("lane", "hint", "data"),
    [
        ("room", Any, b"{}"),
        ("room", Any, b'{"room": null}'),
        ("room", Order, b'{"room": null}'),
        ("room", Dict, b"{}"),
        ("room", Dict, b'{"room": null}'),
        ("roomId", Renamed, b"{}"),
        ("copy", Renamed | Other, b'{"type": "renamed", "roomId": 1}'),
        ("copy", Open, b"{}"),
    ],
)
def test_a_call_without_the_field_has_no_lane(
    lane: str, hint: object, data: bytes, plain: bool
) -> None:
    assert key(lane, hint, data, plain=plain and hint is not Any) is None


@pytest.mark.parametrize("hint", [Any, Order])
def test_objects_and_arrays_are_the_same_when_what_is_in_them_is(hint: object) -> None:
    def place(data: bytes) -> Hashable | None:
        return key("place", hint, b'{"place": %s}' % data)

    def parts(data: bytes) -> Hashable | None:
        return key("parts", hint, b'{"parts": %s}' % data)

    assert place(b'{"a": 1, "b": 2}') == place(b'{"b": 2, "a": 1}') != place(b'{"a": 1}')
    assert parts(b"[1, 2]") == parts(b"[1,2]") != parts(b"[2, 1]")
    assert len({place(b"{}"), place(b'{"a": 1}'), parts(b"[]"), parts(b"[1]")}) == 4


def test_an_array_and_the_text_of_it_have_lanes_of_their_own() -> None:
    assert key("room", Any, b'{"room": [1]}') != key("room", Any, b'{"room": "[1]"}')


def test_the_same_value_of_another_field_is_another_lane() -> None:
    assert key("room", Order, b'{"room": "a"}') != key("name", Any, b'{"name": "a"}')


def test_methods_whose_types_differ_share_the_lanes_of_a_field() -> None:
    data = f'{{"id": "{ID}"}}'.encode()

    assert key("id", Order, data) == key("id", Any, data) == key("id", Order, data, plain=True)


@pytest.mark.parametrize(
    ("value", "form"),
    [(b"\xff", "/w=="), (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z")],
)
def test_a_value_that_only_messagepack_has_shares_a_lane_with_what_json_has_instead(
    value: object, form: str
) -> None:
    declared = method("room")

    packed = declared.decode(msgspec.msgpack.encode({"room": value}), packed=True)

    assert packed == {"room": value}
    assert declared.lane_of(packed) == declared.lane_of({"room": form})


@pytest.mark.parametrize(
    ("hint", "fields"),
    [
        (Renamed, "type, roomId"),
        (Renamed | Other, "type, roomId, room, copy"),
        (Model, "roomId, floorNumber, side, doorNumber"),
        (Deaf, "room"),
        (Dict, "room"),
    ],
)
def test_a_field_is_called_as_in_the_data(hint: object, fields: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        method("room_id", hint)

    assert str(caught.value) == (
        f"Owner.ws_rpc_x: lane: its payload has no field 'room_id', its fields are {fields}"
    )
