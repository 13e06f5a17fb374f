"""Messages that wait for the answer to the call that subscribed to them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from openapi.ws import RpcError, ws_rpc
from openapi.ws.hold import Hold
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer


def test_a_channel_that_nothing_holds_keeps_nothing() -> None:
    hold = Hold()
    assert not hold
    assert not hold.keep("c", b"1")
    hold.begin("c", "call")
    assert hold
    assert not hold.keep("d", b"1")


def test_what_was_kept_goes_out_in_order_when_the_call_has_ended() -> None:
    hold = Hold()
    hold.begin("c", "call")
    assert hold.keep("c", b"one")
    assert hold.keep("c", b"two")
    assert hold.size == 6
    assert hold.end("call") == [b"one", b"two"]
    assert (hold.size, bool(hold)) == (0, False)


def test_two_calls_that_hold_one_channel_both_end_first() -> None:
    hold = Hold()
    hold.begin("c", "first")
    hold.begin("c", "second")
    hold.begin("c", "second")
    hold.keep("c", b"1")
    assert hold.end("first") == []
    assert hold.end("stranger") == []
    assert hold.end("second") == [b"1"]


def test_a_call_may_hold_several_channels() -> None:
    hold = Hold()
    for channel in ("c", "d"):
        hold.begin(channel, "call")
        hold.keep(channel, channel.encode())
    assert hold.end("call") == [b"c", b"d"]


def test_what_is_dropped_is_gone_and_its_channel_is_held_all_the_same() -> None:
    hold = Hold()
    hold.begin("c", "call")
    hold.keep("c", b"1")
    hold.drop()
    assert hold.size == 0
    assert hold.keep("c", b"2")  # it must not overtake the answer
    assert hold.end("call") == []


class Subscribing(Endpoint):
    """Subscribes, has messages published at once, and answers when the gate is open."""

    gate: asyncio.Event
    log: asyncio.Queue[str]

    async def ws_rpc_watch(self, payload: dict[str, Any]) -> str:
        await self.channels.register("c", None, self.connection)
        await self.sockets.publish("c", "early", 1)
        self.log.put_nowait("subscribed")
        try:
            await self.gate.wait()
        finally:
            await self.sockets.publish("c", "late", 2)
        return "watching"

    @ws_rpc(shield=True)
    async def ws_rpc_watch_shielded(self, payload: dict[str, Any]) -> str:
        return await self.ws_rpc_watch(payload)

    async def ws_rpc_watch_stream(self, payload: dict[str, Any]) -> AsyncIterator[str]:
        yield "first"
        yield await self.ws_rpc_watch(payload)

    async def ws_rpc_fail(self, payload: dict[str, Any]) -> None:
        await self.channels.register("c", None, self.connection)
        await self.sockets.publish("c", "early", 1)
        raise RpcError(7, "all the same")

    async def ws_rpc_let(self, payload: dict[str, Any]) -> str:
        self.gate.set()
        return "let"


@pytest.fixture
def subscribing() -> type[Subscribing]:
    class Fresh(Subscribing):
        gate = asyncio.Event()
        log: asyncio.Queue[str] = asyncio.Queue()

    return Fresh


@pytest.fixture
async def url(serve: Serve, subscribing: type[Subscribing]) -> URL:
    return await serve(application(subscribing)) / "stream"


async def heard(client: Peer, count: int) -> list[Any]:
    """The next frames, each as its response, item, error code or event."""
    found = []
    for _ in range(count):
        frame = await client.receive()
        short = [frame[key] for key in ("response", "item", "event") if key in frame]
        found += short or [frame["error"]["code"]]
    return found


@pytest.mark.parametrize("method", ["watch", "watch_shielded"])
async def test_a_handler_that_subscribes_is_answered_before_its_messages(
    url: URL, method: str
) -> None:
    async with peer(url) as client:
        await client.send({"id": "it", "method": method})
        await client.send({"id": "let", "method": "let"})
        assert await heard(client, 4) == ["let", "watching", "early", "late"]


async def test_a_stream_that_subscribes_has_ended_before_its_messages(url: URL) -> None:
    async with peer(url) as client:
        await client.send({"id": "it", "method": "watch_stream"})
        await client.send({"id": "let", "method": "let"})
        got = await heard(client, 6)
        got.remove("let")
        assert got == ["first", "watching", None, "early", "late"]


async def test_a_handler_that_subscribes_and_fails_is_answered_before_its_messages(
    url: URL,
) -> None:
    async with peer(url) as client:
        await client.send({"id": "it", "method": "fail"})
        assert await heard(client, 2) == [7, "early"]


async def test_a_cancelled_call_that_subscribed_is_answered_before_its_messages(
    url: URL, subscribing: type[Subscribing]
) -> None:
    async with peer(url) as client:
        await client.send({"id": "it", "method": "watch"})
        await subscribing.log.get()
        await client.send({"id": "it", "cancel": True})
        assert await heard(client, 3) == [-32006, "early", "late"]


async def test_a_call_that_expired_and_subscribed_is_answered_before_its_messages(
    url: URL,
) -> None:
    async with peer(url) as client:
        await client.send({"id": "it", "method": "watch", "timeout": 20})
        assert await heard(client, 3) == [-32005, "early", "late"]


async def test_messages_wait_for_the_answer_and_not_for_shielded_work_behind_it(
    url: URL, subscribing: type[Subscribing]
) -> None:
    async with peer(url) as client:
        await client.send({"id": "it", "method": "watch_shielded"})
        await subscribing.log.get()
        await client.send({"id": "it", "cancel": True})
        await client.send({"id": "let", "method": "let"})
        assert await heard(client, 4) == [-32006, "early", "let", "late"]


async def test_a_subscription_in_the_background_holds_nothing(serve: Serve) -> None:
    class Background(Endpoint):
        async def ws_rpc_begin(self, payload: dict[str, Any]) -> None:
            self.sockets.spawn(self.watch())

        async def watch(self) -> None:
            await answered.wait()
            await self.channels.register("c", None, self.connection)
            await self.sockets.publish("c", "event", 1)

    answered = asyncio.Event()
    async with peer(await serve(application(Background)) / "stream") as client:
        await client.call("begin")
        answered.set()
        assert (await client.message())["event"] == "event"
