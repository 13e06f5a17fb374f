"""Signs of life: a ping to every connection now and then, and an end to those that stay silent.

One timer for all connections. They stand in the slots of a wheel, and the wheel turns one slot a
step; nothing is computed for a connection until its slot comes up.
"""

import asyncio
import random
from typing import Final, Protocol

from openapi.protocol.limits import Limits

__all__ = ["Beating", "Heartbeat"]

_STEPS: Final = 16  # of the shorter of interval and timeout


class Beating(Protocol):
    """What stands in the wheel."""

    alive: bool
    """Set by the connection whenever anything arrives, cleared here."""
    awaits_pong: bool
    """Whether it was pinged, and nothing was looked at since."""
    slot: "set[Beating] | None"

    def ping(self) -> None:
        """Ask for a sign of life."""

    def no_pong(self) -> None:
        """None came."""


class Heartbeat:
    """Pings each connection every ``limits.ping_interval``, the first time somewhere within it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._loop = loop
        self._interval = limits.ping_interval
        self._timeout = limits.pong_timeout
        self._step = min(limits.ping_interval or 1.0, limits.pong_timeout) / _STEPS
        self._slots: dict[int, set[Beating]] = {}
        self._now = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def add(self, beating: Beating) -> None:
        """Take a connection into the wheel."""
        if self._interval is not None:
            self._put(beating, random.uniform(0, self._interval))

    def remove(self, beating: Beating) -> None:
        """Take a connection out of the wheel."""
        if beating.slot is not None:
            beating.slot.discard(beating)
            beating.slot = None

    def _put(self, beating: Beating, delay: float) -> None:
        due = self._now + max(1, round(delay / self._step))
        slot = self._slots.get(due)
        if slot is None:
            slot = self._slots[due] = set()
        slot.add(beating)
        beating.slot = slot
        if self._timer is None:
            self._timer = self._loop.call_later(self._step, self._turn)

    def _turn(self) -> None:
        self._timer = None
        self._now += 1
        for beating in self._slots.pop(self._now, ()):
            beating.slot = None
            self._beat(beating)
        self._slots = {due: slot for due, slot in self._slots.items() if slot}
        if self._slots and self._timer is None:
            self._timer = self._loop.call_later(self._step, self._turn)

    def _beat(self, beating: Beating) -> None:
        assert self._interval is not None
        if not beating.awaits_pong:
            beating.alive = False
            beating.awaits_pong = True
            beating.ping()
            self._put(beating, self._timeout)
        elif beating.alive:
            beating.awaits_pong = False
            self._put(beating, max(0.0, self._interval - self._timeout))
        else:
            beating.no_pong()
