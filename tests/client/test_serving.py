"""What the server calls of a client: with a server of ours, and with servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from yarl import URL

from openapi.client import Client
from openapi.errors import CallFailed, ConnectionClosed, DeclarationError, ErrorCode, RpcError
from tests.client.servers import Add, Peer, Scripted, Sum, connect_once, connection_of


@dataclass
class Answer:
    yes: bool


async def add(payload: Add) -> Sum:
    return Sum(payload.a + payload.b)


async def echo(payload):  # type: ignore[no-untyped-def] # as users write it
    return payload


def asking(client: Client, method: str, payload: object = None, **more: Any) -> Any:
    """Have the server call this client, and return what it got."""
    payload = {} if payload is None else payload
    return client.call("ask", {"method": method, "payload": payload, **more})


class TestHandlers:
    async def test_types_come_in_and_go_out(self, client: Client) -> None:
        client.serve("add", add)
        assert await asking(client, "add", {"a": 1, "b": 2}) == {"sum": 3}

    async def test_without_annotations_it_is_dictionaries(self, client: Client) -> None:
        client.serve("echo", echo)
        assert await asking(client, "echo") == {}
        assert await asking(client, "echo", {"a": [1]}) == {"a": [1]}

    @pytest.mark.parametrize("hint", [Any, dict, dict[str, Any], Mapping[str, Any]])
    async def test_an_annotation_that_says_nothing_is_none(
        self, client: Client, hint: object
    ) -> None:
        async def handler(payload: Any) -> Any:
            return [payload]

        handler.__annotations__.update(payload=hint)
        client.serve("echo", handler)
        assert await asking(client, "echo", {"a": 1}) == [{"a": 1}]

    async def test_a_method_of_an_object_and_a_partial_are_functions(self, client: Client) -> None:
        class Adder:
            async def add(self, payload: Add, *, more: int = 0) -> Sum:
                return Sum(payload.a + payload.b + more)

        client.serve("add", Adder().add)
        assert await asking(client, "add", {"a": 1, "b": 2}) == {"sum": 3}
        client.serve("add", partial(Adder().add, more=10))
        assert await asking(client, "add", {"a": 1, "b": 2}) == {"sum": 13}

    async def test_a_payload_that_does_not_fit_does_not_reach_it(self, client: Client) -> None:
        client.serve("add", add)
        with pytest.raises(CallFailed) as caught:
            await asking(client, "add", {"a": "1", "c": 2})
        assert caught.value.code == ErrorCode.INVALID_PARAMETERS
        assert caught.value.errors is not None
        assert set(caught.value.errors) == {"a", "b", "c"}

    async def test_its_own_refusal_is_what_the_server_gets(self, client: Client) -> None:
        async def refuse(payload: dict[str, Any]) -> None:
            raise RpcError(7, "no", data={"why": 1})

        client.serve("confirm", refuse)
        with pytest.raises(CallFailed, match=r"no \(7\)") as caught:
            await asking(client, "confirm")
        assert caught.value.data == {"why": 1}

    @pytest.mark.parametrize("result", [object(), {"sum": "1"}, ZeroDivisionError("secret")])
    async def test_any_other_failure_is_an_id_that_the_log_has_too(
        self, client: Client, caplog: pytest.LogCaptureFixture, result: object
    ) -> None:
        async def fail(payload: dict[str, Any]) -> Sum:
            if isinstance(result, Exception):
                raise result
            return result  # type: ignore[return-value] # that is what is tested

        client.serve("confirm", fail)
        with pytest.raises(CallFailed) as caught:
            await asking(client, "confirm")
        assert caught.value.code == ErrorCode.INTERNAL_ERROR
        assert "secret" not in str(caught.value)
        assert isinstance(caught.value.data, dict)
        assert [caught.value.data["error_id"] in text for text in caplog.messages] == [True]

    async def test_what_nobody_serves_is_not_there(self, client: Client) -> None:
        with pytest.raises(CallFailed) as caught:
            await asking(client, "confirm")
        assert caught.value.code == ErrorCode.METHOD_NOT_FOUND
        assert caught.value.errors == {"method": "confirm method not available"}

    async def test_a_later_handler_replaces_an_earlier_one(self, client: Client) -> None:
        take_back = client.serve("echo", add)
        client.serve("echo", echo)
        take_back()  # too late: it serves no more
        assert await asking(client, "echo", {"a": 1}) == {"a": 1}

    async def test_a_handler_is_taken_back(self, client: Client) -> None:
        client.serve("add", add)
        take_back = client.serve("echo", echo)
        for _ in range(2):
            take_back()
        with pytest.raises(CallFailed, match="method not available"):
            await asking(client, "echo")
        assert await asking(client, "add", {"a": 1, "b": 2}) == {"sum": 3}

    async def test_a_handler_may_call_the_server_itself(self, client: Client) -> None:
        async def confirm(payload: dict[str, Any]) -> Any:
            return await client.call("echo", payload)

        client.serve("confirm", confirm)
        calls = [asking(client, "confirm", {"n": n}) for n in range(20)]
        assert await asyncio.gather(*calls) == [{"n": n} for n in range(20)]

    async def test_a_notification_runs_it_and_is_not_answered(self, client: Client) -> None:
        async def note(payload: dict[str, Any]) -> None:
            noted.put_nowait(payload)

        noted: asyncio.Queue[Any] = asyncio.Queue()
        client.serve("note", note)
        await client.call("remark", {"method": "note", "payload": {"a": 1}})
        assert await noted.get() == {"a": 1}
        assert await client.call("echo") == {}
        assert client.ignored == 0

    async def test_a_notification_that_nobody_serves_means_nothing(self, client: Client) -> None:
        await client.call("remark", {"method": "note"})
        assert client.ignored == 1

    async def test_calls_of_on_connect_find_the_handlers_that_connect_was_given(
        self, url: URL
    ) -> None:
        async def name(payload: dict[str, Any]) -> str:
            return "Ada"

        async with connect_once(url.with_path("/greeting"), serve={"name": name}) as client:
            assert await client.call("greeting") == "Hello Ada"


async def plain(payload: int) -> None: ...
async def bare() -> None: ...
async def keyword(*, payload: Add) -> None: ...
async def greedy(payload: Add, more: int) -> None: ...
async def odd(payload: Add) -> complex:
    return 1j


async def several(payload: Add) -> AsyncIterator[int]:
    yield 1


class TestDeclarations:
    @pytest.mark.parametrize(
        ("handler", "text"),
        [
            (lambda payload: None, "the handler of 'confirm' is a coroutine function, write"),
            (several, "the handler of 'confirm' yields, and a handler has one result: `return` it"),
            (plain, "its payload must be an object, <class 'int'> is none"),
            (bare, r"it has no payload parameter, write `\(payload\)`"),
            (keyword, "it has no payload parameter"),
            (greedy, "it gets the payload and nothing else, remove 'more' or give it a default"),
            (odd, "the handler of 'confirm': result: "),
        ],
    )
    async def test_what_cannot_serve_is_refused_before_anything_is_connected(
        self, client: Client, handler: Callable[..., Any], text: str
    ) -> None:
        with pytest.raises(DeclarationError, match=text):
            client.serve("confirm", handler)
        with pytest.raises(DeclarationError, match=text):
            async with connect_once("ws://nowhere.invalid/", serve={"confirm": handler}):
                pass


class Slow:
    """A handler that waits, and tells how that ended."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[Any] = asyncio.Queue()
        self.ended: asyncio.Queue[type[BaseException] | None] = asyncio.Queue()
        self.gate = asyncio.Event()

    async def confirm(self, payload: dict[str, Any]) -> Any:
        self.started.put_nowait(payload)
        try:
            await self.gate.wait()
        except BaseException as exc:
            self.ended.put_nowait(type(exc))
            raise
        self.ended.put_nowait(None)
        return payload


