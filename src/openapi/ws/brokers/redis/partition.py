"""The channels of one partition, which are at one node: who that is, and what goes there, in order.

Calls go side by side. Where a node says that another one has the partition now, they go one behind
the other, each to where the answer of the last one was, until all that waited have gone. So one
that was turned away is not overtaken by those that were made behind it.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from redis.exceptions import AskError, MovedError

from openapi.errors import BrokerUnavailable, DeclarationError
from openapi.ws.brokers.redis.connection import Answer
from openapi.ws.brokers.redis.link import Link
from openapi.ws.brokers.redis.node import Node

__all__ = ["Partition", "Send"]

#: Calls that wait until those before them have gone where the partition is now.
_WAITING: Final = 1000
#: How many nodes may name another one, for one call.
_TURNS: Final = 5


class Send(Protocol):
    """Sends a command. ``asking`` is whether another node has said to ask there for once."""

    def __call__(self, link: Link, *, asking: bool) -> Awaitable[Answer]: ...


class Partition:
    """One partition. ``moved`` is called with it and with a node's word for who has it, ``asked``
    with its word for who has some of it already; that one returns the node.
    """

    __slots__ = (
        "_asked",
        "_at",
        "_made",
        "_moved",
        "_one_goes",
        "_queue",
        "_timeout",
        "_under_way",
        "asking",
        "lost",
        "node",
        "number",
        "wanted",
    )

    def __init__(
        self,
        number: int,
        *,
        moved: Callable[["Partition", Node, MovedError], object],
        asked: Callable[[Node, AskError], Node],
        timeout: float,
    ) -> None:
        self.number: Final = number
        self.node: Node | None = None
        """Who has it, as far as it is known."""
        self.wanted: Final[set[bytes]] = set()
        """Its bus channels that are subscribed to."""
        self.asking: Final[set[bytes]] = set()
        """Those of them that are being subscribed to for the first time."""
        self.lost: Final[set[bytes]] = set()
        """Those of them that its node has let go of."""
        self._moved = moved
        self._asked = asked
        self._timeout = timeout
        self._at: Node | None = None
        self._under_way = 0  # calls, all at that node
        self._made = 0  # calls so far
        self._queue: list[tuple[int, asyncio.Future[None]]] = []
        self._one_goes = False

    async def call(self, send: Send) -> Answer:
        """Send a command to the node that has it. Raises BrokerUnavailable, and what it answers."""
        node = self.node
        if node is None:
            raise BrokerUnavailable
        self._made += 1
        number = self._made
        away = self._under_way and self._at is not node
        if away or self._queue or self._one_goes or node.link.begins:
            return await self._in_turn(send, number, None)
        self._at = node
        self._under_way += 1
        try:
            return await send(node.link, asking=False)
        except AskError as exc:
            elsewhere = self._elsewhere(node, exc)
        finally:
            self._under_way -= 1
            self._let_go()
        return await self._in_turn(send, number, elsewhere)

    async def _in_turn(self, send: Send, number: int, elsewhere: Node | None) -> Answer:
        """Send a command when those that were made before it have been answered."""
        if len(self._queue) >= _WAITING:
            raise BrokerUnavailable
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (number, turn))
        self._let_go()
        try:
            async with asyncio.timeout(self._timeout):
                await turn
                return await self._follow(send, elsewhere)
        except TimeoutError:
            raise BrokerUnavailable from None
        finally:
            if not turn.cancelled():
                self._one_goes = False
            self._let_go()

    def _let_go(self) -> None:
        """Let the next one go that waits, if none is under way."""
        while self._queue and not self._one_goes and not self._under_way:
            _, turn = heapq.heappop(self._queue)
            if not turn.cancelled():  # it has waited for too long
                self._one_goes = True
                turn.set_result(None)

    async def _follow(self, send: Send, elsewhere: Node | None) -> Answer:
        for _ in range(_TURNS):
            node = elsewhere or self.node
            if node is None:
                break
            try:
                await node.link.open(self._timeout)  # it may be new
            except DeclarationError as exc:
                raise BrokerUnavailable from exc
            try:
                return await send(node.link, asking=elsewhere is not None)
            except AskError as exc:
                elsewhere = self._elsewhere(node, exc)
        raise BrokerUnavailable

    def _elsewhere(self, node: Node, exc: AskError) -> Node | None:
        """Where one command is to go; None: where all go from now on."""
        if isinstance(exc, MovedError):
            self._moved(self, node, exc)
            return None
        return self._asked(node, exc)
