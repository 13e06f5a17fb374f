"""The native frames, and the messages that they are written as: JSON, MessagePack, an own text."""

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw, msgpack

from openapi.errors import ErrorCode, Unserializable
from openapi.protocol.frames import (
    NO_PAYLOAD,
    Answer,
    Batch,
    Call,
    Cancel,
    Codec,
    Error,
    Failure,
    Frame,
    Item,
    Malformed,
    Message,
    Reconnect,
)
from openapi.protocol.native import JSON, JSON_CLIENT, MSGPACK, MSGPACK_CLIENT, ObjectCodec

NOT_AN_ID = "expected an integer from 0 to 2^53-1, or a string of at most 64 characters"
NOT_JSON = {"error": {"code": -32700, "message": "JSON string expected"}}
NOT_MSGPACK = {"error": {"code": -32700, "message": "MessagePack expected"}}
NO_CALL = {"code": -32600, "message": "Invalid RPC parameters"}
DEEP = "[" * 100_000 + "]" * 100_000

FOREIGN = ObjectCodec(json.loads, json.dumps)
SERVERS: list[Codec] = [JSON, MSGPACK, FOREIGN]
SERVER_IDS = ["json", "msgpack", "foreign"]
CLIENTS: list[Codec] = [JSON_CLIENT, MSGPACK_CLIENT]
CLIENT_IDS = ["json", "msgpack"]

servers = pytest.mark.parametrize("codec", SERVERS, ids=SERVER_IDS)
texts = pytest.mark.parametrize("codec", [JSON, FOREIGN], ids=["json", "foreign"])
clients = pytest.mark.parametrize("codec", CLIENTS, ids=CLIENT_IDS)
pairs = pytest.mark.parametrize(
    ("server", "client"), [(JSON, JSON_CLIENT), (MSGPACK, MSGPACK_CLIENT)], ids=CLIENT_IDS
)

# Messages that are nearly frames, so that each part of the decoders is reached.
KEYS = st.sampled_from(
    "id method payload timeout cancel response error item seq channel event data x".split()
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=70)
    | st.sampled_from([10**400, "s1", "$reconnect"])
)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
IDS = st.none() | st.integers(-1, 2**53) | st.text(max_size=65) | LEAVES
ERRORS = st.fixed_dictionaries(
    {"code": st.integers(-(2**63), 2**63), "message": st.text(max_size=5)},
    optional={"data": PLAIN, "errors": PLAIN, "retry_after": LEAVES},
)
NEARLY = (
    st.dictionaries(KEYS, PLAIN)
    | st.fixed_dictionaries(
        {"id": IDS, "method": st.text(max_size=5) | LEAVES},
        optional={"payload": PLAIN, "timeout": st.integers(0, 5) | LEAVES, "x": PLAIN},
    )
    | st.fixed_dictionaries(
        {"id": IDS},
        optional={
            "method": st.text(max_size=5),
            "response": PLAIN,
            "error": ERRORS | PLAIN,
            "item": PLAIN,
            "seq": st.integers(-1, 5) | LEAVES,
            "cancel": st.booleans() | LEAVES,
        },
    )
    | st.fixed_dictionaries(
        {"event": st.just("$reconnect") | LEAVES},
        optional={
            "channel": LEAVES,
            "data": st.just({"after": 5, "code": 1012}) | PLAIN,
        },
    )
)
TEXTS = (
    st.text()
    | NEARLY.map(json.dumps)
    | PLAIN.map(json.dumps)
    | st.builds(lambda message, cut: json.dumps(message)[:-cut], NEARLY, st.integers(1, 5))
)


def _is_packable(message: object) -> bool:
    try:
        msgpack.encode(message)
    except OverflowError:
        return False
    return True


PACKED = (NEARLY | PLAIN).filter(_is_packable).map(msgpack.encode)
BYTES = (
    st.binary()
    | PACKED
    | st.builds(lambda message, cut: message[:-cut], PACKED, st.integers(1, 5))
    # a byte of it that is another one
    | st.builds(
        lambda message, at, byte: message[: at % len(message)] + byte + message[at + 1 :],
        PACKED,
        st.integers(0, 50),
        st.binary(min_size=1, max_size=1),
    )
)


