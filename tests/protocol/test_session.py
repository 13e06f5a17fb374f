"""One connection's conversation, without a connection."""

import gc
import json
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import pytest

from openapi.errors import ConnectionClosed, ErrorCode, RpcError, Unserializable
from openapi.protocol.incoming import CallState, Incoming, Stop
from openapi.protocol.limits import Limits
from openapi.protocol.native import JSON, JSON_CLIENT, MSGPACK, ObjectCodec
from openapi.protocol.session import SessionState
from tests.protocol.talk import INVALID, Pair, Talk

REFUSED: Final = RpcError(7, "no")


def opened() -> Talk:
    """A session in the state OPEN."""
    return Talk()


def draining() -> Talk:
    """A session in the state DRAINING."""
    talk = Talk()
    talk.session.drain(1500)
    return talk


def closed() -> Talk:
    """A session in the state CLOSED."""
    talk = Talk()
    talk.session.close(1001)
    return talk


# The table of sessions, row by row


def test_an_open_session_has_calls_run() -> None:
    talk = opened()

    call = talk.run(1, "add", {"a": 1, "b": 2})

    assert (call.id, call.method.name, call.payload) == (1, "add", Pair(1, 2))
    assert (call.state, call.broken, call.lane) == (CallState.RUNNING, None, None)
    assert talk.session.calls == {1: call}
    assert talk.session.state is SessionState.OPEN
    assert talk.sent() == []


def test_an_open_session_has_notifications_run() -> None:
    talk = opened()

    call = talk.run(None)

    assert call.id is None
    assert talk.session.calls == {}
    assert talk.session.in_flight == 1


def test_an_open_session_sends_answers() -> None:
    talk = opened()

    talk.session.answer(talk.run(1), b'{"x":1}')

    assert talk.sent() == [{"id": 1, "method": "echo", "response": {"x": 1}}]


def test_drain_makes_an_open_session_draining() -> None:
    assert not opened().session.drained

    talk = draining()

    assert talk.session.state is SessionState.DRAINING
    assert talk.session.drained


@pytest.mark.parametrize("start", [opened, draining, closed])
def test_close_makes_any_session_closed(start: Callable[[], Talk]) -> None:
    talk = start()

    talk.session.close(1001)

    assert talk.session.state is SessionState.CLOSED


def test_a_draining_session_refuses_calls_and_says_when_to_come_back() -> None:
    talk = draining()

    assert talk.ask(1) is None
    assert talk.sent() == [
        {
            "id": 1,
            "method": "echo",
            "error": {
                "code": -32009,
                "message": "The server is shutting down, reconnect and call again",
                "retry_after": 1500,
            },
        }
    ]


def test_a_draining_session_drops_notifications_and_counts_them() -> None:
    talk = draining()

    assert talk.ask(None) is None
    assert talk.sent() == []
    assert talk.session.dropped == 1


def test_a_draining_session_sends_answers_and_is_drained_with_the_work_of_the_last_one() -> None:
    talk = opened()
    calls = talk.run(1), talk.run(2), talk.run(None)
    talk.session.drain(0)

    talk.session.answer(calls[0], b"1")
    talk.session.fail(calls[1], REFUSED)
    talk.session.answer(calls[2], b"3")
    drained = []
    for call in calls:
        drained.append(talk.session.drained)
        talk.session.done(call)

    assert [frame["id"] for frame in talk.sent()] == [1, 2]
    assert drained == [False] * 3
    assert talk.session.drained


def test_a_draining_session_runs_what_waits_in_a_lane_already() -> None:
    talk = opened()
    first, second = talk.run(1, "alone"), talk.run(2, "alone")
    talk.session.drain(0)

    assert talk.session.done(first) is second
    assert second.state is CallState.RUNNING
    assert not talk.session.drained


def test_a_draining_session_still_cancels() -> None:
    talk = opened()
    call = talk.run(1)
    talk.session.drain(0)

    [event] = talk.say({"id": 1, "cancel": True})

    assert isinstance(event, Stop)
    assert event.call is call


def test_draining_a_second_time_does_not_change_what_was_said() -> None:
    talk = draining()

    talk.session.drain(9)

    talk.ask(1)
    assert talk.error()["retry_after"] == 1500


def test_a_draining_session_still_says_what_it_cannot_read() -> None:
    talk = draining()

    talk.say("rubbish")

    assert talk.error()["code"] == ErrorCode.PARSE_ERROR


