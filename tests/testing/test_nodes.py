"""An application on several nodes, of which some are killed, cut off and started again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from openapi.client import Member
from openapi.errors import CallFailed, ConnectionClosed
from openapi.testing import Cluster, SocketClient, cluster, virtual_time
from openapi.ws import Position
from openapi.ws.broker import Broker
from tests.testing.board import ENDED, SOCKETS, make_app


async def publish(nodes: Cluster, number: int, data: object, channel: str = "log:1") -> Position:
    """Publish on one of the nodes."""
    position = await nodes.node(number).app[SOCKETS].publish(channel, "n", data)
    assert position is not None
    return position


async def test_what_is_published_on_one_node_is_heard_on_all() -> None:
    async with cluster(3, make_app) as nodes:
        async with (
            nodes.node(0).connect() as ada,
            nodes.node(1).connect() as grace,
            nodes.node(2).connect() as mary,
        ):
            for client in (ada, grace, mary):
                await client.join("log:1")
            await ada.publish("log:1", "hello", 1)
            positions = [(await each.expect("log:1")).position for each in (ada, grace, mary)]
            assert len(set(positions)) == 1
            info = await nodes.node(1).app[SOCKETS].server_info(cluster=True)
            assert info["connections"] == 3
    assert [node.app[ENDED] for node in nodes.nodes] == [["cleaned up"]] * 3


async def test_clients_of_the_cluster_go_to_the_nodes_in_turn() -> None:
    async with cluster(2, make_app) as nodes:
        async with nodes.connect() as ada, nodes.connect() as grace, nodes.connect() as mary:
            await asyncio.gather(*(each.call("echo") for each in (ada, grace, mary)))
            assert [len(node.app[SOCKETS].sockets) for node in nodes.nodes] == [2, 1]
        await nodes.kill(0)
        async with nodes.connect() as ada, nodes.connect() as grace:
            assert len(nodes.node(1).app[SOCKETS].sockets) == 2
            with pytest.raises(ConnectionClosed, match="Connection refused"):
                async with nodes.node(0).connect():
                    pass
            with pytest.raises(ConnectionClosed, match="Connection refused"):
                async with nodes.node(1).server.connect("ws://nowhere.test/stream"):
                    pass
        await nodes.kill(1)
        with pytest.raises(ConnectionClosed, match="Connection refused"):
            async with nodes.connect():
                pass


@asynccontextmanager
async def room_of_two_nodes() -> AsyncIterator[tuple[Cluster, SocketClient, SocketClient]]:
    """Ada is on the first node and sees who is in the room; Grace is there, on the second."""
    async with (
        cluster(2, make_app) as nodes,
        nodes.node(0).connect("/stream?user=ada") as ada,
        nodes.node(1).connect("/stream?user=grace", reconnect=None) as grace,
    ):
        await ada.join("room:1", presence=True)
        await grace.join("room:1")
        yield nodes, ada, grace


@virtual_time
async def test_who_was_on_a_node_that_is_killed_is_gone_after_the_presence_ttl() -> None:
    loop = asyncio.get_running_loop()
    async with room_of_two_nodes() as (nodes, ada, grace):
        await ada.expect("room:1", "$join", data=member("ada"))
        await ada.expect("room:1", "$join", data=member("grace"))
        began = loop.time()
        await nodes.kill(1)
        assert not nodes.node(1).alive
        assert (await grace.wait_closed()).code == 1006
        await ada.expect_nothing("room:1", "$leave", within=30)
        await ada.expect("room:1", "$leave", data=member("grace"), timeout=100)
        assert 60 - 25 <= loop.time() - began <= 60 + 25
        assert [each.id for each in await ada.presence("room:1")] == ["ada"]


def member(user: str) -> Member:
    """As others are told of one."""
    return Member(id=user, user=user)


@virtual_time
async def test_who_leaves_a_node_that_is_shut_down_is_gone_at_once() -> None:
    loop = asyncio.get_running_loop()
    async with room_of_two_nodes() as (nodes, ada, grace):
        began = loop.time()
        await nodes.node(1).server.shutdown()
        await ada.expect("room:1", "$leave", timeout=100)
        assert loop.time() - began < 30


@virtual_time
async def test_a_node_that_was_killed_can_be_started_again() -> None:
    async with cluster(2, make_app) as nodes:
        with pytest.raises(ValueError, match="node 0 is alive"):
            await nodes.start(0)
        old = nodes.node(0)
        await nodes.kill(0)
        node = await nodes.start(0)
        assert (node, node.number, node.url) == (nodes.node(0), 0, old.url)
        assert node is not old
        await publish(nodes, 1, "kept")
        async with node.connect() as client:
            [message] = (await client.history("log:1")).messages
            assert message.data == "kept"


@virtual_time
async def test_a_node_that_is_cut_off_misses_what_is_said_and_catches_up() -> None:
    async with (
        cluster(2, make_app) as nodes,
        nodes.node(0).connect() as ada,
        nodes.node(1).connect() as grace,
    ):
        for client in (ada, grace):
            await client.join("log:1")
        await grace.join("news")
        nodes.partition(1)
        nodes.partition(1)
        await ada.publish("log:1", "n", 1)
        await ada.publish("news", "n", 1)
        await ada.expect("log:1")
        await grace.expect_nothing("log:1", within=100)
        await grace.leave("news")
        nodes.heal()
        nodes.heal()
        assert (await grace.expect("log:1")).data == 1
        await ada.publish("log:1", "n", 2)
        assert (await grace.expect("log:1")).data == 2


@virtual_time
async def test_a_node_that_is_cut_off_says_so() -> None:
    async with cluster(2, make_app) as nodes, nodes.node(0).connect() as client:
        await client.join("room:1")
        nodes.partition(0)
        assert "cut off" in outage(nodes)
        for ask in (
            client.publish("log:1", "n", 2, timeout=0.5),
            client.publish("log:1", "n", 2, key="k", timeout=0.5),
            client.publish("news", "n", 2, timeout=0.5),
            client.publish("news", "n", 2, key="k", timeout=0.5),
            client.history("log:2", timeout=0.5),
            client.presence("room:1", timeout=0.5),
        ):
            with pytest.raises((CallFailed, TimeoutError)) as caught:
                await ask
            if isinstance(caught.value, CallFailed):
                assert caught.value.code == -32008
        with pytest.raises(CallFailed, match="-32008"):
            await client.call("subscribe", {"channel": "log:3"})
        nodes.heal(0)
        assert not outage(nodes)
        assert await client.publish("log:1", "n", 1, key="other")


def outage(nodes: Cluster) -> str:
    """Why the first node is cut off."""
    found = nodes.node(0).app[SOCKETS].outage
    return "" if found is None else found.reason


@virtual_time
async def test_a_member_of_a_node_that_is_cut_off_is_gone_and_comes_back() -> None:
    async with (
        cluster(2, make_app) as nodes,
        nodes.node(0).connect("/stream?user=ada") as ada,
        nodes.node(1).connect("/stream?user=grace") as grace,
    ):
        await ada.join("room:1", presence=True)
        await grace.join("room:1")
        await ada.expect("room:1", data=member("grace"))
        nodes.partition(1)
        await ada.expect("room:1", "$leave", timeout=100)
        nodes.heal(1)
        await ada.expect("room:1", "$join", data=member("grace"), timeout=100)


@virtual_time
async def test_applications_may_be_made_by_coroutines_and_need_not_be_made_at_all() -> None:
    made: list[web.Application] = []

    async def make(broker: Broker) -> web.Application:
        await asyncio.sleep(1)
        if len(made) == 2:
            raise ValueError("no more")
        app = make_app(broker)
        made.append(app)
        return app

    async with cluster(1, make) as nodes:
        node = await nodes.add()
        assert (node.number, len(nodes.nodes)) == (1, 2)
        with pytest.raises(ValueError, match="no more"):
            await nodes.add()
    assert [app[ENDED] for app in made] == [["cleaned up"]] * 2


@virtual_time
async def test_a_node_that_cannot_start_leaves_nothing() -> None:
    def make(broker: Broker) -> web.Application:
        app = make_app(broker)

        async def fail(app: web.Application) -> None:
            raise ValueError("no database")

        app.on_startup.append(fail)
        return app

    with pytest.raises(ValueError, match="no database"):
        async with cluster(2, make):
            pass


@virtual_time
async def test_a_node_that_there_is_not_is_named() -> None:
    async with cluster(2, make_app) as nodes:
        with pytest.raises(IndexError, match="there is no node 2: 2 are numbered from 0"):
            nodes.node(2)
        with pytest.raises(IndexError, match="no node -1"):
            nodes.partition(-1)
        with pytest.raises(IndexError, match="no node 3"):
            await nodes.kill(3)
