"""JSON-RPC 2.0 clients that are not ours use the demo, and what it has no example of."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from examples import monitor
from openapi.spec import ApiPath
from openapi.ws import SocketsManager, WsPathMixin
from tests.conftest import Serve
from tests.foreign.clients import Foreign, JsonRpcClient, Refused, Request, clients

SUBPROTOCOL = "jsonrpc2.0"

LIBRARIES = ("aiohttp-rpc", "jsonrpcclient", "json-rpc-2.0", "vscode-jsonrpc")
BATCHING = ("aiohttp-rpc", "jsonrpcclient", "json-rpc-2.0")
ANSWERING = ("aiohttp-rpc", "json-rpc-2.0", "vscode-jsonrpc")

with_batches = pytest.mark.parametrize("library", BATCHING)
with_handlers = pytest.mark.parametrize("library", ANSWERING)
# the others say nothing instead
with_empty_lists = pytest.mark.parametrize("library", ["json-rpc-2.0"])
with_any_text = pytest.mark.parametrize("library", ["jsonrpcclient"])

Connect: TypeAlias = Callable[[URL, str | None], Awaitable[Foreign]]

Log: TypeAlias = asyncio.Queue[str]
SOCKETS = web.AppKey("SOCKETS", SocketsManager)
LOG: web.AppKey[Log] = web.AppKey("LOG", asyncio.Queue)

NOTE = {"channel": "notes", "event": "note", "data": {"text": "hello"}}
HEARD = {**NOTE, "offset": 1}  # the demo keeps notes


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """The name of the client's library: every test is one of every client that is able."""
    name: str = request.param
    return name


@pytest.fixture
async def connect(library: str, node: str) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def connect(url: URL, subprotocol: str | None) -> Foreign:
            return await stack.enter_async_context(clients(node)[library](url, subprotocol))

        yield connect


@pytest.fixture
async def url(serve: Serve) -> URL:
    """The demo."""
    return await serve(monitor.create_app())


@pytest.fixture
async def client(url: URL, connect: Connect) -> Foreign:
    """A client of the demo."""
    return await connect(url / "stream", SUBPROTOCOL)


class TestACall:
    async def test_that_has_named_params_is_answered(self, client: Foreign) -> None:
        processes = await client.call("processes", {"by": "memory", "limit": 3})
        sizes = [each["memory_mib"] for each in processes]
        assert len(sizes) == 3
        assert sizes == sorted(sizes, reverse=True)

    async def test_that_has_no_params_is_answered(self, client: Foreign) -> None:
        info = await client.call("info")
        assert info["connections"] == 1

    @with_empty_lists
    async def test_that_has_an_empty_list_of_params_is_answered(self, client: Foreign) -> None:
        info = await client.call("info", [])
        assert info["connections"] == 1

    async def test_of_an_unknown_method_is_refused(self, client: Foreign) -> None:
        with pytest.raises(Refused) as refused:
            await client.call("nonsense")
        assert refused.value.code == -32601
        assert refused.value.data == {"errors": {"method": "nonsense method not available"}}

    async def test_that_has_bad_params_is_told_every_fault(self, client: Foreign) -> None:
        with pytest.raises(Refused) as refused:
            await client.call("processes", {"by": "luck", "limit": 0})
        assert refused.value.code == -32602
        assert refused.value.data["errors"].keys() == {"by", "limit"}

    async def test_that_has_positional_params_is_refused(self, client: Foreign) -> None:
        with pytest.raises(Refused) as refused:
            await client.call("processes", ["memory", 3])
        assert refused.value.code == -32602
        assert "position" in refused.value.data["errors"]["params"]

    async def test_is_answered_without_a_subprotocol_too(self, url: URL, connect: Connect) -> None:
        client = await connect(url / "stream", None)
        assert await client.call("processes", {"limit": 1})
        assert client.unexpected == []


class TestANotification:
    async def test_runs_and_is_never_answered(self, client: Foreign) -> None:
        await client.call("subscribe", {"channel": "notes"})
        await client.notify("publish", NOTE)
        assert await client.heard.get() == ("event", HEARD)
        await client.notify("nonsense")
        await client.notify("processes", {"by": "luck"})
        await client.notify("processes", ["memory", 3])
        await client.call("info")
        assert client.unexpected == []


class TestABatch:
    pytestmark = with_batches

    async def test_of_two_calls_and_a_notification_gets_two_answers(self, client: Foreign) -> None:
        await client.call("subscribe", {"channel": "notes"})
        processes, info = await client.batch(
            Request("processes", {"limit": 2}),
            Request("publish", NOTE, is_call=False),
            Request("info"),
        )
        assert len(processes) == 2
        assert info["connections"] == 1
        assert await client.heard.get() == ("event", HEARD)
        assert client.unexpected == []

    async def test_has_errors_beside_results(self, client: Foreign) -> None:
        processes, unknown, bad = await client.batch(
            Request("processes", {"limit": 2}),
            Request("nonsense"),
            Request("processes", {"limit": 0}),
        )
        assert len(processes) == 2
        assert (unknown.code, bad.code) == (-32601, -32602)

    async def test_of_notifications_gets_nothing(self, client: Foreign) -> None:
        await client.call("subscribe", {"channel": "notes"})
        await client.batch(Request("info", is_call=False), Request("publish", NOTE, is_call=False))
        assert await client.heard.get() == ("event", HEARD)
        await client.call("info")
        assert client.unexpected == []


