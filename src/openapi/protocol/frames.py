"""What is said on the wire, as types. See ``wire/README.md``.

A *codec* turns one message into a frame and back. It is the only thing that differs between the
dialects; everything else sees frames. ``native.py`` and ``jsonrpc.py`` are the dialects.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

from openapi.errors import CallFailed, ErrorCode, RpcError, Unserializable

__all__ = [
    "Answer",
    "Batch",
    "Call",
    "CallId",
    "Cancel",
    "Codec",
    "Error",
    "Failure",
    "Frame",
    "Item",
    "Malformed",
    "Message",
    "Reconnect",
    "written",
]

CallId: TypeAlias = str | int | float

INVALID: Final = "Invalid RPC parameters"
NO_PAYLOAD: Final = Raw(b"")


def written(data: bytes) -> object:
    """A value that is written already, to be put into one that is not."""
    return Raw(data)


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call, or a notification where ``id`` is None.

    ``payload`` is what nobody has read, in the codec's format; empty stands for the empty object.
    ``timeout`` is how long its sender waits, in milliseconds.
    """

    id: CallId | None
    method: str
    payload: Raw = NO_PAYLOAD
    timeout: int | None = None

    @classmethod
    def of(
        cls, id: CallId | None, method: str, payload: bytes, timeout: int | None = None
    ) -> "Call":
        """The call whose payload is written already."""
        return cls(id=id, method=method, payload=Raw(payload), timeout=timeout)


class Cancel(Struct, frozen=True, kw_only=True):
    """Nobody waits for a call any more; its final frame still follows."""

    id: CallId
    cancel: Literal[True] = True


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The success, and the end, of a call. ``response`` is in the codec's format."""

    id: CallId
    method: str | UnsetType = UNSET
    response: Raw

    @classmethod
    def of(cls, id: CallId, method: str, response: bytes) -> "Answer":
        """The answer whose response is written already."""
        return cls(id=id, method=method, response=Raw(response))


class Item(Struct, frozen=True, kw_only=True):
    """One item of a stream, in the codec's format; ``seq`` counts them from 1."""

    id: CallId
    method: str
    item: Raw
    seq: int

    @classmethod
    def of(cls, id: CallId, method: str, item: bytes, seq: int) -> "Item":
        """The frame of an item that is written already."""
        return cls(id=id, method=method, item=Raw(item), seq=seq)


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
        except (TypeError, ValueError, OverflowError):
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


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A published message, or with an ``event`` that begins with ``$`` one of the server's own.

    ``offset`` is its number on a channel that keeps history, and 0 on any other.
    """

    channel: str
    event: str
    data: Any
    offset: int = 0

    @classmethod
    def of(cls, channel: str, event: str, data: bytes, offset: int = 0) -> "Message":
        """The message whose data is written already."""
        return cls(channel=channel, event=event, data=Raw(data), offset=offset)


class Reconnect(Struct, frozen=True, kw_only=True):
    """The server is about to close with ``code``: come back after ``after`` milliseconds."""

    after: int
    code: int

    @property
    def body(self) -> dict[str, object]:
        """The frame's own form."""
        return {"event": "$reconnect", "data": {"after": self.after, "code": self.code}}


Frame: TypeAlias = Call | Cancel | Answer | Item | Failure | Message | Reconnect


class Batch:
    """Several frames in one message, which are answered in one message (JSON-RPC 2.0, section 6).

    ``elements`` has at least one. Each is read when its turn comes: whether there are too many is
    known before that.
    """

    __slots__ = ("_read", "elements")

    def __init__(self, elements: Sequence[Raw], read: "Callable[[Raw], Frame | Malformed]") -> None:
        self.elements: Final = elements
        self._read = read

    def __len__(self) -> int:
        return len(self.elements)

    def read(self, element: Raw) -> "Frame | Malformed":
        """The frame that an element is, or what is wrong with it.

        Raises RecursionError if it is nested too deeply.
        """
        return self._read(element)

    @staticmethod
    def joined(answers: list[bytes]) -> bytes:
        """The one message that answers it."""
        return b"[" + b",".join(answers) + b"]"


class Malformed(Exception):
    """A message that is no frame. ``failure`` says so to the peer; None: it is not to be told.

    ``readable`` is whether it is a call all the same, which cannot be taken: one whose parameters
    are of the wrong kind. Its sender speaks the dialect.
    """

    def __init__(self, failure: Failure | None, *, readable: bool = False) -> None:
        super().__init__(failure)
        self.failure: Failure | None = failure
        self.readable: bool = readable

    @classmethod
    def of(
        cls,
        code: ErrorCode,
        message: str,
        errors: Mapping[str, str] | None = None,
        *,
        id: CallId | None | UnsetType = UNSET,
        method: str | UnsetType = UNSET,
        readable: bool = False,
    ) -> "Malformed":
        """What is to be raised for a message, as far as it could be read."""
        error = Error.of(RpcError(code, message, errors=errors))
        return cls(Failure(id=id, method=method, error=error), readable=readable)


class Codec(Protocol):
    """One dialect: a message to a frame, and a frame to a message.

    A message is text where ``packed`` is False, then payloads, responses and items are JSON; and
    bytes where it is True, then they are MessagePack.
    """

    @property
    def packed(self) -> bool:
        """Whether it speaks MessagePack, in bytes."""

    def decode(self, message: str | bytes) -> Frame | Batch:
        """Read one message. Raises Malformed, and RecursionError if it is nested too deeply."""

    def encode(self, frame: Frame) -> bytes:
        """Write one message. Raises :class:`openapi.errors.Unserializable`."""

    def answer(self, id: CallId, method: str, response: bytes) -> bytes:
        """Write an :class:`Answer` whose response is written already. Raises as that does."""
