"""What a server, or an application, says that makes no sense does not break the client."""

import asyncio
from typing import Any

import pytest

from openapi.client import Backoff, Client, ClientState, Position, PositionLost, Status, connect
from openapi.client.subscription import Subscription
from openapi.errors import ConnectionClosed, DeclarationError
from openapi.testing import virtual_time
from tests.client.door import QUICK, Door, VirtualDoor
from tests.client.servers import Keeping
from tests.conftest import Serve

AGES = "9" * 400
"""Milliseconds that are no float any more."""

HOUR = 3600


class TestATimeOfTheServer:
    """It is believed up to an hour."""

    @pytest.mark.parametrize(("after", "seconds"), [(AGES, HOUR), ("-5000", 0), ("0", 0)])
    @virtual_time
    async def test_to_come_back(self, after: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            await door.said.then("open")
            began = loop.time()
            frame = f'{{"event":"$reconnect","data":{{"after":{after},"code":1012}}}}'
            await old.ws.send_str(frame)
            await door.visit()
            assert loop.time() - began == pytest.approx(seconds, abs=1)
            assert await old.left() == 1000
            assert client.state is ClientState.OPEN

    @pytest.mark.parametrize(("after", "seconds"), [(int(AGES), HOUR), (-5000, 0)])
    @virtual_time
    async def test_to_call_again(self, after: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, door.connect() as client:
            visit = await door.visit()
            call = client.call("m", timeout=None, idempotent=True)
            asking = asyncio.create_task(call)
            asked = await visit.asked("m")
            began = loop.time()
            await visit.refuse(asked, -32003, retry_after=after)
            await visit.agree(await visit.asked("m"), 1)
            assert loop.time() - began == pytest.approx(seconds, abs=1)
            assert await asking == 1

    @pytest.mark.parametrize(("after", "seconds"), [(int(AGES), HOUR), (-5000, 0)])
    @virtual_time
    async def test_to_ask_for_a_subscription_again(self, after: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, door.connect(reconnect=QUICK) as client:
            visit = await door.visit()
            messages: Subscription[Any] = await visit.enter(client.subscribe("a"))
            visit = await door.lose(visit)
            asked = await visit.asked("subscribe")
            began = loop.time()
            await visit.refuse(asked, -32003, retry_after=after)
            await visit.subscribed()
            assert loop.time() - began == pytest.approx(seconds, abs=1)
            await visit.say("a", "x", 1)
            assert (await anext(messages)).data == 1


async def flood(keeping: Keeping) -> Position:
    """Publish more than a message may have; returns the position behind that."""
    for _ in range(19):
        await keeping.sockets.publish("host", "n", "x" * 2000)
    at = await keeping.sockets.publish("host", "n", "x" * 2000)
    assert at is not None
    return at


class TestWhatIsTooLong:
    async def test_is_said_to_whoever_is_told_why(self) -> None:
        async with Door() as door, door.connect(on_state=door.said, message_bytes=100):
            visit = await door.visit()
            await visit.say("a", "x", "x" * 100)
            status = await door.said.then("open", "waiting")
            assert "is longer than message_bytes" in str(status.reason)

    async def test_to_be_recovered_is_lost_and_the_reader_is_told(
        self, serve: Serve, keeping: Keeping
    ) -> None:
        url = await serve(keeping.app) / "stream"
        options: dict[str, Any] = {"reconnect": QUICK, "message_bytes": 20_000}
        async with connect(url, **options) as client, client.subscribe("host") as messages:
            keeping.cut()
            at = await flood(keeping)
            with pytest.raises(PositionLost):
                await anext(messages)
            assert (messages.recovered, messages.position) == (False, at)
            await keeping.publish("host", 21)
            assert (await anext(messages)).data == 21

    async def test_for_whoever_goes_on_from_a_position_is_lost(
        self, serve: Serve, keeping: Keeping
    ) -> None:
        url = await serve(keeping.app) / "stream"
        start = await keeping.publish("host", 0)
        at = await flood(keeping)
        async with (
            connect(url, reconnect=QUICK, message_bytes=20_000) as client,
            client.subscribe("host", recover=start) as messages,
        ):
            assert (messages.recovered, messages.position) == (False, at)

    async def test_of_another_channel_does_not_lose_what_is_asked_for_the_next_time(self) -> None:
        async with Door() as door, door.connect(message_bytes=300) as client:
            visit = await door.visit()
            await visit.enter(client.subscribe("a"), offset=1, epoch="e")
            visit.cut()
            for _ in range(2):
                visit = await door.visit()
                assert (await visit.asked("subscribe"))["payload"]["recover"]["offset"] == 1
                await visit.say("b", "x", "x" * 300)
            visit = await door.visit()
            assert "recover" not in (await visit.asked("subscribe"))["payload"]
            visit.cut()


class TestWhatIsNoFrame:
    async def test_is_said_to_whoever_is_told_why(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            visit.transport.write(b"\xf1\x00")  # with all reserved bits
            closed = await client.wait_closed()
            assert closed.code == 1002
            assert closed.reason.startswith("the server sent what no WebSocket sends: ")


class TestClosing:
    @pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70000])
    async def test_with_a_code_that_cannot_be_sent_is_refused(self, code: int) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            with pytest.raises(ValueError, match=f"close code {code} cannot be sent"):
                await client.close(code)
            asking = asyncio.create_task(client.call("m"))
            await visit.answer(1)
            assert await asking == 1

    @pytest.mark.parametrize("code", [1000, 1001, 1012, 3000, 4008, 4501])
    async def test_with_any_other_the_server_is_told(self, code: int) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            await client.close(code, "why")
            assert await visit.left() == code
            assert client.state is ClientState.CLOSED

    async def test_with_a_reason_that_is_too_long_says_as_much_as_can_be_said(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            await client.close(4000, "é" * 62)
            assert await visit.left() == 4000


class TestAnOption:
    @pytest.mark.parametrize(
        "option",
        [
            {"calls": 0},
            {"calls": -1},
            {"waiting": 0},
            {"queue_bytes": 0},
            {"message_bytes": 0},
            {"open_timeout": 0},
            {"close_timeout": -1},
            {"heartbeat": 0},
            {"heartbeat": float("nan")},
        ],
    )
    async def test_that_makes_no_sense_is_refused(self, option: dict[str, Any]) -> None:
        ((name, value),) = option.items()
        with pytest.raises(ValueError, match=f"there is no {name}={value!r}: it is "):
            async with connect("ws://127.0.0.1:9/", **option):
                pass

    async def test_that_nobody_would_await_is_refused(self) -> None:
        async def told(what: Status | Subscription[Any]) -> None: ...

        with pytest.raises(DeclarationError, match=r"on_state .* is a coroutine function"):
            async with connect("ws://127.0.0.1:9/", on_state=told):
                pass
        async with Door() as door, door.connect() as client:
            with pytest.raises(DeclarationError, match=r"on_renewed .* is a coroutine function"):
                client.subscribe("a", on_renewed=told)


class TestAUrl:
    @pytest.mark.parametrize("url", [None, 5, b"ws://x", "http://[", "ws://host:99999/"])
    async def test_that_is_none_is_refused_in_a_sentence(self, url: Any) -> None:
        with pytest.raises(ValueError, match="is no URL of a WebSocket: write ws://HOST"):
            async with connect(url):
                pass
        with pytest.raises(ValueError, match="is no URL of a WebSocket: write ws://HOST"):
            async with connect(lambda: url):
                pass

    async def test_with_secrets_is_told_without_them(self) -> None:
        url = "ws://user:secret@127.0.0.1:9/path?token=secret"
        with pytest.raises(ConnectionClosed, match="to ws://127.0.0.1:9/path: ") as caught:
            async with connect(url):
                pass
        assert "secret" not in str(caught.value)


class TestWhyThereIsNoConnection:
    async def test_keeps_its_cause(self) -> None:
        async def token() -> str:
            raise KeyError("token")

        async def told(client: Client) -> ConnectionClosed:
            with pytest.raises(ConnectionClosed) as caught:
                await client.call("m")
            return caught.value

        said = asyncio.Event()
        slow = Backoff(first=1000, cap=1000)
        async with connect(
            token,
            wait_open=False,
            offline="fail",
            reconnect=slow,
            on_state=lambda status: said.set(),
        ) as client:
            await said.wait()
            closed = await told(client)
            assert isinstance(closed.__cause__, KeyError)
            assert closed.reason == "KeyError: 'token'"
        async with connect(token, wait_open=False, reconnect=None) as client:
            await client.wait_closed()
            assert isinstance((await told(client)).__cause__, KeyError)


class TestAnOldConnection:
    @virtual_time
    async def test_is_pinged_no_more(self) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, door.connect(heartbeat=20) as client:
            old = await door.visit()
            gone = client._connection
            assert gone is not None
            await door.move(old)
            assert await old.left() == 1000
            await asyncio.sleep(0.1)
            assert gone.link._ws._heartbeat_cb is None
            began = loop.time()
            await asyncio.sleep(100)
            assert loop.time() - began == pytest.approx(100)
