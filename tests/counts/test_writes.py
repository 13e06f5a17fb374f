"""One write to a connection in a turn of the loop, whatever there is to say on it."""

import sys
from typing import Any, Final

from tests.counts.connections import Connected, Endpoint, site
from tests.counts.loops import CountingLoop
from tests.ws.raw import PING, PONG, RawSocket, masked, message

ADD: Final = ("add", {"a": 1, "b": 2})

#: Handlers answer in the turn in which the call comes, and one turn later before Python 3.12.
LATER: Final = 0 if sys.version_info >= (3, 12) else 1


def data_of(write: list[Any]) -> list[Any]:
    """The data of the messages of a channel."""
    return [each["data"] for each in write]


async def answered(caller: Connected, *calls: tuple[str, object]) -> list[list[object]]:
    """Call in one piece of data. For each write, the numbers of the calls that it answers.

    Of a message of a channel it is the name of that, in its place.
    """
    caller.forget()
    ids = caller.client.begin_together(*calls)
    for id in ids:
        await caller.client.answer(id)
    return [
        [each["id"] - ids[0] if "id" in each else each["channel"] for each in write]
        for write in caller.written()
    ]


async def test_what_is_published_in_one_turn_is_one_write_to_each_subscriber(
    loop: CountingLoop,
) -> None:
    async with site(loop) as server:
        subscribers = await server.connect(50, channel="c")
        for number in range(8):
            await server.sockets.publish("c", "e", number)
        for each in subscribers:
            await each.hear(8)
            assert list(map(data_of, each.written())) == [[0, 1, 2, 3, 4, 5, 6, 7]]


async def test_what_is_published_in_one_turn_on_many_channels_is_one_write(
    loop: CountingLoop,
) -> None:
    async with site(loop) as server:
        (subscriber,) = await server.connect(1)
        for number in range(8):
            await subscriber.client.call("subscribe", {"channel": f"c{number}"})
        subscriber.forget()
        for number in range(8):
            await server.sockets.publish(f"c{number}", "e", number)
        await subscriber.hear(8)
        assert list(map(data_of, subscriber.written())) == [[0, 1, 2, 3, 4, 5, 6, 7]]


async def test_what_is_more_than_one_write_may_hold_is_written_64_KiB_at_a_time(
    loop: CountingLoop,
) -> None:
    async with site(loop) as server:
        (subscriber,) = await server.connect(1, channel="c")
        for _ in range(200):
            await server.sockets.publish("c", "e", "x" * 1000)
        await subscriber.hear(200)
        writes = subscriber.written()
        assert sum(map(len, writes)) == 200
        assert len(writes) <= 4


async def test_the_answers_to_what_came_in_one_read_are_one_write(loop: CountingLoop) -> None:
    async with site(loop) as server:
        (caller,) = await server.connect(1)
        assert await answered(caller, *[ADD] * 16) == [list(range(16))]


async def test_the_calls_of_many_in_one_turn_are_one_write_to_each(loop: CountingLoop) -> None:
    async with site(loop) as server:
        callers = await server.connect(20)
        last = [each.client.begin_together(*[ADD] * 4)[-1] for each in callers]
        for each, id in zip(callers, last, strict=True):
            await each.client.answer(id)
            assert len(each.written()) == 1


async def test_results_and_refusals_of_handlers_are_one_write(loop: CountingLoop) -> None:
    async with site(loop) as server:
        (caller,) = await server.connect(1)
        assert await answered(caller, ADD, ("refuse", {}), ADD) == [[0, 1, 2]]


async def test_what_is_refused_before_its_handler_adds_no_more_than_the_turn_that_those_take(
    loop: CountingLoop,
) -> None:
    async with site(loop) as server:
        (caller,) = await server.connect(1)
        found = await answered(caller, ADD, ("no such method", {}), ("add", {"a": "x"}), ADD)
        assert len(found) <= 1 + LATER
        assert sorted(str(id) for write in found for id in write) == list("0123")


async def test_an_answer_and_the_message_that_its_call_has_published_are_one_write(
    loop: CountingLoop,
) -> None:
    async with site(loop) as server:
        publisher, other = await server.connect(2, channel="c")
        publish = ("publish", {"channel": "c", "event": "e", "data": 1})
        (write,) = await answered(publisher, ADD, publish, publish, ADD)
        assert sorted(map(str, write)) == ["0", "1", "2", "3", "c", "c"]
        assert list(map(data_of, other.written())) == [[1, 1]]


async def test_the_answers_to_subscribing_are_one_write(loop: CountingLoop) -> None:
    async with site(loop) as server:
        (subscriber,) = await server.connect(1)
        calls = [("subscribe", {"channel": f"c{number}"}) for number in range(8)]
        assert await answered(subscriber, *calls) == [list(range(8))]


async def test_to_subscribe_and_what_is_published_right_behind_it_are_one_write(
    loop: CountingLoop,
) -> None:
    async with site(loop) as server:
        (client,) = await server.connect(1)
        publish = ("publish", {"channel": "c", "event": "e", "data": 1})
        (write,) = await answered(client, ("subscribe", {"channel": "c"}), publish)
        assert write[0] == 0
        assert sorted(map(str, write)) == ["0", "1", "c"]


async def test_what_came_in_one_piece_with_the_handshake_is_answered_in_one_write(
    loop: CountingLoop,
) -> None:
    async with site(loop) as server:
        client = await RawSocket.open(server.url, behind=calls(8))
        assert [(await client.receive())["id"] for _ in range(8)] == list(range(8))
        handshake, answers = loop.accepted[0].writes
        assert handshake.startswith(b"HTTP/1.1 101 ")
        await client.shut()


class Greeting(Endpoint):
    async def on_connect(self) -> None:
        for word in ("Good", "morning", "to", "you"):
            await self.notify(word)


async def test_a_greeting_is_one_write_with_the_answers_to_what_waited_for_it(
    loop: CountingLoop,
) -> None:
    async with site(loop, endpoint=Greeting) as server:
        client = await RawSocket.open(server.url, behind=calls(8))
        assert [(await client.receive())["id"] for _ in range(12)] == [None] * 4 + list(range(8))
        assert len(loop.accepted[0].writes) <= 2 + LATER
        await client.shut()


async def test_a_pong_goes_with_the_answers(loop: CountingLoop) -> None:
    async with site(loop) as server:
        client = await RawSocket.open(server.url)
        client.writer.write(calls(2) + masked(PING, b"") + calls(4)[len(calls(2)) :])
        opcodes = [opcode for opcode, _ in [await client.frame() for _ in range(5)]]
        assert opcodes.count(PONG) == 1
        assert len(loop.accepted[0].writes) <= 2 + LATER
        await client.shut()


async def test_the_items_of_a_stream_that_does_not_suspend_are_one_write(
    loop: CountingLoop,
) -> None:
    async with site(loop) as server:
        (caller,) = await server.connect(1)
        caller.client.begin("count", {"to": 8})
        await caller.hear(9)
        (write,) = caller.written()
        assert [each.get("item") for each in write] == [*range(8), None]


def calls(count: int) -> bytes:
    """So many calls as they are sent, with numbers as ids."""
    each = ({"id": id, "method": "add", "payload": {"a": id, "b": 1}} for id in range(count))
    return b"".join(map(message, each))
