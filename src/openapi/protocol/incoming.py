"""One call that the peer made of us, from its coming to the end of the work on it.

| a call   |                            | item()  | answer(), fail(), cancel, expire() | done() |
|----------|----------------------------|---------|------------------------------------|--------|
| WAITING  | for the calls before it    |         | final frame, DONE                  | DONE   |
| RUNNING  | somebody works on it       | a frame | final frame, ANSWERED              | DONE   |
| ANSWERED | work goes on, or cleans up |         |                                    | DONE   |
| DONE     | forgotten                  |         |                                    |        |

``item()`` and the others are methods of :class:`openapi.protocol.session.Session`.
"""

from collections.abc import Hashable
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from openapi.protocol.frames import Batch, CallId
from openapi.protocol.methods import Method

__all__ = [
    "ANSWERED",
    "DONE",
    "RUNNING",
    "WAITING",
    "BatchReply",
    "CallState",
    "Incoming",
    "Stop",
]


class CallState(Enum):
    """See the table of the module."""

    WAITING = "waiting"
    RUNNING = "running"
    ANSWERED = "answered"
    DONE = "done"


# To look up a member of an Enum costs as much as a call in Python 3.11: for what runs in each call.
WAITING: Final = CallState.WAITING
RUNNING: Final = CallState.RUNNING
ANSWERED: Final = CallState.ANSWERED
DONE: Final = CallState.DONE


class BatchReply:
    """What answers a batch, once all that is in it is answered."""

    __slots__ = ("_answers", "_open")

    def __init__(self) -> None:
        self._answers: list[bytes] = []
        self._open = 1

    @property
    def sent(self) -> bool:
        """Whether it is on its way."""
        return not self._open

    def expect(self) -> None:
        """One more answer will come."""
        self._open += 1

    def put(self, answer: bytes) -> None:
        """An answer, or a refusal of what nobody expected."""
        self._answers.append(answer)

    def close(self) -> bytes | None:
        """One thing less to wait for: an answer that came, or the rest of the batch.

        Returns the message that is to be sent, if it was the last and there is anything to say.
        """
        self._open -= 1
        return None if self._open or not self._answers else Batch.joined(self._answers)


class Incoming(Struct, eq=False):
    """A call to run: its method and its decoded payload. ``id`` is None for a notification.

    ``timeout`` is how long it may take, in seconds; for a stream, each of its items. ``broken`` is
    what the code of the payload's own type raised, where that failed: the call is to be failed
    instead of run. What else whoever runs it must know of it, a class derived from this one has.
    """

    id: CallId | None
    method: Method
    payload: Any
    timeout: float | None = None
    lane: Hashable = None
    reply: BatchReply | None = None
    broken: Exception | None = None
    state: CallState = RUNNING

    def __repr__(self) -> str:
        """Its method and state. Logs of an event loop are to have nothing of the payload."""
        return f"<{type(self).__name__} {self.method.name} {self.state.value}>"


class Stop:
    """A call has its final frame: whoever works on it, or waits with it, is to end."""

    __slots__ = ("call",)
    __match_args__ = ("call",)

    def __init__(self, call: Incoming) -> None:
        self.call: Final = call