def written(codec: Codec, message: object) -> str | bytes:
    """Anything, as a message of a codec."""
    return msgpack.encode(message) if codec.packed else json.dumps(message)


def plain(codec: Codec, message: bytes | Raw) -> Any:
    """What a message of a codec, or a part of it, says."""
    return msgpack.decode(message) if codec.packed else json.loads(bytes(message))


def outcome(codec: Codec, message: str | bytes) -> Any:
    """A frame as plain data, or what its sender would be told."""
    try:
        frame = codec.decode(message)
    except Malformed as exc:
        return exc.failure and plain(codec, codec.encode(exc.failure))
    assert not isinstance(frame, Batch)
    return type(frame), plain(codec, codec.encode(frame))


def failure(codec: Codec, message: str | bytes) -> Any:
    """The failure that a message is answered with, as plain data."""
    with pytest.raises(Malformed) as caught:
        codec.decode(message)
    assert caught.value.failure is not None
    return plain(codec, codec.encode(caught.value.failure))


def call(codec: Codec, message: str | bytes) -> Call:
    """The call that a message is."""
    frame = codec.decode(message)
    assert isinstance(frame, Call)
    return frame


# Any message


@given(st.sampled_from([JSON, JSON_CLIENT]), TEXTS)
def test_any_text_is_a_frame_that_round_trips_or_malformed(codec: Codec, text: str) -> None:
    _check(codec, text)


@given(st.sampled_from([MSGPACK, MSGPACK_CLIENT]), BYTES)
def test_any_bytes_are_a_frame_that_round_trips_or_malformed(codec: Codec, data: bytes) -> None:
    _check(codec, data)


def _check(codec: Codec, message: str | bytes) -> None:
    try:
        frame = codec.decode(message)
    except Malformed as exc:
        is_told = exc.failure is not None
        assert not is_told or codec in (JSON, MSGPACK)
        return
    assert not isinstance(frame, Batch)

    once = codec.encode(frame)
    again = codec.decode(once if codec.packed else once.decode())

    assert not isinstance(again, Batch)
    assert (type(again), codec.encode(again)) == (type(frame), once)


@given(NEARLY)
def test_a_text_format_of_the_application_gives_what_json_gives(message: dict[str, Any]) -> None:
    foreign = ObjectCodec(lambda text: json.loads(text[1:]), lambda value: "!" + json.dumps(value))
    text = json.dumps(message)
    try:
        frame: Frame | Failure | None = _frame(JSON, text)
    except RecursionError:
        return

    assert _frame(foreign, "!" + text) == frame


def _frame(codec: Codec, text: str) -> Frame | None:
    try:
        frame = codec.decode(text)
    except Malformed as exc:
        return exc.failure
    assert not isinstance(frame, Batch)
    return msgspec.structs.replace(frame, **_read(frame))


def _read(frame: Frame) -> dict[str, Any]:
    """The fields that nobody has read, without the blanks."""
    return {
        name: Raw(json.dumps(json.loads(bytes(value) or b"null")).encode())
        for name in ("payload", "response", "item")
        if isinstance(value := getattr(frame, name, None), Raw)
    }


@given(NEARLY.filter(_is_packable))
def test_messagepack_says_what_json_says(message: dict[str, Any]) -> None:
    packed, text = msgpack.encode(message), json.dumps(message)

    assert outcome(MSGPACK, packed) == outcome(JSON, text)
    assert outcome(MSGPACK_CLIENT, packed) == outcome(JSON_CLIENT, text)


# Calls


@servers
@pytest.mark.parametrize("id", [0, 2**53 - 1, "", "x" * 64, "€" * 64, None])
def test_the_limits_of_an_id_belong_to_it(codec: Codec, id: str | int | None) -> None:
    assert call(codec, written(codec, {"id": id, "method": "m"})).id == id


