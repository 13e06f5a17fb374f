"""Streams over real sockets: their items, their ends, and what a slow reader does to them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from openapi.errors import RpcError
from openapi.ws import Limits, SocketsManager, ws_rpc
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.raw import CLOSE, RawSocket, masked, message

Payload = dict[str, Any]

BIG = "x" * 10_000
MANY = 3000
"""Of the big ones, 30 MB: more than all buffers on the way."""


class Streaming(Endpoint):
    """The log has the end of each stream, and ``pulls`` how many items were asked for."""

    gate: asyncio.Event
    log: asyncio.Queue[str]
    pulls: int

    async def ws_rpc_count(self, payload: Payload) -> AsyncIterator[int]:
        try:
            for number in range(payload["to"]):
                yield number
        finally:
            self.log.put_nowait("ended")

    async def ws_rpc_big(self, payload: Payload) -> AsyncIterator[str]:
        try:
            for number in range(payload.get("to", MANY)):
                type(self).pulls += 1
                yield f"{number} {BIG}"
        finally:
            self.log.put_nowait("ended")

    async def ws_rpc_endless(self, payload: Payload) -> AsyncIterator[int]:
        try:
            while True:  # and never an await that waits
                type(self).pulls += 1
                yield 0
        finally:
            self.log.put_nowait("ended")

    async def ws_rpc_waiting(self, payload: Payload) -> AsyncIterator[str]:
        try:
            yield "first"
            await self.gate.wait()
            yield "last"
        finally:
            self.log.put_nowait("ended")

    @ws_rpc(timeout=0.02)
    async def ws_rpc_hurried(self, payload: Payload) -> AsyncIterator[str]:
        try:
            yield "first"
            yield "second"
            await asyncio.Event().wait()
        finally:
            self.log.put_nowait("ended")

    @ws_rpc(timeout=1)
    async def ws_rpc_patient(self, payload: Payload) -> AsyncIterator[str]:
        for number in range(MANY):
            type(self).pulls += 1
            yield f"{number} {BIG}"

    async def ws_rpc_refusing(self, payload: Payload) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
            raise RpcError(7, "no more", data={"left": 0})
        finally:
            self.log.put_nowait("ended")

    async def ws_rpc_failing(self, payload: Payload) -> AsyncIterator[int]:
        try:
            yield 1
            raise KeyError("the secret of the exception")
        finally:
            self.log.put_nowait("ended")

    async def ws_rpc_misfit(self, payload: Payload) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
            yield "the secret of the item"  # type: ignore[misc]
        finally:
            self.log.put_nowait("ended")

    async def ws_rpc_cleaning(self, payload: Payload) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await self.gate.wait()
            self.log.put_nowait("ended")

    @ws_rpc(lane=True)
    async def ws_rpc_turn(self, payload: Payload) -> AsyncIterator[str]:
        yield "first"
        await self.gate.wait()
        yield "last"

    async def ws_rpc_echo(self, payload: Payload) -> Payload:
        return payload


class Served:
    """The endpoint, its manager and its address."""

    def __init__(self, serve: Serve) -> None:
        class Fresh(Streaming):
            gate = asyncio.Event()
            log: asyncio.Queue[str] = asyncio.Queue()
            pulls = 0

        self.endpoint = Fresh
        self.gate = Fresh.gate
        self.log = Fresh.log
        self.sockets = SocketsManager()
        self._serve = serve

    async def start(self, **limits: Any) -> URL:
        self.sockets = SocketsManager(limits=Limits(**limits))
        return await self._serve(application(self.endpoint, self.sockets)) / "stream"

    async def stopped(self, client: Peer) -> int:
        """Wait until a reader is so slow that its stream is not pulled any more: the pulls."""
        while True:
            pulls = self.endpoint.pulls
            for _ in range(50):
                await client.call("echo")
            if pulls and pulls == self.endpoint.pulls:
                return pulls

    async def gone(self) -> None:
        """Wait until the server has noticed the end of every socket."""
        for socket in list(self.sockets.sockets):
            await socket.connection.wait_closed()


@pytest.fixture
def served(serve: Serve) -> Served:
    return Served(serve)


async def whole(client: Peer, method: str, payload: object = None) -> tuple[list[Any], Any]:
    """Read a stream: its items, and its final frame without the id and the method."""
    await client.send({"id": "it", "method": method, "payload": payload})
    return await rest(client, method)


async def rest(client: Peer, method: str, seq: int = 0) -> tuple[list[Any], Any]:
    items = []
    while "item" in (frame := await client.receive()):
        seq += 1
        assert frame == {"id": "it", "method": method, "item": frame["item"], "seq": seq}
        items.append(frame["item"])
    assert (frame.pop("id"), frame.pop("method")) == ("it", method)
    return items, frame


async def last_of(socket: RawSocket, id: str) -> dict[str, Any]:
    """Read on to the final frame of a stream."""
    while "item" in (frame := await socket.receive()):
        assert frame["id"] == id
    answer: dict[str, Any] = frame
    return answer


END = {"response": None}
CANCELLED = {"error": {"code": -32006, "message": "Cancelled"}}
EXPIRED = {"error": {"code": -32005, "message": "It took longer than 0.02 seconds"}}


# Items and ends


async def test_a_stream_is_its_items_in_order_and_a_final_null(served: Served) -> None:
    async with peer(await served.start()) as client:
        for to in (0, 1, 200):
            assert await whole(client, "count", {"to": to}) == (list(range(to)), END)
            assert await served.log.get() == "ended"


async def test_a_stream_may_end_with_an_error_behind_its_items(served: Served) -> None:
    async with peer(await served.start()) as client:
        items, end = await whole(client, "refusing")
        assert (items, end["error"]) == (
            [1, 2],
            {"code": 7, "message": "no more", "data": {"left": 0}},
        )
        assert await served.log.get() == "ended"


@pytest.mark.parametrize(("method", "items"), [("failing", [1]), ("misfit", [1, 2])])
async def test_a_stream_that_fails_is_an_internal_error_behind_its_items(
    served: Served, caplog: pytest.LogCaptureFixture, method: str, items: list[int]
) -> None:
    async with peer(await served.start()) as client:
        got, end = await whole(client, method)
        assert (got, end["error"]["code"]) == (items, -32603)
        assert "secret" not in str(end)
        assert end["error"]["data"]["error_id"] in caplog.text
        assert await served.log.get() == "ended"
        assert await client.call("echo") == {}


async def test_a_wrong_payload_is_refused_before_a_stream_begins(served: Served) -> None:
    async with peer(await served.start()) as client:
        assert (await client.error("count", []))["code"] == -32602
        assert served.log.empty()


async def test_streams_and_calls_run_beside_each_other(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": "a", "method": "waiting"})
        await client.send({"id": "b", "method": "waiting"})
        for id in ("a", "b"):
            assert await client.receive() == {
                "id": id,
                "method": "waiting",
                "item": "first",
                "seq": 1,
            }
        assert await client.call("echo", {"c": 1}) == {"c": 1}
        served.gate.set()
        frames = [await client.receive() for _ in range(4)]
        for id in ("a", "b"):
            mine = [frame for frame in frames if frame["id"] == id]
            assert [frame.get("item") for frame in mine] == ["last", None]


async def test_a_stream_that_is_notified_runs_and_says_nothing(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": None, "method": "count", "payload": {"to": 100}})
        assert await served.log.get() == "ended"
        assert await client.call("echo") == {}
        assert client.messages == []


async def test_streams_count_as_calls_in_flight(served: Served) -> None:
    async with peer(await served.start()) as client:
        for number in range(64):
            await client.send({"id": f"{number}", "method": "waiting"})
        await client.send({"id": "it", "method": "waiting"})
        frames = [await client.receive() for _ in range(65)]
        (refusal,) = [frame for frame in frames if frame["id"] == "it"]
        assert refusal["error"]["code"] == -32004
        assert refusal["error"]["data"] == {"limit": "calls", "max": 64}
        await client.send({"id": "63", "cancel": True})
        assert (await client.receive())["error"] == CANCELLED["error"]
        assert await served.log.get() == "ended"
        assert await client.call("echo") == {}


async def test_streams_in_one_lane_run_one_after_another(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": "a", "method": "turn"})
        await client.send({"id": "b", "method": "turn"})
        assert (await client.receive())["id"] == "a"
        served.gate.set()
        frames = [await client.receive() for _ in range(5)]
        assert "".join(frame["id"] for frame in frames) == "aabbb"


# Deadlines and cancelling


async def test_the_deadline_of_a_stream_begins_anew_with_each_item(served: Served) -> None:
    async with peer(await served.start()) as client:
        assert await whole(client, "hurried") == (["first", "second"], EXPIRED)
        assert await served.log.get() == "ended"


async def test_the_caller_may_shorten_the_deadline_of_a_stream(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": "it", "method": "waiting", "timeout": 20})
        assert await rest(client, "waiting") == (["first"], EXPIRED)
        assert await served.log.get() == "ended"


async def test_the_deadline_of_a_stream_does_not_run_while_its_client_is_slow(
    served: Served,
) -> None:
    url = await served.start()
    slow = await RawSocket.open(url, receive_buffer=4096)
    slow.send({"id": 1, "method": "patient"})
    async with peer(url) as other:
        await served.stopped(other)
        await other.send({"id": 1, "method": "waiting", "timeout": 1500})
        assert (await other.receive())["item"] == "first"
        assert (await other.receive())["error"]["code"] == -32005  # longer than the stream's own
    frames = [await slow.receive() for _ in range(MANY + 1)]
    assert [frame.get("seq") for frame in frames] == [*range(1, MANY + 1), None]
    assert "error" not in frames[-1]
    await slow.shut()


async def test_a_cancelled_stream_ends_its_generator_and_sends_no_more(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": "it", "method": "waiting"})
        await client.receive()
        await client.send({"id": "it", "cancel": True})
        assert await rest(client, "waiting") == ([], CANCELLED)
        assert await served.log.get() == "ended"
        served.gate.set()
        assert await client.call("echo") == {}
        assert client.messages == []


async def test_whoever_cancels_a_stream_does_not_wait_for_its_clean_up(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": "it", "method": "cleaning"})
        await client.receive()
        await client.send({"id": "it", "cancel": True})
        assert await rest(client, "cleaning") == ([], CANCELLED)
        assert await client.call("echo") == {}
        assert served.log.empty()
        served.gate.set()
        assert await served.log.get() == "ended"


async def test_a_stream_that_never_waits_can_be_cancelled(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": "it", "method": "endless"})
        await client.receive()
        await client.send({"id": "it", "cancel": True})
        _, end = await rest(client, "endless", seq=1)
        assert end == CANCELLED
        assert await served.log.get() == "ended"


@pytest.mark.parametrize("method", ["waiting", "endless", "count"])
async def test_a_stream_that_is_cancelled_in_the_same_breath_has_one_final_frame(
    served: Served, method: str
) -> None:
    socket = await RawSocket.open(await served.start())
    call = message({"id": 1, "method": method, "payload": {"to": 1000}})
    socket.writer.write(call + message({"id": 1, "cancel": True}))
    socket.send({"id": 2, "method": "echo"})
    finals = []
    while (frame := await socket.receive())["id"] == 1:
        finals += [frame] if "item" not in frame else []
    assert [frame["error"] for frame in finals] == [CANCELLED["error"]]
    await socket.shut()


# Ends of the connection


@pytest.mark.parametrize("method", ["waiting", "endless", "big"])
@pytest.mark.parametrize("end", ["close", "reset", "half-close", "breach"])
async def test_a_stream_whose_client_leaves_is_closed(
    served: Served, end: str, method: str
) -> None:
    socket = await RawSocket.open(await served.start(), receive_buffer=4096)
    socket.send({"id": 1, "method": method})
    await socket.receive()
    match end:
        case "close":
            socket.writer.write(masked(CLOSE, b"\x03\xe8"))
        case "reset":
            socket.reset()
        case "half-close":
            socket.writer.write_eof()
        case "breach":
            socket.writer.write(b"\x81\x00")
    assert await served.log.get() == "ended"
    await socket.shut()
    await served.gone()


async def test_a_stream_in_flight_may_finish_while_the_server_shuts_down(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": "it", "method": "waiting"})
        await client.receive()
        drain = asyncio.create_task(served.sockets.drain())
        assert (await client.receive())["event"] == "$reconnect"
        assert not drain.done()
        served.gate.set()
        assert await rest(client, "waiting", seq=1) == (["last"], END)
        assert (await client.closed())[0] == 1012
        await drain


@pytest.mark.parametrize("method", ["waiting", "endless"])
async def test_a_stream_that_outlasts_the_shutdown_is_closed(served: Served, method: str) -> None:
    socket = await RawSocket.open(await served.start(drain_window=0.02))
    socket.send({"id": "it", "method": method})
    await socket.receive()
    drain = asyncio.create_task(served.sockets.drain())
    assert await socket.close_code() == 1012
    assert await served.log.get() == "ended"
    await socket.shut()
    await drain


# Slow readers


async def test_a_client_that_reads_nothing_stops_the_generator_and_nobody_else(
    served: Served,
) -> None:
    url = await served.start()
    slow = await RawSocket.open(url, receive_buffer=4096)
    (ws,) = served.sockets.sockets
    slow.send({"id": "it", "method": "big"})
    async with peer(url) as other:
        pulls = await served.stopped(other)
        assert pulls < MANY // 2
        assert 0 < ws.connection.queued_bytes < 2**18
        assert await whole(other, "count", {"to": 100}) == (list(range(100)), END)
        assert served.endpoint.pulls == pulls
        assert await served.log.get() == "ended"  # of the other
    for number in range(MANY):  # it reads on: everything comes, in order
        assert await slow.receive() == {
            "id": "it",
            "method": "big",
            "item": f"{number} {BIG}",
            "seq": number + 1,
        }
    assert await slow.receive() == {"id": "it", "method": "big", "response": None}
    assert await served.log.get() == "ended"
    await slow.shut()


async def test_many_streams_that_nobody_reads_have_one_outbox_together(served: Served) -> None:
    url = await served.start()
    slow = await RawSocket.open(url, receive_buffer=4096)
    (ws,) = served.sockets.sockets
    for number in range(60):
        slow.send({"id": number, "method": "big", "payload": {"to": 50}})
    async with peer(url) as other:
        assert await served.stopped(other) < 60 * 50 // 2
        assert ws.connection.queued_bytes < 2**20
    seqs: dict[int, list[int | None]] = {}
    for _ in range(60 * 51):
        frame = await slow.receive()
        seqs.setdefault(frame["id"], []).append(frame.get("seq"))
    assert seqs == {number: [*range(1, 51), None] for number in range(60)}
    await slow.shut()


@pytest.mark.parametrize("end", ["cancel", "close", "reset"])
async def test_a_stream_that_waits_for_its_reader_can_be_ended(served: Served, end: str) -> None:
    url = await served.start()
    slow = await RawSocket.open(url, receive_buffer=4096)
    slow.send({"id": "it", "method": "big"})
    async with peer(url) as other:
        pulls = await served.stopped(other)
        match end:
            case "cancel":
                slow.send({"id": "it", "cancel": True})
            case "close":
                slow.writer.write(masked(CLOSE, b"\x03\xe8"))
            case "reset":
                slow.reset()
        assert await served.log.get() == "ended"  # though nothing was read
        assert served.endpoint.pulls == pulls
    if end == "cancel":
        for _ in range(pulls):
            assert "item" in await slow.receive()
        assert (await slow.receive())["error"] == CANCELLED["error"]
    if end == "close":
        assert await slow.close_code() == 1000  # behind all that was queued
    await slow.shut()
    await served.gone()


async def test_calls_are_answered_behind_the_items_that_wait(served: Served) -> None:
    url = await served.start()
    slow = await RawSocket.open(url, receive_buffer=4096)
    slow.send({"id": "it", "method": "big"})
    async with peer(url) as other:
        pulls = await served.stopped(other)
        slow.send({"id": "echo", "method": "echo"})
        for _ in range(pulls):
            assert (await slow.receive())["id"] == "it"
        frames = [await slow.receive() for _ in range(MANY - pulls + 2)]
    assert [frame["id"] for frame in frames].count("echo") == 1
    await slow.shut()


async def test_a_stream_that_never_waits_holds_up_nobody(served: Served) -> None:
    url = await served.start()
    busy = await RawSocket.open(url)
    busy.send({"id": "it", "method": "endless"})
    reading = asyncio.create_task(last_of(busy, "it"))
    async with peer(url) as other:
        for number in range(100):
            assert await other.call("echo", {"n": number}) == {"n": number}
    assert served.endpoint.pulls > 100
    busy.send({"id": "it", "cancel": True})  # nor its own connection
    assert (await reading)["error"] == CANCELLED["error"]
    assert await served.log.get() == "ended"
    await busy.shut()


async def test_published_messages_and_items_both_come_in_order(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.call("subscribe", {"channel": "c"})
        await client.send({"id": "it", "method": "count", "payload": {"to": 200}})
        for number in range(200):
            await served.sockets.publish("c", "", number)
            await asyncio.sleep(0)
        frames = [await client.receive() for _ in range(401)]
        assert [frame["item"] for frame in frames if "item" in frame] == list(range(200))
        assert [frame["data"] for frame in frames if "data" in frame] == list(range(200))
