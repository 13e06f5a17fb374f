"""The JSON-RPC 2.0 dialect (``jsonrpc2.0``), see https://www.jsonrpc.org/specification.

A server reads and writes it; its peers are whatever clients there are. What the specification
leaves open, or has no place for, is decided in ``wire/README.md``.

Inside of this module what is no frame is returned, not raised: a batch may have many of them.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from openapi.errors import ErrorCode
from openapi.protocol.frames import (
    INVALID,
    NO_PAYLOAD,
    Answer,
    Batch,
    Call,
    CallId,
    Cancel,
    Error,
    Failure,
    Frame,
    Item,
    Malformed,
    Message,
)
from openapi.protocol.native import Timeout
from openapi.schema import encode_json

__all__ = ["JSONRPC", "NULL_ID", "JsonRpcCodec", "is_jsonrpc"]

T = TypeVar("T")

#: Stands for the id of a call whose id is null, which is answered, unlike a notification, which
#: has none. No peer can say it: it is longer than an id may be.
NULL_ID: Final = "null" * 17

#: What a peer may use as an id; an integer must be less than ``_ENDLESS`` besides.
Id: TypeAlias = Annotated[str, Meta(max_length=64)] | int | float | None
#: Infinite, where numbers are doubles. 1e400 is no number to msgspec either.
_ENDLESS: Final = 2**1024

_CANCEL: Final = "$/cancelRequest"
_BLANKS: Final = " \t\n\r"
_NULL: Final = Raw(b"null")
_NO_ID: Final = "expected a number, or a string of at most 64 characters"
_BY_POSITION: Final = "expected an object: parameters are taken by name, not by position"
_UNREADABLE: Final = Error(code=ErrorCode.INTERNAL_ERROR, message="The error cannot be read")

# What a client says. Other members are passed over.


class _Version(Struct, frozen=True):
    jsonrpc: Any = None


class _Request(Struct, frozen=True):
    jsonrpc: Literal["2.0"]
    method: str
    params: Raw = NO_PAYLOAD
    id: Id | UnsetType = UNSET
    timeout: Timeout | None = None


class _Unwanted(Struct, frozen=True):
    """The parameters of ``$/cancelRequest``."""

    id: Id


class _Error(Struct, frozen=True, omit_defaults=True):
    """The error object of section 5.1, with all that it has."""

    code: int
    message: str
    data: Any = UNSET


# What a server says. The tag is the first member.


class _Asked(Struct, frozen=True, omit_defaults=True, tag_field="jsonrpc", tag="2.0"):
    method: str
    params: object = UNSET
    timeout: int | None = None
    id: CallId | None | UnsetType = UNSET


class _Answered(Struct, frozen=True, tag_field="jsonrpc", tag="2.0"):
    result: Raw
    id: CallId | None


class _Failed(Struct, frozen=True, tag_field="jsonrpc", tag="2.0"):
    error: _Error
    id: CallId | None


def _decoder(hint: Any) -> Callable[[str | Raw], Any]:
    return msgspec.json.Decoder(hint).decode


_decode_value: Callable[[str | Raw], Raw] = _decoder(Raw)
_decode_elements: Callable[[str | Raw], list[Raw]] = _decoder(list[Raw])
_decode_members: Callable[[str | Raw], dict[str, Raw]] = _decoder(dict[str, Raw])
_decode_version: Callable[[str | Raw], _Version] = _decoder(_Version)
_decode_request: Callable[[str | Raw], _Request] = _decoder(_Request)
_decode_unwanted: Callable[[Raw], _Unwanted] = _decoder(_Unwanted)
_decode_error: Callable[[Raw], _Error] = _decoder(_Error)
_decode_string: Callable[[Raw], str] = _decoder(str)
_decode_id: Callable[[Raw], CallId | None] = _decoder(Id)
_decode_timeout: Callable[[Raw], int | None] = _decoder(Timeout | None)
_decode_literal: Callable[[Raw], str] = _decoder(Literal["2.0"])


class JsonRpcCodec:
    """What a server reads and writes."""

    __slots__ = ()

    packed: Final = False

    def decode(self, message: str | bytes) -> Frame | Batch:
        """See :meth:`Codec.decode`. A batch is not bounded here."""
        text = cast("str", message).lstrip(_BLANKS)
        found = _batch_of(text) if text.startswith("[") else _frame_of(text)
        if isinstance(found, Malformed):
            raise found
        return found

    def encode(self, frame: Frame) -> bytes:
        """See :meth:`Codec.encode`."""
        return encode_json(_form_of(frame))

    def answer(self, id: CallId, method: str, response: bytes) -> bytes:
        """See :meth:`Codec.answer`."""
        return self.encode(Answer.of(id, method, response))


JSONRPC: Final = JsonRpcCodec()


def is_jsonrpc(text: str) -> bool:
    """Tell whether a message is one of JSON-RPC 2.0, and not of the native frames.

    It is if it is an object with ``"jsonrpc": "2.0"``, or an array whose first element is one.
    """
    if '"jsonrpc"' not in text:  # nearly every native message ends here
        return False
    try:
        is_batch = text.lstrip(_BLANKS).startswith("[")
        first = _decode_version(_decode_elements(text)[0] if is_batch else text)
    except (msgspec.DecodeError, UnicodeError, RecursionError, IndexError):
        return False
    return bool(first.jsonrpc == "2.0")


def _batch_of(text: str) -> Batch | Malformed:
    try:
        elements = _decode_elements(text)
    except msgspec.DecodeError:
        return Malformed.of(ErrorCode.PARSE_ERROR, "JSON string expected")
    if not elements:
        return Malformed.of(ErrorCode.INVALID_REQUEST, "Malformed message; the batch is empty")
    return Batch(elements, _frame_of)


def _frame_of(message: str | Raw) -> Frame | Malformed:
    try:
        request = _decode_request(message)
    except msgspec.DecodeError:
        # An answer, or a message that failed: nothing else is looked at closely.
        return _closely(message)
    if _is_endless(request.id) or (request.params and _type_of(request.params) != "dict"):
        return _closely(message)
    return _call_of(request)


def _call_of(request: _Request) -> Call | Cancel:
    id, method, params = request.id, request.method, request.params
    if id is not UNSET:
        return Call(id=_held(id), method=method, payload=params, timeout=request.timeout)
    if method == _CANCEL:
        try:
            return Cancel(id=_held(_decode_unwanted(params).id))
        except msgspec.DecodeError:
            pass  # then it is a notification that nobody knows
    return Call(id=None, method=method, payload=params, timeout=request.timeout)


def _closely(message: str | Raw) -> Frame | Malformed:
    """Read a frame from a message, or name everything that is wrong with it."""
    try:
        value = _decode_value(message)
    except msgspec.DecodeError:
        return Malformed.of(ErrorCode.PARSE_ERROR, "JSON string expected")
    if _type_of(value) != "dict":
        return Malformed(_NO_OBJECTS[_type_of(value)])
    members = _decode_members(value)
    if "method" not in members and ("result" in members or "error" in members):
        return _end_of(members)
    return _request_of(members)


def _request_of(members: dict[str, Raw]) -> Call | Cancel | Malformed:
    errors: dict[str, str] = {}
    _read(members, "jsonrpc", _decode_literal, errors, 'expected "2.0"')
    method = _read(members, "method", _decode_string, errors, "expected a string")
    id = _read(members, "id", _decode_finite, errors, _NO_ID) if "id" in members else UNSET
    params = members.get("params", NO_PAYLOAD)
    kind = _type_of(params) if params else "dict"
    if kind not in ("dict", "list"):
        errors["params"] = f"expected an object, got {kind}"
    timeout = None
    if "timeout" in members:
        expected = "expected milliseconds, an integer from 1"
        timeout = _read(members, "timeout", _decode_timeout, errors, expected)
    held = id if id is UNSET else _held(id)
    if errors or method is UNSET or timeout is UNSET:
        return Malformed.of(ErrorCode.INVALID_REQUEST, INVALID, errors, id=held, method=method)
    if kind == "list":
        if bytes(params)[1:-1].strip():
            if held is UNSET:
                # Nobody is told what becomes of a notification.
                return Malformed(None, readable=True)
            errors["params"] = _BY_POSITION
            code = ErrorCode.INVALID_PARAMETERS
            return Malformed.of(code, INVALID, errors, id=held, method=method, readable=True)
        params = NO_PAYLOAD
    return _call_of(_Request("2.0", method, params, id, timeout))


def _end_of(members: dict[str, Raw]) -> Answer | Failure | Malformed:
    """Read the answer to a call of the server's. An error may be to one that could not be read.

    The id of one that is refused is not sent back: it could be that of a call of the client's.
    """
    errors: dict[str, str] = {}
    _read(members, "jsonrpc", _decode_literal, errors, 'expected "2.0"')
    id = _read(members, "id", _decode_finite, errors, _NO_ID)
    if "result" not in members or members.get("error", _NULL) != _NULL:
        if errors:  # two peers that answer errors with errors would never stop
            return Malformed(None)
        return Failure(id=id, error=_error_of(members["error"]))
    if id is None:
        errors["id"] = _NO_ID
    if errors or id is None or id is UNSET:
        return Malformed.of(ErrorCode.INVALID_REQUEST, INVALID, errors)
    return Answer(id=id, response=members["result"])


def _error_of(raw: Raw) -> Error:
    try:
        error = _decode_error(raw)
    except (msgspec.DecodeError, RecursionError):
        # Its call has ended all the same, and must not wait for ever.
        return _UNREADABLE
    return Error(code=error.code, message=error.message, data=error.data)


def _read(
    members: dict[str, Raw],
    name: str,
    decode: Callable[[Raw], T],
    errors: dict[str, str],
    expected: str,
) -> T | UnsetType:
    """Read one member, or say in ``errors`` what is wrong with it."""
    if name not in members:
        errors[name] = "required"
        return UNSET
    try:
        return decode(members[name])
    except msgspec.DecodeError:
        errors[name] = expected
        return UNSET


def _decode_finite(raw: Raw) -> CallId | None:
    id = _decode_id(raw)
    if _is_endless(id):
        raise msgspec.ValidationError(_NO_ID)
    return id


def _is_endless(id: CallId | None | UnsetType) -> bool:
    return isinstance(id, int) and not -_ENDLESS < id < _ENDLESS


_TYPES: Final = {
    ord("{"): "dict",
    ord("["): "list",
    ord('"'): "str",
    ord("t"): "bool",
    ord("f"): "bool",
    ord("n"): "NoneType",
}


def _type_of(value: Raw) -> str:
    """What Python calls a JSON value."""
    name = _TYPES.get(memoryview(value)[0])
    return name or ("int" if bytes(value).lstrip(b"-").isdigit() else "float")


_NO_OBJECTS: Final = {
    name: Failure(
        error=Error(
            code=ErrorCode.INVALID_REQUEST,
            message=f"Malformed message; expected dictionary, got {name}",
        )
    )
    for name in ("list", "str", "int", "float", "bool", "NoneType")
}


def _held(id: CallId | None) -> CallId:
    return NULL_ID if id is None else id


def _said(id: CallId | None | UnsetType) -> CallId | None:
    return None if id is UNSET or id == NULL_ID else id


def _form_of(frame: Frame) -> object:
    """A frame as what is written."""
    match frame:
        case Answer():
            return _Answered(frame.response, _said(frame.id))
        case Message():
            return _Asked("event", frame)
        case Failure():
            error = frame.error
            return _Failed(_Error(error.code, error.message, _data_of(error)), _said(frame.id))
        case Item():
            item = {"id": _said(frame.id), "seq": frame.seq, "item": frame.item}
            return _Asked("rpc.item", item)
        case Call():
            id = UNSET if frame.id is None else _said(frame.id)
            return _Asked(frame.method, frame.payload or UNSET, frame.timeout, id)
        case Cancel():
            return _Asked(_CANCEL, {"id": _said(frame.id)})
    return _Asked("event", frame.body)


def _data_of(error: Error) -> object:
    """The one member that JSON-RPC has for all of ours."""
    ours: dict[str, object] = {}
    if error.errors is not UNSET:
        ours["errors"] = error.errors
    if error.retry_after is not UNSET:
        ours["retry_after"] = error.retry_after
    if not ours:
        return error.data
    if error.data is UNSET:
        return ours
    data = Raw(encode_json(error.data))
    if _type_of(data) == "dict":
        members = _decode_members(data)
        if not members.keys() & {"errors", "retry_after"}:
            return {**members, **ours}
    return {"data": data, **ours}
