"""A TCP relay in front of a server that does to single connections what networks and proxies do.

async with tampering(server.port) as relay:
    broker = RedisBroker(relay.url)
    relay.swallow()         # connections that are subscribed: what the server says is lost
    relay.hold()            # or stays where it is, until relay.let_go()
    relay.garble(lambda data: data.replace(b"a", b"b"))     # or is something else
    relay.rewrite = lambda data: data.replace(b"a", b"b")   # what is said on any connection
"""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.servers.process import HOST

__all__ = ["Tampering", "tampering"]

#: So that what is held fills the server's own buffers soon: bytes.
_BUFFER: Final = 64 * 1024

#: How clients of Redis and of NATS say that they subscribe.
_SUBSCRIBES: Final = re.compile(rb"SUBSCRIBE\r\n|^SUB ", re.MULTILINE)

_Rewrite = Callable[[bytes], bytes]


class _Carried:
    """A connection. ``subscribed`` is whether its client ever subscribed to anything."""

    def __init__(self) -> None:
        self.subscribed = False
        self.rewrite: _Rewrite = bytes
        self.swallows = False
        self.swallowed = 0
        self.going = asyncio.Event()
        self.going.set()


class Tampering:
    """A relay to a server on a port of loopback."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.rewrite: _Rewrite = bytes
        self.connections = 0
        """How many there ever were."""
        self._target = target
        self._carried: set[_Carried] = set()
        self._ends: set[StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where clients of Redis find it."""
        return f"redis://{HOST}:{self.port}"

    @property
    def carried(self) -> int:
        """How many connections there are, with nothing left of those that ended."""
        return len(self._tasks)

    def swallow(self) -> int:
        """Lose what the server says from now on where somebody is subscribed: how many of them."""
        subscribed = self._subscribed()
        for each in subscribed:
            each.swallows = True
        return len(subscribed)

    def hold(self) -> int:
        """Keep back what the server says from now on where somebody is subscribed: how many."""
        subscribed = self._subscribed()
        for each in subscribed:
            each.going.clear()
        return len(subscribed)

    def garble(self, rewrite: _Rewrite) -> int:
        """Rewrite what the server says from now on where somebody is subscribed: how many."""
        subscribed = self._subscribed()
        for each in subscribed:
            each.rewrite = rewrite
        return len(subscribed)

    def let_go(self) -> None:
        """Carry on what was kept back."""
        for each in self._carried:
            each.going.set()

    async def carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        carried = _Carried()
        self.connections += 1
        try:
            there, back = await asyncio.open_connection(HOST, self._target, limit=_BUFFER)
        except OSError:
            writer.close()
            return
        self._carried.add(carried)
        self._ends |= {writer, back}
        await asyncio.gather(
            self._to_server(carried, reader, back), self._from_server(carried, there, writer)
        )
        self._carried.discard(carried)
        self._ends -= {writer, back}
        for end in (writer, back):
            with suppress(OSError):  # it was reset
                await end.wait_closed()

    async def aclose(self) -> None:
        """End all connections."""
        self.let_go()
        for end in self._ends:
            end.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _to_server(
        self, carried: _Carried, reader: StreamReader, writer: StreamWriter
    ) -> None:
        try:
            while data := await reader.read(_BUFFER):
                if _SUBSCRIBES.search(data):
                    carried.subscribed = True
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # either end went away
        finally:
            carried.going.set()
            writer.close()

    async def _from_server(
        self, carried: _Carried, reader: StreamReader, writer: StreamWriter
    ) -> None:
        try:
            while data := await reader.read(_BUFFER):
                await carried.going.wait()
                if carried.swallows:
                    carried.swallowed += len(data)
                    continue
                writer.write(carried.rewrite(self.rewrite(data)))
                await writer.drain()
        except ConnectionError:
            pass  # either end went away
        finally:
            writer.close()

    def _subscribed(self) -> list[_Carried]:
        return [each for each in self._carried if each.subscribed]


@asynccontextmanager
async def tampering(target: int) -> AsyncIterator[Tampering]:
    """A relay on a free port of loopback."""
    relay = Tampering(target)
    server = await asyncio.start_server(relay.carry, HOST, 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await relay.aclose()
        await server.wait_closed()
