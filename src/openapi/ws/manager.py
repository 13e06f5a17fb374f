"""The sockets of an application: who is connected, what carries their messages, how they end."""

import asyncio
import logging
from collections.abc import (
    Callable,
    Collection,
    Coroutine,
    Hashable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, overload

from openapi.errors import (
    CallFailed,
    CannotPublish,
    CannotSubscribe,
    CloseCode,
    ConnectionClosed,
    DeclarationError,
    ErrorCode,
    InvalidData,
    OpenApiError,
    RpcError,
    UnexpectedData,
    Unserializable,
)
from openapi.protocol.handshake import check_origins
from openapi.protocol.limits import Limits
from openapi.protocol.stream import Position
from openapi.protocol.topics import SERVER_EVENT
from openapi.schema import Schema, encode_json
from openapi.ws.background import Background
from openapi.ws.broker import Broker, KeepsHistory, Outage, PublishesOnce, broker_from_url
from openapi.ws.carrier import Carrier
from openapi.ws.channels import Channels
from openapi.ws.directory import ConnectionInfo, Directory
from openapi.ws.drain import Drain
from openapi.ws.heartbeat import Heartbeat
from openapi.ws.middleware import Middleware, check_middleware
from openapi.ws.outbox import Flusher
from openapi.ws.rules import ChannelRule, ChannelRules
from openapi.ws.shutdown import ShutdownWatch
from openapi.ws.socket import Websocket
from openapi.ws.subscription import Subscription

if TYPE_CHECKING:
    from aiohttp import web

    from openapi.ws.connection import Connection

__all__ = ["ConnectionInfo", "Reply", "SocketsManager", "WsHandlerType"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

WsHandlerType: TypeAlias = Callable[[str, Any], None]


@dataclass(frozen=True, slots=True)
class Reply:
    """What one connection said to :meth:`SocketsManager.call`: a result, or why there is none."""

    socket_id: str
    result: Any = None
    error: OpenApiError | TimeoutError | None = None
    """CallFailed, ConnectionClosed, UnexpectedData, TimeoutError; or Unserializable, where the
    payload has a JSON form and none in the dialect of this connection."""


class SocketsManager:
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

    limits: Limits = Limits()
    origins: Collection[str] | None = None
    deflate: bool = False
    middleware: Sequence[Middleware] = ()
    # What is the manager's own has two underscores: a subclass, which need not know of this
    # class's __init__, shall not meet it by accident.
    __broker: str | Broker = "memory://"
    __shielded: int = 0
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
        self.__rules = channels
        self.rules.check(type(self).__qualname__, self.__broker)
        # What is not given is the class's own: a subclass may have set it there.
        if limits is not None:
            self.limits = _checked(type(self).__qualname__, limits)
        if origins is not None:
            check_origins(origins)
            self.origins = origins
        if deflate is not None:
            self.deflate = deflate
        if middleware is not None:
            self.middleware = check_middleware(type(self).__qualname__, middleware)

    @cached_property
    def sockets(self) -> set[Websocket]:
        """The sockets that are connected."""
        return set()

    @cached_property
    def channels(self) -> Channels:
        """The channels that somebody in this process is subscribed to."""
        return Channels(self, lambda: self.__carrier.opened())

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
    def __directory(self) -> Directory:
        return Directory()

    @cached_property
    def __subscriptions(self) -> set[Subscription[Any]]:
        return set()

    @cached_property
    def __background(self) -> Background:
        return Background()

    @cached_property
    def __drain(self) -> Drain:
        return Drain(self.limits, self.__connections, self.__background, self.__let_go)

    @cached_property
    def __watch(self) -> ShutdownWatch:
        return ShutdownWatch(self.__drain.begin, self.__drain.finish)

    @cached_property
    def __carrier(self) -> Carrier:
        return Carrier(self.__broker, self.channels.deliver, self.channels.feeds.missed)

    def add(self, ws: Websocket) -> None:
        """A socket connected."""
        self.sockets.add(ws)

    def remove(self, ws: Websocket) -> None:
        """A socket is gone."""
        self.sockets.discard(ws)

    def server_info(self) -> dict[str, Any]:
        """``{"connections": n, "channels": {channel: {event: subscribers}}}``"""
        return {"connections": len(self.sockets), "channels": self.channels.info()}

    async def publish(self, channel: str, event: str, data: Any) -> Position | None:
        """Publish a message to everybody who subscribed to it, in whatever process.

        Returns its position on a channel that keeps history, otherwise None.

        Raises CannotPublish where the channel cannot be published to; InvalidData for data that is
        not of the channel's type; Unserializable for data that has no JSON form.
        """
        rule, broker = await self.__publishing(channel)
        own = event.startswith(SERVER_EVENT)
        if own or not rule.history:
            await broker.publish(channel, event, data if own else rule.plain(data))
            return None
        assert isinstance(broker, KeepsHistory)  # or the rule had been refused
        return await broker.append(channel, event, rule.kept(data), retention=rule.retention)

    async def publish_once(
        self, channel: str, event: str, data: Any, *, key: str
    ) -> Position | None:
        """Do as :meth:`publish`, unless the channel had the ``key`` within 5 minutes.

        Then nothing happens, and the position is that of the first time: give each message a key of
        its own, as a UUID, to be able to try it again.

        Raises as :meth:`publish`; InvalidData for a key that another message had, or where nobody
        remembers keys; RpcError (LIMIT_EXCEEDED) where no more keys can be remembered.
        """
        if event.startswith(SERVER_EVENT):
            raise InvalidData({"event": f"{event!r} is the server's own, and has no key"})
        rule, broker = await self.__publishing(channel)
        carrier: object = broker
        if type(self).publish is not SocketsManager.publish:
            carrier = self  # it may never reach the broker
        elif rule.history:
            assert isinstance(broker, KeepsHistory)  # or the rule had been refused
            return await broker.append(
                channel, event, rule.kept(data), retention=rule.retention, key=key
            )
        elif isinstance(broker, PublishesOnce):
            await broker.publish_once(channel, event, rule.checked(data), key=key)
            return None
        name = type(carrier).__name__
        raise InvalidData({"key": f"{name} remembers no keys: leave it out"})

    async def subscribe(self, channel: str) -> None:
        """Have the messages of a channel carried here: its first subscriber is about to come.

        Raises CannotSubscribe where that cannot be.
        """
        broker = await self.__carrier.opened()
        if broker is None:
            raise CannotSubscribe("the server has shut down")
        await broker.subscribe(channel)

    async def subscribe_to_event(self, channel: str, event: str) -> None:
        """Called behind every subscription, to start whatever feeds it. Does nothing by itself."""

    async def unsubscribe(self, channel: str) -> None:
        """Have the messages of a channel no longer carried here: its last subscriber left."""
        broker = await self.__carrier.opened()
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
            opened=self.__subscriptions,
        )

    async def subscribe_socket(
        self,
        channel: str,
        event: str = "*",
        *,
        user: Hashable = None,
        socket_id: str | None = None,
    ) -> int:
        """Subscribe one connection, or all of a user, to a channel; returns how many it were.

        Their clients are told ``$subscribed``. Nobody asks ``authorize``, but
        :meth:`Websocket.reauthorize` does later, of these as of all others. One that is another
        user's by the time that the channel is open is left out.

        Raises ValueError unless exactly one of ``user`` and ``socket_id`` is given; InvalidData
        where the channel is refused; RpcError where one has as many channels as it may.
        """
        found = self.__directory.find("subscribe_socket", user, socket_id)
        return sum([await self.__invite(ws, channel, event, user) for ws in found])

    async def unsubscribe_socket(
        self, channel: str, *, user: Hashable = None, socket_id: str | None = None
    ) -> int:
        """Take a channel from one connection, or from all of a user; returns from how many.

        Their clients are told ``$unsubscribed``. Raises ValueError as :meth:`subscribe_socket`.
        """
        found = self.__directory.find("unsubscribe_socket", user, socket_id)
        return sum(self.channels.expel(ws.connection.deliveries, channel) for ws in found)

    async def disconnect(
        self,
        *,
        user: Hashable = None,
        socket_id: str | None = None,
        code: int = CloseCode.DISCONNECTED,
        reason: str = "",
    ) -> int:
        """Close one connection, or all of a user; returns how many it were.

        Raises ValueError as :meth:`subscribe_socket`.
        """
        found = self.__directory.find("disconnect", user, socket_id)
        for ws in found:
            ws.connection.close(code, reason)
        return len(found)

    async def connections(self, *, user: Hashable = None) -> list[ConnectionInfo]:
        """Who is connected, in the order in which they came; with ``user`` only their own."""
        return self.__directory.info(user)

    async def call(
        self,
        method: str,
        payload: object = None,
        *,
        user: Hashable = None,
        socket_id: str | None = None,
        returns: object = Any,
        timeout: float | None = 30.0,
    ) -> list[Reply]:
        """Call a method of clients: of one connection, or of all that a user has.

        Returns a reply of each, none if there is no such connection; one that fails, or goes away,
        spoils no other. ``user`` is what an endpoint put into :attr:`Websocket.user`. ``returns``
        and ``timeout`` are those of :meth:`Websocket.call`.

        Raises ValueError unless exactly one of ``user`` and ``socket_id`` is given, Unserializable
        for a payload that has no JSON form.
        """
        found = self.__directory.find("call", user, socket_id)
        encode_json({} if payload is None else payload)
        schema = Schema.of(returns)

        async def ask(ws: Websocket) -> Reply:
            try:
                result = await ws.call(method, payload, returns=schema, timeout=timeout)
            except (
                CallFailed,
                ConnectionClosed,
                UnexpectedData,
                Unserializable,  # in this socket's dialect: JSON's was tried above
                TimeoutError,
            ) as exc:
                return Reply(ws.socket_id, error=exc)
            return Reply(ws.socket_id, result)

        return await asyncio.gather(*map(ask, found))

    async def open(self) -> None:
        """Open the broker now, and not when it is first needed: at the start of the application.

        Raises what it cannot mend, as a server that is too old; one that is away is come back to.
        """
        await self.__carrier.opened()

    @property
    def outage(self) -> Outage | None:
        """Since when, and why, the broker's server is away; None while it is there."""
        return self.__carrier.outage

    async def drain(self) -> None:
        """Let go of every socket without losing an answer. The server's shutdown does this.

        New connections and calls are refused; each client is told when to come back, so that they
        do not all come at once; calls in flight have ``limits.drain_window`` to finish; then the
        sockets are closed with 1012, and the broker last.
        """
        await asyncio.shield(self.__drain.begin())

    async def close_sockets(self) -> None:
        """Close every socket with 1001 and wait until they are gone."""
        connections = self.__connections()
        for connection in connections:
            connection.close(CloseCode.GOING_AWAY, "the server closes")
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    @property
    def draining(self) -> bool:
        """Whether no new connection is taken."""
        return self.__drain.begun

    async def __aenter__(self) -> Self:
        """Own the manager's life, where no socket may ever come: leaving it drains it."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.drain()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.origins is not None:
            check_origins(cls.origins)
        _checked(cls.__qualname__, cls.limits)
        cls.middleware = check_middleware(cls.__qualname__, cls.middleware)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background. It belongs to the manager, which logs its failure."""
        return self.__background.spawn(coroutine)

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Take care of a task that outlives its connection. The drain waits for it in its window.

        Whoever started it sees its failure.
        """
        self.__background.adopt(task)

    @contextmanager
    def shielding(self) -> Iterator[None]:
        """Count a shielded call. Raises RpcError where there are too many in the process."""
        most = self.limits.shielded
        if self.__shielded >= most:
            raise RpcError(
                ErrorCode.TOO_MANY_CALLS,
                f"{most} shielded calls are in flight, try again later",
                data={"limit": "shielded", "max": most},
            )
        self.__shielded += 1
        try:
            yield
        finally:
            self.__shielded -= 1

    def rename(self, ws: Websocket, old: Hashable, new: Hashable) -> None:
        """Called by a socket whose user is another one now."""
        if self.__directory.rename(ws, old, new):
            self.channels.renamed(ws.connection)

    def connected(self, ws: Websocket, request: "web.BaseRequest") -> None:
        """Called by an endpoint that accepted a connection."""
        self.__watch.watch(request)
        self.__directory.add(ws)
        self.add(ws)
        self.heartbeat.add(ws.connection)
        if self.__watch.too_late(request):
            self.__drain.begin()
        if self.draining:  # it began during the handshake
            ws.connection.restart()

    def disconnected(self, connection: "Connection", ws: Websocket) -> None:
        """Called by a connection that is gone."""
        self.heartbeat.remove(connection)
        self.channels.leave(connection)
        self.__directory.remove(ws)
        try:
            self.remove(ws)
        except Exception:
            # A subclass's own code: the end of a connection must get to its end.
            logger.exception("removing socket %s failed", ws)

    async def __invite(self, ws: Websocket, channel: str, event: str, user: Hashable) -> bool:
        deliveries, may = ws.connection.deliveries, True

        def is_theirs(rights: int | None = None) -> bool:
            is_same = user is None or ws.user == user
            return is_same and (rights is None or deliveries.has_rights(rights))

        while may and is_theirs():
            current = partial(is_theirs, deliveries.rights)
            if await self.channels.invite(deliveries, channel, event, current=current):
                return True
            # What is on its way is asked for as well, where everything is asked for anew.
            may = not deliveries.gone and await ws.allows("subscribe", channel, event)
        return False

    async def __publishing(self, channel: str) -> tuple[ChannelRule, Broker]:
        rule = self.rules.of(channel)
        if rule.refused:
            raise CannotPublish(f"the rule for {rule.name!r} refuses the channel {channel!r}")
        broker = await self.__carrier.opened()
        if broker is None:
            raise CannotPublish("the server has shut down")
        return rule, broker

    def __connections(self) -> "list[Connection]":
        return [ws.connection for ws in self.sockets]

    async def __let_go(self) -> None:
        for subscription in tuple(self.__subscriptions):
            subscription.end(None)
            self.channels.leave(subscription)
        await self.channels.aclose()
        # Channels that have nobody now, on_disconnect, and what the stopped ones clean up.
        await self.__background.wind_up(self.limits.close_timeout)
        try:
            async with asyncio.timeout(self.limits.close_timeout):
                await self.__carrier.aclose()
        except Exception:
            # The application has more to clean up behind this.
            logger.exception("closing the broker failed")


def _checked(where: str, limits: object) -> Limits:
    if not isinstance(limits, Limits):
        raise DeclarationError(f"{where}: limits is a `Limits(…)`, not {limits!r}")
    return limits
