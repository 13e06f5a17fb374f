"""WebSocket endpoints: RPC and publish/subscribe."""

from openapi.errors import CannotPublish, CannotSubscribe, ChannelCallbackError, RpcError
from openapi.protocol.limits import Limits
from openapi.protocol.methods import ws_rpc
from openapi.ws.broker import Broker
from openapi.ws.channels import Channel, Channels, Event
from openapi.ws.manager import Reply, SocketsManager, WsHandlerType
from openapi.ws.middleware import Call, Middleware, Next
from openapi.ws.path import WsPathMixin
from openapi.ws.socket import Websocket

__all__ = [
    "Broker",
    "Call",
    "CannotPublish",
    "CannotSubscribe",
    "Channel",
    "ChannelCallbackError",
    "Channels",
    "Event",
    "Limits",
    "Middleware",
    "Next",
    "Reply",
    "RpcError",
    "SocketsManager",
    "Websocket",
    "WsHandlerType",
    "WsPathMixin",
    "ws_rpc",
]
