"""One connection's conversation, without a connection."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from openapi.errors import ErrorCode, RpcError, Unserializable
from openapi.protocol.frames import JSON, ObjectCodec
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.session import Incoming, Session, SessionState


@dataclass
class Pair:
    """Two numbers."""

    a: int
    b: int


class Methods:
    """What the peer may call."""

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        """Never run here: a session only says what is to be run."""

    async def ws_rpc_add(self, payload: Pair) -> Any:
        """Never run here."""


TABLE = MethodTable.of(Methods)
INVALID = "Invalid RPC parameters"


class Talk:
    """A session and what it sent."""

    def __init__(self, limits: Limits | None = None, codec: Any = JSON) -> None:
        self.frames: list[bytes] = []
        self.session = Session(
            TABLE, send=self.frames.append, codec=codec, limits=limits or Limits()
        )

    def ask(self, id: Any, method: str = "echo", payload: Any = None) -> Incoming | None:
        """The peer calls."""
        return self.say({"id": id, "method": method, "payload": payload})

    def say(self, message: Any) -> Incoming | None:
        """The peer says anything."""
        return self.session.receive(message if isinstance(message, str) else json.dumps(message))

    def run(self, id: Any) -> Incoming:
        """The peer calls, and the call is to be run."""
        call = self.ask(id)
        assert call is not None
        return call

    def sent(self) -> list[Any]:
        """What was sent since the last time."""
        sent, self.frames[:] = [json.loads(frame) for frame in self.frames], []
        return sent

    def error(self) -> dict[str, Any]:
        """The one error that was sent since the last time."""
        [frame] = self.sent()
        error: dict[str, Any] = frame["error"]
        return error


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
    talk.session.close()
    return talk


# The table of states, row by row


def test_an_open_session_has_calls_run() -> None:
    talk = opened()

    call = talk.ask(1, "add", {"a": 1, "b": 2})

    assert call is not None
    assert (call.id, call.method.name, call.payload) == (1, "add", Pair(1, 2))
    assert talk.session.calls == {1: call}
    assert talk.session.state is SessionState.OPEN
    assert talk.sent() == []


def test_an_open_session_has_notifications_run() -> None:
    talk = opened()

    call = talk.ask(None)

    assert call is not None
    assert call.id is None
    assert talk.session.calls == {}
    assert talk.session.in_flight == 1


def test_an_open_session_sends_answers() -> None:
    talk = opened()

    talk.session.answer(talk.run(1), b'{"x":1}')

    assert talk.sent() == [{"id": 1, "method": "echo", "response": {"x": 1}}]
    assert talk.session.in_flight == 0


def test_drain_makes_an_open_session_draining() -> None:
    assert draining().session.state is SessionState.DRAINING


@pytest.mark.parametrize("start", [opened, draining, closed])
def test_close_makes_any_session_closed(start: Callable[[], Talk]) -> None:
    talk = start()

    talk.session.close()

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


def test_a_draining_session_sends_answers_and_is_drained_with_the_last_one() -> None:
    talk = opened()
    first, second, notification = talk.run(1), talk.run(2), talk.run(None)
    talk.session.drain(0)

    talk.session.answer(first, b"1")
    talk.session.fail(second, RpcError(7, "no"))
    before_the_last_one = talk.session.drained
    talk.session.answer(notification, b"3")

    assert (before_the_last_one, talk.session.drained) == (False, True)
    assert [frame["id"] for frame in talk.sent()] == [1, 2]


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
    assert talk.say("rubbish") is None
    talk.session.oversized(100_000)

    assert talk.sent() == []
    assert talk.session.failures == 0


def test_a_closed_session_forgets_its_calls_and_drops_their_answers() -> None:
    talk = opened()
    call, other, notification = talk.run(1), talk.run(2), talk.run(None)

    talk.session.close()
    talk.session.answer(call, b"1")
    talk.session.fail(other, RpcError(7, "no"))
    talk.session.answer(notification, b"1")

    assert talk.sent() == []
    assert talk.session.in_flight == 0
    assert not talk.session.drained


def test_a_closed_session_cannot_be_drained() -> None:
    talk = closed()

    talk.session.drain(5)

    assert talk.session.state is SessionState.CLOSED


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


def test_a_notification_is_answered_by_nothing_whatever_becomes_of_it() -> None:
    talk = opened()

    talk.session.answer(talk.run(None), b"1")
    talk.session.fail(talk.run(None), RpcError(7, "no"))

    assert talk.sent() == []
    assert talk.session.in_flight == 0


def test_a_call_ends_once() -> None:
    talk = opened()
    call = talk.run(1)

    talk.session.answer(call, b"1")
    talk.session.answer(call, b"2")
    talk.session.fail(call, RpcError(7, "no"))

    assert [frame["response"] for frame in talk.sent()] == [1]


def test_a_call_that_ended_does_not_end_a_later_one_with_its_id() -> None:
    talk = opened()
    call = talk.run(1)
    talk.session.answer(call, b"1")
    later = talk.run(1)

    talk.session.answer(call, b"2")

    assert len(talk.sent()) == 1
    assert talk.session.calls == {1: later}


def test_an_answer_that_cannot_be_written_leaves_the_call_in_flight() -> None:
    def encode_message(message: Any) -> str:
        if "response" in message:
            raise ValueError("too much")
        return json.dumps(message)

    talk = Talk(codec=ObjectCodec(json.loads, encode_message))
    call = talk.run(1)

    with pytest.raises(Unserializable):
        talk.session.answer(call, b"1")
    talk.session.fail(call, RpcError(7, "no"))

    assert talk.sent() == [{"id": 1, "method": "echo", "error": {"code": 7, "message": "no"}}]
    with pytest.raises(Unserializable):
        talk.session.fail(talk.run(2), RpcError(7, "no", data=object()))


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
def test_what_is_no_call_is_answered_and_counted(message: Any, code: int) -> None:
    talk = opened()

    assert talk.say(message) is None
    assert talk.error()["code"] == code
    assert talk.session.failures == 1


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


def test_a_message_that_can_be_read_forgives_those_that_could_not() -> None:
    talk = opened()
    talk.say("rubbish")
    talk.session.oversized(65_537)
    assert talk.session.failures == 2

    talk.ask(1, "nowhere")

    assert talk.session.failures == 0
