"""When a client connects, and when it waits or gives up. It knows no socket, no clock, no timer.

    client = Reconnecting(Backoff(), random=random.random)
    client.opened(now)                  # its first attempt succeeded
    client.lost(now, again=may_reconnect(code))
    ...                                 # nothing is to be done before client.due
    client.began(now)                   # an attempt begins: opened or failed tell how it ended

``due`` is the moment of the next attempt, ``attempting`` says that one is under way.

|                | CONNECTING | OPEN                                       | WAITING        |
|----------------|------------|--------------------------------------------|----------------|
| opened         | OPEN       | OPEN, on the new connection                |                |
| failed, again  | WAITING    | OPEN, due later                            |                |
| failed         | CLOSED     | OPEN, not due any more                     |                |
| lost, again    |            | CONNECTING if attempting, WAITING if not   |                |
| lost           |            | CLOSED                                     |                |
| told           |            | OPEN, due when the server said             |                |
| began          |            | OPEN, attempting                           | CONNECTING     |
| hurry          |            |                                            | WAITING, due   |
| close          | CLOSED     | CLOSED                                     | CLOSED         |

What has no place in the table changes nothing. ``wire/reconnecting.json`` has it as conversations,
for clients in all languages.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

from openapi.protocol.backoff import Backoff, delays

__all__ = ["ClientState", "Reconnecting"]


class ClientState(Enum):
    """See the table of the module."""

    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    CLOSED = "closed"


class Reconnecting:
    """The state of one client, which begins with an attempt under way.

    ``random`` gives numbers from 0 to 1. ``now`` is seconds of any clock that does not go back.
    """

    __slots__ = ("_backoff", "_delays", "_random", "_since", "attempting", "due")

    def __init__(self, backoff: Backoff, *, random: Callable[[], float]) -> None:
        self._backoff: Final = backoff
        self._random: Final = random
        self._delays = self._begin()
        self._since: float | None = None
        self.attempting = True
        self.due: float | None = None

    @property
    def state(self) -> ClientState:
        """See the table of the module."""
        if self._since is not None:
            return ClientState.OPEN
        if self.attempting:
            return ClientState.CONNECTING
        return ClientState.CLOSED if self.due is None else ClientState.WAITING

    def opened(self, now: float) -> None:
        """The attempt succeeded."""
        if self.attempting:
            self._since = now
            self.attempting, self.due = False, None

    def failed(self, now: float, *, again: bool, after: float = 0.0) -> None:
        """The attempt failed; another makes sense ``again``, ``after`` so many seconds."""
        if self.attempting:
            self.attempting = False
            self.due = now + after + next(self._delays) if again else None

    def lost(self, now: float, *, again: bool) -> None:
        """The connection ended; ``again`` is whether the client may come back."""
        if self._since is None:
            return
        if now - self._since >= self._backoff.stable:
            self._delays = self._begin()
        self._since = None
        if not again:
            self.close()
        elif not self.attempting and self.due is None:
            self.due = now + next(self._delays)

    def told(self, now: float, after: float) -> None:
        """The server is about to close: an attempt is due after so many seconds."""
        if self._since is not None and not self.attempting:
            self.due = now + after

    def began(self) -> None:
        """The attempt that was due is under way."""
        if self.due is not None:
            self.attempting, self.due = True, None

    def hurry(self, now: float) -> None:
        """Somebody knows that it makes sense to try at once."""
        if self.state is ClientState.WAITING:
            self.due = now

    def close(self) -> None:
        """Nobody wants it any more."""
        self._since = self.due = None
        self.attempting = False

    def _begin(self) -> Iterator[float]:
        return delays(self._random, first=self._backoff.first, cap=self._backoff.cap)
