"""What is said on the wire, as types, and the native JSON dialect. See ``wire/README.md``.

A *codec* turns the text of one message into a frame and back. It is the only thing that differs
between the dialects; everything else sees frames.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from openapi.errors import CallFailed, ErrorCode, RpcError, Unserializable
from openapi.schema import encode_json

__all__ = [
    "Answer",
    "Call",
    "CallId",
    "Codec",
    "Error",
    "Failure",
    "JsonCodec",
    "Malformed",
    "Message",
    "ObjectCodec",
    "Reconnect",
    "read",
    "write",
]

CallId: TypeAlias = str | int

#: What a peer may use as an id: any string of 64 characters, any integer that JavaScript holds.
_Id: TypeAlias = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=0, le=2**53 - 1)]

INVALID: Final = "Invalid RPC parameters"
_NO_PAYLOAD: Final = Raw(b"{}")
_NULL: Final = Raw(b"null")


class Call(Struct, frozen=True, kw_only=True):
    """A call, or a notification where ``id`` is None. ``payload`` is JSON that nobody has read."""

    id: _Id | None
    method: str
    payload: Raw = _NO_PAYLOAD


class Answer(Struct, frozen=True, kw_only=True):
    """The success, and the end, of a call. ``response`` is JSON."""

    id: CallId
    method: str
    response: Raw

    @classmethod
    def of(cls, id: CallId, method: str, response: bytes) -> "Answer":
        """The answer whose response is JSON already."""
        return cls(id=id, method=method, response=Raw(response))


class Error(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a call failed. ``errors`` is ``{path: text}``, ``retry_after`` in milliseconds."""

    code: int
    message: str
    errors: dict[str, str] | UnsetType = UNSET
    data: Any = UNSET
    retry_after: int | UnsetType = UNSET

    @classmethod
    def of(cls, error: RpcError) -> "Error":
        """The body for an exception. Raises Unserializable for a code that is no integer."""
        try:
            code = int(error.code)
        except (TypeError, ValueError):
            raise Unserializable(f"an error code is an integer, {error.code!r} is none") from None
        return cls(
            code=code,
            message=error.message,
            errors=error.errors or UNSET,
            data=UNSET if error.data is None else error.data,
            retry_after=UNSET if error.retry_after is None else error.retry_after,
        )

    def failure(self) -> CallFailed:
        """The exception for whoever made the call."""
        return CallFailed(
            self.code,
            self.message,
            data=None if self.data is UNSET else self.data,
            errors=None if self.errors is UNSET else self.errors,
            retry_after=None if self.retry_after is UNSET else self.retry_after,
        )


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The failure, and the end, of a call; without id or method if they could not be read."""

    id: CallId | None | UnsetType = UNSET
    method: str | UnsetType = UNSET
    error: Error


class Message(Struct, frozen=True, kw_only=True):
    """A published message, or with an ``event`` that begins with ``$`` one of the server's own."""

    channel: str
    event: str
    data: Any


class Reconnect(Struct, frozen=True, kw_only=True):
    """The server is about to close with ``code``: come back after ``after`` milliseconds."""

    after: int
    code: int

    @property
    def body(self) -> dict[str, object]:
        """The frame's JSON form."""
        return {"event": "$reconnect", "data": {"after": self.after, "code": self.code}}


Outbound: TypeAlias = Answer | Failure | Message | Reconnect


