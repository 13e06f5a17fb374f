"""Frames as types, and errors on their way into them and out of them."""

import json
from typing import Any

import pytest
from msgspec import UNSET, Raw

from openapi.errors import CallFailed, ErrorCode, RpcError, Unserializable
from openapi.protocol.frames import (
    NO_PAYLOAD,
    Answer,
    Batch,
    Call,
    Cancel,
    Error,
    Failure,
    Item,
    Malformed,
    Message,
    Reconnect,
)
from openapi.protocol.native import JSON, JSON_CLIENT


@pytest.mark.parametrize(
    "frame",
    [
        Call.of(1, "m", b"{}", 5),
        Cancel(id=1),
        Answer.of(1, "m", b"1"),
        Item.of(1, "m", b"1", 1),
        Error(code=1, message="no"),
        Failure(error=Error(code=1, message="no")),
        Message(channel="c", event="e", data=1),
        Reconnect(after=1, code=1012),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_frames_do_not_change(frame: Any) -> None:
    for field in frame.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(frame, field, None)


def test_a_call_without_a_payload_or_a_timeout_has_none() -> None:
    call = Call(id=None, method="m")

    assert (call.payload, call.timeout) == (NO_PAYLOAD, None)
    assert Call.of(1, "m", b"{}", 5) == Call(id=1, method="m", payload=Raw(b"{}"), timeout=5)


def test_an_error_goes_over_the_wire_and_comes_out_with_every_field() -> None:
    raised = RpcError(
        ErrorCode.RATE_LIMITED, "slow down", data={"n": 1}, errors={"a": "b"}, retry_after=250
    )

    text = JSON.encode(Failure(id=1, method="m", error=Error.of(raised))).decode()
    frame = JSON_CLIENT.decode(text)

    assert isinstance(frame, Failure)
    got = frame.error.failure()
    assert isinstance(got, CallFailed)
    assert (got.code, got.message, got.data, got.errors, got.retry_after) == (
        -32003,
        "slow down",
        {"n": 1},
        {"a": "b"},
        250,
    )


def test_what_an_error_leaves_out_is_left_out() -> None:
    error = Error.of(RpcError(1, "no", errors={}))

    assert JSON.encode(Failure(error=error)) == b'{"error":{"code":1,"message":"no"}}'
    assert error.data is UNSET
    got = error.failure()
    assert (got.data, got.errors, got.retry_after) == (None, None, None)


def test_falsy_data_of_an_error_is_data() -> None:
    error = Error.of(RpcError(1, "no", data=0, retry_after=0))

    assert json.loads(JSON.encode(Failure(error=error))) == {
        "error": {"code": 1, "message": "no", "data": 0, "retry_after": 0}
    }


@pytest.mark.parametrize("code", ["NOT_FOUND", None, float("inf"), float("nan")])
def test_a_code_that_is_no_integer_is_unserializable(code: Any) -> None:
    with pytest.raises(Unserializable, match=f"^an error code is an integer, {code!r} is none$"):
        Error.of(RpcError(code, "no"))


def test_what_is_no_frame_says_why_as_far_as_it_could_be_read() -> None:
    malformed = Malformed.of(ErrorCode.INVALID_REQUEST, "no", {"method": "required"}, id=None)

    assert malformed.failure == Failure(
        id=None, error=Error(code=-32600, message="no", errors={"method": "required"})
    )
    assert Malformed(None).failure is None


def test_the_answers_of_a_batch_are_joined_as_they_are() -> None:
    assert Batch.joined([b"1", b'{"a":[]}']) == b'[1,{"a":[]}]'
