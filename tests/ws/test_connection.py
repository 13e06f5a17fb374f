"""A connection: calls side by side, whatever goes wrong in them, and every way to end."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import pytest
from yarl import URL

from openapi.errors import InvalidData, RpcError
from openapi.protocol.websocket import State
from openapi.ws import Limits, SocketsManager, WsPathMixin
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import peer
from tests.ws.raw import BINARY, CLOSE, PING, PONG, RawSocket, masked, message
from tests.ws.tcp import served


class Gated(Endpoint):
    """Has a method that runs until the test opens its gate."""

    gate: asyncio.Event
    entered: asyncio.Event
    ended: list[str]

    async def ws_rpc_wait(self, payload: dict[str, Any]) -> str:
        self.entered.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return "waited"

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> dict[str, Any]:
        return payload


@pytest.fixture
def gated() -> type[Gated]:
    class Fresh(Gated):
        gate = asyncio.Event()
        entered = asyncio.Event()
        ended: list[str] = []

    return Fresh


async def gone(sockets: SocketsManager) -> None:
    """Wait until the server has noticed the end of every socket."""
    for socket in list(sockets.sockets):
        await socket.connection.wait_closed()


async def test_a_slow_call_does_not_hold_up_the_next(serve: Serve, gated: type[Gated]) -> None:
    async with peer(await serve(application(gated)) / "stream") as client:
        await client.send({"id": "slow", "method": "wait"})
        assert await client.call("echo", {"a": 1}) == {"a": 1}
        gated.gate.set()
        assert (await client.receive())["response"] == "waited"


@pytest.mark.parametrize("end", ["close", "reset", "half-close", "silence"])
async def test_the_end_of_a_connection_cancels_its_calls(
    serve: Serve, gated: type[Gated], end: str
) -> None:
    limits = Limits(ping_interval=0.05, pong_timeout=0.05)
    sockets = SocketsManager(limits=limits) if end == "silence" else SocketsManager()
    socket = await RawSocket.open(await serve(application(gated, sockets)) / "stream")
    socket.send({"id": 1, "method": "wait"})
    await gated.entered.wait()
    if end == "close":
        socket.writer.write(masked(CLOSE, b"\x03\xe8"))
    elif end == "reset":
        socket.reset()
    elif end == "half-close":
        socket.writer.write_eof()
    await gone(sockets)
    assert gated.ended == ["cancelled"]
    assert sockets.server_info() == {"connections": 0, "channels": {}}
    await socket.shut()


class NoException(BaseException):
    """What a handler should not raise."""


@dataclass
class Fragile:
    """A type whose own check has a bug."""

    a: int

    def __post_init__(self) -> None:
        raise KeyError("the secret of the validator")


class Failing(WsPathMixin):
    """Fails in every way."""

    async def ws_rpc_bug(self, payload: dict[str, Any]) -> None:
        raise KeyError("the secret of the exception")

    async def ws_rpc_runtime(self, payload: dict[str, Any]) -> None:
        raise RuntimeError("the secret of the exception")

    async def ws_rpc_timeout(self, payload: dict[str, Any]) -> None:
        raise TimeoutError

    async def ws_rpc_cancelled(self, payload: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    async def ws_rpc_cancels_itself(self, payload: dict[str, Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async def ws_rpc_no_exception(self, payload: dict[str, Any]) -> None:
        raise NoException("the secret of the exception")

    async def ws_rpc_validator(self, payload: Fragile) -> None:
        raise AssertionError("nobody comes here")

    async def ws_rpc_result_validator(self, payload: dict[str, Any]) -> Fragile:
        return {"a": 1}  # type: ignore[return-value]

    async def ws_rpc_not_json(self, payload: dict[str, Any]) -> object:
        return Failing

    async def ws_rpc_wrong_result(self, payload: dict[str, Any]) -> int:
        return "the secret of the result"  # type: ignore[return-value]

    async def ws_rpc_own(self, payload: dict[str, Any]) -> None:
        raise RpcError(42, "no tea left", data={"left": 0}, retry_after=100)

    async def ws_rpc_own_not_json(self, payload: dict[str, Any]) -> None:
        raise RpcError(42, "no tea left", data=Failing)

    async def ws_rpc_own_check(self, payload: dict[str, Any]) -> None:
        raise InvalidData({"a.b": "is odd"})

    async def ws_rpc_ok(self, payload: dict[str, Any]) -> str:
        return "ok"


@pytest.fixture
async def failing(serve: Serve) -> URL:
    return await serve(application(Failing)) / "stream"


@pytest.mark.parametrize(
    "method",
    [
        "bug",
        "runtime",
        "timeout",
        "cancelled",
        "no_exception",
        "wrong_result",
        "result_validator",
    ],
)
async def test_a_handler_that_fails_answers_with_an_id_that_the_log_has(
    failing: URL, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    async with peer(failing) as client:
        error = await client.error(method)
        assert (error["code"], error["message"]) == (-32603, "Internal error")
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert error["data"]["error_id"] in record.getMessage()
        assert repr(method) in record.getMessage()
        assert record.exc_info is not None
        assert "secret" not in str(error)
        assert await client.call("ok") == "ok"


async def test_a_call_that_is_cancelled_from_elsewhere_tells_its_caller(failing: URL) -> None:
    async with peer(failing) as client:
        error = await client.error("cancels_itself")
        assert (error["code"], error["message"]) == (-32006, "The call was cancelled")
        assert await client.call("ok") == "ok"


async def test_a_payload_type_that_fails_is_an_internal_error_and_harms_no_other_call(
    failing: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async with peer(failing) as client:
        error = await client.error("validator", {"a": 1})
        assert (error["code"], error["message"]) == (-32603, "Internal error")
        assert error["data"]["error_id"] in caplog.text
        assert await client.call("ok") == "ok"
        await client.send({"id": None, "method": "validator", "payload": {"a": 1}})
        assert await client.call("ok") == "ok"


async def test_a_result_that_has_no_json_form_is_an_internal_error(failing: URL) -> None:
    async with peer(failing) as client:
        error = await client.error("not_json")
        assert (error["code"], error["message"]) == (-32603, "JSON object expected")
        assert await client.call("ok") == "ok"


async def test_an_error_of_the_application_reaches_its_caller(failing: URL) -> None:
    async with peer(failing) as client:
        assert await client.error("own") == {
            "code": 42,
            "message": "no tea left",
            "data": {"left": 0},
            "retry_after": 100,
        }


async def test_an_error_whose_data_has_no_json_form_is_an_internal_one(failing: URL) -> None:
    async with peer(failing) as client:
        assert (await client.error("own_not_json"))["code"] == -32603
        assert await client.call("ok") == "ok"


async def test_a_handler_may_find_the_payload_invalid(failing: URL) -> None:
    async with peer(failing) as client:
        assert await client.error("own_check") == {
            "code": -32602,
            "message": "Invalid RPC parameters",
            "errors": {"a.b": "is odd"},
        }


async def test_an_answer_that_cannot_be_encoded_is_an_internal_error(serve: Serve) -> None:
    class Picky(Endpoint):
        def encode_message(self, msg: Any) -> str:
            if "response" in msg:
                raise ValueError("I do not like it")
            return super().encode_message(msg)

    async with peer(await serve(application(Picky)) / "stream") as client:
        assert (await client.error("info"))["code"] == -32603


async def test_a_notification_runs_and_is_never_answered(serve: Serve, gated: type[Gated]) -> None:
    gated.gate.set()
    async with peer(await serve(application(gated)) / "stream") as client:
        await client.send({"id": None, "method": "wait"})
        await client.send({"id": None, "method": "unknown"})
        assert await client.call("echo") == {}
        assert gated.ended == ["done"]


async def test_a_failing_notification_is_logged_and_not_answered(
    failing: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async with peer(failing) as client:
        for method in ("bug", "own"):
            await client.send({"id": None, "method": method})
        assert await client.call("ok") == "ok"
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_the_answer_to_subscribe_comes_before_any_message(serve: Serve) -> None:
    class Hesitant(Endpoint):
        async def ws_rpc_subscribe(self, payload: dict[str, Any]) -> Any:
            response = await super().ws_rpc_subscribe(payload)
            # Subscribed already, and not yet answered: messages come now.
            for number in range(3):
                await self.sockets.publish(payload["channel"], "early", number)
            return response

    async with peer(await serve(application(Hesitant)) / "stream") as client:
        await client.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
        assert (await client.receive())["id"] == 1
        assert [(await client.receive())["data"] for _ in range(3)] == [0, 1, 2]
        await client.call("publish", {"channel": "c", "data": "late"})
        assert (await client.message())["data"] == "late"


async def test_a_subscription_whose_answer_never_comes_holds_no_more_than_the_limit(
    serve: Serve,
) -> None:
    class Stuck(Endpoint):
        async def ws_rpc_subscribe(self, payload: dict[str, Any]) -> Any:
            await super().ws_rpc_subscribe(payload)
            for _ in range(20):
                await self.sockets.publish(payload["channel"], "", "x" * 100)
            await asyncio.Event().wait()

    sockets = SocketsManager(limits=Limits(outbox_bytes=1000))
    async with peer(await serve(application(Stuck, sockets)) / "stream") as client:
        await client.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
        assert (await client.closed())[0] == 4008


async def test_what_overflows_behind_an_answer_does_not_overtake_it(serve: Serve) -> None:
    class Overflowing(Endpoint):
        async def ws_rpc_subscribe(self, payload: dict[str, Any]) -> Any:
            response = await super().ws_rpc_subscribe(payload)
            for number in range(20):  # past the limit, and on
                await self.sockets.publish(payload["channel"], str(number), "x" * 100)
            return response

    sockets = SocketsManager(limits=Limits(outbox_bytes=1000))
    socket = await RawSocket.open(await serve(application(Overflowing, sockets)) / "stream")
    socket.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
    assert (await socket.receive())["id"] == 1
    assert await socket.frame() == (CLOSE, b"\x0f\xa8reads too slowly")  # 4008, and no message
    await socket.shut()


async def test_a_breach_by_a_peer_that_reads_slowly_still_gets_all_that_was_queued(
    serve: Serve,
) -> None:
    sockets = SocketsManager()
    url = await serve(application(sockets=sockets)) / "stream"
    slow = await RawSocket.open(url, receive_buffer=4096)
    slow.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
    await slow.receive()
    (ws,) = sockets.sockets
    published = 0
    while ws.connection.queued_bytes < 500_000:
        await sockets.publish("c", "", "x" * 10_000)
        published += 1
        await asyncio.sleep(0)
    slow.writer.write(b"\x81\x00")
    for _ in range(published):
        assert (await slow.receive())["channel"] == "c"
    assert await slow.close_code() == 1002
    assert await slow.reader.read() == b""
    await slow.shut()
    await ws.connection.wait_closed()


async def test_one_that_cannot_encode_a_message_is_closed_and_the_others_get_it(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(Endpoint):
        def encode_message(self, msg: Any) -> str:
            if "data" in msg:
                raise ValueError("I do not like it")
            return super().encode_message(msg)

    app = application(Picky)
    app.router.add_view("/other", Endpoint)
    base = await serve(app)
    async with peer(base / "stream") as picky, peer(base / "other") as other:
        for client in (picky, other):
            await client.call("subscribe", {"channel": "c"})
        await app[MANAGER].publish("c", "", 1)
        assert (await other.message())["data"] == 1
        assert (await picky.closed())[0] == 1011
    assert "could not be encoded" in caplog.text


async def test_a_ping_is_answered_with_its_payload(serve: Serve) -> None:
    socket = await RawSocket.open(await serve(application()) / "stream")
    socket.writer.write(masked(PING, b"are you there"))
    assert await socket.frame() == (PONG, b"are you there")
    await socket.shut()


async def test_a_socket_that_answers_no_ping_is_closed_with_4000(serve: Serve) -> None:
    sockets = SocketsManager(limits=Limits(ping_interval=0.05, pong_timeout=0.05))
    socket = await RawSocket.open(await serve(application(sockets=sockets)) / "stream")
    assert await socket.frame() == (PING, b"")
    assert await socket.close_code() == 4000
    await gone(sockets)
    await socket.shut()


async def test_a_socket_that_answers_pings_stays(serve: Serve) -> None:
    sockets = SocketsManager(limits=Limits(ping_interval=0.1, pong_timeout=1))
    socket = await RawSocket.open(await serve(application(sockets=sockets)) / "stream")
    for _ in range(3):
        assert await socket.frame() == (PING, b"")
        socket.writer.write(masked(PONG, b""))
    assert len(sockets.sockets) == 1
    await socket.shut()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\x81\x02{}", 1002),  # unmasked
        (masked(0x3, b""), 1002),
        (masked(CLOSE, b"\x03\xee"), 1002),  # 1006
        (masked(CLOSE, b"\x13\x88"), 1002),  # 5000
        (masked(CLOSE, b"\x03"), 1002),
        (masked(1, b"\xff"), 1007),
        (masked(BINARY, b"{}"), 1003),
        (masked(1, b"", fin=False) + masked(0, b"", fin=False) * 256, 1009),
        (b"\x81\xff\x00\x00\x00\x00\x00\x20\x00\x00\1\2\3\4", 1009),  # announces 2 MiB
    ],
)
async def test_a_broken_frame_closes_the_connection_with_its_code(
    serve: Serve, bad: bytes, code: int
) -> None:
    app = application()
    socket = await RawSocket.open(await serve(app) / "stream", behind=bad)
    assert await socket.close_code() == code
    socket.writer.write(masked(CLOSE, code.to_bytes(2)))
    assert await socket.reader.read() == b""
    await socket.shut()
    await gone(app[MANAGER])


async def test_what_came_before_a_broken_frame_is_answered(serve: Serve) -> None:
    socket = await RawSocket.open(await serve(application()) / "stream")
    socket.writer.write(masked(1, b"no json") + b"\x81\x00")
    assert (await socket.receive())["error"]["code"] == -32700
    assert await socket.close_code() == 1002
    await socket.shut()


async def test_a_peer_that_never_says_goodbye_is_cut_off(serve: Serve) -> None:
    sockets = SocketsManager(limits=Limits(close_timeout=0.05))
    socket = await RawSocket.open(await serve(application(sockets=sockets)) / "stream")
    (ws,) = sockets.sockets
    ws.connection.close(4504, "away with you")
    assert await socket.close_code() == 4504
    await ws.connection.wait_closed()  # though the peer has not answered
    assert sockets.sockets == set()
    await socket.shut()


async def test_the_peers_closing_frame_is_answered_with_its_code(serve: Serve) -> None:
    for payload, code in ((b"\x03\xe9away", 1001), (b"", 1000), (b"\x0f\xa0", 4000)):
        app = application()
        socket = await RawSocket.open(await serve(app) / "stream")
        (ws,) = app[MANAGER].sockets
        socket.writer.write(masked(CLOSE, payload))
        assert await socket.close_code() == code
        assert await socket.reader.read() == b""  # the server ends the TCP connection
        await ws.connection.wait_closed()
        assert ws.connection.close_code == (code if payload else 1005)
        await socket.shut()


@pytest.mark.parametrize("last", [masked(CLOSE, b"\x03\xe8"), b"no frame of a client"])
async def test_what_waits_for_room_goes_out_whatever_follows_from_the_peer(
    last: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = application()
    async with served(app, send_buffer=4096) as url:
        socket = await RawSocket.open(url, receive_buffer=4096)
        socket.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is one of both ways
        (ws,) = app[MANAGER].sockets
        for _ in range(10):
            ws.connection.send(bytes(65536))
        ws.connection.close(4504, "away with you")
        assert ws.connection.queued_bytes > 65536
        socket.writer.write(last)
        while ws.connection._websocket.state is not State.CLOSED:  # noqa: ASYNC110 # it is silent
            await asyncio.sleep(0)
        socket.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await socket.close_code() == 4504
        await socket.shut()
        await ws.connection.wait_closed()
    assert not caplog.records


async def test_a_peer_that_sends_only_rubbish_is_closed_with_4503(serve: Serve) -> None:
    sockets = SocketsManager(limits=Limits(errors=10))
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        for _ in range(3):  # ten in a row are forgiven
            for _ in range(10):
                await client.send("rubbish")
                await client.receive()
            await client.call("info")
        for _ in range(11):
            await client.send("rubbish")
        assert (await client.closed())[0] == 4503


async def test_messages_that_are_too_long_are_rubbish_too(serve: Serve) -> None:
    sockets = SocketsManager(limits=Limits(errors=3, message_bytes=100))
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        for _ in range(4):
            await client.send("x" * 101)
        assert (await client.closed())[0] == 4503


async def test_a_message_that_is_too_long_is_refused_and_the_next_is_read(serve: Serve) -> None:
    async with peer(await serve(application()) / "stream") as client:
        await client.send("x" * 65_537)
        error = (await client.receive())["error"]
        assert error["code"] == -32007
        assert error["data"] == {"limit": "message_bytes", "max": 65_536, "size": 65_537}
        assert (await client.call("info"))["connections"] == 1


async def test_a_burst_in_one_turn_of_the_loop_is_not_the_readers_fault(serve: Serve) -> None:
    class Bursting(Endpoint):
        async def ws_rpc_burst(self, payload: dict[str, Any]) -> None:
            for number in range(1200):  # more than the outbox holds, without an await that waits
                await self.sockets.publish("c", str(number), "x" * 1000)

    async with peer(await serve(application(Bursting)) / "stream", max_queue=None) as client:
        await client.call("subscribe", {"channel": "c"})
        await client.call("burst")
        assert [message["event"] for message in client.messages] == [str(n) for n in range(1200)]


async def test_a_socket_that_reads_nothing_is_closed_with_4008(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(sockets=sockets)) / "stream"
    slow = await RawSocket.open(url, receive_buffer=4096)
    slow.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
    await slow.receive()
    (ws,) = sockets.sockets
    queued = 0
    while not ws.connection.gone:
        await sockets.publish("c", "", "x" * 10_000)
        await asyncio.sleep(0)
        queued = max(queued, ws.connection.queued_bytes)
    assert ws.connection.close_code == 4008
    assert 900_000 < queued <= 2**20
    await ws.connection.wait_closed()
    assert sockets.server_info() == {"connections": 0, "channels": {}}
    slow.reset()


async def test_a_slow_socket_that_wakes_up_in_time_learns_why_it_was_closed(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(sockets=sockets)) / "stream"
    slow = await RawSocket.open(url, receive_buffer=4096)
    slow.send({"id": 1, "method": "subscribe", "payload": {"channel": "c"}})
    await slow.receive()
    (ws,) = sockets.sockets
    while not ws.connection.gone:
        await sockets.publish("c", "", "x" * 10_000)
        await asyncio.sleep(0)
    assert await slow.close_code() == 4008
    await slow.shut()


async def test_compressed_frames_are_shared_by_those_who_asked_for_them(serve: Serve) -> None:
    url = await serve(application(sockets=SocketsManager(deflate=True))) / "stream"
    async with (
        peer(url, compression="deflate") as one,
        peer(url, compression="deflate") as other,
        peer(url) as plain,
    ):
        assert one.compressed
        assert not plain.compressed
        clients = (one, other, plain)
        for client in clients:
            await client.call("subscribe", {"channel": "c"})
        for number in range(3):
            await one.call("publish", {"channel": "c", "data": [number] * 1000})
        for client in clients:
            for number in range(3):
                assert (await client.message())["data"] == [number] * 1000


async def test_compression_is_off_unless_asked_for(serve: Serve) -> None:
    async with peer(await serve(application()) / "stream", compression="deflate") as client:
        assert not client.compressed
        await client.call("info")


async def test_a_bug_in_answering_is_logged_and_its_call_ends_all_the_same(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Endpoint):
        def encode_message(self, msg: Any) -> str:
            if msg.get("id") == "bug":
                raise KeyError("a bug of the application's own")
            return super().encode_message(msg)

    sockets = SocketsManager(limits=Limits(calls=2))
    async with peer(await serve(application(Broken, sockets)) / "stream") as client:
        for _ in range(3):  # or the second would leave no room for a third
            await client.send({"id": "bug", "method": "info"})
            assert (await client.call("info"))["connections"] == 1
        assert "a call could not be answered" in caplog.text


async def test_a_bug_in_reading_is_logged_and_ends_the_connection_with_1011(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Endpoint):
        def decode_message(self, msg: str) -> Any:
            raise KeyError("a bug of the application's own")

    async with peer(await serve(application(Broken)) / "stream") as client:
        await client.send({"id": 1, "method": "info"})
        assert (await client.closed())[0] == 1011
        assert "a message could not be read or refused" in caplog.text


async def test_nan_is_no_message_in_a_format_of_ones_own_either(serve: Serve) -> None:
    class Exclaiming(Endpoint):
        def encode_message(self, msg: Any) -> str:
            return super().encode_message(msg) + " "

    async with peer(await serve(application(Exclaiming)) / "stream") as client:
        await client.send('{"id": 1, "method": "info", "payload": {"a": NaN}}')
        assert (await client.receive())["error"]["code"] == -32700


async def test_notifications_that_could_not_run_are_counted_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = application()
    async with peer(await serve(app) / "stream") as client:
        for _ in range(3):
            await client.send({"id": None, "method": "unknown"})
        await client.call("info")
        (ws,) = app[MANAGER].sockets
    await ws.connection.wait_closed()
    assert f"3 notifications of socket {ws.socket_id} could not run" in caplog.text


async def test_messages_in_pieces_are_put_together(serve: Serve) -> None:
    socket = await RawSocket.open(await serve(application()) / "stream")
    for byte in message({"id": 1, "method": "info"}):
        socket.writer.write(bytes([byte]))
        await socket.writer.drain()
    assert (await socket.receive())["id"] == 1
    text = b'{"id": 2, "method": "info"}'
    socket.writer.write(masked(1, text[:5], fin=False) + masked(PING, b"in between"))
    socket.writer.write(masked(0, text[5:]))
    assert await socket.frame() == (PONG, b"in between")
    assert (await socket.receive())["id"] == 2
    await socket.shut()
