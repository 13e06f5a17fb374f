"""WebSocket endpoints: RPC and publish/subscribe."""

from openapi.errors import CannotPublish, CannotSubscribe, ChannelCallbackError, RpcError
from openapi.protocol.limits import Limits
from openapi.protocol.methods import ws_rpc
from openapi.ws.broker import Broker
from openapi.ws.channels import Channel, Channels, Event
from openapi.ws.manager import SocketsManager, Websocket, WsHandlerType
from openapi.ws.path import WsPathMixin

__all__ = [
    "Broker",
    "CannotPublish",
    "CannotSubscribe",
    "Channel",
    "ChannelCallbackError",
    "Channels",
    "Event",
    "Limits",
    "RpcError",
    "SocketsManager",
    "Websocket",
    "WsHandlerType",
    "WsPathMixin",
    "ws_rpc",
]
