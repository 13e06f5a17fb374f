"""From a URL to a connected client."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http.client import responses
from typing import Final, Literal

from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponseError,
    ClientSession,
    ClientWebSocketResponse,
    ClientWSTimeout,
    RedirectClientError,
    ServerDisconnectedError,
    TooManyRedirects,
    WSServerHandshakeError,
)
from yarl import URL

from openapi.client.client import Client
from openapi.client.handlers import Handler, method_of
from openapi.errors import CloseCode, ConnectionClosed
from openapi.protocol.methods import MethodTable
from openapi.protocol.native import JSON_CLIENT, MSGPACK_CLIENT

__all__ = ["connect"]

_CODECS: Final = {
    "json": ("wsrpc.v1.json", JSON_CLIENT),
    "msgpack": ("wsrpc.v1.msgpack", MSGPACK_CLIENT),
}
"""What an encoding is called as a subprotocol, and what speaks it."""

_SHOWN: Final = 100
"""How much is repeated of what is wrong with an answer: characters."""

_WRONG: Final = {
    "Invalid upgrade header": "without 'Upgrade: websocket'",
    "Invalid connection header": "without 'Connection: upgrade'",
    "Invalid challenge response": "with a Sec-WebSocket-Accept that does not fit",
}
"""What aiohttp says of a 101 that RFC 6455, section 4.1, forbids, and what it means."""


@asynccontextmanager
async def connect(
    url: str | URL,
    *,
    headers: Mapping[str, str] | None = None,
    session: ClientSession | None = None,
    encoding: Literal["json", "msgpack"] = "json",
    serve: Mapping[str, Handler] | None = None,
    open_timeout: float = 10.0,
    close_timeout: float = 5.0,
    heartbeat: float | None = 20.0,
    message_bytes: int = 4 * 1024 * 1024,
    queue_bytes: int = 1024 * 1024,
    calls: int = 64,
) -> AsyncIterator[Client]:
    """Connect to a WebSocket endpoint: ``async with connect("ws://…") as client``.

    Leaving it closes the connection, behind all that was sent, and waits for the handlers of calls
    of the server, which are cancelled.

    ``headers``
        of the request, for example an ``Authorization``.
    ``session``
        an aiohttp session to use, with its proxies, cookies and TLS settings; it is not closed.
    ``encoding``
        ``"json"``, or ``"msgpack"``: with it bytes, dates and large integers stay what they are.
    ``serve``
        functions that the server may call, by method: see :meth:`Client.serve`.
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

    Raises ConnectionClosed if the server cannot be reached or refuses, or does not speak the
    encoding; TimeoutError if it does not answer, ValueError for a URL or an encoding that is none,
    DeclarationError for a function that cannot serve.
    """
    if encoding not in _CODECS:
        raise ValueError(f"there is no encoding {encoding!r}: it is 'json' or 'msgpack'")
    subprotocol, codec = _CODECS[encoding]
    methods = MethodTable({name: method_of(name, each) for name, each in (serve or {}).items()})
    async with AsyncExitStack() as stack:
        if session is None:
            session = await stack.enter_async_context(ClientSession())
        opening = asyncio.timeout(open_timeout)
        try:
            async with opening:
                ws: ClientWebSocketResponse = await session.ws_connect(
                    _checked(url),
                    protocols=[subprotocol],
                    headers=headers,
                    heartbeat=heartbeat,
                    autoping=False,
                    max_msg_size=message_bytes,
                    timeout=ClientWSTimeout(ws_receive=None, ws_close=close_timeout),
                )
        except WSServerHandshakeError as exc:
            raise ConnectionClosed(CloseCode.ABNORMAL, _refusal(url, exc)) from exc
        except (ClientError, OSError) as exc:
            if opening.expired():
                raise TimeoutError(f"{url} did not answer within {open_timeout:g} seconds") from exc
            text = f"cannot connect to {url}: {_failure(exc)}"
            raise ConnectionClosed(CloseCode.ABNORMAL, text) from exc
        except UnicodeError as exc:  # of the resolver: a name with a part too long, or with none
            raise ValueError(_no_url(url)) from exc
        if codec.packed and ws.protocol != subprotocol:  # what selects none speaks JSON
            await ws.close(code=CloseCode.UNSUPPORTED_DATA)
            raise ConnectionClosed(
                CloseCode.UNSUPPORTED_DATA,
                f"{url} does not speak {subprotocol}: connect with encoding='json'",
            )
        client = Client(
            ws,
            codec=codec,
            methods=methods,
            calls=calls,
            queue_bytes=queue_bytes,
            close_timeout=close_timeout,
        )
        running = asyncio.create_task(client.run())
        try:
            yield client
        finally:
            try:
                await client.close()
                await asyncio.wait([running])
            finally:
                running.cancel()
                await asyncio.wait([running])
            running.result()


def _checked(url: str | URL) -> URL:
    checked = URL(url)
    if checked.scheme not in ("ws", "wss", "http", "https") or not checked.host:
        raise ValueError(_no_url(url))
    return checked


def _no_url(url: str | URL) -> str:
    return f"{str(url)!r} is no URL of a WebSocket: write ws://HOST:PORT/PATH"


def _refusal(url: str | URL, exc: WSServerHandshakeError) -> str:
    """What a server answered instead of becoming a WebSocket, in a sentence."""
    if exc.status == 101:
        return (
            f"{url} answered the handshake wrongly, {_WRONG.get(exc.message, exc.message)}:"
            " it is no WebSocket server, or a proxy in between is at fault"
        )
    answer = f"{exc.status} {responses.get(exc.status, '')}".rstrip()
    if exc.status < 300:
        return f"{url} is no WebSocket, it answered {answer}: check the path"
    return f"{url} refused the connection: {answer}"


def _failure(exc: ClientError | OSError) -> str:
    """Why there is no connection, and what to do where something can be done."""
    match exc:
        case ClientConnectorDNSError():
            return f"the host {exc.host!r} is not found, {_said(exc.os_error)}; check its name"
        case ClientConnectorError(os_error=ssl.SSLCertVerificationError() as error):
            return f"its certificate is not valid, {error.verify_message}"
        case ClientConnectorError(os_error=ssl.SSLError() as error):
            return f"TLS failed, {error.reason}; check the port, and whether it is ws:// or wss://"
        case ClientConnectorError():
            return _said(exc.os_error)
        case TooManyRedirects():
            return "it redirects again and again"
        case RedirectClientError():
            return f"it redirects to {str(exc)!r}, which is no URL of HTTP"
        case ClientResponseError():
            why = exc.message.partition("\n")[0].rstrip(":")[:_SHOWN]
            return f"the answer cannot be read as HTTP ({why}); check the host and the port"
        case ServerDisconnectedError():
            return "the server closed the connection without an answer"
        case OSError():
            return _said(exc)
        case _:
            return str(exc) or type(exc).__name__


def _said(error: OSError) -> str:
    """``Connection refused``, without the addresses that were tried."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
