"""One connection's conversation, asking side: our calls, until each of them is answered.

    pending = Pending(JSON, send=outbox.append)
    call = pending.ask("add", b'{"a": 1, "b": 2}', ended)
    pending.settle(frame)           # calls ended(b'{"sum": 3}'), or ended(CallFailed(…))

| a call is | an item comes    | its end comes | abandon(call)     | close(…)                     |
|-----------|------------------|---------------|-------------------|------------------------------|
| WAITING   | is handed on     | ends with it  | ABANDONED, cancel | ends with a ConnectionClosed |
| ABANDONED | is nothing to us | is forgotten  |                   | is forgotten                 |
| ENDED     | is nothing to us |               |                   |                              |

An abandoned call keeps its place until its end comes: the peer works on it still, and counts it
too. Ids are never used twice, so a late answer is never taken for another one's.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

from openapi.errors import CallFailed, ConnectionClosed, UnexpectedData
from openapi.protocol.frames import Answer, Call, CallId, Cancel, Codec, Error, Failure, Item

__all__ = ["Asked", "AskedState", "Outcome", "Pending"]

Outcome: TypeAlias = bytes | CallFailed | ConnectionClosed | UnexpectedData
"""How a call ended: its response, in the codec's format, or why there is none."""


class AskedState(Enum):
    """See the table of the module."""

    WAITING = "waiting"
    ABANDONED = "abandoned"
    ENDED = "ended"


class Asked:
    """One call: its id, and how many bytes its message had."""

    __slots__ = ("ended", "id", "item", "method", "size", "state")

    def __init__(
        self,
        id: CallId,
        method: str,
        size: int,
        ended: Callable[[Outcome], object],
        item: Callable[[bytes], object] | None,
    ) -> None:
        self.id: Final = id
        self.method: Final = method
        self.size: Final = size
        self.state = AskedState.WAITING
        self.ended: Final = ended
        self.item: Final = item

    def end(self, outcome: Outcome) -> None:
        """Tell whoever waits, if anybody does."""
        waiting = self.state is AskedState.WAITING
        self.state = AskedState.ENDED
        if waiting:
            self.ended(outcome)


class Pending:
    """The calls in flight.

    ``send`` is called with each message, encoded. ``prefix`` makes ids strings, of which the
    server's begin with "s". How many there may be is up to whoever asks: ``freed`` is called
    whenever one ends, and there is room for another.
    """

    __slots__ = ("_calls", "_closed", "_last", "_prefix", "codec", "freed", "send")

    def __init__(self, codec: Codec, *, send: Callable[[bytes], object], prefix: str = "") -> None:
        self.codec = codec
        self.send = send
        self.freed: Callable[[], object] = _nothing
        self._prefix = prefix
        self._last = 0
        self._calls: dict[CallId, Asked] = {}
        self._closed: tuple[int, str] | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def ask(
        self,
        method: str,
        payload: bytes,
        ended: Callable[[Outcome], object],
        *,
        item: Callable[[bytes], object] | None = None,
        timeout: int | None = None,
    ) -> Asked:
        """Call a method. ``ended`` is called once with how it ended, unless it is abandoned.

        ``payload`` is in the codec's format. ``item`` is called with every item of a stream;
        without it, a call that turns out to be a stream ends with UnexpectedData. ``timeout`` tells
        the peer how many milliseconds somebody waits.

        Raises ConnectionClosed after :meth:`close`.
        """
        if self._closed is not None:
            raise ConnectionClosed(*self._closed)
        self._last = number = self._last + 1
        id: CallId = f"{self._prefix}{number}" if self._prefix else number
        frame = Call.of(id, method, payload, timeout)
        message = self.codec.encode(frame)
        call = self._calls[id] = Asked(id, method, len(message), ended, item)
        self.send(message)
        return call

    def notify(self, method: str, payload: bytes) -> None:
        """Call a method without an answer. Raises ConnectionClosed after :meth:`close`."""
        if self._closed is not None:
            raise ConnectionClosed(*self._closed)
        self.send(self.codec.encode(Call.of(None, method, payload)))

    def abandon(self, call: Asked) -> None:
        """Nobody waits for a call any more: the peer is told, and need not go on."""
        if call.state is AskedState.WAITING:
            call.state = AskedState.ABANDONED
            self.send(self.codec.encode(Cancel(id=call.id)))

    def settle(self, frame: Answer | Failure | Item, unfit: str = "") -> bool:
        """Take in an item, or the end, of a call. Returns whether the call is in flight.

        ``unfit`` is what is wrong with the frame, if anything is: the call, if it waits, ends with
        UnexpectedData then, whatever the frame says.
        """
        id = frame.id
        call = self._calls.get(id) if isinstance(id, str | int | float) else self._refused(frame)
        if call is None:
            return False
        if isinstance(frame, Item):
            self._item(call, frame, unfit)
            return True
        del self._calls[call.id]
        if not self._calls:
            self._calls.clear()  # which gives back the table that it grew
        if unfit:
            call.end(UnexpectedData({"": unfit}))
        else:
            call.end(frame.error.failure() if isinstance(frame, Failure) else bytes(frame.response))
        self.freed()
        return True

    def close(self, code: int, reason: str = "") -> None:
        """The connection is gone: every call ends, and none can begin."""
        self._closed = (code, reason)
        self.send = _nowhere
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.end(ConnectionClosed(code, reason, may_have_run=True))
            self.freed()

    def _item(self, call: Asked, frame: Item, unfit: str) -> None:
        if call.state is not AskedState.WAITING:
            return
        if call.item is not None and not unfit:
            call.item(bytes(frame.item))
            return
        self.abandon(call)
        unfit = unfit or f"{call.method!r} answers with a stream of items"
        call.ended(UnexpectedData({"": unfit}))

    def _refused(self, frame: Answer | Failure | Item) -> Asked | None:
        """The call that was too long for the server, which read no id of it.

        It says what it takes and how long the message was; no call that it takes is matched. Of
        several that are too long, and equally so, it is the oldest, and the server refuses the
        others too. What remains: a notification of that length ends one of these before its own
        refusal comes, and where a server says less the call waits for its timeout.
        """
        match frame:
            case Failure(error=Error(data={"max": int(most), "size": int(size)})) if size > most:
                calls = self._calls.values()
                return next((call for call in calls if call.size == size), None)
        return None


def _nothing() -> None:
    """What is called when nobody wants to know."""


def _nowhere(message: bytes) -> None:
    """Where a closed conversation sends to."""
