"""The server of the conversations of ``wire/vectors``, as ``wire/README.md`` describes it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from aiohttp import web

from openapi.errors import CallFailed, UnexpectedData
from openapi.ws import (
    CannotSubscribe,
    ChannelRule,
    Latest,
    RpcError,
    SocketsManager,
    WsPathMixin,
    ws_rpc,
)
from openapi.ws.brokers.memory import MemoryBroker
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
class Drip:
    """How far to count, and what to wait for then."""

    to: int
    key: str
    channel: str | None = None


@dataclass
class Faltering:
    """How far to count, and how to fail then."""

    to: int
    how: Literal["refuse", "break", "misfit", "opaque"]


@dataclass
class Flood:
    """How many items, and how long each is."""

    items: int
    size: int


@dataclass
class Key:
    """What to wait for."""

    key: str


@dataclass
class InLane:
    """What to wait for, in a lane."""

    key: str
    lane: str | None = None


@dataclass
class Lingering:
    """What to say when it is cancelled, and what to wait for then."""

    channel: str
    key: str | None = None
    lane: str | None = None


@dataclass
class Settling:
    """What to wait for, and where to say that it is done."""

    key: str
    channel: str


@dataclass
class Typed:
    """What JSON has no types for."""

    data: bytes
    at: datetime
    number: int


@dataclass
class Question:
    """A call that the server shall make: ``timeout`` is in milliseconds."""

    method: str
    payload: dict[str, Any]
    timeout: int | None = None
    lane: str | None = None


@dataclass
class Survey:
    """A method of the client, and how often to call it at once."""

    method: str
    times: int


@dataclass
class Identity:
    """Who a client is, and what others may know of it."""

    user: str | int
    info: Any = None


@dataclass
class Prohibition:
    """What a client may not do; with a ``code`` it is refused with an error of its own."""

    action: str
    channel: str
    event: str | None = None
    code: int | None = None


@dataclass
class Membership:
    """A subscription of all connections of a user."""

    user: str | int
    channel: str
    event: str = "*"


@dataclass
class Name:
    """A channel."""

    channel: str


@dataclass
class Pouring:
    """How many messages to publish, and how long each is."""

    channel: str
    messages: int
    size: int = 0


CHANNELS = (
    ChannelRule("closed", refused=True),
    ChannelRule("kept*", history=3),
    ChannelRule("long*", history=400),
    ChannelRule("typed", data=Item),
    ChannelRule("rare*", max_rate=0.001),
    ChannelRule("room*", presence=True),
    ChannelRule("dropping", slow="drop_oldest"),
    ChannelRule("latest", slow=Latest(key="turn")),
    ChannelRule("patient", slow="catch_up", history=400),
    ChannelRule("hasty", slow="catch_up", history=3),
    ChannelRule("seeded and kept", history=3),
)
# Of so many publications the keys are remembered.
KEYS = 4


Releases = defaultdict[str, asyncio.Event]


class Manager(SocketsManager):
    """Publishes to ``seeded…`` as soon as one subscribes, and takes its time for ``fed``."""

    def __init__(self, releases: Releases, broker: MemoryBroker) -> None:
        super().__init__(broker=broker, channels=CHANNELS)
        self.releases = releases

    async def subscribe_to_event(self, channel: str, event: str) -> None:
        if channel.startswith("seeded"):
            await self.publish(channel, "seed", {"pattern": event})
        elif channel in ("fed", "unfed"):
            await self.releases[channel].wait()
            if channel == "unfed":
                raise CannotSubscribe


SOCKETS = web.AppKey("sockets", SocketsManager)
RELEASES = web.AppKey("releases", Releases)
BROKER = web.AppKey("broker", MemoryBroker)


class Endpoint(Subscribe, Publish, WsPathMixin):
    """The methods that the conversations call."""

    SOCKETS_KEY = SOCKETS
    info: Any = None

    @cached_property
    def forbidden(self) -> dict[tuple[str, str, str | None], int | None]:
        """What it may not do, and the code of the error that says so."""
        return {}

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        if channel == "waiting":
            await self.request.app[RELEASES][event].wait()
        for what in ((action, channel, event), (action, channel, None)):
            if what in self.forbidden:
                code = self.forbidden[what]
                if code is not None:
                    raise RpcError(code, f"No {action}")
                return False
        return True

    def presence_info(self, channel: str) -> Any:
        return self.info

    async def ws_rpc_sign_in(self, payload: Identity) -> None:
        """Say who this connection is"""
        self.user, self.info = payload.user, payload.info

    async def ws_rpc_forbid(self, payload: Prohibition) -> None:
        """Have something refused from now on"""
        self.forbidden[payload.action, payload.channel, payload.event] = payload.code

    async def ws_rpc_reauthorize(self, payload: dict[str, Any]) -> list[str]:
        """Ask for each subscription again"""
        return await self.reauthorize()

    async def ws_rpc_invite(self, payload: Membership) -> int:
        """Subscribe all connections of a user"""
        channel, event = payload.channel, payload.event
        return await self.sockets.subscribe_socket(channel, event, user=payload.user)

    async def ws_rpc_expel(self, payload: Membership) -> int:
        """Take a channel from all connections of a user"""
        return await self.sockets.unsubscribe_socket(payload.channel, user=payload.user)

    async def ws_rpc_lose(self, payload: Name) -> None:
        """Lose the history of a channel"""
        self.request.app[BROKER].forget(payload.channel)

    async def ws_rpc_pour(self, payload: Pouring) -> None:
        """Publish many messages"""
        for n in range(1, payload.messages + 1):
            data = {"n": n, "turn": n % 2, "text": "x" * payload.size}
            await self.sockets.publish(payload.channel, "drop", data)

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

    async def ws_rpc_drip(self, payload: Drip) -> AsyncIterator[dict[str, int]]:
        """Count from 1, and end once the key is released; say so on the channel"""
        try:
            for n in range(1, payload.to + 1):
                yield {"n": n}
            await self.request.app[RELEASES][payload.key].wait()
        finally:
            if payload.channel is not None:
                await self.sockets.publish(payload.channel, "closed", None)

    async def ws_rpc_falter(self, payload: Faltering) -> AsyncIterator[Total]:
        """Count from 1, and fail"""
        for n in range(1, payload.to + 1):
            yield Total(n)
        match payload.how:
            case "refuse":
                raise RpcError(7, "that was all", data={"items": payload.to})
            case "break":
                raise RuntimeError("nobody outside may read this")
            case "misfit":
                yield {"sum": "three"}  # type: ignore[misc]
            case "opaque":
                yield object()  # type: ignore[misc]

    async def ws_rpc_flood(self, payload: Flood) -> AsyncIterator[str]:
        """Send long items"""
        for _ in range(payload.items):
            yield "x" * payload.size

    @ws_rpc(timeout=0.02)
    async def ws_rpc_brief(self, payload: Key) -> None:
        """End once the key is released, if that is within 20 milliseconds"""
        await self.request.app[RELEASES][payload.key].wait()

    @ws_rpc(lane="lane")
    async def ws_rpc_line(self, payload: InLane) -> None:
        """End once the key is released; one after another in each lane"""
        await self.request.app[RELEASES][payload.key].wait()

    @ws_rpc(lane=True)
    async def ws_rpc_queue(self, payload: Key) -> None:
        """End once the key is released; one after another"""
        await self.request.app[RELEASES][payload.key].wait()

    @ws_rpc(lane="lane")
    async def ws_rpc_linger(self, payload: Lingering) -> None:
        """Wait for ever; once cancelled, say so, and end when the key is released, and say so"""
        try:
            await asyncio.Future()
        finally:
            await self.sockets.publish(payload.channel, "cancelled", None)
            if payload.key is not None:
                await self.request.app[RELEASES][payload.key].wait()
                await self.sockets.publish(payload.channel, "over", None)

    @ws_rpc(shield=True)
    async def ws_rpc_settle(self, payload: Settling) -> None:
        """Once the key is released, say so on the channel, though nobody waits for it"""
        await self.request.app[RELEASES][payload.key].wait()
        await self.sockets.publish(payload.channel, "settled", None)

    async def ws_rpc_typed(self, payload: Typed) -> Typed:
        """Answer the payload, by its types"""
        return payload

    @ws_rpc(lane="lane", timeout=30)
    async def ws_rpc_ask(self, payload: Question) -> dict[str, Any]:
        """Call a method of the client, and answer how that ended"""
        timeout = None if payload.timeout is None else payload.timeout / 1000
        return await self._asked(payload.method, payload.payload, timeout=timeout, returns=Any)

    async def ws_rpc_ask_sum(self, payload: Question) -> dict[str, Any]:
        """The same, of a method whose result has a type"""
        return await self._asked(payload.method, payload.payload, timeout=None, returns=Total)

    async def ws_rpc_survey(self, payload: Survey) -> list[Any]:
        """Call a method of the client many times at once, and answer the answers"""
        calls = (
            self.call(payload.method, {"n": n}, timeout=None) for n in range(1, payload.times + 1)
        )
        return await asyncio.gather(*calls)

    async def _asked(self, method: str, payload: object, **how: Any) -> dict[str, Any]:
        try:
            return {"answer": await self.call(method, payload, **how)}
        except CallFailed as exc:
            return {"error": {"code": exc.code, "message": exc.message, "data": exc.data}}
        except UnexpectedData as exc:
            return {"unexpected": exc.errors}
        except TimeoutError:
            return {"timed_out": True}

    async def ws_rpc_tell(self, payload: Question) -> None:
        """Notify the client"""
        await self.notify(payload.method, payload.payload)

    async def ws_rpc_close(self, payload: dict[str, Any]) -> None:
        """Close the connection"""
        await self.close(payload["code"], payload["reason"])


def application() -> web.Application:
    """The application, with its endpoint at ``/stream``."""
    app = web.Application()
    app[BROKER] = MemoryBroker(keys=KEYS)
    app[RELEASES] = defaultdict(asyncio.Event)
    app[SOCKETS] = Manager(app[RELEASES], app[BROKER])
    app.router.add_view("/stream", Endpoint)
    return app
