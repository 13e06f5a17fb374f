"""Every exception of the library, and the one table of error and close codes.

OpenApiError
├── DeclarationError       a class, method or type was declared wrongly; raised when it is defined
├── InvalidData            data does not fit its type; names every faulty field
├── UnexpectedData         raised to who asked for a type: what came does not fit it
├── Unserializable         a value has no JSON form
├── RpcError               raised by a handler: the error that its caller shall get
│   └── BrokerUnavailable  what carries messages is away: try again later
├── CallFailed             raised by a client: the error that the server answered with
├── TooSlow                raised to a reader: it fell behind, and its subscription or stream ended
├── PositionLost           raised to a reader: messages are lost, and history cannot tell which
├── ConnectionClosed       the connection ended, or was refused, with a close code
│   └── HandshakeRefused   a server answered that it does not become a WebSocket
├── CannotPublish          a manager refuses to publish to a channel
├── CannotSubscribe        a manager refuses a subscription to a channel
└── ChannelCallbackError   raised by a channel callback that wants to be removed

``RpcError`` and ``CallFailed`` are no relatives on purpose, and neither are ``InvalidData`` and
``UnexpectedData``: what went wrong between a handler and another server must not become, unseen,
the answer to the handler's own caller.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

__all__ = [
    "BrokerUnavailable",
    "CallFailed",
    "CannotPublish",
    "CannotSubscribe",
    "ChannelCallbackError",
    "CloseCode",
    "ConnectionClosed",
    "DeclarationError",
    "ErrorCode",
    "HandshakeRefused",
    "InvalidData",
    "OpenApiError",
    "PositionLost",
    "RpcError",
    "TooSlow",
    "UnexpectedData",
    "Unserializable",
    "may_reconnect",
]


class ErrorCode(IntEnum):
    """The ``code`` of an error frame. JSON-RPC 2.0's numbers (section 5.1) where it has one."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMETERS = -32602
    INTERNAL_ERROR = -32603
    NOT_AUTHENTICATED = -32001
    NOT_ALLOWED = -32002
    RATE_LIMITED = -32003
    TOO_MANY_CALLS = -32004
    DEADLINE_EXCEEDED = -32005
    CANCELLED = -32006
    LIMIT_EXCEEDED = -32007
    BROKER_UNAVAILABLE = -32008
    SHUTTING_DOWN = -32009


class CloseCode(IntEnum):
    """Why a connection was closed: RFC 6455 section 7.4.1, and this library's own from 4000."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    NO_PONG = 4000
    CREDENTIALS_EXPIRED = 4001
    TOO_SLOW = 4008
    POSITION_LOST = 4010
    NOT_AUTHENTICATED = 4500
    NOT_ALLOWED = 4501
    TOO_MANY_CONNECTIONS = 4502
    TOO_MANY_ERRORS = 4503
    DISCONNECTED = 4504


_FINAL: Final = frozenset({CloseCode.NORMAL, CloseCode.PROTOCOL_ERROR, CloseCode.UNSUPPORTED_DATA})


def may_reconnect(code: int) -> bool:
    """Tell whether a client may come back after its connection was closed with ``code``."""
    return not (4500 <= code <= 4999 or code in _FINAL)


class OpenApiError(Exception):
    """The base of every exception of this library."""


class DeclarationError(OpenApiError, TypeError):
    """A class, a method or a type was declared wrongly. Raised when it is defined."""


class _FaultyData(OpenApiError, ValueError):
    """Data with the list of its faulty fields."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors: dict[str, str] = dict(errors)
        super().__init__(self.errors)

    def within(self, name: str) -> dict[str, str]:
        """The same faults as those of something bigger, in which the data has a name."""
        return {
            name + (path if path[:1] in ("", "[") else f".{path}"): text
            for path, text in self.errors.items()
        }

    def __str__(self) -> str:
        return "; ".join(f"{path}: {text}" if path else text for path, text in self.errors.items())


class InvalidData(_FaultyData):
    """Data does not fit its type.

    ``errors`` is ``{path: text}`` with every faulty field: ``{"items[1].price": "required"}``.
    The path of the data as a whole is the empty string.
    """


