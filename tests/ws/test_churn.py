"""Connections come and go by the thousand, in every way to die, and leave nothing behind."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from yarl import URL

from openapi.errors import ConnectionClosed
from openapi.ws import Limits, SocketsManager, Websocket, ws_rpc
from tests.conftest import Serve
from tests.extent import extent
from tests.unwatched import unwatched
from tests.ws.endpoints import Endpoint, application
from tests.ws.raw import CLOSE, RawSocket, masked, message

CYCLES = extent(10_000, 3_000)
AT_ONCE = 20


class Watched(SocketsManager):
    """Remembers, weakly, every socket that it ever had."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits=limits)
        self.ever: list[weakref.ref[object]] = []

    def add(self, ws: Websocket) -> None:
        super().add(ws)
        self.ever += [weakref.ref(ws), weakref.ref(ws.connection)]

    def alive(self) -> int:
        return sum(ref() is not None for ref in self.ever)


class Mortal(Endpoint):
    async def on_connect(self) -> None:
        self.user = len(self.sockets.sockets) % 3
        self.state.left = asyncio.Event()

    async def on_disconnect(self, code: int) -> None:
        self.state.left.set()

    async def ws_rpc_hang(self, payload: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async def ws_rpc_tail(self, payload: dict[str, Any]) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    @ws_rpc(timeout=600, lane=True)
    async def ws_rpc_ask(self, payload: dict[str, Any]) -> None:
        await self.call("confirm")

    @ws_rpc(shield=True)
    async def ws_rpc_finish(self, payload: dict[str, Any]) -> None:
        try:
            await self.call("confirm")
        except ConnectionClosed:
            await self.state.left.wait()


OF_EVERY_KIND = (
    message({"id": 3, "cancel": True})
    + message({"id": 3, "method": "hang"})
    + message({"id": 5, "method": "tail"})
    + message({"id": 6, "method": "ask"})
    + message({"id": 7, "method": "ask"})
    + message({"id": 8, "method": "finish"})
)


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    """Only reference counts free anything in this test."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def live_and_die(url: URL, number: int) -> None:
    """Connect, subscribe, publish, and die in one of five ways, a third amid calls of all kinds."""
    channel, every_kind = f"c{number % 100}", number % 3 == 0
    socket = await RawSocket.open(url)
    socket.writer.write(
        message({"id": 1, "method": "subscribe", "payload": {"channel": channel, "event": "a*"}})
        + message({"id": 2, "method": "subscribe", "payload": {"channel": f"own{number}"}})
        + message({"id": 3, "method": "hang"})
        + (OF_EVERY_KIND if every_kind else b"")
        + message(
            {
                "id": 4,
                "method": "publish",
                "payload": {"channel": channel, "event": "ab", "data": 1},
            }
        )
    )
    answered: set[object] = set()
    while answered != {1, 2, 4} | ({3, 5, "s1", "s2"} if every_kind else set()):
        frame = await socket.receive()
        answered.add(frame.get("id"))
        answered.discard(None)
    match number % 5:
        case 0:  # the closing handshake
            socket.writer.write(masked(CLOSE, b"\x03\xe8"))
            assert await socket.close_code() == 1000
        case 1:  # a reset
            socket.reset()
        case 2:  # the end of the stream, without a word
            socket.writer.write_eof()
        case 3:  # a breach of the protocol
            socket.writer.write(b"\x81\x00")
            assert await socket.close_code() == 1002
        case 4:  # half a frame, and away
            socket.writer.write(message({"id": 5, "method": "info"})[:9])
            socket.writer.close()
    await socket.shut()


@pytest.mark.timeout(300)
async def test_thousands_of_lives_leave_no_entry_no_count_and_no_object(
    serve: Serve, no_garbage_collector: None
) -> None:
    sockets = Watched(Limits())
    url = await serve(application(Mortal, sockets)) / "stream"
    numbers = iter(range(CYCLES))

    async def worker() -> None:
        for number in numbers:
            await live_and_die(url, number)

    with unwatched():  # of these lines the other tests see every one
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    await sockets.drain()
    for _ in range(10):  # aiohttp's handlers return
        await asyncio.sleep(0)
    assert len(sockets.ever) == 2 * CYCLES
    assert sockets.server_info() == {"connections": 0, "channels": {}}
    assert len(sockets.heartbeat) == 0
    parts, channels = vars(sockets)["_SocketsManager__parts"], sockets.channels
    directory, background = parts.directory, parts.background
    assert (len(directory), directory.users) == (0, 0)
    assert not background.own
    assert not background.outliving
    assert (len(channels.gates), len(channels.feeds), len(channels.presence)) == (0, 0, 0)
    assert sockets.alive() == 0
