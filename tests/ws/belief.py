"""What a client believes, from nothing but the frames that it got, in their order.

It holds each of them against what was promised: a message comes only while a subscription that it
fits is believed in, and on a channel with history each one comes that is due, once, in order.
"""

from collections import deque
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from openapi.errors import ErrorCode
from tests.ws.linked import Frame

#: Codes that a refused or cancelled call may have, besides those that are an application's own.
_REFUSED: Final = {
    ErrorCode.NOT_ALLOWED,
    ErrorCode.CANCELLED,
    ErrorCode.INTERNAL_ERROR,
}

Streams = dict[str, dict[str, dict[int, str]]]
Place = tuple[str, int]
"""An epoch and an offset."""


@dataclass(slots=True)
class Call:
    """A call in flight."""

    method: str
    channel: str
    pattern: str | None = None
    recover: Place | None = None
    cancelled: bool = False


@dataclass(slots=True)
class Recovery:
    """The answer to a call that was to recover what was missed."""

    channel: str
    since: Place
    recovered: bool


class Belief:
    """One connection. ``streams`` are those of :class:`~tests.ws.weather.Weather`.

    A subscription is a pattern and, on a channel with history, the position behind which everything
    that fits it is due.
    """

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.subscribed: dict[str, dict[str, Place | None]] = {}
        self.said: dict[str, set[str]] = {}
        """The same, from the last answer that named everything and what came since."""
        self.position: dict[str, Place] = {}
        """Where it is on channels with history."""
        self.live: dict[str, list[str]] = {}
        """The events that came, by channel."""
        self.failed: dict[str, set[str]] = {}
        """The patterns that it was not subscribed with in the end, though it may have been."""
        self.early: list[tuple[str, str]] = []
        """Messages that were held for a subscription that failed, and fit one that the server made
        meanwhile: they may come right before that is said."""
        self.resets = 0
        self.recoveries: list[Recovery] = []
        self.calls: dict[int, Call] = {}
        """Those that are not answered yet, by id."""
        self._lanes: dict[str, deque[int]] = {}
        self._last: dict[tuple[str, str], int] = {}

    def called(self, number: int, call: Call) -> None:
        """A call was sent."""
        self.calls[number] = call
        if call.method in ("subscribe", "unsubscribe"):
            self._lanes.setdefault(call.channel, deque()).append(number)

    def heard(self, frame: Frame) -> None:
        """Take a frame in."""
        if "id" in frame:
            call = self.calls.pop(frame["id"])
            if frame["id"] in (lane := self._lanes.get(call.channel, deque())):
                assert call.cancelled or lane[0] == frame["id"], "answered out of turn"
                lane.remove(frame["id"])
            if "error" in frame:
                self._refused(call, frame["error"])
            elif call.method == "subscribe":
                self._subscribed(call, frame["response"])
            elif call.method == "unsubscribe":
                self._unsubscribed(call, frame["response"]["subscribed"])
            return
        channel, event, data = frame["channel"], frame["event"], frame["data"]
        match event:
            case "$subscribed":
                for pattern in data["events"]:
                    self._add(channel, pattern, data)
                    self.early = [
                        each
                        for each in self.early
                        if each[0] != channel or not fnmatchcase(each[1], pattern)
                    ]
                    self.said.setdefault(channel, set()).add(pattern)
            case "$unsubscribed":
                for pattern in data["events"]:
                    self._remove(channel, pattern)
                    _discard(self.said, channel, pattern)
            case "$reset":
                self._reset(channel, data)
            case _:
                assert event == data, "unknown event"
                self._message(channel, event, frame.get("offset", 0))

    def due(self) -> list[str]:
        """What did not come, of what is in the streams now."""
        return [
            event
            for channel, patterns in self.subscribed.items()
            for pattern, since in patterns.items()
            if since is not None
            for event in self._between(channel, pattern, since, None)
        ]

    def _between(self, channel: str, pattern: str, since: Place, until: int | None) -> list[str]:
        """The events that fit a pattern, behind a place and before an offset."""
        stream = self.streams[channel][since[0]]
        offsets = range(since[1] + 1, len(stream) + 1 if until is None else until)
        return [stream[n] for n in offsets if fnmatchcase(stream[n], pattern)]

    def _refused(self, call: Call, error: dict[str, Any]) -> None:
        code, channel = error["code"], call.channel
        if code == ErrorCode.INVALID_PARAMETERS:
            assert error["errors"] == {"channel": "Invalid channel"}
            assert call.method == "subscribe" or channel not in self.subscribed
        else:
            assert code in _REFUSED or code > 0, error
            assert code != ErrorCode.CANCELLED or call.cancelled
        if call.method == "subscribe" and call.pattern not in self.subscribed.get(channel, {}):
            # The answer to another call may have named it, while it was not refused yet.
            assert call.pattern is not None
            self.failed.setdefault(channel, set()).add(call.pattern)
            _discard(self.said, channel, call.pattern)

    def _subscribed(self, call: Call, response: dict[str, Any]) -> None:
        channel, pattern = call.channel, call.pattern
        assert pattern is not None
        self._named(response["subscribed"])
        if call.recover is not None:
            self._recovered(call, pattern, response)
        self._add(channel, pattern, response)

    def _recovered(self, call: Call, pattern: str, response: dict[str, Any]) -> None:
        epoch, offset = call.recover or ("", 0)
        messages = response["messages"]
        if response["recovered"]:
            assert response["epoch"] == epoch
            stream = self.streams[call.channel][epoch]
            expected = [
                {"channel": call.channel, "event": stream[n], "data": stream[n], "offset": n}
                for n in range(offset + 1, response["offset"] + 1)
                if fnmatchcase(stream[n], pattern)
            ]
            assert messages == expected
        else:
            assert messages == []
        self.recoveries.append(Recovery(call.channel, (epoch, offset), response["recovered"]))

    def _unsubscribed(self, call: Call, subscribed: dict[str, list[str]]) -> None:
        self._named(subscribed)
        # Whoever was subscribed again meanwhile, and told so, has that.
        again = self.said.get(call.channel, set())
        for pattern in tuple(self.subscribed.get(call.channel, ())):
            if call.pattern in (None, pattern) and pattern not in again:
                self._remove(call.channel, pattern)

    def _named(self, subscribed: dict[str, list[str]]) -> None:
        """An answer names all that it has."""
        self.said = {channel: set(patterns) for channel, patterns in subscribed.items()}

    def _add(self, channel: str, pattern: str, where: dict[str, Any]) -> None:
        is_new = channel not in self.subscribed
        patterns = self.subscribed.setdefault(channel, {})
        if "epoch" not in where:
            patterns[pattern] = None
            return
        place = where["epoch"], where["offset"]
        self._exists(channel, place)
        # What it had before goes on from where that was: it may be held until this answer.
        patterns.setdefault(pattern, place)
        if is_new:
            self.position[channel] = place

    def _remove(self, channel: str, pattern: str) -> None:
        patterns = self.subscribed.get(channel, {})
        patterns.pop(pattern, None)
        if not patterns:
            self.subscribed.pop(channel, None)

    def _reset(self, channel: str, position: dict[str, Any]) -> None:
        self.resets += 1
        place = position["epoch"], position["offset"]
        self._exists(channel, place)
        if channel not in self.subscribed:
            assert channel in self.failed, "it is told of what it never had"
            return
        patterns, epochs = self.subscribed[channel], list(self.streams[channel])

        def age(place: Place) -> tuple[int, int]:
            return epochs.index(place[0]), place[1]

        assert age(self.position[channel]) < age(place), "nothing is lost"
        self.position[channel] = place
        for pattern, since in patterns.items():
            # A subscription that began behind the reset goes on from there.
            assert since is not None
            patterns[pattern] = max(since, place, key=age)

    def _message(self, channel: str, event: str, offset: int) -> None:
        self.live.setdefault(channel, []).append(event)
        patterns = self.subscribed.get(channel, {})
        fitting = [pattern for pattern in patterns if fnmatchcase(event, pattern)]
        if not fitting:
            failed = self.failed.get(channel, set())
            is_early = any(fnmatchcase(event, pattern) for pattern in failed)
            assert is_early, f"{event} of {channel} comes to whoever has {list(patterns)}"
            self.early.append((channel, event))
            return
        if channel not in self.position:
            assert not offset
            return
        epoch, last = self.position[channel]
        assert self.streams[channel][epoch][offset] == event
        place = epoch, offset
        assert any(_is_before(patterns[pattern], place) for pattern in fitting), "it came before"
        for pattern, since in patterns.items():
            if since is not None and since[0] == epoch:
                missed = self._between(channel, pattern, since, offset)
                assert not missed, f"{event} of {channel} comes before {missed}"
                patterns[pattern] = max(since, place)
        came = self._last.get((channel, epoch), 0)
        assert offset > came, "it comes behind a later one"
        self._last[channel, epoch] = offset
        self.position[channel] = epoch, max(last, offset)

    def _exists(self, channel: str, place: Place) -> None:
        assert 0 <= place[1] <= len(self.streams[channel][place[0]])


def _is_before(since: Place | None, place: Place) -> bool:
    return since is not None and since[0] == place[0] and since[1] < place[1]


def _discard(said: dict[str, set[str]], channel: str, pattern: str) -> None:
    patterns = said.get(channel, set())
    patterns.discard(pattern)
    if not patterns:
        said.pop(channel, None)
