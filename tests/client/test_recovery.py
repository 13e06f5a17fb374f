"""A client that was cut off, at whatever moment, comes back and gets each message once."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from yarl import URL

from openapi.client import (
    Client,
    Message,
    Position,
    PositionLost,
    Subscription,
    TooSlow,
)
from openapi.errors import CallFailed, ConnectionClosed, UnexpectedData
from tests.client.servers import Keeper, Keeping, Peer, Scripted, Sum, connect_once, connection_of


async def read(messages: Subscription[Any], count: int) -> list[Any]:
    """The data of the next messages."""
    return [(await anext(messages)).data for _ in range(count)]


def behind(position: Position, messages: int) -> Position:
    """The position so many messages later."""
    return Position(position.offset + messages, position.epoch)


class TestPositions:
    async def test_a_subscription_begins_where_the_channel_is(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        top = await keeping.publish("c", 1, 2)
        async with connect_once(kept, encoding=encoding) as client:
            messages = client.subscribe("c")
            assert (messages.position, messages.recovered) == (None, None)
            async with messages:
                assert (messages.position, messages.recovered) == (top, None)

    async def test_it_goes_on_with_each_message_that_is_read_and_with_none_that_only_waits(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c") as messages,
            client.subscribe("c") as witness,
        ):
            first, second = await keeping.publish("c", 1), await keeping.publish("c", 2)
            await read(witness, 2)
            assert messages.position == Position(0, first.epoch)
            assert await anext(messages) == Message("c", "n", 1, first)
            assert messages.position == first
            assert await anext(messages) == Message("c", "n", 2, second)
            assert messages.position == second

    async def test_a_message_that_cannot_be_read_was_read(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client, client.subscribe("c", type=Sum) as messages:
            position = await keeping.publish("c", 1)
            with pytest.raises(UnexpectedData):
                await anext(messages)
            assert messages.position == position

    async def test_on_a_channel_that_keeps_nothing_there_is_none_and_nothing_is_recovered(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with (
            connect_once(kept) as client,
            client.subscribe("fleeting", recover=Position(1, "x")) as messages,
        ):
            assert (messages.position, messages.recovered) == (None, False)
            await keeping.sockets.publish("fleeting", "n", 1)
            assert await anext(messages) == Message("fleeting", "n", 1)
            assert messages.position is None

    async def test_a_number_without_a_stream_is_no_position(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"subscribed": {}})
            await peer.send({"channel": "c", "event": "n", "data": 1, "offset": 5})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            messages = await client.subscribe("c").__aenter__()
            assert await anext(messages) == Message("c", "n", 1)
            assert messages.position is None


class TestRecovering:
    async def test_what_was_missed_comes_first_and_then_what_is_live(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        seen = await keeping.publish("c", 1)
        await keeping.publish("c", 2, 3)
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c", recover=seen) as messages,
        ):
            assert (messages.position, messages.recovered) == (seen, True)
            await keeping.publish("c", 4)
            assert await anext(messages) == Message("c", "n", 2, behind(seen, 1))
            assert messages.position == behind(seen, 1)
            assert await read(messages, 2) == [3, 4]
            assert messages.position == behind(seen, 3)

    async def test_only_of_its_pattern_and_with_its_type(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        seen = await keeping.publish("c", 1)
        for event, data in (("sum", {"sum": 2}), ("other", 3), ("sum", 4)):
            await keeping.sockets.publish("c", event, data)
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c", "s*", type=Sum, recover=seen) as messages,
        ):
            assert (await anext(messages)).data == Sum(2)
            with pytest.raises(UnexpectedData) as caught:
                await anext(messages)
            assert list(caught.value.errors) == ["data"]
            assert messages.position == behind(seen, 3)

    async def test_nothing_missed_is_recovered_too(self, kept: URL, keeping: Keeping) -> None:
        top = await keeping.publish("c", 1)
        async with connect_once(kept) as client, client.subscribe("c", recover=top) as messages:
            assert (messages.position, messages.recovered) == (top, True)
            await keeping.publish("c", 2)
            assert await read(messages, 1) == [2]

    async def test_a_session_that_saw_no_message_yet_comes_back_too(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with connect_once(kept) as client, client.subscribe("c") as messages:
            keeping.cut()
            with pytest.raises(ConnectionClosed):
                await anext(messages)
        await keeping.publish("c", 1)
        async with (
            connect_once(kept) as client,
            client.subscribe("c", recover=messages.position) as again,
        ):
            assert again.recovered is True
            assert await read(again, 1) == [1]

    async def test_where_history_is_too_short_it_says_so_and_begins_where_the_channel_is(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        seen = await keeping.publish("short", 1)
        top = await keeping.publish("short", 2, 3, 4, 5)
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("short", recover=seen) as messages,
        ):
            assert (messages.position, messages.recovered) == (top, False)
            await keeping.publish("short", 6)
            assert await read(messages, 1) == [6]

    async def test_a_stream_that_was_lost_is_not_recovered(
        self, kept: URL, keeping: Keeping
    ) -> None:
        seen = await keeping.publish("c", 1)
        keeping.archive.forget("c")
        top = await keeping.publish("c", 2)
        async with connect_once(kept) as client, client.subscribe("c", recover=seen) as messages:
            assert (messages.position, messages.recovered) == (top, False)

    async def test_who_may_not_read_history_recovers_none_of_it(
        self, kept: URL, keeping: Keeping
    ) -> None:
        seen = await keeping.publish("c", 1)
        top = await keeping.publish("c", 2)
        Keeper.refused = frozenset({"history"})
        async with connect_once(kept) as client, client.subscribe("c", recover=seen) as messages:
            assert (messages.position, messages.recovered) == (top, False)

    async def test_what_was_recovered_is_bounded_as_live_messages_are(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        seen = await keeping.publish("c", 0)
        for number in range(10):
            await keeping.sockets.publish("c", "x", f"{number}" + "x" * 1000)
        async with connect_once(kept, encoding=encoding) as client:
            async with client.subscribe("c", recover=seen, queue_bytes=6000) as messages:
                assert messages.recovered is True
                assert [data[0] for data in await read(messages, 4)] == ["0", "1", "2", "3"]
                with pytest.raises(TooSlow, match="more than 6000 bytes of messages waited"):
                    await anext(messages)
            assert keeping.sockets.server_info()["channels"] == {}
            async with client.subscribe("c", recover=messages.position) as again:
                assert [data[0] for data in await read(again, 6)] == list("456789")

    async def test_several_on_a_channel_each_get_what_they_missed_and_live_messages_once(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        first = await keeping.publish("c", 1)
        await keeping.publish("c", 2, 3)
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c") as live,
            client.subscribe("c", recover=first) as some,
            client.subscribe("c", "n", recover=behind(first, -1)) as everything,
            client.subscribe("c", "x*", recover=first) as nothing,
        ):
            await keeping.publish("c", 4)
            await keeping.publish("c", 5, event="xx")
            assert await read(live, 2) == [4, 5]
            assert await read(some, 4) == [2, 3, 4, 5]
            assert await read(everything, 4) == [1, 2, 3, 4]
            assert await read(nothing, 1) == [5]
            for each in (live, some, everything, nothing):
                assert each.queued_bytes == 0

    async def test_what_comes_for_another_while_the_answer_is_made_is_not_read_twice(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        first = await keeping.publish("c", 1)
        await keeping.publish("c", 2)
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c") as earlier,
        ):
            keeping.archive.asked.clear()
            keeping.archive.open_to_read.clear()
            later = client.subscribe("c", recover=first)
            entering = asyncio.create_task(later.__aenter__())
            await keeping.archive.asked.wait()
            await keeping.publish("c", 3)  # to the earlier one: it waits behind the later answer
            keeping.archive.open_to_read.set()
            await entering
            await keeping.publish("c", 4)
            assert await read(earlier, 2) == [3, 4]
            assert await read(later, 3) == [2, 3, 4]
            assert earlier.queued_bytes == later.queued_bytes == 0

    async def test_an_answer_that_overtook_messages_for_another_had_them_already(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"offset": 1, "epoch": "x"})
            missed = [{"event": "n", "offset": 2, "data": 2}]
            await peer.answer({"offset": 3, "epoch": "x", "recovered": True, "messages": missed})
            for offset in (2, 3, 4):
                event = "other" if offset == 3 else "n"
                frame = {"channel": "c", "event": event, "data": offset, "offset": offset}
                await peer.send(frame)
            await peer.send({"channel": "c", "event": "n", "data": "unnumbered"})
            await peer.answer()
            await peer.gone()

        async with (
            connect_once(await scripted(script)) as client,
            client.subscribe("c") as earlier,
            client.subscribe("c", "n", recover=Position(1, "x")) as later,
        ):
            await client.call("echo")
            assert await read(earlier, 4) == [2, 3, 4, "unnumbered"]
            assert await read(later, 3) == [2, 4, "unnumbered"]
            assert earlier.queued_bytes == later.queued_bytes == 0
            assert earlier.position == later.position == Position(4, "x")
            await client.close()

    async def test_what_cannot_be_read_of_it_is_an_error_and_no_subscription(
        self, scripted: Scripted
    ) -> None:
        messages: tuple[Any, ...] = (
            None,
            [None],
            [{"event": "n", "offset": 2, "data": 1}, {"event": "n", "data": 1}],
        )
        answers: list[Any] = [{"offset": 3, "epoch": "x", "messages": each} for each in messages]
        answers += [{"epoch": "x", "messages": []}, {"offset": 3, "messages": [2**70]}]
        calls = []

        async def script(peer: Peer) -> None:
            for answer in answers:
                await peer.answer({"subscribed": {}, "recovered": True, **answer})
                calls.append(await peer.answer())
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            errors: list[tuple[str, str]] = []
            for _ in answers:
                subscription = client.subscribe("c", recover=Position(1, "x"))
                with pytest.raises(UnexpectedData) as caught:
                    await subscription.__aenter__()
                errors += caught.value.errors.items()
                assert subscription.position == Position(1, "x")
                assert subscription.recovered is None
            await connection_of(client).subscriptions.wait_idle()
            assert connection_of(client).subscriptions._channels == {}
        assert [call["method"] for call in calls] == ["unsubscribe"] * 5
        message = "expected an object with an event, an offset and data"
        assert errors == [
            ("messages", "expected an array"),
            ("messages[0]", message),
            ("messages[1]", message),
            ("", "expected a position, an offset and an epoch"),
            ("messages[0]", "integer out of range"),
        ]

    async def test_who_did_not_ask_gets_nothing_that_was_recovered(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            call = await peer.answer(
                {
                    "offset": 2,
                    "epoch": "x",
                    "recovered": True,
                    "messages": [{"event": "n", "data": 2, "offset": 2}],
                }
            )
            assert call["payload"] == {"channel": "c", "event": "*"}
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            messages = await client.subscribe("c").__aenter__()
            assert (messages.position, messages.recovered) == (Position(2, "x"), None)
            assert messages.queued_bytes == 0


class TestBeingCutOff:
    async def test_an_entrance_that_failed_has_changed_nothing(
        self, kept: URL, keeping: Keeping
    ) -> None:
        seen = await keeping.publish("c", 1)
        await keeping.publish("c", 2)
        keeping.archive.open_to_read.clear()
        async with connect_once(kept) as client:
            messages = client.subscribe("c", recover=seen)
            entering = asyncio.create_task(messages.__aenter__())
            await keeping.archive.asked.wait()
            keeping.cut()
            with pytest.raises(ConnectionClosed):
                await entering
        keeping.archive.open_to_read.set()
        assert messages.position == seen
        async with (
            connect_once(kept) as client,
            client.subscribe("c", recover=messages.position) as again,
        ):
            assert await read(again, 1) == [2]

    async def test_an_entrance_that_is_cancelled_as_it_succeeds_has_changed_nothing(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.received()
            asked.set()
            await peer.gone()

        asked = asyncio.Event()
        async with connect_once(await scripted(script)) as client:
            messages = client.subscribe("c", recover=Position(1, "x"))
            entering = asyncio.create_task(messages.__aenter__())
            await asked.wait()
            connection_of(client).received(
                '{"id": 1, "response": {"offset": 9, "epoch": "y", "recovered": false}}'
            )
            assert messages.position == Position(9, "y")
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            assert (messages.position, messages.recovered) == (Position(1, "x"), None)

    async def test_messages_that_were_queued_and_not_read_come_again(
        self, kept: URL, keeping: Keeping, encoding: Any
    ) -> None:
        seen = await keeping.publish("c", 1)
        await keeping.publish("c", 2, 3)
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c", recover=seen) as messages,
            client.subscribe("c") as witness,
        ):
            await keeping.publish("c", 4, 5)
            await read(witness, 2)
            assert await read(messages, 1) == [2]
            position = messages.position
            keeping.cut()
            await client.wait_closed()
            assert messages.position == position
        async with (
            connect_once(kept, encoding=encoding) as client,
            client.subscribe("c", recover=position) as again,
        ):
            assert await read(again, 3) == [3, 4, 5]

    async def test_what_is_still_read_after_the_cut_does_not_come_again(
        self, kept: URL, keeping: Keeping
    ) -> None:
        async with (
            connect_once(kept) as client,
            client.subscribe("c") as messages,
            client.subscribe("c") as witness,
        ):
            await keeping.publish("c", 1, 2)
            await read(witness, 2)
            keeping.cut()
            await client.wait_closed()
            await keeping.publish("c", 3)
            assert await read(messages, 2) == [1, 2]
            with pytest.raises(ConnectionClosed):
                await anext(messages)
        async with (
            connect_once(kept) as client,
            client.subscribe("c", recover=messages.position) as again,
        ):
            assert await read(again, 1) == [3]

    async def test_an_instant_return_and_a_second_recovery_miss_nothing(
        self, kept: URL, keeping: Keeping
    ) -> None:
        position = await keeping.publish("c", 0)
        for number in range(1, 6):
            async with (
                connect_once(kept) as client,
                client.subscribe("c", recover=position) as messages,
            ):
                assert messages.recovered is True
                await keeping.publish("c", number)
                assert await read(messages, 1) == [number]
                assert messages.position is not None
                position = messages.position
                keeping.cut()

    @pytest.mark.parametrize("part", range(4))
    async def test_wherever_the_connection_is_cut_each_message_is_read_once(
        self, kept: URL, keeping: Keeping, encoding: Any, part: int
    ) -> None:
        for turns in range(part, 64, 4):
            channel = f"c{turns}"
            reader = Reader(kept, channel, encoding)
            start = await keeping.publish(channel, 0)
            reader.position = Position(start.offset - 1, start.epoch)
            await keeping.publish(channel, 1, 2, 3)
            publishing = asyncio.create_task(_publish(keeping, channel, 4, 20))
            await reader.read_until(20, cut=keeping.cut, turns=turns)
            await reader.read_until(19)
            await publishing
            assert reader.seen == list(range(20))

    @pytest.mark.parametrize("seed", range(8))
    async def test_however_often_it_is_cut_each_message_is_read_once(
        self, kept: URL, keeping: Keeping, encoding: Any, seed: int
    ) -> None:
        random = Random(seed)
        readers = [Reader(kept, "c", encoding, random.choice(("*", "n"))) for _ in range(4)]
        start = await keeping.publish("c", 0)
        for each in readers:
            each.position = start
        publishing = asyncio.create_task(_publish(keeping, "c", 1, 90, random))

        async def come_and_go(reader: Reader) -> None:
            while reader.seen[-1:] != [89]:
                await reader.read_until(89, cut=keeping.cut, turns=random.randrange(150))

        await asyncio.gather(*map(come_and_go, readers))
        await publishing
        for each in readers:
            assert each.seen == list(range(1, 90))

    @pytest.mark.parametrize("seed", range(4))
    async def test_where_history_is_too_short_no_gap_is_silent(
        self, kept: URL, keeping: Keeping, encoding: Any, seed: int
    ) -> None:
        random = Random(seed)
        reader = Reader(kept, "short", encoding)
        reader.position = start = await keeping.publish("short", 0)
        publishing = asyncio.create_task(_publish(keeping, "short", 1, 200, random))
        while start.offset + 199 not in (reader.position.offset, *reader.jumps):
            await reader.read_until(199, cut=keeping.cut, turns=random.randrange(150))
        await publishing
        assert reader.seen == sorted(set(reader.seen))
        gaps = {b for a, b in zip([0, *reader.seen], reader.seen, strict=False) if b != a + 1}
        told = {jump - start.offset + 1 for jump in reader.jumps}
        assert gaps <= told
        assert told  # it was too short indeed


class Reader:
    """Reads the numbers of a channel, and goes on where it was."""

    def __init__(self, url: URL, channel: str, encoding: Any, event: str = "*") -> None:
        self.seen: list[int] = []
        self.jumps: list[int] = []
        """The offsets behind which it went on where something was lost, and it was told."""
        self.position: Position | None = None
        self._url, self._channel, self._encoding, self._event = url, channel, encoding, event

    async def read_until(
        self,
        last: int,
        *,
        cut: Callable[[], object] | None = None,
        turns: int = 0,
    ) -> None:
        """Read up to the last, or until the connection is cut: after so many turns of the loop."""
        cutting = asyncio.create_task(_after(turns, cut)) if cut is not None else None
        try:
            async with connect_once(self._url, encoding=self._encoding) as client:
                await self._read(client, last)
        except ConnectionClosed:
            pass
        if cutting is not None:
            cutting.cancel()
            await asyncio.wait([cutting])

    async def _read(self, client: Client, last: int) -> None:
        messages = client.subscribe(self._channel, self._event, recover=self.position)
        try:
            async with messages:
                if not messages.recovered and messages.position is not None:
                    self.jumps.append(messages.position.offset)
                while self.seen[-1:] != [last]:
                    try:
                        self.seen.append((await anext(messages)).data)
                    except PositionLost as exc:
                        self.jumps.append(exc.offset)
        finally:
            self.position = messages.position


async def _after(turns: int, cut: Callable[[], object]) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    while True:  # it may have come just now
        cut()
        await asyncio.sleep(0)


async def _publish(
    keeping: Keeping, channel: str, start: int, stop: int, random: Random | None = None
) -> None:
    for number in range(start, stop):
        await keeping.publish(channel, number)
        for _ in range(3 if random is None else random.randrange(20)):
            await asyncio.sleep(0)


class TestOtherRefusals:
    async def test_a_server_that_refuses_has_changed_nothing(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            call = await peer.received()
            assert call["payload"]["recover"] == {"offset": 1, "epoch": "x"}
            error = {"code": -32602, "message": "no", "errors": {"recover": "unknown field"}}
            await peer.send({"id": call["id"], "error": error})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            messages = client.subscribe("c", recover=Position(1, "x"))
            with pytest.raises(CallFailed):
                await messages.__aenter__()
            assert messages.position == Position(1, "x")
