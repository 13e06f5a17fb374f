"""What this node asks all others, and what comes of it, until each question is over."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from openapi.errors import InvalidData
from openapi.ws.asking import Asking, Gathered
from openapi.ws.node_messages import Answer, CannotSay, Lost, Message, Question, Stop, Taken
from openapi.ws.node_table import NodeTable
from openapi.ws.partial import Missing, NodeInfo

__all__ = ["Questions", "Say", "away"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for the word that nobody waits any more.
_FAREWELL: Final = 1.0


class Say(Protocol):
    """Sends a message to all nodes, in so many seconds at most."""

    def __call__(self, message: Message, *, within: float) -> Awaitable[None]: ...


class Questions:
    """Asks in the name of ``node`` those who are in the ``table``.

    A node has ``patience`` seconds to say that it heard a question.
    """

    def __init__(
        self,
        node: str,
        *,
        table: NodeTable,
        say: Say,
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        patience: float,
    ) -> None:
        self._node = node
        self._table = table
        self._say = say
        self._spawn = spawn
        self._patience = patience
        self._ids = count(1)
        self._asking: dict[int, Asking[Any]] = {}

    def __len__(self) -> int:
        return len(self._asking)

    async def ask(
        self,
        question: Callable[..., Question],
        item: type[T],
        *,
        longest: float | None,
        first: bool,
        settled: float,
        may_refuse: bool,
    ) -> Gathered[T]:
        """Ask all; whoever does not answer is named, and it raises nothing.

        ``question`` makes the question, given its ``id`` and ``node``. The rest is that of
        :class:`~openapi.ws.asking.Asking`.
        """
        asking = Asking(
            item,
            patience=self._patience,
            longest=longest,
            first=first,
            settled=settled,
            may_refuse=may_refuse,
        )
        id = next(self._ids)
        self._asking[id] = asking  # some answer while it is still being asked
        try:
            unsaid = await self._unsaid(question, id)
            for node in self._table.all:
                self._expect(asking, node.sign.node)
            if unsaid is not None:
                asking.all_lost(unsaid)
            await asking.answers()
        except asyncio.CancelledError:
            self._spawn(self._stop(id))
            raise
        finally:
            del self._asking[id]
        gathered = asking.gathered(self._described)
        if self._table.overflowed:
            more = Missing(None, f"there are more than {len(self._table)}, and no more are known")
            gathered = replace(gathered, missing=(*gathered.missing, more))
        return gathered

    def receive(self, message: Taken | Answer | Lost) -> None:
        """What a node says of a question. Raises InvalidData for what cannot be read."""
        match message:
            case Taken():
                if (asking := self._asking.get(message.id)) is not None:
                    asking.taken(message.node)
            case Answer():
                if (asking := self._asking.get(message.id)) is not None:
                    asking.answered(message)
            case Lost():
                for id in message.ids:
                    if (asking := self._asking.get(id)) is not None:
                        asking.lost(message.node, "its answer was lost")

    def expect(self, node: str) -> None:
        """A node that is in the table now hears what is asked: its answers are waited for."""
        for asking in self._asking.values():
            self._expect(asking, node)

    def lost(self, node: str, reason: str) -> None:
        """A node does not answer any more."""
        for asking in self._asking.values():
            asking.lost(node, reason)

    def all_lost(self, reason: str) -> None:
        """Nobody answers any more."""
        for asking in self._asking.values():
            asking.all_lost(reason)

    def remind(self, unknown: float) -> dict[str, list[int]]:
        """Which nodes work for this one, and on which questions.

        One that is not in the table is waited for no longer if it began before ``unknown``, a time
        of the loop.
        """
        waiting: dict[str, list[int]] = {}
        for id, asking in self._asking.items():
            for node, since in tuple(asking.working()):
                if node in self._table or since > unknown:
                    waiting.setdefault(node, []).append(id)
                else:  # its silence is measured by nobody
                    asking.lost(node, "it is not known here, and has not answered for long")
        return waiting

    async def _unsaid(self, question: Callable[..., Question], id: int) -> str | None:
        """Ask all; returns why that could not be, if so."""
        try:
            await self._say(question(id=id, node=self._node), within=self._patience)
        except (CannotSay, InvalidData) as exc:
            return f"it cannot be asked: {exc}"
        except Exception as exc:
            return away(exc)
        return None

    def _expect(self, asking: Asking[Any], id: str) -> None:
        node = self._table.get(id)
        assert node is not None
        asking.expect(id, node.info, node.unfit(asyncio.get_running_loop().time()))

    async def _stop(self, id: int) -> None:
        try:
            await self._say(Stop(id, self._node), within=_FAREWELL)
        except Exception as exc:
            # What they do ends at its own deadline.
            logger.info("the other nodes could not be told to stop: %r", exc)

    def _described(self, id: str) -> NodeInfo:
        node = self._table.get(id)
        return NodeInfo(id, "?", 0, 0) if node is None else node.info


def away(exc: Exception) -> str:
    """Why nobody hears a question."""
    return f"the broker is away: {str(exc) or type(exc).__name__}"
