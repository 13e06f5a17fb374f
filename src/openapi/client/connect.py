"""From a URL to a connected client."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http.client import responses
from typing import Final

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientWebSocketResponse,
    ClientWSTimeout,
    WSServerHandshakeError,
)
from yarl import URL

from openapi.client.client import Client
from openapi.errors import CloseCode, ConnectionClosed

__all__ = ["connect"]

SUBPROTOCOL: Final = "wsrpc.v1.json"


@asynccontextmanager
async def connect(
    url: str | URL,
    *,
    headers: Mapping[str, str] | None = None,
    session: ClientSession | None = None,
    open_timeout: float = 10.0,
    close_timeout: float = 5.0,
    heartbeat: float | None = 20.0,
    message_bytes: int = 4 * 1024 * 1024,
    queue_bytes: int = 1024 * 1024,
    calls: int = 64,
) -> AsyncIterator[Client]:
    """Connect to a WebSocket endpoint: ``async with connect("ws://…") as client``.

    Leaving it closes the connection, behind all that was sent.

    ``headers``
        of the request, for example an ``Authorization``.
    ``session``
        an aiohttp session to use, with its proxies, cookies and TLS settings; it is not closed.
    ``open_timeout``, ``close_timeout``
        how long the server may take to accept, and to say goodbye: seconds.
    ``heartbeat``
        seconds without a message after which the server is pinged; if it does not answer within
        half of that, the connection is closed with 1006. None: never.
    ``message_bytes``
        the longest message that the server may send; a longer one closes the connection, 1009.
    ``queue_bytes``
        what may wait to be sent; behind that, calls wait their turn.
    ``calls``
        calls in flight; behind that, calls wait their turn.

    Raises ConnectionClosed if the server cannot be reached or refuses, TimeoutError if it does not
    answer, ValueError for a URL that is none.
    """
    async with AsyncExitStack() as stack:
        if session is None:
            session = await stack.enter_async_context(ClientSession())
        opening = asyncio.timeout(open_timeout)
        try:
            async with opening:
                ws: ClientWebSocketResponse = await session.ws_connect(
                    _checked(url),
                    protocols=[SUBPROTOCOL],
                    headers=headers,
                    heartbeat=heartbeat,
                    autoping=False,
                    max_msg_size=message_bytes,
                    timeout=ClientWSTimeout(ws_receive=None, ws_close=close_timeout),
                )
        except WSServerHandshakeError as exc:
            refusal = f"{url} refused the connection: {exc.status} {responses.get(exc.status, '')}"
            raise ConnectionClosed(CloseCode.ABNORMAL, refusal) from exc
        except ClientConnectorError as exc:
            text = f"cannot connect to {url}: {_said(exc.os_error)}"
            raise ConnectionClosed(CloseCode.ABNORMAL, text) from exc
        except (ClientError, OSError) as exc:
            if opening.expired():
                raise TimeoutError(f"{url} did not answer within {open_timeout:g} seconds") from exc
            text = f"cannot connect to {url}: {str(exc) or type(exc).__name__}"
            raise ConnectionClosed(CloseCode.ABNORMAL, text) from exc
        client = Client(ws, calls=calls, queue_bytes=queue_bytes, close_timeout=close_timeout)
        running = asyncio.create_task(client.run())
        try:
            yield client
        finally:
            try:
                await client.close()
            finally:
                running.cancel()
                await asyncio.wait([running])
            if not running.cancelled():
                running.result()


def _checked(url: str | URL) -> URL:
    checked = URL(url)
    if checked.scheme not in ("ws", "wss", "http", "https") or not checked.host:
        raise ValueError(f"{str(url)!r} is no URL of a WebSocket: write ws://HOST:PORT/PATH")
    return checked


def _said(error: OSError) -> str:
    """``Connection refused``, without the addresses that were tried."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
