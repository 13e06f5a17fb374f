"""From a URL to an open WebSocket, and why there is none, in a sentence."""

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from inspect import isawaitable
from typing import Final, TypeAlias, TypeVar

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

from openapi.errors import CloseCode, ConnectionClosed, HandshakeRefused, may_reconnect
from openapi.rpc.asking import deadline

__all__ = [
    "Dialer",
    "Headers",
    "Made",
    "NotMade",
    "Url",
    "believed",
    "check_url",
    "may_try_again",
    "retry_after",
]

T = TypeVar("T")

Made: TypeAlias = T | Callable[[], T | Awaitable[T]]
"""A value, or a function, perhaps a coroutine function, that makes it for each attempt."""

Url: TypeAlias = Made[str | URL]
Headers: TypeAlias = Made[Mapping[str, str]] | None

_PASSING: Final = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses with which a server, or what is in front of it, says: not now."""

_LONGEST: Final = 3600
"""What is believed of a time that a server wants to be left alone: seconds."""

_SHOWN: Final = 100
"""How much is repeated of what is wrong with an answer: characters."""

_WRONG: Final = {
    "Invalid upgrade header": "without 'Upgrade: websocket'",
    "Invalid connection header": "without 'Connection: upgrade'",
    "Invalid challenge response": "with a Sec-WebSocket-Accept that does not fit",
}
"""What aiohttp says of a 101 that RFC 6455, section 4.1, forbids, and what it means."""


class NotMade(Exception):
    """A function of the application failed, for this ``reason``. It is no word of the server's."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason: Final = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialer:
    """How to connect. ``subprotocol`` is offered, and must be selected where it is ``packed``.

    The other fields are those of :func:`openapi.client.connect`.
    """

    session: ClientSession
    url: Url
    headers: Headers
    subprotocol: str
    packed: bool
    open_timeout: float
    close_timeout: float
    heartbeat: float | None
    message_bytes: int

    async def dial(self) -> ClientWebSocketResponse:
        """Make one attempt.

        Raises ConnectionClosed, HandshakeRefused, TimeoutError, ValueError for what is no URL, and
        NotMade where a function of the application fails that makes the URL or the headers.
        """
        url: str | URL = await _made(self.url)
        headers = await _made(self.headers)
        checked = check_url(url)
        async with deadline(self.open_timeout, f"{_shown(checked)} did not answer"):
            ws = await self._dial(checked, headers)
        if self.packed and ws.protocol != self.subprotocol:  # what selects none speaks JSON
            await ws.close(code=CloseCode.UNSUPPORTED_DATA)
            raise ConnectionClosed(
                CloseCode.UNSUPPORTED_DATA,
                f"{_shown(checked)} does not speak {self.subprotocol}:"
                " connect with encoding='json'",
            )
        return ws

    async def _dial(self, url: URL, headers: Mapping[str, str] | None) -> ClientWebSocketResponse:
        try:
            return await self.session.ws_connect(
                url,
                protocols=[self.subprotocol],
                headers=headers,
                heartbeat=self.heartbeat,
                autoping=False,
                max_msg_size=self.message_bytes,
                timeout=ClientWSTimeout(ws_receive=None, ws_close=self.close_timeout),
            )
        except WSServerHandshakeError as exc:
            if exc.status == 101:
                raise ConnectionClosed(CloseCode.ABNORMAL, _refusal(url, exc)) from exc
            after = _retry_after(exc.headers or {})
            raise HandshakeRefused(exc.status, _refusal(url, exc), retry_after=after) from exc
        except (ClientError, OSError) as exc:
            text = f"cannot connect to {_shown(url)}: {_failure(exc)}"
            raise ConnectionClosed(CloseCode.ABNORMAL, text) from exc
        except UnicodeError as exc:  # of the resolver: a name with a part too long, or with none
            raise ValueError(_no_url(url)) from exc


def may_try_again(exc: Exception) -> bool:
    """Whether another attempt makes sense behind one that ended so."""
    match exc:
        case HandshakeRefused(status=status):
            return status in _PASSING
        case ConnectionClosed(code=code):
            return may_reconnect(code)
    return True


def retry_after(exc: Exception) -> float:
    """How long the server wants to be left alone, in seconds."""
    return believed(exc.retry_after if isinstance(exc, HandshakeRefused) else None)


def believed(after: int | None) -> float:
    """How long a server wants to be left alone, in seconds, of its milliseconds: up to an hour."""
    return max(0, min(after or 0, _LONGEST * 1000)) / 1000


def check_url(url: str | URL) -> URL:
    """Raises ValueError for what is no URL of a WebSocket."""
    try:
        checked = URL(url)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{_no_url(url)} ({exc})") from exc
    if checked.scheme not in ("ws", "wss", "http", "https") or not checked.host:
        raise ValueError(_no_url(url))
    return checked


async def _made(value: Made[T]) -> T:
    if not callable(value):
        return value
    try:
        made = value()
        return await made if isawaitable(made) else made
    except Exception as exc:  # a function of the application: whatever it raises
        raise NotMade(exc) from exc


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Milliseconds: a number of seconds, or a date (RFC 9110, section 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _LONGEST) * 1000
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    seconds = (at - datetime.now(UTC)).total_seconds()
    return round(max(0.0, min(seconds, _LONGEST)) * 1000)


def _shown(url: URL) -> str:
    """An URL as it is told and logged: without what may be a secret, a password or a token."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def _no_url(url: str | URL) -> str:
    return f"{str(url)!r} is no URL of a WebSocket: write ws://HOST:PORT/PATH"


def _refusal(at: URL, exc: WSServerHandshakeError) -> str:
    """What a server answered instead of becoming a WebSocket, in a sentence."""
    url = _shown(at)
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
