"""What a channel keeps, read by itself; positions and keys of what is published."""

from typing import Any

import pytest
from yarl import URL

from openapi.client import Client, History, Message, Position
from openapi.errors import CallFailed, ErrorCode, InvalidData, UnexpectedData
from tests.client.servers import Keeper, Keeping, Peer, Scripted, Sum, connect_once


def data(history: History[Any]) -> list[Any]:
    return [message.data for message in history.messages]


class TestHistory:
    async def test_is_messages_and_where_the_channel_is(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        first, top = await keeping.publish("c", 1), await keeping.publish("c", 2)
        async with connect_once(kept, encoding=encoding) as client:
            assert await client.history("c") == History(
                [Message("c", "n", 1, first), Message("c", "n", 2, top)], top
            )

    async def test_of_a_channel_that_has_had_no_message_is_empty(self, kept: URL) -> None:
        async with connect_once(kept) as client:
            history = await client.history("c")
        assert (history.messages, history.position.offset) == ([], 0)

    async def test_is_read_forwards_and_backwards_from_a_position_and_so_many(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        third = await keeping.publish("c", 1, 2, 3)
        await keeping.publish("c", 4, 5)
        async with connect_once(kept, encoding=encoding) as client:
            assert data(await client.history("c", limit=2)) == [1, 2]
            assert data(await client.history("c", since=third)) == [4, 5]
            assert data(await client.history("c", since=third, limit=1)) == [4]
            assert data(await client.history("c", reverse=True, limit=2)) == [5, 4]
            assert data(await client.history("c", since=third, reverse=True)) == [2, 1]

    async def test_has_its_type(self, kept: URL, keeping: Keeping, encoding: Any) -> None:
        await keeping.sockets.publish("c", "sum", {"sum": 1})
        async with connect_once(kept, encoding=encoding) as client:
            history: History[Sum] = await client.history("c", type=Sum)
            assert data(history) == [Sum(1)]
            with pytest.raises(UnexpectedData) as caught:
                await client.history("c", type=list[int])
            assert caught.value.errors == {"messages[0].data": "expected `array`, got `object`"}
            assert isinstance(caught.value.__cause__, InvalidData)
            await keeping.sockets.publish("c", "sum", {"sum": "2"})
            with pytest.raises(UnexpectedData) as caught:
                await client.history("c", type=Sum)
            assert list(caught.value.errors) == ["messages[1].data.sum"]

    async def test_bytes_stay_bytes_where_the_encoding_has_them(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept, encoding="msgpack") as client:
            seen = await client.publish("c", "n", b"\x00")
            await client.publish("c", "n", [b"\xff"])
            assert data(await client.history("c")) == [b"\x00", [b"\xff"]]
            assert data(await client.history("c", limit=1, type=bytes)) == [b"\x00"]
            async with client.subscribe("c", recover=seen, type=list[bytes]) as messages:
                assert (await anext(messages)).data == [b"\xff"]

    async def test_that_is_not_kept_or_not_allowed_or_of_another_stream_is_refused(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async def refusal(
            client: Client, channel: str, since: Position | None = None
        ) -> CallFailed:
            with pytest.raises(CallFailed) as caught:
                await client.history(channel, since=since)
            return caught.value

        async with connect_once(kept) as client:
            assert (await refusal(client, "fleeting")).errors == {"channel": "keeps no history"}
            lost = await refusal(client, "c", Position(1, "lost"))
            assert lost.errors is not None
            assert list(lost.errors) == ["since"]
            Keeper.refused = frozenset({"history"})
            assert (await refusal(client, "c")).code == ErrorCode.NOT_ALLOWED

    @pytest.mark.parametrize(
        ("response", "path"),
        [
            (None, ""),
            ({"messages": []}, ""),
            ({"offset": 1, "epoch": 2, "messages": []}, ""),
            ({"offset": 1, "epoch": "x"}, "messages"),
            ({"offset": 1, "epoch": "x", "messages": [1]}, "messages[0]"),
        ],
    )
    async def test_that_cannot_be_read_is_told(
        self, scripted: Scripted, response: object, path: str
    ) -> None:
        async def script(peer: Peer) -> None:
            call = await peer.answer(response)
            assert call["payload"] == {"channel": "c"}
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            with pytest.raises(UnexpectedData) as caught:
                await client.history("c")
        assert list(caught.value.errors) == [path]

    async def test_of_a_newer_server_is_read_as_far_as_it_is_known(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            new = {"event": "n", "offset": 1, "at": 12.5}
            await peer.answer({"offset": 1, "epoch": "x", "messages": [new], "more": True})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            position = Position(1, "x")
            history = History([Message("c", "n", None, position)], position)
            assert await client.history("c") == history


class TestPublishing:
    async def test_returns_the_position_where_there_is_one(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c") as messages,
        ):
            position = await client.publish("c", "n", 1)
            assert position is not None
            assert await anext(messages) == Message("c", "n", 1, position)
            assert await client.publish("fleeting", "n", 1) is None

    async def test_with_a_key_it_happens_once(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        async with connect_once(kept, encoding=encoding) as client:
            position = await client.publish("c", "n", 1, key="a")
            assert await client.publish("c", "n", 1, key="a") == position
            assert await client.publish("c", "n", 2, key="b") != position
            assert data(await client.history("c")) == [1, 2]
            with pytest.raises(CallFailed) as caught:
                await client.publish("c", "n", 3, key="a")
            assert caught.value.errors is not None
            assert list(caught.value.errors) == ["key"]

    async def test_with_a_key_it_can_be_tried_again_when_the_connection_was_cut(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client, client.subscribe("c") as messages:
            await client.publish("c", "n", 1, key="a")
            await anext(messages)
            keeping.cut()
            await client.wait_closed()
        async with connect_once(kept) as client:
            await client.publish("c", "n", 1, key="a")
            assert data(await client.history("c")) == [1]
