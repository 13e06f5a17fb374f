"""Who, in this process, gets which message: sockets and callbacks by channel and event."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from openapi.errors import (
    CannotSubscribe,
    ChannelCallbackError,
    ErrorCode,
    InvalidData,
    RpcError,
)
from openapi.protocol.frames import Codec, Message
from openapi.protocol.topics import TopicIndex
from openapi.protocol.websocket import text_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openapi.protocol.limits import Limits

__all__ = ["CallbackType", "Channel", "Channels", "Delivery", "Event", "Subscriber"]

CallbackType: TypeAlias = Callable[[str, str, Any], Awaitable[Any]]
"""``await callback(channel, event, data)``"""


class Delivery:
    """One message on its way to many sockets: encoded and framed once for each dialect."""

    __slots__ = ("_frames", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._frames: dict[tuple[Codec, int], bytes] = {}

    def frame(self, variant: tuple[Codec, int]) -> bytes:
        """The WebSocket frame for a codec and a compression window (0: none)."""
        frame = self._frames.get(variant)
        if frame is None:
            codec, window = variant
            frame = self._frames[variant] = text_frame(codec.encode(self.message), window)
        return frame


class Subscriber(Protocol):
    """What a channel delivers to."""

    def deliver(self, delivery: Delivery) -> Awaitable[object] | None:
        """Take a message; what is returned is awaited before the publisher goes on."""
