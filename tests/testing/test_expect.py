"""What a test client expects, and what it says when something else comes."""

import asyncio
from typing import Any

import pytest

from openapi.errors import ConnectionClosed, PositionLost, UnexpectedData
from openapi.testing import SocketClient, serve, socket_client, virtual_time
from openapi.ws.brokers.memory import MemoryBroker
from tests.testing.board import SOCKETS, make_app


async def say(client: SocketClient, *events: str, channel: str = "news") -> None:
    """Publish some events, each with its number."""
    for number, event in enumerate(events, 1):
        await client.publish(channel, event, number)


async def failure(client: SocketClient, event: str = "*", **wanted: Any) -> str:
    """What a test is told that expects in vain."""
    with pytest.raises(AssertionError) as caught:
        await client.expect("news", event, **wanted)
    return str(caught.value)


async def test_a_client_has_all_that_clients_have() -> None:
    async with socket_client(make_app()) as client:
        assert await client.call("echo", {"a": 1}) == {"a": 1}
        assert client.closed is None
        with pytest.raises(AttributeError, match="nothing"):
            _ = client.nothing  # type: ignore[attr-defined] # which is refused


async def test_what_was_said_since_joining_is_there_to_be_expected() -> None:
    async with socket_client(make_app()) as client:
        subscription = await client.join("news")
        assert subscription.channel == "news"
        await say(client, "one", "two")
        message = await client.expect("news", "one")
        assert (message.channel, message.event, message.data) == ("news", "one", 1)
        assert (await client.expect("news")).event == "two"


@virtual_time
async def test_what_is_said_later_is_waited_for() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("news")
        expected = asyncio.create_task(client.expect("news", timeout=60))
        await asyncio.sleep(59)
        await say(client, "late")
        assert (await expected).event == "late"


async def test_messages_may_be_expected_in_any_order() -> None:
    async with socket_client(make_app()) as client:
        await client.join("news")
        await say(client, "one", "two", "three")
        assert (await client.expect("news", "t*", data=3)).event == "three"
        assert (await client.expect("news", "one")).data == 1
        assert (await client.expect("news")).data == 2


async def test_two_may_expect_on_one_channel_at_once() -> None:
    async with socket_client(make_app()) as client:
        await client.join("news")
        both = asyncio.gather(client.expect("news", "two"), client.expect("news", "one"))
        await say(client, "one", "two")
        assert [message.data for message in await both] == [2, 1]


@virtual_time
async def test_who_expects_in_vain_is_shown_what_came_instead() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("news")
        assert await failure(client) == "expected '*' on 'news' within 1 s, and nothing came"
        await say(client, "one", "two")
        assert await failure(client, "two", data=1, timeout=0.5) == (
            "expected 'two' with 1 on 'news' within 0.5 s, and these came instead:\n"
            "  'one' with 1\n"
            "  'two' with 2"
        )
        await client.expect("news", "one")  # and it is still there


@virtual_time
async def test_a_failure_shows_no_more_than_one_can_read() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("news")
        await client.publish("news", "long", "x" * 1000)
        await say(client, *map(str, range(24)))
        shown = (await failure(client, "none")).splitlines()
        assert shown[1] == "  5 earlier ones, and then"
        assert len(shown) == 22
        await client.leave("news")
        await client.join("news")
        await client.publish("news", "long", "x" * 1000)
        assert len((await failure(client, "none")).splitlines()[1]) < 250


@virtual_time
async def test_nothing_is_expected_for_a_while() -> None:
    loop = asyncio.get_running_loop()
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("news")
        began = loop.time()
        await client.expect_nothing("news", within=5)
        assert loop.time() == began + 5
        await say(client, "one")
        await client.expect_nothing("news", "two")
        with pytest.raises(AssertionError) as caught:
            await client.expect_nothing("news")
        assert str(caught.value) == ("expected nothing on 'news', but this came:\n  'one' with 1")
        with pytest.raises(AssertionError, match="nothing that fits 'o[*]' on 'news'"):
            await client.expect_nothing("news", "o*")
        await client.expect("news", "one")
        await client.expect_nothing("news")


