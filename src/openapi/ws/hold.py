"""Messages of a subscription that wait until the call that opened it is answered.

    hold.begin("orders", call)      # before the subscription takes effect
    hold.keep("orders", frame)      # True: it waits; False: it may go out
    hold.end(call)                  # behind its answer: the frames that may go out now

A call that subscribes may go on for a while before it returns, and messages come meanwhile; their
receiver shall see the answer first. Who holds a channel is any call, so that two that subscribe to
one channel are both answered before its messages go out, in order.
"""

from collections import deque
from collections.abc import Callable

__all__ = ["Hold"]


class Hold:
    """What waits for answers, on one connection."""

    __slots__ = ("_channels", "_full", "size")

    def __init__(self) -> None:
        self._channels: dict[str, tuple[set[object], deque[tuple[str, bytes]]]] = {}
        self._full = False
        self.size = 0
        """Bytes that wait."""

    def begin(self, channel: str, call: object) -> None:
        """Keep the messages of a channel until a call has ended."""
        self._channels.setdefault(channel, (set(), deque()))[0].add(call)

    def keep(self, channel: str, frame: bytes, event: str = "") -> bool:
        """Take a frame in if its channel is held. After :meth:`drop` it goes nowhere then."""
        held = self._channels.get(channel)
        if held is None:
            return False
        if not self._full:
            held[1].append((event, frame))
            self.size += len(frame)
        return True

    def holds(self, channel: str) -> bool:
        """Whether the messages of a channel are kept."""
        return channel in self._channels

    def end(self, call: object) -> list[bytes]:
        """A call has ended: the frames that nothing holds any more, channel by channel."""
        free: list[bytes] = []
        for channel, (calls, frames) in tuple(self._channels.items()):
            calls.discard(call)
            if not calls:
                del self._channels[channel]
                free += (frame for _, frame in frames)
                self.size -= sum(len(frame) for _, frame in frames)
        return free

    def of(self, call: object) -> list[str]:
        """The channels whose messages are kept for a call."""
        return [channel for channel, (calls, _) in self._channels.items() if call in calls]

    def sift(self, channel: str, wanted: Callable[[str], bool]) -> None:
        """Forget the frames of a channel whose events nobody wants any more."""
        held = self._channels.get(channel)
        if held is not None:
            calls, frames = held
            kept = deque(each for each in frames if wanted(each[0]))
            self.size -= sum(len(frame) for _, frame in frames)
            self.size += sum(len(frame) for _, frame in kept)
            self._channels[channel] = (calls, kept)

    def drop(self) -> None:
        """Forget what waits, and what will: nothing may overtake the answers all the same."""
        self._full = True
        self.size = 0
        for _, frames in self._channels.values():
            frames.clear()

    def __bool__(self) -> bool:
        return bool(self._channels)
