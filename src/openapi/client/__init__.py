"""The client: calls and subscriptions over a WebSocket that comes back by itself.

async with connect("wss://example.com/stream") as client:
    info = await client.call("info", returns=Info)
    async with client.subscribe("host", "cpu", type=Cpu) as messages:
        async for message in messages:
            print(message.data)
    async for line in client.stream("tail", {"path": "app.log"}):
        print(line)
"""

from openapi.client.client import Client
from openapi.client.connect import connect
from openapi.client.history import History
from openapi.client.keeper import Status
from openapi.client.presence import Member
from openapi.client.stream import Stream
from openapi.client.subscription import Subscription
from openapi.errors import (
    CallFailed,
    ConnectionClosed,
    HandshakeRefused,
    PositionLost,
    RpcError,
    TooSlow,
    UnexpectedData,
)
from openapi.protocol.backoff import Backoff
from openapi.protocol.message import Message
from openapi.protocol.reconnecting import ClientState
from openapi.protocol.stream import Position

__all__ = [
    "Backoff",
    "CallFailed",
    "Client",
    "ClientState",
    "ConnectionClosed",
    "HandshakeRefused",
    "History",
    "Member",
    "Message",
    "Position",
    "PositionLost",
    "RpcError",
    "Status",
    "Stream",
    "Subscription",
    "TooSlow",
    "UnexpectedData",
    "connect",
]
