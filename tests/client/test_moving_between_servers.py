"""A server of several shuts down: its clients are at another one before they leave it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import web
from yarl import URL

from openapi.client import Subscription, connect
from openapi.errors import ConnectionClosed
from openapi.testing import Cluster, cluster, virtual_time
from openapi.ws import ChannelRule, Limits, SocketsManager, WsPathMixin
from openapi.ws.broker import Broker
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.pubsub import Publish, Subscribe
from tests.client.door import QUICK, Said
from tests.conftest import Serve
from tests.relay import relayed

SOCKETS: Final = web.AppKey("SOCKETS", SocketsManager)
NAME: Final = web.AppKey("NAME", str)


class Endpoint(WsPathMixin, Subscribe, Publish):
    """Says which server it is, and takes its time."""

    SOCKETS_KEY = SOCKETS
    begun: "asyncio.Event"
    go_on: "asyncio.Event"

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")

    async def ws_rpc_where(self, payload: dict[str, Any]) -> str:
        return self.request.app[NAME]

    async def ws_rpc_wait(self, payload: dict[str, Any]) -> str:
        type(self).begun.set()
        await type(self).go_on.wait()
        return self.request.app[NAME]

    async def ws_rpc_feed(self, payload: dict[str, Any]) -> AsyncIterator[str]:
        yield "begun"
        await type(self).go_on.wait()
        yield self.request.app[NAME]


async def make_app(broker: Broker, name: str) -> web.Application:
    """One server of several. The others know of it, before anybody has connected to it."""
    Endpoint.begun, Endpoint.go_on = asyncio.Event(), asyncio.Event()
    app = web.Application()
    app[SOCKETS] = SocketsManager(
        broker=broker,
        channels=[
            ChannelRule("kept*", history=1000),
            ChannelRule("room*", presence=True),
            ChannelRule("*"),
        ],
        limits=Limits(drain_window=20.0, close_timeout=1.0),
    )
    app[NAME] = name
    app.router.add_view("/stream", Endpoint)
    app.on_cleanup.append(ended)
    await app[SOCKETS].open()
    return app


async def ended(app: web.Application) -> None:
    """The application has ended, and so does its manager, whether or not anybody connected."""
    await app[SOCKETS].drain()


def named() -> Any:
    """Makes servers that are called 0, 1, 2 and so on."""
    names = iter(map(str, range(100)))
    return lambda broker: make_app(broker, next(names))


async def publish(nodes: Cluster, channel: str, published: list[int]) -> None:
    """Publish numbers all the time, by a server that is alive."""
    while True:
        node = next(each for each in nodes.nodes if each.alive)
        await node.app[SOCKETS].publish(channel, "n", len(published))
        published.append(len(published))
        await asyncio.sleep(0.01)  # of the virtual clock: the servers end somewhere in between


async def read(messages: Subscription[Any], until: int) -> list[int]:
    """All numbers up to this one."""
    got = []
    async for message in messages:
        got.append(message.data)
        if message.data == until:
            break
    return got


async def read_while_servers_end(channel: str) -> tuple[list[int], list[int]]:
    """What a client reads of a channel, and what was published there, while servers end in turn.

    The client is never without a connection.
    """
    said, published = Said(), list[int]()
    async with (
        cluster(2, named()) as nodes,
        nodes.connect(on_state=said) as client,
        client.subscribe(channel) as messages,
    ):
        publishing = asyncio.create_task(publish(nodes, channel, published))
        for number in (0, 1, 0, 1):
            await nodes.node(number).server.shutdown()
            await asyncio.sleep(1)
            await nodes.start(number)
        publishing.cancel()
        last = len(published)
        await nodes.node(0).app[SOCKETS].publish(channel, "n", last)
        got = await read(messages, last)
        assert {each.state.value for each in said.all} == {"open"}
    assert last > 100
    return got, [*published, last]


@virtual_time
async def test_on_a_channel_with_history_each_message_is_read_once_however_many_servers_end() -> (
    None
):
    got, published = await read_while_servers_end("kept")
    assert got == published


@virtual_time
async def test_on_a_channel_without_history_nothing_is_lost_however_many_servers_end() -> None:
    got, published = await read_while_servers_end("fleeting")
    assert got == sorted(got)
    assert sorted(set(got)) == published
    assert len(got) <= len(published) + 4  # one may come twice, for each time that it moved


@virtual_time
async def test_calls_and_streams_end_on_the_old_server_and_new_ones_go_to_the_new() -> None:
    said = Said()
    async with cluster(2, named()) as nodes, nodes.connect(on_state=said) as client:
        assert await client.call("where") == "0"
        waiting = asyncio.create_task(client.call("wait"))
        stream = client.stream("feed")
        assert await anext(stream) == "begun"
        await Endpoint.begun.wait()
        ending = asyncio.create_task(nodes.node(0).server.shutdown())
        await said.then("open", "open", "open", "open")  # it was told, went, and is there
        assert await client.call("where") == "1"
        assert not waiting.done()
        Endpoint.go_on.set()
        assert await waiting == "0"
        assert [item async for item in stream] == ["0"]
        await ending
        assert len(client.link.connections) == 1
        said.nothing_else()


@virtual_time
async def test_what_does_not_end_in_time_is_cut_off_and_may_have_run() -> None:
    async with cluster(2, named()) as nodes, nodes.connect() as client:
        waiting = asyncio.create_task(client.call("wait", timeout=None))
        marked = asyncio.create_task(client.call("wait", timeout=None, idempotent=True))
        stream = client.stream("feed")
        assert await anext(stream) == "begun"
        await Endpoint.begun.wait()
        await nodes.node(0).server.shutdown()
        try:
            await waiting
        except ConnectionClosed as exc:
            assert (exc.code, exc.may_have_run) == (1012, True)
        try:
            await anext(stream)
        except ConnectionClosed as exc:
            assert exc.code == 1012
        Endpoint.go_on.set()
        assert await marked == "1"


@virtual_time
async def test_calls_that_come_all_the_time_all_end_with_an_answer() -> None:
    async with cluster(2, named()) as nodes, nodes.connect() as client:
        answers: list[str] = []

        async def call() -> None:
            while True:
                answers.append(await client.call("where"))
                await asyncio.sleep(0.05)

        calling = [asyncio.create_task(call()) for _ in range(5)]
        await asyncio.sleep(1)
        for number in (0, 1, 0):
            await nodes.node(number).server.shutdown()
            await asyncio.sleep(1)
            await nodes.start(number)
        assert not any(each.done() for each in calling)
        for each in calling:
            each.cancel()
        assert list(dict.fromkeys(answers)) == ["0", "1", "2", "3"]


@virtual_time
async def test_who_moves_has_neither_left_nor_joined() -> None:
    async with (
        cluster(2, named()) as nodes,
        nodes.connect("/stream?user=ann") as ann,
        nodes.node(1).connect("/stream?user=bob") as bob,
        ann.subscribe("room", presence=True),
        bob.subscribe("room", presence=True) as seen,
    ):
        await asyncio.sleep(10)
        members = {each.id for each in await bob.presence("room")}
        assert members == {"ann", "bob"}
        waiting = seen.queued_bytes
        await nodes.node(0).server.shutdown()
        await asyncio.sleep(100)
        assert seen.queued_bytes == waiting
        assert {each.id for each in await ann.presence("room")} == members
        assert {each.id for each in await bob.presence("room")} == members


class TestOverSockets:
    async def test_a_function_finds_the_server_to_go_to(self, serve: Serve) -> None:
        broker = MemoryBroker()
        first, second = await make_app(broker, "0"), await make_app(broker.sibling(), "1")
        urls = [await serve(first) / "stream", await serve(second) / "stream"]
        said = Said()
        async with (
            connect(lambda: urls[0], on_state=said, reconnect=QUICK) as client,
            client.subscribe("kept") as messages,
            client.subscribe("fleeting") as fleeting,
        ):
            await client.publish("kept", "n", 1)
            waiting = asyncio.create_task(client.call("wait"))
            await Endpoint.begun.wait()
            del urls[0]
            ending = asyncio.create_task(first[SOCKETS].drain())
            await said.then("open", "open")
            for number in (2, 3):
                await second[SOCKETS].publish("kept", "n", number)
                await second[SOCKETS].publish("fleeting", "n", number)
            await said.then("open", "open")
            assert await client.call("where") == "1"
            await client.publish("kept", "n", 4)
            await client.publish("fleeting", "n", 4)
            Endpoint.go_on.set()
            assert await waiting == "0"
            await ending
            assert [(await anext(messages)).data for _ in range(4)] == [1, 2, 3, 4]
            got = await read(fleeting, 4)
            assert sorted(set(got)) == [2, 3, 4]
            assert not first[SOCKETS].sockets

    async def test_a_relay_leads_to_the_server_to_go_to(self, serve: Serve) -> None:
        broker = MemoryBroker()
        first, second = await make_app(broker, "0"), await make_app(broker.sibling(), "1")
        here: URL = await serve(first) / "stream"
        there = await serve(second) / "stream"
        said = Said()
        async with (
            relayed(here) as relay,
            connect(relay.url, on_state=said, reconnect=QUICK) as client,
            client.subscribe("kept") as messages,
        ):
            relay.target = there
            await first[SOCKETS].drain()
            await said.then("open", "open", "open", "open")
            assert await client.call("where") == "1"
            await client.publish("kept", "n", 1)
            relay.cut()
            await second[SOCKETS].publish("kept", "n", 2)
            assert [(await anext(messages)).data for _ in range(2)] == [1, 2]
            await said.then("waiting", "connecting", "open")
