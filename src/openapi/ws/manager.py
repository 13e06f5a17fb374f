"""The sockets of an application: who is connected, what carries their messages, how they end."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Hashable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar, overload

from openapi.errors import CannotSubscribe, CloseCode
from openapi.protocol.limits import Limits
from openapi.protocol.stream import Position
from openapi.ws.broker import Broker, Outage, broker_from_url
from openapi.ws.carrier import CarrierState
from openapi.ws.channels import Channels
from openapi.ws.directory import ConnectionInfo
from openapi.ws.heartbeat import Heartbeat
from openapi.ws.middleware import Middleware
from openapi.ws.options import Options
from openapi.ws.outbox import Flusher
from openapi.ws.partial import Count, Found, Reply
from openapi.ws.parts import Parts
from openapi.ws.publishing import remembers_no_keys
from openapi.ws.rules import ChannelRule, ChannelRules
from openapi.ws.socket import Websocket
from openapi.ws.subscription import Subscription

if TYPE_CHECKING:
    from aiohttp import web

    from openapi.ws.connection import Connection

__all__ = ["SocketsManager", "WsHandlerType"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

WsHandlerType: TypeAlias = Callable[[str, Any], None]


class SocketsManager(Options):
    """The sockets of an application and their publish/subscribe. Put it in ``app["web_sockets"]``.

    ``broker`` is the URL of what carries the messages, or a :class:`~openapi.ws.broker.Broker`;
    ``memory://`` is this process. ``channels`` is what is promised of them, see
    :class:`~openapi.ws.rules.ChannelRule`. ``limits`` bounds each connection. ``origins`` are the
    pages that a browser may connect from: None is those of the same origin, otherwise an exact list
    as in ``["https://example.com"]``, with ``"*"`` for all. ``deflate`` allows clients to ask for
    compression. ``middleware`` runs around every call, the first outermost, outside of that of the
    endpoint; see :mod:`openapi.ws.middleware`.

    Raises ValueError for an origin that can never match, and
    :class:`~openapi.errors.DeclarationError` for a broker that does not exist, rules that
    contradict each other or promise what the broker cannot keep, a middleware that is none, or
    ``limits`` that are no :class:`Limits`.

    A subclass may carry messages itself: it overrides :meth:`publish`, :meth:`subscribe`,
    :meth:`unsubscribe` and :meth:`subscribe_to_event`, and delivers with
    ``await self.channels(channel, {"event": event, "data": data})``. It need not call this
    ``__init__``, and may set ``limits``, ``origins``, ``deflate`` and ``middleware`` in its class.
    """

    # What is the manager's own has two underscores: a subclass, which need not know of this
    # class's __init__, shall not meet it by accident.
    __broker: str | Broker = "memory://"
    __alone: bool = True
    __rules: Sequence[ChannelRule] = ()

    def __init__(
        self,
        *,
        broker: str | Broker = "memory://",
        channels: Sequence[ChannelRule] = (),
        limits: Limits | None = None,
        origins: Collection[str] | None = None,
        deflate: bool | None = None,
        middleware: Sequence[Middleware] | None = None,
    ) -> None:
        self.__broker = broker_from_url(broker) if isinstance(broker, str) else broker
        # One of one process that was made here is nobody else's.
        self.__alone = isinstance(broker, str) and not self.__broker.spans_processes
        self.__rules = channels
        self.rules.check(type(self).__qualname__, self.__broker)
        self._set_options(limits, origins, deflate, middleware)

    @cached_property
    def sockets(self) -> set[Websocket]:
        """The sockets that are connected."""
        return set()

    @cached_property
    def channels(self) -> Channels:
        """The channels that somebody in this process is subscribed to."""
        return Channels(self, lambda: self.__parts.carrier.opened())

    @cached_property
    def rules(self) -> ChannelRules:
        """What is promised of each channel."""
        return ChannelRules(type(self).__qualname__, self.__rules)

    @cached_property
    def flusher(self) -> Flusher:
        """What writes the outboxes of all sockets."""
        return Flusher(asyncio.get_running_loop())

    @cached_property
    def heartbeat(self) -> Heartbeat:
        """What pings all sockets."""
        return Heartbeat(asyncio.get_running_loop(), self.limits)

    @cached_property
    def __parts(self) -> Parts:
        return Parts(self, self.__broker, alone=self.__alone)

    @property
    def spans_processes(self) -> bool:
        """Whether what is published reaches the sockets of other processes."""
        overridden = type(self).publish is not SocketsManager.publish
        return overridden or self.__parts.carrier.broker.spans_processes

    @property
    def node(self) -> str:
        """The id of this process among those of the application: random, new in each."""
        return self.__parts.nodes.id

    def add(self, ws: Websocket) -> None:
        """A socket connected."""
        self.sockets.add(ws)

    def remove(self, ws: Websocket) -> None:
        """A socket is gone."""
        self.sockets.discard(ws)

    @overload
    def server_info(self, *, cluster: Literal[False] = ...) -> dict[str, Any]: ...
    @overload
    def server_info(self, *, cluster: Literal[True]) -> Coroutine[Any, Any, dict[str, Any]]: ...
    def server_info(
        self, *, cluster: bool = False
    ) -> dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]:
        """``{"connections": n, "channels": {channel: {event: subscribers}}}``, of this process.

        ``await server_info(cluster=True)`` has the sums of all, and besides ``"nodes"``, a list of
        ``{"id", "host", "pid", "connections"}``, and ``"missing"``, a list of the same with the
        ``"reason"`` why there is no answer; all but that is None where the others are not known.
        """
        if cluster:
            return self.__parts.reach.info()
        return {"connections": len(self.sockets), "channels": self.channels.info()}

    async def publish(self, channel: str, event: str, data: Any) -> Position | None:
        """Publish a message to everybody who subscribed to it, in whatever process.

        Returns its position on a channel that keeps history, otherwise None.

        Raises CannotPublish where the channel cannot be published to; InvalidData for data that is
        not of the channel's type; Unserializable for data that has no JSON form.
        """
        return await self.__parts.publishing.publish(channel, event, data)

    async def publish_once(
        self, channel: str, event: str, data: Any, *, key: str
    ) -> Position | None:
        """Do as :meth:`publish`, unless the channel had the ``key`` within 5 minutes.

        Then nothing happens, and the position is that of the first time: give each message a key of
        its own, as a UUID, to be able to try it again.

        Raises as :meth:`publish`; InvalidData for a key that another message had, or where nobody
        remembers keys; RpcError (LIMIT_EXCEEDED) where no more keys can be remembered.
        """
        if type(self).publish is not SocketsManager.publish:
            raise remembers_no_keys(self)  # it may never reach the broker
        return await self.__parts.publishing.publish_once(channel, event, data, key=key)

    async def subscribe(self, channel: str) -> None:
        """Have the messages of a channel carried here: its first subscriber is about to come.

        Raises CannotSubscribe where that cannot be.
        """
        broker = await self.__parts.carrier.opened()
        if broker is None:
            raise CannotSubscribe("the server has shut down")
        await broker.subscribe(channel)

    async def subscribe_to_event(self, channel: str, event: str) -> None:
        """Called behind every subscription, to start whatever feeds it. Does nothing by itself."""

    async def unsubscribe(self, channel: str) -> None:
        """Have the messages of a channel no longer carried here: its last subscriber left."""
        broker = await self.__parts.carrier.opened()
        if broker is not None:
            await broker.unsubscribe(channel)

    @overload
    def subscription(
        self,
        channel: str,
        event: str = ...,
        *,
        type: type[T],
        recover: Position | None = ...,
        queue_bytes: int = ...,
    ) -> Subscription[T]: ...
    @overload
    def subscription(
        self,
        channel: str,
        event: str = ...,
        *,
        type: object = ...,
        recover: Position | None = ...,
        queue_bytes: int = ...,
    ) -> Subscription[Any]: ...
    def subscription(
        self,
        channel: str,
        event: str = "*",
        *,
        type: object = Any,
        recover: Position | None = None,
        queue_bytes: int = 1024 * 1024,
    ) -> Subscription[Any]:
        """Read the events of a channel that fit a pattern, in the server's own code.

        ``type`` is the type of the data, by default dicts, lists and plain values. ``recover`` is a
        position to go on from, that of the last message that was read. At most ``queue_bytes``
        wait to be read. See :class:`~openapi.ws.subscription.Subscription`; entering it raises
        CannotSubscribe.
        """
        return Subscription(
            channel,
            event,
            channels=self.channels,
            recover=recover,
            type=type,
            queue_bytes=queue_bytes,
            opened=self.__parts.subscriptions,
        )

    async def subscribe_socket(
        self,
        channel: str,
        event: str = "*",
        *,
        user: Hashable = None,
        socket_id: str | None = None,
    ) -> Count:
        """Subscribe one connection, or all of a user, to a channel; returns how many it were.

        Their clients are told ``$subscribed``. Nobody asks ``authorize``, but
        :meth:`Websocket.reauthorize` does later, of these as of all others. One that is another
        user's by the time that the channel is open is left out. They are found as by :meth:`call`.

        Raises ValueError unless exactly one of ``user`` and ``socket_id`` is given; InvalidData
        where the channel is refused; RpcError where one has as many channels as it may. Then others
        may be subscribed.
        """
        return await self.__parts.reach.subscribe(channel, event, user=user, socket_id=socket_id)

    async def unsubscribe_socket(
        self, channel: str, *, user: Hashable = None, socket_id: str | None = None
    ) -> Count:
        """Take a channel from one connection, or from all of a user; returns from how many.

        Their clients are told ``$unsubscribed``. Raises ValueError as :meth:`subscribe_socket`.
        """
        return await self.__parts.reach.unsubscribe(channel, user=user, socket_id=socket_id)

    async def disconnect(
        self,
        *,
        user: Hashable = None,
        socket_id: str | None = None,
        code: int = CloseCode.DISCONNECTED,
        reason: str = "",
    ) -> Count:
        """Close one connection, or all of a user; returns how many it were.

        Raises ValueError as :meth:`subscribe_socket`, and for a code or reason that cannot be sent.
        """
        return await self.__parts.reach.disconnect(
            user=user, socket_id=socket_id, code=code, reason=reason
        )

    async def connections(self, *, user: Hashable = None) -> Found[ConnectionInfo]:
        """Who is connected, to each process in the order in which they came; of ``user``, if given.

        A user of another process that is neither str nor int is told as its text.
        """
        return await self.__parts.reach.connections(user)

    async def call(
        self,
        method: str,
        payload: object = None,
        *,
        user: Hashable = None,
        socket_id: str | None = None,
        returns: object = Any,
        timeout: float | None = 30.0,
    ) -> Found[Reply]:
        """Call a method of clients: of one connection, or of all that a user has, in all processes.

        Returns a reply of each, none if there is no such connection; one that fails, or goes away,
        spoils no other, and a process that does not answer is ``missing`` in what is returned.
        ``user`` is what an endpoint put into :attr:`Websocket.user`: one that is neither str nor
        int is found in this process only. ``returns`` and ``timeout`` are those of
        :meth:`Websocket.call`. From other processes, a result comes in its JSON form.

        Raises ValueError unless exactly one of ``user`` and ``socket_id`` is given, Unserializable
        for a payload that has no JSON form.
        """
        return await self.__parts.reach.call(
            method, payload, user=user, socket_id=socket_id, returns=returns, timeout=timeout
        )

    async def open(self) -> None:
        """Open the broker now, and not when it is first needed: at the start of the application.

        Raises what it cannot mend, as a server that is too old; one that is away is come back to.
        """
        await self.__parts.carrier.opened()
        await self.__parts.nodes.tried()

    @property
    def opened(self) -> bool:
        """Whether the broker is open: its server may be away, see :attr:`outage`."""
        return self.__parts.carrier.state is CarrierState.OPEN

    @property
    def outage(self) -> Outage | None:
        """Since when, and why, the broker's server is away; None while it is there."""
        return self.__parts.carrier.outage

    async def drain(self) -> None:
        """Let go of every socket without losing an answer. The server's shutdown does this.

        New connections and calls are refused; each client is told when to come back, so that they
        do not all come at once; calls in flight have ``limits.drain_window`` to finish; then the
        sockets are closed with 1012, and the broker last.
        """
        await asyncio.shield(self.__parts.drain.begin())

    async def close_sockets(self) -> None:
        """Close every socket with 1001 and wait until they are gone."""
        connections = self.__parts.connections()
        for connection in connections:
            connection.close(CloseCode.GOING_AWAY, "the server closes")
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    @property
    def draining(self) -> bool:
        """Whether no new connection is taken."""
        return self.__parts.drain.begun

    async def __aenter__(self) -> Self:
        """Own the manager's life, where no socket may ever come: leaving it drains it."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.drain()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background. It belongs to the manager, which logs its failure."""
        return self.__parts.background.spawn(coroutine)

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Take care of a task that outlives its connection. The drain waits for it in its window.

        Whoever started it sees its failure.
        """
        self.__parts.background.adopt(task)

    def shielding(self) -> AbstractContextManager[None]:
        """Count a shielded call. Raises RpcError where there are too many in the process."""
        return self.__parts.shielded.one()

    def rename(self, ws: Websocket, old: Hashable, new: Hashable) -> None:
        """Called by a socket whose user is another one now."""
        if self.__parts.directory.rename(ws, old, new):
            self.channels.renamed(ws.connection)

    def connected(self, ws: Websocket, request: "web.BaseRequest") -> None:
        """Called by an endpoint that accepted a connection."""
        self.__parts.watch.watch(request)
        self.__parts.directory.add(ws)
        self.add(ws)
        self.heartbeat.add(ws.connection)
        self.__parts.be_found()
        if self.__parts.watch.too_late(request):
            self.__parts.drain.begin()
        if self.draining:  # it began during the handshake
            ws.connection.restart()

    def disconnected(self, connection: "Connection", ws: Websocket) -> None:
        """Called by a connection that is gone."""
        self.heartbeat.remove(connection)
        self.channels.leave(connection)
        self.__parts.directory.remove(ws)
        try:
            self.remove(ws)
        except Exception:
            # A subclass's own code: the end of a connection must get to its end.
            logger.exception("removing socket %s failed", ws)
