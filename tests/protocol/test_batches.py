"""Batches of JSON-RPC 2.0: several calls in one message, which are answered in one (section 6)."""

from typing import Any

import pytest

from openapi.errors import RpcError
from openapi.protocol.incoming import CallState, Incoming, Stop
from openapi.protocol.jsonrpc import JSONRPC
from openapi.protocol.limits import Limits
from openapi.protocol.session import SessionState
from tests.protocol.talk import Talk, batch


class Batches(Talk):
    """A conversation in JSON-RPC."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits, JSONRPC)

    def take(self, *messages: Any) -> list[Incoming]:
        """The peer says a batch; the calls that are to be run."""
        events = self.say(batch(*messages))
        calls = [event for event in events if isinstance(event, Incoming)]
        assert len(calls) == len(events)
        return calls

    def reply(self) -> list[Any]:
        """The one array that was sent since the last time."""
        [sent] = self.sent()
        assert isinstance(sent, list)
        return sent


def error(code: int, id: Any = None) -> dict[str, Any]:
    """An answer that is an error, as far as it is looked at here."""
    return {"id": id, "code": code}


def codes(reply: list[Any]) -> list[Any]:
    """Of an array, the results as they are, and of errors what :func:`error` has."""
    return [error(each["error"]["code"], each["id"]) if "error" in each else each for each in reply]


def test_a_batch_is_answered_by_one_array_with_the_last_answer_in_any_order() -> None:
    talk = Batches()
    first, second, third = talk.take((1, "echo"), (2, "echo"), ("x", "echo"))

    talk.session.answer(second, b'"two"')
    talk.session.answer(third, b'"three"')
    assert talk.messages == []
    talk.session.done(second)
    talk.session.answer(first, b'"one"')

    assert talk.reply() == [
        {"jsonrpc": "2.0", "result": "two", "id": 2},
        {"jsonrpc": "2.0", "result": "three", "id": "x"},
        {"jsonrpc": "2.0", "result": "one", "id": 1},
    ]
    for call in (first, second, third):
        talk.session.done(call)
    assert (talk.sent(), talk.session.in_flight) == ([], 0)


def test_what_is_refused_of_a_batch_is_in_its_array() -> None:
    talk = Batches(Limits(calls=2))
    first, second = talk.take(
        (1, "echo"), (2, "nowhere"), (3, "add", {"a": 1}), 5, (1, "echo"), (4, "echo"), (5, "echo")
    )

    talk.session.fail(second, RpcError(7, "no"))
    talk.session.answer(first, b"null")

    assert codes(talk.reply()) == [
        error(-32601, 2),
        error(-32602, 3),
        error(-32600),
        error(-32004, 1),
        error(-32004, 5),
        error(7, 4),
        {"jsonrpc": "2.0", "result": None, "id": 1},
    ]


def test_a_batch_in_which_nothing_can_be_run_is_answered_at_once() -> None:
    talk = Batches()

    assert talk.take((1, "nowhere"), 1, 2, 3) == []

    assert codes(talk.reply()) == [error(-32601, 1), *[error(-32600)] * 3]
    assert talk.session.failures == 3


def test_a_batch_of_notifications_gets_nothing() -> None:
    talk = Batches()

    first, second = talk.take((None, "echo"), (None, "nowhere"), (None, "echo"))
    talk.session.answer(first, b"1")
    talk.session.fail(second, RpcError(7, "no"))

    assert (talk.sent(), talk.session.dropped) == ([], 1)


def test_a_notification_of_a_batch_does_not_hold_up_its_array() -> None:
    talk = Batches()
    call, _ = talk.take((1, "echo"), (None, "echo"))

    talk.session.answer(call, b"1")

    assert len(talk.reply()) == 1


def test_an_empty_batch_is_one_error() -> None:
    talk = Batches()

    assert talk.take() == []

    assert talk.error()["code"] == -32600


@pytest.mark.parametrize("limit", [1, 64])
def test_a_batch_is_bounded(limit: int) -> None:
    talk = Batches(Limits(batch=limit))

    assert len(talk.take(*((n, "echo") for n in range(limit)))) == limit
    assert talk.take(*((n, "echo") for n in range(100, 101 + limit))) == []

    assert talk.error() == {
        "code": -32007,
        "message": f"The batch is of more than {limit}",
        "data": {"limit": "batch", "max": limit},
    }
    assert (talk.session.failures, talk.session.in_flight) == (1, limit)


def test_a_batch_that_is_nested_too_deeply_is_one_error() -> None:
    talk = Batches(Limits(json_depth=3))

    assert len(talk.take((1, "echo", {}))) == 1  # the array, the call, its parameters
    assert talk.take((2, "echo", {"a": []}), (3, "echo")) == []

    assert talk.sent()[0]["error"]["data"] == {"limit": "json_depth", "max": 3}
    assert talk.session.in_flight == 1


def test_cancelling_a_call_of_a_batch_answers_it_inside_of_the_array() -> None:
    talk = Batches()
    first, second = talk.take((1, "echo"), (2, "echo"))

    [event] = talk.say({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 1}})
    assert isinstance(event, Stop)
    assert event.call is first
    assert talk.messages == []
    talk.session.answer(second, b"2")

    assert codes(talk.reply()) == [error(-32006, 1), {"jsonrpc": "2.0", "result": 2, "id": 2}]


def test_a_call_that_is_cancelled_in_its_own_batch_never_begins() -> None:
    talk = Batches()

    calls = talk.take((1, "echo"), (2, "echo"), (None, "$/cancelRequest", {"id": 1}))

    [other] = calls
    assert other.id == 2
    assert talk.session.in_flight == 1
    talk.session.answer(other, b"2")
    assert codes(talk.reply()) == [error(-32006, 1), {"jsonrpc": "2.0", "result": 2, "id": 2}]


@pytest.mark.parametrize(("cancelled", "left"), [(1, [2, 3]), (2, [1, 3])])
def test_a_call_that_is_cancelled_in_its_own_batch_leaves_its_lane(
    cancelled: int, left: list[int]
) -> None:
    talk = Batches()
    cancel = (None, "$/cancelRequest", {"id": cancelled})

    first, second = talk.take((1, "alone"), (2, "alone"), (3, "alone"), cancel)

    assert [first.id, second.id] == left
    assert [first.state, second.state] == [CallState.RUNNING, CallState.WAITING]
    assert talk.session.done(first) is second


def test_a_batch_can_cancel_an_earlier_call_which_has_its_own_answer() -> None:
    talk = Batches()
    [earlier] = talk.say('{"jsonrpc": "2.0", "id": 1, "method": "echo"}')
    assert isinstance(earlier, Incoming)

    [stop, call] = talk.say(batch((None, "$/cancelRequest", {"id": 1}), (2, "echo")))

    assert isinstance(stop, Stop)
    assert stop.call is earlier
    assert talk.error()["code"] == -32006
    assert isinstance(call, Incoming)
    talk.session.answer(call, b"2")
    assert len(talk.reply()) == 1


def test_a_call_of_a_batch_that_there_was_no_way_to_answer_does_not_hold_up_the_others() -> None:
    talk = Batches()
    first, second = talk.take((1, "echo"), (2, "echo"))
    talk.session.answer(first, b"1")

    talk.session.done(second)

    assert talk.reply() == [{"jsonrpc": "2.0", "result": 1, "id": 1}]


def test_calls_of_a_batch_that_were_all_unanswerable_are_answered_by_nothing() -> None:
    talk = Batches()

    for call in talk.take((1, "echo"), (2, "echo")):
        talk.session.done(call)

    assert talk.sent() == []


def test_an_answer_in_a_batch_ends_a_call_of_ours_and_gets_no_answer() -> None:
    talk = Batches()
    outcomes: list[object] = []
    talk.session.pending.ask("confirm", b"{}", outcomes.append)
    talk.sent()
    answer = {"jsonrpc": "2.0", "id": "s1", "result": True}

    assert talk.say(batch(answer, answer)) == []

    assert outcomes == [b"true"]
    assert (talk.sent(), talk.session.ignored) == ([], 1)


def test_a_draining_session_refuses_a_batch_inside_of_the_array() -> None:
    talk = Batches()
    [call] = talk.take((1, "echo"))
    talk.session.drain(10)

    assert talk.take((2, "echo"), (None, "echo"), (3, "echo")) == []

    assert codes(talk.reply()) == [error(-32009, 2), error(-32009, 3)]
    assert talk.session.dropped == 1
    talk.session.answer(call, b"1")
    assert len(talk.reply()) == 1


def test_a_closed_session_drops_what_a_batch_is_still_owed() -> None:
    talk = Batches()
    first, second = talk.take((1, "echo"), (2, "echo"))
    talk.session.answer(first, b"1")

    talk.session.close(1001)
    talk.session.answer(second, b"2")
    talk.session.done(second)

    assert talk.sent() == []
    assert talk.say(batch((3, "echo"))) == []


def test_a_session_that_closes_within_a_batch_drops_the_rest_of_it() -> None:
    talk = Batches()
    talk.session.pending.ask("confirm", b"{}", lambda outcome: talk.session.close(1001))
    talk.sent()

    events = talk.say(
        batch((1, "nowhere"), (2, "echo"), {"jsonrpc": "2.0", "id": "s1", "result": 1}, (3, "echo"))
    )

    assert (events, talk.sent()) == ([], [])
    assert talk.session.state is SessionState.CLOSED
    assert (talk.session.calls, talk.session.in_flight) == ({}, 0)


def test_who_works_on_a_call_knows_when_its_array_is_sent() -> None:
    talk = Batches()
    first, second = talk.take((1, "echo"), (2, "echo"))
    assert first.reply is not None
    assert first.reply is second.reply

    sent = []
    for call in (first, second):
        talk.session.answer(call, b"1")
        sent.append(first.reply.sent)

    assert sent == [False, True]
