"""The RPC methods of publish/subscribe, as mixins of an endpoint."""

import asyncio
from collections.abc import Sequence
from functools import cached_property, partial
from math import ceil
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from openapi.errors import CannotPublish, ErrorCode, InvalidData, RpcError
from openapi.protocol.limits import Limits
from openapi.protocol.methods import ws_rpc
from openapi.protocol.rates import Bucket
from openapi.protocol.stream import Position
from openapi.protocol.topics import SERVER_EVENT
from openapi.schema import encode_json
from openapi.ws.broker import KEY_SECONDS, Member
from openapi.ws.connection import Connection
from openapi.ws.delivery import Delivery
from openapi.ws.gates import Gates
from openapi.ws.refusals import not_allowed
from openapi.ws.rules import ChannelRule
from openapi.ws.socket import Websocket

if TYPE_CHECKING:
    from openapi.ws.joined import Joined

__all__ = [
    "ChannelCallback",
    "ChannelSchema",
    "History",
    "HistorySchema",
    "Members",
    "Present",
    "Publish",
    "PublishSchema",
    "Published",
    "PublishedMessage",
    "Subscribe",
    "SubscribeSchema",
    "Subscribed",
    "UnsubscribeSchema",
]


class PublishSchema(TypedDict):
    """The payload of ``publish``. With a ``key`` it may be sent again, and is published once."""

    channel: str
    event: NotRequired[str | None]
    data: Any
    key: NotRequired[str | None]


class SubscribeSchema(TypedDict):
    """The payload of ``subscribe``. ``event`` is a pattern.

    ``recover`` is a position to go on from; with ``presence`` come ``$join`` and ``$leave``.
    """

    channel: str
    event: NotRequired[str | None]
    recover: NotRequired[Position | None]
    presence: NotRequired[bool | None]


class UnsubscribeSchema(TypedDict):
    """The payload of ``unsubscribe``. ``event`` is a pattern."""

    channel: str
    event: NotRequired[str | None]


class HistorySchema(TypedDict):
    """The payload of ``history``.

    At most ``limit`` messages behind ``since``; with ``reverse`` before it, the newest first.
    """

    channel: str
    since: NotRequired[Position | None]
    limit: NotRequired[int | None]
    reverse: NotRequired[bool | None]


class ChannelSchema(TypedDict):
    """The payload of ``presence``."""

    channel: str


class Published(TypedDict):
    """The response of ``publish``; with its position on a channel that keeps history."""

    channel: str
    event: str
    data: Any
    offset: NotRequired[int]
    epoch: NotRequired[str]


class PublishedMessage(TypedDict):
    """A message of a channel that keeps history."""

    channel: str
    event: str
    data: Any
    offset: int


class Subscribed(TypedDict):
    """The response of ``subscribe`` and ``unsubscribe``: what this connection has.

    On a channel that keeps history also the position from which its messages come; and where it
    was asked to recover, whether ``messages`` are all that were missed.
    """

    subscribed: dict[str, list[str]]
    offset: NotRequired[int]
    epoch: NotRequired[str]
    recovered: NotRequired[bool]
    messages: NotRequired[list[PublishedMessage]]


class History(TypedDict):
    """The response of ``history``: messages, and where the channel is now."""

    messages: list[PublishedMessage]
    offset: int
    epoch: str


class Present(TypedDict):
    """Who is on a channel: a user, or a connection that is nobody's."""

    id: str
    user: NotRequired[str | int]
    info: NotRequired[Any]
    connections: int


class Members(TypedDict):
    """The response of ``presence``."""

    members: list[Present]


class ChannelCallback:
    """A socket as a callback of :meth:`Channels.register`."""

    def __init__(self, ws: Websocket) -> None:
        self.ws = ws

    def __str__(self) -> str:
        return f"websocket {self.ws}"

    @property
    def connection(self) -> Connection:
        """What a channel really delivers to, without a callback in between."""
        return self.ws.connection

    async def __call__(self, channel: str, event: str, data: Any) -> None:
        """Send one message to the socket, whatever it is subscribed to."""
        self.connection.deliveries.deliver(Delivery(channel, event, data))


