"""Tests of the list of tasks: pytest docs/examples/howto/testing_tests.py"""

import asyncio

import pytest

from docs.examples.howto.testing_app import SOCKETS, NewTask, Task, Tasks, create_app
from openapi.errors import ConnectionClosed
from openapi.protocol.incoming import Stop
from openapi.testing import cluster, serve, session_pair, socket_client, virtual_time


# [one]
@virtual_time
async def test_who_adds_a_task_gets_it_back() -> None:
    async with socket_client(create_app(), "/stream") as client:
        task = await client.call("add", {"title": "tea"})
        assert task["title"] == "tea"


# [/one]


# [two]
@virtual_time
async def test_a_task_that_one_adds_the_other_sees() -> None:
    async with serve(create_app()) as server:
        async with server.connect("/stream") as ada, server.connect("/stream") as grace:
            await grace.join("tasks")
            await ada.call("add", {"title": "tea"})
            message = await grace.expect("tasks", "added")
            assert message.data["title"] == "tea"
            await grace.expect_nothing("tasks")


# [/two]


# [back]
@virtual_time
async def test_who_is_away_for_ten_minutes_misses_nothing() -> None:
    async with serve(create_app()) as server:
        async with server.connect("/stream") as ada, server.connect("/stream") as grace:
            await grace.join("tasks")
            grace.link.refusing = True
            grace.link.cut()
            await ada.call("add", {"title": "tea"})
            await asyncio.sleep(600)
            grace.link.heal()
            await grace.expect("tasks", "added", timeout=30)


# [/back]


# [faults]
@virtual_time
async def test_a_call_whose_answer_is_lost_may_have_run() -> None:
    async with socket_client(create_app(), "/stream") as client:
        await client.join("tasks")
        client.link.to_client.halted = True
        adding = asyncio.create_task(client.call("add", {"title": "tea"}))
        await asyncio.sleep(1)
        client.link.cut()
        with pytest.raises(ConnectionClosed) as caught:
            await adding
        assert caught.value.may_have_run
        client.link.heal()
        await client.expect("tasks", "added", timeout=30)


# [/faults]


# [cluster]
@virtual_time
async def test_who_was_on_a_node_that_died_is_gone_after_a_minute() -> None:
    async with (
        cluster(2, create_app) as nodes,
        nodes.node(0).connect("/stream?user=ada") as ada,
        nodes.node(1).connect("/stream?user=grace") as grace,
    ):
        await ada.join("room", presence=True)
        await grace.join("room")
        await nodes.kill(1)
        message = await ada.expect("room", "$leave", timeout=100)
        assert message.data.user == "grace"


# [/cluster]


# [partition]
@virtual_time
async def test_a_node_that_was_cut_off_catches_up() -> None:
    async with cluster(2, create_app) as nodes, nodes.node(1).connect("/stream") as grace:
        await grace.join("tasks")
        nodes.partition(1)
        await nodes.node(0).app[SOCKETS].publish("tasks", "added", Task(1, "tea"))
        await grace.expect_nothing("tasks", within=60)
        nodes.heal()
        await grace.expect("tasks", "added")


# [/partition]


# [sessions]
def test_a_call_that_is_cancelled_is_to_be_stopped() -> None:
    pair = session_pair(Tasks)
    made, call = pair.call("add", {"title": "tea"})
    assert call.payload == NewTask("tea")
    pair.client.said()
    pair.client.pending.abandon(made.asked)
    assert pair.client.said() == [{"id": 1, "cancel": True}]
    [stop] = pair.server.events
    assert isinstance(stop, Stop)


# [/sessions]


# [mark]
@pytest.mark.virtual_time
async def test_a_mark_does_it_too() -> None:
    async with serve(create_app()) as server, server.connect("/stream") as client:
        await client.join("tasks")
        await client.expect_nothing("tasks", within=3600)


# [/mark]
