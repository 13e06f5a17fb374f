"""Streams: with a server of ours, and with servers that misbehave."""

import asyncio
import gc
from typing import Any

import pytest
from yarl import URL

from openapi.client import Client, Stream, TooSlow
from openapi.errors import (
    CallFailed,
    ConnectionClosed,
    DeclarationError,
    ErrorCode,
    InvalidData,
    RpcError,
    UnexpectedData,
    Unserializable,
)
from openapi.protocol.framing import text_frame
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.native import JSON_CLIENT
from openapi.protocol.session import Session
from openapi.rpc.peer import Peer
from tests.client.servers import Endpoint, Scripted, Sum, beginning, connect_once, connection_of
from tests.client.servers import Peer as Server


def feed(*items: object) -> None:
    """What the method ``feed`` yields next."""
    for item in items:
        Endpoint.fed.put_nowait(item)


class TestReading:
    async def test_items_come_in_order_and_then_it_ends(self, client: Client) -> None:
        feed(1, {"a": [2]}, "three", ...)
        assert [item async for item in client.stream("feed")] == [1, {"a": [2]}, "three"]

    async def test_an_item_comes_before_the_next_is_there(self, client: Client) -> None:
        async with client.stream("feed") as items:
            for n in range(3):
                feed(n)
                assert await anext(items) == n

    async def test_the_method_gets_its_payload(self, client: Client) -> None:
        items = client.stream("flow", {"times": 3, "size": 2})
        assert [item async for item in items] == ["xx"] * 3

    async def test_items_have_their_type(self, client: Client) -> None:
        feed({"sum": 1}, ...)
        assert [item async for item in client.stream("feed", type=Sum)] == [Sum(1)]

    async def test_an_item_of_another_type_is_an_error_behind_which_the_next_is_read(
        self, client: Client
    ) -> None:
        feed({"sum": "1"}, 2, {"sum": 3}, ...)
        async with client.stream("feed", type=Sum) as sums:
            with pytest.raises(UnexpectedData) as caught:
                await anext(sums)
            assert list(caught.value.errors) == ["sum"]
            assert isinstance(caught.value.__cause__, InvalidData)
            with pytest.raises(UnexpectedData):
                await anext(sums)
            assert await anext(sums) == Sum(3)
            with pytest.raises(StopAsyncIteration):
                await anext(sums)

    async def test_what_is_no_type_is_refused_at_once(self, client: Client) -> None:
        with pytest.raises(DeclarationError):
            client.stream("feed", type=complex)

    async def test_its_end_stays_its_end(self, client: Client) -> None:
        feed(1, ...)
        items = client.stream("feed")
        assert [item async for item in items] == [1]
        assert [item async for item in items] == []
        assert items.response is None

    async def test_a_method_that_is_no_stream_has_a_response_and_no_items(
        self, client: Client
    ) -> None:
        answer = client.stream("add", {"a": 1, "b": 2}, type=str)
        assert answer.response is None
        assert [item async for item in answer] == []
        assert answer.response == {"sum": 3}

    async def test_what_it_was_before_it_failed_is_read(self, client: Client) -> None:
        feed(1, 2, RpcError(7, "no", data={"why": 1}))
        items = client.stream("feed")
        assert [await anext(items) for _ in range(2)] == [1, 2]
        for _ in range(2):
            with pytest.raises(CallFailed, match=r"no \(7\)") as caught:
                await anext(items)
            assert caught.value.data == {"why": 1}

    async def test_a_method_that_is_not_there_is_a_failed_call(self, client: Client) -> None:
        with pytest.raises(CallFailed) as caught:
            async for _ in client.stream("nothing"):
                pass
        assert caught.value.code == ErrorCode.METHOD_NOT_FOUND

    async def test_nothing_is_called_before_it_is_entered_or_read(self, client: Client) -> None:
        client.stream("feed")
        async with client.stream("feed", {"n": 1}):
            await Endpoint.waiting.wait()
        assert len(connection_of(client).session.pending) == 1

    async def test_a_payload_without_a_json_form_is_not_sent(self, client: Client) -> None:
        items = client.stream("feed", {"a": object()})
        for _ in range(2):
            with pytest.raises(Unserializable):
                await anext(items)
        assert await client.call("echo") == {}
        assert not Endpoint.waiting.is_set()

    async def test_several_readers_share_its_items(self, client: Client) -> None:
        items = client.stream("feed")
        readers = [asyncio.create_task(_all(items)) for _ in range(3)]
        feed(*range(30), ...)
        assert sorted(sum(await asyncio.gather(*readers), [])) == list(range(30))

    async def test_a_burst_of_small_items_is_not_too_much_for_a_reader_that_reads(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Server) -> None:
            id = (await peer.received())["id"]
            frames = [b'{"id": %d, "item": %d, "seq": %d}' % (id, n, n + 1) for n in range(5000)]
            peer.transport.write(b"".join(map(text_frame, frames)))
            await peer.send({"id": id, "response": None})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            items = client.stream("feed", queue_bytes=50_000)
            assert await _all(items) == list(range(5000))

    async def test_streams_run_beside_each_other_and_beside_calls(self, client: Client) -> None:
        async def read(size: int) -> set[int]:
            items = client.stream("flow", {"times": 200, "size": size})
            return {len(item) async for item in items}

        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(read(size)) for size in range(10)]
            calls = [group.create_task(client.call("echo", {"n": n})) for n in range(10)]
        assert [task.result() for task in reading] == [{size} for size in range(10)]
        assert [task.result() for task in calls] == [{"n": n} for n in range(10)]


