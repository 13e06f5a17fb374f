"""A question that is out: who is expected to answer it, and what came.

| a node   | Taken           | a part    | the last part | silent for too long | gone, Lost |
|----------|-----------------|-----------|---------------|---------------------|------------|
| ASKED    | TAKEN           | TAKEN     | DONE          | MISSING             | MISSING    |
| TAKEN    |                 |           | DONE          | MISSING             | MISSING    |
| MISSING  |                 |           | DONE          |                     |            |
| DONE     |                 |           |               |                     |            |

It is over when every node is DONE or MISSING. One that is MISSING is not waited for, and what it
says all the same, while others are waited for, is taken.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import GenericAlias
from typing import Final, Generic, TypeVar

from openapi.errors import InvalidData
from openapi.schema import Schema
from openapi.ws.faults import exception_of
from openapi.ws.node_messages import Answer
from openapi.ws.partial import Missing, NodeInfo
from openapi.ws.redacted import redacted

__all__ = ["Asking", "Gathered", "Stage"]

T = TypeVar("T")

#: Parts of one answer.
_PARTS: Final = 64


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """What the others answered: what each found, by its id; what each refused; who is missing."""

    found: tuple[tuple[str, T], ...] = ()
    refused: tuple[Exception, ...] = ()
    missing: tuple[Missing, ...] = ()


class Stage(Enum):
    """See the table of the module."""

    ASKED = "asked"
    TAKEN = "taken"
    MISSING = "missing"
    DONE = "done"


@dataclass(slots=True)
class _Expected:
    info: NodeInfo | None
    deadline: float | None
    taken: float = 0.0
    stage: Stage = Stage.ASKED
    reason: str = ""
    parts: set[int] = field(default_factory=set)
    count: int | None = None

    @property
    def over(self) -> bool:
        return self.stage is Stage.DONE or self.stage is Stage.MISSING

    def miss(self, reason: str) -> None:
        self.stage, self.reason = Stage.MISSING, redacted(reason)


class Asking(Generic[T]):
    """One question. ``item`` is what answers consist of.

    A node has ``patience`` seconds to say something, and ``longest`` from then on (None: for ever).
    With ``first``, it is over when one has found something. Until ``settled``, a time of the loop,
    others may turn up, and it is not over. With ``may_refuse``, an error of a node is a verdict on
    the question, and ``refused``; without, that node is MISSING.
    """

    def __init__(
        self,
        item: type[T],
        *,
        patience: float,
        longest: float | None,
        first: bool = False,
        settled: float = 0.0,
        may_refuse: bool = True,
    ) -> None:
        self._items: Schema[list[T]] = Schema.of(GenericAlias(list, (item,)))
        self._patience = patience
        self._longest = longest
        self._first = first
        self._settled = settled
        self._may_refuse = may_refuse
        self._is_enough = False
        self._nodes: dict[str, _Expected] = {}
        self._found: list[tuple[str, T]] = []
        self._refused: list[Exception] = []
        self._time: Callable[[], float] = asyncio.get_running_loop().time
        self._news = asyncio.Event()

    def expect(self, node: str, info: NodeInfo, unfit: str | None = None) -> None:
        """Wait for a node from now on, or say why that would be in vain."""
        if self._is_enough:
            return
        expected = _Expected(info, self._time() + self._patience)
        if unfit is not None:
            expected.miss(unfit)
        self._nodes.setdefault(node, expected)
        self._news.set()

    def taken(self, node: str) -> None:
        """It has found something, and works on it."""
        expected = self._nodes.setdefault(node, _Expected(None, None))
        if expected.stage is Stage.ASKED:
            self._take(expected)
            if self._first:
                self._enough(node)
            self._news.set()

    def answered(self, answer: Answer) -> None:
        """A part of an answer. Raises InvalidData for what cannot be read."""
        expected = self._nodes.setdefault(answer.node, _Expected(None, None))
        if expected.stage is Stage.DONE or answer.part in expected.parts:
            return
        self._news.set()
        try:
            if not 0 <= answer.part < _PARTS:
                raise InvalidData({"part": f"{answer.part} is not one of {_PARTS}"})
            items = self._items.convert(answer.items)
        except InvalidData:
            expected.miss("its answer cannot be read")
            raise
        expected.parts.add(answer.part)
        self._found += [(answer.node, item) for item in items]
        if answer.last:
            expected.count = answer.part + 1
            if answer.fault is not None:
                exc = exception_of(answer.fault)
                if exc is None or not self._may_refuse:
                    expected.miss(answer.fault.text or str(exc))
                    return
                self._refused.append(exc)
        if len(expected.parts) == expected.count:
            expected.stage = Stage.DONE
        elif expected.count is not None:  # they may have overtaken each other
            expected.deadline = self._time() + self._patience
        elif expected.stage is Stage.ASKED:
            self._take(expected)
        if items and self._first:
            self._enough(answer.node)

    def working(self) -> Iterator[tuple[str, float]]:
        """Who works on it, and since when, as a time of the loop."""
        for id, each in self._nodes.items():
            if each.stage is Stage.TAKEN:
                yield id, each.taken

    def lost(self, node: str, reason: str) -> None:
        """It does not answer any more."""
        expected = self._nodes.get(node)
        if expected is not None and not expected.over:
            expected.miss(reason)
            self._news.set()

    def all_lost(self, reason: str) -> None:
        """Nobody answers any more."""
        self._settled = 0.0
        for node in self._nodes:
            self.lost(node, reason)
        self._news.set()

    async def answers(self) -> None:
        """Wait until it is over."""
        while True:
            now = self._time()
            waiting = [each for each in self._nodes.values() if not each.over]
            for each in waiting:
                if each.deadline is not None and each.deadline <= now:
                    each.miss(self._too_long(each))
            waiting = [each for each in waiting if not each.over]
            if not waiting and self._settled <= now:
                return
            deadlines = [each.deadline for each in waiting if each.deadline is not None]
            if not waiting:
                deadlines.append(self._settled)
            self._news.clear()
            try:
                async with asyncio.timeout_at(min(deadlines, default=None)):
                    await self._news.wait()
            except TimeoutError:
                pass  # whoever it is, is found above

    def gathered(self, describe: Callable[[str], NodeInfo]) -> Gathered[T]:
        """What came. ``describe`` says who a node is that was not expected."""
        missing = tuple(
            Missing(each.info or describe(id), each.reason)
            for id, each in self._nodes.items()
            if each.stage is Stage.MISSING
        )
        return Gathered(tuple(self._found), tuple(self._refused), missing)

    def _take(self, expected: _Expected) -> None:
        expected.stage, expected.taken = Stage.TAKEN, self._time()
        longest = self._longest
        expected.deadline = None if longest is None else expected.taken + longest

    def _too_long(self, expected: _Expected) -> str:
        if expected.stage is Stage.ASKED:
            return f"it did not answer within {self._patience:g} s"
        if expected.count is not None:
            return "a part of its answer was lost"
        return f"it was not done within {self._longest:g} s"

    def _enough(self, node: str) -> None:
        self._settled = 0.0
        self._is_enough = True
        for id in [id for id in self._nodes if id != node]:
            del self._nodes[id]
