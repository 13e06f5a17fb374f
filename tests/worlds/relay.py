"""A relay that goes half-open, as networks do when a machine is carried away from one."""

import asyncio
from asyncio import StreamReader, StreamWriter
from typing import Self

from yarl import URL

from tests.relay import Relay

__all__ = ["LossyRelay"]


class LossyRelay(Relay):
    """A relay to one server that may be away. Enter it to have it listen on a free port."""

    def __init__(self, target: URL) -> None:
        super().__init__(target)
        self.taken = 0
        """How many connections were made to it, whether the server was there or not."""
        self._lost = asyncio.Event()
        self._over = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        self.url = self.target.with_port(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._over.set()
        self.cut()
        await self.idle()
        await self._server.wait_closed()

    async def carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry one connection to the server, or reset it where that is away."""
        self.taken += 1
        try:
            await super().carry(reader, writer)
        except ConnectionError:
            writer.transport.abort()

    def lose(self) -> None:
        """Let all that comes over the connections of now be lost, and tell neither end.

        Later ones are carried.
        """
        self._lost.set()
        self._lost = asyncio.Event()

    async def _pump(self, reader: StreamReader, writer: StreamWriter) -> None:
        lost = self._lost
        try:
            while data := await reader.read(65536):
                if not lost.is_set():
                    writer.write(data)
                    await writer.drain()
            if lost.is_set():
                await self._over.wait()  # that this end has closed is lost, too
        except ConnectionError:
            pass  # it was cut
        finally:
            self._ends.discard(writer)
            writer.close()