class Malformed(Exception):
    """A message that is no call. ``failure`` says so to the peer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure: Failure = failure


class Codec(Protocol):
    """One dialect: the text of a message to a frame, and a frame to the bytes of a message."""

    def decode(self, text: str) -> Call:
        """Read one message. Raises Malformed, and RecursionError if it is nested too deeply."""

    def encode(self, frame: Outbound) -> bytes:
        """Write one message. Raises :class:`openapi.errors.Unserializable`."""


_decode_call: Final = msgspec.json.Decoder(Call).decode
_decode_any: Final = msgspec.json.Decoder().decode


class JsonCodec:
    """The native dialect, ``wsrpc.v1.json``: typed JSON in one pass."""

    __slots__ = ()

    def decode(self, text: str) -> Call:
        """See :meth:`Codec.decode`."""
        try:
            call = _decode_call(text)
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError):
            # Only a message that failed is looked at closely.
            return _call_of(_parse(text))
        return call if call.payload != _NULL else Call(id=call.id, method=call.method)

    def encode(self, frame: Outbound) -> bytes:
        """See :meth:`Codec.encode`."""
        return encode_json(frame.body if type(frame) is Reconnect else frame)


class ObjectCodec:
    """A dialect of an application's own: any text, as long as it stands for the same objects.

    ``decode_message`` is given the text and returns an object, ``encode_message`` is given one and
    returns the text; a ``ValueError`` of ``decode_message`` means that the text is no message.
    """

    __slots__ = ("_decode", "_encode")

    def __init__(
        self, decode_message: Callable[[str], object], encode_message: Callable[[Any], str]
    ) -> None:
        self._decode = decode_message
        self._encode = encode_message

    def decode(self, text: str) -> Call:
        """See :meth:`Codec.decode`."""
        try:
            # Through JSON: what has no JSON form (half a surrogate pair, say) could not be
            # answered later, nor handed to whoever subscribes.
            return JSON.decode(encode_json(self._decode(text)).decode())
        except (ValueError, Unserializable):
            raise _failed(ErrorCode.PARSE_ERROR, "JSON string expected") from None

    def encode(self, frame: Outbound) -> bytes:
        """See :meth:`Codec.encode`."""
        message = _decode_any(JSON.encode(frame))
        try:
            return self._encode(message).encode()
        except Exception as exc:
            # Whatever it is, the call that is answered is to end, and the cause to be logged.
            raise Unserializable(f"encode_message failed: {exc!r}") from exc


JSON: Final = JsonCodec()


def _failed(
    code: ErrorCode,
    message: str,
    errors: Mapping[str, str] | None = None,
    data: object = None,
    *,
    id: CallId | None | UnsetType = UNSET,
    method: str | UnsetType = UNSET,
) -> Malformed:
    error = RpcError(code, message, errors=errors, data=data)
    return Malformed(Failure(id=id, method=method, error=Error.of(error)))


def _parse(text: str) -> object:
    try:
        return _decode_any(text)
    except msgspec.DecodeError:
        raise _failed(ErrorCode.PARSE_ERROR, "JSON string expected") from None


def _call_of(message: object) -> Call:
    """Read a call from an object, naming everything that is wrong with it."""
    if not isinstance(message, dict):
        raise _failed(
            ErrorCode.INVALID_REQUEST,
            f"Malformed message; expected dictionary, got {type(message).__name__}",
        )
    errors: dict[str, str] = {}
    id_: CallId | None | UnsetType = UNSET
    method: str | UnsetType = UNSET
    if "id" not in message:
        errors["id"] = "required"
    else:
        try:
            id_ = msgspec.convert(message["id"], _Id | None)
        except msgspec.ValidationError:
            errors["id"] = (
                "expected an integer from 0 to 2^53-1, or a string of at most 64 characters"
            )
    if "method" not in message:
        errors["method"] = "required"
    elif isinstance(message["method"], str):
        method = message["method"]
    else:
        errors["method"] = "expected a string"
    if errors or id_ is UNSET or method is UNSET:
        raise _failed(ErrorCode.INVALID_REQUEST, INVALID, errors, id=id_, method=method)
    payload = message.get("payload")
    if payload is None:
        return Call(id=id_, method=method)
    return Call(id=id_, method=method, payload=Raw(encode_json(payload)))


class _Said(Struct, frozen=True):
    """Whatever a server says. Keys that are not here are passed over: a newer server has more."""

    id: CallId | None = None
    method: str = ""
    response: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    event: str | UnsetType = UNSET
    data: Raw = Raw(b"null")


_decode_said: Final = msgspec.json.Decoder(_Said).decode
_decode_error: Final = msgspec.json.Decoder(Error).decode
_decode_reconnect: Final = msgspec.json.Decoder(Reconnect).decode


def read(text: str) -> Outbound | None:
    """Read what a server says; None if it is nothing that is known here.

    The data of a :class:`Message` is a ``Raw``, JSON that nobody has read.
    """
    try:
        said = _decode_said(text)
        if said.error is not UNSET:
            return Failure(id=said.id, method=said.method, error=_error_of(said.error))
        if said.response is not UNSET and said.id is not None:
            return Answer(id=said.id, method=said.method, response=said.response)
        if said.event is UNSET:
            return None
        if said.channel is not UNSET:
            return Message(channel=said.channel, event=said.event, data=said.data)
        return _decode_reconnect(said.data) if said.event == "$reconnect" else None
    except (msgspec.DecodeError, RecursionError):
        return None


def write(id: CallId | None, method: str, payload: bytes) -> bytes:
    """Write a call, or with no id a notification. ``payload`` is JSON."""
    return encode_json(Call(id=id, method=method, payload=Raw(payload)))


def _error_of(raw: Raw) -> Error:
    try:
        return _decode_error(raw)
    except (msgspec.DecodeError, RecursionError):
        # Its call has ended all the same, and must not wait for ever.
        return Error(code=ErrorCode.INTERNAL_ERROR, message="The error cannot be read")
