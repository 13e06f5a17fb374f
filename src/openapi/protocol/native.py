"""The native frames, as JSON (``wsrpc.v1.json``) and as MessagePack (``wsrpc.v1.msgpack``).

What a client says and what a server says are read by two codecs: a server refuses what it cannot
read, and names all that is wrong with it; a client passes over what it does not know, for a newer
server says more.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from openapi.errors import ErrorCode, Unserializable
from openapi.protocol.frames import (
    INVALID,
    NO_PAYLOAD,
    Answer,
    Call,
    CallId,
    Cancel,
    Error,
    Failure,
    Frame,
    Item,
    Malformed,
    Message,
    Reconnect,
)
from openapi.schema import encode_json, encode_msgpack

__all__ = [
    "JSON",
    "JSON_CLIENT",
    "MSGPACK",
    "MSGPACK_CLIENT",
    "ClientCodec",
    "NativeCodec",
    "ObjectCodec",
]

#: What a peer may use as an id: any string of 64 characters, any integer that JavaScript holds.
Id: TypeAlias = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=0, le=2**53 - 1)]
#: How long a caller waits: milliseconds.
Timeout: TypeAlias = Annotated[int, Meta(ge=1, le=2**53 - 1)]

_NULL: Final = {False: Raw(b"null"), True: Raw(b"\xc0")}


class _Said(Call, frozen=True, kw_only=True):
    """What a client says. Other keys are passed over: a newer client says more.

    Most of it are calls, so it is one: no other object is made for these.
    """

    id: Id | None | UnsetType = UNSET  # type: ignore[assignment] # only what has them is handed on
    method: str | UnsetType = UNSET  # type: ignore[assignment] # likewise
    payload: Raw = NO_PAYLOAD
    timeout: Timeout | None = None
    cancel: bool = False
    response: Raw | UnsetType = UNSET
    error: Error | UnsetType = UNSET
    item: Raw | UnsetType = UNSET
    seq: int = 0


class _Heard(Struct, frozen=True):
    """What a server says."""

    id: CallId | None | UnsetType = UNSET
    method: str | UnsetType = UNSET
    payload: Raw = NO_PAYLOAD
    timeout: Timeout | None = None
    cancel: bool = False
    response: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    item: Raw | UnsetType = UNSET
    seq: int = 0
    channel: str | UnsetType = UNSET
    event: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    offset: int = 0


class NativeCodec:
    """What a server reads and writes: typed, in one pass."""

    __slots__ = ("_any", "_encode", "_null", "_said", "_write", "packed")

    def __init__(self, *, packed: bool) -> None:
        self.packed: Final = packed
        self._encode = encode_msgpack if packed else encode_json
        encoder = msgspec.msgpack.Encoder if packed else msgspec.json.Encoder
        self._write: Callable[[Answer], bytes] = encoder().encode
        self._null = _NULL[packed]
        self._said: Callable[[str | bytes], _Said] = _decoder(_Said, packed)
        self._any: Callable[[str | bytes], Any] = _decoder(Any, packed)

    def decode(self, message: str | bytes) -> Frame:
        """See :meth:`Codec.decode`."""
        try:
            said = self._said(message)
        except _UNREAD:
            # Only a message that failed is looked at closely.
            return self._frame_of(self._parse(message))
        id, method = said.id, said.method
        if (
            said.error is said.response is said.item is UNSET
            and method is not UNSET
            and id is not UNSET
        ):
            if said.payload != self._null:
                return said  # nearly every message ends here
            return Call(id=id, method=method, timeout=said.timeout)
        if said.error is not UNSET:
            return Failure(id=id, error=said.error)
        if said.response is not UNSET:
            if isinstance(id, str | int):
                return Answer(id=id, response=said.response)
        elif said.item is not UNSET:
            if isinstance(id, str | int):
                return Item(id=id, method=method or "", item=said.item, seq=said.seq)
        elif said.cancel and isinstance(id, str | int):
            return Cancel(id=id)
        return self._frame_of(self._parse(message))

    def encode(self, frame: Frame) -> bytes:
        """See :meth:`Codec.encode`."""
        return self._encode(frame.body if type(frame) is Reconnect else frame)

    def answer(self, id: CallId, method: str, response: bytes) -> bytes:
        """See :meth:`Codec.answer`."""
        return self._write(Answer(id=id, method=method, response=Raw(response)))

    def _parse(self, message: str | bytes) -> object:
        try:
            return self._any(message)
        except (msgspec.DecodeError, UnicodeError):
            expected = "MessagePack" if self.packed else "JSON string"
            raise Malformed.of(ErrorCode.PARSE_ERROR, f"{expected} expected") from None

    def _frame_of(self, message: object) -> Frame:
        """Read a frame from an object, naming everything that is wrong with it."""
        if not isinstance(message, dict):
            raise Malformed.of(
                ErrorCode.INVALID_REQUEST,
                f"Malformed message; expected dictionary, got {type(message).__name__}",
            )
        errors: dict[str, str] = {}
        id, method, timeout = _id_of(message, errors), message.get("method", UNSET), None
        if "error" in message or "response" in message or "item" in message:
            if isinstance(id, str | int):
                return self._answer_of(id, message)
            if "error" in message:  # peers that answer errors with errors would never stop
                raise Malformed(None)
            errors.setdefault("id", _NO_ID)
        elif "method" not in message and message.get("cancel") is True:
            if isinstance(id, str | int):
                return Cancel(id=id)
            errors.setdefault("id", _NO_ID)
        else:
            if "method" not in message:
                errors["method"] = "required"
            elif not isinstance(method, str):
                errors["method"] = "expected a string"
            try:
                timeout = msgspec.convert(message.get("timeout"), Timeout | None)
            except msgspec.ValidationError:
                errors["timeout"] = "expected milliseconds, an integer from 1"
        method = method if isinstance(method, str) else UNSET
        if errors or id is UNSET or method is UNSET:
            raise Malformed.of(ErrorCode.INVALID_REQUEST, INVALID, errors, id=id, method=method)
        payload = message.get("payload")
        raw = NO_PAYLOAD if payload is None else Raw(self._encode(payload))
        return Call(id=id, method=method, payload=raw, timeout=timeout)

    def _answer_of(self, id: CallId, message: dict[str, Any]) -> Frame:
        if "error" in message:
            try:
                return Failure(id=id, error=msgspec.convert(message["error"], Error))
            except msgspec.ValidationError:
                return Failure(id=id, error=_UNREADABLE)
        if "response" in message:
            return Answer(id=id, response=Raw(self._encode(message["response"])))
        return Item(id=id, method="", item=Raw(self._encode(message["item"])), seq=0)


class ClientCodec:
    """What a client reads and writes. What it cannot read is not answered.

    The data of a :class:`Message` is a ``Raw`` that nobody has read.
    """

    __slots__ = ("_error", "_heard", "_null", "_reconnect", "answer", "encode", "packed")

    def __init__(self, native: NativeCodec) -> None:
        self.packed: Final = native.packed
        self.encode: Final = native.encode
        self.answer: Final = native.answer
        self._null = _NULL[native.packed]
        self._heard: Callable[[str | bytes], _Heard] = _decoder(_Heard, native.packed)
        self._error: Callable[[Raw], Error] = _decoder(Error, native.packed)
        self._reconnect: Callable[[Raw], Reconnect] = _decoder(Reconnect, native.packed)

    def decode(self, message: str | bytes) -> Frame:
        """See :meth:`Codec.decode`. All that it raises is Malformed, without a failure."""
        try:
            frame = self._frame_of(self._heard(message))
        except _UNREAD:
            frame = None
        if frame is None:
            raise Malformed(None)
        return frame

    def _frame_of(self, heard: _Heard) -> Frame | None:
        id, method = heard.id, heard.method
        if heard.error is not UNSET:
            return Failure(id=id, method=method, error=self._error_of(heard.error))
        if isinstance(id, str | int):
            if heard.response is not UNSET:
                return Answer(id=id, method=method, response=heard.response)
            if heard.item is not UNSET:
                return Item(id=id, method=method or "", item=heard.item, seq=heard.seq)
            if heard.cancel:
                return Cancel(id=id)
        elif heard.response is not UNSET or heard.item is not UNSET:
            return None
        if method is not UNSET and id is not UNSET:
            payload = heard.payload if heard.payload != self._null else NO_PAYLOAD
            return Call(id=id, method=method, payload=payload, timeout=heard.timeout)
        if heard.event is UNSET:
            return None
        data = self._null if heard.data is UNSET else heard.data
        if heard.channel is not UNSET:
            return Message(channel=heard.channel, event=heard.event, data=data, offset=heard.offset)
        return self._reconnect(data) if heard.event == "$reconnect" else None

    def _error_of(self, raw: Raw) -> Error:
        try:
            return self._error(raw)
        except _UNREAD:
            # Its call has ended all the same, and must not wait for ever.
            return _UNREADABLE


class ObjectCodec:
    """A dialect of an application's own: any text, as long as it stands for the same objects.

    ``decode_message`` is given the text and returns an object, ``encode_message`` is given one and
    returns the text; a ``ValueError`` of ``decode_message`` means that the text is no message.
    """

    __slots__ = ("_decode", "_encode")

    packed: Final = False

    def __init__(
        self, decode_message: Callable[[str], object], encode_message: Callable[[Any], str]
    ) -> None:
        self._decode = decode_message
        self._encode = encode_message

    def decode(self, message: str | bytes) -> Frame:
        """See :meth:`Codec.decode`."""
        try:
            # Through JSON: what has no JSON form (half a surrogate pair, say) could not be
            # answered later, nor handed to whoever subscribes.
            return JSON.decode(encode_json(self._decode(cast("str", message))).decode())
        except (ValueError, Unserializable):
            raise Malformed.of(ErrorCode.PARSE_ERROR, "JSON string expected") from None

    def answer(self, id: CallId, method: str, response: bytes) -> bytes:
        """See :meth:`Codec.answer`."""
        return self.encode(Answer.of(id, method, response))

    def encode(self, frame: Frame) -> bytes:
        """See :meth:`Codec.encode`."""
        message = msgspec.json.decode(JSON.encode(frame))
        try:
            return self._encode(message).encode()
        except Exception as exc:
            # Whatever it is, the call that is answered is to end, and the cause to be logged.
            raise Unserializable(f"encode_message failed: {exc!r}") from exc


#: What a decoder raises. Strings of MessagePack may be no UTF-8, of which msgspec says it so.
_UNREAD: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
_NO_ID: Final = "expected an integer from 0 to 2^53-1, or a string of at most 64 characters"
_UNREADABLE: Final = Error(code=ErrorCode.INTERNAL_ERROR, message="The error cannot be read")


def _id_of(message: dict[str, Any], errors: dict[str, str]) -> CallId | None | UnsetType:
    if "id" not in message:
        errors["id"] = "required"
        return UNSET
    try:
        id: CallId | None = msgspec.convert(message["id"], Id | None)
    except msgspec.ValidationError:
        errors["id"] = _NO_ID
        return UNSET
    return id


def _decoder(hint: Any, packed: bool) -> Callable[[Any], Any]:
    decoder = msgspec.msgpack.Decoder if packed else msgspec.json.Decoder
    return decoder(hint).decode


JSON: Final = NativeCodec(packed=False)
MSGPACK: Final = NativeCodec(packed=True)
JSON_CLIENT: Final = ClientCodec(JSON)
MSGPACK_CLIENT: Final = ClientCodec(MSGPACK)
