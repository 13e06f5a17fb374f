"""Calls that run one after another: those with the same key, in the order in which they came.

lanes.enter("order 7", call)        # True: run it now
lanes.enter("order 7", other)       # False: it waits
lanes.leave("order 7", call)        # the one to run now, other, or None
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Lanes"]

C = TypeVar("C")


class Lanes(Generic[C]):
    """The lanes of one connection. A lane exists as long as there is something in it."""

    __slots__ = ("_lanes",)

    def __init__(self) -> None:
        self._lanes: dict[Hashable, deque[C]] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def enter(self, key: Hashable, call: C) -> bool:
        """Put a call at the end of its lane; returns whether it is alone there, and may run."""
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque((call,))
            return True
        lane.append(call)
        return False

    def leave(self, key: Hashable, call: C) -> C | None:
        """Take out a call that has run, or waited in vain; returns the one that may run now."""
        lane = self._lanes[key]
        if lane[0] is not call:
            lane.remove(call)
            return None
        lane.popleft()
        if lane:
            return lane[0]
        del self._lanes[key]
        if not self._lanes:
            self._lanes.clear()  # which gives back the table that it grew
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._lanes.clear()
