"""The subscriptions of a client, which outlive its connections: each new one is asked for them."""

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any, Final, TypeAlias

from openapi.client.connection import Connection
from openapi.client.keeper import Keeper
from openapi.client.subscription import Subscription, SubscriptionState
from openapi.errors import (
    CallFailed,
    CloseCode,
    ConnectionClosed,
    ErrorCode,
    OpenApiError,
    UnexpectedData,
)
from openapi.protocol.backoff import delays
from openapi.rpc.peer import deadline

__all__ = ["Renewing"]

logger = logging.getLogger("openapi.client")

_Any: TypeAlias = Subscription[Any]

_PATIENCE: Final = 30.0
"""Seconds for a server to agree to what it had agreed to before; then it is asked again."""


class Renewing:
    """All subscriptions of one client that were begun, and not left."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._subscriptions: dict[_Any, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, subscription: _Any) -> None:
        """Subscribe, on whatever connection there is. Raises as :meth:`Subscriptions.open`."""
        self._subscriptions[subscription] = None
        try:
            while subscription.state is SubscriptionState.NEW:
                connection = await self._keeper.ready()
                try:
                    await connection.subscriptions.open(subscription)
                except ConnectionClosed:
                    if self._keeper.closed is not None:
                        raise
                except CallFailed as exc:
                    if exc.code != ErrorCode.SHUTTING_DOWN or not connection.leaving:
                        raise
        except BaseException:
            self._subscriptions.pop(subscription, None)
            raise

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
        renewals = [
            self._spawn(self._renew(each, connection))
            for each in self._subscriptions
            if each.state is not SubscriptionState.NEW
        ]
        if before is not None:
            self._spawn(_retire(before, renewals))

    async def aclose(self) -> None:
        """Stop what renews them."""
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _renew(self, subscription: _Any, connection: Connection) -> None:
        pauses = delays(random.random)
        while subscription in self._subscriptions and self._keeper.connection is connection:
            after = 0
            try:
                async with deadline(_PATIENCE, f"{subscription.channel!r} was not answered"):
                    await connection.subscriptions.open(subscription)
            except ConnectionClosed:
                return  # and the next connection has it
            except TimeoutError as exc:
                logger.warning("a subscription is not renewed yet: %s", exc)
            except CallFailed as exc:
                if exc.retry_after is None:
                    self._refused(subscription, exc)
                    return
                after = exc.retry_after
            except UnexpectedData as exc:
                self._refused(subscription, exc)
                return
            else:
                return
            await asyncio.sleep(after / 1000 + next(pauses))

    def _refused(self, subscription: _Any, error: OpenApiError) -> None:
        self._subscriptions.pop(subscription, None)
        if (source := subscription.source) is not None:  # a connection that is left has it yet
            source.release(subscription)
        subscription.end(error)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a subscription could not be renewed", exc_info=exc)


async def _retire(connection: Connection, renewals: "list[asyncio.Task[None]]") -> None:
    """Leave a connection when nobody uses it any more."""
    if renewals:
        await asyncio.wait(renewals)
    await connection.wait_quiet()
    if connection.closed is None:
        await connection.close(CloseCode.NORMAL, "moved")
