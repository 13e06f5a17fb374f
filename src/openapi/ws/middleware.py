"""Code around every call: it sees the call, and may answer, refuse, or change the result.

async def timing(call, next):
    started = time.perf_counter()
    try:
        return await next(call)
    finally:
        log.info("%s took %.3f s", call.method, time.perf_counter() - started)

SocketsManager(middleware=[timing])         # or `middleware = [timing]` in an endpoint
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from openapi.errors import DeclarationError
from openapi.rpc.running import current

if TYPE_CHECKING:
    from openapi.protocol.frames import CallId
    from openapi.protocol.session import Incoming
    from openapi.ws.socket import Websocket

__all__ = ["Call", "Middleware", "Next", "check_middleware", "through"]


class Call:
    """A call on its way to its handler."""

    __slots__ = ("_incoming", "items", "payload", "socket")

    def __init__(self, incoming: "Incoming", socket: "Websocket") -> None:
        self._incoming = incoming
        self.socket: Final = socket
        """The endpoint's instance for the connection."""
        self.payload: Any = incoming.payload
        """What the handler will get: decoded and valid. A middleware may put another in its place,
        which is not validated again."""
        self.items: AsyncIterator[Any] | None = None

    @property
    def method(self) -> str:
        """The name, without ``ws_rpc_``."""
        return self._incoming.method.name

    @property
    def id(self) -> "CallId | None":
        """Its id on the wire; None for a notification, whose result goes nowhere."""
        return self._incoming.id

    @property
    def stream(self) -> bool:
        """Whether ``await next(call)`` is an async iterator of items and not a result."""
        return self._incoming.method.stream

    @property
    def remaining(self) -> float | None:
        """Seconds until its deadline; None where it has none."""
        running = current()
        return None if running is None else running.remaining

    def __repr__(self) -> str:
        return f"<Call {self.method} of {self.socket}>"


Next: TypeAlias = Callable[[Call], Awaitable[Any]]
"""The rest of the way: the next middleware, and behind the last the handler."""

Middleware: TypeAlias = Callable[[Call, Next], Awaitable[Any]]
"""``async def middleware(call, next)``"""


def check_middleware(where: str, middleware: object) -> tuple[Middleware, ...]:
    """The middleware of an endpoint or a manager. Raises :class:`DeclarationError`."""
    if isinstance(middleware, str) or not isinstance(middleware, Sequence):
        raise DeclarationError(f"{where}: middleware is a list of functions, not {middleware!r}")
    for function in middleware:
        if not any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
            raise DeclarationError(
                f"{where}: {function!r} is no middleware, write `async def middleware(call, next)`"
            )
    return tuple(middleware)


async def through(middleware: tuple[Middleware, ...], incoming: "Incoming", ws: "Websocket") -> Any:
    """Run a call through all of it: its result, for a stream its iterator."""
    call = Call(incoming, ws)
    result = await _chain(middleware)(call)
    if not incoming.method.stream:
        return result
    return _all_closed(aiter(result), call)


@lru_cache(maxsize=64)
def _chain(middleware: tuple[Middleware, ...]) -> Next:
    chain: Next = _handle
    for function in reversed(middleware):
        chain = _bound(function, chain)
    return chain


def _bound(function: Middleware, following: Next) -> Next:
    async def run(call: Call) -> Any:
        return await function(call, following)

    return run


async def _handle(call: Call) -> Any:
    method = call._incoming.method
    result = method.function(call.socket, call.payload)
    if not method.stream:
        return await result
    call.items = result
    return result


async def _all_closed(items: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
    """Items that a middleware may have changed; closing them closes the handler's own, too."""
    try:
        async for item in items:
            yield item
    finally:
        try:
            if (aclose := getattr(items, "aclose", None)) is not None:
                await aclose()
        finally:
            if call.items is not None and (aclose := getattr(call.items, "aclose", None)):
                await aclose()
