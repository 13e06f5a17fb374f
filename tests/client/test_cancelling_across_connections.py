"""Who subscribes, reads, leaves or calls may be cancelled at any turn, while connections end.

In the end client and server agree on what the client is subscribed to, and nobody else noticed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from aiohttp import web

from openapi.client import Backoff, Client
from openapi.testing import Cluster, SocketClient, cluster, run
from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.broker import Broker
from openapi.ws.pubsub import Publish, Subscribe
from tests.client.door import Said

TURNS: Final = 120
"""Longer than any of it takes."""

SOCKETS: Final = web.AppKey("SOCKETS", SocketsManager)


class Endpoint(WsPathMixin, Subscribe, Publish):
    """Answers a few turns later."""

    SOCKETS_KEY = SOCKETS

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        for _ in range(3):
            await asyncio.sleep(0)
        return True

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        return payload


async def make_app(broker: Broker) -> web.Application:
    """One server of two."""
    app = web.Application()
    app[SOCKETS] = SocketsManager(broker=broker, channels=[ChannelRule("*", history=100)])
    app.router.add_view("/stream", Endpoint)
    app.on_cleanup.append(ended)
    await app[SOCKETS].open()
    return app


async def ended(app: web.Application) -> None:
    """The application has ended, and so does its manager, whether or not anybody connected."""
    await app[SOCKETS].drain()


Work = Callable[[Client], Awaitable[object]]


async def subscribe(client: Client) -> None:
    """Subscribe, and leave."""
    async with client.subscribe("a"):
        pass


async def subscribe_beside_another(client: Client) -> None:
    """Subscribe to what somebody else is subscribed to, and leave."""
    async with client.subscribe("b"):
        pass


async def read(client: Client) -> None:
    """Subscribe, and read."""
    async with client.subscribe("a", timeout=None) as messages:
        position = await client.publish("a", "x", 1, key="1")
        message = await anext(messages)
        assert message.position == position


async def hold(client: Client) -> None:
    """Be subscribed until somebody has it end."""
    async with client.subscribe("a") as messages:
        await anext(messages)


async def hold_beside_another(client: Client) -> None:
    """Be subscribed to what somebody else is subscribed to, until somebody has it end."""
    async with client.subscribe("b") as messages:
        await anext(messages)


async def call(client: Client) -> None:
    """Call."""
    assert await client.call("echo", {"a": 1}, idempotent=True) == {"a": 1}


ENDING: Final[list[Work]] = [subscribe, subscribe_beside_another, read, call]
LASTING: Final[list[Work]] = [hold, hold_beside_another]


Trouble = Callable[[Cluster, SocketClient, Said], Awaitable["asyncio.Future[None] | None"]]


async def cut(nodes: Cluster, client: SocketClient, said: Said) -> None:
    """Cut the connection."""
    client.link.cut()


async def move(nodes: Cluster, client: SocketClient, said: Said) -> "asyncio.Future[None]":
    """Have the server end, up to where its client goes to another. Returns its end."""
    ending = asyncio.ensure_future(nodes.node(0).server.shutdown())
    await said.then("open", "open", "open")
    return ending


TROUBLES: Final[list[Trouble]] = [cut, move]
LEADS: Final = ["long before", "just before", "behind"]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
@pytest.mark.parametrize("work", [*ENDING, *LASTING], ids=lambda work: work.__name__)
@pytest.mark.parametrize("lead", LEADS)
def test_both_agree_in_the_end(trouble: Trouble, work: Work, lead: str) -> None:
    over = [run(scenario(trouble, work, lead, turns)) for turns in range(0, TURNS, 4)]
    assert over[-1] or work in LASTING


async def scenario(trouble: Trouble, work: Work, lead: str, turns: int) -> bool:
    """Begin work before or behind the trouble, and cancel it so many turns later."""
    at_once, said = Backoff(first=1e-300, cap=1e-300), Said()
    async with (
        cluster(2, make_app) as nodes,
        nodes.connect(reconnect=at_once, on_state=said) as client,
        client.subscribe("b") as witness,
    ):
        ending = await trouble(nodes, client, said) if lead == "behind" else None
        working = asyncio.ensure_future(work(client))
        if lead != "behind":
            await asyncio.sleep(1 if lead == "long before" else 0)
            ending = await trouble(nodes, client, said)
        for _ in range(turns):
            await asyncio.sleep(0)
        over = working.done()
        working.cancel()
        await asyncio.wait([working])
        if not working.cancelled():
            working.result()
        if ending is not None:
            await ending
        await asyncio.sleep(10)
        alive = [each.app[SOCKETS] for each in nodes.nodes if each.alive]
        channels = [each.server_info()["channels"] for each in alive]
        assert [each for each in channels if each] == [{"b": {"*": 1}}]
        await alive[0].publish("b", "x", 1)
        assert (await anext(witness)).data == 1
        assert list(client._client._renewing._subscriptions) == [witness]
        assert len(client.link.connections) == 1
    return over
