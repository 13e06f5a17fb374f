"""TLS in front of a server that has none, with a certificate of an authority made for the test.

async with tls_front(server.port) as front:
    f"rediss://localhost:{front.port}?ssl_ca_certs={front.authority}"
"""

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

__all__ = ["TlsFront", "tls_front"]


@dataclass(frozen=True, slots=True)
class TlsFront:
    """Where it listens, for ``localhost``."""

    port: int
    authority: Path
    """The certificate of who vouches for it, in PEM."""


@asynccontextmanager
async def tls_front(port: int) -> AsyncIterator[TlsFront]:
    """Carry TLS connections to a port of this machine."""

    async def pump(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def carry(reader: StreamReader, writer: StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(file)
        server = await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context)
        async with server:
            yield TlsFront(server.sockets[0].getsockname()[1], file)
