"""The channels of one partition, which are at one node: who that is, and what goes there, in order.

Calls go side by side. Where a node says that another one has the partition now, they wait, and go
one behind the other until the node that has it has carried one out; then all that wait follow it,
side by side again. So one that was turned away is not overtaken by those that were made behind it.
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
        "_following",
        "_made",
        "_moved",
        "_one_goes",
        "_queue",
        "_settled",
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
        self._queue: list[tuple[int, asyncio.Future[bool]]] = []
        self._one_goes = False
        self._following = 0  # those that may go, and have not gone yet
        self._settled: Node | None = None  # who has carried one out since others turned one away

    async def call(self, send: Send) -> Answer:
        """Send a command to the node that has it. Raises BrokerUnavailable, and what it answers."""
        if self._owner() is None:
            raise BrokerUnavailable
        self._made += 1
        number, elsewhere, waits = self._made, None, self._must_wait()
        for _ in range(_TURNS):
            if waits and not await self._turn(number):
                return await self._alone(send, elsewhere)
            node = self._owner()
            if node is None:
                break
            self._at = node
            self._under_way += 1
            try:
                return await send(node.link, asking=False)
            except AskError as exc:
                elsewhere = self._elsewhere(node, exc)
            finally:
                self._under_way -= 1
                self._let_go()
            waits = True
        raise BrokerUnavailable

    def _owner(self) -> Node | None:
        return self.node

    def _must_wait(self) -> bool:
        """Whether a call would overtake others, or be the first to a node."""
        node = self.node
        is_elsewhere = self._under_way > 0 and self._at is not node
        waiting = self._queue or self._one_goes or self._following
        return bool(is_elsewhere or waiting or node is None or node.link.begins)

    async def _turn(self, number: int) -> bool:
        """Wait for those that were made before. Returns whether others may go at the same time."""
        if len(self._queue) >= _WAITING:
            raise BrokerUnavailable
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (number, turn))
        self._let_go()
        try:
            async with asyncio.timeout(self._timeout):
                follows = await turn
        except TimeoutError:
            self._give_up(turn)
            raise BrokerUnavailable from None
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        if follows:
            self._following -= 1
        return follows

    def _give_up(self, turn: "asyncio.Future[bool]") -> None:
        """A call that waited goes nowhere, though it may have been its turn."""
        if turn.done() and not turn.cancelled():
            if turn.result():
                self._following -= 1
            else:
                self._one_goes = False
            self._let_go()

    async def _alone(self, send: Send, elsewhere: Node | None) -> Answer:
        """Send a command while no other one goes."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(send, elsewhere)
        except TimeoutError:
            raise BrokerUnavailable from None
        finally:
            self._one_goes = False
            self._let_go()

    def _let_go(self) -> None:
        """Let go of those that wait, in order: all where their node took one, or the next."""
        while self._queue and not self._one_goes:
            node = self.node
            all_go = self._settled is node is not None and not (
                self._under_way and self._at is not node
            )
            if not all_go and (self._under_way or self._following):
                return
            _, turn = heapq.heappop(self._queue)
            if turn.cancelled():  # it has waited for too long
                continue
            if all_go:
                self._following += 1
            else:
                self._one_goes = True
            turn.set_result(all_go)

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
                answer = await send(node.link, asking=elsewhere is not None)
            except AskError as exc:
                elsewhere = self._elsewhere(node, exc)
                continue
            if elsewhere is None:
                self._settled = node
            return answer
        raise BrokerUnavailable

    def _elsewhere(self, node: Node, exc: AskError) -> Node | None:
        """Where one command is to go; None: where all go from now on."""
        self._settled = None
        if isinstance(exc, MovedError):
            self._moved(self, node, exc)
            return None
        return self._asked(node, exc)