def test_a_closed_session_drops_everything() -> None:
    talk = closed()

    assert talk.ask(1) is None
    assert talk.ask(None) is None
    assert talk.say("rubbish") == []
    assert talk.say({"id": 1, "cancel": True}) == []
    assert talk.say({"id": "s1", "response": 1}) == []
    talk.session.oversized(100_000)

    assert talk.sent() == []
    assert (talk.session.failures, talk.session.dropped, talk.session.ignored) == (0, 0, 0)


def test_a_closed_session_forgets_its_calls_and_drops_their_answers() -> None:
    talk = opened()
    calls = [talk.run(1), talk.run(2), talk.run(None), talk.run(3, "tail")]
    calls += [talk.run(4, "alone"), talk.run(5, "alone")]

    talk.session.close(1001)
    talk.session.answer(calls[0], b"1")
    talk.session.fail(calls[1], REFUSED)
    talk.session.answer(calls[2], b"1")
    talk.session.item(calls[3], b"1", 1)

    assert talk.sent() == []
    assert {call.state for call in calls} == {CallState.DONE}
    assert (talk.session.calls, talk.session.in_flight) == ({}, 0)
    assert not talk.session.drained
    assert [talk.session.done(call) for call in calls] == [None] * 6


def test_a_closed_session_keeps_nothing_of_its_calls() -> None:
    talk = opened()
    payloads = [weakref.ref(talk.run(n, "seat", {"row": 1}).payload) for n in (1, 2, None)]
    assert all(payload() is not None for payload in payloads)

    talk.session.close(1001)

    gc.collect()
    assert [payload() for payload in payloads] == [None] * 3


def test_a_closed_session_cannot_be_drained() -> None:
    talk = closed()

    talk.session.drain(5)

    assert talk.session.state is SessionState.CLOSED


def test_a_closed_session_asks_nothing() -> None:
    talk = opened()
    talk.session.close(4008, "too slow")

    with pytest.raises(ConnectionClosed) as caught:
        talk.session.pending.ask("echo", b"{}", print)
    assert (caught.value.code, caught.value.reason) == (4008, "too slow")


@pytest.mark.parametrize("codec", [JSON, MSGPACK, ObjectCodec(json.loads, json.dumps)])
def test_what_was_heard_is_in_its_format_still_when_the_session_is_closed(codec: Any) -> None:
    talk = Talk(codec=codec)

    talk.session.close(1001)

    assert talk.session.codec.packed is codec.packed
    # and the application's own, which may know the connection, is let go of
    assert not isinstance(talk.session.codec, ObjectCodec)


# The table of calls, cell by cell


def waiting(talk: Talk, id: int | None) -> Incoming:
    """A call in the state WAITING, behind one that has no id."""
    talk.run(None, "alone")
    return talk.run(id, "alone")


def running(talk: Talk, id: int | None) -> Incoming:
    """A call in the state RUNNING."""
    return talk.run(id, "alone")


def answered(talk: Talk, id: int | None) -> Incoming:
    """A call in the state ANSWERED."""
    call = running(talk, id)
    talk.session.answer(call, b"1")
    talk.messages.clear()
    return call


def done(talk: Talk, id: int | None) -> Incoming:
    """A call in the state DONE."""
    call = answered(talk, id)
    talk.session.done(call)
    return call


def item(talk: Talk, call: Incoming) -> None:
    """One item of a stream."""
    talk.session.item(call, b"5", 1)


def answer(talk: Talk, call: Incoming) -> None:
    """The result."""
    talk.session.answer(call, b"5")


def fail(talk: Talk, call: Incoming) -> None:
    """The error."""
    talk.session.fail(call, REFUSED)


def expire(talk: Talk, call: Incoming) -> None:
    """The end of its time."""
    talk.session.expire(call)


def cancel(talk: Talk, call: Incoming) -> None:
    """The peer cancels it."""
    talk.say({"id": call.id, "cancel": True})


def end(talk: Talk, call: Incoming) -> None:
    """The end of the work."""
    talk.session.done(call)


Start: TypeAlias = Callable[[Talk, int | None], Incoming]
Act: TypeAlias = Callable[[Talk, Incoming], None]