class Publish(Websocket):
    """Adds the RPC method ``publish`` to an endpoint."""

    def get_publish_message(self, data: Any) -> Any:
        """What is published for the data of a client. Override it to wrap or to change it."""
        return data

    @ws_rpc(body_schema=PublishSchema, response_schema=Published)
    async def ws_rpc_publish(self, payload: dict[str, Any]) -> Any:
        """Publish a message to everyone who subscribed to its channel"""
        channel, event = payload["channel"], payload.get("event") or ""
        limits, key = self.sockets.limits, payload.get("key")
        _check_names(limits, channel, event, "Cannot publish to channel")
        if event.startswith(SERVER_EVENT):
            raise InvalidData({"event": f"events that begin with {SERVER_EVENT} are the server's"})
        if key is not None and not 0 < len(key.encode()) <= limits.name_bytes:
            raise InvalidData({"key": f"expected 1 to {limits.name_bytes} bytes"})
        rule = self.sockets.rules.of(channel)
        if rule.refused:
            raise InvalidData({"channel": "Cannot publish to channel"})
        self.__check_rate(rule)
        if key is not None:
            self.__check_keys()
        if type(self).authorize is Websocket.authorize:
            return await self.__publish(channel, event, payload["data"], key)
        # What authorize awaits must not let a client's messages overtake each other.
        async with self.__turns.turn(channel):
            if await self.authorize("publish", channel, event) is not True:
                raise not_allowed("publish")
            return await self.__publish(channel, event, payload["data"], key)

    async def __publish(self, channel: str, event: str, data: Any, key: str | None) -> Any:
        data = self.sockets.rules.of(channel).read(self.get_publish_message(data))
        try:
            if key is None:
                position = await self.sockets.publish(channel, event, data)
            else:
                # A key is of whoever publishes: nobody takes another user's away.
                user = None if self.user is None else repr(self.user)
                own = encode_json([user, key]).decode()
                position = await self.sockets.publish_once(channel, event, data, key=own)
        except CannotPublish:
            raise InvalidData({"channel": "Cannot publish to channel"}) from None
        published = {"channel": channel, "event": event, "data": data}
        return published if position is None else published | _form_of(position)

    @cached_property
    def __turns(self) -> Gates:
        return Gates()

    @cached_property
    def __buckets(self) -> dict[str | None, Bucket]:
        return {}  # by the name of the rule; None is that of keys

    def __check_rate(self, rule: ChannelRule) -> None:
        if rule.max_rate is not None:
            text = f"At most {rule.max_rate:g} messages a second may be published here"
            self.__take(rule.name, "max_rate", rule.max_rate, rule.max_rate, None, text)

    def __check_keys(self) -> None:
        # Keys are remembered for everyone in one place: nobody shall have all of it.
        most = self.sockets.limits.keys
        text = f"At most {most} keys may be published with in {KEY_SECONDS / 60:g} minutes"
        self.__take(None, "keys", most, most / KEY_SECONDS, most, text)

    def __take(
        self,
        bucket: str | None,
        limit: str,
        maximum: float,
        rate: float,
        most: float | None,
        text: str,
    ) -> None:
        now = asyncio.get_running_loop().time()
        taken_from = self.__buckets.get(bucket)
        if taken_from is None:
            taken_from = self.__buckets[bucket] = Bucket(rate, now, most=most)
        if wait := taken_from.take(now):
            raise RpcError(
                ErrorCode.RATE_LIMITED,
                text,
                data={"limit": limit, "max": maximum},
                retry_after=ceil(wait * 1000),
            )


