"""MessagePack instead of JSON: the same client, and values that JSON has no form of its own for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

import msgspec
import pytest
from aiohttp import web
from yarl import URL

from openapi.client import Client, Message
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode, UnexpectedData
from openapi.ws import Limits
from tests.client.servers import Add, Endpoint, Everything, Peer, Scripted, Sum, connect_once

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DATA = b"\x00\xff"
PAYLOAD = {"data": DATA, "at": NOON, "number": 2**63}


@pytest.fixture
async def packed(url: URL) -> AsyncIterator[Client]:
    async with connect_once(url, encoding="msgpack") as client:
        yield client


class TestMessagePack:
    async def test_bytes_dates_and_large_integers_stay_what_they_are(self, packed: Client) -> None:
        assert await packed.call("echo", PAYLOAD) == PAYLOAD
        typed = Everything(DATA, NOON, 2**64 - 1)
        assert await packed.call("keep", typed, returns=Everything) == typed

    async def test_as_json_they_are_strings_and_integers(self, client: Client) -> None:
        assert await client.call("echo", PAYLOAD) == {
            "data": "AP8=",
            "at": "2026-05-04T12:00:00Z",
            "number": 2**63,
        }
        typed = Everything(DATA, NOON, 2**53 + 1)
        assert await client.call("keep", typed, returns=Everything) == typed

    async def test_calls_and_their_failures(self, packed: Client) -> None:
        assert await packed.call("add", Add(1, 2), returns=Sum) == Sum(3)
        assert await packed.call("echo") == {}
        with pytest.raises(UnexpectedData) as unexpected:
            await packed.call("echo", {"sum": "3"}, returns=Sum)
        assert list(unexpected.value.errors) == ["sum"]
        with pytest.raises(CallFailed) as caught:
            await packed.call("fail")
        assert (caught.value.code, caught.value.data) == (7, {"why": 1})
        with pytest.raises(CallFailed) as caught:
            await packed.call("add", {"a": b"1"})
        assert caught.value.errors is not None
        assert set(caught.value.errors) == {"a", "b"}

    async def test_notifications(self, packed: Client) -> None:
        await packed.notify("note", {"data": DATA})
        assert await Endpoint.noted.get() == {"data": DATA}

    async def test_published_messages(self, packed: Client, client: Client) -> None:
        async with packed.subscribe("news") as news, client.subscribe("news") as as_json:
            await packed.publish("news", "dawn", {"data": DATA})
            assert await anext(news) == Message("news", "dawn", {"data": DATA})
            assert await anext(as_json) == Message("news", "dawn", {"data": "AP8="})

    async def test_published_messages_with_a_type(self, packed: Client) -> None:
        async with packed.subscribe("sums", type=Sum) as sums:
            await packed.publish("sums", "new", {"sum": "1"})
            await packed.publish("sums", "new", Sum(2))
            with pytest.raises(UnexpectedData) as caught:
                await anext(sums)
            assert list(caught.value.errors) == ["data.sum"]
            assert (await anext(sums)).data == Sum(2)

    async def test_streams(self, packed: Client) -> None:
        for item in (PAYLOAD, DATA, NOON, ...):
            Endpoint.fed.put_nowait(item)
        items = packed.stream("feed")
        assert [item async for item in items] == [PAYLOAD, DATA, NOON]
        assert items.response is None
        answer = packed.stream("echo", PAYLOAD)
        assert [item async for item in answer] == []
        assert answer.response == PAYLOAD

    async def test_calls_of_the_server(self, packed: Client) -> None:
        async def keep(payload: Everything) -> Everything:
            return payload

        async def echo(payload: dict[str, Any]) -> Any:
            return payload

        packed.serve("keep", keep)
        packed.serve("echo", echo)
        for method in ("keep", "echo"):
            assert await packed.call("ask", {"method": method, "payload": PAYLOAD}) == PAYLOAD
        with pytest.raises(CallFailed) as caught:
            await packed.call("ask", {"method": "nothing"})
        assert caught.value.code == ErrorCode.METHOD_NOT_FOUND

    async def test_a_call_that_is_given_up_ends_at_the_server(self, packed: Client) -> None:
        with pytest.raises(TimeoutError):
            await packed.call("wait", timeout=0.01)
        assert await Endpoint.ended.get() is asyncio.CancelledError

    async def test_a_call_that_is_too_long_for_the_server_fails_at_once(
        self, packed: Client
    ) -> None:
        with pytest.raises(CallFailed) as caught:
            await packed.call("echo", {"data": bytes(Limits().message_bytes)})
        assert caught.value.code == ErrorCode.LIMIT_EXCEEDED
        assert await packed.call("echo") == {}

    async def test_a_subscription_that_the_server_takes_back_ends_with_its_reason(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            call = msgspec.msgpack.decode(await peer.ws.receive_bytes())
            data = {"code": -32002, "message": "not allowed"}
            for frame in (
                {"id": call["id"], "response": {}},
                {"channel": "host", "event": "$unsubscribed", "data": data},
            ):
                await peer.ws.send_bytes(msgspec.msgpack.encode(frame))
            await peer.gone()

        url = await scripted(script, protocols=["wsrpc.v1.msgpack"])
        async with connect_once(url, encoding="msgpack") as client:
            async with client.subscribe("host") as messages:
                with pytest.raises(CallFailed, match="not allowed"):
                    await anext(messages)

    async def test_text_means_nothing_in_it_and_neither_does_what_is_no_message_pack(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({"id": 1, "response": "text"})
            await peer.ws.send_bytes(b"\xc1")
            await peer.ws.send_bytes(b"")
            call = msgspec.msgpack.decode(await peer.ws.receive_bytes())
            answer = {"id": call["id"], "response": "packed"}
            await peer.ws.send_bytes(msgspec.msgpack.encode(answer))
            await peer.gone()

        url = await scripted(script, protocols=["wsrpc.v1.msgpack"])
        async with connect_once(url, encoding="msgpack") as client:
            assert await client.call("echo") == "packed"
            assert client.ignored == 3

    async def test_names_that_cannot_be_told_apart_in_good_time_are_not_read(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            pack = msgspec.msgpack.encode
            names = [pack(name) for name in product((-1, -2), repeat=14)]  # of one hash, all
            data = b"\xde%b%b" % (len(names).to_bytes(2), b"".join(name + b"\1" for name in names))
            frame = {"channel": "host", "event": "cpu", "data": msgspec.Raw(data)}
            await peer.ws.send_bytes(pack(frame))
            for response in (msgspec.Raw(data), "short"):
                call = msgspec.msgpack.decode(await peer.ws.receive_bytes())
                await peer.ws.send_bytes(pack({"id": call["id"], "response": response}))
            await peer.gone()

        url = await scripted(script, protocols=["wsrpc.v1.msgpack"])
        async with connect_once(url, encoding="msgpack") as client:
            with pytest.raises(UnexpectedData, match="nested more than 1000 deep"):
                await client.call("echo")
            assert await client.call("echo") == "short"
            assert client.ignored == 1


class TestChoosing:
    @pytest.mark.parametrize("protocols", [[], ["wsrpc.v1.json"]])
    async def test_a_server_that_does_not_speak_it_is_left_with_an_advice(
        self, scripted: Scripted, protocols: list[str]
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.gone()
            codes.put_nowait(peer.ws.close_code)

        codes: asyncio.Queue[int | None] = asyncio.Queue()
        url = await scripted(script, protocols=protocols)
        with pytest.raises(ConnectionClosed) as caught:
            async with connect_once(url, encoding="msgpack"):
                pass
        assert caught.value.code == 1003
        assert caught.value.reason == (
            f"{url} does not speak wsrpc.v1.msgpack: connect with encoding='json'"
        )
        assert await codes.get() == 1003

    async def test_there_are_two(self, app: web.Application) -> None:
        with pytest.raises(ValueError, match="no encoding 'cbor': it is 'json' or 'msgpack'"):
            # who has no type checker hears of it here
            async with connect_once("ws://localhost/", encoding="cbor"):  # type: ignore[arg-type]
                pass
