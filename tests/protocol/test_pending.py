"""Calls in flight, joined to the answering side without a loop or a socket, in both formats."""

import json
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw, msgpack

from openapi.errors import CallFailed, ConnectionClosed, ErrorCode, RpcError, UnexpectedData
from openapi.protocol.frames import Answer, CallId, Error, Failure, Item
from openapi.protocol.incoming import CallState, Incoming, Stop
from openapi.protocol.jsonrpc import JSONRPC
from openapi.protocol.limits import Limits
from openapi.protocol.native import JSON, JSON_CLIENT, MSGPACK, MSGPACK_CLIENT
from openapi.protocol.pending import AskedState, Outcome, Pending
from tests.protocol.joined import Joined, Mine

LIMITS = Limits(message_bytes=200, json_depth=10)


@pytest.fixture(params=[(JSON, JSON_CLIENT), (MSGPACK, MSGPACK_CLIENT)], ids=["json", "msgpack"])
def both(request: pytest.FixtureRequest) -> Joined:
    """A server and a client."""
    return Joined(LIMITS, request.param)


def reason(mine: Mine) -> CallFailed:
    """The error that a call ended with."""
    [failed] = mine.ended
    assert isinstance(failed, CallFailed)
    return failed


# The table of states


def test_a_call_that_waits_ends_with_its_response(both: Joined) -> None:
    mine, call = both.call(payload={"a": [1, None]})
    assert call.payload == {"a": [1, None]}
    assert (mine.asked.state, len(both.client.pending)) == (AskedState.WAITING, 1)
    assert both.client.freed == 0

    both.server.session.answer(call, both.server.encode({"b": 3}))

    [response] = mine.ended
    assert both.client.decode(response) == {"b": 3}
    assert (mine.asked.state, len(both.client.pending)) == (AskedState.ENDED, 0)
    assert both.client.freed == 1


def test_a_call_that_waits_and_is_abandoned_is_cancelled_once_and_keeps_its_place(
    both: Joined,
) -> None:
    mine, call = both.call()
    both.client.said()
    with both.server.slowly():
        both.client.pending.abandon(mine.asked)
        both.client.pending.abandon(mine.asked)

        assert both.client.said() == [{"id": 1, "cancel": True}]
        assert mine.asked.state is AskedState.ABANDONED
        assert (len(both.client.pending), both.client.freed) == (1, 0)

    [stop] = both.server.events
    assert isinstance(stop, Stop)
    assert stop.call is call
    assert (mine.asked.state, mine.ended) == (AskedState.ENDED, [])
    assert (len(both.client.pending), both.client.freed) == (0, 1)
    assert both.client.ask("echo").asked.id == 2  # never one that was used


def test_a_result_that_crosses_the_cancel_is_nobodys(both: Joined) -> None:
    with both.client.slowly():
        mine = both.client.ask("echo")
    call = both.server.taken()
    with both.client.slowly():
        both.client.pending.abandon(mine.asked)
        both.server.session.answer(call, both.server.encode(3))

    assert both.server.events == []  # the cancel came too late, and is ignored
    assert mine.ended == []
    assert (len(both.client.pending), both.client.freed) == (0, 1)
    assert both.server.session.failures == 0


def test_a_call_that_has_ended_cannot_be_abandoned(both: Joined) -> None:
    mine, call = both.call()
    both.server.session.answer(call, both.server.encode(3))
    both.client.said()

    both.client.pending.abandon(mine.asked)

    assert mine.asked.state is AskedState.ENDED
    assert both.client.said() == []


def test_the_end_of_the_connection_ends_every_call_and_forgets_the_abandoned(both: Joined) -> None:
    with both.server.slowly():
        first, _ = both.call()
        second, _ = both.call()
        third, _ = both.call()
        both.client.pending.abandon(second.asked)
        both.client.session.close(1012, "the server restarts")

    assert second.ended == []
    for mine in (first, third):
        [closed] = mine.ended
        assert isinstance(closed, ConnectionClosed)
        assert (closed.code, closed.reason) == (1012, "the server restarts")
    assert first.ended[0] is not third.ended[0]
    assert {mine.asked.state for mine in (first, second, third)} == {AskedState.ENDED}
    assert (len(both.client.pending), both.client.freed) == (0, 3)