class Subscribe(Websocket):
    """Adds the RPC methods ``subscribe``, ``unsubscribe``, ``history`` and ``presence``."""

    @property
    def channel_callback(self) -> ChannelCallback:
        """This socket, to be registered with :attr:`Websocket.channels`."""
        return ChannelCallback(self)

    # In a lane by channel: who unsubscribes behind a subscribe has no subscription, however long
    # that one took.
    @ws_rpc(body_schema=SubscribeSchema, response_schema=Subscribed, lane="channel")
    async def ws_rpc_subscribe(self, payload: dict[str, Any]) -> Any:
        """Subscribe to the events of a channel that fit a pattern, all of them by default"""
        channel, event = payload["channel"], payload.get("event") or "*"
        _check_names(self.sockets.limits, channel, event, "Invalid channel")
        recover, watch = _position_of(payload.get("recover")), bool(payload.get("presence"))
        deliveries = self.connection.deliveries
        joined: Joined | None = None
        while joined is None:
            rights = deliveries.rights
            await self.__ask("subscribe", channel, event)
            if watch:
                self.__check_presence(channel, "presence")
                await self.__ask("presence", channel, "")
            # What was missed is history: who may not read that gets none of it.
            readable = recover is not None and await self.allows("history", channel, "*")
            joined = await self.channels.subscribe(
                channel,
                event,
                deliveries,
                recover=recover if readable else None,
                watch=watch,
                current=partial(deliveries.has_rights, rights),
                tentative=True,
            )
        response: dict[str, Any] = {"subscribed": self.channels.get_subscribed(self.connection)}
        if joined.position is not None:
            response |= _form_of(joined.position)
        if recover is not None:
            response["recovered"] = bool(joined.recovered)
            response["messages"] = self.__written(joined.messages)
        return response

    @ws_rpc(body_schema=UnsubscribeSchema, response_schema=Subscribed, lane="channel")
    async def ws_rpc_unsubscribe(self, payload: dict[str, Any]) -> Any:
        """Take back a subscription, without a pattern all that there are on the channel"""
        channel, event = payload["channel"], payload.get("event") or None
        self.channels.unsubscribe(channel, event, self.connection)
        return {"subscribed": self.channels.get_subscribed(self.connection)}

    @ws_rpc(body_schema=HistorySchema, response_schema=History)
    async def ws_rpc_history(self, payload: dict[str, Any]) -> Any:
        """Read messages of a channel that are kept: the oldest behind a position, or the newest"""
        channel, limits = payload["channel"], self.sockets.limits
        _check_names(limits, channel, "", "Invalid channel")
        limit = payload.get("limit")
        if limit is None:
            limit = limits.recovery
        if not 0 <= limit <= limits.recovery:
            raise InvalidData({"limit": f"expected an integer from 0 to {limits.recovery}"})
        rule = self.sockets.rules.of(channel)
        if rule.refused:
            raise InvalidData({"channel": "Invalid channel"})
        await self.__ask("history", channel, "*")
        if not rule.history:
            raise InvalidData({"channel": "keeps no history"})
        since = _position_of(payload.get("since"))
        page = await self.channels.feeds.history(
            channel,
            rule,
            since=since,
            limit=limit,
            reverse=bool(payload.get("reverse")),
            most=limits.outbox_bytes // 2,
        )
        if since is not None and since.epoch != page.top.epoch:
            raise InvalidData({"since": "of another stream, which is lost: read without it"})
        return {"messages": self.__written(page.messages), **_form_of(page.top)}

    @ws_rpc(body_schema=ChannelSchema, response_schema=Members)
    async def ws_rpc_presence(self, payload: dict[str, Any]) -> Any:
        """Who is on a channel"""
        channel = payload["channel"]
        _check_names(self.sockets.limits, channel, "", "Invalid channel")
        await self.__ask("presence", channel, "")
        self.__check_presence(channel, "channel")
        members = await self.channels.presence.members(channel)
        return {"members": [_present(member) for member in members]}

    async def __ask(self, action: str, channel: str, event: str) -> None:
        if await self.authorize(action, channel, event) is not True:
            raise not_allowed(action)

    def __check_presence(self, channel: str, field: str) -> None:
        rule = self.sockets.rules.of(channel)
        if rule.refused:
            raise InvalidData({"channel": "Invalid channel"})
        if not rule.presence:
            raise InvalidData({field: "nobody knows who is on this channel"})

    def __written(self, messages: Sequence[Delivery]) -> list[object]:
        packed = self.connection.packed
        return [each.form(packed=packed) for each in messages]


def _position_of(position: dict[str, Any] | None) -> Position | None:
    return None if position is None else Position(position["offset"], position["epoch"])


def _form_of(position: Position) -> dict[str, Any]:
    return {"offset": position.offset, "epoch": position.epoch}


def _present(member: Member) -> dict[str, Any]:
    form: dict[str, Any] = {"id": member.id, "connections": member.connections}
    if member.user is not None:
        form["user"] = member.user
    if member.info is not None:
        form["info"] = member.info
    return form


def _check_names(limits: Limits, channel: str, event: str, refusal: str) -> None:
    errors = {
        field: f"longer than {limits.name_bytes} bytes"
        for field, name in (("channel", channel), ("event", event))
        if len(name.encode()) > limits.name_bytes
    }
    if not channel:
        errors["channel"] = refusal
    if errors:
        raise InvalidData(errors)