TRANSITIONS: Final[list[tuple[Start, Act, str | None, CallState]]] = [
    (waiting, item, None, CallState.WAITING),
    (waiting, answer, "response", CallState.DONE),
    (waiting, fail, "error", CallState.DONE),
    (waiting, cancel, "error", CallState.DONE),
    (waiting, expire, "error", CallState.DONE),
    (waiting, end, None, CallState.DONE),
    (running, item, "item", CallState.RUNNING),
    (running, answer, "response", CallState.ANSWERED),
    (running, fail, "error", CallState.ANSWERED),
    (running, cancel, "error", CallState.ANSWERED),
    (running, expire, "error", CallState.ANSWERED),
    (running, end, None, CallState.DONE),
    *((answered, act, None, CallState.ANSWERED) for act in (item, answer, fail, cancel, expire)),
    (answered, end, None, CallState.DONE),
    *((done, act, None, CallState.DONE) for act in (item, answer, fail, cancel, expire, end)),
]


@pytest.mark.parametrize(("start", "act", "sent", "after"), TRANSITIONS)
def test_a_call_goes_from_state_to_state_as_the_table_says(
    start: Start, act: Act, sent: str | None, after: CallState
) -> None:
    talk = Talk(Limits(call_timeout=1))
    call = start(talk, 1)
    others = talk.session.in_flight - (call.state is not CallState.DONE)

    act(talk, call)

    frames = talk.sent()
    assert call.state is after
    assert [frame["id"] for frame in frames if sent in frame] == [1] * (sent is not None)
    assert len(frames) == (sent is not None)
    is_owed = after in (CallState.WAITING, CallState.RUNNING)
    assert talk.session.calls == ({1: call} if is_owed else {})
    assert talk.session.in_flight == others + (after is not CallState.DONE)


@pytest.mark.parametrize(
    ("start", "act", "after"),
    [(start, act, after) for start, act, _, after in TRANSITIONS if act is not cancel],
)
def test_a_notification_goes_the_same_way_and_nothing_is_said(
    start: Start, act: Act, after: CallState
) -> None:
    talk = Talk(Limits(call_timeout=1))
    call = start(talk, None)
    others = talk.session.in_flight - (call.state is not CallState.DONE)

    act(talk, call)

    assert (call.state, talk.sent()) == (after, [])
    assert talk.session.in_flight == others + (after is not CallState.DONE)


# Answers


@pytest.mark.parametrize("id", [0, "", "abc", 2**53 - 1])
def test_an_answer_has_the_id_of_its_call(id: str | int) -> None:
    talk = opened()

    talk.session.answer(talk.run(id), b"null")

    assert talk.sent() == [{"id": id, "method": "echo", "response": None}]


def test_a_failure_has_every_field_of_the_error() -> None:
    talk = opened()
    error = RpcError(42, "no", data=[1], errors={"a": "b"}, retry_after=10)

    talk.session.fail(talk.run(1), error)

    assert talk.sent() == [
        {
            "id": 1,
            "method": "echo",
            "error": {
                "code": 42,
                "message": "no",
                "errors": {"a": "b"},
                "data": [1],
                "retry_after": 10,
            },
        }
    ]


def test_an_answer_that_cannot_be_written_leaves_the_call_as_it_was() -> None:
    def encode_message(message: Any) -> str:
        if "response" in message:
            raise ValueError("too much")
        return json.dumps(message)

    talk = Talk(codec=ObjectCodec(json.loads, encode_message))
    call = talk.run(1)

    with pytest.raises(Unserializable):
        talk.session.answer(call, b"1")
    assert call.state is CallState.RUNNING
    talk.session.fail(call, REFUSED)

    assert talk.sent() == [{"id": 1, "method": "echo", "error": {"code": 7, "message": "no"}}]
    other = talk.run(2)
    with pytest.raises(Unserializable):
        talk.session.fail(other, RpcError(7, "no", data=object()))
    assert (other.state, talk.session.calls) == (CallState.RUNNING, {2: other})


def test_a_call_that_there_was_no_way_to_answer_ends_without_a_word() -> None:
    talk = opened()
    call = talk.run(1)

    talk.session.done(call)

    assert talk.sent() == []
    assert (talk.session.calls, talk.session.in_flight) == ({}, 0)


def test_an_id_can_be_used_again_behind_the_final_frame_though_the_work_goes_on() -> None:
    talk = Talk(Limits(calls=2))
    call = talk.run(1)
    talk.session.answer(call, b"1")

    later = talk.run(1)
    assert talk.ask(2) is None  # both have a place among the calls in flight
    assert talk.session.in_flight == 2
    talk.session.answer(call, b"2")
    talk.session.done(call)

    assert talk.session.calls == {1: later}
    assert talk.run(2).state is CallState.RUNNING
    assert [frame.get("response") for frame in talk.sent()] == [1, None]


