"""Functions of a client that its server may call.

async def confirm(payload: Question) -> Answer: ...

client.serve("confirm", confirm)
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from openapi.errors import DeclarationError
from openapi.protocol.methods import Method
from openapi.schema import Schema, hints_of

__all__ = ["Handler", "method_of"]

Handler: TypeAlias = Callable[[Any], Awaitable[Any]]
"""``async def handler(payload)``; its annotations are the types on the wire."""

_UNTYPED: Final = (Any, dict, dict[str, Any], Mapping[str, Any])


def method_of(name: str, handler: Handler) -> Method:
    """The method that runs a handler.

    Without annotations the payload is the plain dictionary, and the result anything that has a
    JSON form. Raises :class:`DeclarationError` if it is no coroutine function of one payload.
    """
    where = f"the handler of {name!r}"
    if not inspect.iscoroutinefunction(handler):
        raise DeclarationError(
            f"{where} is a coroutine function, write `async def`; {handler!r} is none"
        )
    parameter, hints = _payload_parameter(where, handler), hints_of(_function(handler))
    payload = _schema(f"{where}: payload", hints.get(parameter, Any))
    if payload is not None and not payload.is_object:
        raise DeclarationError(f"{where}: its payload must be an object, {payload.hint!r} is none")
    return Method(
        name,
        lambda client, arguments: handler(arguments),
        payload=payload,
        returns=_schema(f"{where}: result", hints.get("return", Any)),
    )


def _function(handler: Callable[..., object]) -> Callable[..., object]:
    """What has the annotations."""
    while isinstance(handler, partial):
        handler = handler.func
    return handler


def _payload_parameter(where: str, handler: Callable[..., object]) -> str:
    parameters = list(inspect.signature(handler).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise DeclarationError(f"{where}: it has no payload parameter, write `(payload)`")
    for extra in parameters[1:]:
        variable = extra.kind in (extra.VAR_KEYWORD, extra.VAR_POSITIONAL)
        if extra.default is extra.empty and not variable:
            raise DeclarationError(
                f"{where}: it gets the payload and nothing else,"
                f" remove {extra.name!r} or give it a default"
            )
    return parameters[0].name


def _schema(where: str, hint: object) -> Schema[Any] | None:
    try:
        return None if hint in _UNTYPED else Schema(hint)
    except DeclarationError as exc:
        raise DeclarationError(f"{where}: {exc}") from exc