@with_any_text
class TestAMessage:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("[]", -32600),
            ('{"jsonrpc": "2.0", "method": 1}', -32600),
            ('{"jsonrpc": "2.0", "method": "info", "params": "x"}', -32600),
            ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', -32700),
            ('[{"jsonrpc": "2.0", "method": "info", "id": "1"}, {"x"]', -32700),
        ],
    )
    async def test_without_a_readable_id_is_refused_and_the_next_is_answered(
        self, client: JsonRpcClient, text: str, code: int
    ) -> None:
        with pytest.raises(Refused) as refused:
            await client.unreadable(text)
        assert refused.value.code == code
        assert await client.call("info")
        assert client.unexpected == []


class TestAPublishedMessage:
    async def test_arrives_as_the_notification_event(self, url: URL, client: Foreign) -> None:
        subscribed = await client.call("subscribe", {"channel": "notes", "event": "n*"})
        assert subscribed.pop("epoch")
        assert subscribed == {"subscribed": {"notes": ["n*"]}, "offset": 0}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url / "notes", json={"text": "hello"}) as response,
        ):
            note = await response.json()
        message = {"channel": "notes", "event": "note", "data": note, "offset": 1}
        assert await client.heard.get() == ("event", message)
        assert client.unexpected == []


@dataclass
class Question:
    text: str


class Workshop(ApiPath, WsPathMixin):
    """What takes its time, and what asks the client."""

    SOCKETS_KEY = SOCKETS

    async def ws_rpc_wait(self, payload: dict[str, Any]) -> None:
        """Wait for ever"""
        await _noted(self.request.app[LOG])

    async def ws_rpc_count(self, payload: dict[str, Any]) -> AsyncIterator[int]:
        """Count to three"""
        for number in (1, 2, 3):
            yield number

    async def ws_rpc_count_and_wait(self, payload: dict[str, Any]) -> AsyncIterator[int]:
        """Count to one, and wait for ever"""
        yield 1
        await _noted(self.request.app[LOG])

    async def ws_rpc_ask(self, payload: Question) -> bool:
        """Pass a question to the client that asks"""
        return await self.call("confirm", payload, returns=bool)


async def _noted(log: Log) -> None:
    log.put_nowait("begun")
    try:
        await asyncio.Event().wait()
    finally:
        log.put_nowait("cancelled")


class TestTheWorkshop:
    """An endpoint whose calls take their time."""

    @pytest.fixture
    def log(self) -> Log:
        return asyncio.Queue()

    @pytest.fixture
    async def client(self, serve: Serve, connect: Connect, log: Log) -> Foreign:
        app = web.Application()
        app[LOG] = log
        app[SOCKETS] = SocketsManager()
        app.router.add_view("/stream", Workshop)
        return await connect(await serve(app) / "stream", SUBPROTOCOL)

    async def test_ends_a_cancelled_call(self, client: Foreign, log: Log) -> None:
        calling = asyncio.create_task(client.call("wait", name="a"))
        other = asyncio.create_task(client.call("wait", name="b"))
        assert [await log.get(), await log.get()] == ["begun", "begun"]
        await client.cancel("a")
        with pytest.raises(Refused) as refused:
            await calling
        assert refused.value.code == -32006
        assert await log.get() == "cancelled"
        assert log.empty()
        assert not other.done()
        await client.cancel("b")
        with pytest.raises(Refused):
            await other
        assert client.unexpected == []

    async def test_sends_the_items_of_a_stream_before_its_end(self, client: Foreign) -> None:
        assert await client.call("count", name="a") is None
        items = [client.heard.get_nowait() for _ in range(3)]
        assert client.heard.empty()
        assert {method for method, _ in items} == {"rpc.item"}
        assert [(item["seq"], item["item"]) for _, item in items] == [(1, 1), (2, 2), (3, 3)]
        assert len({json.dumps(item["id"]) for _, item in items}) == 1
        assert client.unexpected == []

    async def test_ends_a_cancelled_stream(self, client: Foreign, log: Log) -> None:
        calling = asyncio.create_task(client.call("count_and_wait", name="a"))
        _, item = await client.heard.get()
        assert (item["seq"], item["item"]) == (1, 1)
        assert await log.get() == "begun"
        await client.cancel("a")
        with pytest.raises(Refused) as refused:
            await calling
        assert refused.value.code == -32006
        assert await log.get() == "cancelled"

    @with_handlers
    async def test_calls_the_client_and_is_answered(self, client: Foreign) -> None:
        await client.answer("confirm", True)
        assert await client.call("ask", {"text": "sure?"}) is True
        assert await client.heard.get() == ("confirm", {"text": "sure?"})
        assert client.unexpected == []