class UnexpectedData(_FaultyData):
    """What came does not fit the type asked for.

    Raised by a client, and by a subscription of the server's own.

    ``errors`` is that of :class:`InvalidData`, which is its cause; or ``{"": text}`` where the
    answer is of another kind than asked for, as a stream.
    """


class Unserializable(OpenApiError, TypeError):
    """A value has no JSON form."""


class _CodedError(OpenApiError):
    """An error with the fields that an error frame has."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        data: object = None,
        errors: Mapping[str, str] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code: int = code
        self.message: str = message
        self.data: object = data
        self.errors: dict[str, str] | None = dict(errors) if errors else None
        self.retry_after: int | None = retry_after

    def __str__(self) -> str:
        detail = "".join(f"; {path}: {text}" for path, text in (self.errors or {}).items())
        return f"{self.message} ({self.code}){detail}"


class RpcError(_CodedError):
    """The error that the caller of an RPC method shall get.

    ``code`` is the application's own integer, or one of :class:`ErrorCode`; ``data`` is anything
    that has a JSON form; ``errors`` is ``{path: text}``; ``retry_after`` is in milliseconds.
    """


class BrokerUnavailable(RpcError):
    """What carries messages between processes, or keeps them, is away or cannot take them now.

    Raised at once, by whatever needs it: nothing waits for the broker to come back. Whether what
    was asked for was done may be unknown: publish with a key to be able to try again. A handler
    that lets it pass answers its caller with -32008. ``retry_after`` is in milliseconds.
    """

    def __init__(
        self,
        message: str = "Messages cannot be carried now, try again later",
        *,
        retry_after: int = 1000,
    ) -> None:
        super().__init__(ErrorCode.BROKER_UNAVAILABLE, message, retry_after=retry_after)


class CallFailed(_CodedError):
    """The server answered a call with an error. The fields are those of :class:`RpcError`."""


class ConnectionClosed(OpenApiError, ConnectionError):
    """The connection is closed. ``code`` and ``reason`` are those of the closing frame.

    ``may_have_run`` is of a call that fails with it: whether it was sent, and so may have run, or
    may even run still. What was not sent has not.
    """

    def __init__(self, code: int, reason: str = "", *, may_have_run: bool = False) -> None:
        super().__init__(code, reason)
        self.code: int = code
        self.reason: str = reason
        self.may_have_run: bool = may_have_run

    def __str__(self) -> str:
        text = f"the connection is closed ({self.code}{', ' + self.reason if self.reason else ''})"
        return f"{text}; the call may have run" if self.may_have_run else text


class HandshakeRefused(ConnectionClosed):
    """A server answered with an HTTP status instead of becoming a WebSocket.

    ``status`` is that; ``retry_after``, in milliseconds, is when it wants to be asked again, if it
    said so.
    """

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(CloseCode.ABNORMAL, reason)
        self.status: int = status
        self.retry_after: int | None = retry_after


class TooSlow(OpenApiError):
    """More waited for the reader of a subscription, or of a stream, than may; it has ended."""


class PositionLost(OpenApiError):
    """Messages of a channel are lost to the reader of a subscription, nobody knows which.

    Load anew what they would have changed. What is published behind ``offset`` and ``epoch``, the
    position where the channel is now, comes as before.
    """

    def __init__(self, channel: str, offset: int, epoch: str) -> None:
        super().__init__(channel, offset, epoch)
        self.channel: str = channel
        self.offset: int = offset
        self.epoch: str = epoch

    def __str__(self) -> str:
        return (
            f"messages of the channel {self.channel!r} are lost: load its state anew, it goes on"
            f" behind offset {self.offset}"
        )


class CannotPublish(OpenApiError, RuntimeError):
    """Raised by :meth:`SocketsManager.publish` to refuse a channel."""


class CannotSubscribe(OpenApiError, RuntimeError):
    """Raised by :meth:`SocketsManager.subscribe` to refuse a channel."""


class ChannelCallbackError(OpenApiError, RuntimeError):
    """Raised by a channel callback to be removed from every channel."""