@pytest.mark.parametrize("codec", [*SERVERS, *CLIENTS])
@pytest.mark.parametrize("more", [{}, {"payload": None}])
def test_no_payload_and_a_null_payload_are_the_empty_object(
    codec: Codec, more: dict[str, None]
) -> None:
    assert call(codec, written(codec, {"id": 1, "method": "m", **more})).payload == NO_PAYLOAD


@texts
@pytest.mark.parametrize("payload", [', "payload":null', ', "payload" : null ', ', "payload":{}'])
def test_blanks_do_not_count(codec: Codec, payload: str) -> None:
    assert call(codec, '{"id": 1, "method": "m"' + payload + "}").payload in (
        NO_PAYLOAD,
        Raw(b"{}"),
    )


@servers
def test_a_timeout_is_said_in_milliseconds(codec: Codec) -> None:
    message = {"id": 1, "method": "m", "payload": {"a": 1}}

    assert call(codec, written(codec, message)).timeout is None
    assert call(codec, written(codec, {**message, "timeout": None})).timeout is None
    for timeout in (1, 2**53 - 1):
        assert call(codec, written(codec, {**message, "timeout": timeout})).timeout == timeout


@servers
def test_keys_that_are_not_known_are_passed_over(codec: Codec) -> None:
    message = {"id": 1, "method": "m", "payload": {"a": 1}, "offset": [1], "seq": "x", "cancel": 5}

    read = call(codec, written(codec, message))

    assert (read.id, read.method) == (1, "m")
    assert plain(codec, read.payload) == {"a": 1}


def test_a_faulty_value_that_a_later_one_replaces_is_no_fault() -> None:
    read = call(JSON, '{"id": "x%s", "id": 2, "method": "m", "payload": {"a": 1}}' % ("x" * 64))

    assert (read.id, plain(JSON, read.payload)) == (2, {"a": 1})


def test_null_beside_a_replaced_fault_is_the_empty_object_too() -> None:
    read = call(JSON, '{"id": true, "id": 2, "method": "m", "payload": null}')

    assert (read.id, read.payload) == (2, NO_PAYLOAD)


# What is no frame


@texts
@pytest.mark.parametrize("text", ["", "nope", "{", '{"id": 1, "method": "m"} {}', "\ufeff{}"])
def test_what_is_no_json_is_a_parse_error(codec: Codec, text: str) -> None:
    assert failure(codec, text) == NOT_JSON


@texts
@pytest.mark.parametrize(
    "text",
    [
        r'{"id": "\ud800", "method": "m"}',
        r'{"id": 1, "method": "\udfff"}',
        r'{"id": 1, "method": "m", "payload": {"x": "\ud800"}}',
    ],
)
def test_half_a_surrogate_pair_is_a_parse_error(codec: Codec, text: str) -> None:
    assert failure(codec, text) == NOT_JSON


def test_nan_is_no_json() -> None:
    assert failure(JSON, '{"id": 1, "method": "m", "payload": {"x": NaN}}') == NOT_JSON


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",  # a byte that means nothing
        b"\x82\xa2id\x01",  # it ends too early
        b"\x80\x80",  # there is something behind it
        b"\xdd\xff\xff\xff\xff",  # it announces what does not come
        b"\x81\x80\x01",  # an object as the name of a field
        b"\xa1\xff",  # strings that are no UTF-8
        b"\x82\xa2id\x01\xa6method\xa1\xff",
        b"\x82\xa2id\xa1\xff\xa6method\xa1m",
        b"\x81\xa1\xff\x01",
    ],
)
def test_what_is_no_messagepack_is_a_parse_error(data: bytes) -> None:
    assert failure(MSGPACK, data) == NOT_MSGPACK
    with pytest.raises(Malformed) as caught:
        MSGPACK_CLIENT.decode(data)
    assert caught.value.failure is None


