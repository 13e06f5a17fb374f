"""What the tests of the command line serve."""

import asyncio
import os
from typing import Any

from aiohttp import web

from openapi.errors import CloseCode
from openapi.ws import Limits, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)
STOPPING = web.AppKey("STOPPING", asyncio.Event)


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
        await asyncio.Event().wait()

    async def ws_rpc_kick(self, payload: dict[str, Any]) -> None:
        """Close whoever is subscribed to something."""
        for ws in tuple(self.sockets.sockets):
            if self.channels.get_subscribed(ws.connection):
                ws.connection.close(CloseCode.DISCONNECTED, "go away")


_STARTED = ("calls", {"event": "started", "data": None})


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
    app[SOCKETS] = SocketsManager(limits=Limits(drain_window=20))
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