async def test_a_channel_is_joined_before_anything_is_expected_on_it() -> None:
    async with socket_client(make_app()) as client:
        with pytest.raises(LookupError, match="'news' is not joined: `await client.join"):
            await client.expect("news")
        with pytest.raises(LookupError, match="not joined"):
            await client.expect_nothing("news")
        with pytest.raises(LookupError, match="not joined"):
            await client.leave("news")


async def test_a_channel_is_joined_once_and_again_when_it_was_left() -> None:
    async with socket_client(make_app()) as client:
        await client.join("news")
        with pytest.raises(ValueError, match="'news' is joined already"):
            await client.join("news")
        await client.leave("news")
        await client.join("news", "o*")
        await say(client, "two", "one")
        assert (await client.expect("news")).event == "one"


@virtual_time
async def test_a_channel_that_could_not_be_joined_is_not() -> None:
    async with serve(make_app()) as server, server.connect(reconnect=None) as client:
        client.link.halt()
        with pytest.raises(TimeoutError):
            await client.join("news", timeout=1)
        with pytest.raises(LookupError, match="not joined"):
            await client.expect("news")


@virtual_time
async def test_who_expects_of_what_has_ended_is_told_at_once_how_it_did() -> None:
    async with serve(make_app()) as server, server.connect(reconnect=None) as client:
        await client.join("news")
        await say(client, "one")
        await server.app[SOCKETS].disconnect(socket_id=await socket_id(server.app[SOCKETS]))
        told = await failure(client, "two", timeout=1000)
        assert told.startswith("expected 'two' on 'news', but the subscription ended (Conn")
        assert told.endswith("and these came instead:\n  'one' with 1")
        await client.expect("news", "one")
        await client.expect_nothing("news", within=1000)
        assert isinstance(client.closed, ConnectionClosed)


async def socket_id(sockets: Any) -> str:
    """The one that is connected."""
    [ws] = sockets.sockets
    assert isinstance(ws.socket_id, str)
    return ws.socket_id


@virtual_time
async def test_lost_messages_and_wrong_data_are_told_as_to_any_reader() -> None:
    broker = MemoryBroker()
    async with serve(make_app(broker)) as server, server.connect() as client:
        await client.join("log:1", type=int)
        await client.publish("log:1", "right", 1)
        await client.expect("log:1", data=1)
        broker.forget("log:1")
        await client.publish("log:1", "right", 2)
        with pytest.raises(PositionLost):
            await client.expect("log:1", data=2)
        await client.expect("log:1", data=2)
        await client.publish("log:1", "wrong", "text")
        with pytest.raises(UnexpectedData):
            await client.expect("log:1")
        await client.publish("log:1", "right", 1)
        await client.expect("log:1", "right")


@virtual_time
async def test_more_messages_than_a_test_can_want_are_a_failure() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("news")
        for number in range(1001):
            await client.publish("news", "n", number)
        with pytest.raises(AssertionError, match="1000 messages on 'news' wait to be expected"):
            await client.expect("news", "other")


@virtual_time
async def test_what_one_reads_that_another_expects_is_not_kept_from_it() -> None:
    async with serve(make_app()) as server, server.connect() as client:
        await client.join("news")
        first = asyncio.create_task(client.expect("news", "one", timeout=5))
        second = asyncio.create_task(client.expect("news", "two", timeout=60))
        third = asyncio.create_task(client.expect("news", "three", timeout=1))
        await asyncio.sleep(0)  # now all three wait
        await say(client, "one")
        assert (await first).event == "one"
        with pytest.raises(AssertionError, match="within 1 s, and nothing came"):
            await third
        await say(client, "two")
        assert (await second).event == "two"


@virtual_time
async def test_who_expects_of_a_client_that_is_closed_is_told_so() -> None:
    async with serve(make_app()) as server:
        async with server.connect() as client:
            await client.join("news")
        assert await failure(client) == (
            "expected '*' on 'news', but the subscription was left, and nothing came"
        )
