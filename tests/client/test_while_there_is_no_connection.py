"""What is said while there is no connection: it waits, or it fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from openapi.client import Client, ClientState, Status
from openapi.errors import CallFailed, CloseCode, ConnectionClosed, ErrorCode
from openapi.testing import virtual_time
from tests.client.begun import all_wait, begun
from tests.client.door import Door, VirtualDoor

SAYING: Final[dict[str, Callable[[Client], Awaitable[object]]]] = {
    "a call": lambda client: client.call("m"),
    "an idempotent call": lambda client: client.call("m", idempotent=True),
    "a notification": lambda client: client.notify("m"),
    "a stream": lambda client: anext(client.stream("m")),
    "a subscription": lambda client: client.subscribe("a").__aenter__(),
    "publish": lambda client: client.publish("a", "x", 1),
    "history": lambda client: client.history("a"),
    "presence": lambda client: client.presence("a"),
}

TIMED: Final[dict[str, Callable[[Client], Awaitable[object]]]] = {
    "a call": lambda client: client.call("m", timeout=3),
    "an idempotent call": lambda client: client.call("m", timeout=3, idempotent=True),
    "a stream": lambda client: anext(client.stream("m", timeout=3)),
    "a subscription": lambda client: client.subscribe("a", timeout=3).__aenter__(),
    "publish": lambda client: client.publish("a", "x", 1, timeout=3),
}


@asynccontextmanager
async def offline(door: Door, **options: Any) -> AsyncIterator[Client]:
    """A client whose connection was cut, and whose next one waits until the door is open."""
    async with door.connect(**options) as client:
        visit = await door.visit()
        door.open.clear()
        visit.cut()
        await door.knocked(2)
        yield client


class TestItWaits:
    async def test_and_is_sent_in_its_order(self) -> None:
        async with Door() as door, offline(door) as client:
            saying = [
                begun(client.call("a")),
                begun(client.notify("b")),
                begun(client.subscribe("c").__aenter__()),
                begun(client.publish("c", "x", 1)),
                begun(anext(client.stream("d"))),
                begun(client.subscribe("e").__aenter__()),
                begun(client.call("f")),
            ]
            await all_wait()
            door.open.set()
            visit = await door.visit()
            calls = [await visit.received() for _ in saying]
            methods = [call["method"] for call in calls]
            # A subscription is the sooner there, and so misses nothing that is published then.
            assert [each for each in methods if each != "subscribe"] == [
                "a",
                "b",
                "publish",
                "d",
                "f",
            ]
            assert methods.index("subscribe") < methods.index("publish")
            for call in calls:
                if call["method"] == "d":
                    await visit.item(call, 1)
                elif call["id"] is not None:
                    await visit.agree(call, {})
            await asyncio.gather(*saying)

    async def test_and_goes_before_what_is_said_when_it_is_told_that_there_is_one(self) -> None:
        clients: list[Client] = []
        later: list[asyncio.Future[Any]] = []

        def said(status: Status) -> None:
            if clients and status.state is ClientState.OPEN:
                later.append(begun(clients[0].notify("later")))

        async with Door() as door, offline(door, on_state=said) as client:
            clients.append(client)
            earlier = [
                begun(client.notify("earlier")),
                begun(client.call("earlier", idempotent=True)),
            ]
            await all_wait()
            door.open.set()
            visit = await door.visit()
            frames = [await visit.received() for _ in range(3)]
            assert [each["method"] for each in frames] == ["earlier", "earlier", "later"]
            await visit.agree(frames[1], 1)
            await asyncio.gather(*earlier, *later)

    async def test_for_the_first_connection_too(self) -> None:
        async with Door() as door:
            door.open.clear()
            async with door.connect(wait_open=False) as client:
                asking = begun(client.call("m"))
                await door.knocked(1)
                door.open.set()
                visit = await door.visit()
                await visit.answer(1)
                assert await asking == 1

    @pytest.mark.parametrize("what", TIMED)
    @virtual_time
    async def test_until_its_time_is_over_and_is_never_sent(self, what: str) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, offline(door, open_timeout=1000) as client:
            began = loop.time()
            with pytest.raises(TimeoutError):
                await TIMED[what](client)
            assert loop.time() - began == 3
            door.open.set()
            visit = await door.visit()
            await visit.hears_only(client)

    @pytest.mark.parametrize("what", SAYING)
    async def test_until_it_is_cancelled_and_is_never_sent(self, what: str) -> None:
        async with Door() as door, offline(door) as client:
            saying = begun(SAYING[what](client))
            await all_wait()
            saying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await saying
            door.open.set()
            visit = await door.visit()
            await visit.hears_only(client)

    @pytest.mark.parametrize("what", SAYING)
    async def test_until_the_client_is_closed_for_good(self, what: str) -> None:
        async with Door() as door, offline(door) as client:
            saying = begun(SAYING[what](client))
            await all_wait()
            door.refuse(403)
            door.open.set()
            with pytest.raises(ConnectionClosed, match="403 Forbidden") as caught:
                await saying
            assert not caught.value.may_have_run
            assert client.state is ClientState.CLOSED

    @pytest.mark.parametrize("what", SAYING)
    async def test_until_the_application_closes_the_client(self, what: str) -> None:
        async with Door() as door, offline(door) as client:
            saying = begun(SAYING[what](client))
            await all_wait()
            await client.close(1000, "enough")
            with pytest.raises(ConnectionClosed, match="enough") as caught:
                await saying
            assert not caught.value.may_have_run

    @pytest.mark.parametrize("what", SAYING)
    async def test_but_no_more_than_may_wait(self, what: str) -> None:
        async with Door() as door, offline(door, waiting=3) as client:
            waiting = [
                begun(client.call("a")),
                begun(client.notify("b")),
                begun(client.subscribe("c").__aenter__()),
            ]
            await all_wait()
            with pytest.raises(CallFailed) as caught:
                await SAYING[what](client)
            assert caught.value.code == ErrorCode.TOO_MANY_CALLS
            assert caught.value.data == {"limit": "waiting", "max": 3}
            waiting.pop().cancel()
            await all_wait()
            saying = begun(SAYING[what](client))
            await all_wait()
            assert not saying.done()
            with pytest.raises(CallFailed):
                await client.call("m")
            saying.cancel()
            await all_wait()
            door.open.set()
            visit = await door.visit()
            await visit.answer(1)
            await visit.asked("b")
            assert await asyncio.gather(*waiting) == [1, None]
            asking = begun(client.call("m"))
            await visit.answer(2)
            assert await asking == 2

    async def test_and_what_was_sent_once_is_not_refused_though_as_many_wait_as_may(self) -> None:
        async with Door() as door, door.connect(waiting=1) as client:
            visit = await door.visit()
            asking = begun(client.call("a", idempotent=True))
            await visit.asked("a")
            waiting = begun(client.subscribe("b").__aenter__())
            door.open.clear()
            await visit.asked("subscribe")
            visit.cut()
            await door.knocked(2)
            with pytest.raises(CallFailed) as caught:
                await client.call("c")
            assert caught.value.code == ErrorCode.TOO_MANY_CALLS
            door.open.set()
            again = await door.visit()
            for _ in range(2):
                call = await again.received()
                await again.agree(call, {"was": call["method"]})
            assert await asking == {"was": "a"}
            await waiting


class TestItFails:
    @pytest.mark.parametrize("what", SAYING)
    async def test_at_once(self, what: str) -> None:
        async with Door() as door, offline(door, offline="fail") as client:
            with pytest.raises(ConnectionClosed) as caught:
                await SAYING[what](client)
            assert caught.value.code == CloseCode.ABNORMAL
            assert not caught.value.may_have_run
            door.open.set()
            visit = await door.visit()
            await client.wait_open()
            await visit.hears_only(client)

    async def test_before_the_first_connection_too(self) -> None:
        async with Door() as door:
            door.open.clear()
            async with door.connect(offline="fail", wait_open=False) as client:
                with pytest.raises(ConnectionClosed, match="there is no connection yet"):
                    await client.call("m")
                door.open.set()
                await client.wait_open()
                visit = await door.visit()
                await visit.hears_only(client)

    async def test_and_says_why_there_is_none(self) -> None:
        async def token() -> dict[str, str]:
            if door.knocks:
                raise LookupError("no token")
            return {}

        async with (
            Door() as door,
            door.connect(offline="fail", headers=token, on_state=door.said) as client,
        ):
            (await door.visit()).cut()
            await door.said.then("open", "waiting", "connecting", "waiting")
            with pytest.raises(ConnectionClosed, match="no token") as caught:
                await client.call("m")
            assert isinstance(caught.value.__cause__, LookupError)

    async def test_while_the_server_is_about_to_close_and_the_next_is_not_there(self) -> None:
        async with Door() as door, door.connect(offline="fail", on_state=door.said) as client:
            visit = await door.visit()
            await visit.reconnect(after=3_600_000)
            await door.said.then("open", "open")
            with pytest.raises(ConnectionClosed, match="the server is about to close") as caught:
                await client.call("m")
            assert (caught.value.code, caught.value.may_have_run) == (1012, False)
            visit.said_nothing_else()

    async def test_and_a_subscription_that_there_is_comes_back_all_the_same(self) -> None:
        async with Door() as door, door.connect(offline="fail") as client:
            visit = await door.visit()
            entering = begun(client.subscribe("a").__aenter__())
            await visit.subscribed()
            messages = await entering
            again = await door.lose(visit)
            await again.subscribed()
            await again.say("a", "x", 1)
            assert (await anext(messages)).data == 1

    async def test_only_what_there_is_to_choose_is_an_option(self) -> None:
        async with Door() as door:
            with pytest.raises(ValueError, match="there is no offline='drop': it is 'wait' or"):
                async with door.connect(offline="drop"):
                    pass