# Cancelling


def test_whoever_cancels_is_told_at_once_and_whoever_works_is_to_stop() -> None:
    talk = opened()
    call = talk.run("a")

    [event] = talk.say({"id": "a", "cancel": True})

    assert isinstance(event, Stop)
    assert event.call is call
    assert talk.sent() == [
        {"id": "a", "method": "echo", "error": {"code": -32006, "message": "Cancelled"}}
    ]


def test_a_shielded_call_that_is_cancelled_says_that_its_work_goes_on() -> None:
    talk = opened()
    call = talk.run(1, "pay")

    [event] = talk.say({"id": 1, "cancel": True})

    assert isinstance(event, Stop)
    assert talk.error() == {"code": -32006, "message": "Cancelled; its work goes on"}
    assert (call.state, talk.session.in_flight) == (CallState.ANSWERED, 1)


@pytest.mark.parametrize("id", [2, "1", "", 0])
def test_the_cancel_of_an_id_that_nobody_knows_is_ignored(id: str | int) -> None:
    talk = opened()
    call = talk.run(1)

    assert talk.say({"id": id, "cancel": True}) == []

    assert talk.sent() == []
    assert call.state is CallState.RUNNING
    assert talk.session.failures == 0


def test_a_result_that_wins_the_race_is_the_only_final_frame() -> None:
    talk = opened()
    call = talk.run(1)

    talk.session.answer(call, b"1")

    assert talk.say({"id": 1, "cancel": True}) == []
    assert talk.sent() == [{"id": 1, "method": "echo", "response": 1}]


def test_a_cancel_that_wins_the_race_is_the_only_final_frame() -> None:
    talk = opened()
    call = talk.run(1, "quick")
    talk.say({"id": 1, "cancel": True})

    talk.session.item(call, b"1", 1)
    talk.session.answer(call, b"1")
    talk.session.fail(call, REFUSED)
    talk.session.expire(call)
    talk.say({"id": 1, "cancel": True})

    assert [frame["error"]["code"] for frame in talk.sent()] == [-32006]


def test_a_cancelled_call_keeps_its_place_among_the_calls_until_its_work_is_done() -> None:
    talk = Talk(Limits(calls=1))
    call = talk.run(1)
    talk.say({"id": 1, "cancel": True})
    talk.sent()

    assert talk.ask(1) is None
    assert talk.error()["data"] == {"limit": "calls", "max": 1}
    talk.session.done(call)

    assert talk.run(1).state is CallState.RUNNING


# Deadlines, as data


@pytest.mark.parametrize(
    ("method", "of_all", "asked", "timeout"),
    [
        ("echo", None, None, None),
        ("echo", 10, None, 10),
        ("quick", None, None, 5),
        ("quick", 10, None, 5),
        ("quick", 1, None, 5),  # what a method says goes before what is said for all
        ("endless", 10, None, None),
        ("echo", None, 2500, 2.5),
        ("echo", 10, 2500, 2.5),
        ("echo", 10, 20_000, 10),
        ("quick", None, 1, 0.001),
        ("quick", None, 5000, 5),
        ("quick", None, 2**53 - 1, 5),
        ("endless", 10, 2500, 2.5),
    ],
)
@pytest.mark.parametrize("id", [1, None])
def test_a_call_has_the_time_of_its_method_or_of_all_and_can_only_shorten_it(
    method: str, of_all: float | None, asked: int | None, timeout: float | None, id: int | None
) -> None:
    talk = Talk(Limits(call_timeout=of_all))

    assert talk.run(id, method, timeout=asked).timeout == timeout


@pytest.mark.parametrize("timeout", [0, -1, 1.5, True, "1", 2**53])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    talk = opened()

    assert talk.ask(1, timeout=timeout) is None
    assert talk.error() == {
        "code": -32600,
        "message": INVALID,
        "errors": {"timeout": "expected milliseconds, an integer from 1"},
    }


@pytest.mark.parametrize(("asked", "text"), [(5000, "5"), (1500, "1.5"), (1, "0.001")])
def test_a_call_that_expires_says_how_long_it_was_waited_for(asked: int, text: str) -> None:
    talk = opened()
    call = talk.run(1, "quick", timeout=asked)

    talk.session.expire(call)
    talk.session.answer(call, b"1")

    assert talk.sent() == [
        {
            "id": 1,
            "method": "quick",
            "error": {"code": -32005, "message": f"It took longer than {text} seconds"},
        }
    ]
    assert talk.session.in_flight == 1


