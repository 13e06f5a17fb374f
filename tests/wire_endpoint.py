"""The server of the conversations of ``wire/vectors``, as ``wire/README.md`` describes it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from openapi.errors import CallFailed
from openapi.ws import (
    CannotPublish,
    CannotSubscribe,
    RpcError,
    SocketsManager,
    WsPathMixin,
    ws_rpc,
)
from openapi.ws.pubsub import Publish, Subscribe


@dataclass
class Pair:
    """Two numbers."""

    a: int
    b: int


@dataclass
class Total:
    """Their sum."""

    sum: int


@dataclass
class Item:
    """Something that is ordered."""

    name: str
    price: float
    count: int = 1


@dataclass
class Order:
    """An order."""

    customer: str
    items: list[Item]
    paid: bool
    note: str | None = None


@dataclass
class Refusal:
    """An error to be answered."""

    code: int
    message: str
    errors: dict[str, str] | None = None
    data: Any = None
    retry_after: int | None = None


@dataclass
class Difference:
    """One number, and one to take from it."""

    minuend: int
    subtrahend: int


@dataclass
class Count:
    """How far to count."""

    to: int


@dataclass
class Question:
    """A call that the server shall make."""

    method: str
    payload: dict[str, Any]


class Manager(SocketsManager):
    """Refuses the channel ``closed``, and publishes to ``seeded`` as soon as one subscribes."""

    async def publish(self, channel: str, event: str, data: Any) -> None:
        if channel == "closed":
            raise CannotPublish
        await super().publish(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        if channel == "closed":
            raise CannotSubscribe
        await super().subscribe(channel)

    async def subscribe_to_event(self, channel: str, event: str) -> None:
        if channel == "seeded":
            await self.publish(channel, "seed", {"pattern": event})


Releases = defaultdict[str, asyncio.Event]
SOCKETS = web.AppKey("sockets", SocketsManager)
RELEASES = web.AppKey("releases", Releases)


class Endpoint(Subscribe, Publish, WsPathMixin):
    """The methods that the conversations call."""

    SOCKETS_KEY = SOCKETS

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Answer the payload"""
        return payload

    async def ws_rpc_add(self, payload: Pair) -> Total:
        """Add two integers"""
        return Total(payload.a + payload.b)

    async def ws_rpc_order(self, payload: Order) -> dict[str, float]:
        """Answer what an order costs"""
        return {"total": sum(item.price * item.count for item in payload.items)}

    async def ws_rpc_wait(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Answer the payload once its key is released"""
        await self.request.app[RELEASES][payload["key"]].wait()
        return payload

    async def ws_rpc_broken(self, payload: dict[str, Any]) -> None:
        """Fail"""
        raise RuntimeError("nobody outside may read this")

    async def ws_rpc_opaque(self, payload: dict[str, Any]) -> object:
        """Return what has no JSON form"""
        return object()

    @ws_rpc(response_schema=Total)
    async def ws_rpc_misfit(self, payload: dict[str, Any]) -> Any:
        """Return what does not fit its own declaration"""
        return {"sum": "three"}

    async def ws_rpc_refuse(self, payload: Refusal) -> None:
        """Answer an error of the application"""
        raise RpcError(
            payload.code,
            payload.message,
            errors=payload.errors,
            data=payload.data,
            retry_after=payload.retry_after,
        )

    async def ws_rpc_subtract(self, payload: Difference) -> int:
        """Subtract two integers"""
        return payload.minuend - payload.subtrahend

    async def ws_rpc_get_data(self, payload: dict[str, Any]) -> list[Any]:
        """Answer a list"""
        return ["hello", 5]

    async def ws_rpc_count(self, payload: Count) -> AsyncIterator[dict[str, int]]:
        """Count from 1"""
        for n in range(1, payload.to + 1):
            yield {"n": n}

    async def ws_rpc_ask(self, payload: Question) -> dict[str, Any]:
        """Call a method of the client, and answer how that ended"""
        try:
            return {"answer": await self.call(payload.method, payload.payload, timeout=None)}
        except CallFailed as exc:
            return {"error": {"code": exc.code, "message": exc.message, "data": exc.data}}

    async def ws_rpc_tell(self, payload: Question) -> None:
        """Notify the client"""
        await self.notify(payload.method, payload.payload)

    async def ws_rpc_close(self, payload: dict[str, Any]) -> None:
        """Close the connection"""
        await self.close(payload["code"], payload["reason"])


def application() -> web.Application:
    """The application, with its endpoint at ``/stream``."""
    app = web.Application()
    app[SOCKETS] = Manager()
    app[RELEASES] = defaultdict(asyncio.Event)
    app.router.add_view("/stream", Endpoint)
    return app
