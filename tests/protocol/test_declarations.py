"""What is declared beside a signature: deadlines, lanes, shields, and how overrides keep them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from openapi.errors import DeclarationError
from openapi.protocol.methods import UNSET, Method, MethodTable, ws_rpc

UNARY: Any = ws_rpc  # to be called wrongly


@dataclass
class Move:
    """From one place to another."""

    room: str
    to: str = "attic"


class Rooms:
    """Methods with options."""

    async def ws_rpc_plain(self, payload: Move) -> None:
        pass

    @ws_rpc
    async def ws_rpc_bare(self, payload: Move) -> None:
        pass

    @ws_rpc()
    async def ws_rpc_empty(self, payload: Move) -> None:
        pass

    @ws_rpc(timeout=5, lane="room", shield=True)
    async def ws_rpc_move(self, payload: Move) -> None:
        pass

    @ws_rpc(timeout=None, lane=True)
    async def ws_rpc_lock(self, payload: Move) -> None:
        pass

    @ws_rpc(timeout=0.5, lane="room")
    async def ws_rpc_watch(self, payload: Move) -> AsyncIterator[str]:
        yield payload.room


TABLE = MethodTable.of(Rooms)


def options(method: Method) -> tuple[object, object, bool]:
    """The deadline, the lane and the shield of a method."""
    return method.timeout, method.lane, method.shield


@pytest.mark.parametrize("name", ["plain", "bare", "empty"])
def test_without_options_a_method_has_the_connections_deadline_no_lane_and_no_shield(
    name: str,
) -> None:
    assert options(TABLE[name]) == (UNSET, None, False)
    assert TABLE[name].payload is not None
    assert repr(UNSET) == "UNSET"


def test_options_are_those_that_were_given() -> None:
    assert options(TABLE["move"]) == (5, "room", True)
    assert options(TABLE["lock"]) == (None, True, False)
    assert options(TABLE["watch"]) == (0.5, "room", False)


def test_a_deadline_may_be_as_long_as_a_float_says() -> None:
    @ws_rpc(timeout=1e300)
    async def ws_rpc_x(self: object, payload: dict[str, Any]) -> None:
        pass

    assert MethodTable.of(type("Slow", (), {"ws_rpc_x": ws_rpc_x}))["x"].timeout == 1e300


# Overriding


def test_an_override_without_options_keeps_those_of_what_it_overrides() -> None:
    class Derived(Rooms):
        async def ws_rpc_move(self, payload: Move) -> None:
            pass

        @ws_rpc(response_schema=bool)
        async def ws_rpc_lock(self, payload: Move) -> Any:
            return True

    table = MethodTable.of(Derived)

    assert options(table["move"]) == (5, "room", True)
    assert options(table["lock"]) == (None, True, False)
    assert table["lock"].payload is not None
    assert table["lock"].payload.hint is Move


def test_an_override_changes_only_the_options_that_it_names() -> None:
    class Longer(Rooms):
        @ws_rpc(timeout=9)
        async def ws_rpc_move(self, payload: Move) -> None:
            pass

    class Endless(Longer):
        @ws_rpc(timeout=None)
        async def ws_rpc_move(self, payload: Move) -> None:
            pass

    class Elsewhere(Longer):
        @ws_rpc(lane="to")
        async def ws_rpc_move(self, payload: Move) -> None:
            pass

    assert options(MethodTable.of(Longer)["move"]) == (9, "room", True)
    assert options(MethodTable.of(Endless)["move"]) == (None, "room", True)
    assert options(MethodTable.of(Elsewhere)["move"]) == (9, "to", True)


def test_an_override_can_take_a_lane_and_a_shield_away() -> None:
    class Derived(Rooms):
        @ws_rpc(lane=None, shield=False)
        async def ws_rpc_move(self, payload: Move) -> None:
            pass

    assert options(MethodTable.of(Derived)["move"]) == (5, None, False)


# Wrong options are refused where they are written

TIMEOUT = "ws_rpc: timeout is a number of seconds greater than zero, or None for no deadline;"
LANE = (
    "ws_rpc: lane is True for one lane of the method, the name of a field of the payload, or None;"
)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 10**400, True, "5"])
def test_a_deadline_that_is_no_time_is_refused(timeout: object) -> None:
    with pytest.raises(DeclarationError) as caught:
        UNARY(timeout=timeout)

    assert str(caught.value) == f"{TIMEOUT} {timeout!r} is neither"


@pytest.mark.parametrize("lane", [False, "", 1, 0, ["room"], b"room"])
def test_a_lane_that_is_neither_true_nor_a_name_is_refused(lane: object) -> None:
    with pytest.raises(DeclarationError) as caught:
        UNARY(lane=lane)

    assert str(caught.value) == f"{LANE} {lane!r} is none of them"


@pytest.mark.parametrize("shield", [None, 1, "yes"])
def test_a_shield_that_is_no_bool_is_refused(shield: object) -> None:
    with pytest.raises(DeclarationError) as caught:
        UNARY(shield=shield)

    assert str(caught.value) == f"ws_rpc: shield is True or False; {shield!r} is neither"


@pytest.mark.parametrize("positional", [Move, None, 5, staticmethod(len)])
def test_an_option_without_a_name_is_refused(positional: object) -> None:
    with pytest.raises(DeclarationError) as caught:
        UNARY(positional)

    assert str(caught.value) == (
        f"ws_rpc: {positional!r} is no function; options have names, as `@ws_rpc(body_schema=…)`"
    )


def test_options_in_two_places_are_refused() -> None:
    with pytest.raises(DeclarationError, match="ws_rpc_x: it has `@ws_rpc` twice; give all"):

        class Twice:
            @ws_rpc(timeout=5)
            @ws_rpc(lane=True)
            async def ws_rpc_x(self, payload: Move) -> None:
                pass


# Options that do not fit the method are refused when its class is read


def no_such_field() -> type:
    class Wrong:
        @ws_rpc(lane="order")
        async def ws_rpc_x(self, payload: Move) -> None:
            pass

    return Wrong


def no_such_field_of_a_body_schema() -> type:
    class Wrong:
        @ws_rpc(body_schema=Move, lane="order")
        async def ws_rpc_x(self, payload: dict[str, Any]) -> None:
            pass

    return Wrong


def an_override_lost_the_field() -> type:
    @dataclass
    class Empty:
        pass

    class Wrong(Rooms):
        @ws_rpc(body_schema=Empty)
        async def ws_rpc_move(self, payload: Any) -> None:
            pass

    return Wrong


def shielded_stream() -> type:
    class Wrong:
        @ws_rpc(shield=True)
        async def ws_rpc_x(self, payload: Move) -> AsyncIterator[int]:
            yield 1

    return Wrong


FIELDS = "its fields are room, to"
WRONG: dict[Callable[[], type], str] = {
    no_such_field: f"Wrong.ws_rpc_x: lane: its payload has no field 'order', {FIELDS}",
    no_such_field_of_a_body_schema: (
        f"Wrong.ws_rpc_x: lane: its payload has no field 'order', {FIELDS}"
    ),
    an_override_lost_the_field: (
        "Wrong.ws_rpc_move: lane: its payload has no field 'room', it has no fields"
    ),
    shielded_stream: (
        "Wrong.ws_rpc_x: a stream cannot be shielded: once nobody reads it, it has no work to"
        " finish; leave `shield` out"
    ),
}


@pytest.mark.parametrize("declare", WRONG, ids=lambda declare: declare.__name__)
def test_an_option_that_does_not_fit_its_method_is_refused(declare: Callable[[], type]) -> None:
    with pytest.raises(DeclarationError) as caught:
        MethodTable.of(declare())

    assert str(caught.value).replace(f"{declare.__name__}.<locals>.", "") == WRONG[declare]
