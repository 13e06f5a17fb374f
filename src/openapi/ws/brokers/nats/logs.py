"""The logs of channels with history: appended to by one message, each time, and read from there.

Whoever appends says which message on the channel's subject is the newest, as far as they know; the
server keeps theirs if that is so, and refuses it otherwise. So the numbers of a channel have no gap
and none comes twice, whoever appends. What waits in one process goes out as one message together.

A key is a message on a subject of its own, stored in one batch with the log's: both or neither.
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from secrets import token_hex, token_urlsafe
from typing import Final, NamedTuple, TypeAlias

from nats.aio.msg import Msg

from openapi.errors import BrokerUnavailable, CannotPublish
from openapi.protocol.envelope import Envelope, Unreadable
from openapi.protocol.publication import Data, Publication
from openapi.protocol.stream import Page, Position, Retention
from openapi.ws.broker import KEY_SECONDS
from openapi.ws.brokers.nats import jetstream
from openapi.ws.brokers.nats.found import PAGE_BYTES, Found
from openapi.ws.brokers.nats.jetstream import EXPECTED, TTL, Conflict, NoStream
from openapi.ws.brokers.nats.key import Key, expired
from openapi.ws.brokers.nats.link import NobodyAnswers
from openapi.ws.brokers.nats.record import Record
from openapi.ws.brokers.nats.server import Server
from openapi.ws.brokers.nats.tops import Top, Tops
from openapi.ws.brokers.nats.turns import Turn, Turns
from openapi.ws.refusals import key_taken

__all__ = ["Logs"]

#: Publications, and their bytes, that go out as one message; a longer one goes out alone.
_TOGETHER: Final = 256
_TOGETHER_BYTES: Final = 32 * 1024
#: How often something is tried while others are faster, and the pause at most: seconds.
_TRIES: Final = 100
_PAUSE: Final = 0.02
#: Messages that are read with one question, and bytes that are read with all of them at once.
_READ: Final = 256
_UNDER_WAY: Final = 16 * 1024 * 1024
#: Publications of a page that goes backwards, where the newest is a long one.
_LEAST: Final = 16
#: Sequences of a stream within which it is read rather than sought.
_NEAR: Final = 64


class _Wanted(NamedTuple):
    """What is to be appended."""

    event: str
    data: Data
    retention: Retention
    key: str | None


_Turn: TypeAlias = Turn[_Wanted, Position]


class _Raw(NamedTuple):
    """The bytes of a record, and its sequence."""

    sequence: int
    raw: bytes


class Logs:
    """The logs of all channels."""

    def __init__(self, server: Server, ignore: Callable[[str, Unreadable], None]) -> None:
        self._server = server
        self._names = server.names
        self._ignore = ignore
        self._tops = Tops()
        self._turns: Turns[_Wanted, Position] = Turns(self._append)
        self._reading: asyncio.Semaphore | None = None

    def clear(self) -> None:
        """Forget what was known of the server."""
        self._tops.clear()
        self._reading = None

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
        # What cannot be encoded is refused here, where nothing else waits with it.
        Envelope.write(event, data)
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
        narrowed = False
        if reverse:
            many = _as_many(record)
            narrowed = many < min(limit, last - first + 1)
            first = max(first, last - min(limit, many) + 1)
        before = self._server.clock() - retention.seconds

        def nothing() -> Found:
            return Found(first, last, before=before, limit=limit, reverse=reverse, top=top)

        found = nothing()
        if record.first > first:
            found = await self._read(channel, sequence, record, first, nothing)
        else:
            self._add(found, channel, record)
        return Page(found.publications, top, narrowed or found.more)

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
        for turn in turns[:_TOGETHER]:  # those whose keys are looked up
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
            if done and size > _TOGETHER_BYTES:
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
                        turn.failed(key_taken())

    # --- where a log ends ---

    def _stream(self, channel: str) -> str:
        return self._names.logs[self._names.partition(channel)]

    async def _newest(self, channel: str) -> tuple[Top, Record | None]:
        """The newest record. Raises NoStream."""
        async with self._gate:
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
        if run == "-":
            run = top.run  # of those who do not trust restarts, if there are any
        elif top.run != run:
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

    async def _read(
        self, channel: str, end: int, newest: Record, first: int, nothing: Callable[[], Found]
    ) -> Found:
        """Read from the record that has the publication ``first`` as far as is wanted.

        Fewer are found where these are gone.
        """
        begin = self._tops.behind(channel, Position(first - 1, newest.top.epoch)) + 1
        found = nothing()
        sought = await self._scan(self._range(channel, begin, end), channel, found, skip=False)
        if sought is not None:  # it is farther on than one page
            begin = await self._seek(channel, sought, end, first, newest.top.epoch)
            found = nothing()
            await self._scan(self._range(channel, begin, end), channel, found)
            if not found.whole:
                # It is of an epoch before, or gone: then the oldest that is there comes first.
                begin, found = 1, nothing()
                await self._scan(self._range(channel, begin, end), channel, found)
        if not found.done:
            self._add(found, channel, newest)
        if not found.whole and self._server.replicated:
            # Whoever answered may lag behind, or these are gone: the leader knows.
            found = nothing()
            await self._scan(self._range_of_leader(channel, begin, end), channel, found)
            if not found.done:
                self._add(found, channel, newest)
        return found

    async def _scan(
        self,
        pages: AsyncGenerator[list[_Raw], None],
        channel: str,
        found: Found,
        *,
        skip: bool = True,
    ) -> int | None:
        """Add what is read until it is enough, or no more is there.

        Without ``skip`` no more than a page is read that has nothing of what is wanted. Returns the
        sequence from which on to seek it then.
        """
        async with aclosing(pages):
            async for page in pages:
                for each in page:
                    try:
                        record = Record.read(each.raw)
                    except Unreadable as exc:
                        self._ignore(channel, exc)
                        continue
                    self._add(found, channel, record)
                    if found.done:
                        return None
                if not (skip or found.behind):
                    return page[-1].sequence + 1
        return None

    async def _seek(self, channel: str, begin: int, end: int, first: int, epoch: str) -> int:
        """A sequence a little before the record with the publication ``first``, by halving."""
        stream, subject = self._stream(channel), self._names.log(channel)
        while end - begin > _NEAR:
            middle = (begin + end) // 2
            async with self._gate:
                kept = await jetstream.following(self._server.link(), stream, subject, middle)
            if kept is None or kept.sequence >= end:
                end = middle
                continue
            try:
                record = Record.read(kept.payload)
            except Unreadable:
                end = middle  # whoever reads it says so
                continue
            if record.top.epoch != epoch or record.top.offset < first:
                begin = kept.sequence + 1
            elif record.first > first:
                end = middle
            else:
                return kept.sequence
        return begin

    async def _range_of_leader(
        self, channel: str, begin: int, end: int
    ) -> AsyncGenerator[list[_Raw], None]:
        """Do as :meth:`_range`, one by one."""
        while begin < end:
            async with self._gate:
                kept = await jetstream.following(
                    self._server.link(), self._stream(channel), self._names.log(channel), begin
                )
            if kept is None or kept.sequence >= end:
                break
            begin = kept.sequence + 1
            yield [_Raw(kept.sequence, kept.payload)]

    async def _range(self, channel: str, begin: int, end: int) -> AsyncGenerator[list[_Raw], None]:
        """The records of a channel from one sequence up to another, without that."""
        link, subject = self._server.link(), self._names.log(channel)
        while begin < end:
            request = {
                "seq": begin,
                "next_by_subj": subject,
                "batch": _READ,
                "max_bytes": max(PAGE_BYTES, link.most),
            }
            try:
                async with self._gate:
                    answers = await link.ask_for_many(
                        f"$JS.API.DIRECT.GET.{self._stream(channel)}", json.dumps(request).encode()
                    )
            except NobodyAnswers:
                break  # the stream is gone, which the next one finds out
            page = [_Raw(_sequence(answer), answer.data) for answer in answers]
            page = [each for each in page if each.sequence < end]
            if not page:
                break
            begin = page[-1].sequence + 1
            yield page

    def _add(self, found: Found, channel: str, record: Record) -> None:
        try:
            found.add(record, most=self._server.link().most)
        except Unreadable as exc:
            self._ignore(channel, exc)

    @property
    def _gate(self) -> asyncio.Semaphore:
        """Those who may be answered at once: the server cuts off who has too much to read."""
        if self._reading is None:
            at_once = _UNDER_WAY // max(PAGE_BYTES, self._server.link().most)
            self._reading = asyncio.Semaphore(max(1, at_once))
        return self._reading


def _as_many(newest: Record) -> int:
    """How many publications are a page, to go by the newest. A mark says nothing of that."""
    if not newest.envelopes:
        return sys.maxsize
    size = sum(map(len, newest.envelopes)) // len(newest.envelopes)
    return max(_LEAST, PAGE_BYTES // size)


def _sequence(message: Msg) -> int:
    return int((message.headers or {}).get("Nats-Sequence", 0))
