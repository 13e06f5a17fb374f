"""WebSocket endpoints: RPC and publish/subscribe."""

from openapi.errors import (
    CannotPublish,
    CannotSubscribe,
    ChannelCallbackError,
    PositionLost,
    RpcError,
)
from openapi.protocol.limits import Limits
from openapi.protocol.message import Message
from openapi.protocol.methods import ws_rpc
from openapi.protocol.stream import Position
from openapi.ws.broker import Broker, Member
from openapi.ws.channel import Channel, Event
from openapi.ws.channels import Channels
from openapi.ws.directory import ConnectionInfo
from openapi.ws.health import health_of, healthz
from openapi.ws.manager import SocketsManager, WsHandlerType
from openapi.ws.middleware import Call, Middleware, Next
from openapi.ws.partial import Count, Found, Missing, NodeInfo, Reply
from openapi.ws.path import WsPathMixin
from openapi.ws.publisher import Publisher
from openapi.ws.rules import ChannelRule, Latest
from openapi.ws.socket import Websocket
from openapi.ws.subscription import Subscription

__all__ = [
    "Broker",
    "Call",
    "CannotPublish",
    "CannotSubscribe",
    "Channel",
    "ChannelCallbackError",
    "ChannelRule",
    "Channels",
    "ConnectionInfo",
    "Count",
    "Event",
    "Found",
    "Latest",
    "Limits",
    "Member",
    "Message",
    "Middleware",
    "Missing",
    "Next",
    "NodeInfo",
    "Position",
    "PositionLost",
    "Publisher",
    "Reply",
    "RpcError",
    "SocketsManager",
    "Subscription",
    "Websocket",
    "WsHandlerType",
    "WsPathMixin",
    "health_of",
    "healthz",
    "ws_rpc",
]
