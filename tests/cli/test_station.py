"""The line between a worker and the process that started it."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from openapi.cli.ending import Ending
from openapi.cli.load import BrokenApplication
from openapi.cli.output import Output
from openapi.cli.station import NOW, STOP, Station
from openapi.cli.workers import supervise

PORT = 8080


@pytest.fixture
def line() -> Iterator[tuple[Station, socket.socket]]:
    """A worker's end, and the other one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Station(theirs, PORT), ours


async def obeying(station: Station) -> Ending:
    """What is asked to end when that is said; as for one that serves already."""
    ending = Ending()
    ending.started()
    station.obey(ending)
    return ending


def test_a_process_that_was_not_started_as_one_is_no_worker() -> None:
    assert Station.found() is None


def test_a_worker_finds_its_line_and_what_it_starts_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        fd = theirs.detach()
        os.set_inheritable(fd, True)
        monkeypatch.setenv("OPENAPI_WORKER", Station.environment(fd, PORT)["OPENAPI_WORKER"])
        station = Station.found()
        assert station is not None
        assert station.port == PORT
        assert "OPENAPI_WORKER" not in os.environ
        assert not os.get_inheritable(fd)
        station.warning("it is cold")
        assert json.loads(ours.recv(1000)) == {"warning": "it is cold"}
        os.close(fd)
        station._line.detach()


async def test_it_ends_when_that_is_said(line: tuple[Station, socket.socket]) -> None:
    station, other = line
    ending = await obeying(station)
    other.send(STOP)
    await ending.wait()
    assert not ending.pressed
    other.send(NOW)
    cleaning = await ending.patiently(asyncio.Event().wait())
    assert cleaning.cancelled()


async def test_both_orders_may_come_at_once(line: tuple[Station, socket.socket]) -> None:
    station, other = line
    ending = await obeying(station)
    other.send(STOP + NOW)
    await ending.wait()
    assert ending.pressed


async def test_it_ends_when_the_process_that_started_it_is_gone(
    line: tuple[Station, socket.socket],
) -> None:
    station, other = line
    ending = await obeying(station)
    other.close()
    await ending.wait()
    assert not ending.pressed


async def test_a_process_that_is_gone_with_something_unread_is_gone_too(
    line: tuple[Station, socket.socket],
) -> None:
    station, other = line
    station.warning("nobody reads this")
    ending = await obeying(station)
    other.close()  # the line is reset by that
    await ending.wait()


def test_what_nobody_hears_is_no_failure(line: tuple[Station, socket.socket]) -> None:
    station, other = line
    other.close()
    station.failed("it is cold", misused=False)


async def test_a_worker_that_cannot_even_be_started_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(BrokenApplication, match="no worker can be started: No such file"):
        await supervise(Output(as_json=True), workers=2, host="127.0.0.1", port=0)
