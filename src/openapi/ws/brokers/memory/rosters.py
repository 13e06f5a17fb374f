"""Who is on which channel."""

from collections import OrderedDict
from collections.abc import Collection, Mapping

from openapi.ws.broker import Member, Refreshed
from openapi.ws.brokers.attendance import Attendance
from openapi.ws.brokers.memory.sweep import sweep

__all__ = ["Rosters"]


class Rosters:
    """Who is on which channel. One without anybody is gone."""

    def __init__(self) -> None:
        self._rosters: OrderedDict[str, Attendance] = OrderedDict()  # in which they are swept

    def enter(
        self, channel: str, connections: Mapping[str, Member], ttl: float, now: float
    ) -> list[Member]:
        sweep(self._rosters, lambda roster: now < roster.ends)
        roster = self._get(channel, now)
        new = roster.enter(connections, ttl, now)
        self._put(channel, roster)
        return [present.seen(now) for present in new.values()]

    def leave(self, channel: str, connections: Collection[str], now: float) -> list[Member]:
        roster = self._get(channel, now)
        gone = roster.take(connections)
        self._put(channel, roster)
        return [present.seen(now) for present in gone]

    def refresh(
        self, channel: str, connections: Collection[str], ttl: float, now: float
    ) -> Refreshed:
        roster = self._get(channel, now)
        expired = roster.take(roster.expired(now))
        lost = roster.refresh(connections, ttl, now)
        self._put(channel, roster)
        return Refreshed(lost, [present.seen(now) for present in expired])

    def members(self, channel: str, now: float) -> list[Member]:
        return self._get(channel, now).members(now)

    def _get(self, channel: str, now: float) -> Attendance:
        roster = self._rosters.get(channel)
        return Attendance() if roster is None or now >= roster.ends else roster

    def _put(self, channel: str, roster: Attendance) -> None:
        if roster:
            self._rosters[channel] = roster
        else:
            self._rosters.pop(channel, None)
