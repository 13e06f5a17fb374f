"""Functions of a client that its server may call.

async def confirm(payload: Question) -> Answer: ...

client.serve("confirm", confirm)
"""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

from openapi.errors import DeclarationError
from openapi.protocol.methods import Method
from openapi.protocol.signatures import schema_of, signature_of_handler
from openapi.schema import Schema

__all__ = ["Handler", "check_listener", "method_of"]

Handler: TypeAlias = Callable[[Any], Awaitable[Any]]
"""``async def handler(payload)``; its annotations are the types on the wire."""


def method_of(name: str, handler: Handler) -> Method:
    """The method that runs a handler.

    Without annotations the payload is the plain dictionary, and the result anything that has a
    JSON form. Raises :class:`DeclarationError` if it is no coroutine function of one payload.
    """
    where = f"the handler of {name!r}"
    signature = signature_of_handler(where, handler)
    payload = _schema(f"{where}: payload", signature.payload)
    if payload is not None and not payload.is_object:
        raise DeclarationError(f"{where}: its payload must be an object, {payload.hint!r} is none")
    return Method(
        name,
        lambda client, arguments: handler(arguments),
        payload=payload,
        returns=_schema(f"{where}: result", signature.result),
    )


def check_listener(name: str, listener: object) -> None:
    """Raises :class:`DeclarationError` for a coroutine function, which nobody would await."""
    if iscoroutinefunction(listener):
        raise DeclarationError(
            f"{name} is a function that returns at once, {listener!r:.80} is a coroutine function:"
            " have it begin a task"
        )


def _schema(where: str, hint: object) -> Schema[Any] | None:
    return None if hint is Any else schema_of(where, hint)
