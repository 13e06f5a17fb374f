"""Whatever is cancelled, whenever: nothing else notices, and nothing is left on either side."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from openapi.client import Client, TooSlow
from openapi.errors import ConnectionClosed
from tests.client.servers import GATE, MANAGER, connect_once, connection_of

Work = Callable[[Client, Random], Awaitable[None]]


async def call(client: Client, random: Random) -> None:
    n = random.random()
    assert await client.call("echo", {"n": n}) == {"n": n}


async def give_up(client: Client, random: Random) -> None:
    with pytest.raises(TimeoutError):
        await client.call("wait", timeout=random.random() / 100)


async def ask(client: Client, random: Random) -> None:
    n = random.random()
    payload = {"method": "confirm", "payload": {"n": n}}
    assert await client.call("ask", payload) == {"n": n}


async def read(client: Client, random: Random) -> None:
    times = random.randrange(100)
    items = client.stream("flow", {"times": times, "size": 10})
    assert [item async for item in items] == ["x" * 10] * times


async def leave(client: Client, random: Random) -> None:
    left = random.randrange(20)
    async for _ in client.stream("flow", {"times": 10**9, "size": 10}):
        await turns(random.randrange(3))
        if not left:
            break
        left -= 1


async def starve(client: Client, random: Random) -> None:
    with pytest.raises(TimeoutError):
        async for _ in client.stream("feed", timeout=random.random() / 100):
            pass


async def fall_behind(client: Client, random: Random) -> None:
    with pytest.raises(TooSlow):
        async with client.stream("flow", {"times": 10**9, "size": 500}, queue_bytes=5000) as items:
            while True:
                await anext(items)
                await turns(100)


async def subscribe(client: Client, random: Random) -> None:
    channel = f"channel {random.randrange(3)}"
    async with client.subscribe(channel) as messages:
        await client.publish(channel, "x", 1)
        assert (await anext(messages)).data == 1


WORK: tuple[Work, ...] = (call, give_up, ask, read, leave, starve, fall_behind, subscribe)


async def confirm(payload: dict[str, Any]) -> dict[str, Any]:
    await turns(int(payload["n"] * 5))
    return payload


async def cancelled(work: Work, client: Client, random: Random) -> None:
    task = asyncio.ensure_future(work(client, random))
    await turns(random.randrange(60))
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
@pytest.mark.parametrize("calls", [3, 64])
@pytest.mark.parametrize("seed", range(5))
async def test_what_goes_on_beside_it_does_not_notice(
    url: URL, app: web.Application, encoding: Any, calls: int, seed: int
) -> None:
    random = Random(seed)
    before = asyncio.all_tasks()
    async with connect_once(
        url, encoding=encoding, serve={"confirm": confirm}, calls=calls
    ) as client:
        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                work = random.choice(WORK)
                if random.random() < 0.6:
                    group.create_task(cancelled(work, client, random))
                else:
                    group.create_task(work(client, random))  # type: ignore[arg-type] # a coroutine
        app[GATE].set()
        [socket] = app[MANAGER].sockets
        while (
            connection_of(client).session.pending
            or socket.connection.peer.running > 1
            or connection_of(client).peer.running
        ):
            await client.call("echo")
        await connection_of(client).subscriptions.wait_idle()
        assert app[MANAGER].server_info()["channels"] == {}
        assert client.ignored == 0
    await app[MANAGER].left.wait()
    await turns(20)
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


@pytest.mark.parametrize("seed", range(10))
async def test_when_the_connection_breaks_everything_that_waits_is_told(
    url: URL, app: web.Application, seed: int
) -> None:
    async def until_it_breaks(work: Work) -> None:
        with pytest.raises(ConnectionClosed):
            while True:
                await work(client, random)

    random = Random(seed)
    before = asyncio.all_tasks()
    async with connect_once(url, serve={"confirm": confirm}, calls=8) as client:
        works = [random.choice(WORK) for _ in range(30)]
        tasks = [asyncio.create_task(until_it_breaks(work)) for work in works]
        await turns(random.randrange(200))
        [socket] = app[MANAGER].sockets
        socket.connection._transport.abort()
        await asyncio.gather(*tasks)
        assert (await client.wait_closed()).code == 1006
    assert len(connection_of(client).session.pending) == 0
    assert connection_of(client).subscriptions._channels == {}
    await turns(20)
    assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


async def turns(number: int) -> None:
    """Let everything else run for so many turns of the loop."""
    for _ in range(number):
        await asyncio.sleep(0)
