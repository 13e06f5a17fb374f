"""A subscription outlives its connection: what its reader gets when the next one has it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from yarl import URL

from openapi.client import (
    Client,
    Member,
    Message,
    Position,
    PositionLost,
    Subscription,
    TooSlow,
    connect,
)
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode, UnexpectedData
from openapi.testing import virtual_time
from tests.client.begun import all_wait
from tests.client.door import QUICK, Door, Said, VirtualDoor
from tests.client.servers import Keeper, Keeping, Sum


class Way:
    """The way to a server: a URL that is not there while it is shut."""

    def __init__(self, url: URL, keeping: Keeping) -> None:
        self.said: Final = Said()
        """What ``on_state`` was told."""
        self._url = url
        self._keeping = keeping
        self._open = asyncio.Event()
        self._open.set()

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncIterator[Client]:
        """A client that goes this way."""
        async with connect(
            self._find, on_state=self.said, **{"reconnect": QUICK} | options
        ) as client:
            await self.said.then("open")
            yield client

    async def shut(self) -> None:
        """Cut all connections, and make no more of them."""
        self._open.clear()
        self._keeping.cut()
        await self.said.then("waiting", "connecting")

    async def open(self) -> None:
        """Let the client come back."""
        self._open.set()
        await self.said.then("open")

    async def miss(self, channel: str, *numbers: int) -> Position:
        """Have numbers published while it is shut; returns the position of the last."""
        await self.shut()
        top = await self._keeping.publish(channel, *numbers)
        await self.open()
        return top

    async def _find(self) -> URL:
        await self._open.wait()
        return self._url


@pytest.fixture
def way(kept: URL, keeping: Keeping) -> Way:
    return Way(kept, keeping)


class Renewed:
    """Is ``on_renewed``: what it was told, to be waited for."""

    def __init__(self) -> None:
        self.times = 0
        self._recovered: asyncio.Queue[bool | None] = asyncio.Queue()

    def __call__(self, messages: Subscription[Any]) -> None:
        self.times += 1
        self._recovered.put_nowait(messages.recovered)

    async def recovered(self) -> bool | None:
        """Wait until it is called once more."""
        return await self._recovered.get()


async def read(messages: Subscription[Any], count: int) -> list[Any]:
    """The data of the next messages."""
    return [(await anext(messages)).data for _ in range(count)]


class TestOnAChannelThatKeepsHistory:
    async def test_all_that_was_missed_comes_once_and_in_order_and_then_what_follows(
        self, way: Way, keeping: Keeping, encoding: Any
    ) -> None:
        renewed = Renewed()
        async with (
            way.connect(encoding=encoding) as client,
            client.subscribe("c", on_renewed=renewed) as messages,
        ):
            await keeping.publish("c", 1)
            assert await read(messages, 1) == [1]
            assert (messages.recovered, renewed.times) == (None, 0)
            for number in range(2, 20, 3):
                await way.miss("c", number, number + 1)
                assert await renewed.recovered() is True
                top = await keeping.publish("c", number + 2)
                assert await read(messages, 3) == [number, number + 1, number + 2]
                assert (messages.recovered, messages.position) == (True, top)
            assert renewed.times == 6

    async def test_nothing_that_was_missed_is_recovered_too(
        self, way: Way, keeping: Keeping
    ) -> None:
        renewed = Renewed()
        async with way.connect() as client, client.subscribe("c", on_renewed=renewed) as messages:
            position = messages.position
            await way.shut()
            await way.open()
            assert await renewed.recovered() is True
            assert messages.position == position
            await keeping.publish("c", 1)
            assert await read(messages, 1) == [1]

    async def test_what_came_and_was_not_read_yet_is_not_asked_for_again(
        self, way: Way, keeping: Keeping
    ) -> None:
        renewed = Renewed()
        async with (
            way.connect() as client,
            client.subscribe("c", on_renewed=renewed) as messages,
            client.subscribe("c") as witness,
        ):
            begins = messages.position
            await keeping.publish("c", 1, 2)
            assert await read(witness, 2) == [1, 2]
            await way.miss("c", 3)
            assert await renewed.recovered() is True
            assert messages.position == begins
            assert await read(messages, 3) == [1, 2, 3]
            assert await read(witness, 1) == [3]

    async def test_only_what_fits_its_pattern_comes_and_with_its_type(
        self, way: Way, keeping: Keeping
    ) -> None:
        async with way.connect() as client, client.subscribe("c", "s*", type=Sum) as messages:
            await way.shut()
            await keeping.publish("c", 1)
            await keeping.sockets.publish("c", "sum", {"sum": 2})
            await way.open()
            assert await read(messages, 1) == [Sum(2)]

    async def test_where_history_is_too_short_the_reader_is_told_in_the_place_of_what_waited(
        self, way: Way, keeping: Keeping
    ) -> None:
        renewed = Renewed()
        async with (
            way.connect() as client,
            client.subscribe("short", on_renewed=renewed) as messages,
            client.subscribe("short", on_renewed=renewed) as witness,
        ):
            await keeping.publish("short", 1, 2)
            assert await read(witness, 2) == [1, 2]
            top = await way.miss("short", 3, 4, 5, 6)
            assert [await renewed.recovered() for _ in range(2)] == [False, False]
            await keeping.publish("short", 7)
            for each in (messages, witness):
                with pytest.raises(PositionLost) as caught:
                    await anext(each)
                assert Position(caught.value.offset, caught.value.epoch) == top
                assert each.position == top
                assert each.recovered is False
                assert await read(each, 1) == [7]

    async def test_where_the_stream_was_lost_the_reader_is_told(
        self, way: Way, keeping: Keeping
    ) -> None:
        async with way.connect() as client, client.subscribe("c") as messages:
            await keeping.publish("c", 1)
            assert await read(messages, 1) == [1]
            await way.shut()
            keeping.archive.forget("c")
            await keeping.publish("c", 2)
            await way.open()
            with pytest.raises(PositionLost):
                await anext(messages)
            await keeping.publish("c", 3)
            assert await read(messages, 1) == [3]

    async def test_behind_a_loss_the_next_absence_is_recovered(
        self, way: Way, keeping: Keeping
    ) -> None:
        renewed = Renewed()
        async with (
            way.connect() as client,
            client.subscribe("short", on_renewed=renewed) as messages,
        ):
            await way.miss("short", 1, 2, 3, 4)
            assert await renewed.recovered() is False
            await way.shut()  # before the reader has heard of the first
            await keeping.publish("short", 5)
            await way.open()
            assert await renewed.recovered() is True
            with pytest.raises(PositionLost):
                await anext(messages)
            assert await read(messages, 1) == [5]

    async def test_what_is_recovered_may_be_too_much_for_a_reader(self, way: Way) -> None:
        renewed = Renewed()
        async with (
            way.connect() as client,
            client.subscribe("c", queue_bytes=2000, on_renewed=renewed) as messages,
            client.subscribe("c") as witness,
        ):
            await way.miss("c", *range(20))
            assert await read(witness, 20) == list(range(20))
            assert await read(messages, 7) == list(range(7))
            with pytest.raises(TooSlow):
                await anext(messages)
            assert renewed.times == 0

    async def test_what_cannot_be_read_of_it_ends_the_subscription(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"), offset=1, epoch="e")
            again = await door.lose(visit)
            assert (await again.asked("subscribe"))["payload"]["recover"]["offset"] == 1
            await again.agree({"id": 1, "method": "subscribe"}, {"recovered": True})
            with pytest.raises(UnexpectedData):
                await anext(messages)
            await again.asked("unsubscribe")


class TestOnAChannelThatKeepsNone:
    async def test_it_goes_on_and_what_was_published_meanwhile_is_lost(
        self, way: Way, keeping: Keeping, encoding: Any
    ) -> None:
        renewed = Renewed()
        async with (
            way.connect(encoding=encoding) as client,
            client.subscribe("fleeting", on_renewed=renewed) as messages,
        ):
            await keeping.sockets.publish("fleeting", "n", 1)
            assert await read(messages, 1) == [1]
            await way.shut()
            await keeping.sockets.publish("fleeting", "n", 2)
            await way.open()
            assert await renewed.recovered() is False
            await keeping.sockets.publish("fleeting", "n", 3)
            assert await anext(messages) == Message("fleeting", "n", 3)
            assert (messages.recovered, messages.position) == (False, None)

    async def test_what_came_before_is_read_all_the_same(self, way: Way, keeping: Keeping) -> None:
        renewed = Renewed()
        async with (
            way.connect() as client,
            client.subscribe("fleeting", on_renewed=renewed) as messages,
            client.subscribe("fleeting") as witness,
        ):
            await keeping.sockets.publish("fleeting", "n", 1)
            assert await read(witness, 1) == [1]
            await way.shut()
            await way.open()
            await renewed.recovered()
            await keeping.sockets.publish("fleeting", "n", 2)
            assert await read(messages, 2) == [1, 2]


class TestThatTheServerRefuses:
    async def test_it_ends_with_the_servers_error_behind_what_came(
        self, way: Way, keeping: Keeping
    ) -> None:
        async with (
            way.connect() as client,
            client.subscribe("c", "a*") as messages,
            client.subscribe("c", "*") as other,
        ):
            await keeping.publish("c", 1, event="a")
            assert await read(other, 1) == [1]
            await way.shut()
            Keeper.refused = frozenset({"a*"})
            await way.open()
            assert await read(messages, 1) == [1]
            with pytest.raises(CallFailed) as caught:
                await anext(messages)
            assert caught.value.message == "Not allowed to subscribe to this channel"
            await keeping.publish("c", 2, event="a")
            assert await read(other, 1) == [2]
            assert keeping.sockets.server_info()["channels"] == {"c": {"*": 1}}

    async def test_it_is_not_asked_for_again(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"))
            again = await door.lose(visit)
            await again.refuse(await again.asked("subscribe"), 7)
            with pytest.raises(CallFailed):
                await anext(messages)
            third = await door.lose(again)
            await third.hears_only(client)

    @virtual_time
    async def test_for_a_while_it_waits_and_the_server_is_asked_again(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = Renewed()
        async with VirtualDoor() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(
                client.subscribe("a", on_renewed=renewed), offset=1, epoch="e"
            )
            again = await door.lose(visit)
            began = loop.time()
            for _ in range(3):
                await again.refuse(await again.asked("subscribe"), 7, retry_after=5000)
            call = await again.asked("subscribe")
            assert 15 <= loop.time() - began < 20
            assert call["payload"]["recover"] == {"offset": 1, "epoch": "e"}
            await again.recover(call, 2)
            assert await renewed.recovered() is True
            assert await anext(messages) == Message("a", "x", 2, Position(2, "e"))
            assert renewed.times == 1

    @virtual_time
    async def test_for_a_while_and_is_lost_meanwhile_the_next_is_asked_and_this_no_more(
        self,
    ) -> None:
        async with VirtualDoor() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"))
            again = await door.lose(visit)
            await again.refuse(await again.asked("subscribe"), 7, retry_after=60_000)
            await asyncio.sleep(1)
            third = await door.lose(again)
            await third.subscribed()
            await asyncio.sleep(100)
            third.said_nothing_else()
            await third.say("a", "x", 1)
            assert (await anext(messages)).data == 1

    @virtual_time
    async def test_by_not_answering_in_time_it_is_asked_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with VirtualDoor() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"), offset=1, epoch="e")
            again = await door.lose(visit)
            first = await again.asked("subscribe")
            await asyncio.sleep(31)
            await again.refuse(first, ErrorCode.DEADLINE_EXCEEDED)
            again_asked = await again.asked("subscribe")
            assert again_asked["payload"]["recover"] == {"offset": 1, "epoch": "e"}
            recovered = {"recovered": True, "offset": 1, "epoch": "e", "messages": []}
            await again.agree(again_asked, recovered)
            await again.say("a", "x", 2, 2)
            assert (await anext(messages)).data == 2
        assert "a subscription is not renewed yet: 'a' was not answered within 30" in caplog.text

    @virtual_time
    async def test_for_a_while_and_is_left_meanwhile_it_is_not_asked_again(self) -> None:
        async with VirtualDoor() as door, door.connect() as client:
            visit = await door.visit()
            messages = client.subscribe("a")
            await visit.enter(messages)
            again = await door.lose(visit)
            await again.refuse(await again.asked("subscribe"), 7, retry_after=5000)
            await asyncio.sleep(1)
            await messages.__aexit__(None, None, None)
            await asyncio.sleep(100)
            again.said_nothing_else()

    async def test_because_it_is_about_to_close_the_next_one_is_asked(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"))
            again = await door.lose(visit)
            call = await again.asked("subscribe")
            await again.reconnect()
            await again.refuse(call, ErrorCode.SHUTTING_DOWN, retry_after=3_600_000)
            third = await door.visit()
            await third.subscribed()
            await third.say("a", "x", 1)
            assert (await anext(messages)).data == 1

    async def test_for_time_it_is_asked_again(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"))
            again = await door.lose(visit)
            await again.refuse(await again.asked("subscribe"), ErrorCode.DEADLINE_EXCEEDED)
            await again.subscribed()
            await again.say("a", "x", 1)
            assert (await anext(messages)).data == 1


class TestThatHasEnded:
    async def test_because_it_was_left_nobody_asks_for_it(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = client.subscribe("a")
            await visit.enter(messages)
            door.open.clear()
            visit.cut()
            await door.knocked(2)
            await messages.__aexit__(None, None, None)
            door.open.set()
            again = await door.visit()
            await again.hears_only(client)
            with pytest.raises(StopAsyncIteration):
                await anext(messages)

    async def test_because_the_server_took_it_back_nobody_asks_for_it(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"))
            await visit.say("a", "$unsubscribed", {"code": 7, "message": "no"})
            with pytest.raises(CallFailed):
                await anext(messages)
            again = await door.lose(visit)
            await again.hears_only(client)

    async def test_because_its_reader_is_too_slow_nobody_asks_for_it(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a", queue_bytes=300))
            for number in range(2):
                await visit.say("a", "x", number)
            await visit.asked("unsubscribe")
            again = await door.lose(visit)
            await again.hears_only(client)
            assert (await anext(messages)).data == 0
            with pytest.raises(TooSlow):
                await anext(messages)

    @pytest.mark.parametrize("code", [1000, 4501])
    async def test_because_the_client_was_closed_it_says_so(self, code: int) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"))
            await visit.say("a", "x", 1)
            await visit.close(code)
            assert (await anext(messages)).data == 1
            with pytest.raises(ConnectionClosed) as caught:
                await anext(messages)
            assert caught.value.code == code

    async def test_because_the_client_was_closed_while_it_was_away_it_says_so(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"))
            door.refuse(403)
            visit.cut()
            with pytest.raises(ConnectionClosed, match="403"):
                await anext(messages)

    async def test_because_the_application_closed_the_client_it_just_stops(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = await visit.enter(client.subscribe("a"))
            door.open.clear()
            visit.cut()
            await door.knocked(2)
            await client.close()
            with pytest.raises(StopAsyncIteration):
                await anext(messages)


class TestThatIsLeftWhileItIsRenewed:
    async def test_the_server_that_agrees_is_told(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            messages = client.subscribe("a")
            await visit.enter(messages)
            again = await door.lose(visit)
            call = await again.asked("subscribe")
            await messages.__aexit__(None, None, None)
            await again.agree(call, {})
            await again.answer()
            again.said_nothing_else()
            await again.hears_only(client)

    async def test_and_another_has_its_pattern_nobody_is_told(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            first, second = client.subscribe("a"), client.subscribe("a")
            for each in (first, second):
                await visit.enter(each)
            again = await door.lose(visit)
            call = await again.asked("subscribe")
            await first.__aexit__(None, None, None)
            await again.agree(call, {})
            await again.subscribed()
            await again.say("a", "x", 1)
            assert (await anext(second)).data == 1
            await again.hears_only(client)


class TestThatIsEntered:
    async def test_while_its_connection_ends_the_next_one_is_asked(self) -> None:
        async with Door() as door, door.connect() as client:
            entering = asyncio.create_task(client.subscribe("a").__aenter__())
            for _ in range(3):
                visit = await door.visit()
                await visit.asked("subscribe")
                visit.cut()
            visit = await door.visit()
            await visit.subscribed()
            messages = await entering
            assert messages.recovered is None
            visit.said_nothing_else()

    async def test_and_agreed_to_just_before_its_connection_ends_is_renewed(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            entering = asyncio.create_task(client.subscribe("a").__aenter__())
            await visit.subscribed(offset=3, epoch="e")
            await visit.close(1012)
            again = await door.visit()
            payload = await again.subscribed(recovered=True, offset=3, epoch="e", messages=[])
            assert payload["recover"] == {"offset": 3, "epoch": "e"}
            messages = await entering
            await again.say("a", "x", 1, 4)
            assert (await anext(messages)).data == 1

    async def test_at_a_server_that_is_about_to_close_is_asked_of_the_next(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            entering = asyncio.create_task(client.subscribe("a").__aenter__())
            call = await visit.asked("subscribe")
            await visit.reconnect()
            await visit.refuse(call, ErrorCode.SHUTTING_DOWN, retry_after=3_600_000)
            again = await door.visit()
            await again.subscribed()
            messages = await entering
            await again.say("a", "x", 1)
            assert (await anext(messages)).data == 1

    async def test_with_a_position_while_there_is_no_connection_goes_on_from_there(
        self, way: Way, keeping: Keeping
    ) -> None:
        async with way.connect() as client:
            position = await keeping.publish("c", 1)
            await way.shut()
            await keeping.publish("c", 2)
            entering = asyncio.create_task(client.subscribe("c", recover=position).__aenter__())
            await keeping.publish("c", 3)
            await way.open()
            messages = await entering
            assert messages.recovered is True
            assert await read(messages, 2) == [2, 3]

    async def test_and_given_up_while_there_is_no_connection_has_changed_nothing(self) -> None:
        async with Door() as door, door.connect() as client:
            visit = await door.visit()
            door.open.clear()
            visit.cut()
            await door.knocked(2)
            messages = client.subscribe("a")
            entering = asyncio.create_task(messages.__aenter__())
            await all_wait()
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            door.open.set()
            again = await door.visit()
            await again.hears_only(client)
            with pytest.raises(RuntimeError, match="entered once"):
                await messages.__aenter__()


class TestWhoeverIsTold:
    async def test_that_it_fails_is_logged_and_changes_nothing(
        self, way: Way, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(messages: Subscription[Any]) -> None:
            raise ValueError(messages.channel)

        async with way.connect() as client, client.subscribe("c", on_renewed=fail) as messages:
            await way.miss("c", 1)
            assert await read(messages, 1) == [1]
        assert "on_renewed of the subscription to 'c' failed" in caplog.text

    async def test_may_load_anew_what_is_there(self, way: Way, keeping: Keeping) -> None:
        loaded: asyncio.Queue[Any] = asyncio.Queue()
        loading: set[asyncio.Task[None]] = set()

        async def load(client: Client) -> None:
            loaded.put_nowait(await client.history("c"))

        async with way.connect() as client:

            def renewed(messages: Subscription[Any]) -> None:
                loading.add(asyncio.create_task(load(client)))

            async with client.subscribe("fleeting", on_renewed=renewed):
                await keeping.publish("c", 1)
                await way.shut()
                await way.open()
                assert [each.data for each in (await loaded.get()).messages] == [1]


class TestSeveralSubscriptions:
    async def test_of_one_pattern_each_go_on_where_they_were(
        self, way: Way, keeping: Keeping
    ) -> None:
        first = await keeping.publish("c", 1)
        await keeping.publish("c", 2)
        async with (
            way.connect() as client,
            client.subscribe("c") as late,
            client.subscribe("c", recover=first) as early,
            client.subscribe("c", "n") as named,
        ):
            for number in range(3, 12, 3):
                await way.miss("c", number)
                await keeping.publish("c", number + 1, number + 2)
            missed = list(range(3, 12))
            assert await read(late, 9) == missed
            assert await read(early, 10) == [2, *missed]
            assert await read(named, 9) == missed
            assert keeping.sockets.server_info()["channels"] == {"c": {"*": 1, "n": 1}}

    async def test_of_more_channels_than_calls_may_be_in_flight_all_come_back(
        self, way: Way, keeping: Keeping
    ) -> None:
        async with way.connect(calls=3) as client:
            all_of_them = [client.subscribe(f"c{number}") for number in range(100)]
            await asyncio.gather(*(each.__aenter__() for each in all_of_them))
            for number in range(3):
                await way.shut()
                for each in all_of_them:
                    await keeping.publish(each.channel, number)
                await way.open()
            for each in all_of_them:
                assert await read(each, 3) == [0, 1, 2]


class TestPresence:
    async def test_of_who_joined_and_left_meanwhile_nobody_is_told_and_one_asks_anew(
        self, kept: URL, keeping: Keeping
    ) -> None:
        way, renewed = Way(kept.with_query(user="ann"), keeping), Renewed()
        async with (
            way.connect() as client,
            client.subscribe("room", presence=True, on_renewed=renewed) as messages,
        ):
            assert (await anext(messages)).data == Member("ann", "ann")
            await way.shut()
            async with connect(kept.with_query(user="bob")) as other, other.subscribe("room"):
                await way.open()
                assert await renewed.recovered() is True
                assert {each.id for each in await client.presence("room")} == {"ann", "bob"}
                await keeping.publish("room", 1)
                while (message := await anext(messages)).event != "n":
                    assert message.data == Member("ann", "ann")
                assert message.data == 1


class TestWhatIsNotASubscriptionOfTheClients:
    async def test_ends_with_its_connection(self, way: Way, keeping: Keeping) -> None:
        async with way.connect() as client:
            (socket,) = keeping.sockets.sockets
            await keeping.sockets.subscribe_socket("c", "*", socket_id=socket.socket_id)
            assert keeping.sockets.server_info()["channels"] == {"c": {"*": 1}}
            await way.shut()
            await way.open()
            await client.publish("other", "n", 1)
            assert keeping.sockets.server_info()["channels"] == {}


class TestAReader:
    async def test_may_be_cancelled_while_it_is_away_and_another_goes_on(
        self, way: Way, keeping: Keeping
    ) -> None:
        async with way.connect() as client, client.subscribe("c") as messages:
            reading = asyncio.create_task(read(messages, 1))
            await way.shut()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await keeping.publish("c", 1)
            await way.open()
            assert await read(messages, 1) == [1]

    async def test_reads_what_came_while_it_is_away(self, way: Way, keeping: Keeping) -> None:
        async with (
            way.connect() as client,
            client.subscribe("c") as messages,
            client.subscribe("c") as witness,
        ):
            await keeping.publish("c", 1)
            assert await read(witness, 1) == [1]
            await way.shut()
            assert await read(messages, 1) == [1]