def test_nothing_is_said_while_a_connection_ends_nor_later(both: Joined) -> None:
    def ended(outcome: Outcome) -> None:
        both.client.pending.abandon(other.asked)

    both.client.pending.ask("echo", both.client.encode({}), ended)
    other = both.client.ask("echo")
    both.client.said()

    both.client.session.close(1006)

    assert both.client.said() == []
    with pytest.raises(ConnectionClosed, match="1006"):
        both.client.ask("echo")
    with pytest.raises(ConnectionClosed, match="1006"):
        both.client.pending.notify("echo", both.client.encode({}))


# What is asked


def test_a_call_is_the_documented_frame(both: Joined) -> None:
    both.client.ask("add", {"a": 1, "b": 2})
    both.client.ask("echo", {}, timeout=1500)
    both.client.pending.notify("add", both.client.encode({"a": 1, "b": 2}))

    assert both.client.said() == [
        {"id": 1, "method": "add", "payload": {"a": 1, "b": 2}},
        {"id": 2, "method": "echo", "payload": {}, "timeout": 1500},
        {"id": None, "method": "add", "payload": {"a": 1, "b": 2}},
    ]
    assert [call.timeout for call in both.server.events if isinstance(call, Incoming)] == [
        *(None, 1.5, None)
    ]


def test_a_server_calls_its_client_with_ids_of_its_own(both: Joined) -> None:
    mine, call = both.call()
    asked = [both.server.ask("add", {"a": 1, "b": 2}) for _ in range(2)]

    assert [each.asked.id for each in asked] == ["s1", "s2"]
    assert both.server.said() == [
        {"id": id, "method": "add", "payload": {"a": 1, "b": 2}} for id in ("s1", "s2")
    ]
    for event in both.client.events:
        assert isinstance(event, Incoming)
        both.client.session.answer(event, both.client.encode(3))
    both.server.session.answer(call, both.server.encode(0))

    for each in (*asked, mine):
        [response] = each.ended
        assert both.client.decode(response) == (0 if each is mine else 3)
    assert (both.server.session.ignored, both.client.session.ignored) == (0, 0)


def test_a_call_of_the_server_fails_and_is_cancelled_like_any_other(both: Joined) -> None:
    failing, cancelled = both.server.ask("echo"), both.server.ask("echo")
    first, second = both.client.events
    assert isinstance(first, Incoming)
    assert isinstance(second, Incoming)

    both.client.session.fail(first, RpcError(7, "no"))
    both.server.pending.abandon(cancelled.asked)

    assert reason(failing).code == 7
    assert (second.state, cancelled.asked.state) == (CallState.ANSWERED, AskedState.ENDED)
    assert len(both.server.pending) == 0


def test_answers_find_their_calls_in_any_order(both: Joined) -> None:
    asked = [both.call() for _ in range(3)]

    for number, (_, call) in reversed([*enumerate(asked)]):
        both.server.session.answer(call, both.server.encode(number))

    assert [both.client.decode(mine.ended[0]) for mine, _ in asked] == [0, 1, 2]


def test_a_failure_reaches_its_caller_with_everything_that_it_says(both: Joined) -> None:
    mine, call = both.call()

    error = RpcError(7, "no", data=[1], errors={"a": "b"}, retry_after=5)
    both.server.session.fail(call, error)

    failed = reason(mine)
    assert (failed.code, failed.message, failed.data) == (7, "no", [1])
    assert (failed.errors, failed.retry_after) == ({"a": "b"}, 5)


def test_a_refusal_ends_the_call(both: Joined) -> None:
    failed = reason(both.client.ask("nothing"))

    assert failed.code == ErrorCode.METHOD_NOT_FOUND
    assert (failed.data, failed.retry_after) == (None, None)
    assert both.client.freed == 1


def test_messagepack_carries_bytes_and_big_integers_where_nobody_says_a_type() -> None:
    both = Joined(codecs=(MSGPACK, MSGPACK_CLIENT))
    value = {"bytes": b"\x00\xff", "big": 2**63}

    mine, call = both.call(payload=value)
    both.server.session.answer(call, call.method.encode(call.payload, packed=True))

    assert call.payload == value
    assert [both.client.decode(outcome) for outcome in mine.ended] == [value]


# Streams