@servers
@pytest.mark.parametrize(
    ("message", "name"),
    [
        ([], "list"),
        ("x", "str"),
        (1, "int"),
        (1.5, "float"),
        (True, "bool"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_object_is_named_as_python_does(
    codec: Codec, message: object, name: str
) -> None:
    assert failure(codec, written(codec, message)) == {
        "error": {
            "code": -32600,
            "message": f"Malformed message; expected dictionary, got {name}",
        }
    }


@pytest.mark.parametrize("id", ["1.0", "7" * 400])
def test_what_is_no_id_in_json_is_said_and_not_sent_back(id: str) -> None:
    assert failure(JSON, '{"method": "m", "id": ' + id + "}") == {
        "method": "m",
        "error": {**NO_CALL, "errors": {"id": NOT_AN_ID}},
    }


@servers
@pytest.mark.parametrize("id", [True, 1.5, -1, 2**53, "x" * 65, [], {}])
def test_what_is_no_id_is_said_and_not_sent_back(codec: Codec, id: object) -> None:
    assert failure(codec, written(codec, {"method": "m", "id": id})) == {
        "method": "m",
        "error": {**NO_CALL, "errors": {"id": NOT_AN_ID}},
    }


@servers
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, {"errors": {"id": "required", "method": "required"}}),
        ({"id": 1}, {"id": 1, "errors": {"method": "required"}}),
        ({"id": None}, {"id": None, "errors": {"method": "required"}}),
        ({"id": 1, "cancel": False}, {"id": 1, "errors": {"method": "required"}}),
        ({"id": 1, "cancel": 1}, {"id": 1, "errors": {"method": "required"}}),
        ({"cancel": True}, {"errors": {"id": "required"}}),
        ({"id": None, "cancel": True}, {"id": None, "errors": {"id": NOT_AN_ID}}),
        ({"id": 1.5, "cancel": True}, {"errors": {"id": NOT_AN_ID}}),
        ({"method": "m"}, {"method": "m", "errors": {"id": "required"}}),
        ({"id": 1, "method": 2}, {"id": 1, "errors": {"method": "expected a string"}}),
        (
            {"id": [], "method": None},
            {"errors": {"id": NOT_AN_ID, "method": "expected a string"}},
        ),
        (
            {"method": "m", "timeout": 0},
            {
                "method": "m",
                "errors": {
                    "id": "required",
                    "timeout": "expected milliseconds, an integer from 1",
                },
            },
        ),
        ({"response": 1}, {"errors": {"id": "required"}}),
        ({"id": None, "response": 1}, {"id": None, "errors": {"id": NOT_AN_ID}}),
        ({"id": None, "item": 1}, {"id": None, "errors": {"id": NOT_AN_ID}}),
        ({"id": -1, "method": "m", "item": 1}, {"method": "m", "errors": {"id": NOT_AN_ID}}),
    ],
)
def test_everything_that_is_wrong_is_named_and_what_could_be_read_is_sent_back(
    codec: Codec, message: dict[str, Any], expected: dict[str, Any]
) -> None:
    said = {name: value for name, value in expected.items() if name != "errors"}

    assert failure(codec, written(codec, message)) == {
        **said,
        "error": {**NO_CALL, "errors": expected["errors"]},
    }


@texts
def test_nesting_that_no_parser_bears_is_a_recursion_error(codec: Codec) -> None:
    with pytest.raises(RecursionError):
        codec.decode(f'{{"id": 1, "method": "m", "payload": {DEEP}}}')


def test_nesting_that_no_parser_of_messagepack_bears_is_a_recursion_error() -> None:
    with pytest.raises(RecursionError):
        MSGPACK.decode(b"\x91" * 100_000 + b"\xc0")


# What ends a call


@pytest.mark.parametrize("codec", [*SERVERS, *CLIENTS])
@pytest.mark.parametrize(
    ("message", "frame"),
    [
        ({"id": "s1", "response": None}, Answer),
        ({"id": "s1", "method": "m", "response": [1]}, Answer),
        ({"id": "s1", "item": None, "seq": 1}, Item),
        ({"id": "s1", "method": "m", "item": [1], "seq": 2}, Item),
        ({"id": "s1", "error": {"code": 1, "message": "no"}}, Failure),
        ({"id": "s1", "method": "m", "error": {"code": 1, "message": "no"}}, Failure),
        ({"id": None, "error": {"code": 1, "message": "no", "new": 1}}, Failure),
        ({"error": {"code": 1, "message": "no", "data": {"max": 1, "size": 2}}}, Failure),
        ({"id": "s1", "cancel": True}, Cancel),
    ],
)
def test_a_server_and_a_client_understand_answers_and_cancels(
    codec: Codec, message: dict[str, Any], frame: type[Frame]
) -> None:
    read = codec.decode(written(codec, message))

    assert type(read) is frame
    assert getattr(read, "id", UNSET) == message.get("id", UNSET)
    for name in ("response", "item"):
        if name in message:
            assert plain(codec, getattr(read, name)) == message[name]


