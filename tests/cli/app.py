"""What the tests of the command line serve."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from openapi.errors import CallFailed, CloseCode, ConnectionClosed
from openapi.ws import ChannelRule, Limits, RpcError, SocketsManager, Websocket, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)
STOPPING = web.AppKey("STOPPING", asyncio.Event)


@dataclass
class Count:
    to: int = 0
    fail: bool = False
    pause: float = 0.0


@dataclass
class Question:
    method: str = "confirm"
    payload: dict[str, Any] = field(default_factory=dict)


class Endpoint(WsPathMixin, Subscribe, Publish):
    """One of everything."""

    SOCKETS_KEY = SOCKETS

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        return payload.get("value")

    async def ws_rpc_last_call(self, payload: dict[str, Any]) -> str:
        """Answer when the server stops."""
        await self.channels(*_STARTED)
        await self.request.app[STOPPING].wait()
        return "answered"

    async def ws_rpc_stuck(self, payload: dict[str, Any]) -> None:
        """Never answer."""
        await self.channels(*_STARTED)
        try:
            await asyncio.Event().wait()
        finally:
            await self.channels(*_OVER)

    async def ws_rpc_count(self, payload: Count) -> AsyncIterator[int]:
        """Count from 1, with a pause behind the first; fail at the end, or not."""
        for number in range(1, payload.to + 1):
            yield number
            if number == 1:
                await asyncio.sleep(payload.pause)
        if payload.fail:
            raise RpcError(1, "No more", errors={"to": "too many"})

    async def ws_rpc_rows(self, payload: dict[str, Any]) -> AsyncIterator[Any]:
        """One of each kind."""
        for item in ({"n": 1, "text": "[b]\x1b"}, "text", [1], {}):
            yield item

    async def ws_rpc_quiet(self, payload: Count) -> AsyncIterator[int]:
        """Count from 1, and go on without an item."""
        try:
            for number in range(1, payload.to + 1):
                yield number
            await self.channels(*_STARTED)
            await asyncio.Event().wait()
        finally:
            await self.channels(*_OVER)

    async def ws_rpc_ask(self, payload: Question) -> Any:
        """Ask the caller."""
        return await asked(self, payload)

    async def ws_rpc_ask_listener(self, payload: Question) -> Any:
        """Ask whoever is subscribed to the channel ``news``, once somebody is."""
        while True:
            for ws in self.sockets.sockets:
                if "news" in self.channels.get_subscribed(ws.connection):
                    return await asked(ws, payload)
            await asyncio.sleep(0.02)  # a pause between two looks

    async def ws_rpc_kick(self, payload: dict[str, Any]) -> None:
        """Close whoever is subscribed to something."""
        for ws in tuple(self.sockets.sockets):
            if self.channels.get_subscribed(ws.connection):
                ws.connection.close(CloseCode.DISCONNECTED, "go away")


_STARTED = ("calls", {"event": "started", "data": None})
_OVER = ("calls", {"event": "over", "data": None})


async def asked(ws: Websocket, question: Question) -> Any:
    """What a client answers, or what it refuses with."""
    try:
        return await ws.call(question.method, question.payload, timeout=None)
    except CallFailed as exc:
        return {"refused": str(exc)}
    except ConnectionClosed as exc:
        return {"gone": exc.code}


async def hello(request: web.Request) -> web.Response:
    """Say hello

    To everybody.
    """
    return web.Response(text="hello")


async def broken(request: web.Request) -> web.Response:
    raise web.HTTPInternalServerError


class View(web.View):
    async def get(self) -> web.Response:
        """Look"""
        return web.Response()

    async def delete(self) -> web.Response:
        return web.Response()


async def stopping(app: web.Application) -> None:
    app[STOPPING].set()


async def create_app() -> web.Application:
    """Create the application."""
    app = web.Application()
    kept = ChannelRule("kept*", history=100)
    app[SOCKETS] = SocketsManager(channels=[kept], limits=Limits(drain_window=20, recovery=4))
    app[STOPPING] = asyncio.Event()
    app.router.add_view("/stream", Endpoint)
    app.router.add_get("/hello", hello)
    app.router.add_get("/broken", broken)
    app.router.add_view("/view", View)
    app.on_shutdown.append(stopping)
    return app


def fails() -> web.Application:
    raise LookupError("no settings")


def fails_to_start() -> web.Application:
    async def start(app: web.Application) -> None:
        raise LookupError("no database")

    app = web.Application()
    app.on_startup.append(start)
    return app


def fails_to_stop() -> web.Application:
    async def stop(app: web.Application) -> None:
        raise LookupError("no goodbye")

    app = web.Application()
    app.on_cleanup.append(stop)
    return app


def prints_its_loop() -> web.Application:
    async def start(app: web.Application) -> None:
        os.write(2, f"{type(asyncio.get_running_loop()).__module__}\n".encode())

    app = web.Application()
    app.on_startup.append(start)
    return app


def starts_slowly() -> web.Application:
    async def start(app: web.Application) -> None:
        os.write(2, b"starting\n")
        await asyncio.Event().wait()

    app = web.Application()
    app.on_startup.append(start)
    return app


def says_when_it_starts() -> web.Application:
    async def start(app: web.Application) -> None:
        assert os.path.samestat(os.fstat(1), os.stat(os.devnull))
        os.write(2, b"started\n")

    app = web.Application()
    app.on_startup.append(start)
    return app
