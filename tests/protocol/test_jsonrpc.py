"""The JSON-RPC 2.0 dialect: frames and the text that they are written as."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from openapi.errors import ErrorCode, RpcError, Unserializable
from openapi.protocol.frames import (
    NO_PAYLOAD,
    Answer,
    Batch,
    Call,
    Cancel,
    Error,
    Failure,
    Frame,
    Item,
    Malformed,
    Message,
    Reconnect,
)
from openapi.protocol.jsonrpc import JSONRPC, NULL_ID, is_jsonrpc

NO_ID = "expected a number, or a string of at most 64 characters"
BY_POSITION = "expected an object: parameters are taken by name, not by position"
NO_TIMEOUT = "expected milliseconds, an integer from 1"
NOT_JSON = {"code": -32700, "message": "JSON string expected"}

# Texts that are nearly messages, so that each part of the decoder is reached.
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=70)
    | st.sampled_from([10**400, 2**1024, 1 - 2**1024, "2.0", "s1", NULL_ID])
)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
IDS = st.none() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=65) | LEAVES
PARAMS = st.dictionaries(st.sampled_from(["id", "a"]), LEAVES) | st.lists(LEAVES, max_size=1)
ERRORS = st.fixed_dictionaries(
    {"code": st.integers(-(2**63), 2**63), "message": st.text(max_size=5)},
    optional={"data": PLAIN, "errors": PLAIN},
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | LEAVES,
        "method": st.just("$/cancelRequest") | st.text(max_size=5) | LEAVES,
        "params": PARAMS | PLAIN,
        "id": IDS,
        "timeout": st.integers(0, 5) | LEAVES,
        "result": PLAIN,
        "error": ERRORS | PLAIN,
        "x": PLAIN,
    },
)
RIGHT = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.just("$/cancelRequest") | st.text(max_size=5)},
    optional={"params": PARAMS, "id": IDS, "timeout": st.integers(1, 5)},
) | st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": IDS}, optional={"result": PLAIN, "error": ERRORS}
)
ONES = NEARLY | RIGHT | PLAIN
MESSAGES = ONES | st.lists(ONES, max_size=3)
TEXTS = (
    st.text()
    | MESSAGES.map(json.dumps)
    | st.builds(lambda message, cut: json.dumps(message)[:-cut], MESSAGES, st.integers(1, 5))
)


def decoded(message: object) -> Frame | Batch:
    """What a message is read as. A string is a text, anything else is written first."""
    return JSONRPC.decode(message if isinstance(message, str) else json.dumps(message))


def elements(batch: Frame | Batch) -> list[Frame | Malformed]:
    """What is in a batch."""
    assert isinstance(batch, Batch)
    return [batch.read(element) for element in batch.elements]


def malformed(message: object) -> Malformed:
    """What is raised for a message."""
    with pytest.raises(Malformed) as caught:
        decoded(message)
    return caught.value


def failure(message: object) -> Any:
    """The failure that a message is answered with, as plain data."""
    answer = malformed(message).failure
    assert answer is not None
    return said(answer)


def said(frame: Frame) -> Any:
    """What is written for a frame, as plain data."""
    return json.loads(JSONRPC.encode(frame))


def request(**members: Any) -> dict[str, Any]:
    """A request without an id, with further members."""
    return {"jsonrpc": "2.0", "method": "m", **members}


def invalid(errors: dict[str, str], code: int = -32600) -> dict[str, Any]:
    """An error that names what is wrong with a message."""
    return {"code": code, "message": "Invalid RPC parameters", "data": {"errors": errors}}


@given(TEXTS)
def test_any_text_is_a_frame_that_round_trips_or_a_batch_or_malformed(text: str) -> None:
    frames: list[Frame | Malformed]
    try:
        found = JSONRPC.decode(text)
        frames = elements(found) if isinstance(found, Batch) else [found]
    except Malformed as exc:
        frames = [exc]
    except RecursionError:
        return

    assert frames
    for frame in frames:
        if not isinstance(frame, Malformed):
            assert JSONRPC.decode(JSONRPC.encode(frame).decode()) == frame
        elif frame.failure is not None:
            answer = said(frame.failure)
            assert list(answer) == ["jsonrpc", "error", "id"]
            assert answer["error"]["code"] in (-32700, -32600, -32602)


@given(st.lists(ONES, min_size=1, max_size=3))
def test_an_element_of_a_batch_is_what_it_is_alone(messages: list[Any]) -> None:
    batch = decoded(messages)

    assert isinstance(batch, Batch)
    assert len(batch) == len(messages)
    for message, frame in zip(messages, elements(batch), strict=True):
        if isinstance(message, list):
            assert isinstance(frame, Malformed)
        elif isinstance(frame, Malformed):
            assert malformed(json.dumps(message)).failure == frame.failure
        else:
            assert decoded(json.dumps(message)) == frame


@given(TEXTS)
def test_whether_a_text_is_json_rpc_is_told_of_any(text: str) -> None:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        message = json.loads(text, parse_constant=refuse)
    except ValueError:
        assert not is_jsonrpc(text)
        return

    first = message[0] if isinstance(message, list) and message else message
    assert is_jsonrpc(text) == (isinstance(first, dict) and first.get("jsonrpc") == "2.0")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"jsonrpc": "2.0"}', True),
        ('{"jsonrpc":"2.0","method":1}', True),
        (' \r\n\t{"method": "m", "jsonrpc" : "2.0"}', True),
        ('\n[{"jsonrpc": "2.0"}, 1]', True),
        ('{"jsonrpc": "1.0", "jsonrpc": "2.0"}', True),
        ("", False),
        ("[]", False),
        ('["jsonrpc"]', False),
        ('{"id": 1, "method": "m", "payload": {}}', False),
        ('{"id": 1, "method": "m", "payload": {"jsonrpc": "2.0"}}', False),
        ('{"jsonrpc": "9"}', False),
        ('{"jsonrpc": 2.0}', False),
        ('[1, {"jsonrpc": "2.0"}]', False),
        ('[[{"jsonrpc": "2.0"}]]', False),
        ('{"jsonrpc": "2.0"', False),
        ('[{"jsonrpc": "2.0"}', False),
        ('{"jsonrpc": "2.0", "x": "\ud800"}', False),
        ('{"jsonrpc": "2.0", "x": %s' % ("[" * 100_000), False),
        ('[{"jsonrpc": "2.0"}, %s' % ("[" * 100_000), False),
    ],
)
def test_what_says_its_version_speaks_json_rpc(text: str, answer: bool) -> None:
    assert is_jsonrpc(text) is answer


def test_a_request_is_a_call() -> None:
    frame = decoded(request(id=1, params={"a": 1}, timeout=50))

    assert frame == Call(id=1, method="m", payload=Raw(b'{"a": 1}'), timeout=50)


def test_a_request_without_an_id_is_a_notification() -> None:
    assert decoded(request()) == Call(id=None, method="m", payload=NO_PAYLOAD)


def test_a_request_whose_id_is_null_is_answered_with_null() -> None:
    frame = decoded(request(id=None))

    assert isinstance(frame, Call)
    assert frame.id == NULL_ID
    assert said(Answer(id=NULL_ID, method="m", response=Raw(b"1"))) == {
        "jsonrpc": "2.0",
        "result": 1,
        "id": None,
    }


def test_no_peer_can_say_what_stands_for_null() -> None:
    assert failure(request(id=NULL_ID))["error"] == invalid({"id": NO_ID})


@pytest.mark.parametrize(
    "id",
    [
        '"x"',
        f'"{"€" * 64}"',
        '""',
        "0",
        "-1",
        "-0.0",
        "1.0",
        "1.5",
        "-2.25e-3",
        "1e+308",
        "9007199254740993",
    ],
)
def test_an_id_is_sent_back_as_it_came(id: str) -> None:
    frame = decoded('{"jsonrpc": "2.0", "method": "m", "id": ' + id + "}")

    assert isinstance(frame, Call)
    assert frame.id is not None
    sent = said(Answer(id=frame.id, response=Raw(b"1")))["id"]
    assert (type(sent), repr(sent)) == (type(json.loads(id)), repr(json.loads(id)))


@pytest.mark.parametrize("id", [2**1024 - 1, 1 - 2**1024])
def test_the_integers_that_a_double_reaches_are_ids(id: int) -> None:
    frame = decoded(request(id=id))

    assert isinstance(frame, Call)
    assert frame.id == id


@pytest.mark.parametrize(
    "id",
    [
        "true",
        "[]",
        "{}",
        f'"{"x" * 65}"',
        str(2**1024),
        str(-(2**1024)),
        "7" * 400,
        "7" * 5000,
        "1e400",
        "-1e400",
    ],
)
def test_what_is_no_id_is_said_and_not_sent_back(id: str) -> None:
    assert failure('{"jsonrpc": "2.0", "method": "m", "id": ' + id + "}") == {
        "jsonrpc": "2.0",
        "error": invalid({"id": NO_ID}),
        "id": None,
    }


@pytest.mark.parametrize("params", [{}, {"params": []}, {"params": {}}])
def test_no_parameters_are_the_empty_object(params: dict[str, Any]) -> None:
    frame = decoded(request(id=1, **params))

    assert isinstance(frame, Call)
    assert bytes(frame.payload) in (b"", b"{}")


def test_an_array_of_nothing_but_blanks_is_no_parameters() -> None:
    frame = JSONRPC.decode('{"jsonrpc": "2.0", "method": "m", "id": 1, "params": [ \r\n\t] }')

    assert frame == Call(id=1, method="m")


@pytest.mark.parametrize("params", [[1], [{}], [None], [[]]])
def test_parameters_by_position_are_refused(params: list[Any]) -> None:
    assert failure(request(id=1, params=params)) == {
        "jsonrpc": "2.0",
        "error": invalid({"params": BY_POSITION}, -32602),
        "id": 1,
    }
    assert failure(request(id=None, params=params)) == {
        "jsonrpc": "2.0",
        "error": invalid({"params": BY_POSITION}, -32602),
        "id": None,
    }


def test_nobody_is_told_of_a_notification_with_parameters_by_position() -> None:
    assert malformed(request(params=[1])).failure is None


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ('"x"', "str"),
        ("1", "int"),
        ("-1", "int"),
        ("1.5", "float"),
        ("-1e5", "float"),
        ("true", "bool"),
        ("false", "bool"),
        ("null", "NoneType"),
    ],
)
def test_parameters_that_are_no_structure_make_no_request(params: str, name: str) -> None:
    text = '{"jsonrpc": "2.0", "method": "m", "params": ' + params
    error = invalid({"params": f"expected an object, got {name}"})

    assert failure(text + ', "id": 7}') == {"jsonrpc": "2.0", "error": error, "id": 7}
    assert failure(text + "}") == {"jsonrpc": "2.0", "error": error, "id": None}


@pytest.mark.parametrize("timeout", [0, -1, 1.5, "1", True, [], 2**53])
def test_a_timeout_that_is_none_is_said(timeout: Any) -> None:
    assert failure(request(id=1, timeout=timeout))["error"] == invalid({"timeout": NO_TIMEOUT})


@pytest.mark.parametrize("timeout", [1, 2**53 - 1, None])
def test_the_limits_of_a_timeout_belong_to_it(timeout: int | None) -> None:
    frame = decoded(request(id=1, timeout=timeout, params=[]))

    assert isinstance(frame, Call)
    assert frame.timeout == timeout


@pytest.mark.parametrize(
    ("message", "id", "errors"),
    [
        ({}, None, {"jsonrpc": "required", "method": "required"}),
        ({"foo": "boo"}, None, {"jsonrpc": "required", "method": "required"}),
        ({"jsonrpc": "2.0"}, None, {"method": "required"}),
        ({"jsonrpc": "2.0", "id": 1.5}, 1.5, {"method": "required"}),
        ({"jsonrpc": "2.0", "id": None}, None, {"method": "required"}),
        ({"method": "m", "id": 1}, 1, {"jsonrpc": "required"}),
        ({"jsonrpc": "1.0", "method": "m", "id": 1}, 1, {"jsonrpc": 'expected "2.0"'}),
        ({"jsonrpc": 2.0, "method": "m", "id": 1}, 1, {"jsonrpc": 'expected "2.0"'}),
        ({"jsonrpc": None, "method": "m"}, None, {"jsonrpc": 'expected "2.0"'}),
        (
            request(method=1, params="bar"),
            None,
            {"method": "expected a string", "params": "expected an object, got str"},
        ),
        (
            {"method": None, "id": [], "params": 1, "timeout": 0},
            None,
            {
                "jsonrpc": "required",
                "method": "expected a string",
                "id": NO_ID,
                "params": "expected an object, got int",
                "timeout": NO_TIMEOUT,
            },
        ),
        ({"jsonrpc": "2.0", "result": 1}, None, {"id": "required"}),
        ({"jsonrpc": "2.0", "result": 1, "id": None}, None, {"id": NO_ID}),
        ({"jsonrpc": "2.0", "result": 1, "id": True}, None, {"id": NO_ID}),
        ({"result": 1, "error": None, "id": 1}, None, {"jsonrpc": "required"}),
    ],
)
def test_everything_that_is_wrong_is_named(
    message: dict[str, Any], id: Any, errors: dict[str, str]
) -> None:
    assert failure(message) == {"jsonrpc": "2.0", "error": invalid(errors), "id": id}


@pytest.mark.parametrize("text", ["", " ", "nope", "{", "{} {}", "[1,", "[1] 2", "\ufeff{}"])
def test_what_is_no_json_is_a_parse_error(text: str) -> None:
    assert failure(text) == {"jsonrpc": "2.0", "error": NOT_JSON, "id": None}


@pytest.mark.parametrize("blank", ["\u00a0", "\v", "\f", "\u2028"])
def test_what_json_calls_no_blank_is_none(blank: str) -> None:
    assert failure(blank + json.dumps(request()))["error"] == NOT_JSON
    assert decoded(" \t\r\n" + json.dumps(request())) == Call(id=None, method="m")


@pytest.mark.parametrize(
    "text",
    [
        r'{"jsonrpc": "2.0", "method": "m", "params": {"x": "\ud800"}, "id": 1}',
        '{"jsonrpc": "2.0", "method": "m", "params": {"x": NaN}, "id": 1}',
    ],
)
def test_what_json_cannot_say_is_a_parse_error(text: str) -> None:
    assert failure(text)["error"] == NOT_JSON
    assert failure(f"[{text}]")["error"] == NOT_JSON


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('"x"', "str"),
        ("1", "int"),
        ("-1", "int"),
        ("7" * 5000, "int"),
        ("1.5", "float"),
        ("1e400", "float"),
        ("true", "bool"),
        ("null", "NoneType"),
    ],
)
def test_json_that_is_no_object_is_named_as_python_does(text: str, name: str) -> None:
    error = {"code": -32600, "message": f"Malformed message; expected dictionary, got {name}"}

    assert failure(text) == {"jsonrpc": "2.0", "error": error, "id": None}


@pytest.mark.parametrize("text", ["[]", " [ ] "])
def test_an_empty_batch_is_one_failure(text: str) -> None:
    error = {"code": -32600, "message": "Malformed message; the batch is empty"}

    assert failure(text) == {"jsonrpc": "2.0", "error": error, "id": None}


def test_what_is_wrong_in_a_batch_is_in_its_place() -> None:
    batch = decoded([1, request(id=1), request(params=[1]), [], request(id=2, params=[1])])

    one, call, notification, array, position = elements(batch)
    assert isinstance(one, Malformed) and one.failure is not None
    assert said(one.failure)["error"]["message"].endswith("got int")
    assert call == Call(id=1, method="m")
    assert isinstance(notification, Malformed) and notification.failure is None
    assert isinstance(array, Malformed) and array.failure is not None
    assert said(array.failure)["error"]["message"].endswith("got list")
    assert isinstance(position, Malformed) and position.failure is not None
    assert said(position.failure)["id"] == 2


def test_a_faulty_member_that_a_later_one_replaces_is_no_fault() -> None:
    text = '{"jsonrpc": "1.0", "id": true, "id": 2, "method": "m", "jsonrpc": "2.0"}'

    assert JSONRPC.decode(text) == Call(id=2, method="m")


@pytest.mark.parametrize("id", [1, 1.5, "x", NULL_ID])
def test_a_cancel_is_a_notification(id: str | float) -> None:
    said_id = None if id == NULL_ID else id
    message = {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": said_id}}

    assert decoded(message) == Cancel(id=id)
    assert said(Cancel(id=id)) == message


@pytest.mark.parametrize("params", [{}, {"id": True}, {"id": "x" * 65}, {"x": 1}, []])
def test_a_cancel_of_nothing_is_a_notification_that_nobody_knows(params: Any) -> None:
    frame = decoded(request(method="$/cancelRequest", params=params))

    assert isinstance(frame, Call)
    assert (frame.id, frame.method) == (None, "$/cancelRequest")


def test_a_cancel_with_an_id_is_a_call_and_gets_its_answer() -> None:
    frame = decoded(request(method="$/cancelRequest", id=1, params={"id": 2}))

    assert isinstance(frame, Call)
    assert (frame.id, frame.method) == (1, "$/cancelRequest")


@pytest.mark.parametrize("result", ["null", "0", '{"a":1}', "[]", "1e400"])
def test_a_result_is_the_answer_to_a_call_of_the_server(result: str) -> None:
    text = '{"jsonrpc":"2.0","result":' + result + ',"id":"s1"}'

    frame = JSONRPC.decode(text)

    assert frame == Answer(id="s1", response=Raw(result.encode()))
    assert isinstance(frame, Answer)
    assert JSONRPC.encode(frame).decode() == text


def test_a_result_beside_an_error_that_is_null_is_a_result() -> None:
    frame = decoded({"jsonrpc": "2.0", "id": "s1", "error": None, "result": None})

    assert frame == Answer(id="s1", response=Raw(b"null"))


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": {"errors": 1}}, {"data": [1]}])
def test_an_error_is_the_failure_of_a_call_of_the_server(data: dict[str, Any]) -> None:
    message = {"jsonrpc": "2.0", "error": {"code": 7, "message": "no", **data}, "id": "s1"}

    frame = decoded(message)

    assert frame == Failure(
        id="s1", error=Error(code=7, message="no", data=data.get("data", UNSET))
    )
    assert isinstance(frame, Failure)
    assert said(frame) == message


def test_an_error_beside_a_result_is_a_failure() -> None:
    error = {"code": 7, "message": "no", "errors": "not ours", "retry_after": "soon"}

    frame = decoded({"jsonrpc": "2.0", "id": "s1", "error": error, "result": 1})

    assert frame == Failure(id="s1", error=Error(code=7, message="no"))


@pytest.mark.parametrize("error", ["null", '"no"', "{}", '{"code": 1.5, "message": ""}', "1e400"])
def test_an_error_that_cannot_be_read_ends_its_call_all_the_same(error: str) -> None:
    frame = decoded('{"jsonrpc": "2.0", "id": "s1", "error": ' + error + "}")

    assert isinstance(frame, Failure)
    assert frame.id == "s1"
    assert frame.error.code == ErrorCode.INTERNAL_ERROR


def test_an_error_to_what_could_not_be_read_is_a_failure_of_no_call() -> None:
    error = {"code": -32700, "message": "no"}

    frame = decoded({"jsonrpc": "2.0", "error": error, "id": None})

    assert frame == Failure(id=None, error=Error(code=-32700, message="no"))


@pytest.mark.parametrize("faults", [{}, {"id": []}, {"id": 1, "jsonrpc": "1.0"}])
def test_an_error_that_is_no_answer_is_not_answered_with_another(faults: dict[str, Any]) -> None:
    error = {"code": -32700, "message": "no"}

    assert malformed({"jsonrpc": "2.0", "error": error, **faults}).failure is None


def test_a_method_makes_a_request_whatever_is_beside_it() -> None:
    assert decoded(request(id=1, result=1, error=2, more=3)) == Call(id=1, method="m")


@pytest.mark.parametrize("text", ["{%s}", "[{%s}]"])
def test_nesting_that_no_parser_bears_is_a_recursion_error(text: str) -> None:
    nested = "[" * 100_000 + "]" * 100_000
    with pytest.raises(RecursionError):
        JSONRPC.decode(text % f'"jsonrpc": "2.0", "method": "m", "params": {nested}')


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (
            Answer(id=1, method="m", response=Raw(b'{"x":1}')),
            '{"jsonrpc":"2.0","result":{"x":1},"id":1}',
        ),
        (
            Failure(id=1, method="m", error=Error(code=7, message="no")),
            '{"jsonrpc":"2.0","error":{"code":7,"message":"no"},"id":1}',
        ),
        (
            Failure(error=Error(code=7, message="no")),
            '{"jsonrpc":"2.0","error":{"code":7,"message":"no"},"id":null}',
        ),
        (
            Failure(id=None, error=Error(code=7, message="no")),
            '{"jsonrpc":"2.0","error":{"code":7,"message":"no"},"id":null}',
        ),
        (
            Failure(id=NULL_ID, error=Error(code=7, message="no")),
            '{"jsonrpc":"2.0","error":{"code":7,"message":"no"},"id":null}',
        ),
        (
            Item(id=1, method="m", item=Raw(b"[2]"), seq=3),
            '{"jsonrpc":"2.0","method":"rpc.item","params":{"id":1,"seq":3,"item":[2]}}',
        ),
        (
            Item(id=NULL_ID, method="m", item=Raw(b"2"), seq=1),
            '{"jsonrpc":"2.0","method":"rpc.item","params":{"id":null,"seq":1,"item":2}}',
        ),
        (
            Message(channel="c", event="e", data=None),
            '{"jsonrpc":"2.0","method":"event","params":{"channel":"c","event":"e","data":null}}',
        ),
        (
            Message(channel="c", event="e", data=Raw(b"[1]")),
            '{"jsonrpc":"2.0","method":"event","params":{"channel":"c","event":"e","data":[1]}}',
        ),
        (
            Reconnect(after=5, code=1012),
            '{"jsonrpc":"2.0","method":"event","params":'
            '{"event":"$reconnect","data":{"after":5,"code":1012}}}',
        ),
        (
            Call(id="s1", method="confirm", payload=Raw(b'{"a":1}'), timeout=50),
            '{"jsonrpc":"2.0","method":"confirm","params":{"a":1},"timeout":50,"id":"s1"}',
        ),
        (Call(id="s1", method="confirm"), '{"jsonrpc":"2.0","method":"confirm","id":"s1"}'),
        (Call(id=None, method="tell"), '{"jsonrpc":"2.0","method":"tell"}'),
        (Call(id=NULL_ID, method="m"), '{"jsonrpc":"2.0","method":"m","id":null}'),
        (
            Cancel(id="s1"),
            '{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"s1"}}',
        ),
    ],
)
def test_a_frame_is_written_with_its_version_first(frame: Frame, text: str) -> None:
    assert JSONRPC.encode(frame).decode() == text
    assert not JSONRPC.packed


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"data": {"errors": 1}}, {"errors": 1}),
        ({"data": 0}, 0),
        ({"data": []}, []),
        ({"errors": {"a": "b"}}, {"errors": {"a": "b"}}),
        ({"retry_after": 0}, {"retry_after": 0}),
        (
            {"errors": {"a": "b"}, "retry_after": 5, "data": {"n": 1}},
            {"n": 1, "errors": {"a": "b"}, "retry_after": 5},
        ),
        ({"retry_after": 5, "data": {}}, {"retry_after": 5}),
        ({"retry_after": 5, "data": [1]}, {"data": [1], "retry_after": 5}),
        ({"retry_after": 5, "data": "x"}, {"data": "x", "retry_after": 5}),
        (
            {"retry_after": 5, "data": {"errors": 1}},
            {"data": {"errors": 1}, "retry_after": 5},
        ),
        (
            {"errors": {"a": "b"}, "data": {"retry_after": 1}},
            {"data": {"retry_after": 1}, "errors": {"a": "b"}},
        ),
        (
            {"retry_after": 5, "data": Message(channel="c", event="e", data=1)},
            {"channel": "c", "event": "e", "data": 1, "retry_after": 5},
        ),
    ],
)
def test_all_of_an_error_that_json_rpc_has_no_place_for_is_data(
    fields: dict[str, Any], data: Any
) -> None:
    error = Error.of(RpcError(7, "no", **fields))

    assert said(Failure(id=1, error=error)) == {
        "jsonrpc": "2.0",
        "error": {"code": 7, "message": "no", "data": data},
        "id": 1,
    }


def test_what_has_no_json_form_is_unserializable() -> None:
    frames: list[Frame] = [
        Message(channel="c", event="e", data=object()),
        Failure(id=1, error=Error(code=1, message="no", data=object())),
        Failure(id=1, error=Error(code=1, message="no", data=object(), retry_after=1)),
    ]
    for frame in frames:
        with pytest.raises(Unserializable, match="`object` has no JSON form"):
            JSONRPC.encode(frame)


def test_the_answers_to_a_batch_are_joined() -> None:
    answers = [JSONRPC.encode(Answer(id=id, response=Raw(b"1"))) for id in (1, 2)]

    assert [answer["id"] for answer in json.loads(Batch.joined(answers))] == [1, 2]
