"""What becomes of calls, streams and handlers when the connection ends that they are on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from openapi.client import Client, Position
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode
from openapi.testing import virtual_time
from tests.client.begun import all_wait, begun
from tests.client.door import Door, VirtualDoor, Visit

ENDS: Final = pytest.mark.parametrize("end", ["cut", 1001, 1012, 4000])

Asking = Callable[[Client], Awaitable[object]]

PAGE: Final = {"messages": [], "offset": 0, "epoch": "e"}

IDEMPOTENT: Final[dict[str, tuple[str, Asking, object]]] = {
    "a call that is marked": ("m", lambda client: client.call("m", idempotent=True), 1),
    "history": ("history", lambda client: client.history("a"), PAGE),
    "presence": ("presence", lambda client: client.presence("a"), {"members": []}),
    "publish with a key": ("publish", lambda client: client.publish("a", "x", 1, key="k"), {}),
}

OTHERS: Final[dict[str, tuple[str, Asking]]] = {
    "a call": ("m", lambda client: client.call("m")),
    "publish": ("publish", lambda client: client.publish("a", "x", 1)),
}

marked: Final = pytest.mark.parametrize("what", IDEMPOTENT)
unmarked: Final = pytest.mark.parametrize("what", OTHERS)


async def leave_no_room(door: VirtualDoor, client: Client) -> None:
    """Have the network halt, and let the client say more than it may queue."""
    door.link.to_server.halted = True
    with pytest.raises(TimeoutError):
        while True:
            await asyncio.wait_for(client.notify("fill", {"x": "x" * 10_000}), 1)


async def ended(visit: Visit, end: str | int) -> None:
    """End a connection."""
    if isinstance(end, int):
        await visit.close(end)
    else:
        visit.cut()


class TestThatWasSent:
    @ENDS
    @unmarked
    async def test_fails_and_says_that_it_may_have_run(self, what: str, end: str | int) -> None:
        method, ask = OTHERS[what]
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(ask(client))
            await visit.asked(method)
            await ended(visit, end)
            with pytest.raises(ConnectionClosed, match="the call may have run") as caught:
                await asking
            assert caught.value.may_have_run
            again = await door.visit()
            asking = begun(client.call("n"))
            await again.agree(await again.asked("n"), 1)
            assert await asking == 1

    @ENDS
    @marked
    async def test_and_is_idempotent_is_sent_again_until_it_is_answered(
        self, what: str, end: str | int
    ) -> None:
        method, ask, response = IDEMPOTENT[what]
        async with Door() as door, door.connect() as client:
            asking = begun(ask(client))
            payloads = []
            for _ in range(3):
                visit = await door.visit()
                payloads.append((await visit.asked(method))["payload"])
                await ended(visit, end)
            visit = await door.visit()
            call = await visit.asked(method)
            await visit.agree(call, response)
            await asking
            assert payloads == [call["payload"]] * 3
            visit.said_nothing_else()

    @virtual_time
    async def test_and_is_sent_again_has_what_is_left_of_its_time(self) -> None:
        async with VirtualDoor() as door, door.connect() as client:
            asking = begun(client.call("m", timeout=30, idempotent=True))
            visit = await door.visit()
            assert (await visit.asked("m"))["timeout"] == 30_000
            await asyncio.sleep(12)
            again = await door.lose(visit)
            call = await again.asked("m")
            assert 17_000 < call["timeout"] <= 18_000
            await again.agree(call, "done")
            assert await asking == "done"

    @virtual_time
    async def test_and_is_sent_again_ends_when_all_its_time_is_over(self) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, door.connect() as client:
            asking = begun(client.call("m", timeout=30, idempotent=True))
            began = loop.time()
            for _ in range(2):
                visit = await door.visit()
                await visit.asked("m")
                await asyncio.sleep(12)
                visit.cut()
            with pytest.raises(TimeoutError, match="'m' was not answered within 30 seconds"):
                await asking
            assert loop.time() - began == 30

    async def test_and_is_to_be_sent_again_may_be_given_up_meanwhile(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(client.call("m", idempotent=True))
            await visit.asked("m")
            door.open.clear()
            visit.cut()
            await door.knocked(2)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            door.open.set()
            again = await door.visit()
            await again.hears_only(client)

    @pytest.mark.parametrize("status", [403, 503])
    async def test_says_so_when_the_client_is_closed_before_it_is_sent_again(
        self, status: int
    ) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(client.call("m", idempotent=True))
            await visit.asked("m")
            door.refuse(status, Retry_After="3600")
            visit.cut()
            await door.knocked(2)
            await client.close()
            with pytest.raises(ConnectionClosed) as caught:
                await asking
            assert caught.value.may_have_run

    async def test_says_so_when_nothing_waits_for_the_next_connection(self) -> None:
        async with Door() as door, door.connect(offline="fail") as client:
            visit = await door.visit()
            asking = begun(client.call("m", idempotent=True))
            await visit.asked("m")
            visit.cut()
            with pytest.raises(ConnectionClosed) as caught:
                await asking
            assert caught.value.may_have_run


class TestThatWaitsForItsTurn:
    @ENDS
    async def test_is_sent_on_the_next_connection_and_once(self, end: str | int) -> None:
        async with Door() as door, door.connect(calls=1) as client:
            visit = await door.visit()
            first = begun(client.call("first"))
            await visit.asked("first")
            second = begun(client.call("second"))
            items = begun(anext(client.stream("third")))
            await all_wait()
            await ended(visit, end)
            with pytest.raises(ConnectionClosed):
                await first
            again = await door.visit()
            await again.agree(await again.asked("second"), 2)
            assert await second == 2
            await again.item(await again.asked("third"), 3)
            assert await items == 3
            visit.said_nothing_else()
            again.said_nothing_else()

    @virtual_time
    async def test_or_for_room_is_sent_on_the_next_connection_and_once(self) -> None:
        async with VirtualDoor() as door, door.connect(queue_bytes=1000) as client:
            visit = await door.visit()
            await leave_no_room(door, client)
            asking = [begun(client.call("m")), begun(client.notify("n"))]
            await asyncio.sleep(1)
            visit.cut()
            door.link.to_server.halted = False
            again = await door.visit()
            await again.agree(await again.asked("m"), "done")
            await again.asked("n")
            assert await asyncio.gather(*asking) == ["done", None]

    @virtual_time
    async def test_or_for_room_fails_when_the_client_is_closed_for_good(self) -> None:
        async with VirtualDoor() as door, door.connect(queue_bytes=1000) as client:
            visit = await door.visit()
            await leave_no_room(door, client)
            asking = [
                begun(client.call("m")),
                begun(client.notify("n")),
                begun(anext(client.stream("o"))),
                begun(client.subscribe("a").__aenter__()),
            ]
            await asyncio.sleep(1)
            closing = begun(visit.close(4501))
            for each in asking:
                with pytest.raises(ConnectionClosed) as caught:
                    await each
                assert (caught.value.code, caught.value.may_have_run) == (4501, False)
            door.link.to_server.halted = False
            await closing


class TestThatIsRefusedForAWhile:
    @marked
    @virtual_time
    async def test_is_sent_again_behind_that_while_if_it_is_idempotent(self, what: str) -> None:
        loop = asyncio.get_running_loop()
        method, ask, response = IDEMPOTENT[what]
        async with VirtualDoor() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(ask(client))
            began = loop.time()
            for _ in range(2):
                await visit.refuse(await visit.asked(method), 7, retry_after=5000)
            call = await visit.asked(method)
            assert 10 <= loop.time() - began < 12
            await visit.agree(call, response)
            await asking

    @unmarked
    async def test_fails_if_it_is_not(self, what: str) -> None:
        method, ask = OTHERS[what]
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(ask(client))
            await visit.refuse(await visit.asked(method), 7, retry_after=5000)
            with pytest.raises(CallFailed) as caught:
                await asking
            assert (caught.value.code, caught.value.retry_after) == (7, 5000)

    @marked
    async def test_fails_though_it_is_idempotent_where_no_time_is_said(self, what: str) -> None:
        method, ask, _ = IDEMPOTENT[what]
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(ask(client))
            await visit.refuse(await visit.asked(method), 7)
            with pytest.raises(CallFailed):
                await asking

    @virtual_time
    async def test_is_not_waited_for_longer_than_its_time(self) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(client.call("m", timeout=10, idempotent=True))
            began = loop.time()
            await visit.refuse(await visit.asked("m"), 7, retry_after=60_000)
            with pytest.raises(TimeoutError):
                await asking
            assert loop.time() - began == 10

    @virtual_time
    async def test_is_sent_on_the_connection_that_there_is_then(self) -> None:
        async with VirtualDoor() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(client.call("m", idempotent=True))
            await visit.refuse(await visit.asked("m"), 7, retry_after=10_000)
            again = await door.lose(visit)
            await again.agree(await again.asked("m"), "done")
            assert await asking == "done"


class TestAtAServerThatIsAboutToClose:
    @pytest.mark.parametrize("idempotent", [True, False])
    @pytest.mark.parametrize("fields", [{}, {"retry_after": 3_600_000}])
    async def test_is_refused_and_sent_on_the_next_connection(
        self, idempotent: bool, fields: dict[str, int]
    ) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            asking = begun(client.call("m", idempotent=idempotent))
            call = await visit.asked("m")
            await visit.reconnect()
            await visit.refuse(call, ErrorCode.SHUTTING_DOWN, **fields)
            again = await door.visit()
            await again.agree(await again.asked("m"), "done")
            assert await asking == "done"
            again.said_nothing_else()

    @pytest.mark.parametrize("fields", [{}, {"retry_after": 3_600_000}])
    async def test_or_begins_a_stream_is_refused_and_sent_on_the_next_connection(
        self, fields: dict[str, int]
    ) -> None:
        async with Door() as door, door.connect() as client:
            stream = client.stream("m", {"a": 1})
            first = begun(anext(stream))
            for _ in range(2):
                visit = await door.visit()
                call = await visit.asked("m")
                await visit.reconnect()
                await visit.refuse(call, ErrorCode.SHUTTING_DOWN, **fields)
            again = await door.visit()
            call = await again.asked("m")
            assert call["payload"] == {"a": 1}
            await again.item(call, 1, 1)
            await again.agree(call, "done")
            assert await first == 1
            assert [item async for item in stream] == []
            assert stream.response == "done"

    async def test_begins_a_stream_that_is_left_meanwhile_is_sent_nowhere(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            stream = client.stream("m")
            first = begun(anext(stream))
            call = await visit.asked("m")
            door.open.clear()
            await visit.reconnect()
            await visit.refuse(call, ErrorCode.SHUTTING_DOWN)
            await door.knocked(2)
            await stream.aclose()
            with pytest.raises(StopAsyncIteration):
                await first
            door.open.set()
            again = await door.visit()
            await again.hears_only(client)

    async def test_begins_a_stream_and_there_is_no_other_ends_with_that(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            stream = client.stream("m")
            first = begun(anext(stream))
            call = await visit.asked("m")
            door.refuse(403)
            await visit.reconnect()
            await visit.refuse(call, ErrorCode.SHUTTING_DOWN)
            await door.knocked(2)
            await visit.close(4501)
            with pytest.raises(ConnectionClosed) as caught:
                await first
            assert caught.value.code == 4501

    async def test_is_not_even_sent(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            door.open.clear()
            await visit.reconnect()
            await door.knocked(2)
            asking = [
                begun(client.call("a")),
                begun(client.notify("b")),
                begun(anext(client.stream("c"))),
                begun(client.subscribe("d").__aenter__()),
            ]
            door.open.set()
            again = await door.visit()
            calls = {(call := await again.received())["method"]: call for _ in range(4)}
            assert calls.keys() == {"a", "b", "c", "subscribe"}
            await again.agree(calls["a"], 1)
            await again.item(calls["c"], 2)
            await again.agree(calls["subscribe"], {})
            assert (await asyncio.gather(*asking))[:3] == [1, None, 2]
            assert await visit.left() == 1000
            visit.said_nothing_else()

    async def test_the_error_is_an_error_like_others_where_the_server_stays(self) -> None:
        async with Door() as door, door.connect(reconnect=None) as client:
            visit = await door.visit()
            asking = begun(client.call("m"))
            call = await visit.asked("m")
            await visit.reconnect()
            await visit.refuse(call, ErrorCode.SHUTTING_DOWN, retry_after=100)
            with pytest.raises(CallFailed) as caught:
                await asking
            assert caught.value.code == ErrorCode.SHUTTING_DOWN


class TestAStream:
    @ENDS
    async def test_ends_behind_what_came_and_is_not_begun_again(self, end: str | int) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            stream = client.stream("m")
            first = begun(anext(stream))
            call = await visit.asked("m")
            for number in range(3):
                await visit.item(call, number, number + 1)
            assert await first == 0
            await ended(visit, end)
            again = await door.visit()
            assert [await anext(stream), await anext(stream)] == [1, 2]
            with pytest.raises(ConnectionClosed) as caught:
                await anext(stream)
            assert caught.value.may_have_run
            await again.hears_only(client)

    async def test_that_is_read_first_while_there_is_no_connection_waits_for_one(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            door.open.clear()
            visit.cut()
            await door.knocked(2)
            item = begun(anext(client.stream("m")))
            door.open.set()
            again = await door.visit()
            await again.item(await again.asked("m"), 1)
            assert await item == 1


class TestWhatTheServerCalls:
    async def test_is_served_on_each_connection(self) -> None:
        async with Door() as door:

            async def echo(payload: dict[str, Any]) -> Any:
                return payload

            async with door.connect(serve={"echo": echo}) as client:
                take_back = client.serve("later", echo)
                for number in range(3):
                    visit = await door.visit()
                    for method in ("echo", "later"):
                        await visit.send({"id": "s1", "method": method, "payload": {"n": number}})
                        assert (await visit.received())["response"] == {"n": number}
                    visit.cut()
                visit = await door.visit()
                take_back()
                await visit.send({"id": "s2", "method": "later", "payload": {}})
                assert (await visit.received())["error"]["code"] == ErrorCode.METHOD_NOT_FOUND

    @ENDS
    async def test_is_cancelled_with_its_connection(self, end: str | int) -> None:
        gone: asyncio.Queue[str] = asyncio.Queue()
        begun = asyncio.Event()

        async def wait(payload: dict[str, Any]) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                gone.put_nowait("cancelled")
                raise

        async with Door() as door, door.connect(serve={"wait": wait}):
            visit = await door.visit()
            await visit.send({"id": "s1", "method": "wait", "payload": {}})
            await begun.wait()
            await ended(visit, end)
            assert await gone.get() == "cancelled"
            again = await door.visit()
            again.said_nothing_else()

    async def test_may_call_the_server_and_is_answered_across_a_move(self) -> None:
        async with Door() as door, door.connect() as client:

            async def ask(payload: dict[str, Any]) -> Any:
                return await client.call("question", idempotent=True)

            client.serve("ask", ask)
            visit = await door.visit()
            await visit.send({"id": "s1", "method": "ask", "payload": {}})
            question = await visit.asked("question")
            again = await door.move(visit)
            await visit.agree(question, 42)
            assert (await visit.received())["response"] == 42
            assert await visit.left() == 1000
            again.said_nothing_else()


class TestPublish:
    async def test_with_a_key_keeps_its_key_and_has_the_position_of_the_first_time(self) -> None:
        async with Door() as door, door.connect() as client:
            publishing = begun(client.publish("a", "x", 1, key="k"))
            for _ in range(2):
                visit = await door.visit()
                payload = {"channel": "a", "event": "x", "data": 1, "key": "k"}
                assert (await visit.asked("publish"))["payload"] == payload
                visit.cut()
            visit = await door.visit()
            await visit.answer({"offset": 3, "epoch": "e"})
            assert await publishing == Position(3, "e")