class TestEnds:
    async def test_a_server_that_cancels_ends_the_handler(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({"id": "s1", "method": "confirm", "payload": {}})
            await slow.started.get()
            await peer.send({"id": "s1", "cancel": True})
            frames.put_nowait(await peer.received())
            await peer.gone()

        slow, frames = Slow(), asyncio.Queue[dict[str, Any]]()
        async with connect_once(await scripted(script), serve={"confirm": slow.confirm}) as client:
            frame = await frames.get()
            assert (frame["id"], frame["error"]["code"]) == ("s1", ErrorCode.CANCELLED)
            assert await slow.ended.get() is asyncio.CancelledError
            assert connection_of(client).peer.running == 0
            assert client.ignored == 0

    async def test_a_server_that_waits_no_longer_ends_the_handler(self, client: Client) -> None:
        slow = Slow()
        client.serve("confirm", slow.confirm)
        with pytest.raises(CallFailed):
            await asking(client, "confirm", timeout=0.01)
        assert await slow.ended.get() is asyncio.CancelledError

    async def test_its_time_is_what_the_server_says(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({"id": "s1", "method": "confirm", "timeout": 10})
            frames.put_nowait(await peer.received())
            await peer.gone()

        slow, frames = Slow(), asyncio.Queue[dict[str, Any]]()
        async with connect_once(await scripted(script), serve={"confirm": slow.confirm}):
            frame = await frames.get()
            assert frame["error"]["code"] == ErrorCode.DEADLINE_EXCEEDED
            assert await slow.ended.get() is asyncio.CancelledError

    async def test_the_end_of_the_connection_ends_the_handlers(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({"id": "s1", "method": "confirm"})
            await peer.send({"id": None, "method": "confirm"})
            await slow.started.get()
            await slow.started.get()
            await peer.ws.close(code=4000)

        slow = Slow()
        async with connect_once(await scripted(script), serve={"confirm": slow.confirm}) as client:
            assert (await client.wait_closed()).code == 4000
            assert [await slow.ended.get() for _ in range(2)] == [asyncio.CancelledError] * 2

    async def test_leaving_waits_for_what_a_handler_cleans_up(self, url: URL) -> None:
        async def confirm(payload: dict[str, Any]) -> None:
            try:
                started.set()
                await asyncio.Event().wait()
            finally:
                for _ in range(10):
                    await asyncio.sleep(0)
                cleaned.append(True)

        started, cleaned = asyncio.Event(), list[bool]()
        async with connect_once(url, serve={"confirm": confirm}) as client:
            asked = asyncio.create_task(asking(client, "confirm"))
            await started.wait()
        assert cleaned == [True]
        with pytest.raises(ConnectionClosed):
            await asked

    async def test_a_handler_may_close_the_client(self, url: URL) -> None:
        async def leave(payload: dict[str, Any]) -> None:
            await client.close()

        async with connect_once(url) as client:
            client.serve("leave", leave)
            with pytest.raises(ConnectionClosed, match="1000"):
                await asking(client, "leave")

    async def test_what_fails_behind_the_end_is_logged(
        self, scripted: Scripted, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def confirm(payload: dict[str, Any]) -> None:
            try:
                started.set()
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError

        async def script(peer: Peer) -> None:
            await peer.send({"id": "s1", "method": "confirm"})
            await started.wait()
            await peer.ws.close(code=4000)

        started = asyncio.Event()
        url = await scripted(script)
        async with connect_once(url, serve={"confirm": confirm}) as client:
            await client.wait_closed()
        assert [record.message[:29] for record in caplog.records if record.exc_info] == [
            "RPC method 'confirm' failed, "
        ]


class TestBounds:
    async def test_more_calls_than_sixty_four_are_refused(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            for n in range(65):
                await peer.send({"id": f"s{n}", "method": "confirm", "payload": {"n": n}})
            frames.put_nowait(await peer.received())
            slow.gate.set()
            frames.put_nowait([await peer.received() for _ in range(64)])
            await peer.gone()

        slow, frames = Slow(), asyncio.Queue[Any]()
        async with connect_once(await scripted(script), serve={"confirm": slow.confirm}):
            refusal = await frames.get()
            assert (refusal["id"], refusal["error"]["code"]) == ("s64", ErrorCode.TOO_MANY_CALLS)
            answers = {frame["id"]: frame["response"] for frame in await frames.get()}
            assert answers == {f"s{n}": {"n": n} for n in range(64)}

    async def test_answers_wait_for_a_server_that_reads_slowly(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            peer.transport.pause_reading()
            for n in range(40):
                await peer.send({"id": f"s{n}", "method": "large"})
            for _ in range(40):
                await served.get()
            sizes.append(connection_of(await entered).link.queued_bytes)
            peer.transport.resume_reading()
            for _ in range(40):
                assert len((await peer.received())["response"]) == 1_000_000
            done.set()
            await peer.gone()

        async def large(payload: dict[str, Any]) -> str:
            served.put_nowait(None)
            return "x" * 1_000_000

        served, sizes, done = asyncio.Queue[None](), list[int](), asyncio.Event()
        entered: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        async with connect_once(await scripted(script), serve={"large": large}) as client:
            entered.set_result(client)
            await done.wait()
        assert sizes[0] < 3_000_000

    async def test_a_server_that_asks_and_never_reads_is_cut_off(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            peer.transport.pause_reading()
            method = "x" * 1000
            try:
                while True:
                    await peer.send({"id": "s1", "method": method})
            except ConnectionError:
                pass

        async with connect_once(await scripted(script), queue_bytes=10_000) as client:
            closed = await client.wait_closed()
            assert (closed.code, closed.reason) == (4008, "the server reads too slowly")
            assert connection_of(client).link.queued_bytes < 25_000
            with pytest.raises(ConnectionClosed, match="4008"):
                await client.call("echo")

    async def test_a_server_that_reads_in_the_end_may_ask_while_it_does_not(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(3):
                peer.transport.pause_reading()
                paused.put_nowait(None)
                await full.get()
                for n in range(4):
                    await peer.send({"id": f"s{n}", "method": "x" * 1000})
                await peer.send({"id": None, "method": "note"})
                await noted.get()
                peer.transport.resume_reading()
                refusals = 0
                while refusals < 4:
                    refusals += "error" in await peer.received()
            paused.put_nowait(None)
            await peer.gone()

        async def note(payload: dict[str, Any]) -> None:
            noted.put_nowait(None)

        paused, full, noted = (asyncio.Queue[None]() for _ in range(3))
        url = await scripted(script, max_msg_size=0)
        async with connect_once(url, serve={"note": note}, queue_bytes=10_000) as client:
            for _ in range(3):
                await paused.get()
                for size in (5_000, 20_000_000):
                    await client.notify("text", {"text": "x" * size})
                full.put_nowait(None)
            await paused.get()
            assert client.closed is None
