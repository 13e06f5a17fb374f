"""The exception tree and the codes."""

import pytest

from openapi import errors
from openapi.errors import (
    CallFailed,
    CannotPublish,
    CannotSubscribe,
    ChannelCallbackError,
    CloseCode,
    ConnectionClosed,
    DeclarationError,
    ErrorCode,
    InvalidData,
    OpenApiError,
    RpcError,
    TooSlow,
    UnexpectedData,
    Unserializable,
    may_reconnect,
)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (DeclarationError, TypeError),
        (InvalidData, ValueError),
        (UnexpectedData, ValueError),
        (Unserializable, TypeError),
        (RpcError, Exception),
        (CallFailed, Exception),
        (TooSlow, Exception),
        (ConnectionClosed, ConnectionError),
        (CannotPublish, RuntimeError),
        (CannotSubscribe, RuntimeError),
        (ChannelCallbackError, RuntimeError),
    ],
)
def test_every_exception_can_be_caught_as_the_librarys_and_as_pythons(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, OpenApiError)
    assert issubclass(kind, builtin)
    assert kind.__name__ in errors.__all__
    assert kind.__name__ in str(errors.__doc__)


def test_the_error_of_another_server_is_not_taken_for_an_answer_to_ones_own_caller() -> None:
    assert not issubclass(CallFailed, RpcError)
    assert not issubclass(RpcError, CallFailed)
    assert not issubclass(UnexpectedData, InvalidData)
    assert not issubclass(InvalidData, UnexpectedData)


def test_codes_are_those_of_the_wire() -> None:
    assert {int(code) for code in ErrorCode} == {
        *(-32700, -32600, -32601, -32602, -32603),
        *(-32001, -32002, -32003, -32004, -32005, -32006, -32007, -32008, -32009),
    }
    assert {int(code) for code in CloseCode} == {
        *(1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011, 1012),
        *(4000, 4001, 4008, 4010, 4500, 4501, 4502, 4503, 4504),
    }


def test_every_exception_is_the_librarys() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    exceptions = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]

    assert len(exceptions) > 10
    assert all(issubclass(kind, OpenApiError) for kind in exceptions)


@pytest.mark.parametrize(
    ("code", "may"),
    [
        (1000, False),
        (1001, True),
        (1002, False),
        (1003, False),
        (1006, True),
        (1012, True),
        (3999, True),
        (4000, True),
        (4499, True),
        (4500, False),
        (4999, False),
        (5000, True),
    ],
)
def test_a_close_code_says_whether_to_come_back(code: int, may: bool) -> None:
    assert may_reconnect(code) is may


def test_invalid_data_reads_as_a_list_of_fields() -> None:
    faults = {"a.b[0]": "required", "c": "unknown field"}
    error = InvalidData(faults)
    assert str(error) == "a.b[0]: required; c: unknown field"
    assert str(InvalidData({"": "JSON string expected"})) == "JSON string expected"
    faults.clear()
    assert set(error.errors) == {"a.b[0]", "c"}


@pytest.mark.parametrize("kind", [RpcError, CallFailed])
def test_a_coded_error_has_the_fields_of_an_error_frame(
    kind: type[RpcError] | type[CallFailed],
) -> None:
    bare = kind(7, "No seats left")
    assert (bare.code, bare.message, bare.data) == (7, "No seats left", None)
    assert bare.errors is None
    assert bare.retry_after is None
    assert str(bare) == "No seats left (7)"

    full = kind(
        ErrorCode.RATE_LIMITED, "Slow down", data=[1], errors={"seat": "taken"}, retry_after=50
    )
    assert (full.data, full.errors, full.retry_after) == ([1], {"seat": "taken"}, 50)
    assert str(full) == "Slow down (-32003); seat: taken"


def test_a_closed_connection_says_why() -> None:
    error = ConnectionClosed(4008, "too slow")
    assert (error.code, error.reason) == (4008, "too slow")
    assert str(error) == "the connection is closed (4008, too slow)"
    assert str(ConnectionClosed(1006)) == "the connection is closed (1006)"
