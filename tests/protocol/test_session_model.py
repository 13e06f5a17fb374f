"""A session against a model of it: in whatever order things happen, nothing is lost or said twice.

Every call that has an id is owed one final frame; refused ones get theirs at once, those of a batch
get theirs inside of its one array, when that is complete.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec import msgpack

from openapi.errors import ConnectionClosed, RpcError
from openapi.protocol.frames import Codec
from openapi.protocol.incoming import CallState, Incoming, Stop
from openapi.protocol.jsonrpc import JSONRPC
from openapi.protocol.limits import Limits
from openapi.protocol.native import JSON, MSGPACK
from openapi.protocol.pending import Asked, Outcome
from openapi.protocol.session import SessionState
from tests.protocol.talk import Talk

LIMITS: Final = Limits(calls=4, batch=3, call_timeout=5)
IDS: Final = st.sampled_from([0, 1, "0", "a"])

#: A method, its payload and its lane; None in place of a lane: it is refused.
METHODS: Final[list[tuple[str, dict[str, Any], object]]] = [
    ("echo", {}, "none"),
    ("tail", {}, "none"),
    ("fragile", {"x": 1}, "none"),
    ("alone", {}, "alone"),
    ("ship", {"order": 1}, 1),
    ("bill", {"order": 1}, 1),
    ("bill", {"order": 2}, 2),
    ("add", {"a": "x"}, None),
    ("nowhere", {}, None),
]
CALLS: Final = st.tuples(IDS | st.none(), st.sampled_from(METHODS))
#: A conversation that ends at once shows little.
SELDOM: Final = st.integers(0, 19).map(lambda number: number == 19)


@dataclass(eq=False)
class Reply:
    """The array that a batch is owed."""

    open: int = 1
    frames: list[object] = field(default_factory=list)


@dataclass(eq=False)
class Ours:
    """A call of the session's own."""

    asked: Asked
    ended: list[Outcome]
    is_waited_for: bool = True
    is_over: bool = False


@dataclass(eq=False)
class Taken:
    """A call that the session took."""

    id: object
    lane: object
    reply: Reply | None
    answered: bool = False
    call: Incoming | None = None


