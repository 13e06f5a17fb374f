# Written by `openapi types`. Do not edit it, but write it anew:
#
#     openapi types docs/examples/howto/typed_clients.py:create_app \
#         --python docs/examples/howto/orders_client.py

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from openapi.client import Client, History, Position, Stream, Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    name: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    items: list[Item]
    gift: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    number: int
    total: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an order is."""

    state: Literal["packed", "paid", "sent"]
    at: datetime


class OrdersClient:
    """The orders of a shop

    It is served at `/orders`.
    """

    def __init__(self, client: Client) -> None:
        self.client: Final = client

    async def order(
        self, payload: Order, *, timeout: float | None = 30.0, idempotent: bool = False
    ) -> Receipt:
        """Order something"""
        return await self.client.call(
            "order", payload, returns=Receipt, timeout=timeout, idempotent=idempotent
        )

    def stock(
        self, payload: Item, *, timeout: float | None = None, queue_bytes: int = 1024 * 1024
    ) -> Stream[Item]:
        """What there is of an item, and what is left whenever some is sold"""
        return self.client.stream(
            "stock", payload, type=Item, timeout=timeout, queue_bytes=queue_bytes
        )

    def subscribe_orders(
        self,
        name: str,
        event: str = "*",
        *,
        recover: Position | None = None,
        queue_bytes: int = 1024 * 1024,
        timeout: float | None = 30.0,
        on_renewed: Callable[[Subscription[Any]], object] | None = None,
    ) -> Subscription[Progress]:
        """Subscribe to `orders:` and a name; see `Client.subscribe`."""
        return self.client.subscribe(
            f"orders:{name}",
            event,
            type=Progress,
            recover=recover,
            queue_bytes=queue_bytes,
            timeout=timeout,
            on_renewed=on_renewed,
        )

    async def history_orders(
        self,
        name: str,
        *,
        since: Position | None = None,
        limit: int | None = None,
        reverse: bool = False,
        timeout: float | None = 30.0,
    ) -> History[Progress]:
        """Read what is kept of `orders:` and a name; see `Client.history`."""
        return await self.client.history(
            f"orders:{name}",
            since=since,
            limit=limit,
            reverse=reverse,
            type=Progress,
            timeout=timeout,
        )
