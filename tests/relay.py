"""A TCP relay in front of a server, to do to a client what networks do.

async with relayed(url) as relay:
    async with connect(relay.url) as client:
        relay.cut()     # a TCP reset to both ends: what was under way is lost
        relay.stop()    # nothing is carried until relay.go_on()
"""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from yarl import URL

__all__ = ["Relay", "relayed"]

_LINGER: Final = struct.pack("ii", 1, 0)  # to close is to reset

#: What the system keeps of a connection to the server: bytes. So one that is stopped is soon full.
_BUFFER: Final = 4096


class Relay:
    """A relay to one server at a time."""

    def __init__(self, target: URL) -> None:
        self.target = target
        """Where new connections are carried to."""
        self.url = target
        """Where clients find it."""
        self._ends: set[StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._going = asyncio.Event()
        self._going.set()

    async def carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry one connection to the server."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        await asyncio.get_running_loop().sock_connect(sock, (self.target.host, self.target.port))
        there, back = await asyncio.open_connection(sock=sock, limit=_BUFFER)
        self._ends |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    def cut(self) -> None:
        """Reset all connections."""
        for end in self._ends:
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            end.transport.abort()

    def stop(self) -> None:
        """Carry nothing more for now."""
        self._going.clear()

    def go_on(self) -> None:
        """Carry on."""
        self._going.set()

    async def idle(self) -> None:
        """Wait until nothing is carried."""
        if self._carrying:
            await asyncio.wait(self._carrying)

    async def _pump(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._going.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # it was cut
        finally:
            self._ends.discard(writer)
            writer.close()


@asynccontextmanager
async def relayed(target: URL) -> AsyncIterator[Relay]:
    """A relay on a free port of 127.0.0.1."""
    relay = Relay(target)
    server = await asyncio.start_server(relay.carry, "127.0.0.1", 0)
    relay.url = target.with_port(server.sockets[0].getsockname()[1])
    try:
        yield relay
    finally:
        server.close()
        relay.go_on()
        relay.cut()
        await relay.idle()
        await server.wait_closed()
