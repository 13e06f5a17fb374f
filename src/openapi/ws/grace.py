"""Connections that have ended and are present for a while yet, as their clients may come back."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["Grace"]


class Grace:
    """Calls ``gone`` with channel and connection when the ``seconds`` of a connection are over.

    One timer serves all. There are ``most`` of them: one more, and the oldest is gone at once.
    """

    def __init__(self, seconds: float, gone: Callable[[str, str], None], *, most: int) -> None:
        self._seconds: Final = seconds
        self._most: Final = most
        self._gone = gone
        # by channel and connection, the oldest first: whose it was, and when its time is over
        self._ended: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        # by channel and member
        self._of: dict[tuple[str, str], OrderedDict[str, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._ended)

    def add(self, channel: str, connection: str, member: str) -> None:
        """A connection of a member ended. The second time it changes nothing."""
        if (channel, connection) in self._ended:
            return
        if len(self._ended) >= self._most:
            self._expire(*next(iter(self._ended)))
        due = asyncio.get_running_loop().time() + self._seconds
        self._ended[channel, connection] = member, due
        self._of.setdefault((channel, member), OrderedDict())[connection] = None
        self._arm()

    def remove(self, channel: str, connection: str) -> None:
        """What becomes of a connection is known. Harmless if it is none of these."""
        ended = self._ended.pop((channel, connection), None)
        if ended is not None:
            member, _ = ended
            of = self._of[channel, member]
            del of[connection]
            if not of:
                del self._of[channel, member]
            if not self._ended:
                self.clear()

    def replace(self, channel: str, member: str) -> None:
        """A connection of a member came: the oldest of theirs that has ended is gone at once."""
        if of := self._of.get((channel, member)):
            self._expire(channel, next(iter(of)))

    def clear(self) -> None:
        """Forget all of them."""
        self._ended.clear()
        self._of.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self, channel: str, connection: str) -> None:
        self.remove(channel, connection)
        self._gone(channel, connection)

    def _arm(self) -> None:
        if self._timer is None and self._ended:
            _, due = next(iter(self._ended.values()))
            self._timer = asyncio.get_running_loop().call_at(due, self._pass)

    def _pass(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._ended:
            oldest, (_, due) = next(iter(self._ended.items()))
            if due > now:
                break
            self._expire(*oldest)
        self._arm()
