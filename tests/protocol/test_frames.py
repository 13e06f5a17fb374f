"""Frames and the text that they are written as."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from openapi.errors import CallFailed, ErrorCode, RpcError, Unserializable
from openapi.protocol.frames import (
    JSON,
    Answer,
    Codec,
    Error,
    Failure,
    Malformed,
    Message,
    ObjectCodec,
    Reconnect,
    read,
    write,
)

NOT_AN_ID = "expected an integer from 0 to 2^53-1, or a string of at most 64 characters"
FOREIGN = ObjectCodec(json.loads, json.dumps)

# Texts that are nearly messages, so that each part of the decoder is reached.
KEYS = st.sampled_from(["id", "method", "payload", "error", "response", "event", "x"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=70)
    | st.just(10**400)
)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
NEARLY = st.dictionaries(KEYS, PLAIN) | st.fixed_dictionaries(
    {"id": LEAVES, "method": st.text(max_size=5) | LEAVES}, optional={"payload": PLAIN}
)
TEXTS = (
    st.text()
    | NEARLY.map(json.dumps)
    | st.builds(lambda message, cut: json.dumps(message)[:-cut], NEARLY, st.integers(1, 5))
)


def outcome(codec: Codec, text: str) -> object:
    """A call as plain data, or the failure that the peer would get."""
    try:
        call = codec.decode(text)
    except Malformed as exc:
        return JSON.encode(exc.failure)
    return call.id, call.method, json.loads(bytes(call.payload))


def failure(text: str, codec: Codec = JSON) -> Any:
    """The failure that a text is answered with, as plain data."""
    with pytest.raises(Malformed) as caught:
        codec.decode(text)
    return json.loads(JSON.encode(caught.value.failure))


@given(TEXTS)
def test_any_text_is_a_call_that_round_trips_or_malformed(text: str) -> None:
    try:
        call = JSON.decode(text)
    except (Malformed, RecursionError):
        return

    again = JSON.decode(write(call.id, call.method, bytes(call.payload)).decode())

    assert (again.id, again.method) == (call.id, call.method)
    assert json.loads(bytes(again.payload)) == json.loads(bytes(call.payload))


@given(NEARLY)
def test_a_text_format_of_the_application_gives_what_json_gives(message: dict[str, Any]) -> None:
    foreign = ObjectCodec(lambda text: json.loads(text[1:]), lambda value: "!" + json.dumps(value))
    text = json.dumps(message)
    try:
        native = outcome(JSON, text)
    except RecursionError:
        return

    assert outcome(foreign, "!" + text) == native


@pytest.mark.parametrize("codec", [JSON, FOREIGN], ids=["native", "foreign"])
@pytest.mark.parametrize(
    "payload",
    ["", ', "payload": null', ', "payload":null', ', "payload": {}', ', "payload" : null '],
)
def test_no_payload_and_a_null_payload_are_the_empty_object(codec: Codec, payload: str) -> None:
    call = codec.decode('{"id": 1, "method": "m"' + payload + "}")

    assert bytes(call.payload) == b"{}"


@pytest.mark.parametrize("text", ['{"id": "x%s", "id": 2, "method": "m", "payload": {"a": 1}}'])
def test_a_faulty_value_that_a_later_one_replaces_is_no_fault(text: str) -> None:
    call = JSON.decode(text % ("x" * 64))

    assert call.id == 2
    assert json.loads(bytes(call.payload)) == {"a": 1}


def test_null_beside_a_replaced_fault_is_the_empty_object_too() -> None:
    call = JSON.decode('{"id": true, "id": 2, "method": "m", "payload": null}')

    assert bytes(call.payload) == b"{}"


@pytest.mark.parametrize("codec", [JSON, FOREIGN], ids=["native", "foreign"])
@pytest.mark.parametrize("text", ["", "nope", "{", '{"id": 1, "method": "m"} {}', "\ufeff{}"])
def test_what_is_no_json_is_a_parse_error(codec: Codec, text: str) -> None:
    assert failure(text, codec) == {"error": {"code": -32700, "message": "JSON string expected"}}


@pytest.mark.parametrize("codec", [JSON, FOREIGN], ids=["native", "foreign"])
@pytest.mark.parametrize(
    "text",
    [
        r'{"id": "\ud800", "method": "m"}',
        r'{"id": 1, "method": "\udfff"}',
        r'{"id": 1, "method": "m", "payload": {"x": "\ud800"}}',
    ],
)
def test_half_a_surrogate_pair_is_a_parse_error(codec: Codec, text: str) -> None:
    assert failure(text, codec) == {"error": {"code": -32700, "message": "JSON string expected"}}


def test_nan_is_no_json() -> None:
    text = '{"id": 1, "method": "m", "payload": {"x": NaN}}'

    assert failure(text) == {"error": {"code": -32700, "message": "JSON string expected"}}


@pytest.mark.parametrize("codec", [JSON, FOREIGN], ids=["native", "foreign"])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[]", "list"),
        ('"x"', "str"),
        ("1", "int"),
        ("1.5", "float"),
        ("true", "bool"),
        ("null", "NoneType"),
    ],
)
def test_json_that_is_no_object_is_named_as_python_does(codec: Codec, text: str, name: str) -> None:
    assert failure(text, codec) == {
        "error": {
            "code": -32600,
            "message": f"Malformed message; expected dictionary, got {name}",
        }
    }


@pytest.mark.parametrize(
    "id",
    ["true", "1.5", "1.0", "-1", "9007199254740992", "7" * 400, f'"{"x" * 65}"', "[]", "{}"],
)
def test_what_is_no_id_is_said_and_not_sent_back(id: str) -> None:
    assert failure('{"method": "m", "id": ' + id + "}") == {
        "method": "m",
        "error": {
            "code": -32600,
            "message": "Invalid RPC parameters",
            "errors": {"id": NOT_AN_ID},
        },
    }


@pytest.mark.parametrize("id", [0, 2**53 - 1, "", "x" * 64, "€" * 64, None])
def test_the_limits_of_an_id_belong_to_it(id: str | int | None) -> None:
    assert JSON.decode(json.dumps({"id": id, "method": "m"})).id == id


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, {"errors": {"id": "required", "method": "required"}}),
        ({"id": 1}, {"id": 1, "errors": {"method": "required"}}),
        ({"id": None}, {"id": None, "errors": {"method": "required"}}),
        ({"method": "m"}, {"method": "m", "errors": {"id": "required"}}),
        ({"id": 1, "method": 2}, {"id": 1, "errors": {"method": "expected a string"}}),
        (
            {"id": [], "method": None},
            {"errors": {"id": NOT_AN_ID, "method": "expected a string"}},
        ),
    ],
)
def test_everything_that_is_wrong_is_named_and_what_could_be_read_is_sent_back(
    message: dict[str, Any], expected: dict[str, Any]
) -> None:
    errors = expected.pop("errors")
    error = {"code": -32600, "message": "Invalid RPC parameters", "errors": errors}

    assert failure(json.dumps(message)) == {**expected, "error": error}


@pytest.mark.parametrize("codec", [JSON, FOREIGN], ids=["native", "foreign"])
def test_nesting_that_no_parser_bears_is_a_recursion_error(codec: Codec) -> None:
    with pytest.raises(RecursionError):
        codec.decode('{"id": 1, "method": "m", "payload": %s}' % ("[" * 100_000 + "]" * 100_000))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            Answer.of(1, "m", b'{"x":1}'),
            {"id": 1, "method": "m", "response": {"x": 1}},
        ),
        (
            Failure(error=Error(code=7, message="no")),
            {"error": {"code": 7, "message": "no"}},
        ),
        (
            Failure(id=None, method="m", error=Error(code=7, message="no", data=[0])),
            {"id": None, "method": "m", "error": {"code": 7, "message": "no", "data": [0]}},
        ),
        (
            Message(channel="c", event="", data=None),
            {"channel": "c", "event": "", "data": None},
        ),
        (
            Reconnect(after=5, code=1012),
            {"event": "$reconnect", "data": {"after": 5, "code": 1012}},
        ),
    ],
)
def test_a_frame_is_written_and_read_again(frame: Any, expected: dict[str, Any]) -> None:
    text = JSON.encode(frame).decode()

    assert json.loads(text) == expected
    assert FOREIGN.encode(frame).decode() == json.dumps(expected)
    again = read(text)
    assert again is not None
    assert json.loads(JSON.encode(again)) == {"id": None, "method": "", **expected} or (
        json.loads(JSON.encode(again)) == expected
    )


def test_a_call_is_written_and_read_by_the_other_side() -> None:
    call = JSON.decode(write(5, "add", b'{"a":1}').decode())

    assert (call.id, call.method, bytes(call.payload)) == (5, "add", b'{"a":1}')
    assert JSON.decode(write(None, "add", b"{}").decode()).id is None


@pytest.mark.parametrize(
    "text",
    [
        "nope",
        "[]",
        "{}",
        '{"id": 1, "method": "m"}',
        '{"method": "m", "response": 1}',
        '{"event": "$later", "data": {"after": 1}}',
        '{"event": "$reconnect", "data": {"after": "soon", "code": 1012}}',
        '{"event": "$reconnect"}',
        '{"channel": "c"}',
        '{"channel": 5, "event": "e", "data": 1}',
        '{"id": 1, "response": %s}' % ("[" * 100_000),
    ],
)
def test_what_a_client_does_not_know_is_nothing_to_it(text: str) -> None:
    assert read(text) is None


def test_a_client_passes_over_keys_that_it_does_not_know() -> None:
    frame = read('{"channel": "c", "event": "e", "data": {"x": 1}, "offset": 5}')

    assert isinstance(frame, Message)
    assert json.loads(bytes(frame.data)) == {"x": 1}


@pytest.mark.parametrize("error", ["null", '"no"', '{"code": "x"}', "[" * 100_000])
def test_an_error_that_cannot_be_read_ends_its_call_all_the_same(error: str) -> None:
    frame = read('{"id": 1, "method": "m", "error": ' + error + "}")

    if error.startswith("["):  # nor can the whole text
        assert frame is None
        return
    assert isinstance(frame, Failure)
    assert frame.id == 1
    assert frame.error.code == ErrorCode.INTERNAL_ERROR


def test_an_error_goes_over_the_wire_and_comes_out_with_every_field() -> None:
    raised = RpcError(
        ErrorCode.RATE_LIMITED, "slow down", data={"n": 1}, errors={"a": "b"}, retry_after=250
    )

    text = JSON.encode(Failure(id=1, method="m", error=Error.of(raised))).decode()
    frame = read(text)

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
    assert json.loads(JSON.encode(Failure(error=Error.of(RpcError(1, "no", data=0))))) == {
        "error": {"code": 1, "message": "no", "data": 0}
    }


@pytest.mark.parametrize("code", ["NOT_FOUND", None])
def test_a_code_that_is_no_integer_is_unserializable(code: Any) -> None:
    with pytest.raises(Unserializable, match=f"^an error code is an integer, {code!r} is none$"):
        Error.of(RpcError(code, "no"))


def test_what_has_no_json_form_is_unserializable() -> None:
    with pytest.raises(Unserializable, match="`object` has no JSON form"):
        JSON.encode(Message(channel="c", event="e", data=object()))
    with pytest.raises(Unserializable, match="`object` has no JSON form"):
        FOREIGN.encode(Message(channel="c", event="e", data=object()))


def test_nan_is_written_as_null() -> None:
    assert json.loads(JSON.encode(Message(channel="c", event="e", data=[math.nan]))) == {
        "channel": "c",
        "event": "e",
        "data": [None],
    }


def broken_by(error: Exception) -> Callable[[Any], str]:
    """An ``encode_message`` that fails."""

    def encode_message(message: Any) -> str:
        raise error

    return encode_message


@pytest.mark.parametrize("error", [TypeError("no such thing"), ValueError("no such thing")])
def test_what_a_text_format_of_the_application_cannot_write_is_unserializable(
    error: Exception,
) -> None:
    codec = ObjectCodec(json.loads, broken_by(error))

    with pytest.raises(Unserializable, match="^encode_message failed: .*no such thing"):
        codec.encode(Reconnect(after=0, code=1012))


def test_a_text_format_that_gives_what_json_cannot_say_gives_a_parse_error() -> None:
    codec = ObjectCodec(lambda text: {"id": 1, "method": "m", "payload": object()}, json.dumps)

    assert failure("x", codec) == {"error": {"code": -32700, "message": "JSON string expected"}}


@pytest.mark.parametrize(
    "frame",
    [
        JSON.decode('{"id": 1, "method": "m"}'),
        Answer.of(1, "m", b"1"),
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
