"""One connection's conversation, asking side: our calls, until each of them is answered.

    pending = Pending()
    call = pending.ask("add", b'{"a": 1, "b": 2}', ended)
    send(call.message)
    pending.settle(read(text))      # calls ended(b'{"sum": 3}'), or ended(CallFailed(…))

| a call is | its answer comes      | abandon(call) | close(…)                     |
|-----------|-----------------------|---------------|------------------------------|
| WAITING   | ends with it          | ABANDONED     | ends with a ConnectionClosed |
| ABANDONED | is forgotten          |               | is forgotten                 |
| ENDED     | is nothing to us      |               |                              |

An abandoned call keeps its place until its answer comes: the server works on it still, and counts
it too. Ids are never used twice, so a late answer is never taken for another one's.
"""

from collections.abc import Callable
from enum import Enum
from itertools import count
from typing import Final, TypeAlias

from openapi.errors import CallFailed, ConnectionClosed
from openapi.protocol.frames import Answer, CallId, Error, Failure, write

__all__ = ["Asked", "AskedState", "Outcome", "Pending"]

Outcome: TypeAlias = bytes | CallFailed | ConnectionClosed
"""How a call ended: its response, as JSON, or why there is none."""


class AskedState(Enum):
    """See the table of the module."""

    WAITING = "waiting"
    ABANDONED = "abandoned"
    ENDED = "ended"


class Asked:
    """One call: its id and the message to send."""

    __slots__ = ("_ended", "id", "message", "state")

    def __init__(self, id: int, message: bytes, ended: Callable[[Outcome], object]) -> None:
        self.id: Final = id
        self.message: Final = message
        self.state = AskedState.WAITING
        self._ended = ended

    def end(self, outcome: Outcome) -> None:
        """Tell whoever waits, if anybody does."""
        if self.state is AskedState.WAITING:
            self._ended(outcome)
        self.state = AskedState.ENDED


class Pending:
    """The calls in flight.

    How many there may be is up to whoever asks: ``freed`` is called whenever one ends, and there
    is room for another.
    """

    __slots__ = ("_calls", "_closed", "_freed", "_ids")

    def __init__(self, *, freed: Callable[[], object] = lambda: None) -> None:
        self._freed = freed
        self._ids = count(1)
        self._calls: dict[CallId, Asked] = {}
        self._closed: tuple[int, str] | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def ask(self, method: str, payload: bytes, ended: Callable[[Outcome], object]) -> Asked:
        """Begin a call. ``ended`` is called once with how it ended, unless it is abandoned.

        Raises ConnectionClosed after :meth:`close`.
        """
        if self._closed is not None:
            raise ConnectionClosed(*self._closed)
        id = next(self._ids)
        call = self._calls[id] = Asked(id, write(id, method, payload), ended)
        return call

    def abandon(self, call: Asked) -> None:
        """Nobody waits for a call any more."""
        if call.state is AskedState.WAITING:
            call.state = AskedState.ABANDONED

    def settle(self, frame: Answer | Failure) -> bool:
        """Take in the end of a call. Returns whether it was the end of one in flight."""
        id = frame.id
        call = self._calls.get(id) if isinstance(id, str | int) else self._refused(frame)
        if call is None:
            return False
        del self._calls[call.id]
        call.end(frame.error.failure() if isinstance(frame, Failure) else bytes(frame.response))
        self._freed()
        return True

    def close(self, code: int, reason: str = "") -> None:
        """The connection is gone: every call ends, and none can begin."""
        self._closed = (code, reason)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.end(ConnectionClosed(code, reason))
            self._freed()

    def _refused(self, frame: Answer | Failure) -> Asked | None:
        """The call that was too long for the server, which read no id of it.

        It says what it takes and how long the message was; no call that it takes is matched. Of
        several that are too long, and equally so, it is the oldest, and the server refuses the
        others too. What remains: a notification of that length ends one of these before its own
        refusal comes, and where a server says less the call waits for its timeout.
        """
        match frame:
            case Failure(error=Error(data={"max": int(most), "size": int(size)})) if size > most:
                calls = self._calls.values()
                return next((call for call in calls if len(call.message) == size), None)
        return None
