"""The transports in memory do what sockets do, as far as the tests on them count on it."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from openapi.spec import ApiPath
from openapi.ws import Limits, SocketsManager, WsPathMixin
from openapi.ws.connection import Connection
from openapi.ws.pubsub import Publish, Subscribe
from tests.shuffled import run, running_loop
from tests.ws.endpoints import application
from tests.ws.linked import Linked
from tests.ws.raw import masked

LIMITS = Limits(ping_interval=None, outbox_bytes=4000)


class Endpoint(ApiPath, WsPathMixin, Subscribe, Publish):
    """Says how it ended."""

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        """The payload"""
        return payload

    async def ws_rpc_close(self, payload: dict[str, Any]) -> None:
        """Close this connection"""
        await self.close(4504, "go")


def linked(sockets: SocketsManager, **options: Any) -> Linked:
    app: web.Application = application(Endpoint, sockets)
    return Linked(app, **options)


def test_a_client_calls_and_is_answered_and_gets_messages_in_order() -> None:
    async def main() -> None:
        rng = running_loop().rng
        sockets = SocketsManager(limits=LIMITS)
        async with linked(sockets, delay=lambda: rng.choice([0, 0.1, 3])) as server:
            a, b = await server.connect(), await server.connect()
            assert len(sockets.sockets) == 2
            heard: list[Any] = []
            a.heard = heard.append
            await a.call("subscribe", {"channel": "news"})
            for n in range(5):
                await b.call("publish", {"channel": "news", "event": "n", "data": n})
            got = [await a.messages.get() for _ in range(5)]
            assert got == [{"channel": "news", "event": "n", "data": n} for n in range(5)]
            assert heard == a.received
            assert heard[1:] == got
            long = {"text": "x" * 40_000}
            assert await a.call("echo", long) == long
            assert await a.call("echo", long | {"text": "x" * 300}) == {"text": "x" * 300}
            error = (await a.ask("nothing"))["error"]
            assert error["code"] == -32601

    for seed in range(20):
        run(seed, main)


def test_a_client_that_does_not_read_fills_the_outbox() -> None:
    async def main() -> None:
        sockets = SocketsManager(limits=LIMITS)
        async with linked(sockets, high_water=1000) as server:
            a, b = await server.connect(), await server.connect()
            await a.call("subscribe", {"channel": "news"})
            connection = a.transport.get_protocol()
            assert isinstance(connection, Connection)
            a.pause()
            for _ in range(3):
                await sockets.publish("news", "n", "x" * 900)
                await asyncio.sleep(1)
            assert connection.queued_bytes > 1000
            a.resume()
            await asyncio.sleep(1)
            assert connection.queued_bytes == 0
            assert a.messages.qsize() == 3
            a.pause()
            for _ in range(6):
                await sockets.publish("news", "n", "x" * 900)
                await asyncio.sleep(0)
            await asyncio.sleep(0.1)
            a.resume()
            assert await a.closed == 4008
            assert not b.gone

    for seed in range(20):
        run(seed, main)


def test_a_reset_loses_what_is_under_way() -> None:
    async def main() -> None:
        sockets = SocketsManager(limits=LIMITS)
        async with linked(sockets, delay=lambda: 1.0) as server:
            a = await server.connect()
            asking = asyncio.create_task(a.ask("echo"))
            await asyncio.sleep(1.5)
            a.reset()
            a.send({"id": 9, "method": "echo"})
            with pytest.raises(ConnectionResetError):
                await asking
            with pytest.raises(ConnectionResetError):
                await a.ask("echo")
            assert await a.closed == 1006
            await asyncio.sleep(5)
            assert a.received == []
            assert not sockets.sockets
            b = server.link()
            await asyncio.sleep(0.5)
            b.reset()
            assert not await b.opened
            a.reset()  # harmless

    run(1, main)


def test_whoever_closes_both_ends_learn_of_it() -> None:
    async def main() -> None:
        sockets = SocketsManager(limits=LIMITS)
        async with linked(sockets) as server:
            a, b, c = [await server.connect() for _ in range(3)]
            a.close(1001)
            b.send({"id": 1, "method": "close"})
            c.write(b"\x83\x00")
            assert [await client.closed for client in (a, b, c)] == [1001, 4504, 1002]
            await asyncio.sleep(1)
            assert not sockets.sockets

    run(1, main)


def test_pings_are_answered() -> None:
    async def main() -> None:
        sockets = SocketsManager(limits=Limits(ping_interval=1, pong_timeout=1))
        async with linked(sockets) as server:
            a = await server.connect()
            await asyncio.sleep(60)
            assert not a.gone
            a.write(masked(0x9, b"ping"))
            assert await a.call("echo") == {}

    run(1, main)


async def test_it_runs_on_any_loop() -> None:
    sockets = SocketsManager()
    async with linked(sockets) as server:
        client = await server.connect()
        assert await client.call("echo", {"n": 1}) == {"n": 1}
    assert not sockets.sockets
