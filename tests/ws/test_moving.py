"""A server ends, and its clients go to another one before they leave it."""

import asyncio

import pytest

from openapi.client import ClientState, Status, connect
from openapi.protocol.limits import Limits
from openapi.ws import drain
from openapi.ws.background import Background
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, application
from tests.ws.peer import peer
from tests.ws.test_nodes import QUIET, Cluster, until


@pytest.fixture
def cluster(serve: Serve) -> Cluster:
    return Cluster(serve)


async def test_a_client_that_calls_nothing_hears_all_that_is_published_meanwhile(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_SOONEST_RETURN", 0.01)
    old, new = await cluster.start(), await cluster.start()
    urls = iter([old.url, new.url])
    states: list[Status] = []
    async with (
        connect(lambda: next(urls), on_state=states.append) as client,
        client.subscribe("plain", type=int) as messages,
    ):
        draining = asyncio.create_task(old.sockets.drain())
        number, seen = 0, list[int]()
        while not draining.done():  # it ends as soon as the client has left it
            number += 1
            await new.sockets.publish("plain", "n", number)
            seen.append((await anext(messages)).data)
        assert list(dict.fromkeys(seen)) == list(range(1, max(seen) + 1))
        assert {status.state for status in states} == {ClientState.OPEN}
        await until(lambda: len(new.sockets.sockets) == 1)
        assert not old.sockets.sockets


async def test_a_connection_stays_until_its_client_was_due_and_has_had_the_time(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_SOONEST_RETURN", 0.01)
    monkeypatch.setattr(drain, "_MOVING", 0.1)
    old, new = await cluster.start(), await cluster.start()
    async with peer(old.url) as idle:
        draining = asyncio.create_task(old.sockets.drain())
        notice = await idle.receive()
        assert notice["event"] == "$reconnect"
        assert (await idle.error("info"))["code"] == -32009
        assert await idle.closed() == (1012, "the server restarts")
        await draining
    await new.sockets.drain()


async def test_nobody_stays_longer_than_the_window(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_MOVING", 600.0)
    old = await cluster.start(limits=Limits(drain_window=0.05, node_interval=QUIET.node_interval))
    await cluster.start()
    async with peer(old.url) as idle:
        await old.sockets.drain()
        assert (await idle.receive())["event"] == "$reconnect"
        assert (await idle.closed())[0] == 1012


async def test_who_stays_is_told_as_well_where_the_loop_ends_before(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_MOVING", 600.0)

    async def nothing() -> None:
        """Nothing else is to be let go of."""

    app = application()
    async with peer(await serve(app) / "stream") as idle:
        await idle.call("info")
        stay = [socket.connection for socket in app[MANAGER].sockets]
        draining = drain.Drain(Limits(), lambda: stay, lambda: True, Background(), nothing).begin()
        assert (await idle.receive())["event"] == "$reconnect"
        draining.cancel()  # as all tasks are, by a second signal
        assert await idle.closed() == (1012, "the server restarts")


async def test_where_there_is_no_other_server_nobody_stays(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_MOVING", 600.0)
    alone = await cluster.start()
    async with peer(alone.url) as idle:
        await alone.sockets.drain()
        assert (await idle.receive())["event"] == "$reconnect"
        assert (await idle.closed())[0] == 1012
