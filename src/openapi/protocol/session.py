"""One connection's conversation, both sides of it: what the peer asked of us, and we of it.

    session = Session(methods, send=outbox.append, limits=Limits())
    for event in session.receive(message):  # refusals and answers are dealt with by the session
        match event:
            case Incoming() as call: ...    # run it, when it is RUNNING
            case Stop(call): ...            # its caller has its answer, end its work
            case Message() | Reconnect(): ...
    session.answer(call, call.method.encode(result))
    session.done(call)                      # its work is over: returns the next one of its lane

| session  | a call            | a notification | an answer of ours | drain()  | close() |
|----------|-------------------|----------------|-------------------|----------|---------|
| OPEN     | is to be run      | is to be run   | is sent           | DRAINING | CLOSED  |
| DRAINING | is refused -32009 | is dropped     | is sent           |          | CLOSED  |
| CLOSED   | is dropped        | is dropped     | is dropped        |          |         |

What becomes of a call is the table of :mod:`openapi.protocol.incoming`. There is one final frame
for each, and it is sent at once: whoever cancels does not wait until a handler has cleaned up. An
ANSWERED call keeps its place among ``limits.calls`` and in its lane.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

from openapi.errors import InvalidData, RpcError
from openapi.protocol import refusals
from openapi.protocol.frames import (
    Answer,
    Batch,
    Call,
    CallId,
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
from openapi.protocol.incoming import ANSWERED, DONE, RUNNING, WAITING, BatchReply, Incoming, Stop
from openapi.protocol.lanes import Lanes
from openapi.protocol.limits import Limits
from openapi.protocol.methods import UNSET, Method, MethodTable
from openapi.protocol.native import JSON, MSGPACK
from openapi.protocol.nesting import nested_deeper_than, packed_deeper_than
from openapi.protocol.pending import Pending

__all__ = ["PING", "Event", "Session", "SessionState"]

PING: Final = "rpc.ping"
"""A method that every peer answers with null, at any time: for who cannot send a WebSocket ping."""


def _nowhere(what: object) -> None:
    """Where a closed session sends to, and tells nobody."""


class SessionState(Enum):
    """See the first table of the module."""

    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


_DRAINING: Final = SessionState.DRAINING
_CLOSED: Final = SessionState.CLOSED


Event: TypeAlias = Incoming | Stop | Message | Reconnect


class Session:
    """What a peer may ask and is still owed, and what we asked of it (``pending``).

    ``send`` is called with each message for the peer, encoded. ``prefix`` is that of our own ids.
    ``failed`` is called with each call that is about to be answered with an error;
    ``answered`` is called with each call whose final frame was sent, or with the batch that it was
    in; with a notification when its handler is through.
    ``failures`` counts the messages in a row that nothing could be done with; the owner closes the
    connection when there are more than ``limits.errors``. ``dropped`` counts the notifications that
    could not run, ``ignored`` the messages that meant nothing here: their sender cannot be told.
    """

    __slots__ = (
        "_answered",
        "_failed",
        "_codec",
        "_deeper",
        "_lanes",
        "_limits",
        "_retry_after",
        "_send",
        "_taken",
        "calls",
        "dropped",
        "failures",
        "ignored",
        "incoming",
        "methods",
        "packed",
        "pending",
        "state",
    )

    def __init__(
        self,
        methods: MethodTable,
        *,
        send: Callable[[bytes], object],
        codec: Codec = JSON,
        limits: Limits,
        prefix: str = "",
        answered: Callable[[Incoming | BatchReply], object] = _nowhere,
        failed: Callable[[Incoming], object] = _nowhere,
    ) -> None:
        self.methods = methods
        self.incoming: type[Incoming] = Incoming
        """What a call is made as: whoever runs them has a class of its own, derived from it."""
        self._send = send
        self._answered = answered
        self._failed = failed
        self._limits = limits
        self._retry_after = 0
        self._lanes: Lanes[Incoming] | None = None  # made for the first call that has one
        self._taken: dict[Incoming, None] = {}  # empty, it is a third of an empty set
        self.calls: dict[CallId, Incoming] = {}
        self.pending = Pending(codec, send=send, prefix=prefix)
        self.state = SessionState.OPEN
        self.failures = 0
        self.dropped = 0
        self.ignored = 0
        self.codec = codec

    @property
    def codec(self) -> Codec:
        """The dialect. The first message of a connection may still decide it."""
        return self._codec

    @codec.setter
    def codec(self, codec: Codec) -> None:
        self._codec = self.pending.codec = codec
        self.packed = codec.packed
        self._deeper: Callable[[int, Any], bool] = (
            packed_deeper_than if codec.packed else nested_deeper_than
        )

    @property
    def in_flight(self) -> int:
        """How many of ``limits.calls`` are taken: by what waits, and by what somebody works on.

        That is more than ``calls``: notifications too, and what is answered and not done.
        """
        return len(self._taken)

    @property
    def drained(self) -> bool:
        """Whether it takes no calls any more and is done with all that it took."""
        return self.state is _DRAINING and not self._taken

    def receive(self, message: str | bytes) -> Sequence[Event]:
        """Take in one message: what is to be done about it, in this order."""
        if self.state is _CLOSED:
            return ()
        try:
            frame = self._codec.decode(message)
        except Malformed as exc:
            self._unreadable(exc)
            return ()
        except RecursionError:
            self._unreadable(Malformed(Failure(error=refusals.too_deep(self._limits))))
            return ()
        depth = self._limits.json_depth
        if isinstance(message, bytes) or message.count("{") + message.count("[") > depth:
            if self._deeper(depth, message):
                self._nested(frame)
                return ()
        if isinstance(frame, Call):  # nearly all are
            self.failures = 0
            call = self._call(frame, None)
            return () if call is None else (call,)
        if isinstance(frame, Batch):
            return self._batch(frame)
        event = self._event(frame, None)
        return () if event is None else (event,)

    def oversized(self, size: int) -> None:
        """Take note of a message that was too long to be read."""
        if self.state is not _CLOSED:
            self._unreadable(Malformed(Failure(error=refusals.too_long(self._limits, size))))

    def item(self, call: Incoming, item: bytes, seq: int) -> None:
        """Send an item of a stream, in the codec's format; ``seq`` counts from 1."""
        if call.state is RUNNING and call.id is not None:
            frame = Item.of(call.id, call.method.name, item, seq)
            self._send(self._codec.encode(frame))

    def answer(self, call: Incoming, response: bytes) -> None:
        """Give a call its result, in the codec's format.

        Raises Unserializable where the codec cannot write it; the call is what it was then.
        """
        id, reply = call.id, call.reply
        if call.state is RUNNING and reply is None and id is not None:  # nearly all
            frame = self._codec.answer(id, call.method.name, response)
            call.state = ANSWERED
            del self.calls[id]
            self._send(frame)
            self._answered(call)
        elif call.state in _UNANSWERED:
            self._end(
                call, None if id is None else self._codec.answer(id, call.method.name, response)
            )

    def fail(self, call: Incoming, error: RpcError) -> None:
        """Give a call an error. Raises Unserializable as :meth:`answer` does."""
        if call.state in _UNANSWERED:
            frame = None
            if call.id is not None:
                failure = Failure(id=call.id, method=call.method.name, error=Error.of(error))
                frame = self._codec.encode(failure)
            self._failed(call)
            self._end(call, frame)

    def expire(self, call: Incoming) -> None:
        """The time of a call, which has a ``timeout``, is over."""
        assert call.timeout is not None
        self.fail(call, refusals.expired(call.timeout))

    def done(self, call: Incoming) -> Incoming | None:
        """Nobody works on a call any more: forget it. Returns the next of its lane, to be run."""
        try:
            del self._taken[call]
        except KeyError:
            return None
        if call.state in _UNANSWERED and call.id is not None:  # there was no way to answer it
            del self.calls[call.id]
            if call.reply is not None:
                self._close(call.reply)
        call.state = DONE
        if not self._taken:  # an idle connection keeps no tables that its calls made grow
            self._taken.clear()
            self.calls.clear()
        lanes = self._lanes
        if call.lane is None or lanes is None:
            return None
        following = lanes.leave(call.lane, call)
        if following is not None:
            following.state = RUNNING
        return following

    def drain(self, retry_after: int) -> None:
        """Refuse calls from now on, asking to come back after so many milliseconds."""
        if self.state is SessionState.OPEN:
            self.state = SessionState.DRAINING
            self._retry_after = retry_after

    def close(self, code: int, reason: str = "") -> None:
        """Forget everything: what is answered later goes nowhere, what we asked has ended."""
        self.state = SessionState.CLOSED
        for call in self._taken:
            call.state = DONE
        self._taken.clear()
        self.calls.clear()
        self._lanes = None
        self._send = self._answered = self._failed = _nowhere
        # Not an application's own, which may know the connection; what was heard stays readable.
        self.codec = MSGPACK if self.packed else JSON
        self.pending.close(code, reason)

    def _batch(self, batch: Batch) -> Sequence[Event]:
        if len(batch) > self._limits.batch:  # before anything in it is read
            self._unreadable(Malformed(Failure(error=refusals.too_large(self._limits))))
            return ()
        reply = BatchReply()
        events: list[Event] = []
        for element in batch.elements:
            if self.state is _CLOSED:  # by whoever waited for an answer in it
                return ()
            try:
                frame = batch.read(element)
            except RecursionError:
                frame = Malformed(Failure(error=refusals.too_deep(self._limits)))
            if isinstance(frame, Malformed):
                self._unreadable(frame, reply)
                continue
            event = self._event(frame, reply)
            if isinstance(event, Stop) and event.call in events:
                events.remove(event.call)  # nobody has begun it
                self.done(event.call)
            elif event is not None:
                events.append(event)
        self._close(reply)
        return events

    def _event(self, frame: Frame, reply: BatchReply | None) -> Event | None:
        if isinstance(frame, Call):
            self.failures = 0
            return self._call(frame, reply)
        if isinstance(frame, Answer | Failure | Item):
            self._settle(frame)
            return None
        self.failures = 0
        return self._cancel(frame.id) if isinstance(frame, Cancel) else frame

    def _settle(self, frame: Answer | Failure | Item, unfit: str = "") -> None:
        if self.pending.settle(frame, unfit):
            self.failures = 0
        else:  # never asked, or answered already; to say so could go on for ever
            self._unreadable(Malformed(None))

    def _call(self, call: Call, reply: BatchReply | None) -> Incoming | None:
        """The call to run. None where there is none: it is refused, or answered already."""
        id, method, limits = call.id, self.methods.find(call.method), self._limits
        # Nearly all are taken, so what is wrong with one is found out when something is.
        if (
            method is None
            or id in self.calls
            or len(self._taken) >= limits.calls
            or self.state is _DRAINING
        ):
            if call.method == PING and id is not None and id not in self.calls:
                null = b"\xc0" if self.packed else b"null"
                self._say(self._codec.answer(id, PING, null), reply)
            else:
                self._refuse(call, self._refusal(call, method), reply)
            return None
        timeout = method.timeout if method.timeout is not UNSET else limits.call_timeout
        if call.timeout is not None:
            asked = call.timeout / 1000
            timeout = asked if timeout is None else min(timeout, asked)
        try:
            payload = method.decode(call.payload, packed=self.packed)
            lane = None if method.lane is None else method.lane_of(payload)
            incoming = self.incoming(id, method, payload, timeout, lane, reply)
        except InvalidData as exc:
            self._refuse(call, refusals.invalid(exc.errors), reply)
            return None
        except Exception as exc:
            # A validator of the application's failed. Whoever runs calls logs and answers it.
            lane, incoming = None, self.incoming(id, method, None, reply=reply, broken=exc)
        self._taken[incoming] = None
        if id is not None:
            self.calls[id] = incoming
            if reply is not None:
                reply.expect()
        if lane is not None:
            if self._lanes is None:
                self._lanes = Lanes()
            if not self._lanes.enter(lane, incoming):
                incoming.state = WAITING
        return incoming

    def _refuse(self, call: Call, error: RpcError, reply: BatchReply | None) -> None:
        if call.id is None:
            self.dropped += 1
        else:
            failure = Failure(id=call.id, method=call.method, error=Error.of(error))
            self._say(self._codec.encode(failure), reply)

    def _cancel(self, id: CallId) -> Stop | None:
        call = self.calls.get(id)
        if call is None:
            return None
        self.fail(call, refusals.cancelled(shield=call.method.shield))
        return Stop(call)

    def _refusal(self, call: Call, method: Method | None) -> RpcError:
        """Why a call is not taken."""
        if self.state is _DRAINING:
            return refusals.shutting_down(self._retry_after)
        if method is None:
            return refusals.not_found(call.method)
        if call.id in self.calls:
            return refusals.id_in_flight()
        return refusals.too_many(self._limits.calls)

    def _nested(self, frame: Frame | Batch) -> None:
        """Refuse a frame that is nested too deeply."""
        error = refusals.too_deep(self._limits)
        match frame:
            case Call(id=id, method=method):
                self._unreadable(Malformed(Failure(id=id, method=method, error=error)))
            case Answer() | Failure() | Item():
                self._settle(frame, unfit=error.message)
            case Cancel() | Batch():
                self._unreadable(Malformed(Failure(error=error)))
            case _:  # nobody asked for it, nobody is told
                self._unreadable(Malformed(None))

    def _unreadable(self, malformed: Malformed, reply: BatchReply | None = None) -> None:
        self.failures = 0 if malformed.readable else self.failures + 1
        if malformed.failure is not None:
            self._say(self._codec.encode(malformed.failure), reply)
        elif malformed.readable:
            self.dropped += 1
        else:
            self.ignored += 1

    def _say(self, frame: bytes, reply: BatchReply | None) -> None:
        if reply is None:
            self._send(frame)
        else:
            reply.put(frame)

    def _end(self, call: Incoming, frame: bytes | None) -> None:
        """A call is answered, by its one final frame; by None, if it is a notification."""
        waited, reply = call.state is WAITING, call.reply
        call.state = ANSWERED
        if frame is not None:
            assert call.id is not None
            del self.calls[call.id]
            if reply is None:
                self._send(frame)
            else:
                reply.put(frame)
                self._close(reply)
        if reply is None:
            self._answered(call)
        if waited:
            self.done(call)

    def _close(self, reply: BatchReply) -> None:
        message = reply.close()
        if message is not None:
            self._send(message)
        if reply.sent:
            self._answered(reply)


_UNANSWERED: Final = RUNNING, WAITING