class Model(RuleBasedStateMachine):
    """What a session is to do."""

    def __init__(self) -> None:
        super().__init__()
        self.state = SessionState.OPEN
        self.taken: list[Taken] = []
        self.owed: list[object] = []
        """Ids of the frames that are to have been sent; for an array, the tuple of them."""
        self.said: list[object] = []
        self.dropped = self.ignored = self.cancels = 0
        self.ours: list[Ours] = []

    @initialize(codec=st.sampled_from([JSON, MSGPACK, JSONRPC, JSONRPC]))
    def begin(self, codec: Codec) -> None:
        self.talk = Talk(LIMITS, codec)
        self.session = self.talk.session
        self.is_rpc = codec is JSONRPC

    # What the peer does

    @rule(call=CALLS)
    def call(self, call: tuple[Any, tuple[str, dict[str, Any], object]]) -> None:
        self._say([call], None)

    @rule(id=IDS)
    def cancel(self, id: Any) -> None:
        self._say([id], None)

    @precondition(lambda self: self.is_rpc)
    @rule(batch=st.lists(CALLS | IDS, min_size=1, max_size=3))
    def batch(self, batch: list[Any]) -> None:
        self._say(batch, Reply())

    @precondition(lambda self: self.is_rpc)
    @rule(calls=st.lists(CALLS, min_size=1, max_size=2), id=IDS)
    def batch_that_cancels_its_own(self, calls: list[Any], id: Any) -> None:
        (_, method), *others = calls
        self._say([(id, method), *others, id], Reply())

    @rule(data=st.data())
    def rubbish(self, data: st.DataObject) -> None:
        rubbish: Any = b"\xc1" if self.talk.packed else "rubbish"
        if self.is_rpc and data.draw(st.booleans()):
            rubbish = [self._message((id, METHODS[0])) for id in range(4)]  # one too many
        assert self.talk.say(rubbish) == []
        if self.state is not SessionState.CLOSED:
            self.owed.append(None)

    @rule(number=st.integers(1, 4), is_error=st.booleans())
    def end_ours(self, number: int, is_error: bool) -> None:
        """The answer to a call of ours, or to one that was never made, or was answered before."""
        end = {"error": {"code": 1, "message": "no"}} if is_error else {"response": 1}
        if self.is_rpc and not is_error:
            end = {"result": 1}
        version = {"jsonrpc": "2.0"} if self.is_rpc else {}
        assert self.talk.say({**version, "id": f"s{number}", **end}) == []
        if self.state is SessionState.CLOSED:
            return
        ours = self.ours[number - 1] if number <= len(self.ours) else None
        if ours is None or ours.is_over:
            self.ignored += 1
        else:
            ours.is_over = True

    # What its owner does

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), is_error=st.booleans())
    def answer(self, data: st.DataObject, is_error: bool) -> None:
        taken = self._drawn(data)
        assert taken.call is not None
        if is_error:
            self.session.fail(taken.call, RpcError(7, "no"))
        else:
            self.session.answer(taken.call, self._written(None))
        self._answer(taken)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        taken = self._drawn(data)
        assert taken.call is not None
        if taken.call.timeout is not None:
            self.session.expire(taken.call)
            self._answer(taken)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def item(self, data: st.DataObject) -> None:
        taken = self._drawn(data)
        assert taken.call is not None
        self.session.item(taken.call, self._written(1), 1)
        if taken.call.state is CallState.RUNNING and taken.id is not None:
            self.owed.append(("item", taken.id))

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        self._done(self._drawn(data))

    @precondition(lambda self: len(self.ours) < 4 and self.state is not SessionState.CLOSED)
    @rule()
    def ask(self) -> None:
        ended: list[Outcome] = []
        asked = self.session.pending.ask("confirm", self._written({}), ended.append)
        self.ours.append(Ours(asked, ended))

    @precondition(lambda self: self.ours)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        ours = self.ours[data.draw(st.integers(0, len(self.ours) - 1))]
        self.session.pending.abandon(ours.asked)
        if not ours.is_over:
            self.cancels += ours.is_waited_for
            ours.is_waited_for = False

    @rule(is_now=SELDOM)
    def drain(self, is_now: bool) -> None:
        if not is_now:
            return
        self.session.drain(5)
        if self.state is SessionState.OPEN:
            self.state = SessionState.DRAINING

    @rule(is_now=SELDOM)
    def close(self, is_now: bool) -> None:
        if not is_now:
            return
        self.session.close(1001)
        self.state = SessionState.CLOSED
        for taken in self.taken:
            assert taken.call is not None
            assert taken.call.state is CallState.DONE
            assert self.session.done(taken.call) is None
        self.taken.clear()
        for ours in self.ours:
            if not ours.is_over:
                ours.is_over = True
                assert [type(end) for end in ours.ended] == [ConnectionClosed] * ours.is_waited_for

    # What holds

    @invariant()
    def everything_that_is_owed_was_said_and_nothing_else(self) -> None:
        for message in self.talk.sent():
            if isinstance(message, list):
                self.said.append(tuple(each["id"] for each in message))
            elif "item" in message:
                self.said.append(("item", message["id"]))
            elif message.get("method") == "rpc.item":
                self.said.append(("item", message["params"]["id"]))
            elif "error" in message or "response" in message or "result" in message:
                self.said.append(message.get("id"))
            elif "confirm" not in message.values():
                self.cancels -= 1
        assert self.said == self.owed
        assert self.cancels == 0

    @invariant()
    def the_session_knows_what_is_in_flight_and_nothing_else(self) -> None:
        session = self.session
        assert session.state is self.state
        assert session.in_flight == len(self.taken)
        owed = {taken.id: taken.call for taken in self.taken if not taken.answered}
        assert session.calls == {id: call for id, call in owed.items() if id is not None}
        assert (session.dropped, session.ignored) == (self.dropped, self.ignored)
        assert len(session.pending) == [ours.is_over for ours in self.ours].count(False)
        for ours in self.ours:
            assert len(ours.ended) == (ours.is_over and ours.is_waited_for)
        is_draining = self.state is SessionState.DRAINING
        assert session.drained == (is_draining and not self.taken)

    @invariant()
    def of_each_lane_one_runs_the_one_that_came_first(self) -> None:
        lanes: set[object] = set()
        for taken in self.taken:
            expected = CallState.ANSWERED if taken.answered else CallState.RUNNING
            if taken.lane in lanes:
                expected = CallState.WAITING
            if taken.lane != "none":
                lanes.add(taken.lane)
            assert taken.call is not None
            assert taken.call.state is expected

    def teardown(self) -> None:
        """Once all work is done nothing is left of it: its lanes are free too."""
        if not hasattr(self, "session"):
            return
        while self.taken:
            self._done(self.taken[0])
            self.everything_that_is_owed_was_said_and_nothing_else()
        self.the_session_knows_what_is_in_flight_and_nothing_else()
        assert self.session.calls == {}
        if self.state is SessionState.OPEN:
            for number, (method, payload, lane) in enumerate(METHODS):
                if lane is not None:
                    call = self._take(100 + number, method, payload)
                    assert call.state is CallState.RUNNING
                    assert self.session.done(call) is None

    # How it is written

    def _message(self, said: Any) -> dict[str, Any]:
        """A call, or an id that is cancelled, in the dialect."""
        if not isinstance(said, tuple):
            if not self.is_rpc:
                return {"id": said, "cancel": True}
            return {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": said}}
        id, (method, payload, _) = said
        if not self.is_rpc:
            return {"id": id, "method": method, "payload": payload}
        message = {"jsonrpc": "2.0", "method": method, "params": payload}
        return message if id is None else {**message, "id": id}

    def _written(self, value: object) -> bytes:
        return msgpack.encode(value) if self.talk.packed else json.dumps(value).encode()

    # How the model does it

    def _say(self, said: list[Any], reply: Reply | None) -> None:
        messages = [self._message(each) for each in said]
        events = self.talk.say(messages if reply is not None else messages[0])
        if self.state is SessionState.CLOSED:
            assert events == []
            return
        begun: list[Taken] = []
        stopped: list[Taken] = []
        for each in said:
            if not isinstance(each, tuple):
                stopped += self._cancel(each, begun)
                continue
            id, (_, _, lane) = each
            if self._is_refused(id, lane):
                self.dropped += id is None
                self._owe(id, reply)
            else:
                taken = Taken(id, lane, reply)
                if reply is not None and id is not None:
                    reply.open += 1
                self.taken.append(taken)
                begun.append(taken)
        incoming = [event for event in events if isinstance(event, Incoming)]
        for taken, call in zip(begun, incoming, strict=True):
            assert call.id == taken.id
            taken.call = call
        stops = [event.call for event in events if isinstance(event, Stop)]
        assert stops == [taken.call for taken in stopped]
        if reply is not None:
            self._close(reply)

    def _is_refused(self, id: object, lane: object) -> bool:
        is_in_flight = id is not None and any(
            taken.id == id and not taken.answered for taken in self.taken
        )
        return (
            self.state is SessionState.DRAINING
            or lane is None
            or is_in_flight
            or len(self.taken) >= LIMITS.calls
        )

    def _cancel(self, id: object, begun: list[Taken]) -> list[Taken]:
        for taken in self.taken:
            if taken.id == id and type(taken.id) is type(id) and not taken.answered:
                if taken in begun:  # in the same batch: nobody hears of it
                    begun.remove(taken)
                    taken.answered = True
                    self._owe(taken.id, taken.reply)
                    self._close(taken.reply)
                    self.taken.remove(taken)
                    return []
                self._answer(taken)
                return [taken]
        return []

    def _drawn(self, data: st.DataObject) -> Taken:
        return self.taken[data.draw(st.integers(0, len(self.taken) - 1))]

    def _answer(self, taken: Taken) -> None:
        if taken.answered:
            return
        if self._waits(taken):
            self.taken.remove(taken)
        taken.answered = True
        if taken.id is not None:
            self._owe(taken.id, taken.reply)
            self._close(taken.reply)

    def _waits(self, taken: Taken) -> bool:
        before = self.taken[: self.taken.index(taken)]
        return taken.lane != "none" and any(each.lane == taken.lane for each in before)

    def _owe(self, id: object, reply: Reply | None) -> None:
        if id is not None:
            (self.owed if reply is None else reply.frames).append(id)

    def _close(self, reply: Reply | None) -> None:
        if reply is not None:
            reply.open -= 1
            if not reply.open and reply.frames:
                self.owed.append(tuple(reply.frames))

    def _done(self, taken: Taken) -> None:
        assert taken.call is not None
        waits = self._waits(taken)
        at = self.taken.index(taken)
        behind = [each for each in self.taken[at + 1 :] if each.lane == taken.lane]
        following = self.session.done(taken.call)
        if taken.lane == "none" or waits or not behind:
            assert following is None
        else:
            assert following is behind[0].call
        self.taken.remove(taken)
        if not taken.answered and taken.id is not None:
            self._close(taken.reply)
        assert taken.call.state is CallState.DONE
        assert self.session.done(taken.call) is None

    def _take(self, id: int, method: str, payload: dict[str, Any]) -> Incoming:
        [event] = self.talk.say(self._message((id, (method, payload, None))))
        assert isinstance(event, Incoming)
        return event


TestModel = Model.TestCase
