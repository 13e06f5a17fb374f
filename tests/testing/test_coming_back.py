"""Clients that come back, seen by the test client: minutes of absence in no time."""

import asyncio

from openapi.client import Backoff, ClientState
from openapi.testing import Link, cluster, serve, virtual_time
from tests.testing.board import CALLED, SOCKETS, make_app


@virtual_time
async def test_a_client_whose_link_is_cut_comes_back_and_misses_nothing() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("log:1")
        client.link.refusing = True
        client.link.cut()
        for number in range(10):
            await server.app[SOCKETS].publish("log:1", "n", number)
        await asyncio.sleep(600)
        assert client.status.state is not ClientState.OPEN
        client.link.refusing = False
        for number in range(10):
            assert (await client.expect("log:1", timeout=21)).data == number
        assert client.state is ClientState.OPEN
        assert await client.call("echo", {"a": 1}) == {"a": 1}


@virtual_time
async def test_a_client_that_hears_nothing_comes_back() -> None:
    loop = asyncio.get_running_loop()
    states: list[ClientState] = []
    async with (
        serve(make_app()) as server,
        server.connect(on_state=lambda status: states.append(status.state)) as client,
    ):
        await client.join("log:1")
        client.link.halt()
        began = loop.time()
        await asyncio.sleep(120)
        assert states[-1] is not ClientState.OPEN
        client.link.heal()
        await client.wait_open()
        assert loop.time() - began < 160
        await client.publish("log:1", "n", 1)
        await client.expect("log:1", data=1)


@virtual_time
async def test_a_client_of_a_cluster_comes_back_to_another_node() -> None:
    async with cluster(3, make_app) as nodes, nodes.connect() as client:
        await client.join("log:1")
        await nodes.node(1).app[SOCKETS].publish("log:1", "n", 0)
        await client.expect("log:1", data=0)
        await nodes.kill(0)
        await nodes.node(1).app[SOCKETS].publish("log:1", "n", 1)
        await client.expect("log:1", data=1, timeout=30)
        await nodes.kill(1)
        await nodes.node(2).app[SOCKETS].publish("log:1", "n", 2)
        await client.expect("log:1", data=2, timeout=30)
        await nodes.kill(2)
        await nodes.start(0)
        await nodes.node(0).app[SOCKETS].publish("log:1", "n", 3)
        await client.expect("log:1", data=3, timeout=60)


@virtual_time
async def test_an_idempotent_call_runs_again_on_the_next_connection() -> None:
    link = Link()
    async with serve(make_app()) as server, server.connect(link=link) as client:
        asking = asyncio.create_task(client.call("wait", {"seconds": 5}, idempotent=True))
        await asyncio.sleep(1)
        link.cut()
        assert await asking is None
        assert server.app[CALLED] == ["wait", "wait"]


@virtual_time
async def test_the_pauses_of_a_client_are_those_that_it_was_given() -> None:
    loop = asyncio.get_running_loop()
    pauses: list[float] = []
    async with (
        serve(make_app()) as server,
        server.connect(
            reconnect=Backoff(first=100, cap=1000),
            on_state=lambda status: pauses.append(status.retry_in or 0),
        ) as client,
    ):
        began = loop.time()
        client.link.refusing = True
        client.link.cut()
        await asyncio.sleep(3000)
        client.link.heal()
        await client.wait_open()
        assert loop.time() - began >= 3000
        assert 100 < max(pauses) <= 1000
