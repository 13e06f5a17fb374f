"""Who is on which channel: a bucket with one entry for each, changed by whoever saw it last."""

import asyncio
import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from openapi.errors import BrokerUnavailable, CannotPublish, ErrorCode, InvalidData, RpcError
from openapi.protocol.envelope import Unreadable
from openapi.schema import encode_json
from openapi.ws.broker import Member, Refreshed
from openapi.ws.brokers.attendance import Attendance
from openapi.ws.brokers.nats import jetstream
from openapi.ws.brokers.nats.jetstream import EXPECTED, TTL, Conflict, NoStream
from openapi.ws.brokers.nats.server import Server
from openapi.ws.brokers.nats.turns import Turn, Turns

__all__ = ["Rosters"]

_Change: TypeAlias = Callable[[Attendance, float], Any]

#: How often it is tried while others are faster, and the pause at most: seconds.
_TRIES: Final = 200
_PAUSE: Final = 0.02
#: The mark of what was taken out of a bucket, and how long it stays.
_DELETED: Final = {"KV-Operation": "DEL", TTL: "60s"}
#: What an entry stays behind the time at which nobody can be there: seconds.
_LATER: Final = 60


class Rosters:
    """The rosters of all channels. What waits for one channel is done as one change."""

    def __init__(self, server: Server, ignore: Callable[[str, Unreadable], None]) -> None:
        self._server = server
        self._ignore = ignore
        self._turns: Turns[_Change, Any] = Turns(self._change)

    async def aclose(self) -> None:
        """Wait for what was begun."""
        await self._turns.aclose()

    async def enter(
        self, channel: str, connections: Mapping[str, Member], ttl: float
    ) -> Sequence[Member]:
        """See :meth:`KeepsPresence.enter`."""
        # What cannot be encoded is refused here, where nothing else waits with it.
        encode_json([(name, each.id, each.user, each.info) for name, each in connections.items()])

        def change(roster: Attendance, now: float) -> list[Member]:
            new = roster.enter(connections, ttl, now)
            return [present.seen(now) for present in new.values()]

        entered: list[Member] = await self._turns.take(channel, change)
        return entered

    async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
        """See :meth:`KeepsPresence.leave`."""

        def change(roster: Attendance, now: float) -> list[Member]:
            return [present.seen(now) for present in roster.take(connections)]

        gone: list[Member] = await self._turns.take(channel, change)
        return gone

    async def refresh(self, channel: str, connections: Collection[str], ttl: float) -> Refreshed:
        """See :meth:`KeepsPresence.refresh`."""

        def change(roster: Attendance, now: float) -> Refreshed:
            expired = roster.take(roster.expired(now))
            lost = roster.refresh(connections, ttl, now)
            return Refreshed(lost, [present.seen(now) for present in expired])

        refreshed: Refreshed = await self._turns.take(channel, change)
        return refreshed

    async def members(self, channel: str) -> Sequence[Member]:
        """See :meth:`KeepsPresence.members`."""
        now = self._server.clock()
        return (await self._read(channel, now))[1].members(now)

    async def _read(self, channel: str, now: float) -> tuple[int, Attendance]:
        """The sequence of an entry, 0 where there is none, and who is there."""
        names = self._server.names
        subject = names.roster(channel)
        try:
            kept = await jetstream.last(self._server.link(), names.rosters, subject)
        except NoStream:
            await self._server.mend()
            kept = None
        if kept is None or not kept.payload:
            return 0 if kept is None else kept.sequence, Attendance()
        try:
            roster = Attendance.load(kept.payload)
        except InvalidData as exc:
            self._ignore(channel, Unreadable(f"it is no roster: {exc}"))
            roster = Attendance()
        return kept.sequence, Attendance() if now >= roster.ends else roster

    async def _change(self, channel: str, turns: list[Turn[_Change, Any]]) -> None:
        link, subject = self._server.link(), self._server.names.roster(channel)
        for tried in range(_TRIES):
            now = self._server.clock()
            sequence, roster = await self._read(channel, now)
            before = roster.dump()
            results = [(turn, turn.work(roster, now)) for turn in turns]
            try:
                if roster.dump() != before:
                    await self._write(roster, sequence, now, subject)
            except Conflict:
                await asyncio.sleep(min(tried * 0.001, _PAUSE) * random.random())
                continue
            except NoStream:
                await self._server.mend()
                continue
            except CannotPublish as exc:
                if len(turns) > 1:
                    turns = turns[:1]  # it need not be all of them who are too many
                    continue
                refusal = RpcError(
                    ErrorCode.LIMIT_EXCEEDED,
                    "No more connections can be on this channel: NATS keeps who is there in"
                    " one message, which would be longer than its setting max_payload allows",
                    data={"limit": "max_payload", "max": link.most},
                )
                refusal.__cause__ = exc
                turns[0].failed(refusal)
                return
            for turn, result in results:
                turn.done(result)
            return
        raise BrokerUnavailable("Too many come to this channel at once, try again later")

    async def _write(self, roster: Attendance, sequence: int, now: float, subject: str) -> None:
        headers, payload = dict(_DELETED), b""
        if roster:
            payload = roster.dump()
            headers = {TTL: f"{math.ceil(roster.ends - now) + _LATER}s"}
        await jetstream.store(
            self._server.link(), subject, payload, {**headers, EXPECTED: str(sequence)}
        )