class TestLeaving:
    async def test_leaving_the_block_ends_the_method(self, client: Client) -> None:
        async with client.stream("feed") as items:
            feed(1)
            assert await anext(items) == 1
        assert await Endpoint.ended.get() is asyncio.CancelledError
        assert [item async for item in items] == []
        assert await client.call("echo") == {}
        assert len(connection_of(client).session.pending) == 0

    async def test_a_failure_in_the_block_ends_the_method(self, client: Client) -> None:
        with pytest.raises(ZeroDivisionError):
            async with client.stream("feed"):
                await Endpoint.waiting.wait()
                raise ZeroDivisionError
        assert await Endpoint.ended.get() is asyncio.CancelledError

    async def test_to_break_is_enough(self, client: Client) -> None:
        feed(1)
        async for item in client.stream("feed"):
            assert item == 1
            break
        assert await Endpoint.ended.get() is asyncio.CancelledError
        assert client.ignored == 0

    async def test_it_may_be_lost_in_another_thread(self, client: Client) -> None:
        feed(1)
        cycle: list[object] = [client.stream("feed")]
        cycle.append(cycle)
        assert isinstance(cycle[0], Stream)
        assert await anext(cycle[0]) == 1
        del cycle
        await asyncio.to_thread(gc.collect)
        assert await Endpoint.ended.get() is asyncio.CancelledError

    def test_it_may_be_lost_when_its_loop_is_gone(self) -> None:
        async def begin() -> Stream[Any]:
            session = Session(MethodTable({}), send=sent.append, codec=JSON_CLIENT, limits=Limits())
            stream: Stream[Any] = Stream(
                beginning(Peer(session, invoke=_none, asked=1), _none),
                "feed",
                None,
                decode=bytes,
                read=bytes,
                timeout=None,
                queue_bytes=1000,
            )
            return await stream.__aenter__()

        sent: list[bytes] = []
        stream = asyncio.run(begin())
        assert len(sent) == 1
        del stream  # an exception here would be a warning, and warnings are errors

    async def test_whoever_waits_for_an_item_is_cancelled_and_the_method_ends(
        self, client: Client
    ) -> None:
        feed(1, 2)
        items = client.stream("feed")
        assert await anext(items) == 1
        reader = asyncio.create_task(_all(items))
        await client.call("echo")  # and the second item is read
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert await Endpoint.ended.get() is asyncio.CancelledError
        with pytest.raises(CallFailed, match="Its reader was cancelled"):
            await anext(items)

    async def test_it_is_left_at_any_time_and_twice(self, client: Client) -> None:
        items = client.stream("feed")
        await items.aclose()
        assert [item async for item in items] == []
        async with items:
            pass
        feed(1, ...)
        items = client.stream("feed")
        assert await _all(items) == [1]
        await items.aclose()
        assert await client.call("echo") == {}

    async def test_what_is_queued_when_it_is_left_is_still_read(self, client: Client) -> None:
        async with client.stream("feed") as items:
            feed(1, 2)
            await client.call("echo")
            await client.call("echo")
            assert items.queued_bytes > 0
        assert await _all(items) == [1, 2]
        assert items.queued_bytes == 0

    async def test_it_is_left_while_it_waits_for_its_turn(self, url: URL) -> None:
        async with connect_once(url, calls=1) as client:
            async with client.stream("feed"):
                items = client.stream("flow", {"times": 1, "size": 1})
                reader = asyncio.create_task(_all(items))
                await asyncio.sleep(0)  # it begins to wait
                await items.aclose()
            assert await reader == []
            assert await client.call("echo") == {}

    async def test_whoever_waits_for_its_turn_can_be_cancelled(self, url: URL) -> None:
        async with connect_once(url, calls=1) as client:
            async with client.stream("feed"):
                reader = asyncio.create_task(_all(client.stream("feed")))
                await asyncio.sleep(0)  # it begins to wait
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader
            assert await client.call("echo") == {}


