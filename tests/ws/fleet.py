"""Clients of one channel whose connections are reset again and again, and what they missed.

What each of them heard is noted, and judged at the end by what was published, not by what they
believe. Nothing here waits for a clock: a schedule says in which order things happen, and its
seconds are numbers.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from yarl import URL

from tests.ws.tcp import Frame, Line

_SUBSCRIBE: Final = 1
_FENCE: Final = 2


class Listener:
    """Who reads a channel, over as many connections as it takes, each from where the last ended."""

    def __init__(self, fleet: "Fleet", number: int) -> None:
        self.number = number
        self.offset: int | None = None
        """Behind the last message that it heard, or was told of; None: it never was connected."""
        self.epoch = ""
        self.heard: list[int] = []
        """The offsets of all messages, as they came."""
        self.flagged: list[range] = []
        """Messages that it was told are lost."""
        self.recovered = 0
        """How often everything that it missed came."""
        self.faults: list[str] = []
        self._fleet = fleet
        self._connections = 0
        self._line: _Line | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._fenced: asyncio.Future[None] | None = None

    @property
    def away(self) -> bool:
        """Whether it has no connection, and none is being opened."""
        return self._line is None

    @property
    def here(self) -> bool:
        """Whether it is connected and subscribed."""
        return self._line is not None and self._line.subscribed

    def come(self) -> None:
        """Begin to connect."""
        assert self.away
        urls = self._fleet.urls
        self._line = _Line(urls[(self.number + self._connections) % len(urls)], self)
        self._connections += 1
        self._fleet.coming += 1
        self._connecting = asyncio.ensure_future(self._line.connect())
        self._connecting.add_done_callback(self._connected)

    def reset(self) -> None:
        """Reset the connection, however far it is."""
        line, self._line = self._line, None
        assert line is not None
        if not line.subscribed:
            self._fleet.come()
        line.reset()
        if self._connecting is not None:
            self._connecting.cancel()

    async def fence(self) -> None:
        """Make a call and wait for the answer: what was sent before has arrived then."""
        assert self._line is not None
        self._fenced = asyncio.get_running_loop().create_future()
        payload = {"channel": self._fleet.channel, "limit": 0}
        self._line.send({"id": _FENCE, "method": "history", "payload": payload})
        await self._fenced

    # What its connection calls

    def opened(self, line: "_Line") -> None:
        """The connection is open: subscribe."""
        payload: dict[str, Any] = {"channel": self._fleet.channel}
        if self.offset is not None:
            payload["recover"] = {"offset": self.offset, "epoch": self.epoch}
        line.send({"id": _SUBSCRIBE, "method": "subscribe", "payload": payload})

    def take(self, line: "_Line", frame: Frame) -> None:
        """A frame."""
        if "channel" in frame:
            self._message(line, frame)
        elif frame.get("id") == _SUBSCRIBE and "response" in frame:
            self._subscribed(line, frame["response"])
        elif frame.get("id") == _FENCE and "response" in frame and self._fenced is not None:
            self._fenced.set_result(None)
        else:
            self.faults.append(f"unexpected: {frame}")

    def lost(self, line: "_Line") -> None:
        """A connection ended that it did not end itself."""
        if line is self._line:
            self._line = None
            if not line.subscribed:
                self._fleet.come()
            self.faults.append(f"the server ended the connection: {line.close_code}")

    def _message(self, line: "_Line", frame: Frame) -> None:
        if not line.subscribed:
            self.faults.append(f"before the answer: {frame}")
        if frame["event"] == "$reset":
            self._flag(frame["data"])
        else:
            self._note(frame)
            self._fleet.news()

    def _note(self, frame: Frame) -> None:
        offset = frame["offset"]
        if frame["data"] != {"n": offset}:
            self.faults.append(f"another message's data: {frame}")
        self.heard.append(offset)
        self.offset = offset

    def _subscribed(self, line: "_Line", response: dict[str, Any]) -> None:
        line.subscribed = True
        self._fleet.come()
        if self.offset is None:
            self.offset, self.epoch = response["offset"], response["epoch"]
        elif not response["recovered"]:
            if response["messages"]:
                self.faults.append(f"a part of what was missed: {response}")
            self._flag(response)
        else:
            self.recovered += 1
            for each in response["messages"]:
                self._note(each)
            if (self.offset, self.epoch) != (response["offset"], response["epoch"]):
                self.faults.append(f"at {self.offset}, and not where it is told: {response}")

    def _flag(self, position: dict[str, Any]) -> None:
        assert self.offset is not None
        self.flagged.append(range(self.offset + 1, position["offset"] + 1))
        self.offset, self.epoch = position["offset"], position["epoch"]

    def _connected(self, connecting: asyncio.Task[None]) -> None:
        if connecting is self._connecting:
            self._connecting = None
        if not connecting.cancelled() and (failure := connecting.exception()) is not None:
            self.faults.append(f"cannot connect: {failure!r}")
            if self._line is not None and not self._line.subscribed:
                self._line = None
                self._fleet.come()


class _Line(Line):
    """One connection of a listener."""

    def __init__(self, url: URL, listener: Listener) -> None:
        super().__init__(url)
        self.subscribed = False
        self._listener = listener

    def opened(self) -> None:
        self._listener.opened(self)

    def heard(self, frame: Frame) -> None:
        self._listener.take(self, frame)

    def ended(self) -> None:
        self._listener.lost(self)


class Fleet:
    """So many listeners of one channel. Each takes the next of the ``urls`` when it connects."""

    def __init__(self, urls: Sequence[URL], channel: str, listeners: int) -> None:
        self.urls = urls
        self.channel = channel
        self.coming = 0
        """How many have begun to connect and are not subscribed yet."""
        self.listeners = [Listener(self, number) for number in range(listeners)]
        self._news = asyncio.Event()

    def news(self) -> None:
        """Something has come that somebody may wait for."""
        self._news.set()

    def come(self) -> None:
        """One of those who were coming is not any more."""
        self.coming -= 1
        self.news()

    async def until(self, there: Callable[[], bool]) -> None:
        """Wait until something is true."""
        while not there():
            self._news.clear()
            await self._news.wait()

    async def all_come(self, *, at_once: int = 50) -> None:
        """Let all who are away connect, and wait until they are subscribed."""
        for listener in self.listeners:
            if listener.away:
                listener.come()
                await self.until(lambda: self.coming < at_once)
        await self.until(lambda: self.coming == 0)

    async def all_hear(self) -> None:
        """Wait until all that was published has arrived where it does."""
        await asyncio.gather(*(each.fence() for each in self.listeners if each.here))

    def reset(self) -> None:
        """Reset every connection that there is."""
        for listener in self.listeners:
            if not listener.away:
                listener.reset()


class What(Enum):
    """What happens next."""

    PUBLISH = "publish"
    RESET = "reset"
    COME = "come"


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """``at`` so many seconds of the schedule, this happens; to that listener, if it is not all."""

    at: float
    listener: int
    what: What


def schedule(
    rng: random.Random,
    *,
    listeners: int,
    messages: int,
    rate: float,
    lasting: float,
    away: Callable[[], float],
) -> list[Moment]:
    """Who is reset when, while ``messages`` are published, ``rate`` a second.

    A connection lasts for ``lasting`` seconds in the mean, as chance has it, and its client stays
    away for ``away()``. It may be reset again before it is open.
    """
    end = messages / rate
    moments = [Moment((n + 0.5) / rate, -1, What.PUBLISH) for n in range(messages)]
    for listener in range(listeners):
        at = rng.expovariate(1 / lasting)
        while at < end:
            moments.append(Moment(at, listener, What.RESET))
            moments.append(Moment(at := at + away(), listener, What.COME))
            at += rng.expovariate(1 / lasting)
    return sorted(moments, key=lambda moment: (moment.at, moment.listener))


async def follow(
    fleet: Fleet,
    moments: Sequence[Moment],
    publish: Callable[[], Awaitable[int]],
    rng: random.Random,
    *,
    at_once: int = 50,
    heard: bool = True,
) -> int:
    """Do what a schedule says; returns how many connections were reset.

    ``publish`` publishes the next message and returns its offset. The schedule waits while more
    than ``at_once`` clients are coming, and behind some messages until one of those who are there
    has it: so it takes as long as it takes. ``heard`` is whether each is sure to come by itself.
    """
    resets = 0
    for moment in moments:
        match moment.what:
            case What.PUBLISH:
                await fleet.until(lambda: fleet.coming < at_once)
                offset = await publish()
                if rng.random() < 0.3:  # or the next one is of the same turn
                    await asyncio.sleep(0)
                    if heard:
                        await _heard_by_one(fleet, offset, rng)
            case What.RESET:
                fleet.listeners[moment.listener].reset()
                resets += 1
            case What.COME:
                fleet.listeners[moment.listener].come()
    return resets


async def _heard_by_one(fleet: Fleet, offset: int, rng: random.Random) -> None:
    listener = rng.choice(fleet.listeners)
    if listener.here:
        await fleet.until(lambda: (listener.offset or 0) >= offset or bool(listener.faults))


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of ``messages`` published while ``listeners`` listened."""

    listeners: int
    messages: int
    delivered: int
    """Once and in order, of all that should have been: listeners times messages."""
    flagged: int
    """Not delivered, and the listener was told."""
    silent: int
    """Not delivered, and the listener does not know."""
    repeated: int
    swapped: int
    resets: int
    recovered: int
    """Reconnections after which nothing was missing."""
    refused: int
    """Reconnections after which something was, and the listener was told."""

    @property
    def expected(self) -> int:
        """Whoever was never connected should have had them too."""
        return self.listeners * self.messages

    @property
    def percent(self) -> float:
        """Of what was expected, how much was delivered."""
        return 100 * self.delivered / self.expected

    def __str__(self) -> str:
        return (
            f"{self.listeners:,} clients, {self.messages} messages, {self.resets:,} resets:"
            f" {self.delivered:,} of {self.expected:,} delivered in order and once"
            f" ({self.percent:.3f} %), {self.flagged:,} flagged, {self.silent:,} lost silently,"
            f" {self.repeated:,} repeated, {self.swapped:,} swapped;"
            f" {self.recovered:,} reconnections recovered, {self.refused:,} could not"
        )


def judge(listeners: Sequence[Listener], messages: int, resets: int) -> Figures:
    """Compare what was heard with the offsets 1 to ``messages``."""
    delivered = flagged = silent = repeated = swapped = 0
    for listener in listeners:
        heard = set(listener.heard)
        told = {offset for lost in listener.flagged for offset in lost} - heard
        assert heard <= set(range(1, messages + 1)), f"nobody published that: {heard}"
        delivered += len(heard)
        flagged += len(told)
        silent += messages - len(heard | told)
        repeated += len(listener.heard) - len(heard)
        swapped += sum(b < a for a, b in _pairs(listener.heard))
    return Figures(
        listeners=len(listeners),
        messages=messages,
        delivered=delivered,
        flagged=flagged,
        silent=silent,
        repeated=repeated,
        swapped=swapped,
        resets=resets,
        recovered=sum(each.recovered for each in listeners),
        refused=sum(len(each.flagged) for each in listeners),
    )


def _pairs(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip(offsets, offsets[1:], strict=False)
