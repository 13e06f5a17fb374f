"""The heartbeat: who is pinged when, and who is given up, on a clock that is turned by hand."""

import asyncio
from collections import Counter
from typing import cast

import pytest

from openapi.protocol.limits import Limits
from openapi.ws.heartbeat import Beating, Heartbeat


class Clock:
    """The timers of a loop, and a time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, object]] = []

    def call_later(self, delay: float, callback: object) -> object:
        self.timers.append((self.now + delay, callback))
        return callback

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and min(due for due, _ in self.timers) <= end + 1e-9:
            due, callback = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove((due, callback))
            self.now = due
            assert callable(callback)
            callback()
        self.now = end


class Socket:
    """What beats: notes when it was pinged and when it was given up."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.alive = True
        self.awaits_pong = False
        self.slot: set[Beating] | None = None
        self.pings: list[float] = []
        self.given_up: list[float] = []

    def ping(self) -> None:
        self.pings.append(self.clock.now)

    def no_pong(self) -> None:
        self.given_up.append(self.clock.now)


class Rig:
    def __init__(self, limits: Limits) -> None:
        self.clock = Clock()
        self.heartbeat = Heartbeat(cast("asyncio.AbstractEventLoop", self.clock), limits)

    def socket(self) -> Socket:
        socket = Socket(self.clock)
        self.heartbeat.add(socket)
        return socket


@pytest.fixture
def rig() -> Rig:
    return Rig(Limits(ping_interval=25.0, pong_timeout=10.0))


def test_a_socket_that_answers_is_pinged_every_interval(rig: Rig) -> None:
    socket = rig.socket()
    for _ in range(1000):
        rig.clock.pass_time(1)
        socket.alive = True
    gaps = [b - a for a, b in zip(socket.pings, socket.pings[1:], strict=False)]
    assert len(socket.pings) >= 38
    assert all(24 <= gap <= 26 for gap in gaps)
    assert socket.given_up == []


def test_a_silent_socket_is_given_up_after_the_timeout(rig: Rig) -> None:
    socket = rig.socket()
    rig.clock.pass_time(60)
    assert len(socket.pings) == 1
    assert len(socket.given_up) == 1
    assert 10 <= socket.given_up[0] - socket.pings[0] <= 11


def test_any_traffic_counts_as_life(rig: Rig) -> None:
    socket = rig.socket()
    while not socket.pings:
        rig.clock.pass_time(0.5)
    socket.alive = True  # not a pong, anything
    rig.clock.pass_time(11)
    assert socket.given_up == []


def test_first_pings_are_spread_over_the_interval(rig: Rig) -> None:
    sockets = [rig.socket() for _ in range(1000)]
    rig.clock.pass_time(26)
    seconds = Counter(int(socket.pings[0]) for socket in sockets)
    assert max(seconds.values()) < 100  # 40 on the average


def test_one_timer_serves_all_and_none_is_left_when_all_are_gone(rig: Rig) -> None:
    sockets = [rig.socket() for _ in range(100)]
    assert len(rig.clock.timers) == 1
    assert len(rig.heartbeat) == 100
    for socket in sockets:
        rig.heartbeat.remove(socket)
    assert len(rig.heartbeat) == 0
    rig.clock.pass_time(100)
    assert rig.clock.timers == []
    assert all(socket.pings == [] for socket in sockets)


def test_removing_twice_is_harmless(rig: Rig) -> None:
    socket = rig.socket()
    rig.heartbeat.remove(socket)
    rig.heartbeat.remove(socket)
    assert len(rig.heartbeat) == 0


def test_without_an_interval_nobody_is_pinged() -> None:
    rig = Rig(Limits(ping_interval=None))
    rig.socket()
    assert rig.clock.timers == []


def test_a_timeout_longer_than_the_interval_pings_again_at_once() -> None:
    rig = Rig(Limits(ping_interval=1.0, pong_timeout=5.0))
    socket = rig.socket()
    for _ in range(100):
        rig.clock.pass_time(0.5)
        socket.alive = True
    assert len(socket.pings) >= 8
