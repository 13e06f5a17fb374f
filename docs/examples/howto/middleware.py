"""Code around every call."""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from aiohttp import web

from openapi.errors import ErrorCode
from openapi.ws import Call, Next, RpcError, SocketsManager, WsPathMixin

SOCKETS = web.AppKey("SOCKETS", SocketsManager)

logger = logging.getLogger("shop")


@dataclass
class Count:
    to: int


# [timing]
async def timing(call: Call, next: Next) -> Any:
    """Log how long each call took, and how it ended."""
    started, outcome = time.perf_counter(), "failed"
    try:
        result = await next(call)
        outcome = "answered"
        return result
    finally:
        logger.info("%s %s in %.3f s", call.method, outcome, time.perf_counter() - started)


# [/timing]


# [limit]
class RateLimit:
    """So many calls of each connection, in so many seconds."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.calls = calls
        self.seconds = seconds

    async def __call__(self, call: Call, next: Next) -> Any:
        state, now = call.socket.state, time.monotonic()
        began, made = getattr(state, "window", (now, 0))
        if now - began >= self.seconds:
            began, made = now, 0
        if made >= self.calls:
            wait = ceil((began + self.seconds - now) * 1000)
            raise RpcError(ErrorCode.RATE_LIMITED, "Too many calls", retry_after=wait)
        state.window = (began, made + 1)
        return await next(call)


# [/limit]


# [stream]
SENT: Counter[str] = Counter()


async def counting(call: Call, next: Next) -> Any:
    """Count what each method sends."""
    result = await next(call)
    if call.stream:
        return counted(call.method, result)
    SENT[call.method] += 1
    return result


async def counted(method: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The same items."""
    async for item in items:
        SENT[method] += 1
        yield item


# [/stream]


# [app]
class Shop(WsPathMixin):
    SOCKETS_KEY = SOCKETS
    middleware = (counting,)

    async def ws_rpc_hello(self, payload: dict[str, Any]) -> str:
        """Say hello"""
        return "hello"

    async def ws_rpc_count(self, payload: Count) -> AsyncIterator[int]:
        """Count from 1"""
        for number in range(1, payload.to + 1):
            yield number


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(middleware=[timing, RateLimit(calls=3, seconds=3600.0)])
    app.router.add_view("/shop", Shop)
    return app


# [/app]