class TestTooSlow:
    async def test_a_reader_that_is_too_slow_reads_what_it_has_and_then_is_told(
        self, client: Client
    ) -> None:
        items = client.stream("flow", {"times": 10_000, "size": 1000}, queue_bytes=10_000)
        async with items:
            assert await Endpoint.ended.get() in (asyncio.CancelledError, GeneratorExit)
            assert 8_000 < items.queued_bytes <= 10_000
            assert [len(await anext(items)) for _ in range(7)] == [1000] * 7
            for _ in range(2):
                with pytest.raises(TooSlow, match="'flow' ended: more than 10000 bytes of items"):
                    await anext(items)
        assert await client.call("echo") == {}

    async def test_an_item_that_is_larger_than_may_wait_is_too_much(self, client: Client) -> None:
        with pytest.raises(TooSlow):
            await _all(client.stream("flow", {"times": 1, "size": 2000}, queue_bytes=1000))


class TestTime:
    async def test_the_server_is_told_how_long_an_item_may_take(self, scripted: Scripted) -> None:
        async def script(peer: Server) -> None:
            calls.put_nowait(await peer.answer())
            await peer.gone()

        calls: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        async with connect_once(await scripted(script)) as client:
            assert await _all(client.stream("feed", timeout=1.5)) == []
        assert await calls.get() == {"id": 1, "method": "feed", "payload": {}, "timeout": 1500}

    async def test_no_item_for_so_long_is_a_timeout_and_the_method_ends(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Server) -> None:
            call = await peer.received()
            await peer.item(call, "one")
            frames.put_nowait(await peer.received())
            await peer.gone()

        frames: asyncio.Queue[Any] = asyncio.Queue()
        async with connect_once(await scripted(script)) as client:
            items = client.stream("feed", timeout=0.05)
            assert await anext(items) == "one"
            for _ in range(2):
                with pytest.raises(TimeoutError, match=r"'feed' sent no item within 0.05 seconds"):
                    await anext(items)
        assert await frames.get() == {"id": 1, "cancel": True}

    async def test_the_servers_own_deadline_is_a_failed_call(self, scripted: Scripted) -> None:
        async def script(peer: Server) -> None:
            call = await peer.received()
            error = {"code": -32005, "message": "It took longer than 1 seconds"}
            await peer.send({"id": call["id"], "error": error})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            with pytest.raises(CallFailed) as caught:
                await _all(client.stream("feed"))
        assert caught.value.code == ErrorCode.DEADLINE_EXCEEDED

    async def test_its_turn_may_take_no_longer_either(self, url: URL) -> None:
        async with connect_once(url, calls=1) as client, client.stream("feed"):
            with pytest.raises(TimeoutError, match="'flow' was not called within 0.01 seconds"):
                async with client.stream("flow", timeout=0.01):
                    pass
            with pytest.raises(TimeoutError, match="'flow' sent no item within 0.01 seconds"):
                await anext(client.stream("flow", timeout=0.01))


