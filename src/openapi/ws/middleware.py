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
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from openapi.errors import DeclarationError
from openapi.rpc.running import current

if TYPE_CHECKING:
    from openapi.protocol.frames import CallId
    from openapi.protocol.incoming import Incoming
    from openapi.ws.socket import Websocket

__all__ = ["Call", "Middleware", "Next", "check_middleware", "takes", "through"]


class Call:
    """A call on its way to its handler."""

    __slots__ = ("_incoming", "_opened", "payload", "socket")

    def __init__(self, incoming: "Incoming", socket: "Websocket") -> None:
        self._incoming = incoming
        self.socket: Final = socket
        """The endpoint's instance for the connection."""
        self.payload: Any = incoming.payload
        """What the handler will get: decoded and valid. A middleware may put another in its place,
        which is not validated again."""
        self._opened: list[object] = []

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
        is_async = any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))
        if not is_async or not takes(function, None, None):
            raise DeclarationError(
                f"{where}: {function!r} is no middleware, write `async def middleware(call, next)`"
            )
    return tuple(middleware)


def takes(function: Callable[..., object], *arguments: object) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True


async def through(middleware: tuple[Middleware, ...], incoming: "Incoming", ws: "Websocket") -> Any:
    """Run a call through all of it: its result, for a stream its iterator."""
    call = Call(incoming, ws)
    if not incoming.method.stream:
        return await _step(middleware, 0, call)
    items = _Items(call)
    try:
        items.begin(await _step(middleware, 0, call))
    except BaseException:
        await items.aclose()
        raise
    return items


async def _step(middleware: tuple[Middleware, ...], index: int, call: Call) -> Any:
    if index < len(middleware):
        function = middleware[index]
        result = await function(call, partial(_step, middleware, index + 1))
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(f"{function!r} returned a coroutine: write `await next(call)` there")
    else:
        result = call._incoming.method.function(call.socket, call.payload)
        if not call.stream:
            return await result
    if call.stream:
        call._opened.append(result)
    return result


class _Items:
    """The items of a stream, as the outermost middleware gives them.

    Closing it closes all that was opened on the way, the handler's own last. It is no generator:
    one that was not begun yet would close nothing, and what is in it may have been begun.
    """

    __slots__ = ("_call", "_source")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._source: AsyncIterator[Any]

    def begin(self, items: object) -> None:
        """What they are. Raises TypeError where that is no async iterable."""
        if not isinstance(items, AsyncIterable):
            raise TypeError(
                f"a middleware answered the stream {self._call.method!r} with {items!r}: return"
                " an async iterator, as `await next(call)` is"
            )
        self._source = aiter(items)
        if self._source is not items:
            self._call._opened.append(self._source)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Any]:
        return anext(self._source)

    async def aclose(self) -> None:
        """Close everything, whatever fails in between."""
        async with AsyncExitStack() as stack:
            for opened in self._call._opened:
                if (aclose := getattr(opened, "aclose", None)) is not None:
                    stack.push_async_callback(aclose)
            self._call._opened.clear()
