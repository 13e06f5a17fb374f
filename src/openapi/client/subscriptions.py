"""What a client is subscribed to: which of its subscriptions gets which message.

The server knows one subscription for a pattern of a channel, here there may be several. Every one
of them asks the server, and the last to leave tells it. Asking and telling are tasks of their own,
one after another for each pattern: whoever waits for one of them may be cancelled at any time, and
what the server and this client believe still agrees. While a server does not answer, a pattern has
at most one task that asks and one that tells, besides those that somebody waits for.

What comes on a channel goes to all that are subscribed to it here. But an answer may overtake
messages for the others, and have them already: what is not behind its answer is not for the one
that got it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias

from openapi.client.history import position_of
from openapi.client.joined import joined
from openapi.client.subscription import Subscription
from openapi.client.tasks import Tasks
from openapi.errors import (
    CallFailed,
    CloseCode,
    ConnectionClosed,
    ErrorCode,
    InvalidData,
    OpenApiError,
    UnexpectedData,
)
from openapi.protocol.frames import Message
from openapi.protocol.session import PING
from openapi.protocol.stream import Position
from openapi.protocol.topics import SERVER_EVENT

__all__ = ["Ask", "Subscriptions"]

logger = logging.getLogger("openapi.client")

_Any: TypeAlias = Subscription[Any]

_PRESENCE: Final = frozenset({f"{SERVER_EVENT}join", f"{SERVER_EVENT}leave"})

_OVERLONG: Final = 2
"""Connections that closed, as a message was too long, before their answer: then nothing is to be
recovered. It may have been another message, of the first."""


class Ask(Protocol):
    """Calls a method of the server.

    ``timeout``, in seconds, is told to the server. ``sent`` is called when it cannot be taken back
    any more, and ``answered`` with the response before any later message is read.
    """

    def __call__(
        self,
        method: str,
        payload: object,
        *,
        timeout: float | None = ...,
        sent: Callable[[], object] = ...,
        answered: Callable[[bytes], object] = ...,
    ) -> Awaitable[object]: ...


class _Pattern:
    """One pattern of a channel: who wants it, and whether the server may believe that we do."""

    __slots__ = ("leaving", "lock", "members", "told", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.leaving: asyncio.Task[None] | None = None
        self.users = 0
        self.members: set[_Any] = set()
        self.told = False


class _Channel:
    """One channel: its patterns, and who gets its messages."""

    __slots__ = ("open", "patterns")

    def __init__(self) -> None:
        self.patterns: dict[str, _Pattern] = {}
        self.open: dict[_Any, None] = {}


class Subscriptions:
    """The subscriptions of one connection.

    ``read`` reads the data of a message, or a response, as plain values; it raises InvalidData.
    ``write`` is its reverse. Leaving one waits ``leave_timeout`` seconds for the server at most.
    ``released`` is called when another connection has one of them from now on.
    ``ignored`` counts events of the server's own that are not known here, or for nobody.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        read: Callable[[Any], object],
        write: Callable[[object], bytes],
        leave_timeout: float,
        released: Callable[[], object] = lambda: None,
    ) -> None:
        self._ask = ask
        self._read = read
        self._write = write
        self._leave_timeout = leave_timeout
        self._released = released
        self._channels: dict[str, _Channel] = {}
        # What is raised on purpose reaches whoever subscribes.
        self._tasks = Tasks("a subscription failed", told=OpenApiError)
        self.ignored = 0

    def __len__(self) -> int:
        return sum(len(channel.open) for channel in self._channels.values())

    async def open(self, subscription: _Any, *, timeout: float | None = None) -> None:
        """Subscribe, or renew what another connection had. The server is told the ``timeout``.

        Raises CallFailed where the server refuses, ConnectionClosed, and UnexpectedData where what
        was recovered cannot be read. Whoever gives the subscription up then ends it; what the
        server agrees to all the same is taken back.
        """
        subscription.asked = self
        asked = asyncio.Event()
        joining = self._tasks.spawn(self._join(subscription, timeout, asked.set))
        try:
            await asyncio.shield(joining)
        except BaseException:  # whoever entered it was cancelled, perhaps
            if not asked.is_set():
                joining.cancel()
            self._leave_soon(subscription)
            raise

    def release(self, subscription: _Any, *, overlapping: bool = False) -> None:
        """Another connection has it from now on.

        ``overlapping``: what is on its way here is to come yet, as nothing else tells it.
        """
        if overlapping:
            self._tasks.spawn(self._linger(subscription))
        else:
            self._drop(subscription)

    def _drop(self, subscription: _Any) -> None:
        channel = self._channels.get(subscription.channel)
        if channel is not None:
            channel.open.pop(subscription, None)
        self._released()

    async def _linger(self, subscription: _Any) -> None:
        """Hand on what the server has sent already: its answer comes behind that."""
        try:
            async with asyncio.timeout(self._leave_timeout):
                await self._ask(PING, {})
        except (OpenApiError, TimeoutError):
            pass  # it has ended, and nothing more will come; or it is not heard any more
        finally:
            self._drop(subscription)
            subscription.caught_up(self)

    async def close(self, subscription: _Any) -> None:
        """Unsubscribe. What comes from now on is dropped; returns when the server has answered."""
        leaving = self._leave_soon(subscription)
        if leaving is not None:
            await asyncio.wait([leaving], timeout=self._leave_timeout)

    def deliver(self, message: Message) -> None:
        """Hand a message to everyone whose pattern it fits."""
        channel = self._channels.get(message.channel)
        if message.event.startswith(SERVER_EVENT):
            if channel is None or not self._server_event(channel, message):
                self.ignored += 1
        elif channel is not None:
            fits = []
            for subscription in channel.open:
                if subscription.awaits(message):
                    fits.append(subscription)
                else:
                    subscription.pass_over(message.offset)
            self._put(fits, message)

    def end(self, error: ConnectionClosed | None, *, again: bool = False) -> None:
        """The connection has ended: all of them end, or wait for the next one if there is one.

        ``error`` is None if this client wanted that.
        """
        for channel in self._channels.values():
            for subscription in channel.open:
                if subscription.source is not self:
                    continue  # another connection has it
                if again:
                    subscription.away()
                else:
                    subscription.end(error)
            channel.open.clear()

    async def wait_idle(self) -> None:
        """Wait until nothing is asked of the server any more."""
        await self._tasks.wait()

    async def _join(
        self, subscription: _Any, timeout: float | None, sent: Callable[[], object]
    ) -> None:
        async with self._one_at_a_time(subscription) as (channel, pattern):
            faults: list[InvalidData] = []

            def answered(response: bytes) -> None:
                pattern.told = True
                try:
                    answer = joined(subscription.channel, self._read(response), self._write)
                except InvalidData as exc:
                    faults.append(exc)
                    self._leave_soon(subscription)
                    return
                if subscription.begin(answer, self):
                    pattern.members.add(subscription)
                    channel.open[subscription] = None
                else:  # it was given up meanwhile, or is too slow already
                    self._leave_soon(subscription)

            payload: dict[str, object] = {
                "channel": subscription.channel,
                "event": subscription.event,
            }
            # Who is answered more than a message may have could ask for it for ever.
            if (behind := subscription.behind) is not None and subscription.overlong < _OVERLONG:
                payload["recover"] = behind
            if subscription.presence:
                payload["presence"] = True
            try:
                await self._ask("subscribe", payload, timeout=timeout, sent=sent, answered=answered)
            except ConnectionClosed as exc:
                if exc.code == CloseCode.TOO_BIG:
                    subscription.overlong += 1
                raise
            for fault in faults:
                raise UnexpectedData(fault.errors) from fault

    def _leave_soon(self, subscription: _Any) -> "asyncio.Task[None] | None":
        """Returns what tells the server, if it is to be told."""
        channel = self._channels.get(subscription.channel)
        if channel is None:
            return None
        channel.open.pop(subscription, None)
        pattern = channel.patterns.get(subscription.event)
        if pattern is None:
            return None
        pattern.members.discard(subscription)
        if pattern.leaving is None and pattern.told and not pattern.members:
            pattern.leaving = self._tasks.spawn(self._leave(subscription))
        self._forget(subscription, channel, pattern)
        return pattern.leaving

    async def _leave(self, subscription: _Any) -> None:
        async with self._one_at_a_time(subscription) as (_, pattern):
            try:
                if pattern.told and not pattern.members:
                    pattern.told = False
                    await self._tell(subscription)
            finally:
                pattern.leaving = None

    async def _tell(self, subscription: _Any) -> None:
        payload = {"channel": subscription.channel, "event": subscription.event}
        try:
            await self._ask("unsubscribe", payload)
        except ConnectionClosed:
            pass  # and with it the subscription
        except CallFailed as exc:
            logger.warning("cannot unsubscribe from %r: %s", subscription.channel, exc)

    @asynccontextmanager
    async def _one_at_a_time(self, subscription: _Any) -> AsyncIterator[tuple[_Channel, _Pattern]]:
        channel = self._channels.setdefault(subscription.channel, _Channel())
        pattern = channel.patterns.setdefault(subscription.event, _Pattern())
        pattern.users += 1
        try:
            async with pattern.lock:
                yield channel, pattern
        finally:
            pattern.users -= 1
            self._forget(subscription, channel, pattern)

    def _forget(self, subscription: _Any, channel: _Channel, pattern: _Pattern) -> None:
        if not (pattern.users or pattern.members or pattern.told or pattern.leaving):
            del channel.patterns[subscription.event]
            if not channel.patterns:
                del self._channels[subscription.channel]

    def _put(self, subscriptions: list[_Any], message: Message) -> None:
        for subscription in subscriptions:
            if not subscription.put(message, self):
                self._leave_soon(subscription)

    def _server_event(self, channel: _Channel, message: Message) -> bool:
        """Returns whether it meant something."""
        try:
            data = self._read(message.data)
        except InvalidData:
            data = None
        match message.event.removeprefix(SERVER_EVENT), data:
            case (("join" | "leave"), _):
                watching = [each for each in channel.open if each.presence]
                self._put(watching, message)
                return bool(watching)
            case "lagged", {"dropped": int(dropped)}:
                for subscription in channel.open:
                    subscription.dropped += dropped
                return True
            case "reset", _ if (position := position_of(data)) is not None:
                self._reset(channel, position)
                return True
            case "unsubscribed", _:
                self._take_back(channel, data if isinstance(data, dict) else {})
                return True
        return False

    def _reset(self, channel: _Channel, position: Position) -> None:
        for subscription in tuple(channel.open):
            if subscription.source is self and not subscription.reset(position):
                self._leave_soon(subscription)

    def _take_back(self, channel: _Channel, fields: dict[str, Any]) -> None:
        """Patterns are taken back: those of ``events``, without it all."""
        events = fields.get("events")
        named = frozenset(channel.patterns)
        if isinstance(events, list):
            named = frozenset(each for each in events if isinstance(each, str))
        for event in named & channel.patterns.keys():
            channel.patterns[event].told = False
        for subscription in tuple(channel.open):
            if subscription.source is not self:
                continue
            # Without presence it is not what was asked for, whatever its pattern.
            if subscription.event in named or (subscription.presence and named & _PRESENCE):
                subscription.end(_reason(fields))
                self._leave_soon(subscription)


def _reason(fields: dict[str, Any]) -> CallFailed:
    code, text = fields.get("code"), fields.get("message")
    return CallFailed(
        code if isinstance(code, int) else ErrorCode.CANCELLED,
        text if isinstance(text, str) else "the server took the subscription back",
    )
