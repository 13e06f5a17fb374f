"""One connection's conversation, answering side: what was asked, and what is still to be answered.

    session = Session(methods, send=outbox.append, limits=Limits())
    call = session.receive(text)        # refusals are sent by the session itself
    if call is not None:
        session.answer(call, call.method.encode(await call.method.function(self, call.payload)))

| state    | a call            | a notification | an answer         | drain()  | close() |
|----------|-------------------|----------------|-------------------|----------|---------|
| OPEN     | is to be run      | is to be run   | is sent           | DRAINING | CLOSED  |
| DRAINING | is refused -32009 | is dropped     | is sent           |          | CLOSED  |
| CLOSED   | is dropped        | is dropped     | is dropped        |          |         |
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from openapi.errors import ErrorCode, InvalidData, RpcError
from openapi.protocol.frames import (
    INVALID,
    JSON,
    Answer,
    Call,
    CallId,
    Codec,
    Error,
    Failure,
    Malformed,
)
from openapi.protocol.limits import Limits
from openapi.protocol.methods import Method, MethodTable
from openapi.protocol.nesting import nested_deeper_than

__all__ = ["Incoming", "Session", "SessionState"]


class SessionState(Enum):
    """See the table of the module."""

    OPEN = "open"
    DRAINING = "draining"
    CLOSED = "closed"


class Incoming:
    """A call to run: its method and its decoded payload. ``id`` is None for a notification.

    ``broken`` is what the code of the payload's own type raised, where that failed: the call is to
    be failed instead of run.
    """

    __slots__ = ("broken", "id", "method", "payload")

    def __init__(
        self, id: CallId | None, method: Method, payload: Any, broken: Exception | None = None
    ) -> None:
        self.id: Final = id
        self.method: Final = method
        self.payload: Final = payload
        self.broken: Final = broken


class Session:
    """What a peer may ask, and what it is still owed.

    ``send`` is called with each message for the peer, encoded. ``failures`` counts the unreadable
    messages in a row; the owner closes the connection when there are more than ``limits.errors``.
    ``dropped`` counts the notifications that could not run: their sender cannot be told.
    """

    __slots__ = (
        "_codec",
        "_limits",
        "_methods",
        "_notifications",
        "_retry_after",
        "_send",
        "calls",
        "dropped",
        "failures",
        "state",
    )

    def __init__(
        self,
        methods: MethodTable,
        *,
        send: Callable[[bytes], object],
        codec: Codec = JSON,
        limits: Limits,
    ) -> None:
        self._methods = methods
        self._send = send
        self._codec = codec
        self._limits = limits
        self._retry_after = 0
        self._notifications: set[Incoming] = set()
        self.calls: dict[CallId, Incoming] = {}
        self.state = SessionState.OPEN
        self.failures = 0
        self.dropped = 0

    @property
    def in_flight(self) -> int:
        """Calls and notifications that run."""
        return len(self.calls) + len(self._notifications)

    @property
    def drained(self) -> bool:
        """Whether it takes no calls any more and has answered all that it took."""
        return self.state is SessionState.DRAINING and not self.in_flight

    def receive(self, text: str) -> Incoming | None:
        """Take in one message: the call to run, or None when there is nothing to run."""
        if self.state is SessionState.CLOSED:
            return None
        try:
            call = self._codec.decode(text)
        except Malformed as exc:
            self._unreadable(exc.failure)
            return None
        except RecursionError:
            self._unreadable(Failure(error=self._too_deep()))
            return None
        if nested_deeper_than(self._limits.json_depth, text):
            self._unreadable(Failure(id=call.id, method=call.method, error=self._too_deep()))
            return None
        self.failures = 0
        try:
            incoming = self._admit(call)
        except RpcError as exc:
            self._refuse(call, exc)
            return None
        if incoming.id is None:
            self._notifications.add(incoming)
        else:
            self.calls[incoming.id] = incoming
        return incoming

    def oversized(self, size: int) -> None:
        """Take note of a message that was too long to be read."""
        error = RpcError(
            ErrorCode.LIMIT_EXCEEDED,
            f"The message is longer than {self._limits.message_bytes} bytes",
            data={"limit": "message_bytes", "max": self._limits.message_bytes, "size": size},
        )
        if self.state is not SessionState.CLOSED:
            self._unreadable(Failure(error=Error.of(error)))

    def answer(self, call: Incoming, response: bytes) -> None:
        """End a call with its result, as JSON.

        Raises Unserializable where the codec cannot write it; the call is in flight still.
        """
        if call.id is None:
            self._end(call)
        else:
            frame = Answer.of(call.id, call.method.name, response)
            self._finish(call, self._codec.encode(frame))

    def fail(self, call: Incoming, error: RpcError) -> None:
        """End a call with an error. Raises Unserializable as :meth:`answer` does."""
        if call.id is None:
            self._end(call)
        else:
            frame = Failure(id=call.id, method=call.method.name, error=Error.of(error))
            self._finish(call, self._codec.encode(frame))

    def forget(self, call: Incoming) -> None:
        """End a call without a word, if it has not ended yet."""
        self._end(call)

    def drain(self, retry_after: int) -> None:
        """Refuse calls from now on, asking to come back after so many milliseconds."""
        if self.state is SessionState.OPEN:
            self.state = SessionState.DRAINING
            self._retry_after = retry_after

    def close(self) -> None:
        """Forget everything. Calls that are answered later go nowhere."""
        self.state = SessionState.CLOSED
        self.calls.clear()
        self._notifications.clear()
        self._codec, self._send = JSON, _nowhere

    def _admit(self, call: Call) -> Incoming:
        if self.state is SessionState.DRAINING:
            raise RpcError(
                ErrorCode.SHUTTING_DOWN,
                "The server is shutting down, reconnect and call again",
                retry_after=self._retry_after,
            )
        method = self._methods.find(call.method)
        if method is None:
            raise RpcError(
                ErrorCode.METHOD_NOT_FOUND,
                INVALID,
                errors={"method": f"{call.method} method not available"},
            )
        if call.id in self.calls:
            raise RpcError(
                ErrorCode.TOO_MANY_CALLS, "A call with this id is in flight, use another id"
            )
        if self.in_flight >= self._limits.calls:
            raise RpcError(
                ErrorCode.TOO_MANY_CALLS,
                f"{self._limits.calls} calls are in flight, wait for an answer before the next",
                data={"limit": "calls", "max": self._limits.calls},
            )
        try:
            payload = method.decode(call.payload)
        except InvalidData as exc:
            raise RpcError(ErrorCode.INVALID_PARAMETERS, INVALID, errors=exc.errors) from None
        except Exception as exc:
            # A validator of the application's failed. Whoever runs calls logs and answers it.
            return Incoming(call.id, method, None, broken=exc)
        return Incoming(call.id, method, payload)

    def _refuse(self, call: Call, error: RpcError) -> None:
        if call.id is None:
            self.dropped += 1
        else:
            failure = Failure(id=call.id, method=call.method, error=Error.of(error))
            self._send(self._codec.encode(failure))

    def _too_deep(self) -> Error:
        most = self._limits.json_depth
        error = RpcError(
            ErrorCode.LIMIT_EXCEEDED,
            f"The message is nested more than {most} deep",
            data={"limit": "json_depth", "max": most},
        )
        return Error.of(error)

    def _unreadable(self, failure: Failure) -> None:
        self.failures += 1
        self._send(self._codec.encode(failure))

    def _finish(self, call: Incoming, frame: bytes) -> None:
        if self._end(call):
            self._send(frame)

    def _end(self, call: Incoming) -> bool:
        """Whether the call was in flight: it ends once, and never after the session."""
        if call in self._notifications:
            self._notifications.remove(call)
        elif call.id is not None and self.calls.get(call.id) is call:
            del self.calls[call.id]
        else:
            return False
        return True


def _nowhere(frame: bytes) -> None:
    """Where a closed session sends to."""