@servers
@pytest.mark.parametrize("more", [{"timeout": "soon"}, {"payload": 1, "seq": None}])
def test_what_else_is_said_beside_a_cancel_or_an_answer_does_not_count(
    codec: Codec, more: dict[str, Any]
) -> None:
    assert codec.decode(written(codec, {"id": 1, "cancel": True, **more})) == Cancel(id=1)

    answer = codec.decode(written(codec, {"id": "s1", "response": [1], **more}))
    assert isinstance(answer, Answer)
    assert (answer.id, plain(codec, answer.response)) == ("s1", [1])


@servers
def test_an_item_whose_number_is_none_is_an_item_all_the_same(codec: Codec) -> None:
    read = codec.decode(written(codec, {"id": "s1", "method": "m", "item": [1], "seq": "x"}))

    assert isinstance(read, Item)
    assert (read.seq, plain(codec, read.item)) == (0, [1])


@pytest.mark.parametrize("codec", [*SERVERS, *CLIENTS])
@pytest.mark.parametrize("error", [None, "no", {}, {"code": "x"}, {"code": 1}])
def test_an_error_that_cannot_be_read_ends_its_call_all_the_same(
    codec: Codec, error: object
) -> None:
    frame = codec.decode(written(codec, {"id": "s1", "method": "m", "error": error}))

    assert isinstance(frame, Failure)
    assert frame.id == "s1"
    assert frame.error == Error(code=-32603, message="The error cannot be read")


@pytest.mark.parametrize(
    "error",
    [
        b"\x82\xa4code\x01\xa7message\xa1\xff",
        b"\x83\xa4code\x01\xa7message\xa0\xa4data\xa1\xff",
    ],
)
def test_an_error_whose_texts_are_no_utf_8_ends_its_call_all_the_same(error: bytes) -> None:
    frame = MSGPACK_CLIENT.decode(b"\x82\xa2id\x01\xa5error" + error)

    assert isinstance(frame, Failure)
    assert (frame.id, frame.error.code) == (1, ErrorCode.INTERNAL_ERROR)


@servers
@pytest.mark.parametrize("id", [{}, {"id": None}, {"id": 1.5}])
def test_an_error_that_belongs_to_nothing_is_not_answered_with_an_error(
    codec: Codec, id: dict[str, Any]
) -> None:
    with pytest.raises(Malformed) as caught:
        codec.decode(written(codec, {**id, "error": "no"}))
    assert caught.value.failure is None


# What a client hears


@clients
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"channel": "c", "event": "e", "data": {"x": 1}, "offset": 5, "new": 1},
            {"channel": "c", "event": "e", "data": {"x": 1}, "offset": 5},
        ),
        ({"channel": "c", "event": "e"}, {"channel": "c", "event": "e", "data": None}),
        (
            {"channel": "c", "event": "$lagged", "data": 1},
            {"channel": "c", "event": "$lagged", "data": 1},
        ),
        (
            {"event": "$reconnect", "data": {"after": 1, "code": 1012, "new": 1}},
            {"event": "$reconnect", "data": {"after": 1, "code": 1012}},
        ),
        (
            {"id": "s1", "method": "m", "payload": {"a": 1}, "timeout": 5},
            {"id": "s1", "method": "m", "payload": {"a": 1}, "timeout": 5},
        ),
    ],
)
def test_a_client_passes_over_keys_that_it_does_not_know(
    codec: Codec, message: dict[str, Any], expected: dict[str, Any]
) -> None:
    frame = codec.decode(written(codec, message))

    assert not isinstance(frame, Batch)
    assert plain(codec, codec.encode(frame)) == expected


