"""TLS in front of a server that has none: valkey-server of the wheel is built without.

    async with encrypted(server.port) as port:
        broker = RedisBroker(f"rediss://localhost:{port}?ssl_ca_certs={AUTHORITY}")

The certificate is for localhost and 127.0.0.1, by an authority that nobody else trusts. Both are
good until 2120, and protect nothing.
"""

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.servers.process import HOST

__all__ = ["AUTHORITY", "CERTIFICATE", "encrypted"]

_FOLDER: Final = Path(__file__).with_name("tls")

AUTHORITY: Final = _FOLDER / "authority.pem"
"""The certificate of the authority."""
CERTIFICATE: Final = _FOLDER / "server.pem"
"""The certificate of the server, and its key."""

_CHUNK: Final = 65536


@asynccontextmanager
async def encrypted(target: int) -> AsyncIterator[int]:
    """A port of loopback that speaks TLS and carries what is said to another port."""
    carrying: set[asyncio.Task[None]] = set()
    ends: set[StreamWriter] = set()

    async def carry(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        carrying.add(task)
        task.add_done_callback(carrying.discard)
        there, back = await asyncio.open_connection(HOST, target)
        ends.update({writer, back})
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = await asyncio.start_server(carry, HOST, 0, ssl=context)
    port: int = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        for end in ends:
            end.transport.abort()
        if carrying:
            await asyncio.wait(carrying)
        await server.wait_closed()


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass  # either end went away
    finally:
        writer.close()
