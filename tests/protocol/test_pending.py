"""Calls in flight, joined to the answering side without a loop or a socket."""

import json
from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openapi.errors import CallFailed, ConnectionClosed, ErrorCode, RpcError
from openapi.protocol.frames import Answer, Failure, Message, Reconnect, read, write
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.pending import Asked, AskedState, Outcome, Pending
from openapi.protocol.session import Incoming, Session


class Calculator:
    async def ws_rpc_add(self, payload: dict[str, Any]) -> int:
        return sum(payload["terms"])


class Peers:
    """An asking side and an answering side. What one sends, the other has."""

    def __init__(self) -> None:
        self.freed = 0
        self.outcomes: dict[int, Outcome] = {}
        self.pending = Pending(freed=self._free)
        self.unknown = 0
        self.session = Session(
            MethodTable.of(Calculator), send=self._receive, limits=Limits(message_bytes=200)
        )

    def ask(self, method: str = "add", payload: bytes = b'{"terms":[1,2]}') -> Asked:
        def ended(outcome: Outcome) -> None:
            self.outcomes[asked.id] = outcome

        asked = self.pending.ask(method, payload, ended)
        return asked

    def send(self, asked: Asked) -> Incoming | None:
        if len(asked.message) > 200:
            self.session.oversized(len(asked.message))
            return None
        return self.session.receive(asked.message.decode())

    def _receive(self, frame: bytes) -> None:
        said = read(frame.decode())
        assert isinstance(said, Answer | Failure)
        self.unknown += not self.pending.settle(said)

    def _free(self) -> None:
        self.freed += 1


@pytest.fixture
def peers() -> Peers:
    return Peers()


def test_a_call_ends_with_its_response(peers: Peers) -> None:
    asked = peers.ask()
    call = peers.send(asked)
    assert call is not None
    assert (asked.state, len(peers.pending), peers.freed) == (AskedState.WAITING, 1, 0)
    peers.session.answer(call, b"3")
    assert peers.outcomes == {asked.id: b"3"}
    assert (asked.state, len(peers.pending), peers.freed) == (AskedState.ENDED, 0, 1)


def test_answers_find_their_calls_in_any_order(peers: Peers) -> None:
    asked = [peers.ask() for _ in range(3)]
    calls = [peers.send(each) for each in asked]
    for call, response in reversed(list(zip(calls, (b"1", b"2", b"3"), strict=True))):
        assert call is not None
        peers.session.answer(call, response)
    assert [peers.outcomes[each.id] for each in asked] == [b"1", b"2", b"3"]


def test_a_failure_reaches_its_caller_with_everything_that_it_says(peers: Peers) -> None:
    call = peers.send(asked := peers.ask())
    assert call is not None
    peers.session.fail(call, RpcError(7, "no", data=[1], errors={"a": "b"}, retry_after=5))
    failed = peers.outcomes[asked.id]
    assert isinstance(failed, CallFailed)
    assert (failed.code, failed.message, failed.data) == (7, "no", [1])
    assert (failed.errors, failed.retry_after) == ({"a": "b"}, 5)


def test_a_method_that_the_server_has_not_is_a_failed_call(peers: Peers) -> None:
    peers.send(asked := peers.ask("nothing"))
    failed = peers.outcomes[asked.id]
    assert isinstance(failed, CallFailed)
    assert failed.code == ErrorCode.METHOD_NOT_FOUND
    assert (failed.data, failed.retry_after) == (None, None)


def test_a_call_that_is_too_long_for_the_server_fails_although_it_read_no_id(peers: Peers) -> None:
    others = peers.ask(), peers.ask(payload=json.dumps({"terms": [1] * 200}).encode())
    long = peers.ask(payload=json.dumps({"terms": [1] * 150}).encode())
    peers.send(long)
    failed = peers.outcomes[long.id]
    assert isinstance(failed, CallFailed)
    assert failed.code == ErrorCode.LIMIT_EXCEEDED
    assert [other.state for other in others] == [AskedState.WAITING] * 2