def test_the_items_of_a_stream_come_in_order_before_its_end(both: Joined) -> None:
    mine, call = both.call("tail", stream=True)
    assert call.method.stream

    for seq, item in enumerate(("a", None, [1]), 1):
        both.server.session.item(call, both.server.encode(item), seq)
    assert mine.ended == []
    both.server.session.answer(call, both.server.encode(None))

    assert [both.client.decode(item) for item in mine.items] == ["a", None, [1]]
    assert [both.client.decode(end) for end in mine.ended] == [None]
    assert both.server.said() == [
        {"id": 1, "method": "tail", "item": "a", "seq": 1},
        {"id": 1, "method": "tail", "item": None, "seq": 2},
        {"id": 1, "method": "tail", "item": [1], "seq": 3},
        {"id": 1, "method": "tail", "response": None},
    ]


def test_a_stream_that_is_abandoned_hands_on_nothing_more(both: Joined) -> None:
    mine, call = both.call("tail", stream=True)
    with both.client.slowly():
        both.client.pending.abandon(mine.asked)
        both.server.session.item(call, both.server.encode(1), 1)

    both.server.session.item(call, both.server.encode(2), 2)

    assert (mine.items, mine.ended) == ([], [])
    assert (len(both.client.pending), both.client.freed) == (0, 1)
    assert both.client.session.ignored == 0


def test_an_item_of_a_call_that_wanted_none_ends_and_cancels_it(both: Joined) -> None:
    mine, call = both.call("tail")
    both.client.said()
    with both.server.slowly():
        for seq in (1, 2):
            both.server.session.item(call, both.server.encode(seq), seq)

    [unexpected] = mine.ended
    assert isinstance(unexpected, UnexpectedData)
    assert str(unexpected) == "'tail' answers with a stream of items"
    assert both.client.said() == [{"id": 1, "cancel": True}]
    assert (call.state, mine.asked.state) == (CallState.ANSWERED, AskedState.ENDED)
    assert (len(both.client.pending), both.client.freed) == (0, 1)
    assert both.client.session.ignored == 0


def test_a_client_that_streams_to_a_server_that_wants_one_result_is_cancelled(
    both: Joined,
) -> None:
    mine = both.server.ask("tail")
    call = both.client.taken()

    both.client.session.item(call, both.client.encode(1), 1)

    assert isinstance(mine.ended[0], UnexpectedData)
    assert call.state is CallState.ANSWERED
    assert both.server.session.in_flight == 0  # it is no call of a method "tail"
    assert (len(both.server.pending), both.server.session.ignored) == (0, 0)


def test_a_server_takes_the_items_of_its_client(both: Joined) -> None:
    mine = both.server.ask("tail", stream=True)
    call = both.client.taken()

    both.client.session.item(call, both.client.encode({"a": 1}), 1)
    both.client.session.answer(call, both.client.encode(None))

    assert [both.server.decode(item) for item in mine.items] == [{"a": 1}]
    assert len(mine.ended) == 1


# Answers that end nothing


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "s2", "response": 1},
        {"id": "s2", "error": {"code": 1, "message": "no"}},
        {"id": 1, "response": 1},
        {"id": "1", "response": 1},
        {"id": "s2", "method": "echo", "item": 1, "seq": 1},
        {"error": {"code": 1, "message": "no"}},
        {"id": None, "error": {"code": 1, "message": "no"}},
        {"id": 1.5, "error": {"code": 1, "message": "no"}},
        {"error": "no"},
        {"id": "s2", "error": "no"},
    ],
)
def test_an_answer_to_what_was_never_asked_is_counted_and_not_answered(
    both: Joined, answer: dict[str, Any]
) -> None:
    mine = both.server.ask("echo")
    both.server.said()

    for times in (1, 2):
        assert both.server.session.receive(_message(both, answer)) == ()
        assert (both.server.session.ignored, both.server.session.failures) == (times, times)

    assert (both.server.said(), mine.ended) == ([], [])
    assert len(both.server.pending) == 1


def test_a_second_answer_is_counted_and_not_answered(both: Joined) -> None:
    mine = both.server.ask("echo")
    answer = _message(both, {"id": "s1", "response": 1})

    both.server.session.receive(answer)
    both.server.session.receive(answer)

    assert len(mine.ended) == both.server.freed == 1
    assert (both.server.session.ignored, both.server.session.failures) == (1, 1)


