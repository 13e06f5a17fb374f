"""What a client is subscribed to: which of its subscriptions gets which message.

The server knows one subscription for a pattern of a channel, here there may be several. Every one
of them asks the server, and the last to leave tells it. Asking and telling are tasks of their own,
one after another for each pattern: whoever waits for one of them may be cancelled at any time, and
what the server and this client believe still agrees. While a server does not answer, a pattern has
at most one task that asks and one that tells, besides those that somebody waits for.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias

from openapi.client.subscription import Subscription
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode, InvalidData, OpenApiError
from openapi.protocol.frames import Message
from openapi.protocol.topics import SERVER_EVENT

__all__ = ["Ask", "Subscriptions"]

logger = logging.getLogger("openapi.client")

_Any: TypeAlias = Subscription[Any]


class Ask(Protocol):
    """Calls a method of the server.

    ``sent`` is called when it cannot be taken back any more, and ``answered`` with the response,
    before any later message is read.
    """

    def __call__(
        self,
        method: str,
        payload: object,
        *,
        sent: Callable[[], object] = ...,
        answered: Callable[[], object] = ...,
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


class Subscriptions:
    """The subscriptions of one connection.

    ``read`` reads the data of a message as plain values; it raises InvalidData. Leaving one waits
    ``leave_timeout`` seconds for the server at most. ``ignored`` counts events of the server's own
    that are not known here.
    """

    def __init__(self, ask: Ask, *, read: Callable[[Any], object], leave_timeout: float) -> None:
        self._ask = ask
        self._read = read
        self._leave_timeout = leave_timeout
        self._open: dict[str, dict[_Any, None]] = {}
        self._patterns: dict[tuple[str, str], _Pattern] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.ignored = 0

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    async def open(self, subscription: _Any) -> None:
        """Subscribe. Raises CallFailed where the server refuses, and ConnectionClosed."""
        asked = asyncio.Event()
        joining = self._spawn(self._join(subscription, asked.set))
        try:
            await asyncio.shield(joining)
        except BaseException:
            subscription.end(None)
            if not asked.is_set():
                joining.cancel()
            self._leave_soon(subscription)
            raise

    async def close(self, subscription: _Any) -> None:
        """Unsubscribe. What comes from now on is dropped; returns when the server has answered."""
        leaving = self._leave_soon(subscription)
        if leaving is not None:
            await asyncio.wait([leaving], timeout=self._leave_timeout)

    def deliver(self, message: Message) -> None:
        """Hand a message to everyone whose pattern it fits."""
        if message.event.startswith(SERVER_EVENT):
            self._server_event(message)
            return
        slow = [
            subscription
            for subscription in self._open.get(message.channel, ())
            if subscription.pattern.matches(message.event) and not subscription.put(message)
        ]
        for subscription in slow:
            self._leave_soon(subscription)

    def end(self, error: ConnectionClosed | None) -> None:
        """End all of them, for the connection has ended; None if this client wanted that."""
        opened, self._open = self._open, {}
        for subscriptions in opened.values():
            for subscription in subscriptions:
                subscription.end(error)

    async def wait_idle(self) -> None:
        """Wait until nothing is asked of the server any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _join(self, subscription: _Any, sent: Callable[[], object]) -> None:
        async with self._one_at_a_time(subscription) as pattern:

            def answered() -> None:
                pattern.told = True
                if subscription.begin():
                    pattern.members.add(subscription)
                    self._open.setdefault(subscription.channel, {})[subscription] = None
                else:  # it was given up meanwhile
                    self._leave_soon(subscription)

            payload = {"channel": subscription.channel, "event": subscription.event}
            await self._ask("subscribe", payload, sent=sent, answered=answered)

    def _leave_soon(self, subscription: _Any) -> "asyncio.Task[None] | None":
        """Returns what tells the server, if it is to be told."""
        members = self._open.get(subscription.channel)
        if members is not None:
            members.pop(subscription, None)
            if not members:
                del self._open[subscription.channel]
        key = (subscription.channel, subscription.event)
        pattern = self._patterns.get(key)
        if pattern is None:
            return None
        pattern.members.discard(subscription)
        if pattern.leaving is None and pattern.told and not pattern.members:
            pattern.leaving = self._spawn(self._leave(subscription))
        self._forget(key, pattern)
        return pattern.leaving

    async def _leave(self, subscription: _Any) -> None:
        async with self._one_at_a_time(subscription) as pattern:
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
    async def _one_at_a_time(self, subscription: _Any) -> AsyncIterator[_Pattern]:
        key = (subscription.channel, subscription.event)
        pattern = self._patterns.setdefault(key, _Pattern())
        pattern.users += 1
        try:
            async with pattern.lock:
                yield pattern
        finally:
            pattern.users -= 1
            self._forget(key, pattern)

    def _forget(self, key: tuple[str, str], pattern: _Pattern) -> None:
        if not (pattern.users or pattern.members or pattern.told or pattern.leaving):
            del self._patterns[key]

    def _server_event(self, message: Message) -> None:
        if message.event != f"{SERVER_EVENT}unsubscribed":
            self.ignored += 1
            return
        error = self._reason(message)
        for subscription in tuple(self._open.get(message.channel, ())):
            self._patterns[subscription.channel, subscription.event].told = False
            subscription.end(error)
            self._leave_soon(subscription)

    def _reason(self, message: Message) -> CallFailed:
        try:
            data = self._read(message.data)
        except InvalidData:
            data = None
        fields = data if isinstance(data, dict) else {}
        code, text = fields.get("code"), fields.get("message")
        return CallFailed(
            code if isinstance(code, int) else ErrorCode.CANCELLED,
            text if isinstance(text, str) else "the server took the subscription back",
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        exc = None if task.cancelled() else task.exception()
        if exc is not None and not isinstance(exc, OpenApiError):  # those reach whoever subscribes
            logger.error("a subscription failed", exc_info=exc)
