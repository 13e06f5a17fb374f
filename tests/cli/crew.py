"""What several workers serve."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from aiohttp import web

from openapi.errors import BrokerUnavailable, DeclarationError
from openapi.ws import Broker, ChannelRule, Limits, SocketsManager, WsPathMixin
from openapi.ws.broker import Deliver, Outage, Supervised
from openapi.ws.pubsub import Publish, Subscribe

SOCKETS = web.AppKey("SOCKETS", SocketsManager)
STOPPING = web.AppKey("STOPPING", asyncio.Event)
KEPT = ChannelRule("kept*", history=100)


class Endpoint(WsPathMixin, Subscribe, Publish):
    SOCKETS_KEY = SOCKETS

    async def ws_rpc_process(self, payload: dict[str, Any]) -> int:
        """Which worker this is"""
        return os.getpid()

    async def ws_rpc_last_call(self, payload: dict[str, Any]) -> str:
        """Answer when the server stops"""
        await self.sockets.publish("calls", "started", None)
        await self.request.app[STOPPING].wait()
        return "answered"

    async def ws_rpc_stuck(self, payload: dict[str, Any]) -> None:
        """Never answer"""
        await self.sockets.publish("calls", "started", None)
        await asyncio.Event().wait()

    async def ws_rpc_block(self, payload: dict[str, Any]) -> None:
        """Never let the loop go on"""
        await self.sockets.publish("calls", "started", None)
        time.sleep(1000)  # noqa: ASYNC251 - that is what it is about


async def process(request: web.Request) -> web.Response:
    """Which worker this is"""
    return web.json_response(os.getpid())


async def stopping(app: web.Application) -> None:
    app[STOPPING].set()


async def create_app() -> web.Application:
    """Create the application, with the broker that the environment says."""
    app = web.Application()
    limits = Limits(drain_window=20)
    app[SOCKETS] = SocketsManager(broker=os.environ["BROKER"], channels=[KEPT], limits=limits)
    app[STOPPING] = asyncio.Event()
    app.router.add_view("/stream", Endpoint)
    app.on_shutdown.append(stopping)
    return app


def without_manager() -> web.Application:
    app = web.Application()
    app.router.add_get("/process", process)
    return app


def _says_when_it_starts(app: web.Application) -> web.Application:
    async def start(app: web.Application) -> None:
        os.write(2, b"started\n")

    app.on_startup.append(start)
    return app


def in_memory() -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager()
    return _says_when_it_starts(app)


def in_memory_below() -> web.Application:
    """The one that is mounted has it, under a key of its own."""
    inner, app = web.Application(), web.Application()
    inner[SOCKETS] = SocketsManager()
    inner.router.add_view("/stream", Endpoint)
    app.add_subapp("/below", inner)
    return _says_when_it_starts(app)


def two_managers() -> web.Application:
    app = web.Application()
    app["one"] = SocketsManager()
    app["other"] = SocketsManager()
    app["again"] = app["one"]
    return app


class Own(SocketsManager):
    """It carries messages itself, and needs no broker."""

    def __init__(self) -> None: ...

    async def publish(self, channel: str, event: str, data: Any) -> None: ...

    async def subscribe(self, channel: str) -> None: ...


def own_manager() -> web.Application:
    app = web.Application()
    app["web_sockets"] = Own()
    return app


class Unopenable(Broker):
    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    async def open(self, deliver: Deliver) -> None:
        raise self.failure

    async def publish(self, channel: str, event: str, data: object) -> None: ...

    async def subscribe(self, channel: str) -> None: ...

    async def unsubscribe(self, channel: str) -> None: ...

    async def aclose(self) -> None: ...


def cannot_open() -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager(broker=Unopenable(LookupError("no settings")))
    return app


def of_no_use() -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager(broker=Unopenable(DeclarationError("it is too old")))
    return app


class Away(Broker, Supervised):
    """Its server is away, which its supervisor logs."""

    outage = Outage(0.0, "nobody listens")

    async def open(self, deliver: Deliver) -> None:
        logging.getLogger("openapi.ws.brokers.supervision").warning("Nobody listens")

    def watch(self, missed: Callable[[Collection[str] | None], object]) -> None: ...

    async def publish(self, channel: str, event: str, data: object) -> None:
        raise BrokerUnavailable

    async def subscribe(self, channel: str) -> None:
        raise BrokerUnavailable

    async def unsubscribe(self, channel: str) -> None: ...

    async def aclose(self) -> None: ...


def broker_is_away() -> web.Application:
    app = web.Application()
    app["web_sockets"] = SocketsManager(broker=Away())
    return app


def fails_while_there_is_a_file() -> web.Application:
    if Path(os.environ["FILE"]).exists():
        raise LookupError("no settings")
    return without_manager()


def dies_while_it_starts() -> web.Application:
    os.kill(os.getpid(), signal.SIGABRT)
    return web.Application()


def leaves_children() -> web.Application:
    """What it forks has all that it had open, and outlives it."""
    if os.fork() == 0:
        os.close(1)
        os.close(2)
        time.sleep(3)
        os._exit(0)
    return without_manager()
