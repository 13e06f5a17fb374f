"""A connection in memory behaves as asyncio's own do."""

import asyncio
from typing import Any

import pytest

from openapi.testing.clock import run, virtual_time
from openapi.testing.direction import Direction
from openapi.testing.link import Link
from openapi.testing.pipe import WINDOW
from openapi.testing.transport import HIGH_WATER, Connected, MemoryTransport


class End(asyncio.Protocol):
    """One end, and all that it is told."""

    transport: MemoryTransport

    def __init__(self, *, stays: bool = False) -> None:
        self.received = b""
        self.told: list[str] = []
        self.lost: Exception | None = None
        self._stays = stays

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self._stays

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc
        self.told.append("lost")


class Ends:
    """Two ends, a client's and a server's."""

    def __init__(self, link: Link | None = None, *, stays: bool = False) -> None:
        self.link = link or Link()
        self.client, self.server = End(), End(stays=stays)
        self.closed = 0
        self.connected = Connected(
            self.client,
            self.server,
            to_server=self.link.to_server,
            to_client=self.link.to_client,
            closed=self._closed,
        )
        self.connected.begin()

    def _closed(self, connected: Connected) -> None:
        self.closed += 1


async def turns(count: int = 20) -> None:
    """Let the loop turn, in no time."""
    for _ in range(count):
        await asyncio.sleep(0)


@virtual_time
async def test_what_is_written_arrives_in_order_and_later() -> None:
    ends = Ends()
    ends.client.transport.write(b"a")
    ends.client.transport.writelines([bytearray(b"b"), memoryview(b"c")])
    ends.client.transport.write(b"")
    assert ends.server.received == b""
    await turns()
    assert ends.server.received == b"abc"
    ends.connected.cut()


@virtual_time
async def test_who_is_not_read_is_told_to_pause_and_to_go_on() -> None:
    ends = Ends()
    transport = ends.client.transport
    ends.server.transport.pause_reading()
    assert not ends.server.transport.is_reading()
    transport.write(b"x" * (WINDOW + HIGH_WATER))
    assert transport.get_write_buffer_size() == HIGH_WATER
    assert ends.client.told == ["made"]
    transport.write(b"y")
    await turns()
    assert ends.client.told == ["made", "pause"]
    assert ends.server.received == b""
    ends.server.transport.resume_reading()
    await turns()
    assert ends.client.told == ["made", "pause", "resume"]
    assert ends.server.received == b"x" * (WINDOW + HIGH_WATER) + b"y"
    assert transport.get_write_buffer_size() == 0
    ends.connected.cut()


@virtual_time
async def test_the_marks_of_the_buffer_are_its_owners() -> None:
    transport = Ends().client.transport
    assert transport.get_write_buffer_limits() == (HIGH_WATER // 4, HIGH_WATER)
    transport.set_write_buffer_limits(low=10)
    assert transport.get_write_buffer_limits() == (10, 40)
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    with pytest.raises(ValueError, match="must be >= low"):
        transport.set_write_buffer_limits(high=1, low=2)


@virtual_time
async def test_to_close_writes_what_waits_first() -> None:
    ends = Ends()
    ends.server.transport.pause_reading()
    ends.client.transport.write(b"x" * (WINDOW + 1))
    ends.client.transport.close()
    ends.client.transport.close()
    ends.client.transport.write(b"dropped")
    await turns()
    assert ends.client.transport.is_closing()
    assert ends.client.told == ["made"]
    ends.server.transport.resume_reading()
    await turns()
    assert ends.server.received == b"x" * (WINDOW + 1)
    assert (ends.client.told, ends.client.lost) == (["made", "lost"], None)
    assert (ends.server.told, ends.server.lost) == (["made", "eof", "lost"], None)
    assert (ends.closed, ends.link.to_server.pipes, ends.link.to_client.pipes) == (1, set(), set())


@virtual_time
async def test_to_abort_drops_what_waits() -> None:
    ends = Ends()
    ends.server.transport.pause_reading()
    ends.client.transport.write(b"x" * (WINDOW + 1))
    ends.client.transport.abort()
    ends.client.transport.abort()
    await turns()
    assert ends.client.told == ["made", "lost"]
    ends.server.transport.resume_reading()
    await turns()
    assert ends.server.received == b"x" * WINDOW
    assert ends.server.told == ["made", "eof", "lost"]


@virtual_time
async def test_one_half_may_be_closed() -> None:
    ends = Ends(stays=True)
    assert ends.client.transport.can_write_eof()
    ends.client.transport.write_eof()
    ends.client.transport.write_eof()
    await turns()
    assert ends.server.told == ["made", "eof"]
    ends.server.transport.write(b"still")
    await turns()
    assert ends.client.received == b"still"
    ends.server.transport.close()
    await turns()
    assert ends.client.told == ["made", "eof", "lost"]
    assert ends.closed == 1


@virtual_time
async def test_who_writes_to_one_that_is_gone_is_told_of_a_reset() -> None:
    ends = Ends(stays=True)
    ends.client.transport.close()
    await turns()
    assert ends.server.told == ["made", "eof"]
    ends.server.transport.write(b"nobody reads this")
    await turns()
    assert isinstance(ends.server.lost, ConnectionResetError)
    assert ends.closed == 1


@virtual_time
async def test_what_was_not_read_when_an_end_goes_is_lost() -> None:
    ends = Ends()
    ends.server.transport.pause_reading()
    ends.client.transport.write(b"unread")
    await turns()
    ends.server.transport.abort()
    await turns()
    assert ends.server.received == b""
    assert ends.client.told == ["made", "eof", "lost"]
    assert ends.closed == 1


@virtual_time
async def test_a_connection_that_is_cut_is_lost_to_both_at_once() -> None:
    ends = Ends()
    ends.client.transport.write(b"lost")
    ends.connected.cut()
    ends.connected.cut()
    await turns()
    assert ends.server.received == b""
    assert isinstance(ends.client.lost, ConnectionResetError)
    assert isinstance(ends.server.lost, ConnectionResetError)
    assert ends.closed == 1


def test_a_protocol_that_fails_is_reported_and_loses_the_connection() -> None:
    reports: list[Any] = []

    class Failing(End):
        def data_received(self, data: bytes) -> None:
            raise ValueError(data)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: reports.append(context["exception"])
        )
        ends = Ends()
        ends.server.transport.set_protocol(failing := Failing())
        assert ends.server.transport.get_protocol() is failing
        ends.client.transport.write(b"bad")
        await turns()
        assert failing.told == ["lost"]
        assert ends.client.told == ["made", "eof", "lost"]

    run(main())
    assert [str(report) for report in reports] == ["b'bad'"]


