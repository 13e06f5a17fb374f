"""What is said of an RPC method beside its signature.

    @ws_rpc(timeout=5, lane="order_id")
    async def ws_rpc_ship(self, payload: Shipment) -> Receipt: ...

An option that is not given is that of the method which this one overrides; where it overrides
none, it is the default.
"""

import inspect
import math
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import Any, Final, Literal, TypeAlias, TypeGuard, TypeVar, overload

from openapi.errors import DeclarationError

__all__ = ["UNSET", "Declared", "Lane", "UnsetType", "declared_of", "is_declared", "ws_rpc"]


class UnsetType(Enum):
    """The type of :data:`UNSET`, where None is a value of its own."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return self.name


UNSET: Final = UnsetType.UNSET
"""Not given."""

Lane: TypeAlias = Literal[True] | str | None
"""True: one lane for the method. A string: one for each value of that field of the payload."""

_Function = TypeVar("_Function", bound=Callable[..., Awaitable[Any] | AsyncIterable[Any]])

_MARK: Final = "__ws_rpc__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The options of one :func:`ws_rpc`. Raises :class:`DeclarationError` for a wrong one."""

    body_schema: object = None
    response_schema: object = None
    timeout: float | None | UnsetType = UNSET
    lane: Lane | UnsetType = UNSET
    shield: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.timeout not in (UNSET, None) and not _is_duration(self.timeout):
            raise DeclarationError(
                "ws_rpc: timeout is a number of seconds greater than zero, or None for no"
                f" deadline; {self.timeout!r} is neither"
            )
        is_name = isinstance(self.lane, str) and self.lane != ""
        if not (self.lane is UNSET or self.lane is None or self.lane is True or is_name):
            raise DeclarationError(
                "ws_rpc: lane is True for one lane of the method, the name of a field of the"
                f" payload, or None; {self.lane!r} is none of them"
            )
        if self.shield is not UNSET and not isinstance(self.shield, bool):
            raise DeclarationError(f"ws_rpc: shield is True or False; {self.shield!r} is neither")


@overload
def ws_rpc(function: _Function, /) -> _Function: ...
@overload
def ws_rpc(
    *,
    body_schema: object = None,
    response_schema: object = None,
    timeout: float | None | UnsetType = UNSET,
    lane: Lane | UnsetType = UNSET,
    shield: bool | UnsetType = UNSET,
) -> Callable[[_Function], _Function]: ...
def ws_rpc(
    function: object = UNSET,
    /,
    *,
    body_schema: object = None,
    response_schema: object = None,
    timeout: float | None | UnsetType = UNSET,
    lane: Lane | UnsetType = UNSET,
    shield: bool | UnsetType = UNSET,
) -> object:
    """Declare the types of an RPC method, and how its calls are run.

    ``body_schema`` types the payload, which reaches the method as a plain, validated dictionary;
    ``response_schema`` types the result, or each item of a stream. Annotations do the same with
    less: prefer them.

    ``timeout``: seconds that a call may take, and a stream between two items; None: as long as it
    likes. Not given: the default of the connection.

    ``lane``: True, and the calls of the method run one after another on each connection, in the
    order of their arrival. The name of a field of the payload, and those calls do so that have
    the same value there, whichever methods of the connection name that field. None, the default:
    all calls run beside each other.

    ``shield``: whether the method finishes its work though its caller cancelled the call, or is
    gone. False by default; not for streams.

    Without options, ``@ws_rpc`` does nothing. Raises :class:`DeclarationError` for a wrong option.
    """
    declared = Declared(
        body_schema=body_schema,
        response_schema=response_schema,
        timeout=timeout,
        lane=lane,
        shield=shield,
    )

    def decorate(decorated: object) -> object:
        if not inspect.isfunction(decorated):
            raise DeclarationError(
                f"ws_rpc: {decorated!r} is no function; options have names, as"
                " `@ws_rpc(body_schema=…)`"
            )
        if hasattr(decorated, _MARK):
            raise DeclarationError(
                f"{decorated.__qualname__}: it has `@ws_rpc` twice; give all options to one"
            )
        setattr(decorated, _MARK, declared)
        return decorated

    return decorate if function is UNSET else decorate(function)


def is_declared(attribute: object) -> TypeGuard[FunctionType]:
    """Whether the attribute of a class is a function that has ``@ws_rpc``."""
    return inspect.isfunction(attribute) and hasattr(attribute, _MARK)


def declared_of(function: object) -> Declared:
    """What :func:`ws_rpc` said of a function, if it did."""
    declared = getattr(function, _MARK, None)
    return declared if isinstance(declared, Declared) else Declared()


def _is_duration(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return 0 < float(value) < math.inf
    except OverflowError:  # an integer of hundreds of digits
        return False
