"""What ``GET /healthz`` says, and what it does not."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from openapi.ws import SocketsManager, WsPathMixin, health_of, healthz
from openapi.ws.broker import Outage, Supervised
from openapi.ws.brokers.memory import MemoryBroker
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import peer


class Away(MemoryBroker, Supervised):
    """Its server is away as long as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.away: Outage | None = None

    @property
    def outage(self) -> Outage | None:
        return self.away

    def watch(self, missed: Callable[[Collection[str] | None], object]) -> None:
        pass


def healthy(sockets: SocketsManager, endpoint: type[web.View] = Endpoint) -> web.Application:
    app = application(endpoint, sockets)
    app.router.add_get("/healthz", healthz)
    return app


async def ask(url: URL) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(url / "healthz") as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def test_a_server_that_is_well_says_so_and_how_many_connections_it_has(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(healthy(sockets))
    unused = {"status": "ok", "node": sockets.node, "connections": 0}
    assert await ask(url) == (200, {**unused, "broker": {"status": "unopened"}})
    await sockets.open()
    async with peer(url / "stream") as client:
        await client.call("info")
        up = {"status": "ok", "node": sockets.node, "connections": 1, "broker": {"status": "up"}}
        assert await ask(url) == (200, up)


async def test_while_the_broker_is_away_it_is_degraded_and_not_to_be_restarted(
    serve: Serve,
) -> None:
    broker = Away()
    sockets = SocketsManager(broker=broker)
    url = await serve(healthy(sockets))
    await sockets.open()
    broker.away = Outage(1700000000.5, "refused")
    async with peer(url / "stream") as client:
        await client.call("info")
        status, said = await ask(url)
    assert (status, said["status"], said["connections"]) == (200, "degraded", 1)
    assert said["broker"] == {"status": "away", "since": 1700000000.5, "reason": "refused"}
    broker.away = None
    assert (await ask(url))[1]["status"] == "ok"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("redis://me:secret@db:6379/0: refused", "redis://db:6379/0: refused"),
        ("redis://:p@s/s@db: refused", "redis://db: refused"),
        ("nats://token@a:4222, nats://b:4222", "nats://a:4222, nats://b:4222"),
        ("redis at db:6379: Connection refused", "redis at db:6379: Connection refused"),
    ],
)
async def test_the_reason_has_no_credentials(reason: str, said: str) -> None:
    broker = Away()
    async with SocketsManager(broker=broker) as sockets:
        await sockets.open()
        broker.away = Outage(1.0, reason)
        assert health_of(sockets)["broker"] == {"status": "away", "since": 1.0, "reason": said}


async def test_a_server_that_drains_takes_nobody_though_its_broker_is_away(serve: Serve) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    class Slow(Endpoint):
        async def ws_rpc_wait(self, payload: dict[str, Any]) -> str:
            """Answer when a test says so"""
            entered.set()
            await go.wait()
            return "done"

    broker = Away()
    sockets = SocketsManager(broker=broker)
    url = await serve(healthy(sockets, Slow))
    await sockets.open()
    async with peer(url / "stream") as client:
        await client.send({"id": 1, "method": "wait"})
        await entered.wait()
        draining = asyncio.create_task(sockets.drain())
        await asyncio.sleep(0)
        for broker.away in (None, Outage(1.0, "gone")):
            status, said = await ask(url)
            assert (status, said["status"], said["connections"]) == (503, "draining", 1)
        go.set()
        await draining


async def test_the_manager_is_found_under_any_key_and_in_the_parent_of_a_sub_application(
    serve: Serve,
) -> None:
    class Other(Endpoint, WsPathMixin):
        SOCKETS_KEY = MANAGER

    app, inner = web.Application(), web.Application()
    app[MANAGER] = SocketsManager()
    app.router.add_view("/stream", Other)
    inner.router.add_get("/healthz", healthz)
    app.add_subapp("/inner", inner)
    status, said = await ask(await serve(app) / "inner")
    assert (status, said["node"]) == (200, app[MANAGER].node)


@pytest.mark.parametrize(("managers", "todo"), [(0, "SocketsManager()"), (2, "health_of(sockets)")])
async def test_an_application_that_has_not_one_manager_is_told_what_to_do(
    managers: int, todo: str
) -> None:
    app = web.Application()
    for number in range(managers):
        app[web.AppKey(f"sockets{number}", SocketsManager)] = SocketsManager()
    with pytest.raises(LookupError) as refusal:
        await healthz(make_mocked_request("GET", "/healthz", app=app))
    assert str(refusal.value).startswith(f"healthz finds {managers} managers and wants one: ")
    assert todo in str(refusal.value)