@clients
@pytest.mark.parametrize(
    "message",
    [
        [],
        1,
        {},
        {"id": 1},
        {"id": 1, "cancel": False},
        {"id": None, "cancel": True},
        {"method": "m"},
        {"id": None, "response": 1},
        {"id": 1.5, "method": "m", "response": 1},
        {"id": None, "method": "m", "item": 1},
        {"method": "m", "response": 1},
        {"id": 1, "method": 2, "response": 1},
        {"id": 1, "item": 1, "seq": "x"},
        {"event": "$later", "data": {"after": 1}},
        {"event": "$reconnect", "data": {"after": "soon", "code": 1012}},
        {"event": "$reconnect"},
        {"channel": "c"},
        {"channel": 5, "event": "e", "data": 1},
    ],
)
def test_what_a_client_does_not_know_is_nothing_to_it(codec: Codec, message: object) -> None:
    with pytest.raises(Malformed) as caught:
        codec.decode(written(codec, message))
    assert caught.value.failure is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, f'{{"id": 1, "response": {DEEP}}}', f'{{"id": 1, "error": {DEEP}}}'],
)
def test_what_a_client_cannot_read_is_nothing_to_it(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        JSON_CLIENT.decode(text)
    assert caught.value.failure is None


# Writing


@pairs
@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (Call(id=1, method="m"), {"id": 1, "method": "m"}),
        (Call(id=None, method="m", timeout=5), {"id": None, "method": "m", "timeout": 5}),
        (Cancel(id="a"), {"id": "a", "cancel": True}),
        (Failure(error=Error(code=7, message="no")), {"error": {"code": 7, "message": "no"}}),
        (
            Failure(id=None, method="m", error=Error(code=7, message="no", data=[0])),
            {"id": None, "method": "m", "error": {"code": 7, "message": "no", "data": [0]}},
        ),
        (Message(channel="c", event="", data=None), {"channel": "c", "event": "", "data": None}),
        (
            Reconnect(after=5, code=1012),
            {"event": "$reconnect", "data": {"after": 5, "code": 1012}},
        ),
    ],
)
def test_a_frame_is_written_as_documented_and_read_again(
    server: Codec, client: Codec, frame: Frame, expected: dict[str, Any]
) -> None:
    message = server.encode(frame)

    assert plain(server, message) == expected
    assert client.encode(frame) == message
    read = client.decode(message if client.packed else message.decode())
    if isinstance(frame, Message):
        assert isinstance(read, Message)
        assert read == Message(channel="c", event="", data=Raw(_null(client)))
    else:
        assert read == frame


@pairs
def test_what_is_written_already_is_put_in_as_it_is(server: Codec, client: Codec) -> None:
    body = msgpack.encode({"a": 1}) if server.packed else b'{"a":1}'
    for frame, name in (
        (Call.of(1, "m", body, 5), "payload"),
        (Answer.of(1, "m", body), "response"),
        (Item.of(1, "m", body, 3), "item"),
    ):
        message = server.encode(frame)

        assert plain(server, message)[name] == {"a": 1}
        assert client.decode(message if client.packed else message.decode()) == frame


def test_a_text_format_of_the_application_writes_what_json_says() -> None:
    message = FOREIGN.encode(Answer.of(1, "m", b'{"x":1}')).decode()

    assert message == '{"id": 1, "method": "m", "response": {"x": 1}}'


def test_what_has_no_json_form_is_unserializable() -> None:
    message = Message(channel="c", event="e", data=object())

    for codec in (JSON, JSON_CLIENT, FOREIGN):
        with pytest.raises(Unserializable, match="`object` has no JSON form"):
            codec.encode(message)
    with pytest.raises(Unserializable):
        MSGPACK.encode(message)


def test_nan_is_written_as_null_where_it_cannot_be_said() -> None:
    message = Message(channel="c", event="e", data=[math.nan])

    assert json.loads(JSON.encode(message)) == {"channel": "c", "event": "e", "data": [None]}


# A text format of the application's own


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

    assert failure(codec, "x") == NOT_JSON


def _null(codec: Codec) -> bytes:
    return b"\xc0" if codec.packed else b"null"
