"""What a server says of a subscription: what is lost, left out, or taken back."""

from typing import Any

import pytest
from yarl import URL

from openapi.client import Message, Position, PositionLost, Subscription, TooSlow
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode
from openapi.protocol.publication import Data
from tests.client.servers import Keeper, Keeping, Peer, Scripted, connect_once, connection_of


async def read(messages: Subscription[Any], count: int) -> list[Any]:
    """The data of the next messages."""
    return [(await anext(messages)).data for _ in range(count)]


def message(offset: int) -> dict[str, Any]:
    """A message whose data is its offset."""
    return {"channel": "c", "event": "n", "data": offset, "offset": offset}


def told(event: str, data: object) -> dict[str, Any]:
    """An event of the server's own."""
    return {"channel": "c", "event": event, "data": data}


def reset(offset: int, epoch: str) -> dict[str, Any]:
    """Messages are lost."""
    return told("$reset", {"offset": offset, "epoch": epoch})


class TestReset:
    async def test_is_raised_once_and_what_comes_behind_it_is_read(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c") as messages,
        ):
            before = await keeping.publish("c", 1)
            assert await read(messages, 1) == [1]
            keeping.archive.forget("c")
            after = await keeping.publish("c", 2)
            with pytest.raises(PositionLost, match="messages of the channel 'c' are lost") as lost:
                await anext(messages)
            assert (lost.value.channel, lost.value.epoch) == ("c", after.epoch)
            assert after.epoch != before.epoch
            assert messages.position == Position(0, after.epoch)
            assert await anext(messages) == Message("c", "n", 2, after)
            assert messages.position == after

    async def test_a_gap_that_history_cannot_bridge_is_one(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c") as messages,
        ):
            seen = await keeping.publish("c", 1)
            assert await read(messages, 1) == [1]
            far = Position(seen.offset + 100, seen.epoch)
            await keeping.sockets.channels.deliver("c", "n", Data.of(101), far)
            with pytest.raises(PositionLost):
                await anext(messages)
            assert messages.position == Position(far.offset - 1, seen.epoch)
            assert await anext(messages) == Message("c", "n", 101, far)

    async def test_what_waited_before_it_is_forgotten_also_an_earlier_one(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"offset": 1, "epoch": "x"})
            for frame in (message(2), reset(5, "x"), message(6), reset(1, "y"), message(2)):
                await peer.send(frame)
            await peer.answer("behind it")
            await peer.gone()

        async with (
            connect_once(await scripted(script)) as client,
            client.subscribe("c") as messages,
        ):
            await client.call("echo")
            assert messages.position == Position(1, "x")
            with pytest.raises(PositionLost) as lost:
                await anext(messages)
            assert (lost.value.offset, lost.value.epoch) == (1, "y")
            assert await anext(messages) == Message("c", "n", 2, Position(2, "y"))
            assert messages.queued_bytes == 0
            await client.close()

    async def test_who_is_cut_off_before_it_is_read_is_told_by_the_next_subscription(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with (
            connect_once(kept) as client,
            client.subscribe("c") as messages,
            client.subscribe("c") as witness,
        ):
            seen = await keeping.publish("c", 1)
            assert await read(messages, 1) == [1]
            keeping.archive.forget("c")
            top = await keeping.publish("c", 2)
            await read(witness, 1)
            with pytest.raises(PositionLost):
                await anext(witness)
            keeping.cut()
            await client.wait_closed()
        assert messages.position == seen
        async with (
            connect_once(kept) as client,
            client.subscribe("c", recover=messages.position) as again,
        ):
            assert (again.recovered, again.position) == (False, top)

    async def test_it_is_read_though_the_connection_has_ended(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"offset": 1, "epoch": "x"})
            await peer.send(reset(5, "x"))
            await peer.ws.close(code=4010)

        async with connect_once(await scripted(script)) as client:
            messages = await client.subscribe("c").__aenter__()
            await client.wait_closed()
            with pytest.raises(PositionLost):
                await anext(messages)
            with pytest.raises(ConnectionClosed):
                await anext(messages)
            assert messages.position == Position(5, "x")

    async def test_all_of_a_channel_are_told_and_none_of_another(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with (
            connect_once(kept) as client,
            client.subscribe("c") as one,
            client.subscribe("c", "x") as two,
            client.subscribe("d") as other,
        ):
            await keeping.publish("c", 1)
            keeping.archive.forget("c")
            await keeping.publish("c", 2)
            await keeping.publish("d", 3)
            assert await read(other, 1) == [3]
            for each in (one, two):
                with pytest.raises(PositionLost):
                    while True:
                        await anext(each)

    async def test_where_not_even_it_can_be_queued_the_subscription_ends(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client:
            async with client.subscribe("c", "x", queue_bytes=100) as messages:
                await keeping.publish("c", 1)
                keeping.archive.forget("c")
                await keeping.publish("c", 2)
                with pytest.raises(TooSlow):
                    await anext(messages)
            assert keeping.sockets.server_info()["channels"] == {}

    async def test_a_channel_that_was_left_altogether_begins_anew(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client:
            async with client.subscribe("c"):
                await keeping.publish("c", 1)
            keeping.archive.forget("c")
            async with client.subscribe("c") as messages:
                position = await keeping.publish("c", 2)
                assert await anext(messages) == Message("c", "n", 2, position)


class TestLagged:
    async def test_messages_that_were_left_out_are_counted(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(2):
                await peer.answer({"offset": 1, "epoch": "x"})
            for frame in (
                told("$lagged", {"dropped": 2}),
                message(4),
                told("$lagged", {"dropped": 3}),
                message(8),
            ):
                await peer.send(frame)
            await peer.answer()
            await peer.gone()

        async with (
            connect_once(await scripted(script)) as client,
            client.subscribe("c") as one,
            client.subscribe("c", "n") as two,
        ):
            await client.call("echo")
            for each in (one, two):
                assert each.dropped == 5
                assert await read(each, 2) == [4, 8]
                assert each.position == Position(8, "x")
            assert client.ignored == 0
            await client.close()


class TestTakenBack:
    async def test_only_subscriptions_of_the_named_patterns_end(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        async with connect_once(kept, encoding=encoding) as client:
            async with (
                client.subscribe("c", "*") as stays,
                client.subscribe("c", "s*") as one,
                client.subscribe("c", "s*") as same,
                client.subscribe("d", "s*") as other,
            ):
                Keeper.refused = frozenset({"s*"})
                [socket] = keeping.sockets.sockets
                assert await socket.reauthorize() == ["c", "d"]
                for each in (one, same, other):
                    with pytest.raises(CallFailed) as caught:
                        await anext(each)
                    assert caught.value.code == ErrorCode.NOT_ALLOWED
                await keeping.publish("c", 1, event="say")
                assert await read(stays, 1) == [1]
                assert keeping.sockets.server_info()["channels"] == {"c": {"*": 1}}
            assert connection_of(client).subscriptions._channels == {}

    async def test_a_pattern_that_was_taken_back_can_be_asked_for_again(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client:
            for number in range(2):
                async with client.subscribe("c") as messages:
                    position = messages.position
                    [socket] = keeping.sockets.sockets
                    await keeping.sockets.unsubscribe_socket("c", socket_id=socket.socket_id)
                    with pytest.raises(CallFailed, match="The server took the subscription back"):
                        await anext(messages)
                await keeping.publish("c", number)
                async with client.subscribe("c", recover=position) as again:
                    assert await read(again, 1) == [number]
            assert connection_of(client).subscriptions._channels == {}

    async def test_what_is_queued_is_read_before_that(self, kept: URL, keeping: Keeping) -> None:
        async with connect_once(kept) as client, client.subscribe("c") as messages:
            await keeping.publish("c", 1)
            [socket] = keeping.sockets.sockets
            await keeping.sockets.unsubscribe_socket("c", socket_id=socket.socket_id)
            assert await read(messages, 1) == [1]
            with pytest.raises(CallFailed):
                await anext(messages)

    @pytest.mark.parametrize("data", [None, {}, {"events": None}, {"events": "*"}])
    async def test_without_patterns_all_of_the_channel_end(
        self, scripted: Scripted, data: object
    ) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(2):
                await peer.answer({})
            await peer.send(told("$unsubscribed", data))
            await peer.gone()

        async with (
            connect_once(await scripted(script)) as client,
            client.subscribe("c", "a") as one,
            client.subscribe("c", "b") as two,
        ):
            for each in (one, two):
                with pytest.raises(CallFailed, match="the server took the subscription back"):
                    await anext(each)

    async def test_patterns_that_nobody_has_end_nothing(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"offset": 0, "epoch": "x"})
            await peer.send(told("$unsubscribed", {"events": ["b", 1]}))
            await peer.send(message(1))
            await peer.answer()
            await peer.gone()

        async with (
            connect_once(await scripted(script)) as client,
            client.subscribe("c") as messages,
        ):
            assert await read(messages, 1) == [1]

    async def test_while_it_is_left_the_server_is_told_once(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({})
            call = await peer.received()
            assert call["method"] == "unsubscribe"
            await peer.send(told("$unsubscribed", {"events": ["*"]}))
            await peer.send({"id": call["id"], "response": {}})
            assert (await peer.answer())["method"] == "echo"
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            async with client.subscribe("c"):
                pass
            await client.call("echo")
            assert connection_of(client).subscriptions._channels == {}
            assert client.ignored == 0


class TestIgnored:
    async def test_what_is_not_known_or_cannot_be_read_or_is_for_nobody_is_counted(
        self, scripted: Scripted
    ) -> None:
        frames = (
            told("$subscribed", {"events": ["a"]}),
            told("$else", 1),
            told("$join", {"id": "1"}),
            told("$lagged", {"dropped": "2"}),
            told("$lagged", None),
            told("$reset", {"offset": 1}),
            {"channel": "d", "event": "$reset", "data": {"offset": 1, "epoch": "x"}},
        )

        async def script(peer: Peer) -> None:
            await peer.answer({"offset": 0, "epoch": "x"})
            for frame in (*frames, message(1)):
                await peer.send(frame)
            await peer.answer()
            await peer.gone()

        async with (
            connect_once(await scripted(script)) as client,
            client.subscribe("c") as messages,
        ):
            assert await read(messages, 1) == [1]
            assert messages.dropped == 0
            assert client.ignored == len(frames)

    async def test_a_server_may_subscribe_a_client_by_itself(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client, client.subscribe("c", "a") as messages:
            [socket] = keeping.sockets.sockets
            await keeping.sockets.subscribe_socket("c", "b", socket_id=socket.socket_id)
            await keeping.publish("c", 1, event="b")
            await keeping.publish("c", 2, event="a")
            assert await read(messages, 1) == [2]
            assert client.ignored == 1
