"""What a connection that is not had is told by, beyond what the commands' own tests show."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from openapi.client import connect
from openapi.errors import ConnectionClosed


@asynccontextmanager
async def answering(answer: Callable[[str], bytes]) -> AsyncIterator[str]:
    """Answer every request with ``answer(URL)``, and reset the connection where that is nothing."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said = answer(url)
        writer.write(said)
        if not said:
            reset = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield url


async def failure(answer: Callable[[str], bytes]) -> str:
    """Why nobody can connect to a server that answers so, behind ``cannot connect to …``."""
    async with answering(answer) as url:
        with pytest.raises(ConnectionClosed) as caught:
            async with connect(url):
                pass  # pragma: no cover
    start = f"cannot connect to {url}: "
    assert caught.value.reason.startswith(start)
    return caught.value.reason.removeprefix(start)


async def test_redirects_without_an_end_are_told() -> None:
    text = "HTTP/1.1 302 Found\r\nLocation: {}\r\nConnection: close\r\n\r\n"
    assert await failure(lambda url: text.format(url).encode()) == "it redirects again and again"


async def test_a_connection_that_is_reset_is_told() -> None:
    assert await failure(lambda url: b"") == "Connection reset by peer"


async def test_an_answer_that_ends_before_it_is_one_is_told() -> None:
    told = "the server closed the connection without an answer"
    assert await failure(lambda url: b"HTTP/1.1 101 ") == told


async def test_a_name_that_no_resolver_takes_is_no_url() -> None:
    with pytest.raises(ValueError, match="'ws://a..b/' is no URL of a WebSocket: write ws://HOST"):
        async with connect("ws://a..b/"):
            pass  # pragma: no cover
