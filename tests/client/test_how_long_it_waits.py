"""How long a client waits before it comes back, in virtual time."""

import asyncio
import random
from collections.abc import Iterator

import pytest
from aiohttp import web

from openapi.client import Backoff
from openapi.testing import virtual_time
from tests.client.door import VirtualDoor


@pytest.fixture(autouse=True)
def chance() -> Iterator[None]:
    """The same chance in each run."""
    state = random.getstate()
    random.seed(20)
    yield
    random.setstate(state)


async def waits(door: VirtualDoor, times: int) -> list[float]:
    """How long it is until the next attempt, so many times."""
    pauses = []
    for _ in range(times):
        status = await door.said.then("waiting")
        assert status.retry_in is not None
        pauses.append(status.retry_in)
        await door.said.then("connecting")
    return pauses


@virtual_time
async def test_it_is_a_random_time_below_a_ceiling_that_doubles_up_to_a_cap() -> None:
    async with VirtualDoor() as door:
        door.refuse(503, times=30)
        async with door.connect(wait_open=False, on_state=door.said):
            pauses = await waits(door, 30)
            ceilings = [min(0.5 * 2**number, 20.0) for number in range(30)]
            assert all(0 <= each <= most for each, most in zip(pauses, ceilings, strict=True))
            assert max(pauses) > 10
            assert min(pauses[5:]) < 5


@virtual_time
async def test_it_is_never_more_than_the_first_ceiling_and_all_that_was_waited() -> None:
    for seed in range(50):
        random.seed(seed)
        async with VirtualDoor() as door:
            door.refuse(503, times=8)
            async with door.connect(wait_open=False, on_state=door.said):
                pauses = await waits(door, 8)
        for number, pause in enumerate(pauses):
            assert pause <= 0.5 + sum(pauses[:number])


@virtual_time
async def test_it_is_as_the_application_wants_it() -> None:
    async with VirtualDoor() as door:
        door.refuse(503, times=20)
        reconnect = Backoff(first=100, cap=300)
        async with door.connect(wait_open=False, on_state=door.said, reconnect=reconnect):
            pauses = await waits(door, 20)
            assert pauses[0] <= 100
            assert 150 < max(pauses) <= 300


@virtual_time
async def test_behind_a_connection_that_held_it_begins_anew() -> None:
    async with VirtualDoor() as door, door.connect(on_state=door.said):
        await door.said.then("open")
        visit = await door.visit()
        for _ in range(20):
            door.answers.extend([lambda: web.Response(status=503)] * 6)
            await asyncio.sleep(10.1)
            visit.cut()
            (first, *_) = await waits(door, 7)
            assert first <= 0.5
            await door.said.then("open")
            visit = await door.visit()


@virtual_time
async def test_a_server_that_takes_connections_and_drops_them_is_not_stormed() -> None:
    loop = asyncio.get_running_loop()
    async with VirtualDoor() as door, door.connect(on_state=door.said):
        began = loop.time()
        await door.said.then("open")
        for _ in range(40):
            (await door.visit()).cut()
            await waits(door, 1)
            await door.said.then("open")
        assert loop.time() - began > 200
        await door.visit()


@virtual_time
async def test_what_the_server_said_is_the_moment() -> None:
    loop = asyncio.get_running_loop()
    async with VirtualDoor() as door, door.connect(on_state=door.said):
        visit = await door.visit()
        await door.said.then("open")
        for after in (0, 1234, 100_000):
            began = loop.time()
            await visit.reconnect(after=after)
            await door.said.then("open", "open", "open")
            visit = await door.visit()
            assert loop.time() - began == pytest.approx(after / 1000, abs=0.001)


@virtual_time
async def test_a_later_word_of_the_server_counts() -> None:
    loop = asyncio.get_running_loop()
    async with VirtualDoor() as door, door.connect(on_state=door.said):
        visit = await door.visit()
        began = loop.time()
        await visit.reconnect(after=1_000_000)
        await visit.reconnect(after=2000)
        await door.visit()
        assert loop.time() - began == pytest.approx(2, abs=0.001)


@virtual_time
async def test_when_it_goes_and_cannot_it_waits_as_behind_any_failure() -> None:
    async with VirtualDoor() as door, door.connect(on_state=door.said):
        visit = await door.visit()
        door.refuse(503, times=2, Retry_After="50")
        await visit.reconnect(after=1000)
        await door.said.then("open", "open", "open")
        for _ in range(2):
            failed = await door.said.then("open")
            assert failed.retry_in is not None
            assert 50 <= failed.retry_in <= 51.5
            await door.said.then("open")
        await door.said.then("open")
        await door.visit()


@pytest.mark.parametrize("name", ["first", "cap", "stable"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_what_is_no_time_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"Backoff\({name}=.*\): expected seconds, more than 0"):
        Backoff(**{name: value})
