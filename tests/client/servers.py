"""Servers to connect to: one of ours, and one that says whatever a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from aiohttp import web
from yarl import URL

from openapi.client import Client, connect
from openapi.client.calling import Begun
from openapi.client.connection import Connection
from openapi.client.stream import Begin
from openapi.errors import CallFailed
from openapi.protocol.publication import Publication
from openapi.protocol.stream import Page, Position
from openapi.rpc.peer import Peer as RpcPeer
from openapi.ws import (
    CannotSubscribe,
    ChannelRule,
    Limits,
    RpcError,
    SocketsManager,
    Websocket,
    WsPathMixin,
)
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.pubsub import Publish, Subscribe

connect_once: Final = partial(connect, reconnect=None)
"""A client of one connection: what ends that ends the client."""


def connection_of(client: Client) -> Connection:
    """The connection that a client has, or had last."""
    assert client._connection is not None
    return client._connection


def beginning(peer: RpcPeer, room: Callable[[], Awaitable[object]]) -> Begin:
    """What begins the streams of a client that has a connection, and no other."""

    async def begin(method: str, payload: object, ended: Any, **options: Any) -> Begun:
        asked = await peer.begin(method, payload, ended, room=room, **options)
        return Begun(asked, peer.session.pending, lambda error: False)

    return begin


GATE = web.AppKey("GATE", asyncio.Event)


@dataclass
class Add:
    a: int
    b: int


@dataclass
class Sum:
    sum: int


@dataclass
class Everything:
    """What JSON has no form of its own for."""

    data: bytes
    at: datetime
    number: int


class Manager(SocketsManager):
    """Refuses one channel, lets another wait, and tells when nobody is connected any more."""

    asked: asyncio.Event
    gate: asyncio.Event
    left: asyncio.Event

    def remove(self, ws: Websocket) -> None:
        super().remove(ws)
        if not self.sockets:
            self.left.set()

    async def subscribe(self, channel: str) -> None:
        if channel == "secret":
            raise CannotSubscribe
        if channel == "slow":
            self.asked.set()
            await self.gate.wait()

    async def publish(self, channel: str, event: str, data: Any) -> None:
        await self.channels(channel, {"event": event, "data": data})

    async def unsubscribe(self, channel: str) -> None:
        pass


MANAGER = web.AppKey("MANAGER", Manager)


class Endpoint(WsPathMixin, Subscribe, Publish):
    """One of everything."""

    SOCKETS_KEY = MANAGER
    waiting: asyncio.Event
    noted: "asyncio.Queue[Any]"
    ended: "asyncio.Queue[type[BaseException]]"
    fed: "asyncio.Queue[Any]"

    async def ws_rpc_add(self, payload: Add) -> Sum:
        return Sum(payload.a + payload.b)

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        return payload

    async def ws_rpc_keep(self, payload: Everything) -> Everything:
        return payload

    async def ws_rpc_feed(self, payload: dict[str, Any]) -> AsyncIterator[Any]:
        """Yield what the test feeds it, up to an Ellipsis; raise what is an exception."""
        type(self).waiting.set()
        try:
            while (item := await type(self).fed.get()) is not ...:
                if isinstance(item, Exception):
                    raise item
                yield item
        except BaseException as exc:
            type(self).ended.put_nowait(type(exc))
            raise

    async def ws_rpc_flow(self, payload: dict[str, Any]) -> AsyncIterator[Any]:
        """Yield without waiting for anybody."""
        try:
            for _ in range(payload["times"]):
                yield "x" * payload["size"]
        except BaseException as exc:
            type(self).ended.put_nowait(type(exc))
            raise

    async def ws_rpc_ask(self, payload: dict[str, Any]) -> Any:
        """Call the client, and answer as it does."""
        try:
            return await self.call(**payload)
        except CallFailed as exc:
            raise RpcError(exc.code, exc.message, data=exc.data, errors=exc.errors) from exc

    async def ws_rpc_remark(self, payload: dict[str, Any]) -> None:
        """Call the client, without an answer."""
        await self.notify(**payload)

    async def ws_rpc_wait(self, payload: dict[str, Any]) -> None:
        """Wait until the test opens the gate."""
        type(self).waiting.set()
        try:
            await self.request.app[GATE].wait()
        except BaseException as exc:
            type(self).ended.put_nowait(type(exc))
            raise

    async def ws_rpc_fail(self, payload: dict[str, Any]) -> None:
        raise RpcError(7, "no", data={"why": 1}, errors={"a": "b"}, retry_after=5)

    async def ws_rpc_relay(self, payload: dict[str, Any]) -> Any:
        """Ask another server, which answers something else than was expected."""
        async with connect_once(payload["url"]) as client:
            return await client.call("echo", {"sum": "3"}, returns=Sum)

    async def ws_rpc_note(self, payload: dict[str, Any]) -> None:
        type(self).noted.put_nowait(payload)

    async def ws_rpc_flood(self, payload: dict[str, Any]) -> None:
        """Publish without waiting for anybody."""
        for _ in range(payload["times"]):
            await self.sockets.publish(payload["channel"], "flood", "x" * payload["size"])


class Greeting(WsPathMixin):
    """Asks its client for its name before anything else."""

    SOCKETS_KEY = MANAGER

    async def on_connect(self) -> None:
        self.state.name = await self.call("name", returns=str)

    async def ws_rpc_greeting(self, payload: dict[str, Any]) -> str:
        return f"Hello {self.state.name}"


def application(limits: Limits | None = None) -> web.Application:
    """Our own server, at /stream and at /greeting."""
    app = web.Application()
    manager = Manager(limits=limits or Limits(close_timeout=1.0, drain_window=1.0))
    manager.asked, manager.gate, manager.left = (asyncio.Event() for _ in range(3))
    Endpoint.waiting, Endpoint.noted = asyncio.Event(), asyncio.Queue()
    Endpoint.ended, Endpoint.fed = asyncio.Queue(), asyncio.Queue()
    app[MANAGER], app[GATE] = manager, asyncio.Event()
    app.router.add_view("/stream", Endpoint)
    app.router.add_view("/greeting", Greeting)
    return app


class Archive(MemoryBroker):
    """Its history is read only while the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.open_to_read, self.asked = asyncio.Event(), asyncio.Event()
        self.open_to_read.set()

    async def history(self, channel: str, **reading: Any) -> Page[Publication]:
        self.asked.set()
        await self.open_to_read.wait()
        return await super().history(channel, **reading)


