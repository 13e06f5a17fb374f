"""What a connection has that is idle, with one subscription: counted on a server with real sockets.

Its clients are blocking sockets in a thread: what is new in the process is the server's.
"""

import asyncio
import gc
import socket
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, cast

import pytest
import uvloop
from aiohttp import web

from openapi.ws import SocketsManager, WsPathMixin
from openapi.ws.pubsub import Subscribe
from tests.ws.endpoints import application
from tests.ws.raw import HANDSHAKE, message

Address = tuple[str, int]
NewLoop = Callable[[], asyncio.AbstractEventLoop]

#: Those that come first make what is made once, and let the tables that all share grow.
FIRST: Final = 100
MORE: Final = 100

#: What the garbage collector looks at in every full collection, while the server stands still,
#: besides the transport: 10 are aiohttp's, the request with its headers and what these hang on. The
#: others are the connection, its parts, and what they know each other by.
OBJECTS: Final = 33
#: The goal is 10 KiB of memory in all. Of that the allocator's gaps take some, a bare transport 1.1
#: to 2.4 KiB, aiohttp's request 3.5 KiB, and the three dictionaries of its subscription 0.6 KiB.
BYTES: Final = 7_900

SUBSCRIBED: Final = b'"response":{"subscribed":{"c":["*"]}}'

#: Whose objects a connection is made of, and what hangs on it.
OURS: Final = "aiohttp.", "multidict.", "openapi.", "tests."


class Idle(WsPathMixin, Subscribe):
    """Nobody waits for the end of its ``get``."""


class Awaited(WsPathMixin, Subscribe):
    """Code of the application's waits for the end of its ``get``."""

    async def get(self) -> web.StreamResponse:
        return await super().get()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    """What makes a loop of each kind."""
    made: NewLoop = request.param
    return made


@contextmanager
def clients(count: int) -> Iterator[list[socket.socket]]:
    """Sockets that connect later."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.socket()) for _ in range(count)]


def subscribe(address: Address, sockets: list[socket.socket]) -> None:
    """Connect each, and subscribe it to a channel."""
    host, port = address
    handshake = HANDSHAKE.format(path="/stream", host=host, port=port).encode()
    for each in sockets:
        each.connect(address)
        each.sendall(handshake)
        assert receive(each, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        each.sendall(message({"id": 1, "method": "subscribe", "payload": {"channel": "c"}}))
        receive(each, SUBSCRIBED)


def receive(client: socket.socket, until: bytes) -> bytes:
    """Read on up to some bytes."""
    data = b""
    while until not in data:
        read = client.recv(4096)
        assert read, data
        data += read
    return data


def on_a_server(
    new_loop: NewLoop,
    endpoint: type[WsPathMixin],
    test: Callable[[SocketsManager, Address], Coroutine[Any, Any, None]],
) -> None:
    """Run a test beside a server."""

    async def run() -> None:
        sockets = SocketsManager()
        runner = web.AppRunner(application(endpoint, sockets))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            await test(sockets, runner.addresses[0][:2])
        finally:
            await runner.cleanup()

    with asyncio.Runner(loop_factory=new_loop) as loop:
        loop.run(run())


class Bare(asyncio.Protocol):
    """Says what a server would, and is nothing but a protocol."""

    __slots__ = ("_transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        upgrade = data.startswith(b"GET ")
        self._transport.write(b"HTTP/1.1 101 \r\n\r\n" if upgrade else SUBSCRIBED)


def on_a_bare_server(
    new_loop: NewLoop, test: Callable[[Address], Coroutine[Any, Any, None]]
) -> None:
    """Run a test beside a server that is nothing but a protocol."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Bare, "127.0.0.1", 0)
        try:
            await test(server.sockets[0].getsockname())
        finally:
            server.close()

    with asyncio.Runner(loop_factory=new_loop) as loop:
        loop.run(run())


def timers() -> int:
    """How many timers run, on any loop."""
    kinds = asyncio.TimerHandle, type(uvloop_timer)
    found = [each for each in gc.get_objects() if type(each) in kinds]  # a proxy may be dead
    return sum(not each.cancelled() for each in found)


uvloop_timer: Final = uvloop.new_event_loop().call_later(0, print)
uvloop_timer.cancel()


def objects() -> Counter[str]:
    """What the garbage collector looks at, by type, behind a collection."""
    gc.collect()
    return kinds()


def kinds() -> Counter[str]:
    """What the garbage collector looks at, by type."""
    return Counter(f"{type(each).__module__}.{type(each).__name__}" for each in gc.get_objects())


