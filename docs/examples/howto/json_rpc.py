"""An endpoint that JSON-RPC 2.0 clients call, and such a client by hand."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from openapi.ws import SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)


@dataclass
class Add:
    a: int
    b: int


@dataclass
class Count:
    to: Annotated[int, Meta(ge=1)]


# [endpoint]
class Calculator(WsPathMixin, Publish, Subscribe):
    SOCKETS_KEY = SOCKETS

    async def ws_rpc_add(self, payload: Add) -> int:
        """Add two numbers"""
        return payload.a + payload.b

    async def ws_rpc_count(self, payload: Count) -> AsyncIterator[int]:
        """Count from 1"""
        for number in range(1, payload.to + 1):
            yield number


# [/endpoint]


def create_app() -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager()
    app.router.add_view("/calculator", Calculator)
    return app


# [client]
async def add(url: str, a: int, b: int) -> Any:
    """Call one method. The answer has the id of the request, whatever comes before it."""
    async with connect(url, subprotocols=[Subprotocol("jsonrpc2.0")]) as socket:
        request = {"jsonrpc": "2.0", "method": "add", "params": {"a": a, "b": b}, "id": 1}
        await socket.send(json.dumps(request))
        while (answer := json.loads(await socket.recv())).get("id") != 1:
            pass
        if "error" in answer:
            raise RuntimeError(answer["error"]["message"])
        return answer["result"]


# [/client]