@pytest.mark.parametrize("answer", [{"id": None, "response": 1}, {"response": 1}, {"id": 1.5}])
def test_a_response_of_the_wrong_form_is_refused_and_the_connection_lives_on(
    both: Joined, answer: dict[str, Any]
) -> None:
    mine = both.server.ask("echo")
    both.server.said()

    assert both.server.session.receive(_message(both, {"response": 1, **answer})) == ()

    [refusal] = both.server.said()
    assert refusal["error"]["code"] == ErrorCode.INVALID_REQUEST
    assert [*refusal["error"]["errors"]] == ["id"]
    assert (mine.ended, both.server.session.failures) == ([], 1)
    assert both.client.ask("nothing").ended != []


@pytest.mark.parametrize("error", [1, {}, {"code": "1", "message": "no"}, None])
def test_an_error_that_cannot_be_read_ends_its_call_all_the_same(both: Joined, error: Any) -> None:
    mine, ours = both.client.ask("echo"), both.server.ask("echo")

    both.client.session.receive(_message(both, {"id": 1, "error": error}))
    both.server.session.receive(_message(both, {"id": "s1", "error": error}))

    for each in (mine, ours):
        failed = reason(each)
        assert (failed.code, failed.message) == (-32603, "The error cannot be read")


# Answers to what could not be read


def test_a_call_that_is_too_long_for_the_other_fails_although_it_read_no_id(both: Joined) -> None:
    for end, other in ((both.client, both.server), (both.server, both.client)):
        short, longer = end.ask("echo"), end.ask("echo", {"a": "x" * 300})
        with end.slowly() as under_way:
            long = end.ask("echo", {"a": "x" * 200})
            [message] = under_way
            under_way.clear()
        other.session.oversized(size := len(message))

        failed = reason(long)
        assert failed.code == ErrorCode.LIMIT_EXCEEDED
        assert failed.data == {"limit": "message_bytes", "max": 200, "size": size}
        assert (short.ended, longer.ended) == ([], [])
        assert end.session.failures == 0


def test_of_calls_that_are_too_long_and_equally_so_each_gets_its_refusal(both: Joined) -> None:
    asked = [both.client.ask("echo", {"a": "x" * 200}) for _ in range(3)]

    for mine in asked:
        both.server.session.oversized(mine.asked.size)

    assert [len(mine.ended) for mine in asked] == [1, 1, 1]
    assert len(both.client.pending) == 0


def test_a_refusal_of_a_notification_leaves_calls_alone_that_the_other_takes(both: Joined) -> None:
    mine = both.client.ask("echo")
    size = mine.asked.size

    for most, ends in ((size, False), (size + 1, False), (size - 1, True)):
        data = {"limit": "message_bytes", "max": most, "size": size}
        error = Error(code=-32007, message="too long", data=data)
        assert both.client.pending.settle(Failure(error=error)) is ends
        assert bool(mine.ended) is ends


@pytest.mark.parametrize(
    "data", [None, {"size": "1"}, [1], {"size": 55}, {"max": 1}, {"max": "1", "size": 55}]
)
def test_a_refusal_that_says_no_size_ends_nothing(both: Joined, data: Any) -> None:
    mine = both.client.ask("echo")

    failure = Failure(error=Error(code=-32007, message="too long", data=data))

    assert not both.client.pending.settle(failure)
    assert mine.ended == []


def test_an_answer_that_is_nested_too_deeply_ends_its_call(both: Joined) -> None:
    deep: list[Any] = []
    for _ in range(10):
        deep = [deep]
    responding, failing = both.server.ask("echo"), both.server.ask("echo")
    both.server.said()

    both.server.session.receive(_message(both, {"id": "s1", "response": deep}))
    error = {"code": 1, "message": "no", "data": deep}
    both.server.session.receive(_message(both, {"id": "s2", "error": error}))

    for mine in (responding, failing):
        [unexpected] = mine.ended
        assert isinstance(unexpected, UnexpectedData)
        assert str(unexpected) == "The message is nested more than 10 deep"
    assert (both.server.said(), len(both.server.pending), both.server.freed) == ([], 0, 2)


def test_an_item_that_is_nested_too_deeply_ends_and_cancels_its_call(both: Joined) -> None:
    deep: list[Any] = []
    for _ in range(10):
        deep = [deep]
    mine = both.server.ask("tail", stream=True)
    call = both.client.taken()

    both.client.session.item(call, both.client.encode(deep), 1)

    assert (mine.items, [type(end) for end in mine.ended]) == ([], [UnexpectedData])
    assert (call.state, len(both.server.pending)) == (CallState.ANSWERED, 0)