# Lanes


def test_calls_of_one_lane_run_in_the_order_in_which_they_came_and_others_beside_them() -> None:
    talk = opened()
    first = talk.run(1, "ship", {"order": 7})
    second = talk.run(2, "bill", {"order": 7})
    other = talk.run(3, "ship", {"order": 8})
    third = talk.run(None, "ship", {"order": 7})
    beside = talk.run(4)
    states = [call.state for call in (first, second, other, third, beside)]

    order = []
    call: Incoming | None = first
    while call is not None:
        assert call.state is CallState.RUNNING
        talk.session.answer(call, b"1")
        order.append(call)
        call = talk.session.done(call)

    assert states == [
        CallState.RUNNING,
        CallState.WAITING,
        CallState.RUNNING,
        CallState.WAITING,
        CallState.RUNNING,
    ]
    assert order == [first, second, third]
    assert [frame["id"] for frame in talk.sent()] == [1, 2]
    assert talk.session.done(other) is None
    assert talk.session.done(beside) is None
    assert talk.session.in_flight == 0


def test_a_method_can_have_one_lane_for_all_of_its_calls() -> None:
    talk = opened()

    first, second = talk.run(1, "alone", {"a": 1}), talk.run(2, "alone", {"a": 2})

    assert (first.state, second.state) == (CallState.RUNNING, CallState.WAITING)
    assert talk.session.done(first) is second


@pytest.mark.parametrize("payload", [{}, {"order": None}])
def test_a_payload_without_the_field_of_the_lane_is_in_no_lane(payload: dict[str, Any]) -> None:
    talk = opened()

    calls = [talk.run(n, "ship", payload) for n in range(2)]

    assert [call.state for call in calls] == [CallState.RUNNING] * 2


def test_the_next_of_a_lane_does_not_begin_before_the_work_of_a_stopped_one_is_done() -> None:
    talk = opened()
    first, second = talk.run(1, "alone"), talk.run(2, "alone")

    talk.say({"id": 1, "cancel": True})

    assert (first.state, second.state) == (CallState.ANSWERED, CallState.WAITING)
    assert talk.session.done(first) is second
    assert second.state is CallState.RUNNING


@pytest.mark.parametrize("leave", [cancel, expire])
def test_a_call_that_waits_and_is_stopped_leaves_its_lane_and_its_place(leave: Act) -> None:
    talk = Talk(Limits(calls=3))
    first, second, third = (talk.run(n, "bill", {"order": 7}) for n in (1, 2, 3))

    leave(talk, second)

    assert (second.state, third.state) == (CallState.DONE, CallState.WAITING)
    assert talk.session.in_flight == 2
    assert [frame["id"] for frame in talk.sent()] == [2]
    assert talk.session.done(second) is None  # for whoever ends what never began
    assert talk.session.done(first) is third


def test_a_lane_that_is_empty_begins_anew() -> None:
    talk = opened()
    assert talk.session.done(talk.run(1, "alone")) is None

    assert talk.run(2, "alone").state is CallState.RUNNING


# Refusals


def test_an_unknown_method_is_refused() -> None:
    talk = opened()

    assert talk.ask(1, "nowhere") is None
    assert talk.error() == {
        "code": -32601,
        "message": INVALID,
        "errors": {"method": "nowhere method not available"},
    }


def test_a_payload_that_does_not_fit_is_refused_with_every_field() -> None:
    talk = opened()

    assert talk.ask(1, "add", {"a": "one", "c": 3}) is None
    assert talk.error() == {
        "code": -32602,
        "message": INVALID,
        "errors": {
            "a": "expected `int`, got `str`",
            "b": "required",
            "c": "unknown field",
        },
    }


def test_a_payload_whose_own_type_fails_is_a_call_that_can_only_fail() -> None:
    talk = opened()

    call = talk.run(1, "fragile", {"x": 1})

    assert isinstance(call.broken, RuntimeError)
    assert (call.payload, call.timeout, call.lane) == (None, None, None)
    assert (talk.sent(), talk.session.in_flight) == ([], 1)


