"""What one subscriber that reads nothing costs the others: their delays, before and while.

The server publishes by itself, 50 messages of 4 KiB a second, each with the time at which it did:
:func:`time.monotonic`, which is one clock for all of this machine.
"""

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bench.figures import Headroom, Sample
from bench.load import READ, Connection, Frames, connected, lost, watch
from bench.process import Server
from bench.workloads.fan_out import CHANNEL, Audience, subscribe
from bench.workloads.latency import Delays, percentile
from bench.workloads.own import asked, is_ours, said, tell
from bench.workloads.workload import Scale, Workload

if TYPE_CHECKING:
    from bench.peers import Peer

__all__ = ["WORKLOADS", "Ticks"]

_OTHERS: Final = 499
_RATE: Final = 50
_SIZE: Final = 4096
#: What the kernel may hold of one that does not read: it would hide it for megabytes.
_RECEIVE_BUFFER: Final = 4096
#: Seconds between two looks at the queues.
_LOOK: Final = 0.05
#: Seconds, at the full scale: before it stops to read, and from then on.
_BEFORE: Final = 10.0
_WHILE: Final = 40.0


class Ticks:
    """The dialect of what the server publishes by itself: what it says when is a message's number.

    ``at`` has the times of all that came, in their order.
    """

    _MESSAGE: Final = re.compile(
        rb'\{"channel":"%b","event":"tick","data":\{"at":(\d+\.\d+),"filler":"x{%d}"\}\}'
        % (CHANNEL.encode(), _SIZE)
    )

    def __init__(self) -> None:
        self.at: list[float] = []
        self._numbers: dict[bytes, int] = {}

    def delivered(self, payload: bytes) -> int:
        """Its number. Raises AssertionError for any other message."""
        match = self._MESSAGE.fullmatch(payload)
        assert match is not None, f"no tick: {payload[:100]!r}"
        number = self._numbers.setdefault(match[1], len(self.at))
        if number == len(self.at):
            self.at.append(float(match[1]))
        return number


def _listen(
    audience: Audience, control: Connection, delays: Delays, seconds: float
) -> tuple[int, list[int]]:
    """Let the server publish for so long; or, where it closes a connection, until a second later.

    Returns the longest queue that was seen, in bytes, and the codes of what was closed.
    """
    tell(control, "tick", channel=CHANNEL, rate=_RATE, seconds=seconds, size=_SIZE)
    wait = watch([control, *audience.subscribers])
    recv = {each.fd: each.recv for each in (control, *audience.subscribers)}
    frames, question = Frames(), control.frame(said("queued"))
    longest, ended = 0, list[int]()
    look, asks = time.perf_counter(), False
    end = look + seconds + 0.5
    while (now := time.perf_counter()) < end or asks:
        if look <= now < end and not asks:
            control.send(question)
            look, asks = now + _LOOK, True
        for fd, _ in wait(_LOOK):
            data = recv[fd](READ) or lost()
            if fd != control.fd:
                delays.take(fd, data)
                continue
            for answer in filter(None, (asked(one.payload) for one in frames.feed(data))):
                asks = False
                longest = max(longest, answer["longest"])
                if not ended and answer["ended"]:
                    end = min(end, now + 1)
                ended = answer["ended"]
    return longest, ended


def _measure(workload: Workload, peer: "Peer", scale: Scale) -> Iterator[Sample | Headroom]:
    ticks, heard = Ticks(), list[list[float]]()
    longest, ended = 0, list[int]()
    with (
        Server(peer) as server,
        connected(server.port, peer.dialect, 1, receive_buffer=_RECEIVE_BUFFER) as (stopped,),
        connected(server.port, peer.dialect, _OTHERS + 1) as connections,
    ):
        control = connections.pop()
        subscribe([stopped, *connections], peer.dialect)
        audience = Audience([stopped, *connections], ticks)
        for seconds in (scale.warm, scale.part * _BEFORE, scale.part * _WHILE):
            if len(heard) == 2:
                audience.leave(stopped)
            delays = Delays(audience, ticks.at)
            longest, ended = _listen(audience, control, delays, seconds)
            heard.append(sorted(delays.seconds))
    _, *both = heard
    before, during = (percentile(delays, 0.99) * 1e3 for delays in both)
    closed = f"closed with {', '.join(map(str, ended))}" if ended else "not closed"
    yield workload.sample(during / before, closed)
    for suffix, title, unit, value in (
        ("before", "p99 before", "ms", before),
        ("while", "p99 while", "ms", during),
        ("queue", "the longest queue", "KiB", longest / 1024),
    ):
        yield Sample(f"{workload.id}-{suffix}", f"{workload.title}: {title}", unit, value)


WORKLOADS: Final = (
    Workload(
        "slow-reader",
        f"one of {_OTHERS + 1} stops reading",
        "× of the others' p99 before",
        _measure,
        is_ours,
        rounds=2,
    ),
)