# By itself


def test_without_a_callback_for_room_calls_end_all_the_same() -> None:
    outcomes: list[Outcome] = []
    pending = Pending(JSON, send=lambda message: None)
    pending.ask("add", b"{}", outcomes.append)

    pending.close(1000)

    assert len(outcomes) == 1


def test_an_end_frees_its_place_before_it_is_known_that_there_is_room() -> None:
    lengths: list[int] = []
    pending = Pending(JSON, send=lambda message: None)
    pending.freed = lambda: lengths.append(len(pending))
    pending.ask("add", b"{}", lambda outcome: lengths.append(len(pending)))

    pending.settle(Answer(id=1, response=Raw(b"1")))

    assert lengths == [0, 0]


def test_an_item_of_a_call_that_is_over_is_in_flight_no_more() -> None:
    pending = Pending(JSON, send=lambda message: None)

    assert not pending.settle(Item(id=1, method="tail", item=Raw(b"1"), seq=1))


def test_what_is_asked_is_in_the_dialect_that_the_first_message_told() -> None:
    both = Joined()
    both.server.session.codec = JSONRPC

    with both.server.slowly():
        both.server.ask("add", {"a": 1, "b": 2})
        said = both.server.said()
        both.client.session.close(1000)

    assert said == [
        {"jsonrpc": "2.0", "method": "add", "params": {"a": 1, "b": 2}, "id": "s1"},
    ]


def _message(both: Joined, frame: dict[str, Any]) -> str | bytes:
    packed = both.server.session.codec.packed
    return msgpack.encode(frame) if packed else json.dumps(frame)


class Calls(RuleBasedStateMachine):
    """Calls in any order of asking, abandoning, items, answers and an end, with any delay."""

    def __init__(self) -> None:
        super().__init__()
        self.both = Joined()
        self.asked: dict[CallId, tuple[Mine, Incoming]] = {}
        self.expected: dict[CallId, object] = {}
        self.closed = False

    def _drawn(self, data: st.DataObject) -> tuple[CallId, Mine, Incoming]:
        id = data.draw(st.sampled_from([*self.asked]))
        return id, *self.asked[id]

    @precondition(lambda self: not self.closed)
    @rule(stream=st.booleans())
    def ask(self, stream: bool) -> None:
        mine, call = self.both.call(stream=stream)
        assert mine.asked.id not in self.asked
        self.asked[mine.asked.id] = mine, call

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        id, mine, call = self._drawn(data)
        self.both.client.pending.abandon(mine.asked)
        self.expected.setdefault(id, None)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def item(self, data: st.DataObject) -> None:
        id, mine, call = self._drawn(data)
        count = len(mine.items)
        wanted = mine.asked.item is not None
        self.both.server.session.item(call, b"1", count + 1)
        assert len(mine.items) == count + (wanted and id not in self.expected)
        if not wanted:
            self.expected.setdefault(id, UnexpectedData)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        id, _, call = self._drawn(data)
        self.both.server.session.answer(call, b"1")
        self.both.server.session.done(call)
        self.expected.setdefault(id, bytes)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cross(self, data: st.DataObject) -> None:
        """The cancel and the result are under way at once."""
        id, mine, call = self._drawn(data)
        with self.both.client.slowly():
            self.both.client.pending.abandon(mine.asked)
            self.both.server.session.answer(call, b"1")
        self.expected.setdefault(id, None)

    @rule()
    def close(self) -> None:
        self.both.client.session.close(1006)
        self.both.server.session.close(1006)
        for id in self.asked:
            self.expected.setdefault(id, ConnectionClosed)
        self.closed = True

    @invariant()
    def every_call_ended_as_it_should_and_the_rest_is_in_flight(self) -> None:
        self.both.server.events.clear()
        for id, (mine, _) in self.asked.items():
            kind = self.expected.get(id)
            assert [type(end) for end in mine.ended] == ([] if kind is None else [kind])
        assert len(self.both.client.pending) == len(self.asked) - len(self.expected)
        assert self.both.client.freed == len(self.expected)
        assert self.both.client.session.ignored == 0


TestCalls = Calls.TestCase
