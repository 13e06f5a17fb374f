"""What the signature of an RPC method says: its kind, and the types on the wire.

async def ws_rpc_add(self, payload: Add) -> Sum: ...                  # one result, a Sum

async def ws_rpc_tail(self, payload: Tail) -> AsyncIterator[Line]:    # a stream of Lines
    yield Line(...)

A handler of a client's is a function that has no ``self``, and is no stream.
"""

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from typing import Any, Final

from openapi.errors import DeclarationError
from openapi.schema import Schema, hints_of

__all__ = ["Signature", "schema_of", "signature_of", "signature_of_handler"]

_UNTYPED: Final = (Any, dict, dict[str, Any], Mapping[str, Any])
_STREAMS: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Of one function. A type is Any where the signature says nothing."""

    stream: bool
    payload: object
    result: object
    """Of a stream, one item."""


def signature_of(where: str, attribute: object) -> Signature:
    """Read the attribute of a class. Raises :class:`DeclarationError` if it is no RPC method."""
    stream = inspect.isasyncgenfunction(attribute)
    if not inspect.isfunction(attribute) or not (stream or inspect.iscoroutinefunction(attribute)):
        name = where.rpartition(".")[2]
        raise DeclarationError(
            f"{where}: an RPC method is a coroutine function, write `async def {name}`"
        )
    parameters = list(inspect.signature(attribute).parameters.values())[1:]
    name, hints = _payload_name(where, parameters, "(self, payload)"), hints_of(attribute)
    result = hints.get("return", Any)
    return Signature(
        stream=stream,
        payload=_typed(hints.get(name, Any)),
        result=_item(where, result) if stream else _single(where, result),
    )


def signature_of_handler(where: str, handler: Callable[..., object]) -> Signature:
    """Read a function, a bound method or a partial. Raises :class:`DeclarationError` as above."""
    if inspect.isasyncgenfunction(handler):
        raise DeclarationError(f"{where} yields, and a handler has one result: `return` it")
    if not inspect.iscoroutinefunction(handler):
        raise DeclarationError(
            f"{where} is a coroutine function, write `async def`; {handler!r} is none"
        )
    name = _payload_name(where, [*inspect.signature(handler).parameters.values()], "(payload)")
    function = handler
    while isinstance(function, partial):  # which has no annotations
        function = function.func
    hints = hints_of(function)
    payload, result = _typed(hints.get(name, Any)), hints.get("return", Any)
    return Signature(stream=False, payload=payload, result=_typed(result))


def schema_of(where: str, hint: object) -> Schema[Any]:
    """The Schema of a declared type. Raises :class:`DeclarationError`, saying where it is."""
    try:
        return Schema(hint)
    except DeclarationError as exc:
        raise DeclarationError(f"{where}: {exc}") from exc


def _typed(hint: object) -> object:
    return Any if hint in _UNTYPED else hint


def _payload_name(where: str, parameters: list[Parameter], form: str) -> str:
    positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise DeclarationError(f"{where}: it has no payload parameter, write `{form}`")
    for extra in parameters[1:]:
        variable = extra.kind in (extra.VAR_KEYWORD, extra.VAR_POSITIONAL)
        if extra.default is extra.empty and not variable:
            raise DeclarationError(
                f"{where}: it gets the payload and nothing else,"
                f" remove {extra.name!r} or give it a default"
            )
    return parameters[0].name


def _item(where: str, hint: object) -> object:
    if hint is Any:
        return Any
    if not _is_stream(hint):
        raise DeclarationError(
            f"{where}: it yields, so it returns an async iterator and not {hint!r}; annotate its"
            " items, as `-> AsyncIterator[Line]`"
        )
    return next(iter(typing.get_args(_bare(hint))), Any)


def _single(where: str, hint: object) -> object:
    if _is_stream(hint):
        raise DeclarationError(
            f"{where}: it is annotated as a stream and does not yield; send the items with `yield`"
        )
    return hint


def _is_stream(hint: object) -> bool:
    bare = _bare(hint)
    return (typing.get_origin(bare) or bare) in _STREAMS


def _bare(hint: object) -> object:
    """A hint without a name of its own (``type Lines = …``) and without ``Annotated``."""
    hint = getattr(hint, "__value__", hint)
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