def test_an_idle_connection_has_no_task_and_no_timer(new_loop: NewLoop) -> None:
    async def compare(sockets: SocketsManager, address: Address) -> None:
        with clients(1) as first, clients(20) as more:
            await asyncio.to_thread(subscribe, address, first)
            tasks, others = len(asyncio.all_tasks()), timers()
            await asyncio.to_thread(subscribe, address, more)
            assert len(sockets.sockets) == 21
            assert len(asyncio.all_tasks()) == tasks
            assert timers() <= others

    on_a_server(new_loop, Idle, compare)


def test_one_whose_end_is_waited_for_has_the_two_tasks_of_aiohttp_and_no_timer(
    new_loop: NewLoop,
) -> None:
    async def compare(sockets: SocketsManager, address: Address) -> None:
        with clients(1) as first, clients(20) as more:
            await asyncio.to_thread(subscribe, address, first)
            tasks, others = len(asyncio.all_tasks()), timers()
            await asyncio.to_thread(subscribe, address, more)
            assert len(sockets.sockets) == 21
            assert len(asyncio.all_tasks()) == tasks + 40
            assert timers() <= others

    on_a_server(new_loop, Awaited, compare)


async def objects_of_one(address: Address) -> float:
    """How many objects the garbage collector looks at for each connection."""
    with clients(FIRST) as first, clients(MORE) as more:
        await asyncio.to_thread(subscribe, address, first)
        objects()  # which is the first to look at some, and so makes what is made once
        before = objects()
        await asyncio.to_thread(subscribe, address, more)
        return (objects() - before).total() / MORE


async def bytes_of_one(address: Address) -> float:
    """How many bytes are allocated for each connection."""
    with clients(FIRST) as first, clients(MORE) as more:
        await asyncio.to_thread(subscribe, address, first)
        gc.collect()
        tracemalloc.start()
        try:
            await asyncio.to_thread(subscribe, address, more)
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / MORE
        finally:
            tracemalloc.stop()


def above_a_bare_one(
    new_loop: NewLoop, measure: Callable[[Address], Coroutine[Any, Any, float]]
) -> tuple[float, float]:
    """What is measured of an idle connection, above that of a bare transport, and in all."""
    found: list[float] = []

    async def bare(address: Address) -> None:
        found.append(await measure(address))

    async def idle(sockets: SocketsManager, address: Address) -> None:
        await bare(address)
        assert len(sockets.sockets) == FIRST + MORE

    on_a_bare_server(new_loop, bare)
    on_a_server(new_loop, Idle, idle)
    return found[1] - found[0], found[1]


def test_a_full_garbage_collection_looks_at_few_objects_of_an_idle_connection(
    new_loop: NewLoop,
) -> None:
    above, _ = above_a_bare_one(new_loop, objects_of_one)
    assert above <= OBJECTS


def test_an_idle_connection_is_less_than_10_KiB(new_loop: NewLoop) -> None:
    above, all = above_a_bare_one(new_loop, bytes_of_one)
    assert above <= BYTES
    assert all <= 10 * 1024


@pytest.mark.parametrize("endpoint", [Idle, Awaited])
def test_a_connection_that_ends_is_freed_by_reference_counts_alone(
    new_loop: NewLoop, endpoint: type[WsPathMixin]
) -> None:
    async def come_and_go(sockets: SocketsManager, address: Address) -> None:
        with clients(1) as first:
            await asyncio.to_thread(subscribe, address, first)
            before = objects()
            gc.disable()
            try:
                with clients(MORE) as more:
                    await asyncio.to_thread(subscribe, address, more)
                more.clear()
                left = await ended(sockets, before)
            finally:
                gc.enable()
            assert not left

    on_a_server(new_loop, endpoint, come_and_go)


async def ended(sockets: SocketsManager, before: Counter[str]) -> dict[str, int]:
    """Wait until one connection is left; what there is of each other one, some turns later.

    Not of asyncio's: before Python 3.12 its transport knows itself, without its protocol.
    """
    async with asyncio.timeout(10):
        while len(sockets.sockets) > 1:  # noqa: ASYNC110 - an event of each would be an object
            await asyncio.sleep(0.001)
    left: dict[str, int] = {}
    for _ in range(20):
        await asyncio.sleep(0)
        more = (kinds() - before).items()
        left = {name: count for name, count in more if name.startswith(OURS) and count >= MORE}
        if not left:
            break
    return left
