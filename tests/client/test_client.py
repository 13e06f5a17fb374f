"""The client with a server of ours, and with servers that misbehave."""

import asyncio
import logging
import socket
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Annotated, Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from openapi.client import Client, Message, Subscription, TooSlow
from openapi.errors import (
    CallFailed,
    ConnectionClosed,
    DeclarationError,
    ErrorCode,
    InvalidData,
    UnexpectedData,
    Unserializable,
)
from openapi.protocol.session import Session
from tests.client.servers import (
    GATE,
    MANAGER,
    Add,
    Endpoint,
    Peer,
    Scripted,
    Sum,
    connect_once,
    connection_of,
)
from tests.conftest import Serve


def channels(app: web.Application) -> Any:
    return app[MANAGER].server_info()["channels"]


class TestCalls:
    async def test_a_call_returns_plain_values(self, client: Client) -> None:
        assert await client.call("add", {"a": 1, "b": 2}) == {"sum": 3}

    async def test_types_go_in_and_come_out(self, client: Client) -> None:
        result = await client.call("add", Add(1, 2), returns=Sum)
        assert result == Sum(3)

    async def test_without_a_payload_the_server_gets_an_empty_object(self, client: Client) -> None:
        assert await client.call("echo") == {}

    async def test_a_response_of_another_type_names_its_fields(self, client: Client) -> None:
        with pytest.raises(UnexpectedData) as caught:
            await client.call("echo", {"sum": "3", "more": 1}, returns=Sum)
        assert set(caught.value.errors) == {"sum", "more"}
        assert isinstance(caught.value.__cause__, InvalidData)

    async def test_a_method_that_another_server_surprises_does_not_blame_its_caller(
        self, client: Client, url: URL
    ) -> None:
        with pytest.raises(CallFailed) as caught:
            await client.call("relay", {"url": str(url)})
        assert caught.value.code == ErrorCode.INTERNAL_ERROR
        assert caught.value.errors is None

    async def test_a_type_that_is_not_hashable_is_a_type(self, client: Client) -> None:
        hint = Annotated[dict[str, int], []]
        assert await client.call("echo", {"a": 1}, returns=hint) == {"a": 1}

    async def test_what_is_no_type_is_refused_before_anything_is_sent(self, client: Client) -> None:
        with pytest.raises(DeclarationError):
            await client.call("echo", returns=complex)

    async def test_a_payload_without_a_json_form_is_not_sent(self, client: Client) -> None:
        with pytest.raises(Unserializable):
            await client.call("echo", {"a": object()})
        assert await client.call("echo", {"a": 1}) == {"a": 1}

    async def test_a_refusal_has_everything_that_the_server_said(self, client: Client) -> None:
        with pytest.raises(CallFailed) as caught:
            await client.call("fail")
        error = caught.value
        assert (error.code, error.message, error.data) == (7, "no", {"why": 1})
        assert (error.errors, error.retry_after) == ({"a": "b"}, 5)

    async def test_a_call_that_is_too_long_for_the_server_fails_at_once(
        self, client: Client
    ) -> None:
        with pytest.raises(CallFailed) as caught:
            await client.call("echo", {"text": "x" * 70_000})
        assert caught.value.code == ErrorCode.LIMIT_EXCEEDED
        assert await client.call("echo", {"a": 1}) == {"a": 1}

    async def test_calls_run_beside_each_other(self, client: Client, app: web.Application) -> None:
        waiting = asyncio.create_task(client.call("wait"))
        assert await client.call("add", Add(1, 2)) == {"sum": 3}
        assert not waiting.done()
        app[GATE].set()
        assert await waiting is None

    async def test_more_calls_than_the_server_takes_wait_their_turn(self, client: Client) -> None:
        calls = [client.call("echo", {"n": n}) for n in range(300)]
        assert await asyncio.gather(*calls) == [{"n": n} for n in range(300)]

    async def test_a_timeout_is_an_error_that_says_of_what(
        self, client: Client, app: web.Application
    ) -> None:
        with pytest.raises(TimeoutError, match=r"'wait' was not answered within 0.01 seconds"):
            await client.call("wait", timeout=0.01)
        app[GATE].set()
        assert await client.call("add", Add(1, 2)) == {"sum": 3}
        assert client.ignored == 0

    async def test_a_timeout_of_the_caller_is_his_own(self, client: Client) -> None:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01):
                await client.call("wait")
        assert str(caught.value) == ""

    async def test_a_cancelled_call_ends_at_the_server_too(self, client: Client) -> None:
        call = asyncio.create_task(client.call("wait"))
        await Endpoint.waiting.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await Endpoint.ended.get() is asyncio.CancelledError

    async def test_a_call_that_is_given_up_for_time_ends_at_the_server_too(
        self, client: Client
    ) -> None:
        with pytest.raises(TimeoutError):
            await client.call("wait", timeout=0.01)
        assert await Endpoint.ended.get() is asyncio.CancelledError

    @pytest.mark.parametrize(
        ("timeout", "told"), [(None, None), (2.5, 2500), (0.0101, 11), (0.0001, 1)]
    )
    async def test_a_call_tells_how_long_it_waits_in_whole_milliseconds(
        self, scripted: Scripted, timeout: float | None, told: int | None
    ) -> None:
        async def script(peer: Peer) -> None:
            calls.put_nowait(await peer.answer())
            await peer.gone()

        calls: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        async with connect_once(await scripted(script)) as client:
            with suppress(TimeoutError):
                await client.call("echo", timeout=timeout)
            assert (await calls.get()).get("timeout") == told

    async def test_a_cancelled_call_keeps_its_place_until_it_is_answered(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            first = await peer.received()
            called.set()
            assert await peer.received() == {"id": first["id"], "cancel": True}
            await answering.wait()
            await peer.send({"id": first["id"], "response": "late"})
            await peer.answer("second")
            await peer.gone()

        called, answering = asyncio.Event(), asyncio.Event()
        async with connect_once(await scripted(script), calls=1) as client:
            call = asyncio.create_task(client.call("wait"))
            await called.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            with pytest.raises(TimeoutError):
                await client.call("echo", timeout=0.01)
            answering.set()
            assert await client.call("echo") == "second"
            assert client.ignored == 0

    async def test_a_call_that_waits_its_turn_can_be_cancelled(
        self, url: URL, app: web.Application
    ) -> None:
        async with connect_once(url, calls=1) as client:
            first = asyncio.create_task(client.call("wait"))
            await Endpoint.waiting.wait()
            second, third = (asyncio.create_task(client.call("echo")) for _ in range(2))
            await asyncio.sleep(0)  # they begin to wait
            second.cancel()
            app[GATE].set()
            assert await first is None
            assert await third == {}
            assert second.cancelled()

    async def test_an_answer_that_crosses_the_cancel_is_dropped(self, client: Client) -> None:
        call = asyncio.create_task(client.call("wait"))
        await Endpoint.waiting.wait()
        call.cancel()
        connection_of(client).received('{"id": 1, "method": "wait", "response": null}')
        with pytest.raises(asyncio.CancelledError):
            await call

    async def test_a_notification_runs_and_nobody_waits_for_it(self, client: Client) -> None:
        await client.notify("note", {"text": "hello"})
        assert await Endpoint.noted.get() == {"text": "hello"}

    async def test_a_notification_is_sent_before_the_client_closes(self, url: URL) -> None:
        async with connect_once(url) as client:
            await client.notify("note")
        assert await Endpoint.noted.get() == {}


class TestSubscriptions:
    async def test_messages_come_with_channel_event_and_data(self, client: Client) -> None:
        async with client.subscribe("news") as messages:
            await client.publish("news", "world", {"a": 1})
            assert await anext(messages) == Message("news", "world", {"a": 1})

    async def test_data_has_its_type(self, client: Client) -> None:
        async with client.subscribe("sums", type=Sum) as messages:
            await client.publish("sums", "new", Sum(1))
            message = await anext(messages)
            assert message.data == Sum(1)

    async def test_data_of_another_type_is_an_error_behind_which_the_next_is_read(
        self, client: Client
    ) -> None:
        async with client.subscribe("sums", type=Sum) as messages:
            await client.publish("sums", "new", {"sum": "1"})
            await client.publish("sums", "new", 1)
            await client.publish("sums", "new", Sum(2))
            with pytest.raises(UnexpectedData) as caught:
                await anext(messages)
            assert list(caught.value.errors) == ["data.sum"]
            with pytest.raises(UnexpectedData) as caught:
                await anext(messages)
            assert list(caught.value.errors) == ["data"]
            assert isinstance(caught.value.__cause__, InvalidData)
            assert (await anext(messages)).data == Sum(2)

    async def test_overlapping_patterns_each_get_their_own_messages(self, client: Client) -> None:
        async with (
            client.subscribe("host") as everything,
            client.subscribe("host", "c*") as some,
            client.subscribe("host", "c*") as same,
            client.subscribe("other", "c*") as other,
        ):
            await client.publish("host", "memory", 1)
            await client.publish("host", "cpu", 2)
            await client.publish("other", "cpu", 3)
            assert [(await anext(everything)).event for _ in range(2)] == ["memory", "cpu"]
            assert [(await anext(each)).data for each in (some, same, other)] == [2, 2, 3]
            assert some.queued_bytes == same.queued_bytes == everything.queued_bytes == 0

    async def test_no_event_is_every_event_and_leaving_it_leaves_the_others(
        self, client: Client
    ) -> None:
        async with client.subscribe("host", "c*") as some:
            async with client.subscribe("host", "") as everything:
                await client.publish("host", "memory", 1)
                assert (await anext(everything)).event == "memory"
            await client.publish("host", "cpu", 2)
            assert (await anext(some)).event == "cpu"

    async def test_unsubscribing_one_of_several_ends_no_other(
        self, client: Client, app: web.Application
    ) -> None:
        async with client.subscribe("host", "c*") as stays:
            async with client.subscribe("host", "c*"), client.subscribe("host"):
                assert channels(app) == {"host": {"c*": 1, "*": 1}}
            assert channels(app) == {"host": {"c*": 1}}
            await client.publish("host", "cpu", 1)
            assert (await anext(stays)).data == 1
        assert channels(app) == {}

    async def test_a_pattern_can_be_subscribed_again(
        self, client: Client, app: web.Application
    ) -> None:
        for n in range(3):
            async with client.subscribe("host") as messages:
                await client.publish("host", "cpu", n)
                assert (await anext(messages)).data == n
        assert channels(app) == {}

    async def test_iteration_stops_when_the_subscription_is_left(self, client: Client) -> None:
        async with client.subscribe("host") as messages:
            await client.publish("host", "cpu", 1)
        assert [message.data async for message in messages] == [1]
        assert [message.data async for message in messages] == []

    async def test_a_reader_in_another_task_ends_with_the_subscription(
        self, client: Client
    ) -> None:
        async with client.subscribe("host") as messages:
            reader = asyncio.create_task(_all(messages))
            await client.publish("host", "cpu", 1)
        assert await reader == [1]

    async def test_a_refused_channel_is_a_failed_call(
        self, client: Client, app: web.Application
    ) -> None:
        with pytest.raises(CallFailed) as caught:
            async with client.subscribe("secret"):
                pass
        assert caught.value.errors == {"channel": "Invalid channel"}
        assert channels(app) == {}

    async def test_a_cancelled_subscribe_leaves_nothing_at_the_server(
        self, client: Client, app: web.Application
    ) -> None:
        manager = app[MANAGER]
        with pytest.raises(TimeoutError, match=r"'slow' was not answered within 0.01 s"):
            async with client.subscribe("slow", timeout=0.01):
                pass
        await manager.asked.wait()
        manager.gate.set()
        async with client.subscribe("slow") as messages:
            await client.publish("slow", "x", 1)
            assert (await anext(messages)).data == 1
            assert channels(app) == {"slow": {"*": 1}}
        assert channels(app) == {}

    async def test_a_subscription_that_is_given_up_before_its_turn_is_never_asked_for(
        self, client: Client, app: web.Application
    ) -> None:
        manager = app[MANAGER]
        first = client.subscribe("slow")
        entering = asyncio.create_task(first.__aenter__())
        await manager.asked.wait()
        with pytest.raises(TimeoutError):
            async with client.subscribe("slow", timeout=0.01):
                pass
        manager.gate.set()
        await entering
        await client.publish("slow", "x", 1)
        assert (await anext(first)).data == 1
        await first.__aexit__(None, None, None)
        assert channels(app) == {}

    @pytest.mark.parametrize("patterns", [1, 30])
    async def test_what_is_given_up_while_the_server_does_not_answer_leaves_next_to_nothing(
        self, client: Client, app: web.Application, patterns: int
    ) -> None:
        manager = app[MANAGER]
        for n in range(30):
            with pytest.raises(TimeoutError):
                async with (
                    asyncio.timeout(0.001),
                    client.subscribe("slow", f"{n % patterns}", timeout=None),
                ):
                    pass
        await _turns(5)  # the last one is being cancelled
        assert len(connection_of(client).subscriptions._tasks) == patterns
        assert connection_of(client).session.pending._calls.keys() == set(range(1, patterns + 1))
        [channel] = connection_of(client).subscriptions._channels.values()
        assert all(not pattern.lock._waiters for pattern in channel.patterns.values())
        await manager.asked.wait()
        manager.gate.set()
        await connection_of(client).subscriptions.wait_idle()
        assert channels(app) == {}
        assert connection_of(client).subscriptions._channels == {}

    async def test_what_waits_for_its_turn_to_be_sent_can_be_given_up(
        self, url: URL, app: web.Application
    ) -> None:
        async with connect_once(url, calls=1) as client:
            waiting = asyncio.create_task(client.call("wait"))
            await Endpoint.waiting.wait()
            for n in range(30):
                with pytest.raises(TimeoutError):
                    async with client.subscribe("host", f"{n}", timeout=0.001):
                        pass
            await _turns(5)  # the last one is being cancelled
            assert not connection_of(client).subscriptions._tasks
            assert connection_of(client).subscriptions._channels == {}
            app[GATE].set()
            await waiting
            assert channels(app) == {}

    async def test_leaving_while_the_server_does_not_answer_is_one_task(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(5):
                await peer.answer({"subscribed": {}})
            await peer.gone()

        async with connect_once(await scripted(script), close_timeout=0.01) as client:
            async with AsyncExitStack() as stack:
                for _ in range(5):
                    await stack.enter_async_context(client.subscribe("host"))
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    async with client.subscribe("host", timeout=0.001):
                        pass
            await _turns(5)  # the last one is being cancelled
            assert len(connection_of(client).subscriptions._tasks) == 1

    async def test_a_reader_that_is_too_slow_reads_what_it_has_and_then_is_told(
        self, client: Client, app: web.Application
    ) -> None:
        async with (
            client.subscribe("flood", queue_bytes=10_000) as slow,
            client.subscribe("flood", "f*") as other,
        ):
            await client.call("flood", {"channel": "flood", "times": 20, "size": 1000})
            assert slow.queued_bytes <= 12_000
            assert [len((await anext(slow)).data) for _ in range(7)] == [1000] * 7
            for _ in range(2):
                with pytest.raises(TooSlow, match="more than 10000 bytes of messages waited"):
                    await anext(slow)
            assert [len((await anext(other)).data) for _ in range(20)] == [1000] * 20
            assert await client.call("echo") == {}
            assert channels(app) == {"flood": {"f*": 1}}

    async def test_a_subscription_is_entered_once_and_before_it_is_read(
        self, client: Client
    ) -> None:
        messages = client.subscribe("host")
        with pytest.raises(RuntimeError, match="enter the subscription first"):
            await anext(messages)
        async with messages:
            pass
        with pytest.raises(RuntimeError, match="entered once"):
            async with messages:
                pass

    @pytest.mark.parametrize("seed", range(20))
    async def test_whoever_is_cancelled_whenever_client_and_server_agree_in_the_end(
        self, client: Client, app: web.Application, seed: int
    ) -> None:
        random = Random(seed)

        async def come_and_go() -> None:
            channel, event = random.choice("ab"), random.choice(("*", "x*"))
            async with client.subscribe(channel, event) as messages:
                if random.random() < 0.5:
                    await client.publish(channel, "x", 1)
                    await anext(messages)
                await _turns(random.randrange(5))

        async def cancelled() -> None:
            task = asyncio.create_task(come_and_go())
            await _turns(random.randrange(40))
            task.cancel()
            await asyncio.wait([task])

        async with client.subscribe("a", "x*") as stays:
            users = [random.choice((come_and_go, cancelled))() for _ in range(40)]
            await asyncio.gather(*users)
            await connection_of(client).subscriptions.wait_idle()
            assert channels(app) == {"a": {"x*": 1}}
            await client.publish("a", "x", "last")
            async with asyncio.timeout(10):
                while (await anext(stays)).data != "last":
                    pass
        assert channels(app) == {}
        assert connection_of(client).subscriptions._channels == {}
        assert len(connection_of(client).session.pending) == 0

    async def test_two_hundred_subscriptions_at_a_time_come_and_go(
        self, client: Client, app: web.Application
    ) -> None:
        async def once(n: int) -> None:
            async with client.subscribe("host", f"{n % 5}*") as messages:
                await client.publish("host", f"{n % 5}", n)
                await anext(messages)

        await asyncio.gather(*(once(n) for n in range(200)))
        assert channels(app) == {}


class TestTheEnd:
    async def test_leaving_says_goodbye_with_1000(self, scripted: Scripted) -> None:
        codes: asyncio.Queue[int | None] = asyncio.Queue()

        async def script(peer: Peer) -> None:
            await peer.gone()
            codes.put_nowait(peer.ws.close_code)

        async with connect_once(await scripted(script)) as client:
            pass
        assert await codes.get() == 1000
        assert client.closed is not None
        assert client.closed.code == 1000

    async def test_a_closed_client_refuses_everything(self, url: URL) -> None:
        async with connect_once(url) as client:
            pass
        with pytest.raises(ConnectionClosed, match="1000"):
            await client.call("echo")
        with pytest.raises(ConnectionClosed):
            await client.notify("echo")
        with pytest.raises(ConnectionClosed):
            async with client.subscribe("host"):
                pass

    async def test_a_connection_that_breaks_fails_every_call_and_ends_every_iteration(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"subscribed": {"host": ["*"]}})
            await peer.send({"channel": "host", "event": "cpu", "data": 1})
            await peer.received()
            await peer.received()
            peer.transport.abort()

        async with connect_once(await scripted(script)) as client:
            async with client.subscribe("host") as messages:
                calls = [asyncio.create_task(client.call("wait")) for _ in range(2)]
                reader = asyncio.create_task(_all(messages))
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                assert [type(outcome) for outcome in outcomes] == [ConnectionClosed] * 2
                with pytest.raises(ConnectionClosed, match="1006"):
                    await reader
                with pytest.raises(ConnectionClosed):
                    await anext(messages)
            assert (await client.wait_closed()).code == 1006

    async def test_the_servers_goodbye_is_told_with_its_code_and_reason(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({"event": "$reconnect", "data": {"after": 50, "code": 1012}})
            await peer.ws.close(code=4008, message=b"reads too slowly")

        async with connect_once(await scripted(script)) as client:
            closed = await client.wait_closed()
            assert (closed.code, closed.reason) == (4008, "reads too slowly")
            assert client.reconnect is not None
            assert client.reconnect.after == 50
            with pytest.raises(ConnectionClosed, match="4008, reads too slowly"):
                await client.call("echo")

    async def test_a_goodbye_without_a_code_is_1005(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            peer.transport.write(b"\x88\x00")
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            assert (await client.wait_closed()).code == 1005

    async def test_a_stream_that_ends_without_a_goodbye_is_1006(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            peer.transport.write_eof()
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            assert (await client.wait_closed()).code == 1006

    async def test_a_message_past_the_limit_closes_with_1009(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.send("x" * 2000)
            await peer.gone()

        async with connect_once(await scripted(script), message_bytes=1000) as client:
            assert (await client.wait_closed()).code == 1009

    async def test_a_server_that_answers_no_ping_is_found_dead(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            peer.transport.pause_reading()
            await ended.wait()
            peer.transport.abort()

        ended = asyncio.Event()
        async with connect_once(await scripted(script), heartbeat=0.05) as client:
            with pytest.raises(ConnectionClosed, match="1006, No PONG received"):
                await client.call("echo")
        ended.set()

    async def test_a_quiet_server_that_answers_pings_lives(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(3):
                message = await peer.ws.receive()
                assert message.type is aiohttp.WSMsgType.PING
                await peer.ws.pong(message.data)
            await peer.ws.close(code=4000)

        async with connect_once(await scripted(script, autoping=False), heartbeat=0.05) as client:
            assert (await client.wait_closed()).code == 4000

    async def test_a_connection_that_breaks_while_much_is_sent_ends_it(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.received()
            peer.transport.abort()

        async with connect_once(await scripted(script)) as client:
            with pytest.raises(ConnectionClosed, match="1006"):
                while True:
                    await client.notify("echo", {"text": "x" * 100_000})

    async def test_a_dead_server_is_found_while_our_queue_is_full(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            peer.transport.pause_reading()
            await ended.wait()
            peer.transport.abort()

        ended = asyncio.Event()
        url = await scripted(script)
        async with connect_once(url, heartbeat=0.3, queue_bytes=100_000, calls=200) as client:
            payload = {"text": "x" * 1_000_000}
            calls = [asyncio.create_task(client.call("echo", payload)) for _ in range(40)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {ConnectionClosed}
        ended.set()

    async def test_a_server_that_does_not_say_goodbye_is_left_behind(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            peer.transport.pause_reading()
            await ended.wait()
            peer.transport.abort()

        ended = asyncio.Event()
        async with connect_once(await scripted(script), close_timeout=0.05, calls=100) as client:
            payload = {"text": "x" * 1_000_000}
            for _ in range(20):
                await client.notify("echo", payload)
                if connection_of(client).link.queued_bytes:
                    break
        assert client.closed is not None
        ended.set()

    async def test_leaving_a_subscription_does_not_wait_for_ever(self, scripted: Scripted) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"subscribed": {}})
            await peer.gone()

        async with connect_once(await scripted(script), close_timeout=0.05) as client:
            async with client.subscribe("host"):
                pass
            assert (
                len(connection_of(client).session.pending) == 1
            )  # the server was told, and has not answered
            assert client.closed is None

    async def test_a_failure_in_the_body_is_what_comes_out(
        self, url: URL, app: web.Application
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            async with connect_once(url) as client, client.subscribe("host"):
                raise ZeroDivisionError
        assert client.closed is not None
        await app[MANAGER].left.wait()

    async def test_cancelling_what_uses_the_client_closes_it(
        self, url: URL, app: web.Application
    ) -> None:
        entered = asyncio.Event()

        async def use() -> None:
            async with connect_once(url) as client, client.subscribe("host") as messages:
                entered.set()
                await anext(messages)

        task = asyncio.create_task(use())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await app[MANAGER].left.wait()
        assert channels(app) == {}

    async def test_cancelling_it_while_it_closes_cuts_the_connection(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.ws.receive()
            closing.set()
            assert await peer.request.content.read() == b""

        async def use() -> None:
            async with connect_once(url, close_timeout=60):
                pass

        closing, url = asyncio.Event(), await scripted(script, autoclose=False)
        task = asyncio.create_task(use())
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_close_ends_readers_quietly(self, url: URL) -> None:
        async with connect_once(url) as client, client.subscribe("host") as messages:
            reader = asyncio.create_task(_all(messages))
            await client.close()
            assert await reader == []

    async def test_a_server_that_drains_answers_what_it_runs_and_is_gone(
        self, url: URL, app: web.Application
    ) -> None:
        async with connect_once(url) as client:
            call = asyncio.create_task(client.call("wait"))
            await Endpoint.waiting.wait()
            draining = asyncio.create_task(app[MANAGER].drain())
            with pytest.raises(CallFailed) as caught:
                while True:
                    await client.call("echo")
            assert caught.value.code == ErrorCode.SHUTTING_DOWN
            app[GATE].set()
            assert await call is None
            assert (await client.wait_closed()).code == 1012
            await draining

    async def test_nothing_is_left_when_it_is_gone(self, url: URL) -> None:
        async with connect_once(url) as client, client.subscribe("host"):
            await client.call("echo")
        assert len(connection_of(client).subscriptions) == 0
        assert connection_of(client).subscriptions._channels == {}
        assert not connection_of(client).subscriptions._tasks
        assert len(connection_of(client).session.pending) == 0


class TestOddServers:
    async def test_frames_that_mean_nothing_are_counted_and_passed_over(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.ws.send_bytes(b"binary")
            await peer.ws.send_str("no json")
            frames: tuple[object, ...] = (
                [],
                {"id": 99, "method": "echo", "response": 1},
                {"id": 99, "error": {"code": 1, "message": "no"}},
                {"error": {"code": -32700, "message": "JSON string expected"}},
                {"id": None, "method": "confirm", "payload": {}},
                {"id": 99, "method": "echo", "item": 1, "seq": 1},
                {"id": "s1", "cancel": True},
                {"event": "$else", "data": 1},
                {"channel": "host", "event": "$join", "data": {}},
            )
            for frame in frames:
                await peer.send(frame)
            await peer.answer({"ok": True})
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            assert await client.call("echo") == {"ok": True}
            assert client.ignored == 10

    async def test_a_message_that_nobody_wants_any_more_is_dropped(
        self, scripted: Scripted
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({"channel": "host", "event": "cpu", "data": 1})
            await peer.answer()
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            assert await client.call("echo") is None
            assert client.ignored == 0

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            ({"code": -32002, "message": "not allowed"}, r"not allowed \(-32002\)"),
            ({"code": "x"}, "the server took the subscription back"),
            (None, "the server took the subscription back"),
            ({"code": 1, "message": "no", "more": 2**70}, "the server took the subscription back"),
        ],
    )
    async def test_a_subscription_that_the_server_takes_back_ends_with_its_reason(
        self, scripted: Scripted, data: object, text: str
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"subscribed": {}})
            await peer.send({"channel": "host", "event": "$unsubscribed", "data": data})
            assert (await peer.answer())["method"] == "echo"
            await peer.gone()

        async with connect_once(await scripted(script)) as client:
            async with client.subscribe("host", "c*") as messages:
                with pytest.raises(CallFailed, match=text):
                    await anext(messages)
            await client.call("echo")

    async def test_an_unsubscribe_that_is_refused_is_logged(
        self, scripted: Scripted, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.answer({"subscribed": {}})
            call = await peer.received()
            await peer.send({"id": call["id"], "error": {"code": 7, "message": "no"}})
            await peer.gone()

        async with connect_once(await scripted(script)) as client, client.subscribe("host"):
            pass
        assert caplog.messages[-1] == "cannot unsubscribe from 'host': no (7)"

    async def test_pings_are_answered_while_much_is_sent(self, scripted: Scripted) -> None:
        pongs: list[bytes] = []

        async def script(peer: Peer) -> None:
            await peer.ws.ping(b"1")
            while len(pongs) < 2:
                message = await peer.ws.receive()
                if message.type is aiohttp.WSMsgType.PONG:
                    pongs.append(bytes(message.data))
                    await peer.ws.ping(b"2")
                elif message.type is aiohttp.WSMsgType.TEXT:
                    call = message.json()
                    await peer.send({"id": call["id"], "response": 1})
            await peer.ws.close()

        async with connect_once(await scripted(script, autoping=False)) as client:
            try:
                while True:
                    await client.call("echo")
            except ConnectionClosed:
                pass
        assert pongs == [b"1", b"2"]

    async def test_a_fault_of_the_client_itself_is_not_hidden(
        self, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({})
            await peer.gone()

        def broken(session: Session, message: str) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Session, "receive", broken)
        with pytest.raises(ZeroDivisionError):
            async with connect_once(await scripted(script)) as client:
                with pytest.raises(ConnectionClosed):
                    await client.call("echo")

    async def test_a_subscription_that_fails_by_itself_is_logged(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*arguments: object, **options: object) -> None:
            raise ZeroDivisionError

        async with client.subscribe("host"):
            monkeypatch.setattr(connection_of(client).subscriptions, "_ask", broken)
        monkeypatch.undo()
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


class TestConnecting:
    async def test_the_native_subprotocol_is_offered_and_headers_are_sent(
        self, serve: Serve
    ) -> None:
        seen: list[str | None] = []

        async def handle(request: web.Request) -> web.WebSocketResponse:
            seen.append(request.headers.get("Sec-WebSocket-Protocol"))
            seen.append(request.headers.get("Authorization"))
            ws = web.WebSocketResponse(protocols=["wsrpc.v1.json"])
            await ws.prepare(request)
            await ws.receive()
            return ws

        app = web.Application()
        app.router.add_get("/", handle)
        async with connect_once(await serve(app), headers={"Authorization": "Bearer x"}):
            pass
        assert seen == ["wsrpc.v1.json", "Bearer x"]

    async def test_a_session_that_is_given_is_used_and_left_open(self, url: URL) -> None:
        async with aiohttp.ClientSession() as session:
            async with connect_once(url, session=session) as client:
                assert await client.call("echo") == {}
            assert not session.closed

    async def test_a_refusal_says_which_status(self, url: URL) -> None:
        with pytest.raises(ConnectionClosed, match="refused the connection: 404 Not Found") as exc:
            async with connect_once(url.with_path("/nothing")):
                pass
        assert isinstance(exc.value.__cause__, aiohttp.WSServerHandshakeError)

    async def test_a_server_that_is_not_there_is_told_in_a_sentence(
        self, unused_tcp_port: int
    ) -> None:
        with pytest.raises(ConnectionClosed, match="cannot connect to .*: Connection refused"):
            async with connect_once(f"ws://127.0.0.1:{unused_tcp_port}/"):
                pass

    async def test_a_host_that_has_no_address_is_told_in_a_sentence(self) -> None:
        with pytest.raises(ConnectionClosed, match="cannot connect to ws://nowhere.invalid/: "):
            async with connect_once("ws://nowhere.invalid/"):
                pass

    async def test_a_server_that_speaks_no_http_is_told_in_a_sentence(self) -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            await writer.wait_closed()
            gone.set()

        gone = asyncio.Event()
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        with pytest.raises(ConnectionClosed, match="cannot connect to"):
            async with connect_once(f"ws://{host}:{port}/"):
                pass
        await gone.wait()
        server.close()
        await server.wait_closed()

    async def test_a_server_that_does_not_answer_is_given_up(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            host, port = server.getsockname()
            with pytest.raises(TimeoutError, match=r"did not answer within 0.05 seconds"):
                async with connect_once(f"ws://{host}:{port}/", open_timeout=0.05):
                    pass

    @pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost/", "ws://", "/stream"])
    async def test_what_is_no_url_of_a_websocket_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="write ws://HOST:PORT/PATH"):
            async with connect_once(url):
                pass


async def _turns(number: int) -> None:
    """Let everything else run for so many turns of the loop."""
    for _ in range(number):
        await asyncio.sleep(0)


async def _all(messages: Subscription[Any]) -> list[Any]:
    return [message.data async for message in messages]
