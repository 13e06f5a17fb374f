"""The RPC methods of publish/subscribe, as mixins of an endpoint."""

from typing import Any, NotRequired, TypedDict

from openapi.errors import CannotPublish, InvalidData
from openapi.protocol.frames import Message
from openapi.protocol.limits import Limits
from openapi.protocol.methods import ws_rpc
from openapi.protocol.topics import SERVER_EVENT
from openapi.ws.channels import Delivery
from openapi.ws.connection import Connection
from openapi.ws.socket import Websocket

__all__ = [
    "ChannelCallback",
    "Publish",
    "PublishSchema",
    "Published",
    "Subscribe",
    "SubscribeSchema",
    "Subscribed",
]


class PublishSchema(TypedDict):
    """The payload of ``publish``."""

    channel: str
    event: NotRequired[str | None]
    data: Any


class SubscribeSchema(TypedDict):
    """The payload of ``subscribe`` and ``unsubscribe``. ``event`` is a pattern."""

    channel: str
    event: NotRequired[str | None]


class Published(TypedDict):
    """The response of ``publish``."""

    channel: str
    event: str
    data: Any


class Subscribed(TypedDict):
    """The response of ``subscribe`` and ``unsubscribe``: what this connection has."""

    subscribed: dict[str, list[str]]


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
        self.connection.deliver(Delivery(Message(channel=channel, event=event, data=data)))


class Publish(Websocket):
    """Adds the RPC method ``publish`` to an endpoint."""

    def get_publish_message(self, data: Any) -> Any:
        """What is published for the data of a call. Override it to add to it or to change it."""
        return data

    @ws_rpc(body_schema=PublishSchema, response_schema=Published)
    async def ws_rpc_publish(self, payload: dict[str, Any]) -> Any:
        """Publish an event on a channel"""
        channel, event = payload["channel"], payload.get("event") or ""
        _check_names(self.sockets.limits, channel, event, "Cannot publish to channel")
        if event.startswith(SERVER_EVENT):
            raise InvalidData({"event": f"events that begin with {SERVER_EVENT} are the server's"})
        data = self.get_publish_message(payload["data"])
        try:
            await self.sockets.publish(channel, event, data)
        except CannotPublish:
            raise InvalidData({"channel": "Cannot publish to channel"}) from None
        return {"channel": channel, "event": event, "data": data}


class Subscribe(Websocket):
    """Adds the RPC methods ``subscribe`` and ``unsubscribe`` to an endpoint."""

    @property
    def channel_callback(self) -> ChannelCallback:
        """This socket, to be registered with :attr:`Websocket.channels`."""
        return ChannelCallback(self)

    @ws_rpc(body_schema=SubscribeSchema, response_schema=Subscribed)
    async def ws_rpc_subscribe(self, payload: dict[str, Any]) -> Any:
        """Subscribe to the events of a channel that fit a pattern, all of them by default"""
        channel, event = payload["channel"], payload.get("event") or "*"
        _check_names(self.sockets.limits, channel, event, "Invalid channel")
        await self.channels.register(channel, event, self.connection)
        return {"subscribed": self.channels.get_subscribed(self.connection)}

    @ws_rpc(body_schema=SubscribeSchema, response_schema=Subscribed)
    async def ws_rpc_unsubscribe(self, payload: dict[str, Any]) -> Any:
        """Take back a subscription, without a pattern all that there are on the channel"""
        await self.channels.unregister(
            payload["channel"], payload.get("event") or None, self.connection
        )
        return {"subscribed": self.channels.get_subscribed(self.connection)}


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