class TestTheEnd:
    async def test_a_connection_that_breaks_ends_it_behind_what_came(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Server) -> None:
            call = await peer.received()
            await peer.item(call, 1)
            await peer.item(call, 2)
            await peer.ws.close(code=4000, message=b"bye")

        async with connect_once(await scripted(script)) as client:
            items = client.stream("feed")
            assert [await anext(items) for _ in range(2)] == [1, 2]
            for _ in range(2):
                with pytest.raises(ConnectionClosed, match="4000, bye"):
                    await anext(items)

    async def test_closing_the_client_does_not_look_like_the_end_of_the_stream(
        self, client: Client
    ) -> None:
        async with client.stream("feed") as items:
            reader = asyncio.create_task(_all(items))
            await Endpoint.waiting.wait()
            await client.close()
            with pytest.raises(ConnectionClosed, match="1000"):
                await reader
        assert await Endpoint.ended.get() is asyncio.CancelledError

    async def test_a_closed_client_streams_nothing(self, url: URL) -> None:
        async with connect_once(url) as client:
            pass
        with pytest.raises(ConnectionClosed, match="1000"):
            async with client.stream("feed"):
                pass
        with pytest.raises(ConnectionClosed, match="1000"):
            await anext(client.stream("feed"))


class TestOddServers:
    async def test_a_stream_of_items_where_a_call_waits_for_its_response_is_unexpected(
        self, client: Client
    ) -> None:
        feed(1)
        with pytest.raises(UnexpectedData, match="'feed' answers with a stream of items"):
            await client.call("feed")
        assert await Endpoint.ended.get() is asyncio.CancelledError
        assert await client.call("echo") == {}
        assert client.ignored == 0

    async def test_items_behind_the_end_and_of_no_call_are_passed_over(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Server) -> None:
            call = await peer.received()
            await peer.item(call, 1)
            await peer.send({"id": call["id"], "response": None})
            await peer.item(call, 2, 2)
            await peer.item({"id": 77, "method": "feed"}, 3)
            await peer.item({"id": "s1", "method": "feed"}, 4)
            await peer.send({"id": call["id"], "error": {"code": 1, "message": "again"}})
            await peer.answer("next")
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            assert await _all(client.stream("feed")) == [1]
            assert await client.call("echo") == "next"
            assert client.ignored == 4

    async def test_a_server_that_does_not_hear_a_cancel_keeps_the_calls_place(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Server) -> None:
            call = await peer.received()
            await peer.item(call, 1)
            for seq in range(2, 100):
                await peer.item(call, "more", seq)
            assert await peer.received() == {"id": call["id"], "cancel": True}
            await stopping.wait()
            await peer.send({"id": call["id"], "response": None})
            await peer.answer("next")
            await peer.gone()

        stopping = asyncio.Event()
        async with connect_once(await scripted(script), calls=1) as client:
            async for _ in client.stream("feed"):
                break
            with pytest.raises(TimeoutError):
                await client.call("echo", timeout=0.01)
            stopping.set()
            assert await client.call("echo") == "next"
            assert client.ignored == 0

    async def test_a_server_that_answers_no_cancel_is_left_all_the_same(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Server) -> None:
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            async with client.stream("feed"):
                pass
        assert client.closed is not None
        assert len(connection_of(client).session.pending) == 0

    async def test_an_answer_that_cannot_be_read_is_unexpected(self, scripted: Scripted) -> None:
        async def script(peer: Server) -> None:
            await peer.answer({"n": 2**70})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            items = client.stream("feed")
            with pytest.raises(UnexpectedData, match="integer out of range"):
                await anext(items)
            assert items.response is None


async def _all(items: Stream[Any]) -> list[Any]:
    return [item async for item in items]


async def _none(*arguments: object) -> None:
    """There is room, or nothing to run."""
