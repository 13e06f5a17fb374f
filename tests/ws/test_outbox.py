"""The outbox: bounded by bytes, one write a turn, silent while the transport is full."""

import asyncio
from collections.abc import Coroutine
from typing import cast

import pytest

from openapi.ws.outbox import Flusher, Outbox


class RecordingTransport:
    """Takes what is written; full when told so."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.buffered = 0
        self.fill: Outbox | None = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        if self.fill is not None:
            self.buffered += len(data)
            self.fill.pause()

    def get_write_buffer_size(self) -> int:
        return self.buffered


class Turns:
    """The loop's ready queue, turned by hand."""

    def __init__(self) -> None:
        self.callbacks: list[object] = []

    def call_soon(self, callback: object) -> None:
        self.callbacks.append(callback)

    def turn(self) -> int:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            assert callable(callback)
            callback()
        return len(callbacks)


class Rig:
    """An outbox between a recording transport and a loop that is turned by hand."""

    def __init__(self, limit: int = 1000) -> None:
        self.turns = Turns()
        self.flusher = Flusher(cast("asyncio.AbstractEventLoop", self.turns))
        self.overflows = 0
        self.transport, self.outbox = self.another(limit)

    def another(self, limit: int = 1000) -> tuple[RecordingTransport, Outbox]:
        transport = RecordingTransport()
        outbox = Outbox(
            cast("asyncio.Transport", transport),
            self.flusher,
            limit=limit,
            on_overflow=self._overflow,
        )
        return transport, outbox

    def _overflow(self) -> None:
        self.overflows += 1

    def fill_transport(self) -> None:
        self.transport.fill = self.outbox
        self.outbox.send(b"#")
        self.turns.turn()
        self.transport.writes.clear()

    def drain_transport(self) -> None:
        self.transport.fill, self.transport.buffered = None, 0
        self.outbox.resume()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_frames_of_one_turn_are_one_write(rig: Rig) -> None:
    for frame in (b"a", b"b", b"c"):
        rig.outbox.send(frame)
    assert rig.transport.writes == []
    rig.turns.turn()
    assert rig.transport.writes == [b"abc"]
    assert rig.outbox.size == 0


def test_many_outboxes_are_flushed_by_one_callback(rig: Rig) -> None:
    others = [rig.another() for _ in range(100)]
    for _, outbox in others:
        outbox.send(b"x")
        outbox.send(b"y")
    assert rig.turns.turn() == 1
    assert all(transport.writes == [b"xy"] for transport, _ in others)


def test_very_many_outboxes_are_flushed_in_turns_and_in_order(rig: Rig) -> None:
    others = [rig.another() for _ in range(600)]
    for _, outbox in others:
        outbox.send(b"x")
    for done in (256, 512, 600):
        assert rig.turns.turn() == 1
        others[0][1].send(b"y")  # what comes meanwhile is behind
        assert [transport.writes for transport, _ in others[1:]] == (
            [[b"x"]] * (done - 1) + [[]] * (600 - done)
        )
    assert others[0][0].writes == [b"x", b"yy"]
    rig.turns.turn()
    assert others[0][0].writes == [b"x", b"yy", b"y"]
    assert rig.turns.turn() == 0


def test_what_is_expected_is_written_in_the_turn_in_which_it_comes(rig: Rig) -> None:
    rig.outbox.expect()
    rig.turns.call_soon(lambda: rig.outbox.send(b"too late"))
    rig.turns.callbacks.insert(0, lambda: rig.outbox.send(b"answer"))
    rig.turns.turn()
    assert rig.transport.writes == [b"answer"]
    rig.turns.turn()
    assert rig.transport.writes == [b"answer", b"too late"]


def test_a_single_frame_is_written_without_a_copy(rig: Rig) -> None:
    frame = bytes(500)
    rig.outbox.send(frame)
    rig.turns.turn()
    assert rig.transport.writes[0] is frame


def test_nothing_is_written_while_the_transport_is_full(rig: Rig) -> None:
    rig.fill_transport()
    rig.outbox.send(b"a")
    rig.turns.turn()
    assert rig.transport.writes == []
    rig.drain_transport()
    assert rig.transport.writes == [b"a"]


def test_what_the_transport_holds_counts(rig: Rig) -> None:
    rig.fill_transport()
    rig.transport.buffered = 600
    rig.outbox.pause()
    rig.outbox.send(bytes(400))
    assert (rig.outbox.size, rig.overflows) == (1000, 0)
    rig.outbox.send(b"x")
    assert rig.overflows == 1


def test_a_long_queue_is_written_in_pieces_until_the_transport_is_full() -> None:
    rig = Rig(limit=1_000_000)
    rig.fill_transport()
    frames = [bytes([i]) * 1000 for i in range(200)]
    for frame in frames:
        rig.outbox.send(frame)
    rig.transport.buffered = 0
    rig.outbox.resume()  # and the first piece fills it again
    assert len(rig.transport.writes) == 1
    assert 65_536 <= len(rig.transport.writes[0]) < 65_536 + 1000
    rig.drain_transport()
    assert b"".join(rig.transport.writes) == b"".join(frames)
    assert rig.outbox.size == 0


