"""A client goes to another server before the one that is about to close has gone."""

import asyncio
from typing import Any

import pytest

from openapi.client import (
    Client,
    ClientState,
    Message,
    Position,
    PositionLost,
    Subscription,
    TooSlow,
)
from openapi.client.subscription import SubscriptionState
from openapi.errors import CallFailed, ConnectionClosed, HandshakeRefused
from openapi.testing import virtual_time
from tests.client.begun import all_wait
from tests.client.door import Door, VirtualDoor, Visit


class TestTheOldConnection:
    async def test_is_closed_at_once_where_nothing_is_on_it(self) -> None:
        async with Door() as door, door.connect():
            old = await door.visit()
            await door.move(old)
            assert await old.left() == 1000
            old.said_nothing_else()

    async def test_is_closed_behind_the_calls_that_are_on_it(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            asking = [asyncio.create_task(client.call(f"m{number}")) for number in range(2)]
            first, second = await old.received(), await old.received()
            new = await door.move(old)
            another = asyncio.create_task(client.call("n"))
            await new.answer("new")
            assert await another == "new"
            await old.agree(first, 1)
            await old.agree(second, 2)
            assert await asyncio.gather(*asking) == [1, 2]
            assert await old.left() == 1000
            old.said_nothing_else()
            new.said_nothing_else()

    async def test_is_closed_behind_the_streams_that_are_on_it(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            stream = client.stream("m")
            first = asyncio.create_task(anext(stream))
            call = await old.asked("m")
            await old.item(call, 1, 1)
            new = await door.move(old)
            await old.item(call, 2, 2)
            await old.agree(call)
            assert await first == 1
            assert [item async for item in stream] == [2]
            assert await old.left() == 1000
            new.said_nothing_else()

    async def test_is_told_of_calls_and_streams_that_are_given_up(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            asking = asyncio.create_task(client.call("m"))
            call = await old.asked("m")
            new = await door.move(old)
            asking.cancel()
            assert await old.received() == {"id": call["id"], "cancel": True}
            await old.refuse(call, -32006)
            assert await old.left() == 1000
            new.said_nothing_else()

    async def test_is_closed_behind_the_handlers_that_it_has_begun(self) -> None:
        go_on = asyncio.Event()

        async def wait(payload: dict[str, Any]) -> str:
            await go_on.wait()
            return "done"

        async with Door() as door, door.connect(serve={"wait": wait}):
            old = await door.visit()
            await old.send({"id": "s1", "method": "wait", "payload": {}})
            new = await door.move(old)
            go_on.set()
            assert (await old.received())["response"] == "done"
            assert await old.left() == 1000
            new.said_nothing_else()

    async def test_may_say_again_that_it_is_about_to_close(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            asking = asyncio.create_task(client.call("m"))
            call = await old.asked("m")
            await old.reconnect(after=3_600_000)
            await door.said.then("open", "open")
            new = await door.move(old)
            await door.said.then("open", "open", "open")
            await old.reconnect()
            await old.agree(call, 1)
            assert await asking == 1
            assert await old.left() == 1000
            door.said.nothing_else()
            await new.hears_only(client)

    async def test_may_end_before_what_is_on_it(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            marked = asyncio.create_task(client.call("marked", idempotent=True))
            await old.asked("marked")
            other = asyncio.create_task(client.call("other"))
            await old.asked("other")
            new = await door.move(old)
            await door.said.then("open", "open", "open", "open")
            await old.close(1012)
            with pytest.raises(ConnectionClosed) as caught:
                await other
            assert (caught.value.code, caught.value.may_have_run) == (1012, True)
            await new.agree(await new.asked("marked"), 1)
            assert await marked == 1
            door.said.nothing_else()

    async def test_may_end_for_good_without_ending_the_client(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            asking = asyncio.create_task(client.call("m"))
            await old.asked("m")
            new = await door.move(old)
            await old.close(4501)
            with pytest.raises(ConnectionClosed):
                await asking
            assert client.state is ClientState.OPEN
            await new.hears_only(client)

    @virtual_time
    async def test_is_used_as_long_as_it_lasts_while_attempts_fail(self) -> None:
        async with VirtualDoor() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"))
            asking = asyncio.create_task(client.call("m"))
            call = await old.asked("m")
            door.refuse(503, times=5)
            await old.reconnect(after=1000)
            for number in range(5):
                await door.said.then("open", "open")
                await old.say("a", "x", number)
                assert (await anext(messages)).data == number
            assert isinstance(client.status.reason, HandshakeRefused)
            await old.agree(call, 1)
            assert await asking == 1
            new = await door.visit()
            await new.subscribed()
            assert await old.left() == 1000

    async def test_that_has_closed_the_client_for_good_meanwhile_is_the_end(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            asking = asyncio.create_task(client.call("m"))
            call = await old.asked("m")
            new = await door.move(old)
            await new.close(4501)
            closed = await client.wait_closed()
            assert closed.code == 4501
            await old.agree(call, 1)
            assert await asking == 1
            with pytest.raises(ConnectionClosed):
                await client.call("n")


class TestCallsThatWait:
    async def test_for_their_turn_on_the_old_have_one_on_the_new(self) -> None:
        async with Door() as door, door.connect(calls=1) as client:
            old = await door.visit()
            first = asyncio.create_task(client.call("first"))
            call = await old.asked("first")
            others = [
                asyncio.create_task(client.call("second")),
                asyncio.create_task(anext(client.stream("third"))),
            ]
            await all_wait()
            new = await door.move(old)
            await new.agree(await new.asked("second"), 2)
            await new.item(await new.asked("third"), 3)
            assert await asyncio.gather(*others) == [2, 3]
            assert not first.done()
            await old.agree(call, 1)
            assert await first == 1
            assert await old.left() == 1000


class TestMessagesWithPositions:
    async def test_come_from_the_old_until_the_new_has_agreed(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"), offset=0, epoch="e")
            await old.say("a", "x", 1, 1)
            assert await anext(messages) == Message("a", "x", 1, Position(1, "e"))
            new = await door.move(old)
            call = await new.asked("subscribe")
            assert call["payload"]["recover"] == {"offset": 1, "epoch": "e"}
            await old.say("a", "x", 2, 2)
            assert await anext(messages) == Message("a", "x", 2, Position(2, "e"))
            await new.recover(call, 2, 3)
            assert await anext(messages) == Message("a", "x", 3, Position(3, "e"))
            await new.say("a", "x", 4, 4)
            assert await anext(messages) == Message("a", "x", 4, Position(4, "e"))
            assert await old.left() == 1000
            assert messages.recovered is True
            old.said_nothing_else()

    async def test_of_an_old_server_that_is_ahead_do_not_come_again(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"), offset=0, epoch="e")
            new = await door.move(old)
            call = await new.asked("subscribe")
            for number in (1, 2, 3):
                await old.say("a", "x", number, number)
                assert (await anext(messages)).data == number
            await new.recover(call, 1)
            for number in (2, 3, 4):
                await new.say("a", "x", number, number)
            assert await anext(messages) == Message("a", "x", 4, Position(4, "e"))

    async def test_of_the_old_that_come_behind_the_answer_are_dropped(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            asking = asyncio.create_task(client.call("m"))
            call = await old.asked("m")
            messages = await old.enter(client.subscribe("a"), offset=0, epoch="e")
            new = await door.move(old)
            await new.subscribed(recovered=True, offset=0, epoch="e", messages=[])
            await new.say("a", "x", 1, 1)
            assert (await anext(messages)).data == 1
            await old.say("a", "x", 1, 1)
            await old.say("a", "$reset", {"offset": 0, "epoch": "f"})
            await old.say("a", "$unsubscribed", {"code": 1, "message": "no"})
            await old.agree(call, 1)
            assert await asking == 1
            await new.say("a", "x", 2, 2)
            assert await anext(messages) == Message("a", "x", 2, Position(2, "e"))

    async def test_that_the_new_cannot_recover_are_lost_and_the_reader_is_told(self) -> None:
        async with Door() as door, door.connect() as client:
            renewed = asyncio.Event()
            subscription = client.subscribe("a", on_renewed=lambda messages: renewed.set())
            old = await door.visit()
            messages = await old.enter(subscription, offset=0, epoch="e")
            await old.say("a", "x", 1, 1)
            new = await door.move(old)
            await new.subscribed(offset=7, epoch="f")
            await new.say("a", "x", 8, 8)
            await renewed.wait()
            with pytest.raises(PositionLost) as caught:
                await anext(messages)
            assert (caught.value.offset, caught.value.epoch) == (7, "f")
            assert await anext(messages) == Message("a", "x", 8, Position(8, "f"))
            assert messages.recovered is False

    async def test_of_another_stream_are_never_taken_for_those_of_this_one(self) -> None:
        # The old server knows already that the stream was lost, the new one does not yet.
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"), offset=1, epoch="e")
            new = await door.move(old)
            call = await new.asked("subscribe")
            assert call["payload"]["recover"] == {"offset": 1, "epoch": "e"}
            await old.say("a", "$reset", {"offset": 0, "epoch": "f"})
            with pytest.raises(PositionLost) as caught:
                await anext(messages)
            assert messages.position == Position(0, "f")
            await new.recover(call, 2)
            with pytest.raises(PositionLost) as caught:
                await anext(messages)
            assert (caught.value.offset, caught.value.epoch) == (2, "e")
            await new.say("a", "x", 3, 3)
            assert (await anext(messages)).position == Position(3, "e")


class TestMessagesWithoutPositions:
    async def test_that_are_on_their_way_on_the_old_come_before_those_of_the_new(self) -> None:
        async with Door() as door, door.connect() as client:
            messages, old, new = await self.overlapping(door, client)
            ping = await old.asked("rpc.ping")
            await new.say("a", "x", "after")
            await new.hears_only(client)
            await old.say("a", "x", "late")
            assert (await anext(messages)).data == "late"
            await old.agree(ping)
            assert (await anext(messages)).data == "after"
            assert await old.left() == 1000

    async def test_of_the_new_come_at_once_where_the_old_ends(self) -> None:
        async with Door() as door, door.connect() as client:
            messages, old, new = await self.overlapping(door, client)
            await old.asked("rpc.ping")
            await new.say("a", "x", 1)
            await old.close(1012)
            assert (await anext(messages)).data == 1
            assert messages.state is SubscriptionState.OPEN

    @virtual_time
    async def test_of_the_new_do_not_wait_for_ever_for_an_old_that_says_nothing(self) -> None:
        async with VirtualDoor() as door, door.connect(close_timeout=3) as client:
            messages, old, new = await self.overlapping(door, client)
            began = asyncio.get_running_loop().time()
            await old.asked("rpc.ping")
            await new.say("a", "x", 1)
            assert (await anext(messages)).data == 1
            assert asyncio.get_running_loop().time() - began == pytest.approx(3, abs=0.1)

    async def test_that_wait_for_the_old_are_bounded(self) -> None:
        async with Door() as door, door.connect() as client:
            messages, old, new = await self.overlapping(door, client, queue_bytes=2000)
            await old.asked("rpc.ping")
            for _ in range(3):
                await new.say("a", "x", "x" * 900)
            with pytest.raises(TooSlow):
                await anext(messages)
            await new.asked("unsubscribe")

    async def test_of_a_subscription_that_the_old_takes_back_then_come_from_the_new(self) -> None:
        async with Door() as door, door.connect() as client:
            messages, old, new = await self.overlapping(door, client)
            ping = await old.asked("rpc.ping")
            await old.say("a", "$unsubscribed", {"code": -32002, "message": "no"})
            await old.say("a", "$reset", {"offset": 5, "epoch": "e"})
            await old.agree(ping)
            await new.say("a", "x", 1)
            assert (await anext(messages)).data == 1

    async def test_of_a_connection_that_is_left_as_well_come_before_those_of_the_next(self) -> None:
        async with Door() as door, door.connect() as client:
            messages, old, new = await self.overlapping(door, client)
            await new.say("a", "x", 1)
            await new.hears_only(client)
            third = await door.move(new)
            await third.subscribed()
            await third.say("a", "x", 2)
            assert [(await anext(messages)).data for _ in range(2)] == [1, 2]
            await old.agree(await old.asked("rpc.ping"))

    async def overlapping(
        self, door: Door, client: Client, **options: Any
    ) -> tuple[Subscription[Any], Visit, Visit]:
        """A subscription that has moved from a connection which answers no pings, and both."""
        old = await door.visit()
        old.answers_pings = False
        messages = await old.enter(client.subscribe("a", **options))
        new = await door.move(old)
        await new.subscribed()
        return messages, old, new

    async def test_come_from_the_old_until_the_new_has_agreed(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            asking = asyncio.create_task(client.call("m"))
            on_old = await old.asked("m")
            messages = await old.enter(client.subscribe("a"))
            new = await door.move(old)
            call = await new.asked("subscribe")
            assert "recover" not in call["payload"]
            await old.say("a", "x", 1)
            assert await anext(messages) == Message("a", "x", 1)
            await new.agree(call, {})
            await new.say("a", "x", 2)
            assert await anext(messages) == Message("a", "x", 2)
            await old.say("a", "x", 2)  # behind its pong
            await old.agree(on_old, 1)
            assert await asking == 1
            await new.say("a", "x", 3)
            assert await anext(messages) == Message("a", "x", 3)
            assert messages.recovered is False
            assert await old.left() == 1000


class TestASubscription:
    async def test_that_the_new_server_refuses_ends_and_the_old_is_left(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"))
            new = await door.move(old)
            await new.refuse(await new.asked("subscribe"), 7)
            with pytest.raises(CallFailed):
                await anext(messages)
            assert await old.left() == 1000

    @virtual_time
    async def test_that_the_new_server_refuses_for_now_is_heard_of_from_the_old(self) -> None:
        async with VirtualDoor() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"), offset=0, epoch="e")
            new = await door.move(old)
            for number in (1, 2, 3):
                call = await new.asked("subscribe")
                assert call["payload"]["recover"]["offset"] == number - 1
                await new.refuse(call, 7, retry_after=5000)
                await old.say("a", "x", number, number)
                assert (await anext(messages)).data == number
            await new.subscribed(recovered=True, offset=3, epoch="e", messages=[])
            assert await old.left() == 1000

    async def test_whose_new_server_is_lost_is_heard_of_from_the_old(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"), offset=0, epoch="e")
            new = await door.move(old)
            await new.asked("subscribe")
            third = await door.lose(new)
            call = await third.asked("subscribe")
            await old.say("a", "x", 1, 1)
            assert (await anext(messages)).data == 1
            await third.recover(call, 1)
            await third.say("a", "x", 2, 2)
            assert (await anext(messages)).data == 2
            assert await old.left() == 1000

    async def test_whose_old_server_is_lost_before_the_new_agrees_is_recovered(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"), offset=0, epoch="e")
            await old.say("a", "x", 1, 1)
            new = await door.move(old)
            call = await new.asked("subscribe")
            old.cut()
            await old.left()
            await new.recover(call, 2)
            assert (await anext(messages)).data == 1
            assert (await anext(messages)).data == 2
            await door.said.then("open", "open", "open", "open")
            door.said.nothing_else()

    async def test_that_the_old_server_agrees_to_behind_the_move_is_asked_of_the_new(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            entering = asyncio.create_task(client.subscribe("a").__aenter__())
            call = await old.asked("subscribe")
            new = await door.move(old)
            await old.agree(call, {"offset": 0, "epoch": "e"})
            messages = await entering
            again = await new.asked("subscribe")
            assert again["payload"]["recover"] == {"offset": 0, "epoch": "e"}
            await new.recover(again, 1)
            assert (await anext(messages)).data == 1
            assert await old.left() == 1000

    async def test_that_a_server_in_between_agrees_to_too_late_stays_with_the_newest(self) -> None:
        async with Door() as door, door.connect() as client:
            first = await door.visit()
            messages = await first.enter(client.subscribe("a"), offset=0, epoch="e")
            second = await door.move(first)
            late = await second.asked("subscribe")
            third = await door.move(second)
            recovered = {"recovered": True, "offset": 0, "epoch": "e", "messages": []}
            await third.agree(await third.asked("subscribe"), recovered)
            await second.agree(late, recovered)
            await third.say("a", "x", 1, 1)
            assert (await anext(messages)).data == 1
            await second.agree(await second.asked("unsubscribe"))  # it is not wanted there
            assert await second.left() == 1000
            assert await first.left() == 1000
            await third.say("a", "x", 2, 2)
            assert (await anext(messages)).data == 2

    async def test_that_is_left_meanwhile_is_left_on_both(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"))
            new = await door.move(old)
            call = await new.asked("subscribe")
            leaving = asyncio.create_task(messages.__aexit__(None, None, None))
            await old.agree(await old.asked("unsubscribe"))
            await leaving
            await new.agree(call, {})
            await new.agree(await new.asked("unsubscribe"))
            assert await old.left() == 1000

    async def test_that_the_old_server_takes_back_meanwhile_ends(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"))
            new = await door.move(old)
            call = await new.asked("subscribe")
            await old.say("a", "$unsubscribed", {"code": 7, "message": "no"})
            with pytest.raises(CallFailed):
                await anext(messages)
            await new.agree(call, {})
            await new.agree(await new.asked("unsubscribe"))
            assert await old.left() == 1000

    async def test_whose_reader_is_too_slow_meanwhile_ends(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a", queue_bytes=300))
            new = await door.move(old)
            call = await new.asked("subscribe")
            await old.say("a", "x", 1)
            await old.say("a", "x", 2)
            await old.agree(await old.asked("unsubscribe"))
            assert (await anext(messages)).data == 1
            with pytest.raises(TooSlow):
                await anext(messages)
            await new.agree(call, {})
            await new.agree(await new.asked("unsubscribe"))
            assert await old.left() == 1000

    async def test_of_a_pattern_that_another_has_too_moves_by_itself(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            first = await old.enter(client.subscribe("a"), offset=0, epoch="e")
            second = await old.enter(client.subscribe("a"), offset=0, epoch="e")
            new = await door.move(old)
            await new.recover(await new.asked("subscribe"), 1)
            call = await new.asked("subscribe")
            await old.say("a", "x", 1, 1)
            assert (await anext(second)).data == 1
            await new.say("a", "x", 2, 2)
            assert [(await anext(first)).data for _ in range(2)] == [1, 2]
            await new.recover(call, 1, 2)
            assert (await anext(second)).data == 2
            await new.say("a", "x", 3, 3)
            assert (await anext(first)).data == (await anext(second)).data == 3
            assert await old.left() == 1000


class TestAClientThatIsClosedMeanwhile:
    async def test_says_goodbye_to_both(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            messages = await old.enter(client.subscribe("a"))
            new = await door.move(old)
            await new.asked("subscribe")
            await client.close(1000, "enough")
            assert await old.left() == 1000
            assert await new.left() == 1000
            with pytest.raises(StopAsyncIteration):
                await anext(messages)

    async def test_makes_no_other_connection(self) -> None:
        async with Door() as door, door.connect() as client:
            old = await door.visit()
            door.open.clear()
            await old.reconnect()
            await door.knocked(2)
            await client.close()
            assert await old.left() == 1000
            with pytest.raises(ConnectionClosed):
                await client.call("m")