def test_an_id_in_flight_is_refused_and_its_call_goes_on() -> None:
    talk = opened()
    call = talk.run(1)

    assert talk.ask(1) is None
    assert talk.error() == {
        "code": -32004,
        "message": "A call with this id is in flight, use another id",
    }
    talk.session.answer(call, b"1")
    assert talk.sent() == [{"id": 1, "method": "echo", "response": 1}]


def test_a_number_and_the_same_digits_are_two_ids() -> None:
    talk = opened()

    assert {talk.run(1).id, talk.run("1").id} == {1, "1"}


@pytest.mark.parametrize(("method", "payload"), [("nowhere", {}), ("add", {"a": 1}), ("echo", [])])
def test_a_notification_that_is_refused_is_dropped_and_counted(method: str, payload: Any) -> None:
    talk = opened()

    assert talk.ask(None, method, payload) is None
    assert talk.sent() == []
    assert talk.session.dropped == 1
    assert talk.session.in_flight == 0


@pytest.mark.parametrize(
    ("message", "code"), [("rubbish", -32700), ([], -32600), ({"id": 1}, -32600)]
)
def test_what_is_no_frame_is_answered_and_counted(message: Any, code: int) -> None:
    talk = opened()

    assert talk.say(message) == []
    assert talk.error()["code"] == code
    assert talk.session.failures == 1


@pytest.mark.parametrize("message", ["rubbish", [], {"id": 1}, {"event": "$later"}])
def test_what_a_client_cannot_read_is_counted_and_not_answered(message: Any) -> None:
    talk = Talk(codec=JSON_CLIENT)

    assert talk.say(message) == []
    assert talk.sent() == []
    assert (talk.session.failures, talk.session.ignored) == (1, 1)


def test_nesting_that_no_parser_bears_is_answered_without_an_id() -> None:
    talk = opened()

    talk.say('{"id": 1, "method": "echo", "payload": ' + "[" * 100_000 + "]" * 100_000 + "}")

    assert talk.sent() == [
        {
            "error": {
                "code": -32007,
                "message": "The message is nested more than 64 deep",
                "data": {"limit": "json_depth", "max": 64},
            }
        }
    ]
    assert talk.session.failures == 1


def test_a_message_that_was_too_long_is_answered_and_counted() -> None:
    talk = opened()

    talk.session.oversized(65_537)

    assert talk.sent() == [
        {
            "error": {
                "code": -32007,
                "message": "The message is longer than 65536 bytes",
                "data": {"limit": "message_bytes", "max": 65_536, "size": 65_537},
            }
        }
    ]
    assert talk.session.failures == 1


@pytest.mark.parametrize(
    "message",
    [{"id": 1, "method": "nowhere"}, {"id": 1, "cancel": True}, {"id": "s1", "response": 1}],
)
def test_a_message_that_can_be_read_forgives_those_that_could_not(message: Any) -> None:
    talk = opened()
    talk.session.pending.ask("confirm", b"{}", lambda outcome: None)
    talk.say("rubbish")
    talk.session.oversized(65_537)
    assert talk.session.failures == 2

    talk.say(message)

    assert talk.session.failures == 0


@pytest.mark.parametrize(
    "message",
    [
        {"channel": "c", "event": "e", "data": 1},
        {"event": "$reconnect", "data": {"after": 1, "code": 1012}},
    ],
)
def test_what_is_published_is_an_event_and_forgives_too(message: Any) -> None:
    talk = Talk(codec=JSON_CLIENT)
    talk.say("rubbish")

    assert len(talk.say(message)) == 1

    assert talk.session.failures == 0


def test_a_ping_is_answered_while_calls_are_refused_and_a_second_one_with_its_id_is_not() -> None:
    for codec in (JSON, MSGPACK):
        talk = Talk(Limits(calls=1), codec)
        talk.run(1)
        talk.say({"id": 2, "method": "rpc.ping"})
        talk.session.drain(5)
        talk.say({"id": 3, "method": "rpc.ping"})
        talk.say({"id": None, "method": "rpc.ping"})
        assert [(frame["id"], frame["response"]) for frame in talk.sent()] == [(2, None), (3, None)]
        talk.say({"id": 1, "method": "rpc.ping"})
        assert talk.error()["code"] == ErrorCode.SHUTTING_DOWN


def test_a_log_that_names_a_call_has_nothing_of_its_payload() -> None:
    call = Talk().run(1, "echo", {"password": "secret"})

    assert repr(call) == "<Incoming echo running>"
