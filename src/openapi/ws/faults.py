"""Exceptions as they travel from node to node: the same type with the same fields comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from openapi.errors import (
    BrokerUnavailable,
    CallFailed,
    CannotSubscribe,
    ConnectionClosed,
    InvalidData,
    RpcError,
    UnexpectedData,
    Unserializable,
)
from openapi.schema import Schema

__all__ = ["Fault", "exception_of", "fault_of"]


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception as data. ``kind`` is its class; what that has not is as it is here."""

    kind: str
    text: str = ""
    """The message, or the reason of a closing frame."""
    code: int = 0
    data: Any = None
    errors: dict[str, str] | None = None
    retry_after: int | None = None


_DATA: Final = Schema[Any](Any)

#: What says something to whoever asked. The first that an exception is an instance of is its kind.
_KINDS: Final[dict[type[Exception], Callable[[Fault], Exception]]] = {
    BrokerUnavailable: lambda it: BrokerUnavailable(it.text, retry_after=it.retry_after or 0),
    RpcError: lambda it: RpcError(
        it.code, it.text, data=it.data, errors=it.errors, retry_after=it.retry_after
    ),
    CallFailed: lambda it: CallFailed(
        it.code, it.text, data=it.data, errors=it.errors, retry_after=it.retry_after
    ),
    ConnectionClosed: lambda it: ConnectionClosed(it.code, it.text),
    InvalidData: lambda it: InvalidData(it.errors or {}),
    UnexpectedData: lambda it: UnexpectedData(it.errors or {}),
    Unserializable: lambda it: Unserializable(it.text),
    CannotSubscribe: lambda it: CannotSubscribe(it.text),
    TimeoutError: lambda it: TimeoutError(it.text),
}
_NAMED: Final = {kind.__name__: make for kind, make in _KINDS.items()}


def fault_of(exc: BaseException) -> Fault | None:
    """An exception as data; None for one that is a fault of this program and of nobody's request.

    Raises Unserializable, InvalidData where its own ``data`` has no JSON form.
    """
    kind = next((kind.__name__ for kind in _KINDS if isinstance(exc, kind)), None)
    match exc:
        case RpcError() | CallFailed():
            data = _DATA.dump(exc.data)
            return Fault(kind or "", exc.message, exc.code, data, exc.errors, exc.retry_after)
        case ConnectionClosed():
            return Fault(kind or "", exc.reason, exc.code)
        case InvalidData() | UnexpectedData():
            return Fault(kind or "", errors=exc.errors)
    return None if kind is None else Fault(kind, str(exc))


def exception_of(fault: Fault) -> Exception | None:
    """The exception; None for a kind that is not known here."""
    make = _NAMED.get(fault.kind)
    return None if make is None else make(fault)