def test_a_refusal_of_a_notification_leaves_calls_alone_that_the_server_takes(
    peers: Peers,
) -> None:
    asked = peers.ask()
    size = len(asked.message)
    for most, ends in ((size, False), (size + 1, False), (size - 1, True)):
        said = read(
            '{"error": {"code": -32007, "message": "too long", "data": '
            f'{{"limit": "message_bytes", "max": {most}, "size": {size}}}}}}}'
        )
        assert isinstance(said, Failure)
        assert peers.pending.settle(said) is ends
        assert (asked.id in peers.outcomes) is ends


def test_of_calls_that_are_too_long_and_equally_so_each_gets_its_refusal(peers: Peers) -> None:
    asked = [peers.ask(payload=b'{"terms":[%s1]}' % (b"1," * 200)) for _ in range(3)]
    for each in asked:
        peers.send(each)
    assert list(peers.outcomes) == [each.id for each in asked]
    assert len(peers.pending) == 0


@pytest.mark.parametrize(
    "text",
    [
        '{"error": {"code": -32700, "message": "JSON string expected"}}',
        '{"error": {"code": -32007, "message": "too long", "data": {"size": "1"}}}',
        '{"error": {"code": -32007, "message": "too long", "data": [1]}}',
        '{"error": {"code": -32007, "message": "too long", "data": {"size": 55}}}',
        '{"id": 2, "method": "add", "response": 1}',
        '{"id": "1", "method": "add", "response": 1}',
        '{"id": "s1", "error": {"code": 1, "message": "no"}}',
    ],
)
def test_an_answer_to_nothing_in_flight_leaves_every_call_alone(peers: Peers, text: str) -> None:
    peers.ask()
    said = read(text)
    assert isinstance(said, Answer | Failure)
    assert not peers.pending.settle(said)
    assert len(peers.pending) == 1
    assert peers.outcomes == {}


def test_a_second_answer_is_nothing_to_anybody(peers: Peers) -> None:
    call = peers.send(peers.ask())
    assert call is not None
    peers.session.answer(call, b"3")
    answer = Answer(id=1, method="add", response=_raw(b"4"))
    assert not peers.pending.settle(answer)
    assert peers.outcomes == {1: b"3"}
    assert peers.freed == 1


def test_an_abandoned_call_keeps_its_place_until_its_answer_which_nobody_gets() -> None:
    peers = Peers()
    asked = peers.ask()
    call = peers.send(asked)
    assert call is not None
    peers.pending.abandon(asked)
    assert asked.state is AskedState.ABANDONED
    assert (len(peers.pending), peers.freed) == (1, 0)
    peers.session.answer(call, b"3")
    assert (peers.outcomes, peers.freed, asked.state) == ({}, 1, AskedState.ENDED)
    assert peers.ask().id == 2


def test_abandoning_a_call_that_has_ended_changes_nothing(peers: Peers) -> None:
    asked = peers.ask()
    call = peers.send(asked)
    assert call is not None
    peers.session.answer(call, b"3")
    peers.pending.abandon(asked)
    assert asked.state is AskedState.ENDED


def test_a_disconnect_ends_every_call_and_forgets_the_abandoned(peers: Peers) -> None:
    asked = [peers.ask() for _ in range(3)]
    peers.pending.abandon(asked[1])
    peers.pending.close(1012, "the server restarts")
    assert list(peers.outcomes) == [asked[0].id, asked[2].id]
    for outcome in peers.outcomes.values():
        assert isinstance(outcome, ConnectionClosed)
        assert (outcome.code, outcome.reason) == (1012, "the server restarts")
    assert len({id(outcome) for outcome in peers.outcomes.values()}) == 2
    assert (len(peers.pending), peers.freed) == (0, 3)


def test_no_call_begins_after_the_end(peers: Peers) -> None:
    peers.pending.close(1006)
    with pytest.raises(ConnectionClosed, match="1006"):
        peers.ask()


def test_without_a_callback_for_room_calls_end_all_the_same() -> None:
    pending, outcomes = Pending(), deque[Outcome]()
    pending.ask("add", b"{}", outcomes.append)
    pending.close(1000)
    assert len(outcomes) == 1


