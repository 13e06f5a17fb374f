"""What the how-to pages show, each file done as its page says."""

import asyncio
import json
import shlex
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from openapi_spec_validator import validate as validate_document
from yarl import URL

import docs.examples.howto.calling_clients as calling_clients
import docs.examples.howto.cancelling as cancelling
import docs.examples.howto.carry_broker as carry_broker
import docs.examples.howto.carry_manager as carry_manager
import docs.examples.howto.connection_hooks as connection_hooks
import docs.examples.howto.deadlines as deadlines
import docs.examples.howto.http_operations as http_operations
import docs.examples.howto.json_rpc as json_rpc
import docs.examples.howto.messagepack as messagepack
import docs.examples.howto.middleware as middleware
import docs.examples.howto.options as options
import docs.examples.howto.ordering as ordering
import docs.examples.howto.publish as publish
import docs.examples.howto.raise_errors as raise_errors
import docs.examples.howto.shut_down as shut_down
import docs.examples.howto.streams as streams
import docs.examples.howto.validate as validate
import docs.examples.howto.validate_pydantic as validate_pydantic
from openapi.cli.commands import openapi
from openapi.errors import CloseCode, ErrorCode
from openapi.ws import SocketsManager
from tests.cli.process import ROOT, Terminal, run, served
from tests.conftest import Serve
from tests.pages import converse, round_trip
from tests.ws.endpoints import application
from tests.ws.peer import peer

pytestmark = pytest.mark.filterwarnings(
    # the documented line, app["web_sockets"] = …
    "ignore:It is recommended to use web.AppKey:aiohttp.web.NotAppKeyWarning"
)

ITEM = {"name": "tea", "price": 2.5}


class TestValidate:
    """docs/how-to/validate.md"""

    async def test_payloads_and_results_are_typed(self, serve: Serve) -> None:
        url = await serve(validate.create_app()) / "shop"
        async with peer(url) as client:
            order = {"items": [ITEM, ITEM | {"size": "large"}], "wanted": "2026-12-24"}
            assert await client.call("order", order) == {"total": 5.0}
            assert await client.call("order_as_dict", order) == {"total": 5.0}
            assert await client.call("quote", order) == {"total": 5.0}
            assert await client.call("echo", {"x": [1]}) == {"x": [1]}

    async def test_the_page_shows_the_answer_to_a_wrong_order(self, serve: Serve) -> None:
        page = (ROOT / "docs/how-to/validate.md").read_text("utf-8")
        payload, answer = (
            json.loads(block.partition("```")[0]) for block in page.split("```json\n")[1:3]
        )
        url = await serve(validate.create_app()) / "shop"
        async with peer(url) as client:
            assert await client.error("order", payload) == answer

    async def test_pydantic_models_are_types_too(self, serve: Serve) -> None:
        url = await serve(validate_pydantic.create_app()) / "people"
        async with peer(url) as client:
            assert await client.call("greet", {"name": "Ada", "age": 36}) == "Hello Ada"
            errors = (await client.error("greet", {"name": "", "age": -1, "x": 0}))["errors"]
            assert set(errors) == {"name", "age", "x"}


