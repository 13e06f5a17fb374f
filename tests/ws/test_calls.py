"""Calls over real sockets: deadlines, cancelling, lanes, shields, notifications."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from openapi.ws import Limits, SocketsManager, ws_rpc
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.raw import CLOSE, RawSocket, masked, message

Payload = dict[str, Any]


class Working(Endpoint):
    """Its calls last until the test opens the gate; the log has what became of them."""

    gate: asyncio.Event
    log: asyncio.Queue[str]

    async def work(self, name: str) -> str:
        self.log.put_nowait(f"{name} began")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.log.put_nowait(f"{name} was cancelled")
            raise
        self.log.put_nowait(f"{name} finished")
        return name

    async def ws_rpc_work(self, payload: Payload) -> str:
        return await self.work(payload["name"])

    @ws_rpc(timeout=0.02)
    async def ws_rpc_hurried(self, payload: Payload) -> str:
        return await self.work(payload["name"])

    @ws_rpc(timeout=600)
    async def ws_rpc_patient(self, payload: Payload) -> str:
        return await self.work(payload["name"])

    @ws_rpc(timeout=None)
    async def ws_rpc_timeless(self, payload: Payload) -> str:
        return await self.work(payload["name"])

    @ws_rpc(shield=True)
    async def ws_rpc_shielded(self, payload: Payload) -> str:
        return await self.work(payload["name"])

    @ws_rpc(lane=True)
    async def ws_rpc_alone(self, payload: Payload) -> str:
        return await self.work(payload["name"])

    @ws_rpc(lane="order")
    async def ws_rpc_ship(self, payload: Payload) -> str:
        return await self.work(payload["name"])

    @ws_rpc(lane="order")
    async def ws_rpc_bill(self, payload: Payload) -> str:
        return await self.work(payload["name"])

    @ws_rpc(lane=True)
    async def ws_rpc_confirmed(self, payload: Payload) -> Any:
        return await self.call("confirm", payload)

    async def ws_rpc_cleaning(self, payload: Payload) -> None:
        try:
            self.log.put_nowait("cleaning began")
            await asyncio.Event().wait()
        finally:
            await self.gate.wait()
            self.log.put_nowait("it is clean")

    async def ws_rpc_stubborn(self, payload: Payload) -> str:
        self.log.put_nowait("stubborn began")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.gate.wait()
        self.log.put_nowait("stubborn returned")
        return "all the same"

    async def ws_rpc_remaining(self, payload: Payload) -> Any:
        first = self.remaining
        while first is not None and self.remaining == first:  # noqa: ASYNC110 - the clock's step
            await asyncio.sleep(0)
        return [first, self.remaining]

    async def ws_rpc_echo(self, payload: Payload) -> Payload:
        return payload


@pytest.fixture
def working() -> type[Working]:
    class Fresh(Working):
        gate = asyncio.Event()
        log: asyncio.Queue[str] = asyncio.Queue()

    return Fresh


class Served:
    """The endpoint, its manager and its address."""

    def __init__(self, endpoint: type[Working], serve: Serve) -> None:
        self.endpoint = endpoint
        self.log = endpoint.log
        self.gate = endpoint.gate
        self.sockets = SocketsManager()
        self._serve = serve

    async def start(self, **limits: Any) -> URL:
        self.sockets = SocketsManager(limits=Limits(**limits))
        return await self._serve(application(self.endpoint, self.sockets)) / "stream"

    async def gone(self) -> None:
        """Wait until the server has noticed the end of every socket."""
        for socket in list(self.sockets.sockets):
            await socket.connection.wait_closed()


@pytest.fixture
def served(working: type[Working], serve: Serve) -> Served:
    return Served(working, serve)


async def begin(client: Peer, method: str, id: str, **frame: Any) -> None:
    """Send a call whose name is its id."""
    payload = {"name": id, **frame.pop("payload", {})}
    await client.send({"id": id, "method": method, "payload": payload, **frame})


async def begun(served: "Served", client: Peer, method: str, id: str, **frame: Any) -> None:
    """Send such a call, and wait until its handler has begun."""
    await begin(client, method, id, **frame)
    assert (await served.log.get()).endswith(" began")


async def cancel(client: Peer, id: object) -> None:
    await client.send({"id": id, "cancel": True})


EXPIRED = {"code": -32005, "message": "It took longer than 0.02 seconds"}
CANCELLED = {"code": -32006, "message": "Cancelled"}


# Deadlines


async def test_a_call_that_takes_longer_than_its_method_may_is_cancelled_and_told_so(
    served: Served,
) -> None:
    async with peer(await served.start()) as client:
        await begin(client, "hurried", "a")
        assert await client.receive() == {"id": "a", "method": "hurried", "error": EXPIRED}
        assert await served.log.get() == "a began"
        assert await served.log.get() == "a was cancelled"
        assert await client.call("echo", {"b": 1}) == {"b": 1}


async def test_a_method_without_a_deadline_has_that_of_the_connection(served: Served) -> None:
    async with peer(await served.start(call_timeout=0.02)) as client:
        assert await client.error("work", {"name": "a"}) == EXPIRED


async def test_a_method_may_have_no_deadline_though_the_connection_has_one(served: Served) -> None:
    async with peer(await served.start(call_timeout=0.02)) as client:
        await begin(client, "timeless", "a")
        assert await client.error("work", {"name": "b"}) == EXPIRED
        served.gate.set()
        assert (await client.receive())["response"] == "a"


@pytest.mark.parametrize("method", ["patient", "timeless", "work"])
async def test_a_caller_may_shorten_the_deadline(served: Served, method: str) -> None:
    async with peer(await served.start()) as client:
        await begin(client, method, "a", timeout=20)
        assert (await client.receive())["error"] == EXPIRED
        assert await served.log.get() == "a began"
        assert await served.log.get() == "a was cancelled"


async def test_a_caller_cannot_lengthen_the_deadline(served: Served) -> None:
    async with peer(await served.start(call_timeout=0.02)) as client:
        for method in ("hurried", "work"):
            await begin(client, method, "a", timeout=600_000)
            assert (await client.receive())["error"] == EXPIRED


@pytest.mark.parametrize("timeout", [0, -1, 1.5, "1", True])
async def test_a_timeout_that_is_no_number_of_milliseconds_is_refused(
    served: Served, timeout: object
) -> None:
    async with peer(await served.start()) as client:
        await begin(client, "work", "a", timeout=timeout)
        answer = await client.receive()
        assert (answer["id"], answer["error"]["code"]) == ("a", -32600)
        assert answer["error"]["errors"] == {"timeout": "expected milliseconds, an integer from 1"}


async def test_the_caller_is_told_of_a_deadline_though_the_handler_is_not_done_with_it(
    served: Served,
) -> None:
    async with peer(await served.start()) as client:
        for method in ("cleaning", "stubborn"):
            await begin(client, method, method, timeout=20)
            assert await client.receive() == {"id": method, "method": method, "error": EXPIRED}
        served.gate.set()
        assert await client.call("echo") == {}  # and nothing else in front of it
    done = {await served.log.get() for _ in range(4)}
    assert {"it is clean", "stubborn returned"} <= done


async def test_a_call_expires_while_it_waits_in_its_lane(served: Served) -> None:
    async with peer(await served.start()) as client:
        await begin(client, "alone", "first")
        await begin(client, "alone", "second", timeout=20)
        await begin(client, "alone", "third")
        answer = await client.receive()
        assert (answer["id"], answer["error"]) == ("second", EXPIRED)
        served.gate.set()
        assert [(await client.receive())["response"] for _ in range(2)] == ["first", "third"]
        assert served.log.qsize() == 4  # the second never began


async def test_what_remains_of_the_deadline_shrinks(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": 1, "method": "remaining", "timeout": 60_000})
        first, second = (await client.receive())["response"]
        assert 0 < second < first <= 60


async def test_without_a_deadline_nothing_remains_of_it(served: Served) -> None:
    async with peer(await served.start()) as client:
        assert await client.call("remaining") == [None, None]


async def test_an_answer_in_time_is_the_end_of_the_deadline(served: Served) -> None:
    served.gate.set()
    async with peer(await served.start()) as client:
        await begin(client, "hurried", "a")
        assert (await client.receive())["response"] == "a"
        assert await client.error("work", {}) != EXPIRED
        await begin(client, "work", "b", timeout=20)
        assert (await client.receive())["response"] == "b"
        served.gate.clear()
        await begin(client, "hurried", "a")  # the time of the first with this id is over by then
        assert await client.receive() == {"id": "a", "method": "hurried", "error": EXPIRED}


# Cancelling


async def test_a_cancelled_call_ends_its_handler_and_harms_no_other(served: Served) -> None:
    async with peer(await served.start()) as client:
        await begun(served, client, "work", "a")
        await begun(served, client, "work", "b")
        await cancel(client, "a")
        assert await client.receive() == {"id": "a", "method": "work", "error": CANCELLED}
        assert await served.log.get() == "a was cancelled"
        served.gate.set()
        assert (await client.receive())["response"] == "b"
        assert await served.log.get() == "b finished"


async def test_whoever_cancels_does_not_wait_for_the_clean_up(served: Served) -> None:
    async with peer(await served.start()) as client:
        await begun(served, client, "cleaning", "a")
        await cancel(client, "a")
        assert (await client.receive())["error"] == CANCELLED
        assert await client.call("echo") == {}
        served.gate.set()
        assert await served.log.get() == "it is clean"


async def test_the_result_of_a_handler_that_ignores_the_cancel_is_dropped(served: Served) -> None:
    async with peer(await served.start()) as client:
        await begun(served, client, "stubborn", "a")
        await cancel(client, "a")
        assert (await client.receive())["error"] == CANCELLED
        served.gate.set()
        assert await served.log.get() == "stubborn returned"
        assert await client.call("echo") == {}  # nothing in front of it
        assert client.messages == []


async def test_the_id_of_a_cancelled_call_is_free_though_its_handler_cleans_up(
    served: Served,
) -> None:
    async with peer(await served.start()) as client:
        await begun(served, client, "cleaning", "a")
        await cancel(client, "a")
        assert (await client.receive())["error"] == CANCELLED
        await begin(client, "work", "a")
        served.gate.set()
        assert await client.receive() == {"id": "a", "method": "work", "response": "a"}


async def test_a_cancelled_call_keeps_its_place_until_its_work_is_over(served: Served) -> None:
    async with peer(await served.start(calls=1)) as client:
        await begun(served, client, "stubborn", "a")
        await cancel(client, "a")
        assert (await client.receive())["error"] == CANCELLED
        assert (await client.error("echo"))["code"] == -32004
        served.gate.set()
        assert await served.log.get() == "stubborn returned"
        assert await client.call("echo") == {}


async def test_cancelling_what_is_unknown_or_over_means_nothing(served: Served) -> None:
    async with peer(await served.start(errors=1)) as client:
        for id in ("unknown", 7, "s1"):
            for _ in range(5):  # and it is no rubbish
                await cancel(client, id)
        await client.send({"id": "over", "method": "echo"})
        assert (await client.receive())["response"] == {}
        for _ in range(5):
            await cancel(client, "over")
        assert await client.call("echo") == {}
        assert client.messages == []


async def test_cancelling_twice_is_cancelling_once(served: Served) -> None:
    async with peer(await served.start()) as client:
        await begun(served, client, "cleaning", "a")
        for _ in range(3):
            await cancel(client, "a")
        assert (await client.receive())["error"] == CANCELLED
        served.gate.set()
        assert await client.call("echo") == {}
        assert client.messages == []
        assert await served.log.get() == "it is clean"  # the second did not disturb it


async def test_a_notification_cannot_be_cancelled(served: Served) -> None:
    async with peer(await served.start()) as client:
        await client.send({"id": None, "cancel": True})
        assert (await client.receive())["error"]["code"] == -32600


@pytest.mark.parametrize("method", ["work", "alone", "stubborn", "echo", "remaining"])
async def test_a_call_that_is_cancelled_in_the_same_breath_has_one_final_frame(
    served: Served, method: str
) -> None:
    socket = await RawSocket.open(await served.start())
    call = message({"id": 1, "method": method, "payload": {"name": "a"}})
    stop, after = message({"id": 1, "cancel": True}), message({"id": 2, "method": "echo"})
    socket.writer.write((call + stop) * 3 + after)
    frames = [await socket.receive() for _ in range(4)]
    if method in ("work", "alone", "stubborn"):
        assert [frame.get("error") for frame in frames] == [CANCELLED] * 3 + [None]
    assert [frame["id"] for frame in frames] == [1, 1, 1, 2]
    served.gate.set()
    await socket.shut()
    await served.gone()
    assert "a finished" not in [served.log.get_nowait() for _ in range(served.log.qsize())]


async def test_a_call_cancelled_in_its_lane_lets_the_next_one_by(served: Served) -> None:
    async with peer(await served.start()) as client:
        await begun(served, client, "alone", "first")
        for id in ("second", "third"):
            await begin(client, "alone", id)
        await cancel(client, "second")
        assert (await client.receive())["id"] == "second"
        await cancel(client, "first")
        assert (await client.receive())["id"] == "first"
        served.gate.set()
        assert (await client.receive())["response"] == "third"
        log = [await served.log.get() for _ in range(3)]
        assert log == ["first was cancelled", "third began", "third finished"]


# Lanes


async def test_calls_of_a_lane_run_one_after_another_in_the_order_of_their_arrival(
    served: Served,
) -> None:
    async with peer(await served.start()) as client:
        for id in ("a", "b", "c"):
            await begin(client, "alone", id)
        await begin(client, "work", "beside")
        assert await served.log.get() == "a began"
        assert await served.log.get() == "beside began"
        served.gate.set()
        answers = [(await client.receive())["response"] for _ in range(4)]
        assert [answer for answer in answers if answer != "beside"] == ["a", "b", "c"]


async def test_calls_with_the_same_value_share_a_lane_whatever_their_method(
    served: Served,
) -> None:
    async with peer(await served.start()) as client:
        await begin(client, "ship", "ship 1", payload={"order": 1})
        await begin(client, "bill", "bill 1", payload={"order": 1})
        await begin(client, "bill", "bill 2", payload={"order": 2})
        await begin(client, "ship", "ship again", payload={"order": 1})
        assert await served.log.get() == "ship 1 began"
        assert await served.log.get() == "bill 2 began"
        assert await client.call("echo") == {}
        assert served.log.empty()  # the others wait
        served.gate.set()
        answers = [(await client.receive())["response"] for _ in range(4)]
        answers.remove("bill 2")
        assert answers == ["ship 1", "bill 1", "ship again"]


async def test_a_handler_in_a_full_lane_gets_the_answer_of_its_own_client(served: Served) -> None:
    async with peer(await served.start(calls=3)) as client:
        for number in range(3):  # as many calls as there may be, all in one lane
            await client.send({"id": number, "method": "confirmed", "payload": {"n": number}})
        for number in range(3):
            asked = await client.receive()
            assert (asked["method"], asked["payload"]) == ("confirm", {"n": number})
            await client.send({"id": asked["id"], "response": f"yes {number}"})
            answer = await client.receive()
            assert (answer["id"], answer["response"]) == (number, f"yes {number}")


async def test_in_a_lane_no_question_to_the_client_may_last_for_ever(serve: Serve) -> None:
    class Asking(Endpoint):
        @ws_rpc(lane=True)
        async def ws_rpc_unbounded(self, payload: Payload) -> str:
            with pytest.raises(ValueError, match="in a lane may wait for ever") as caught:
                await self.call("confirm", timeout=None)
            return str(caught.value)

        @ws_rpc(lane=True, timeout=30)
        async def ws_rpc_bounded(self, payload: Payload) -> Any:
            return await self.call("confirm", timeout=None)

        @ws_rpc(lane=True)
        async def ws_rpc_asks(self, payload: Payload) -> str:
            with pytest.raises(TimeoutError):
                await self.call("confirm", timeout=0.05)
            return "nobody confirmed"

    async with peer(await serve(application(Asking)) / "stream") as client:
        assert "give a timeout" in await client.call("unbounded")
        await client.send({"id": "it", "method": "bounded"})
        await client.send({"id": (await client.receive())["id"], "response": "yes"})
        assert (await client.receive())["response"] == "yes"
        # A client that calls into the lane before it answers waits, and not for ever.
        await client.send({"id": 1, "method": "asks"})
        assert (await client.receive())["method"] == "confirm"
        await client.send({"id": 2, "method": "asks"})
        frames = [await client.receive() for _ in range(4)]
        frames += [await client.receive()]
        ends = [frame["id"] for frame in frames if "response" in frame]
        assert ends == [1, 2]


async def test_the_lanes_of_two_connections_are_two(served: Served) -> None:
    url = await served.start()
    async with peer(url) as one, peer(url) as other:
        await begin(one, "alone", "one")
        await begin(other, "alone", "other")
        began = {await served.log.get(), await served.log.get()}
        assert began == {"one began", "other began"}


async def test_a_long_lane_of_calls_that_do_not_wait_is_worked_off(served: Served) -> None:
    served.gate.set()
    async with peer(await served.start(calls=1000)) as client:
        await client.socket.ping()
        ids = [str(number) for number in range(1000)]
        for id in ids:
            await begin(client, "alone", id)
        assert [(await client.receive())["response"] for _ in ids] == ids


# Shields


async def test_the_work_of_a_shielded_call_goes_on_though_it_was_cancelled(served: Served) -> None:
    async with peer(await served.start()) as client:
        await begun(served, client, "shielded", "a")
        await cancel(client, "a")
        error = (await client.receive())["error"]
        assert error == {"code": -32006, "message": "Cancelled; its work goes on"}
        served.gate.set()
        assert await served.log.get() == "a finished"
        assert await client.call("echo") == {}
        assert client.messages == []


async def test_the_work_of_a_shielded_call_goes_on_though_its_time_is_over(served: Served) -> None:
    async with peer(await served.start()) as client:
        await begin(client, "shielded", "a", timeout=20)
        assert (await client.receive())["error"] == EXPIRED
        served.gate.set()
        assert await served.log.get() == "a began"
        assert await served.log.get() == "a finished"


async def test_a_shielded_call_that_is_cancelled_in_the_same_breath_is_worked_off(
    served: Served,
) -> None:
    socket = await RawSocket.open(await served.start())
    call = message({"id": 1, "method": "shielded", "payload": {"name": "a"}})
    socket.writer.write(call + message({"id": 1, "cancel": True}))
    assert (await socket.receive())["error"]["code"] == -32006
    assert await served.log.get() == "a began"
    served.gate.set()
    assert await served.log.get() == "a finished"
    await socket.shut()


@pytest.mark.parametrize("end", ["close", "reset", "half-close", "breach"])
async def test_when_its_client_leaves_shielded_work_goes_on_and_all_other_is_cancelled(
    served: Served, end: str
) -> None:
    socket = await RawSocket.open(await served.start())
    for method in ("shielded", "work"):
        socket.send({"id": method, "method": method, "payload": {"name": method}})
    assert await served.log.get() == "shielded began"
    assert await served.log.get() == "work began"
    match end:
        case "close":
            socket.writer.write(masked(CLOSE, b"\x03\xe8"))
        case "reset":
            socket.reset()
        case "half-close":
            socket.writer.write_eof()
        case "breach":
            socket.writer.write(b"\x81\x00")
    assert await served.log.get() == "work was cancelled"
    await socket.shut()
    await served.gone()
    served.gate.set()
    assert await served.log.get() == "shielded finished"


async def test_there_is_a_limit_to_shielded_calls_in_the_whole_process(served: Served) -> None:
    url = await served.start(shielded=2)
    left = await RawSocket.open(url)
    left.send({"id": 1, "method": "shielded", "payload": {"name": "of one that left"}})
    assert await served.log.get() == "of one that left began"
    left.reset()
    await served.gone()
    async with peer(url) as one, peer(url) as other:
        await begun(served, one, "shielded", "a")
        error = await other.error("shielded", {"name": "b"})
        assert error["code"] == -32004
        assert error["data"] == {"limit": "shielded", "max": 2}
        served.gate.set()
        assert (await one.receive())["response"] == "a"
        assert [await served.log.get() for _ in range(2)] == [
            "of one that left finished",
            "a finished",
        ]
        assert await other.call("shielded", {"name": "c"}) == "c"
        assert await other.call("shielded", {"name": "d"}) == "d"
        assert await other.call("shielded", {"name": "e"}) == "e"


async def leave_behind(served: Served, url: URL) -> None:
    """Have a shielded call go on without its client."""
    socket = await RawSocket.open(url)
    socket.send({"id": 1, "method": "shielded", "payload": {"name": "it"}})
    assert await served.log.get() == "it began"
    socket.reset()
    await served.gone()


async def test_a_shutdown_waits_for_shielded_work_whose_client_is_gone(served: Served) -> None:
    await leave_behind(served, await served.start(drain_window=600, close_timeout=0.01))
    drain = asyncio.create_task(served.sockets.drain())
    await asyncio.wait([drain], timeout=0.1)
    assert not drain.done()  # longer than it waits for other things
    served.gate.set()
    await drain
    assert await served.log.get() == "it finished"


async def test_a_shutdown_cancels_shielded_work_that_outlasts_its_window(served: Served) -> None:
    await leave_behind(served, await served.start(drain_window=0.02))
    await served.sockets.drain()
    assert await served.log.get() == "it was cancelled"


async def test_shielded_work_of_a_client_that_is_there_is_cancelled_with_the_window(
    served: Served,
) -> None:
    async with peer(await served.start(drain_window=0.02)) as client:
        await begun(served, client, "shielded", "a")
        await begun(served, client, "work", "b")
        drain = asyncio.create_task(served.sockets.drain())
        assert (await client.receive())["event"] == "$reconnect"
        assert (await client.closed())[0] == 1012
        await drain
        log = {await served.log.get(), await served.log.get()}
        assert log == {"a was cancelled", "b was cancelled"}


async def test_a_server_that_has_less_patience_than_the_window_cancels_shielded_work(
    working: type[Working],
) -> None:
    app = application(working, SocketsManager(limits=Limits(drain_window=600)))
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    socket = await RawSocket.open(URL.build(scheme="http", host=host, port=port, path="/stream"))
    socket.send({"id": 1, "method": "shielded", "payload": {"name": "it"}})
    assert await working.log.get() == "it began"
    socket.reset()
    await runner.cleanup()
    assert await working.log.get() == "it was cancelled"


# Notifications


async def test_a_notification_has_a_deadline_a_lane_and_a_place_as_calls_do(
    served: Served,
) -> None:
    async with peer(await served.start(calls=2)) as client:
        await client.send({"id": None, "method": "alone", "payload": {"name": "a"}})
        await client.send({"id": None, "method": "hurried", "payload": {"name": "b"}})
        assert (await client.error("echo"))["code"] == -32004
        log = [await served.log.get() for _ in range(3)]
        assert log == ["a began", "b began", "b was cancelled"]
        await begin(client, "alone", "c")
        served.gate.set()
        assert (await client.receive())["response"] == "c"
        log = [await served.log.get() for _ in range(3)]
        assert log == ["a finished", "c began", "c finished"]


async def test_a_client_may_say_nothing_but_notifications(served: Served) -> None:
    served.gate.set()
    async with peer(await served.start(errors=1)) as client:
        for number in range(10):
            await client.send({"id": None, "method": "work", "payload": {"name": str(number)}})
        log = [await served.log.get() for _ in range(20)]
        assert log[-1] == "9 finished"
        assert await client.call("echo") == {}
