"""An application without a port: the real stack runs, and nothing of it is left."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from aiohttp import ClientConnectorError, web

from openapi.client import connect
from openapi.errors import CallFailed, ConnectionClosed
from openapi.testing import Link, Server, run, serve, socket_client, virtual_time
from tests.testing.board import CALLED, ENDED, SOCKETS, make_app


async def test_one_client_needs_one_line() -> None:
    app = make_app()
    async with socket_client(app, "/stream?user=ada") as client:
        assert await client.call("echo", {"a": 1}) == {"a": 1}
        [ws] = app[SOCKETS].sockets
        assert ws.user == "ada"
    assert app[ENDED] == ["cleaned up"]


@virtual_time
async def test_no_task_and_no_connection_is_left() -> None:
    before = asyncio.all_tasks()
    link = Link()
    async with serve(make_app()) as server:
        async with server.connect(link=link) as ada, server.connect(link=link) as grace:
            await ada.join("news")
            await grace.publish("news", "hello", 1)
            await ada.expect("news", "hello")
            assert len(server.connections) == len(link.connections) == 2
        await asyncio.sleep(1)  # the goodbyes have been said
        assert not server.connections
        async with server.http.get("/hello") as response:
            assert (await response.json())["hello"] == "127.0.0.1"
    assert not server.connections
    assert not link.to_server.pipes | link.to_client.pipes
    assert asyncio.all_tasks() == before


def test_many_clients_are_many() -> None:
    async def main() -> list[int]:
        async with serve(make_app()) as server, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.connect()) for _ in range(120)]
            for client in clients:
                await client.join("news")
            await clients[0].publish("news", "n", 1)
            return [(await client.expect("news")).data for client in clients]

    assert run(main()) == [1] * 120


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_large_messages_come_in_pieces(encoding: str) -> None:
    async with socket_client(make_app(), encoding=encoding) as client:
        text = "x" * 60_000
        answers = await asyncio.gather(*(client.call("echo", {"t": text}) for _ in range(64)))
        assert answers == [{"t": text}] * 64


async def test_options_of_the_client_are_its_own() -> None:
    async with serve(make_app()) as server:
        with pytest.raises(ConnectionClosed, match="404"):
            async with server.connect("/nowhere"):
                pass
        with pytest.raises(ValueError, match="no encoding 'xml'"):
            async with server.connect(encoding="xml"):
                pass


async def test_a_client_may_be_connected_by_hand() -> None:
    async with (
        serve(make_app()) as server,
        connect(server.url / "stream", session=server.http) as client,
    ):
        assert await client.call("echo", {"a": 1}) == {"a": 1}


@virtual_time
async def test_a_shutdown_lets_calls_end_and_tells_clients_to_come_back() -> None:
    app = make_app()
    async with serve(app) as server, server.connect(reconnect=None) as client:
        answer = asyncio.create_task(client.call("wait", {"seconds": 5}))
        await asyncio.sleep(1)
        ending = asyncio.create_task(server.shutdown())
        await asyncio.sleep(1)
        with pytest.raises(ConnectionClosed, match="refused"):
            async with server.connect():
                pass
        assert await answer is None
        await ending
        await server.shutdown()
        with pytest.raises(ClientConnectorError):
            await server.http.get("/hello")
        assert client.closed is not None
        assert client.closed.code == 1012
    assert app[ENDED] == ["cleaned up"]


@virtual_time
async def test_who_is_still_connected_when_it_is_over_is_cut_off() -> None:
    loop = asyncio.get_running_loop()
    server = Server(make_app())
    await server.start()
    async with server.connect(reconnect=None) as client:
        began = loop.time()
        await server.aclose()
        await client.wait_closed()
        assert client.closed is not None
        assert client.closed.code == 1006
        assert loop.time() - began < 1


@virtual_time
async def test_a_server_that_has_ended_takes_nobody() -> None:
    async with serve(make_app()) as server:
        pass
    with pytest.raises(ConnectionClosed, match="Connection refused"):
        async with server.connect():
            pass


@virtual_time
async def test_an_application_that_cannot_start_is_cleaned_up() -> None:
    app = make_app()

    async def fail(app: web.Application) -> None:
        raise ValueError("no database")

    app.on_startup.append(fail)
    with pytest.raises(ValueError, match="no database"):
        async with serve(app):
            pass
    with pytest.raises(AssertionError, match="not started"):
        _ = Server(make_app()).http


# What may go wrong on the way


@virtual_time
async def test_half_open_a_call_gets_no_answer_and_nobody_is_told() -> None:
    app = make_app()
    async with serve(app) as server, server.connect(heartbeat=None) as client:
        client.link.to_client.halted = True
        assert client.link.halted
        with pytest.raises(TimeoutError):
            await client.call("echo", timeout=5)
        assert app[CALLED] == ["echo"]
        client.link.to_client.halted = False
        client.link.to_server.halted = True
        with pytest.raises(TimeoutError):
            await client.call("echo", timeout=5)
        assert app[CALLED] == ["echo"]
        client.link.heal()
        assert await client.call("echo", {"a": 1}) == {"a": 1}
        assert client.closed is None


@virtual_time
async def test_who_is_silent_for_long_is_let_go_by_the_server() -> None:
    app = make_app()
    async with serve(app) as server, server.connect(heartbeat=None) as client:
        client.link.halt()
        await asyncio.sleep(60)
        assert not app[SOCKETS].sockets


@virtual_time
async def test_a_server_holds_only_so_much_for_who_does_not_read() -> None:
    async with serve(make_app()) as server, server.connect(reconnect=None) as client:
        await client.join("news")
        client.link.to_client.halted = True
        [connection] = client.link.connections
        held = 0
        for _ in range(100):
            await server.app[SOCKETS].publish("news", "n", "x" * 50_000)
            await asyncio.sleep(0)  # it writes at the end of a turn
            held = max(held, connection.server.get_write_buffer_size())
        assert 0 < held < 512 * 1024
        await asyncio.sleep(5)
        assert not server.app[SOCKETS].sockets
        client.link.heal()
        assert (await client.wait_closed()).code in {1006, 4008}


@virtual_time
async def test_each_way_takes_its_time() -> None:
    loop = asyncio.get_running_loop()
    link = Link()
    link.to_server.delay, link.to_client.delay = 1.0, 0.5
    async with serve(make_app()) as server:
        began = loop.time()
        async with server.connect(link=link) as client:
            assert loop.time() - began == 3.0  # of TCP, and of the WebSocket
            began = loop.time()
            await client.call("echo")
            assert loop.time() - began == 1.5
            began = loop.time()
        assert loop.time() - began < 1


@virtual_time
async def test_whole_messages_are_lost() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("news")
        client.link.to_client.drop = 1.0
        await server.app[SOCKETS].publish("news", "n", 1)
        await client.expect_nothing("news")
        assert (client.link.to_client.drop, client.link.to_client.dropped) == (1.0, 1)
        client.link.heal()
        await server.app[SOCKETS].publish("news", "n", 2)
        assert (await client.expect("news")).data == 2
        client.link.to_server.drop = 1.0
        with pytest.raises(TimeoutError):
            await client.call("echo", timeout=1)
        assert client.link.to_server.dropped >= 1


@virtual_time
async def test_whole_messages_come_twice() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("news")
        client.link.to_client.duplicate = 1.0
        await server.app[SOCKETS].publish("news", "n", 1)
        assert [(await client.expect("news")).data for _ in range(2)] == [1, 1]
        await client.expect_nothing("news")
        assert (client.link.to_client.duplicate, client.link.to_client.duplicated) == (1.0, 1)
        client.link.to_client.duplicate, client.link.to_server.duplicate = 0.0, 1.0
        await client.notify("echo")
        await asyncio.sleep(1)
        assert server.app[CALLED] == ["echo", "echo"]


def test_what_is_left_to_chance_is_of_the_seed() -> None:
    async def main(seed: int) -> list[int]:
        link = Link(seed=seed)
        async with serve(make_app()) as server, server.connect(link=link) as client:
            await client.join("news")
            link.to_client.drop, link.to_client.duplicate = 0.2, 0.2
            link.to_client.delay = lambda: link.random.uniform(0, 0.1)
            for number in range(50):
                await server.app[SOCKETS].publish("news", "n", number)
            await asyncio.sleep(5)
            assert 0 < link.to_client.dropped < 25
            assert 0 < link.to_client.duplicated < 25
            count = 50 - link.to_client.dropped + link.to_client.duplicated
            return [(await client.expect("news")).data for _ in range(count)]

    heard = run(main(1))
    assert heard == sorted(heard)
    assert heard == run(main(1))
    assert heard != run(main(2))


@virtual_time
async def test_a_connection_is_cut_for_both_and_the_server_can_be_refusing() -> None:
    async with serve(make_app()) as server, server.connect(reconnect=None) as client:
        client.link.refusing = True
        client.link.cut()
        closed = await client.wait_closed()
        assert closed.code == 1006
        await asyncio.sleep(1)
        assert not server.app[SOCKETS].sockets
        assert not client.link.connections
        with pytest.raises(ConnectionClosed, match="Connection refused"):
            async with server.connect(link=client.link):
                pass


@virtual_time
async def test_who_connects_while_nothing_passes_waits() -> None:
    loop = asyncio.get_running_loop()
    link = Link()
    async with serve(make_app()) as server:
        link.halt()
        loop.call_later(3, link.heal)
        async with server.connect(link=link) as client:
            assert await client.call("echo", {"a": 1}) == {"a": 1}
        link.halt()
        with pytest.raises(TimeoutError, match="did not answer within 4 seconds"):
            async with server.connect(link=link, open_timeout=4):
                pass


@virtual_time
async def test_a_refused_call_is_told_as_ever() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        with pytest.raises(CallFailed, match="nothing"):
            await client.call("nothing")


async def test_a_server_that_cannot_clean_up_leaves_no_session() -> None:
    app = make_app()

    async def fail(app: web.Application) -> None:
        raise ValueError("no database")

    app.on_cleanup.append(fail)
    with pytest.raises(ValueError, match="no database"):
        async with serve(app) as server:
            session = server.http
    assert session.closed