def test_what_is_asked_is_the_documented_frame() -> None:
    asked = Pending().ask("add", b'{"a":1}', print)
    assert json.loads(asked.message) == {"id": 1, "method": "add", "payload": {"a": 1}}
    assert json.loads(write(None, "add", b"{}")) == {"id": None, "method": "add", "payload": {}}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"id": 1, "method": "a", "response": {}, "new": [1]}', Answer),
        ('{"id": 1, "response": null}', Answer),
        ('{"id": 1, "error": {"code": 1, "message": "no", "new": 1}}', Failure),
        ('{"id": null, "error": {"code": 1, "message": "no"}}', Failure),
        ('{"error": {"code": 1, "message": "no"}}', Failure),
        ('{"channel": "a", "event": "b", "data": {}, "offset": 7}', Message),
        ('{"channel": "a", "event": "b"}', Message),
        ('{"event": "$reconnect", "data": {"after": 1, "code": 1012, "new": 1}}', Reconnect),
    ],
)
def test_a_frame_is_read_with_keys_that_are_not_known_yet(text: str, kind: type[object]) -> None:
    assert type(read(text)) is kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "{}",
        '{"id": 1}',
        '{"id": null, "response": 1}',
        '{"id": 1.5, "response": 1}',
        '{"id": 1, "method": 2, "response": 1}',
        '{"id": "s1", "method": "confirm", "payload": {}}',
        '{"id": 1, "method": "tail", "item": 1, "seq": 1}',
        '{"channel": "a"}',
        '{"channel": 1, "event": "b"}',
        '{"event": "$else"}',
        '{"event": "$reconnect"}',
        '{"event": "$reconnect", "data": {"after": "soon", "code": 1012}}',
        "[" * 100_000,
        '{"id": 1, "response": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_what_is_not_known_is_nothing(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("error", ["1", "{}", '{"code": "1", "message": "no"}', "null"])
def test_an_error_that_cannot_be_read_still_ends_its_call(peers: Peers, error: str) -> None:
    asked = peers.ask()
    said = read(f'{{"id": 1, "method": "add", "error": {error}}}')
    assert isinstance(said, Failure)
    assert peers.pending.settle(said)
    assert isinstance(peers.outcomes[asked.id], CallFailed)


def _raw(data: bytes) -> Any:
    said = read(f'{{"id": 1, "response": {data.decode()}}}')
    assert isinstance(said, Answer)
    return said.response


class Calls(RuleBasedStateMachine):
    """Calls in any order of asking, abandoning, answering and an end."""

    def __init__(self) -> None:
        super().__init__()
        self.peers = Peers()
        self.running: dict[int, tuple[Asked, Incoming]] = {}
        self.abandoned: set[int] = set()
        self.expected: dict[int, object] = {}
        self.closed = False

    @precondition(lambda self: not self.closed)
    @rule()
    def ask(self) -> None:
        asked = self.peers.ask()
        call = self.peers.send(asked)
        assert call is not None
        assert asked.id not in self.expected
        self.running[asked.id] = asked, call

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.running)))
        self.peers.pending.abandon(self.running[id][0])
        self.abandoned.add(id)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.running)))
        _, call = self.running.pop(id)
        self.peers.session.answer(call, b"%d" % id)
        if id not in self.abandoned:
            self.expected[id] = b"%d" % id

    @rule()
    def close(self) -> None:
        self.peers.pending.close(1006)
        self.peers.session.close()
        self.expected |= {id: 1006 for id in self.running if id not in self.abandoned}
        self.running.clear()
        self.closed = True

    @invariant()
    def every_call_ended_as_it_should_and_the_rest_is_in_flight(self) -> None:
        outcomes = {
            id: outcome.code if isinstance(outcome, ConnectionClosed) else outcome
            for id, outcome in self.peers.outcomes.items()
        }
        assert outcomes == self.expected
        assert len(self.peers.pending) == len(self.running)
        assert self.peers.unknown == 0


TestCalls = Calls.TestCase
