"""The logs of channels with history: appended to by one message, each time, and read from there.

Whoever appends says which message on the channel's subject is the newest, as far as they know; the
server keeps theirs if that is so, and refuses it otherwise. So the numbers of a channel have no gap
and none comes twice, whoever appends. What waits in one process goes out as one message together.

A key is a message on a subject of its own, stored in one batch with the log's: both or neither.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from secrets import token_hex, token_urlsafe
from typing import Final, NamedTuple, TypeAlias

from nats.aio.msg import Msg

from openapi.errors import BrokerUnavailable, CannotPublish
from openapi.protocol.envelope import Envelope, Unreadable
from openapi.protocol.publication import Data, Publication
from openapi.protocol.stream import Page, Position, Retention
from openapi.ws.broker import KEY_SECONDS
from openapi.ws.brokers.nats import jetstream
from openapi.ws.brokers.nats.jetstream import EXPECTED, TTL, Conflict, NoStream
from openapi.ws.brokers.nats.key import Key, expired, taken
from openapi.ws.brokers.nats.link import NobodyAnswers
from openapi.ws.brokers.nats.record import Record
from openapi.ws.brokers.nats.server import Server
from openapi.ws.brokers.nats.tops import Top, Tops
from openapi.ws.brokers.nats.turns import Turn, Turns

__all__ = ["Logs"]

#: Publications, and their bytes, that go out as one message; a longer one goes out alone.
_TOGETHER: Final = 256
_TOGETHER_BYTES: Final = 32 * 1024
#: How often something is tried while others are faster, and the pause at most: seconds.
_TRIES: Final = 100
_PAUSE: Final = 0.02
#: What is read with one question.
_READ: Final = 256
_READ_BYTES: Final = 4 * 1024 * 1024


class _Wanted(NamedTuple):
    """What is to be appended."""

    event: str
    data: Data
    retention: Retention
    key: str | None


_Turn: TypeAlias = Turn[_Wanted, Position]


class Logs:
    """The logs of all channels."""

    def __init__(self, server: Server, ignore: Callable[[str, Unreadable], None]) -> None:
        self._server = server
        self._names = server.names
        self._ignore = ignore
        self._tops = Tops()
        self._turns: Turns[_Wanted, Position] = Turns(self._append)

    def clear(self) -> None:
        """Forget what was known of the server."""
        self._tops.clear()

    def heard(self, channel: str, record: Record, sequence: int) -> None:
        """A record came live."""
        self._tops.add(channel, Top(sequence, record.top, record.floor, record.run))

    async def aclose(self) -> None:
        """Wait for what was begun."""
        await self._turns.aclose()

    async def append(
        self, channel: str, event: str, data: Data, retention: Retention, key: str | None
    ) -> Position:
        """See :meth:`KeepsHistory.append`."""
        return await self._turns.take(channel, _Wanted(event, data, retention, key))

    async def history(
        self,
        channel: str,
        retention: Retention,
        since: Position | None,
        limit: int,
        reverse: bool,
    ) -> Page[Publication]:
        """See :meth:`KeepsHistory.history`."""
        sequence, record = await self._top(channel)
        top = record.top
        first, last = max(record.floor, top.offset - retention.messages + 1), top.offset
        if since is not None and reverse:
            last = min(last, since.offset - 1)
        elif since is not None:
            first = max(first, since.offset + 1)
        if limit <= 0 or first > last or (since is not None and since.epoch != top.epoch):
            return Page((), top)
        records = [record]
        if record.first > first:
            records = await self._read(channel, sequence, record, first)
        before = self._server.clock() - retention.seconds
        found = [
            each
            for each in self._publications(channel, records)
            if first <= each.offset <= last and each.at >= before
        ]
        return Page(found[::-1][:limit] if reverse else found[:limit], top)

    # --- appending ---

    async def _append(self, channel: str, turns: list[_Turn]) -> None:
        """Append what waits, as much as is done together."""
        sequences: dict[str, int] = {}  # of keys that are there, and expired
        for tried in range(_TRIES):
            try:
                if tried:
                    await self._look_up(channel, turns, sequences)
                turns = [turn for turn in turns if turn.wanted]
                if not turns:
                    return
                await self._try_to_append(channel, turns, sequences)
                return
            except Conflict:
                self._tops.forget(channel)
            except NoStream:
                await self._server.mend()
            except Exception:
                self._tops.forget(channel)  # it may be there or not
                raise
            await asyncio.sleep(min(tried * 0.001, _PAUSE) * random.random())
        raise BrokerUnavailable("Too many publish to this channel at once, try again later")

    async def _try_to_append(
        self, channel: str, turns: list[_Turn], sequences: dict[str, int]
    ) -> None:
        names, link, now = self._names, self._server.link(), self._server.clock()
        top = self._tops.newest(channel) or (await self._newest(channel))[0]
        begun = self._begun(top)
        most = link.most - 256 - 8 * _TOGETHER  # less what a header may have
        position, floor, size = begun.top, begun.floor, 0
        envelopes: list[bytes] = []
        keys: dict[str, Key] = {}
        done: list[tuple[_Turn, Position]] = []
        for turn in turns:
            event, data, retention, key = turn.work
            if key is not None and key in keys:
                continue  # the next time, it is known
            here = Position(position.offset + 1, position.epoch)
            envelope = Envelope.write(event, data, here, now)
            if len(envelope) > most:
                turn.failed(
                    CannotPublish(
                        f"a message of {len(envelope)} bytes is too long: the NATS server takes"
                        f" {most}, by its setting max_payload"
                    )
                )
                continue
            size += len(envelope)
            if done and (size > _TOGETHER_BYTES or len(done) == _TOGETHER):
                break
            if key is not None:
                keys[key] = Key(data.digest(event), here, now)
            position = here
            floor = max(floor, here.offset - retention.messages + 1)
            envelopes.append(envelope)
            done.append((turn, here))
        if not done:
            return
        headers = {EXPECTED: str(top.sequence)}
        if keys:
            batch = {"Nats-Batch-Id": token_hex(16)}
            for number, (key, known) in enumerate(keys.items(), 1):
                await link.publish(
                    names.key(channel, key),
                    known.write(),
                    headers={
                        **batch,
                        "Nats-Batch-Sequence": str(number),
                        EXPECTED: str(sequences.get(key, 0)),
                        TTL: f"{2 * KEY_SECONDS:.0f}s",
                    },
                )
            headers |= {
                **batch,
                "Nats-Batch-Sequence": str(len(keys) + 1),
                "Nats-Batch-Commit": "1",
            }
        record = Record(begun.run, floor, position, envelopes)
        sequence = await jetstream.store(link, names.log(channel), record.write(), headers)
        self._tops.add(channel, Top(sequence, position, floor, begun.run))
        for turn, here in done:
            turn.done(here)

    async def _look_up(self, channel: str, turns: list[_Turn], sequences: dict[str, int]) -> None:
        """Find out which keys are there, and settle what was published with them."""
        keys = {turn.work.key for turn in turns[:_TOGETHER] if turn.work.key is not None}
        if not keys:
            return
        stream, link, now = self._stream(channel), self._server.link(), self._server.clock()
        kept = await asyncio.gather(
            *(jetstream.last(link, stream, self._names.key(channel, key)) for key in keys)
        )
        for key, each in zip(keys, kept, strict=True):
            sequences[key] = 0 if each is None else each.sequence
            if each is None:
                continue
            try:
                known = Key.read(each.payload)
            except Unreadable as exc:
                self._ignore(channel, exc)
                continue
            if expired(known.at, now):
                continue
            for turn in turns:
                if turn.work.key == key:
                    if turn.work.data.digest(turn.work.event) == known.digest:
                        turn.done(known.position)
                    else:
                        turn.failed(taken())

    # --- where a log ends ---

    def _stream(self, channel: str) -> str:
        return self._names.logs[self._names.partition(channel)]

    async def _newest(self, channel: str) -> tuple[Top, Record | None]:
        """The newest record. Raises NoStream."""
        kept = await jetstream.last(
            self._server.link(), self._stream(channel), self._names.log(channel)
        )
        if kept is None:
            return Top(0, None), None
        try:
            record = Record.read(kept.payload)
        except Unreadable as exc:
            self._ignore(channel, exc)
            return Top(kept.sequence, None), None
        return Top(kept.sequence, record.top, record.floor, record.run), record

    def _begun(self, top: Top) -> Record:
        """What a log goes on from: its end, or a mark that is still to be set."""
        run = self._server.run
        if top.position is None:
            return Record(run, 1, Position(0, token_urlsafe(6)))
        if top.run != run and "-" not in (top.run, run):
            # The server was restarted, and may have lost what was newer.
            return Record(run, top.floor, Position(top.position.offset, token_urlsafe(6)))
        return Record(run, top.floor, top.position)

    async def _top(self, channel: str) -> tuple[int, Record]:
        """The newest record and its sequence. Where a stream is to begin, that is a mark."""
        for _ in range(_TRIES):
            try:
                top, record = await self._newest(channel)
                mark = self._begun(top)
                if record is not None and mark.top == record.top:
                    return top.sequence, record
                sequence = await jetstream.store(
                    self._server.link(),
                    self._names.log(channel),
                    mark.write(),
                    {EXPECTED: str(top.sequence)},
                )
            except Conflict:
                continue
            except NoStream:
                await self._server.mend()
                continue
            self._tops.add(channel, Top(sequence, mark.top, mark.floor, mark.run))
            return sequence, mark
        raise BrokerUnavailable("The history of this channel cannot be read, try again later")

    # --- reading ---

    async def _read(self, channel: str, sequence: int, newest: Record, first: int) -> list[Record]:
        """The records from the one that has the publication ``first``, up to the newest.

        Fewer where these are gone: what is returned has no gap.
        """
        begin = self._tops.behind(channel, Position(first - 1, newest.top.epoch)) + 1
        records = _joined(await self._range(channel, begin, sequence), newest)
        if records[0].first > first and self._server.replicated:
            # Whoever answered may lag behind, or these are gone: the leader knows.
            records = _joined(await self._range_of_leader(channel, begin, sequence), newest)
        return records

    async def _range_of_leader(self, channel: str, begin: int, end: int) -> list[Record]:
        """Do as :meth:`_range`, one by one."""
        records: list[Record] = []
        while begin < end:
            kept = await jetstream.following(
                self._server.link(), self._stream(channel), self._names.log(channel), begin
            )
            if kept is None:
                break
            begin = kept.sequence + 1
            self._add(records, channel, kept.payload)
        return records

    async def _range(self, channel: str, begin: int, end: int) -> list[Record]:
        """The records of a channel from one sequence up to another, without that."""
        link, subject = self._server.link(), self._names.log(channel)
        records: list[Record] = []
        while begin < end:
            request = {
                "seq": begin,
                "next_by_subj": subject,
                "batch": _READ,
                "max_bytes": _READ_BYTES,
            }
            try:
                answers = await link.ask_for_many(
                    f"$JS.API.DIRECT.GET.{self._stream(channel)}", json.dumps(request).encode()
                )
            except NobodyAnswers:
                break  # the stream is gone, which the next one finds out
            if not answers:
                break
            for answer in answers:
                begin = _sequence(answer) + 1
                if begin <= end:
                    self._add(records, channel, answer.data)
        return records

    def _add(self, records: list[Record], channel: str, raw: bytes) -> None:
        try:
            records.append(Record.read(raw))
        except Unreadable as exc:
            self._ignore(channel, exc)

    def _publications(self, channel: str, records: Sequence[Record]) -> list[Publication]:
        found: list[Publication] = []
        most = self._server.link().most
        for record in records:
            try:
                envelopes = record.publications(most=most)
            except Unreadable as exc:
                self._ignore(channel, exc)
                found.clear()  # there is a gap behind what was before
                continue
            for offset, each in enumerate(envelopes, record.first):
                found.append(Publication(offset, each.event, each.data, each.at))
        return found


def _joined(older: Sequence[Record], newest: Record) -> list[Record]:
    """The newest of the records between which nothing is missing, oldest first."""
    records = [newest]
    for record in reversed(older):
        if record.top.offset != records[-1].first - 1:
            break  # it is of a stream that was here before, or the next was taken away
        records.append(record)
    return records[::-1]


def _sequence(message: Msg) -> int:
    return int((message.headers or {}).get("Nats-Sequence", 0))
