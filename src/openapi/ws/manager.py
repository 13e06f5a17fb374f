"""The sockets of an application: who is connected, what carries their messages, how they end."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from openapi.errors import CloseCode
from openapi.protocol.handshake import check_origins
from openapi.protocol.limits import Limits
from openapi.ws.broker import Broker, broker_from_url
from openapi.ws.channels import Channels
from openapi.ws.heartbeat import Heartbeat
from openapi.ws.outbox import Flusher
from openapi.ws.shutdown import ShutdownWatch

if TYPE_CHECKING:
    from aiohttp import web

    from openapi.ws.connection import Connection

__all__ = ["SocketsManager", "Websocket", "WsHandlerType"]

logger = logging.getLogger("openapi.ws")

WsHandlerType: TypeAlias = Callable[[str, Any], None]

#: How many clients are sent back a second, at a shutdown, within ``limits.drain_window``.
_RETURNING_PER_SECOND: Final = 200
#: Seconds over which even a few are sent back: a server needs as long to start.
_SOONEST_RETURN: Final = 1.0


class Websocket:
    """One connected socket: an instance of the endpoint class, as long as the connection lasts."""

    socket_id: str = ""
    """A random name of the connection, that nobody can guess."""
    connection: "Connection"
    """The connection itself."""
    started: float = 0.0
    """When it was accepted: seconds since the epoch."""

    def __str__(self) -> str:
        return self.socket_id

    @property
    def sockets(self) -> "SocketsManager":
        """The manager of this socket."""
        raise TypeError(f"{type(self).__qualname__} is no endpoint: derive it from WsPathMixin")

    @property
    def channels(self) -> Channels:
        """The channels of this process."""
        return self.sockets.channels


class SocketsManager:
    """The sockets of an application and their publish/subscribe. Put it in ``app["web_sockets"]``.

    ``broker`` is the URL of what carries the messages, or a :class:`~openapi.ws.broker.Broker`;
    ``memory://`` is this process. ``limits`` bounds each connection. ``origins`` are the pages that
    a browser may connect from: None is those of the same origin, otherwise an exact list as in
    ``["https://example.com"]``, with ``"*"`` for all. ``deflate`` allows clients to ask for
    compression. Raises ValueError for an origin that can never match, and
    :class:`~openapi.errors.DeclarationError` for a broker that does not exist.

    A subclass may carry messages itself: it overrides :meth:`publish`, :meth:`subscribe`,
    :meth:`unsubscribe` and :meth:`subscribe_to_event`, and delivers with
    ``await self.channels(channel, {"event": event, "data": data})``. It need not call this
    ``__init__``.
    """

    limits: Limits = Limits()
    origins: Collection[str] | None = None
    deflate: bool = False
    _broker: str | Broker = "memory://"
    _broker_open: bool = False
    _draining: asyncio.Task[None] | None = None

    def __init__(
        self,
        *,
        broker: str | Broker = "memory://",
        limits: Limits = limits,
        origins: Collection[str] | None = None,
        deflate: bool = False,
    ) -> None:
        self._broker = broker_from_url(broker) if isinstance(broker, str) else broker
        self.limits = limits
        if origins is not None:
            check_origins(origins)
        self.origins = origins
        self.deflate = deflate

    @cached_property
    def sockets(self) -> set[Websocket]:
        """The sockets that are connected."""
        return set()

    @cached_property
    def channels(self) -> Channels:
        """The channels that somebody in this process is subscribed to."""
        return Channels(self)

    @cached_property
    def flusher(self) -> Flusher:
        """What writes the outboxes of all sockets."""
        return Flusher(asyncio.get_running_loop())

    @cached_property
    def heartbeat(self) -> Heartbeat:
        """What pings all sockets."""
        return Heartbeat(asyncio.get_running_loop(), self.limits)

    @cached_property
    def _watch(self) -> ShutdownWatch:
        return ShutdownWatch(self._begin_drain, self._finish_drain)

    @cached_property
    def _tasks(self) -> set[asyncio.Task[None]]:
        return set()

    @cached_property
    def _opening(self) -> asyncio.Lock:
        return asyncio.Lock()

    def add(self, ws: Websocket) -> None:
        """A socket connected."""
        self.sockets.add(ws)

    def remove(self, ws: Websocket) -> None:
        """A socket is gone."""
        self.sockets.discard(ws)

    def server_info(self) -> dict[str, Any]:
        """``{"connections": n, "channels": {channel: {event: subscribers}}}``"""
        return {"connections": len(self.sockets), "channels": self.channels.info()}

    async def publish(self, channel: str, event: str, data: Any) -> None:
        """Publish a message to everybody who subscribed to it, in whatever process.

        Raises CannotPublish where the channel cannot be published to, Unserializable for data that
        has no JSON form.
        """
        broker = await self._open_broker()
        await broker.publish(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        """Have the messages of a channel carried here: its first subscriber is about to come.

        Raises CannotSubscribe where that cannot be.
        """
        broker = await self._open_broker()
        await broker.subscribe(channel)

    async def subscribe_to_event(self, channel: str, event: str) -> None:
        """Called behind every subscription, to start whatever feeds it. Does nothing by itself."""

    async def unsubscribe(self, channel: str) -> None:
        """Have the messages of a channel no longer carried here: its last subscriber left."""
        broker = await self._open_broker()
        await broker.unsubscribe(channel)

    async def drain(self) -> None:
        """Let go of every socket without losing an answer. The server's shutdown does this.

        New connections and calls are refused; each client is told when to come back, so that they
        do not all come at once; calls in flight have ``limits.drain_window`` to finish; then the
        sockets are closed with 1012, and the broker last.
        """
        await asyncio.shield(self._begin_drain())

    async def close_sockets(self) -> None:
        """Close every socket with 1001 and wait until they are gone."""
        connections = [ws.connection for ws in self.sockets]
        for connection in connections:
            connection.close(CloseCode.GOING_AWAY, "the server closes")
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    @property
    def draining(self) -> bool:
        """Whether no new connection is taken."""
        return self._draining is not None

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something in the background. It belongs to the manager, which logs its failure."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def connected(self, ws: Websocket, request: "web.BaseRequest") -> None:
        """Called by an endpoint that accepted a connection."""
        self._watch.watch(request)
        self.heartbeat.add(ws.connection)
        self.add(ws)

    def disconnected(self, connection: "Connection", ws: Websocket) -> None:
        """Called by a connection that is gone."""
        self.heartbeat.remove(connection)
        self.channels.leave(connection)
        try:
            self.remove(ws)
        except Exception:
            # A subclass's own code: the end of a connection must get to its end.
            logger.exception("removing socket %s failed", ws)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a background task of the sockets manager failed", exc_info=exc)

    async def _open_broker(self) -> Broker:
        if self._broker_open:
            assert isinstance(self._broker, Broker)
            return self._broker
        async with self._opening:
            if isinstance(self._broker, str):
                self._broker = broker_from_url(self._broker)
            if not self._broker_open:
                await self._broker.open(self.channels.deliver)
                self._broker_open = True
            return self._broker

    def _begin_drain(self) -> asyncio.Task[None]:
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        return self._draining

    async def _finish_drain(self, patience: float | None) -> None:
        draining = self._begin_drain()
        await asyncio.wait([draining], timeout=patience)
        for ws in self.sockets:
            ws.connection.close(CloseCode.RESTART, "the server restarts")
        await asyncio.shield(draining)

    async def _drain(self) -> None:
        connections = [ws.connection for ws in self.sockets]
        spread = max(_SOONEST_RETURN, len(connections) / _RETURNING_PER_SECOND)
        window = min(self.limits.drain_window, spread)
        for connection in connections:
            connection.drain(after=round(random.uniform(0, window) * 1000))
        await _gone(connections, self.limits.drain_window)
        for connection in connections:
            connection.close(CloseCode.RESTART, "the server restarts")
        await _gone(connections, None)
        if self._tasks:  # channels that have nobody now
            _, late = await asyncio.wait(self._tasks, timeout=self.limits.close_timeout)
            for task in late:
                task.cancel()
        if isinstance(self._broker, Broker):
            await self._broker.aclose()


async def _gone(connections: "Collection[Connection]", timeout: float | None) -> None:
    if connections:
        waits = [asyncio.ensure_future(connection.wait_closed()) for connection in connections]
        _, late = await asyncio.wait(waits, timeout=timeout)
        for wait in late:
            wait.cancel()
