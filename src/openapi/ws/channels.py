"""Who, in this process, gets which message: sockets and callbacks, by channel and event pattern."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from openapi.errors import (
    CannotSubscribe,
    ChannelCallbackError,
    ErrorCode,
    InvalidData,
    RpcError,
    Unserializable,
)
from openapi.protocol.frames import Codec, Message
from openapi.protocol.native import JSON
from openapi.protocol.topics import TopicIndex
from openapi.protocol.websocket import binary_frame, text_frame
from openapi.schema import Schema

if TYPE_CHECKING:
    from openapi.ws.manager import SocketsManager

__all__ = ["CallbackType", "Channel", "Channels", "Delivery", "Event", "Subscriber"]

logger = logging.getLogger(__name__)

CallbackType: TypeAlias = Callable[[str, str, Any], Awaitable[Any]]
"""``await callback(channel, event, data)``, with the data as it came over the wire."""

_ANYTHING: Final = Schema[dict[str, Any]](dict[str, Any])


class Delivery:
    """One message on its way to many sockets: encoded and framed once for each dialect.

    Raises Unserializable for data that has no JSON form, whoever is subscribed.
    """

    __slots__ = ("_data", "_frames", "_json", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._json = JSON.encode(message)
        self._data: Any = None
        self._frames: dict[tuple[Codec, int], bytes] = {}

    @property
    def data(self) -> Any:
        """The data as whoever gets it over the wire sees it: dictionaries, lists, plain values."""
        if self._data is None:
            self._data = _ANYTHING.decode(self._json)["data"]
        return self._data

    def frame(self, variant: tuple[Codec, int]) -> bytes:
        """The WebSocket frame for a codec and a compression window in bits (0: none).

        Raises Unserializable where the codec, which is then an application's own, fails.
        """
        frame = self._frames.get(variant)
        if frame is None:
            codec, window = variant
            payload = self._json if codec is JSON else codec.encode(self.message)
            framed = binary_frame if codec.packed else text_frame
            frame = self._frames[variant] = framed(payload, window)
        return frame


@runtime_checkable
class Subscriber(Protocol):
    """What a channel delivers to."""

    @property
    def gone(self) -> bool:
        """Whether it takes nothing any more, and must not be subscribed again."""

    def deliver(self, delivery: Delivery) -> Awaitable[object] | None:
        """Take a message. What is returned is awaited before the publisher goes on."""

    def hold(self, channel: str) -> None:
        """A subscription begins: keep its messages until whoever asked for it has the answer."""


@dataclass(frozen=True, slots=True)
class _Callback:
    """A function of the application as a subscriber, equal to every other one of that function."""

    callback: CallbackType
    channels: "Channels"

    @property
    def gone(self) -> bool:
        return False

    def hold(self, channel: str) -> None:
        pass  # nobody waits for an answer

    async def deliver(self, delivery: Delivery) -> None:
        message = delivery.message
        try:
            await self.callback(message.channel, message.event, delivery.data)
        except ChannelCallbackError:
            self.channels.leave(self)
        except Exception:
            # Its publisher must not suffer, nor the other subscribers: it is removed, and said so.
            logger.exception(
                "callback %r failed on channel %r, event %r, and is removed from every channel",
                self.callback,
                message.channel,
                message.event,
            )
            self.channels.leave(self)


@dataclass(frozen=True, slots=True)
class Event:
    """An event pattern that a channel is subscribed with, and by how many."""

    name: str
    subscribers: int


class Channel:
    """A view of one channel."""

    __slots__ = ("_channels", "name")

    def __init__(self, name: str, channels: "Channels") -> None:
        self.name = name
        self._channels = channels

    def info(self) -> dict[str, int]:
        """``{pattern: subscribers}``"""
        return self._channels.index.channel_info(self.name)

    @property
    def events(self) -> tuple[str, ...]:
        """The event patterns that it is subscribed with."""
        return tuple(self.info())

    def __len__(self) -> int:
        return len(self.info())

    def __contains__(self, event: str) -> bool:
        return event in self.info()

    def __iter__(self) -> Iterator[Event]:
        return (Event(name, subscribers) for name, subscribers in self.info().items())

    async def __call__(self, message: Mapping[str, Any]) -> None:
        """Deliver ``{"event", "data"}``."""
        await self._channels(self.name, message)


class _Gate:
    """Lets one subscription change of a channel through at a time."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Channels:
    """The channels that somebody in this process is subscribed to.

    ``await channels(channel, {"event": …, "data": …})`` delivers a message to each of them once.
    """

    def __init__(self, sockets: "SocketsManager") -> None:
        self.sockets = sockets
        self.index: TopicIndex[Subscriber] = TopicIndex()
        self._gates: dict[str, _Gate] = {}

    @property
    def registered(self) -> tuple[str, ...]:
        """The names of the channels."""
        return tuple(self.index)

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, channel: str) -> bool:
        return channel in self.index

    def __iter__(self) -> Iterator[Channel]:
        return (Channel(name, self) for name in self.registered)

    def get(self, channel: str) -> Channel | None:
        """A channel that somebody is subscribed to."""
        return Channel(channel, self) if channel in self.index else None

    def info(self) -> dict[str, dict[str, int]]:
        """``{channel: {pattern: subscribers}}``"""
        return self.index.info()

    def clear(self) -> None:
        """Forget every subscription, without telling anybody."""
        self.index.clear()

    async def __call__(self, channel: str, message: Mapping[str, Any]) -> None:
        """Deliver ``{"event", "data"}``, as whatever carries messages does.

        Data that has no JSON form is logged and dropped: a carrier has others to deliver.
        """
        try:
            await self.deliver(channel, message.get("event") or "", message.get("data"))
        except Unserializable:
            logger.exception("a message on channel %r has no JSON form, and is dropped", channel)

    async def deliver(self, channel: str, event: str, data: object) -> None:
        """Deliver one message. Raises Unserializable for data that has no JSON form."""
        delivery = Delivery(Message(channel=channel, event=event, data=data))
        # No await in this loop: nobody joins or leaves while the subscribers are gone through.
        waits = [
            wait
            for subscriber in self.index.subscribers(channel, event)
            if (wait := subscriber.deliver(delivery)) is not None
        ]
        if waits:
            await asyncio.gather(*waits)

    async def register(
        self, channel: str, event: str | None, callback: "CallbackType | Subscriber"
    ) -> Channel:
        """Subscribe a socket or an async callback to the events that fit a pattern (None: ``*``).

        Raises InvalidData where the manager refuses the channel, and RpcError past a limit.
        """
        subscriber = self._subscriber(callback)
        event = event or "*"
        self._check_limits(subscriber, channel, event)
        subscriber.hold(channel)
        async with self._gate(channel):
            if channel not in self.index:
                await self._open(channel)
            try:
                # Others may have gone through other gates meanwhile.
                self._check_limits(subscriber, channel, event)
                new = event not in self.index.patterns(subscriber, channel)
                if not subscriber.gone:
                    self.index.subscribe(subscriber, channel, event)
            finally:
                if channel not in self.index:
                    self._vacate_soon(channel)
        if not subscriber.gone:
            await self._feed(subscriber, channel, event, new)
        return Channel(channel, self)

    async def unregister(
        self, channel: str, event: str | None, callback: "CallbackType | Subscriber"
    ) -> Channel | None:
        """Take back a subscription; with no ``event``, all that it has on the channel.

        Raises InvalidData where it has none there.
        """
        subscriber = self._subscriber(callback)
        if not self.index.patterns(subscriber, channel):
            raise InvalidData({"channel": "Invalid channel"})
        if self.index.unsubscribe(subscriber, channel, event):
            # Who asks may be cancelled, when its connection ends; the broker is told all the same.
            await asyncio.shield(self._vacate_soon(channel))
        return self.get(channel)

    def get_subscribed(self, callback: "CallbackType | Subscriber") -> dict[str, list[str]]:
        """What a socket or a callback is subscribed to: ``{channel: [pattern, …]}``"""
        return self.index.subscriptions(self._subscriber(callback))

    def leave(self, callback: "CallbackType | Subscriber") -> None:
        """Take back every subscription of a socket or a callback, at once."""
        for channel in self.index.leave(self._subscriber(callback)):
            self._vacate_soon(channel)

    def _subscriber(self, callback: "CallbackType | Subscriber") -> Subscriber:
        if isinstance(callback, Subscriber):
            return callback
        connection = getattr(callback, "connection", None)  # a socket's own callback
        return connection if isinstance(connection, Subscriber) else _Callback(callback, self)

    def _check_limits(self, subscriber: Subscriber, channel: str, event: str) -> None:
        if isinstance(subscriber, _Callback):
            return  # the application's own code
        limits, patterns = self.sockets.limits, self.index.patterns(subscriber, channel)
        if not patterns and self.index.count(subscriber) >= limits.channels:
            raise _limit("channels", limits.channels, "channels are subscribed to")
        if event not in patterns and len(patterns) >= limits.patterns:
            raise _limit("patterns", limits.patterns, "patterns are subscribed to on this channel")

    async def _open(self, channel: str) -> None:
        try:
            await self.sockets.subscribe(channel)
        except CannotSubscribe:
            raise InvalidData({"channel": "Invalid channel"}) from None
        except BaseException:
            # Cancelled or broken half-way: what may have been opened has nobody.
            self._vacate_soon(channel)
            raise

    async def _feed(self, subscriber: Subscriber, channel: str, event: str, new: bool) -> None:
        try:
            await self.sockets.subscribe_to_event(channel, event)
        except BaseException as exc:
            if new and self.index.unsubscribe(subscriber, channel, event):
                self._vacate_soon(channel)
            if isinstance(exc, CannotSubscribe):
                raise InvalidData({"channel": "Invalid channel"}) from None
            raise

    async def _vacate(self, channel: str) -> None:
        async with self._gate(channel):
            if channel not in self.index:
                await self.sockets.unsubscribe(channel)

    def _vacate_soon(self, channel: str) -> "asyncio.Task[None]":
        return self.sockets.spawn(self._vacate(channel))

    @asynccontextmanager
    async def _gate(self, channel: str) -> AsyncIterator[None]:
        # The first subscription of a channel and its last must not overtake each other: while one
        # waits for the broker, the other would act on what is no longer so.
        gate = self._gates.setdefault(channel, _Gate())
        gate.users += 1
        try:
            async with gate.lock:
                yield
        finally:
            gate.users -= 1
            if not gate.users:
                del self._gates[channel]


def _limit(name: str, most: int, text: str) -> RpcError:
    return RpcError(
        ErrorCode.LIMIT_EXCEEDED,
        f"{most} {text}, unsubscribe from one before the next",
        data={"limit": name, "max": most},
    )