def test_at_its_limit_it_takes_the_last_byte_and_not_one_more(rig: Rig) -> None:
    rig.fill_transport()
    rig.outbox.send(bytes(999))  # the transport has one
    assert rig.overflows == 0
    rig.outbox.send(b"x")
    assert rig.overflows == 1


def test_a_burst_within_one_turn_is_written_at_once_and_is_no_overflow(rig: Rig) -> None:
    for _ in range(10):
        rig.outbox.send(bytes(600))
    assert (len(rig.transport.writes), rig.overflows, rig.outbox.size) == (5, 0, 0)


def test_a_burst_that_the_transport_does_not_take_overflows(rig: Rig) -> None:
    rig.transport.fill = rig.outbox
    for _ in range(3):
        rig.outbox.send(bytes(600))
    assert (len(rig.transport.writes), rig.overflows) == (1, 1)


def test_an_overflow_drops_what_waits_and_is_told_once(rig: Rig) -> None:
    rig.fill_transport()
    rig.outbox.send(bytes(2000))
    rig.outbox.send(bytes(2000))
    assert (rig.overflows, rig.outbox.size) == (1, 1)  # what the transport has, it keeps
    rig.outbox.close(b"bye")
    assert rig.transport.writes == [b"bye"]


def test_a_closed_outbox_writes_what_waits_and_its_last_frame_and_takes_no_more(rig: Rig) -> None:
    rig.outbox.send(b"a")
    rig.outbox.close(b"bye")
    rig.outbox.send(b"late")
    rig.turns.turn()
    assert rig.transport.writes == [b"abye"]


def test_what_is_to_follow_the_last_frame_waits_until_that_is_written(rig: Rig) -> None:
    rig.fill_transport()
    rig.outbox.send(b"a")
    followed: list[int] = []
    rig.outbox.close(b"bye", then=lambda: followed.append(len(rig.transport.writes)))
    assert followed == []
    rig.drain_transport()
    rig.outbox.resume()
    assert rig.transport.writes == [b"abye"]
    assert followed == [1]  # once, behind the write


def test_what_is_to_follow_an_overflow_follows_the_last_frame(rig: Rig) -> None:
    followed: list[list[bytes]] = []
    rig.fill_transport()
    rig.outbox.send(bytes(2000))
    rig.outbox.close(b"bye", then=lambda: followed.append(list(rig.transport.writes)))
    assert followed == [[b"bye"]]


def test_a_discarded_outbox_holds_nothing_and_calls_nobody(rig: Rig) -> None:
    rig.fill_transport()
    rig.outbox.send(b"a")
    rig.outbox.discard()
    rig.outbox.send(bytes(5000))
    rig.drain_transport()
    assert (rig.outbox.size, rig.overflows, rig.transport.writes) == (0, 0, [])


# Room


def has_room(rig: Rig) -> bool:
    waiting = rig.outbox.room()
    if isinstance(waiting, Coroutine):
        waiting.close()
    return waiting is None


def test_there_is_room_as_long_as_the_transport_takes_something(rig: Rig) -> None:
    assert has_room(rig)
    rig.outbox.send(bytes(900))  # and is written at the end of this turn
    assert has_room(rig)
    rig.fill_transport()
    assert not has_room(rig)
    rig.drain_transport()
    assert has_room(rig)


async def test_whoever_waits_for_room_goes_on_when_the_transport_has_taken_all(rig: Rig) -> None:
    rig.fill_transport()
    waits = [asyncio.ensure_future(room) for _ in range(3) if (room := rig.outbox.room())]
    await asyncio.sleep(0)
    rig.drain_transport()
    await asyncio.gather(*waits)
    assert len(waits) == 3


async def test_room_that_is_filled_at_once_is_no_room() -> None:
    rig = Rig(limit=1_000_000)
    rig.fill_transport()
    for _ in range(200):
        rig.outbox.send(bytes(1000))
    room = rig.outbox.room()
    assert room is not None
    waiting = asyncio.ensure_future(room)
    for _ in range(2):  # each time, a piece of what waits fills the transport again
        rig.outbox.resume()
        await asyncio.sleep(0)
        assert not waiting.done()
    rig.drain_transport()
    await waiting


@pytest.mark.parametrize("end", ["close", "discard", "overflow"])
async def test_in_an_outbox_that_takes_nothing_more_nobody_waits_for_room(
    rig: Rig, end: str
) -> None:
    rig.fill_transport()
    match end:
        case "close":
            rig.outbox.close(b"bye")
        case "discard":
            rig.outbox.discard()
        case "overflow":
            rig.outbox.send(bytes(2000))
    assert has_room(rig)


async def test_whoever_waits_for_room_goes_on_when_the_transport_is_gone(rig: Rig) -> None:
    rig.fill_transport()
    room = rig.outbox.room()
    assert room is not None
    waiting = asyncio.ensure_future(room)
    await asyncio.sleep(0)
    rig.outbox.discard()
    await waiting
