"""The subscriptions of a client, which outlive its connections: each new one is asked for them."""

import asyncio
import logging
import random
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from openapi.client.calling import is_leaving
from openapi.client.connection import Connection
from openapi.client.dialing import believed
from openapi.client.keeper import Keeper
from openapi.client.places import Places
from openapi.client.subscription import Subscription, SubscriptionState
from openapi.client.tasks import Tasks
from openapi.errors import (
    CallFailed,
    CloseCode,
    ConnectionClosed,
    ErrorCode,
    OpenApiError,
    UnexpectedData,
)
from openapi.protocol.backoff import delays
from openapi.rpc.asking import deadline

__all__ = ["Renewing"]

logger = logging.getLogger("openapi.client")

_Any: TypeAlias = Subscription[Any]

_PATIENCE: Final = 30.0
"""Seconds for a server to agree to what it had agreed to before; then it is asked again."""


class Renewing:
    """All subscriptions of one client that were begun, and not left.

    What waits for a connection has its ``places``.
    """

    def __init__(self, keeper: Keeper, places: Places) -> None:
        self._keeper = keeper
        self._places = places
        self._subscriptions: dict[_Any, None] = {}
        self._renewals: dict[_Any, asyncio.Task[None]] = {}
        self._tasks = Tasks("a subscription could not be renewed")

    async def open(self, subscription: _Any) -> None:
        """Subscribe, on whatever connection there is. Raises as :meth:`Subscriptions.open`."""
        self._subscriptions[subscription] = None
        try:
            while subscription.state is SubscriptionState.NEW:
                connection = await self._ready()
                try:
                    await connection.subscriptions.open(subscription, timeout=subscription.timeout)
                except ConnectionClosed:
                    if self._keeper.closed is not None:
                        raise
                except CallFailed as exc:
                    if not is_leaving(connection, exc):
                        raise
        except BaseException:  # whoever entered it was cancelled, perhaps
            self._subscriptions.pop(subscription, None)
            raise
        # The client may have moved while the connection that it left agreed.
        current = self._keeper.connection
        if current is not None and subscription not in self._renewals:
            self._renew_on(current, subscription)

    async def close(self, subscription: _Any) -> None:
        """Unsubscribe; returns when the server has answered."""
        self._subscriptions.pop(subscription, None)
        if subscription.source is not None:
            await subscription.source.close(subscription)

    def end(self, error: ConnectionClosed | None) -> None:
        """There will be no connection any more; None if the application wanted that."""
        for subscription in self._subscriptions:
            if subscription.state is not SubscriptionState.NEW:  # who opens it hears of it there
                subscription.end(error)
        self._subscriptions.clear()

    def move(self, connection: Connection, before: Connection | None) -> None:
        """There is a new connection, which has them from now on. The one before it is left."""
        for subscription in self._subscriptions:
            self._renew_on(connection, subscription)
        if before is not None:
            before.leave()
            self._tasks.spawn(_retire(before, [*self._renewals.values()]))

    async def aclose(self) -> None:
        """Stop what renews them."""
        await self._tasks.aclose()

    async def _ready(self) -> Connection:
        place = self._places.take()
        try:
            return await self._keeper.ready()
        finally:
            self._places.leave(place)

    def _renew_on(self, connection: Connection, subscription: _Any) -> None:
        """See that this connection has it, and no other."""
        if subscription.state in (SubscriptionState.NEW, SubscriptionState.ENDED):
            return
        if subscription.source is connection.subscriptions:
            return
        if (before := self._renewals.pop(subscription, None)) is not None:
            before.cancel()  # of a connection that is left itself
        task = self._tasks.spawn(self._renew(subscription, connection))
        self._renewals[subscription] = task

    async def _renew(self, subscription: _Any, connection: Connection) -> None:
        pauses = delays(random.random)
        try:
            while not await self._renewed(subscription, connection, pauses):
                pass
        finally:
            if self._renewals.get(subscription) is asyncio.current_task():
                del self._renewals[subscription]

    async def _renewed(
        self, subscription: _Any, connection: Connection, pauses: Iterator[float]
    ) -> bool:
        """Ask once. Returns whether nothing more is to be done, otherwise behind a pause."""
        if subscription.state is SubscriptionState.ENDED:
            return True
        after: int | None = None
        try:
            async with deadline(_PATIENCE, f"{subscription.channel!r} was not answered"):
                await connection.subscriptions.open(subscription, timeout=_PATIENCE)
        except ConnectionClosed:
            return True  # and the next connection has it
        except TimeoutError as exc:
            logger.warning("a subscription is not renewed yet: %s", exc)
        except CallFailed as exc:
            if is_leaving(connection, exc):
                return True  # likewise
            if exc.code == ErrorCode.DEADLINE_EXCEEDED:
                logger.warning("a subscription is not renewed yet: %s", exc)
            elif exc.retry_after is None:
                self._refused(subscription, exc)
                return True
            after = exc.retry_after
        except UnexpectedData as exc:
            self._refused(subscription, exc)
            return True
        else:
            return True
        await asyncio.sleep(believed(after) + next(pauses))
        return False

    def _refused(self, subscription: _Any, error: OpenApiError) -> None:
        self._subscriptions.pop(subscription, None)
        if (source := subscription.source) is not None:  # a connection that is left has it yet
            source.release(subscription)
        subscription.end(error)


async def _retire(connection: Connection, renewals: "list[asyncio.Task[None]]") -> None:
    """Leave a connection when nobody uses it any more."""
    if renewals:
        await asyncio.wait(renewals)
    await connection.wait_quiet()
    if connection.closed is None:
        await connection.close(CloseCode.NORMAL, "moved")
