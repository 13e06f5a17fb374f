"""Who is on a channel, asked for and told."""

from typing import Any, assert_type

import pytest
from yarl import URL

from openapi.client import Client, Member, Message, Subscription, TooSlow
from openapi.errors import CallFailed, ErrorCode, UnexpectedData
from tests.client.servers import Keeper, Keeping, Peer, Scripted, Sum, connect_once, connection_of


def as_user(url: URL, user: str) -> URL:
    return url.with_query(user=user)


class TestAsking:
    async def test_members_are_told_with_the_number_of_their_connections(
        self, kept: URL, encoding: Any
    ) -> None:
        ann, bob = as_user(kept, "ann"), as_user(kept, "bob")
        async with (
            connect_once(ann, encoding=encoding) as client,
            connect_once(ann) as same,
            connect_once(bob) as other,
            client.subscribe("room"),
            same.subscribe("room"),
        ):
            assert await client.presence("room") == [Member("ann", "ann", None, 2)]
            async with other.subscribe("room"):
                members = await client.presence("room")
                assert [(each.user, each.connections) for each in members] == [
                    ("ann", 2),
                    ("bob", 1),
                ]

    async def test_where_nobody_knows_or_may_know_it_is_refused(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client:
            with pytest.raises(CallFailed) as caught:
                await client.presence("c")
            assert caught.value.errors == {"channel": "nobody knows who is on this channel"}
            Keeper.refused = frozenset({"presence"})
            with pytest.raises(CallFailed) as caught:
                await client.presence("room")
            assert caught.value.code == ErrorCode.NOT_ALLOWED

    @pytest.mark.parametrize(
        ("response", "path"), [(None, "members"), ({"members": [{"user": "ann"}]}, "")]
    )
    async def test_what_cannot_be_read_is_told(
        self, scripted: Scripted, response: object, path: str
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer(response)
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            with pytest.raises(UnexpectedData) as caught:
                await client.presence("room")
        assert list(caught.value.errors) == [path]

    async def test_a_newer_server_may_say_more_and_something_else(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            member = {"id": "1", "user": [1], "connections": "many", "since": 5, "info": [1]}
            await peer.answer({"members": [member], "more": 1})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            assert await client.presence("room") == [Member("1", None, [1], None)]


class TestBeingTold:
    async def test_joins_and_leaves_come_as_messages_whatever_the_pattern_and_the_type(
        self, kept: URL, encoding: Any
    ) -> None:
        async with (
            connect_once(as_user(kept, "ann"), encoding=encoding) as client,
            connect_once(as_user(kept, "bob")) as other,
            client.subscribe("room", "sum", type=Sum, presence=True) as messages,
        ):
            assert await anext(messages) == Message("room", "$join", Member("ann", "ann"))
            async with other.subscribe("room"):
                position = await other.publish("room", "sum", {"sum": 1})
                assert await anext(messages) == Message("room", "$join", Member("bob", "bob"))
                assert await anext(messages) == Message("room", "sum", Sum(1), position)
            assert await anext(messages) == Message("room", "$leave", Member("bob", "bob"))
            assert messages.position == position

    async def test_who_did_not_ask_is_not_told(self, kept: URL, keeping: Keeping) -> None:
        async with (
            connect_once(as_user(kept, "ann")) as client,
            connect_once(as_user(kept, "bob")) as other,
            client.subscribe("room") as messages,
            client.subscribe("room", presence=True) as told,
        ):
            async with other.subscribe("room"):
                await keeping.publish("room", 1)
                while (await anext(told)).data != Member("bob", "bob"):
                    pass
            assert (await anext(messages)).data == 1
            while (await anext(told)).event != "$leave":
                pass
            assert messages.queued_bytes == 0
            assert client.ignored == 0

    async def test_its_type_is_that_of_the_data_or_a_member(self, kept: URL) -> None:
        async with connect_once(kept) as client:
            assert_type(client.subscribe("room", type=Sum), Subscription[Sum])
            told = client.subscribe("room", type=Sum, presence=True)
            assert_type(told, Subscription[Sum | Member])
            assert_type(client.subscribe("room", presence=True), Subscription[Any])

    async def test_what_is_no_member_is_told_and_the_next_is_read(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            call = await peer.answer({})
            assert call["payload"] == {"channel": "room", "event": "*", "presence": True}
            for data in ({"id": 1}, {"id": "2"}):
                await peer.send({"channel": "room", "event": "$join", "data": data})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            messages = await client.subscribe("room", presence=True).__aenter__()
            with pytest.raises(UnexpectedData, match="data: expected a member"):
                await anext(messages)
            assert (await anext(messages)).data == Member("2")

    async def test_too_many_end_the_subscription_as_messages_do(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({})
            for number in range(3):
                frame = {"channel": "room", "event": "$join", "data": {"id": f"{number}"}}
                await peer.send(frame)
            assert (await peer.answer())["method"] == "unsubscribe"
            await peer.gone()

        async with (
            connect_once(await scripted(script)) as client,
            client.subscribe("room", presence=True, queue_bytes=600) as messages,
        ):
            with pytest.raises(TooSlow):
                async for _ in messages:
                    await connection_of(client).subscriptions.wait_idle()

    async def test_who_may_not_know_any_more_has_not_what_was_asked_for(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client:
            async with (
                client.subscribe("room", "a", presence=True) as told,
                client.subscribe("room", "b") as messages,
            ):
                await _all_told(client, told)
                Keeper.refused = frozenset({"presence"})
                [socket] = keeping.sockets.sockets
                await socket.reauthorize()
                with pytest.raises(CallFailed) as caught:
                    await anext(told)
                assert caught.value.code == ErrorCode.NOT_ALLOWED
                await connection_of(client).subscriptions.wait_idle()
                assert keeping.sockets.server_info()["channels"] == {"room": {"b": 1}}
                await keeping.publish("room", 1, event="b")
                assert (await anext(messages)).data == 1
            assert connection_of(client).subscriptions._channels == {}

    async def test_who_may_not_know_is_refused_the_subscription(
        self, kept: URL, keeping: Keeping
    ) -> None:
        Keeper.refused = frozenset({"presence"})
        async with connect_once(kept) as client:
            with pytest.raises(CallFailed):
                async with client.subscribe("room", presence=True):
                    pass
            async with client.subscribe("room"):
                pass


async def _all_told(client: Client, told: Subscription[Any]) -> None:
    """It has joined, and was told."""
    while not isinstance((await anext(told)).data, Member):
        pass
    assert await client.presence("room")