class TestRaiseErrors:
    """docs/how-to/raise-errors.md"""

    async def test_each_kind_of_error_is_answered(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = await serve(raise_errors.create_app()) / "shop"
        async with peer(url) as client:
            assert await client.call("buy", {"item": "tea"}) == 2
            assert await client.error("buy", {"item": "tea", "count": 4}) == {
                "code": 1001,
                "message": "Not so many are left",
                "data": {"left": 3},
                "retry_after": 60_000,
            }
            refused = await client.error("reserve", {"item": "cake", "count": 11})
            assert refused["code"] == ErrorCode.INVALID_PARAMETERS
            assert refused["errors"] == {"item": "unknown item", "count": "at most 10"}
            failed = await client.error("fail")
            assert failed["code"] == ErrorCode.INTERNAL_ERROR
            assert failed["data"]["error_id"] in caplog.text

    async def test_a_method_that_is_overridden_refuses_by_who_asks(self, serve: Serve) -> None:
        url = await serve(raise_errors.create_app()) / "shop"
        news = {"channel": "news", "event": "e", "data": 1}
        staff = {"Authorization": "Bearer staff"}
        async with peer(url) as visitor, peer(url, additional_headers=staff) as colleague:
            assert (await visitor.error("publish", news))["code"] == ErrorCode.NOT_ALLOWED
            assert await colleague.call("publish", news) == news


class TestPublish:
    """docs/how-to/publish.md"""

    async def test_a_view_and_a_task_publish(self, serve: Serve) -> None:
        url = await serve(publish.create_app())
        async with peer(url / "stream") as client, aiohttp.ClientSession() as session:
            await client.call("subscribe", {"channel": "house"})
            async with session.post(url / "alarm") as response:
                assert response.status == 204
            assert await client.message() == {
                "channel": "house",
                "event": "alarm",
                "data": {"floor": 1},
            }
            await client.call("subscribe", {"channel": "clock"})
            assert (await client.message())["event"] == "tick"

    async def test_what_was_published_with_a_key_is_not_published_again(self, serve: Serve) -> None:
        url = await serve(publish.create_app())
        payment = {"id": "p1", "cents": 250}
        async with peer(url / "stream") as client, aiohttp.ClientSession() as session:

            async def pay(payment: dict[str, Any]) -> int:
                async with session.post(url / "payments", json=payment) as response:
                    return response.status

            await client.call("subscribe", {"channel": "payments"})
            assert [await pay(payment), await pay(payment)] == [204, 204]
            assert await pay(payment | {"cents": 1}) == 422
            assert await pay({"id": "p2", "cents": 1}) == 204
            assert [(await client.message())["data"]["id"] for _ in range(2)] == ["p1", "p2"]

    async def test_the_server_lets_people_in_and_sends_them_away(self, serve: Serve) -> None:
        url = await serve(publish.create_app())
        ada = url / "guests" / "ada"
        stream = (url / "stream").with_query(user="ada")
        async with peer(stream) as client, aiohttp.ClientSession() as session:
            await round_trip(client)
            async with session.put(ada) as response:
                assert await response.json() == {"connections": 1}
            assert await client.message() == {
                "channel": "house",
                "event": "$subscribed",
                "data": {"events": ["*"]},
            }
            async with session.get(ada) as response:
                assert await response.json() == [{"house": ["*"]}]
            async with session.post(url / "alarm"):
                assert (await client.message())["event"] == "alarm"
            async with session.delete(ada) as response:
                assert await response.json() == {"connections": 1}
            assert await client.closed() == (CloseCode.DISCONNECTED, "the party is over")

    async def test_the_servers_own_code_reads_what_is_published(self, serve: Serve) -> None:
        app = publish.create_app()
        url = await serve(app)
        async with peer(url / "stream") as client, aiohttp.ClientSession() as session:
            await client.call("subscribe", {"channel": "house"})
            async with session.post(url / "alarm") as response:
                assert response.status == 204
            await client.message()
            await round_trip(client)
            assert app[publish.FLOORS] == [1]


class TestCarryMessages:
    """docs/how-to/carry-messages.md"""

    async def test_a_manager_carries_its_messages_itself(self, serve: Serve) -> None:
        url = await serve(carry_manager.create_app()) / "stream"
        async with peer(url) as client:
            await client.call("subscribe", {"channel": "c"})
            await client.call("publish", {"channel": "c", "event": "e", "data": 1})
            assert await client.message() == {"channel": "c", "event": "e", "data": 1}
            for method in ("subscribe", "publish"):
                refused = await client.error(method, {"channel": "_"} | _data(method))
                assert set(refused["errors"]) == {"channel"}
            await client.call("unsubscribe", {"channel": "c"})

    async def test_a_broker_carries_from_one_server_to_the_other(self) -> None:
        hub = carry_broker.Hub()
        async with _running(carry_broker.create_app(hub)) as one:
            async with _running(carry_broker.create_app(hub)) as other:
                async with peer(one / "stream") as listener, peer(other / "stream") as publisher:
                    await listener.call("subscribe", {"channel": "c"})
                    message = {"channel": "c", "event": "e", "data": 1}
                    await publisher.call("publish", message)
                    assert await listener.message() == message
                    await listener.call("unsubscribe", {"channel": "c"})
                    assert "c" not in hub.channels
                    await listener.call("subscribe", {"channel": "c"})
        assert hub.channels == {}


def _data(method: str) -> dict[str, Any]:
    return {"data": 1} if method == "publish" else {}


class _running:
    """An application that is served, and ends as a server does."""

    def __init__(self, app: web.Application) -> None:
        self.runner = web.AppRunner(app, shutdown_timeout=10.0)

    async def __aenter__(self) -> URL:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        host, port = self.runner.addresses[0][:2]
        return URL.build(scheme="http", host=host, port=port)

    async def __aexit__(self, *exc: object) -> None:
        await self.runner.cleanup()


class TestOptions:
    """docs/how-to/limits.md, docs/how-to/origins-and-proxies.md, docs/how-to/compress.md"""

    async def test_a_message_over_the_limit_is_refused(self, serve: Serve) -> None:
        url = await serve(application(sockets=options.limited)) / "stream"
        async with peer(url) as client:
            await client.send("x" * 20_000)
            assert (await client.receive())["error"]["data"] == {
                "limit": "message_bytes",
                "max": 16_384,
                "size": 20_000,
            }

    @pytest.mark.parametrize(
        ("origin", "allowed"),
        [
            ("https://example.com", True),
            ("http://localhost:3000", True),
            ("http://localhost", False),
            ("https://evil.example", False),
        ],
    )
    async def test_pages_of_the_list_may_connect(
        self, serve: Serve, origin: str, allowed: bool
    ) -> None:
        url = await serve(application(sockets=_like(options.open_to_two_pages))) / "stream"
        if allowed:
            async with peer(url, origin=origin) as client:
                assert await client.call("info")
        else:
            with pytest.raises(Exception, match="HTTP 403"):
                async with peer(url, origin=origin):
                    pass

    @pytest.mark.parametrize("asked", ["deflate", None])
    async def test_who_asks_for_compression_gets_it(self, serve: Serve, asked: str | None) -> None:
        url = await serve(application(sockets=_like(options.compressing))) / "stream"
        async with peer(url, compression=asked) as client:
            assert client.compressed == (asked is not None)
            data = "x" * 1000
            await client.call("subscribe", {"channel": "c"})
            await client.call("publish", {"channel": "c", "event": "e", "data": data})
            assert (await client.message())["data"] == data


def _like(manager: SocketsManager) -> SocketsManager:
    """A manager serves one application, and the tests have several."""
    return SocketsManager(origins=manager.origins, deflate=manager.deflate)


class TestShutDown:
    """docs/how-to/shut-down.md"""

    async def test_a_call_in_flight_is_answered_and_the_client_told_when_to_come_back(self) -> None:
        running = _running(shut_down.create_app())
        async with running as url, peer(url / "stream") as client:
            await client.send({"id": 1, "method": "slow"})
            await (await client.socket.ping())  # the call is in flight
            ending = asyncio.create_task(running.runner.cleanup())
            assert (await client.receive())["event"] == "$reconnect"
            assert (await client.receive())["response"] == "done"
            assert await client.closed() == (1012, "the server restarts")
            await ending

    async def test_it_can_be_drained_while_http_is_served(self) -> None:
        app = shut_down.create_app()
        async with _running(app) as url, peer(url / "stream") as client:
            await client.call("slow")
            draining = asyncio.create_task(shut_down.before_a_deployment(app))
            assert (await client.receive())["event"] == "$reconnect"
            assert await client.closed() == (1012, "the server restarts")
            await draining
            async with aiohttp.ClientSession() as session, session.get(url / "none") as response:
                assert response.status == 404

    def test_it_is_served_with_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told: dict[str, Any] = {}
        monkeypatch.setattr(web, "run_app", lambda app, **options: told.update(options))
        shut_down.main()
        assert told["shutdown_timeout"] > 20.0


class TestDeadlines:
    """docs/how-to/deadlines.md"""

    async def test_a_call_past_its_deadline_is_answered_with_an_error(self, serve: Serve) -> None:
        url = await serve(deadlines.create_app()) / "library"
        async with peer(url) as client:
            await converse(client, "deadlines.md", 1)
            await converse(client, "deadlines.md", 2)

    async def test_a_handler_sees_how_much_is_left(self, serve: Serve) -> None:
        url = await serve(deadlines.create_app()) / "library"
        async with peer(url) as client:
            some = {"word": "sea", "shelves": ["sea", "cellar"]}
            title = "The sea, from the sea"
            assert await client.call("browse", some) == {"titles": [title], "complete": False}
            all = {"word": "sea", "shelves": ["sea"]}
            assert await client.call("browse", all) == {"titles": [title], "complete": True}

    async def test_the_client_is_ready_for_both_deadlines(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = str(await serve(deadlines.create_app()) / "library")
        assert await deadlines.search(url, "sea") == []
        monkeypatch.setitem(deadlines.SHELVES, "cellar", 0.0)
        assert await deadlines.search(url, "sea") == ["The sea, from the cellar"]


class TestCancelling:
    """docs/how-to/cancelling.md"""

    async def test_a_cancelled_handler_gives_back_what_it_took(self, serve: Serve) -> None:
        url = await serve(cancelling.create_app()) / "shop"
        async with peer(url) as client:
            await converse(client, "cancelling.md", 1)
            await round_trip(client)
            assert cancelling.Cursor.opened == 0
            assert await client.call("export", {"rows": 1}) == ["row 0"]

    async def test_what_is_shielded_goes_on_behind_its_answer(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate, ledger = asyncio.Event(), list[int]()

        async def charge(cents: int) -> None:
            await gate.wait()

        monkeypatch.setattr(cancelling, "charge", charge)
        monkeypatch.setattr(cancelling, "LEDGER", ledger)
        url = await serve(cancelling.create_app()) / "shop"
        async with peer(url) as client:
            await converse(client, "cancelling.md", 2)
            assert ledger == []
            gate.set()
            await round_trip(client)
            assert ledger == [995]

    async def test_the_python_client_tells_the_server(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun = asyncio.Event()

        async def row(cursor: cancelling.Cursor, number: int) -> str:
            begun.set()
            await asyncio.Event().wait()
            return ""

        monkeypatch.setattr(cancelling.Cursor, "row", row)
        url = await serve(cancelling.create_app()) / "shop"
        await cancelling.export(str(url), begun)
        assert begun.is_set()
        assert cancelling.Cursor.opened == 0


class TestOrdering:
    """docs/how-to/ordering.md"""

    async def test_a_lane_is_of_a_value_whatever_the_method_is(self, serve: Serve) -> None:
        url = await serve(ordering.create_app()) / "shop"
        async with peer(url) as client:
            await converse(client, "ordering.md", 1)

    async def test_other_orders_do_not_wait(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = asyncio.Event()

        async def reserve(name: str) -> None:
            await gate.wait()

        monkeypatch.setattr(ordering, "reserve", reserve)
        url = await serve(ordering.create_app()) / "shop"
        async with peer(url) as client:
            await client.send({"id": 1, "method": "add", "payload": {"order_id": "A", "name": "x"}})
            await client.send({"id": 2, "method": "ship", "payload": {"order_id": "A"}})
            await client.send({"id": 3, "method": "ship", "payload": {"order_id": "B"}})
            assert await client.receive() == {"id": 3, "method": "ship", "response": []}
            gate.set()
            assert (await client.receive())["id"] == 1
            assert await client.receive() == {"id": 2, "method": "ship", "response": ["x"]}

    async def test_a_lane_of_the_method_has_nobody_come_in_between(self, serve: Serve) -> None:
        url = await serve(ordering.create_app()) / "shop"
        async with peer(url) as client:
            for id in range(3):
                await client.send({"id": id, "method": "number"})
            assert [(await client.receive())["response"] for _ in range(3)] == [0, 1, 2]


class TestStreams:
    """docs/how-to/streams.md"""

    async def test_items_are_counted_and_the_end_is_null(self, serve: Serve) -> None:
        url = await serve(streams.create_app()) / "house"
        async with peer(url) as client:
            await converse(client, "streams.md", 1)
            assert streams.Sensor.opened == 0

    async def test_who_leaves_the_block_ends_the_stream(self, serve: Serve) -> None:
        url = await serve(streams.create_app()) / "house"
        assert await streams.first_above(str(url), 20) == streams.Reading(0, 21.5)
        assert streams.Sensor.opened == 0


class TestCallingClients:
    """docs/how-to/calling-clients.md"""

    @pytest.fixture(autouse=True)
    def files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calling_clients, "FILES", {"plan.txt", "notes.txt"})

    async def test_a_handler_asks_its_caller(self, serve: Serve) -> None:
        url = await serve(calling_clients.create_app()) / "desk"
        async with peer(url) as client:
            await converse(client, "calling-clients.md", 1)

    async def test_a_client_that_refuses_confirms_nothing(self, serve: Serve) -> None:
        url = await serve(calling_clients.create_app()) / "desk"
        async with peer(url) as client:
            await client.send({"id": 1, "method": "delete", "payload": {"name": "plan.txt"}})
            await client.receive()
            await client.send({"id": "s1", "error": {"code": -32601, "message": "What?"}})
            assert (await client.receive())["error"]["message"] == "You did not confirm it"

    async def test_who_is_cancelled_cancels_what_it_asked(self, serve: Serve) -> None:
        url = await serve(calling_clients.create_app()) / "desk"
        async with peer(url) as client:
            await client.send({"id": 1, "method": "delete", "payload": {"name": "plan.txt"}})
            await client.receive()
            await client.send({"id": 1, "cancel": True})
            assert (await client.receive())["error"]["code"] == ErrorCode.CANCELLED
            await converse(client, "calling-clients.md", 2)

    async def test_all_connections_of_a_user_are_asked(self, serve: Serve) -> None:
        url = await serve(calling_clients.create_app())
        desk = (url / "desk").with_query(user="ada")
        async with peer(desk) as willing, peer(desk) as rude, peer(url / "desk") as stranger:
            for client in (willing, rude, stranger):
                await round_trip(client)
            async with aiohttp.ClientSession() as session:
                vote = asyncio.create_task(session.post((url / "vote").with_query(user="ada")))
                assert (await willing.receive())["payload"] == {"text": "Lunch?"}
                await willing.send({"id": "s1", "response": {"yes": True}})
                await rude.receive()
                await rude.send({"id": "s1", "response": "mind your own business"})
                async with await vote as response:
                    votes = await response.json()
            assert sorted(votes.values(), key=str) == [None, True]

    async def test_the_python_client_answers_while_it_waits(self, serve: Serve) -> None:
        url = str(await serve(calling_clients.create_app()) / "desk")
        assert await calling_clients.delete(url, "plan.txt") == ["notes.txt", "plan.txt"]
        assert await calling_clients.delete(url, "notes.txt") == ["plan.txt"]


class TestJsonRpc:
    """docs/how-to/json-rpc.md"""

    @pytest.mark.parametrize("offered", [["jsonrpc2.0"], None])
    async def test_the_page_shows_what_is_said(
        self, serve: Serve, offered: list[str] | None
    ) -> None:
        url = await serve(json_rpc.create_app()) / "calculator"
        async with peer(url, subprotocols=offered) as client:
            for number in (1, 2, 3, 4):
                await converse(client, "json-rpc.md", number)

    async def test_a_client_by_hand(self, serve: Serve) -> None:
        url = (await serve(json_rpc.create_app()) / "calculator").with_scheme("ws")
        assert await json_rpc.add(str(url), 1, 2) == 3
        with pytest.raises(RuntimeError, match="Invalid RPC parameters"):
            await json_rpc.add(str(url), 1, "2")  # type: ignore[arg-type]


class TestMiddleware:
    """docs/how-to/middleware.md"""

    async def test_calls_are_timed_limited_and_counted(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "shop")
        middleware.SENT.clear()
        url = await serve(middleware.create_app()) / "shop"
        async with peer(url) as client:
            assert await client.call("hello") == "hello"
            assert (await client.ask("count", {"to": 2}))["item"] == 1
            assert [(await client.receive()).get("item") for _ in range(2)] == [2, None]
            assert await client.call("hello") == "hello"
            refused = await client.error("hello")
            assert refused["code"] == ErrorCode.RATE_LIMITED
            assert 0 < refused["retry_after"] <= 3_600_000
        assert middleware.SENT == {"hello": 2, "count": 2}
        assert [record.message.partition(" in ")[0] for record in caplog.records] == [
            "hello answered",
            "count answered",
            "hello answered",
            "hello failed",
        ]


class TestMessagePack:
    """docs/how-to/messagepack.md"""

    async def test_bytes_stay_bytes(self, serve: Serve) -> None:
        url = str(await serve(messagepack.create_app()) / "album")
        assert await messagepack.digest(url, b"\xff\x00") == sha256(b"\xff\x00").digest()

    async def test_values_are_written_as_the_table_says(self, serve: Serve) -> None:
        url = await serve(messagepack.create_app()) / "album"
        picture = {"taken": datetime(2026, 1, 1, tzinfo=UTC), "pixels": b"\xff"}
        async with peer(url, subprotocols=["wsrpc.v1.msgpack"]) as client:
            frame = {"id": 1, "method": "digest", "payload": picture}
            await client.socket.send(msgspec.msgpack.encode(frame))
            answer = msgspec.msgpack.decode(await client.socket.recv(decode=False))
            assert answer["response"] == sha256(b"\xff").digest()
        async with peer(url) as client:
            texts = {"taken": "2026-01-01T00:00:00Z", "pixels": b64encode(b"\xff").decode()}
            digest = b64encode(sha256(b"\xff").digest()).decode()
            assert await client.call("digest", texts) == digest


class TestConnectionHooks:
    """docs/how-to/connection-hooks.md"""

    async def test_who_is_known_is_let_in_and_noted_when_gone(self) -> None:
        app = connection_hooks.create_app()
        known = {"Authorization": "Bearer ada's secret"}
        async with _running(app) as url:
            async with peer(url / "room", additional_headers=known) as client:
                assert await client.call("say") == "ada said 1 things"
                assert await client.call("say") == "ada said 2 things"
                assert app[connection_hooks.PRESENCE].here == ["ada"]
            async with peer(url / "room") as stranger:
                reason = "Send an Authorization that is known"
                assert await stranger.closed() == (4500, reason)
        assert app[connection_hooks.PRESENCE] == connection_hooks.Presence([], [("ada", 1000)])


class TestHttpOperations:
    """docs/how-to/http-operations.md"""

    @pytest.fixture
    async def url(self, serve: Serve) -> AsyncIterator[URL]:
        yield await serve(http_operations.create_app())

    async def test_operations_are_typed(self, url: URL) -> None:
        async with aiohttp.ClientSession() as session:

            async def ask(method: str, path: str, **options: Any) -> tuple[int, Any]:
                where = str(url).rstrip("/") + path
                async with session.request(method, where, **options) as response:
                    text = await response.text()
                    return response.status, json.loads(text) if text else None

            book = {"title": "Emma", "id": 1}
            assert await ask("PUT", "/books/1", json={"title": "Emma"}) == (200, book)
            assert await ask("GET", "/books?word=mm&limit=1") == (200, [book])
            assert (await ask("GET", "/books?limit=0"))[0] == 422
            assert await ask("PUT", "/books/x", json={"title": "Emma"}) == (
                404,
                {"message": "Not found"},
            )
            assert (await ask("PUT", "/books/1", data="{"))[0] == 400
            assert await ask("PUT", "/books/1", json={"title": "EMMA"}) == (
                422,
                {"errors": [{"field": "title", "message": "do not shout"}]},
            )
            assert await ask("DELETE", "/books/1") == (204, None)
            assert await ask("GET", "/books") == (200, [])

    async def test_the_document_is_correct(self, url: URL) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url / "openapi.json") as response,
        ):
            document = await response.json()
        validate_document(document)
        assert set(document["paths"]) == {"/books", "/books/{id}"}


class TestTheReadme:
    """README.md: what the demo keeps. Its other commands are in tests/test_examples.py."""

    COMMAND = "openapi listen localhost:8080/stream host --history 4"

    def test_the_last_messages_come_before_the_next(self) -> None:
        with served("examples/monitor.py:create_app") as host:
            # until there are four
            run("listen", f"{host}/stream", "host", "--history", "4", "--count", "4")
            command = shlex.split(self.COMMAND.replace("localhost:8080", host))[1:]
            with Terminal(*command, "--count", "8") as terminal:
                assert terminal.wait() == 0
        note, *lines = terminal.text.splitlines()
        assert note == "listening, Ctrl-C stops"
        kept, live = lines[:4], lines[4:]
        assert all(line.startswith(" " * 10) for line in kept)
        assert not any(line.startswith(" ") for line in live)
        events = ["cpu", "memory", "disk", "network"]
        assert sorted(line.split()[0] for line in kept) == sorted(events)
        assert sorted(line.split()[1] for line in live) == sorted(events)


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """``HOST:PORT`` of the documented example."""
    with served("examples/stream/main.py:setup_app") as host:
        yield host


def test_the_reference_has_every_command_and_option() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text("utf-8")
    parameters = [
        parameter for command in openapi.commands.values() for parameter in command.params
    ]
    options = {option for parameter in parameters for option in parameter.opts if "-" in option}
    assert {option for option in options if f"`{option}`" not in page} == set()
    assert {name for name in openapi.commands if f"`openapi {name} " not in page} == set()


class TestTheCommandLine:
    """docs/how-to/command-line.md: each command is run, and shows what the page says."""

    PAGE = ROOT / "docs/how-to/command-line.md"
    INFO = "openapi call localhost:8080/stream info"
    INFO_PIPED = "openapi call localhost:8080/stream info | cat"
    JSON = """openapi publish localhost:8080/stream news world '{"n": 1}' --json"""
    WRONG = "openapi call localhost:8080/stream nothing"
    LISTEN = "openapi listen localhost:8080/stream news 'w*' --count 1 --timeout 5"

    def block(self, command: str) -> list[str]:
        """What the page shows for a command."""
        page = self.PAGE.read_text("utf-8")
        assert f"$ {command}\n" in page
        return page.partition(f"$ {command}\n")[2].partition("```")[0].splitlines()

    def arguments(self, command: str, host: str) -> list[str]:
        return shlex.split(command.replace("localhost:8080", host))[1:]

    @pytest.mark.parametrize(("command", "code"), [(INFO, 0), (JSON, 0), (WRONG, 1)])
    def test_on_a_terminal(self, host: str, command: str, code: int) -> None:
        with Terminal(*self.arguments(command, host)) as terminal:
            assert terminal.wait() == code
        assert [text.rstrip() for text in terminal.text.splitlines()] == self.block(command)

    def test_in_a_pipe(self, host: str) -> None:
        done = run(*self.arguments(self.INFO_PIPED.removesuffix(" | cat"), host))
        assert done.stdout.splitlines() == self.block(self.INFO_PIPED)

    def test_listening_ends_by_itself(self, host: str) -> None:
        with Terminal(*self.arguments(self.LISTEN, host)) as terminal:
            terminal.wait_for("listening")
            run(*self.arguments(self.JSON, host))
            assert terminal.wait() == 0
        note, message = terminal.text.splitlines()
        time = len("18:37:07")
        shown = self.block(self.LISTEN)
        assert [note, message[time:].rstrip()] == [shown[0], shown[1][time:]]
