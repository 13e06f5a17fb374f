"""The opening handshake (RFC 6455 section 4.2): a request's headers to an answer, or a refusal."""

import re
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Final, Protocol

from .deflate import Deflate

__all__ = ["Accepted", "Headers", "Refused", "check_origins", "negotiate"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_ELEMENTS: Final = 64
"""Elements of a header's list that are looked at, so that 8 KiB of commas cost nothing."""

_ORIGIN: Final = re.compile(
    r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII
)
_SCHEMES: Final = {"ws": "http", "wss": "https"}
_PORTS: Final = {"http": 80, "https": 443}

_NO_WEBSOCKET: Final = "Unable to open websocket connection"


class Headers(Protocol):
    """A multidict whose keys have no case, such as aiohttp's ``request.headers``."""

    def getall(self, key: str, default: list[str], /) -> list[str]: ...


class Refused(Exception):
    """The request gets no WebSocket but an HTTP response, of these parts."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.headers: dict[str, str] = headers or {}

    def __str__(self) -> str:
        return f"{self.message} ({self.status})"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Answer with status 101 and these ``headers``."""

    headers: dict[str, str]
    subprotocol: str | None
    deflate: Deflate | None


def check_origins(origins: Collection[str]) -> None:
    """Tell a wrong allow-list when it is written, not by refusals.

    Raises:
        ValueError: an entry can never match, as with a path or a ``/`` at its end.
    """
    if isinstance(origins, str):
        raise ValueError(f"origins is the string {origins!r}; give a list: [{origins!r}]")
    for origin in origins:
        if origin not in ("*", "null") and _normal(origin) is None:
            raise ValueError(
                f"{origin!r} is no origin; write scheme://host or scheme://host:port, "
                "such as 'https://example.com', or '*' for all"
            )


def negotiate(
    method: str,
    headers: Headers,
    *,
    scheme: str,
    host: str,
    origins: Collection[str] | None,
    subprotocols: Sequence[str],
    deflate: bool,
) -> Accepted:
    """Answer a request to open a WebSocket.

    ``scheme`` and ``host`` are those that the client used (``https``, ``example.com:8443``).
    ``origins``: whose pages may connect, as in ``https://example.com``; ``*`` is all of them; None
    is only the server's own. A request without ``Origin`` is no browser's and passes.
    ``subprotocols``: those that the server knows; the client's order decides. ``deflate``: whether
    to accept permessage-deflate.

    Raises:
        Refused: 400 for what is no proper request, 403 for the origin, 426 for the version.
    """
    if "websocket" not in _tokens(headers, "Upgrade") or "upgrade" not in _tokens(
        headers, "Connection"
    ):
        raise Refused(400, _NO_WEBSOCKET)
    if method != "GET":
        raise Refused(400, "A WebSocket is opened with the method GET")
    if headers.getall("Sec-WebSocket-Version", []) != ["13"]:
        raise Refused(
            426,
            "Sec-WebSocket-Version must be 13",
            {"Sec-WebSocket-Version": "13", "Upgrade": "websocket", "Connection": "Upgrade"},
        )
    accept = _accept(headers.getall("Sec-WebSocket-Key", []))
    _check_origin(headers.getall("Origin", []), scheme, host, origins)
    answer = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
    subprotocol = next(
        (name for name in _elements(headers, "Sec-WebSocket-Protocol") if name in subprotocols),
        None,
    )
    if subprotocol is not None:
        answer["Sec-WebSocket-Protocol"] = subprotocol
    agreed = Deflate.negotiate(_elements(headers, "Sec-WebSocket-Extensions")) if deflate else None
    if agreed is not None:
        answer["Sec-WebSocket-Extensions"] = agreed.response
    return Accepted(answer, subprotocol, agreed)


def _elements(headers: Headers, name: str) -> Iterator[str]:
    """Walk the elements of a header that is a list, over all its lines, up to a bound."""
    left = _ELEMENTS
    for line in headers.getall(name, []):
        for element in line.split(",", left)[:left]:
            yield element.strip(" \t")
            left -= 1


def _tokens(headers: Headers, name: str) -> set[str]:
    return {element.lower() for element in _elements(headers, name)}


def _accept(keys: list[str]) -> str:
    """Answer the client's key (RFC 6455 section 4.2.2)."""
    key = keys[0] if len(keys) == 1 else ""
    try:
        nonce = b64decode(key, validate=True)
    except ValueError:  # also of what is not ASCII
        nonce = b""
    if len(nonce) != 16:
        raise Refused(400, "Sec-WebSocket-Key must be 16 bytes in Base64, once")
    return b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def _check_origin(sent: list[str], scheme: str, host: str, origins: Collection[str] | None) -> None:
    """Hold the origin against the allow-list, or against the server's own (RFC 6454)."""
    if not sent or (origins is not None and "*" in origins):
        return
    if len(sent) > 1:
        raise Refused(403, "Origin must not be sent twice")
    origin = _normal(sent[0]) or sent[0]
    if origins is None:
        if origin == _normal(f"{scheme}://{host}"):
            return
    elif any(origin == (_normal(allowed) or allowed) for allowed in origins):
        return
    raise Refused(403, "This Origin may not open a WebSocket here; the server must allow it")


def _normal(origin: str) -> str | None:
    """Bring an origin into one form. None if it is none, as ``null`` is not."""
    # Some letters that are not ASCII become ASCII ones in lower case, U+212A for one.
    match = _ORIGIN.fullmatch(origin.lower()) if origin.isascii() else None
    if match is None:
        return None
    scheme, host, port = match.groups()
    scheme = _SCHEMES.get(scheme, scheme)
    if port is None or int(port) == _PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}"
