"""What was published on one channel with history, and what clients made of it.

    ledger = Ledger("news")
    await ledger.publish(manager)               # the next number: True when it was acknowledged
    witness = await Witness.come(url, ledger)   # a client, which notes what it hears and is told
    figures = ledger.judge([witness])

A client is told of a loss by ``$reset``, or by an answer to ``subscribe`` that did not recover.
Whatever was acknowledged, and is neither heard nor told of, is lost silently.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from yarl import URL

from openapi.errors import BrokerUnavailable
from openapi.protocol.stream import Position
from openapi.ws import SocketsManager
from tests.ws.tcp import Client, Frame

__all__ = ["Figures", "Ledger", "Witness", "all_hear"]

_EVENT: Final = "n"


@dataclass(slots=True)
class Figures:
    """What became of what was acknowledged, for all witnesses together."""

    expected: int = 0
    heard: int = 0
    flagged: int = 0
    """Not heard, and the witness was told."""
    silent: int = 0
    """Not heard, and it does not know."""
    repeated: int = 0
    swapped: int = 0
    told: int = 0
    """How often a witness was told of a loss."""

    def __str__(self) -> str:
        return (
            f"{self.heard:,} of {self.expected:,} acknowledged messages heard, {self.flagged:,}"
            f" flagged, {self.silent:,} lost silently, {self.repeated:,} repeated,"
            f" {self.swapped:,} swapped; told of a loss {self.told:,} times"
        )


@dataclass(slots=True)
class Ledger:
    """The numbers 1, 2, … as they were published, one behind the other."""

    channel: str
    published: int = 0
    """The last number that was tried."""
    acknowledged: dict[int, Position] = field(default_factory=dict)
    """Those that are surely published, and where. Of others nobody knows."""
    refused: int = 0
    """Those that could not be published."""
    slowest: float = 0.0
    """The longest time that such a refusal took: seconds."""

    async def publish(self, sockets: SocketsManager) -> bool:
        """Publish the next number; returns whether it was acknowledged."""
        self.published += 1
        number, began = self.published, time.perf_counter()
        try:
            position = await sockets.publish(self.channel, _EVENT, {"n": number})
        except BrokerUnavailable as exc:
            assert exc.retry_after, "it does not say when to try again"
            self.refused += 1
            self.slowest = max(self.slowest, time.perf_counter() - began)
            return False
        assert position is not None
        self.acknowledged[number] = position
        return True

    async def publish_many(self, managers: Sequence[SocketsManager], count: int) -> None:
        """Publish so many numbers through all in turn. Each must be acknowledged."""
        for number in range(count):
            assert await self.publish(managers[number % len(managers)])

    def judge(self, witnesses: "Sequence[Witness]") -> Figures:
        """Compare what was heard with what was acknowledged."""
        figures = Figures()
        epochs = list(dict.fromkeys(where.epoch for where in self.acknowledged.values()))

        def age(where: Position) -> tuple[int, int]:
            # An epoch that has no message yet is the newest.
            known = where.epoch in epochs
            return (epochs.index(where.epoch) if known else len(epochs)), where.offset

        for witness in witnesses:
            due = {n: age(at) for n, at in self.acknowledged.items() if n > witness.since}
            heard: set[int] = set()
            last, told = witness.since, None
            flags: list[tuple[int, tuple[int, int]]] = []
            for each in witness.noted:
                if isinstance(each, Position):
                    figures.told += 1
                    told = age(each)
                    flags.append((last, told))
                    continue
                figures.repeated += each in heard
                figures.swapped += each < last
                heard.add(each)
                last = max(last, each)
            missing = due.keys() - heard
            # A flag is for what comes behind the last that was heard before it, up to its position.
            known = {n for n in missing if any(n > last and due[n] <= to for last, to in flags)}
            figures.expected += len(due)
            figures.heard += len(due.keys() & heard)
            figures.flagged += len(known)
            figures.silent += len(missing - known)
        return figures


class Witness(Client):
    """A client of the channel, on one connection after the other."""

    def __init__(self, url: URL, ledger: Ledger) -> None:
        super().__init__(url, self._note)
        self.ledger = ledger
        self.since = 0
        """The last number before it was subscribed."""
        self.noted: list[int | Position] = []
        """The numbers that it heard, and where it was told to go on behind a loss."""

    @classmethod
    async def come(cls, url: URL, ledger: Ledger) -> Self:
        """Connect and subscribe. Nothing is published meanwhile."""
        witness = cls(url, ledger)
        await witness.connect()
        await witness.open_now
        await witness.call("subscribe", {"channel": ledger.channel})
        witness.since = ledger.published
        return witness

    @property
    def last(self) -> int:
        """The last number that it heard."""
        return next((each for each in reversed(self.noted) if isinstance(each, int)), 0)

    async def hears(self, number: int) -> None:
        """Wait until it has heard a number, or a later one."""
        await self.until(lambda: self.last >= number)

    def _note(self, frame: Frame) -> None:
        if frame.get("channel") != self.ledger.channel:
            return
        data: dict[str, Any] = frame["data"]
        if frame["event"] == "$reset":
            self.noted.append(Position(data["offset"], data["epoch"]))
        else:
            assert frame["event"] == _EVENT
            self.noted.append(data["n"])


async def all_hear(witnesses: Sequence[Witness], number: int) -> None:
    """Wait until all have heard a number."""
    await asyncio.gather(*(each.hears(number) for each in witnesses))