class Keeper(WsPathMixin, Subscribe, Publish):
    """Keeps 100 messages of a channel, 3 of ``short…``; knows who is in a ``room…``."""

    SOCKETS_KEY = web.AppKey("KEEPERS", SocketsManager)
    refused: frozenset[str] = frozenset()
    """Actions, and patterns, that are not allowed."""

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        return not {action, event} & type(self).refused


class Keeping:
    """The server of Keepers, at /stream."""

    def __init__(self) -> None:
        self.archive = Archive()
        self.sockets = SocketsManager(
            broker=self.archive,
            channels=[
                ChannelRule("*", history=100),
                ChannelRule("short*", history=3),
                ChannelRule("room*", history=100, presence=True),
                ChannelRule("fleeting*"),
            ],
            limits=Limits(close_timeout=1.0, drain_window=1.0),
        )
        Keeper.refused = frozenset()
        self.app = web.Application()
        self.app[Keeper.SOCKETS_KEY] = self.sockets
        self.app.router.add_view("/stream", Keeper)

    async def publish(self, channel: str, *numbers: int, event: str = "n") -> Position:
        """Publish some numbers; returns the position behind the last of them."""
        positions = [await self.sockets.publish(channel, event, number) for number in numbers]
        assert positions[-1] is not None
        return positions[-1]

    def cut(self) -> None:
        """Cut all connections, as a network does."""
        for socket in self.sockets.sockets:
            socket.connection._transport.abort()


class Peer:
    """The server's end of a connection that a test leads."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = ws
        self.request = request

    async def received(self) -> dict[str, Any]:
        """The next frame of the client."""
        frame: dict[str, Any] = await self.ws.receive_json()
        return frame

    async def send(self, frame: object) -> None:
        """Say something."""
        await self.ws.send_str(json.dumps(frame))

    async def item(self, call: dict[str, Any], item: object, seq: int = 1) -> None:
        """Send an item of a stream."""
        await self.send({"id": call["id"], "method": call["method"], "item": item, "seq": seq})

    async def answer(self, response: object = None) -> dict[str, Any]:
        """Answer the next call."""
        call = await self.received()
        await self.send({"id": call["id"], "method": call["method"], "response": response})
        return call

    @property
    def transport(self) -> asyncio.Transport:
        """What carries the connection."""
        assert isinstance(self.request.transport, asyncio.Transport)
        return self.request.transport

    async def gone(self) -> None:
        """Read until the client has gone."""
        async for _ in self.ws:
            pass


Script: TypeAlias = Callable[[Peer], Awaitable[object]]


class Scripted(Protocol):
    """Serves a script; ``options`` are those of the server's WebSocketResponse."""

    async def __call__(self, script: Script, **options: Any) -> URL: ...


def scripted(script: Script, **options: Any) -> web.Application:
    """A server that does what ``script`` does, at /stream."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(**options)
        await ws.prepare(request)
        await script(Peer(ws, request))
        return ws

    app = web.Application()
    app.router.add_get("/stream", handle)
    return app