@virtual_time
async def test_a_transport_says_where_it_is() -> None:
    ends = Ends()
    assert ends.client.transport.get_extra_info("peername") == ("127.0.0.1", 80)
    assert ends.server.transport.get_extra_info("peername")[0] == "127.0.0.1"
    assert ends.server.transport.get_extra_info("socket") is None


@virtual_time
async def test_half_open_nobody_is_told_anything_until_it_passes() -> None:
    ends = Ends()
    ends.link.halt()
    ends.client.transport.write(b"x")
    ends.client.transport.close()
    await asyncio.sleep(3600)
    assert ends.client.told == ["made", "lost"]  # as far as it knows, all is sent
    assert ends.server.told == ["made"]
    ends.server.transport.write(b"y")
    ends.link.heal()
    await turns()
    assert ends.server.received == b"x"
    assert ends.server.told[-1] == "lost"
    assert ends.closed == 1


@virtual_time
async def test_a_reset_does_not_pass_either_where_nothing_does() -> None:
    ends = Ends()
    ends.link.to_client.halted = True
    ends.client.transport.abort()
    await turns()
    assert ends.server.told == ["made", "eof", "lost"]
    other = Ends()
    other.server.transport.pause_reading()
    other.client.transport.write(b"unread")
    other.link.to_client.halted = True
    await turns()
    other.server.transport.abort()
    await asyncio.sleep(3600)
    assert other.client.told == ["made"]
    other.connected.cut()


@virtual_time
async def test_pieces_take_their_time_and_keep_their_order() -> None:
    loop = asyncio.get_running_loop()
    delays = iter([5.0, 1.0, 0.0])
    link = Link()
    link.to_server.delay = lambda: next(delays)
    ends = Ends(link)
    began = loop.time()
    for piece in (b"a", b"b", b"c"):
        ends.client.transport.write(piece)
    await asyncio.sleep(4)
    assert ends.server.received == b""
    await asyncio.sleep(1.5)
    assert ends.server.received == b"abc"
    assert loop.time() - began == 5.5
    ends.connected.cut()


@virtual_time
async def test_the_window_bounds_what_a_slow_network_holds() -> None:
    link = Link()
    link.to_server.delay = 1.0
    ends = Ends(link)
    ends.client.transport.write(b"x" * 3 * WINDOW)
    await asyncio.sleep(1.5)
    assert len(ends.server.received) == WINDOW
    assert ends.client.told == ["made", "pause"]
    await asyncio.sleep(2)
    assert len(ends.server.received) == 3 * WINDOW
    assert ends.client.told == ["made", "pause", "resume"]
    ends.connected.cut()


@pytest.mark.parametrize("chance", [-0.1, 1.1])
def test_a_chance_is_between_0_and_1(chance: float) -> None:
    direction = Link().to_client
    assert isinstance(direction, Direction)
    with pytest.raises(ValueError, match="drop is how likely it is"):
        direction.drop = chance
    with pytest.raises(ValueError, match="duplicate is how likely it is"):
        direction.duplicate = chance


def test_a_fault_that_is_misspelled_is_refused() -> None:
    link = Link()
    with pytest.raises(AttributeError):
        link.refuse = True  # type: ignore[attr-defined] # it is `refusing`
    with pytest.raises(AttributeError):
        link.to_server.halt = True  # type: ignore[attr-defined] # it is `halted`
