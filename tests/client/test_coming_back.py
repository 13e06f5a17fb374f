"""The four states of a client, and what leads from one to another."""

import asyncio
import logging
import socket

import pytest
from yarl import URL

from openapi.client import Backoff, Client, ClientState, Status
from openapi.errors import ConnectionClosed, HandshakeRefused
from openapi.testing import virtual_time
from tests.client.door import QUICK, Door, VirtualDoor

NEVER = Backoff(first=1e9, cap=1e9)
"""For tests that end while the client waits: most likely, for years."""


def nowhere() -> URL:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return URL.build(scheme="ws", host="127.0.0.1", port=port)


class TestWhileConnecting:
    async def test_an_attempt_that_succeeds_opens_it(self) -> None:
        async with Door() as door, door.connect(on_state=door.said, wait_open=False) as client:
            assert client.status == Status(ClientState.CONNECTING)
            assert await door.said.then("open") == Status(ClientState.OPEN)
            await door.visit()
            door.said.nothing_else()

    async def test_an_attempt_that_fails_has_it_wait_and_then_connect_again(self) -> None:
        async with Door() as door:
            door.refuse(503)
            async with door.connect(on_state=door.said, wait_open=False) as client:
                status = await door.said.then("waiting")
                assert isinstance(status.reason, HandshakeRefused)
                assert status.reason.status == 503
                assert status.retry_in is not None
                assert 0 <= status.retry_in <= 0.001
                again = await door.said.then("connecting")
                assert again == Status(ClientState.CONNECTING, status.reason)
                assert await door.said.then("open") == Status(ClientState.OPEN)
                assert client.state is ClientState.OPEN
                door.said.nothing_else()

    async def test_an_attempt_that_fails_for_good_closes_it(self) -> None:
        async with Door() as door:
            door.refuse(401)
            async with door.connect(on_state=door.said, wait_open=False) as client:
                status = await door.said.then("closed")
                assert isinstance(status.reason, HandshakeRefused)
                assert status.retry_in is None
                assert client.closed is not None
                assert (await client.wait_closed()).reason == status.reason.reason
                with pytest.raises(HandshakeRefused):
                    await client.wait_open()
            door.said.nothing_else()
            assert door.knocks == 1

    async def test_to_close_it_ends_the_attempt(self) -> None:
        async with Door() as door:
            door.open.clear()
            async with door.connect(on_state=door.said, wait_open=False) as client:
                await door.knocked(1)
                await client.close(reason="enough")
                status = await door.said.then("closed")
                assert isinstance(status.reason, ConnectionClosed)
                assert (status.reason.code, status.reason.reason) == (1000, "enough")
                assert client.status is status
            door.said.nothing_else()


class TestWhileOpen:
    async def test_a_connection_that_ends_has_it_wait_and_then_connect_again(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            await door.said.then("open")
            (await door.visit()).cut()
            status = await door.said.then("waiting")
            assert isinstance(status.reason, ConnectionClosed)
            assert status.reason.code == 1006
            assert status.retry_in is not None
            assert (await door.said.then("connecting")).reason is status.reason
            assert (await door.said.then("open")).reason is None
            await door.visit()
            assert client.closed is None

    async def test_a_connection_that_ends_for_good_closes_it(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            await door.said.then("open")
            await (await door.visit()).close(4500, "who are you?")
            status = await door.said.then("closed")
            closed = await client.wait_closed()
            assert (closed.code, closed.reason) == (4500, "who are you?")
            assert isinstance(status.reason, ConnectionClosed)
            assert (status.reason.code, status.retry_in) == (4500, None)
            assert client.closed is closed
        door.said.nothing_else()

    async def test_to_close_it_says_goodbye(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            await door.said.then("open")
            visit = await door.visit()
            closing = asyncio.create_task(client.close(1000, "enough"))
            assert await visit.left() == 1000
            await closing
            assert client.closed is not None
            assert (client.closed.code, client.closed.reason) == (1000, "enough")
            status = await door.said.then("closed")
            assert isinstance(status.reason, ConnectionClosed)
            assert status.reason.reason == "enough"
        door.said.nothing_else()

    async def test_that_the_server_is_about_to_close_has_an_attempt_due(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            await door.said.then("open")
            await (await door.visit()).reconnect(after=60_000)
            status = await door.said.then("open")
            assert status.reason is None
            assert status.retry_in is not None
            assert 59 < status.retry_in <= 60
            assert client.reconnect is not None
            assert client.reconnect.after == 60_000

    async def test_the_attempt_is_made_while_it_is_open_and_succeeds(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            await door.said.then("open")
            await (await door.visit()).reconnect()
            await door.said.then("open")  # told
            await door.said.then("open")  # under way
            await door.said.then("open")  # on the new one
            await door.visit()
            assert client.reconnect is None
            door.said.nothing_else()

    async def test_the_attempt_that_fails_is_made_again_while_it_is_open(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            await door.said.then("open")
            door.refuse(503)
            await old.reconnect()
            await door.said.then("open", "open")
            failed = await door.said.then("open")
            assert isinstance(failed.reason, HandshakeRefused)
            assert failed.retry_in is not None
            assert client.closed is None
            assert (await door.said.then("open")).retry_in is None
            assert await door.said.then("open") == Status(ClientState.OPEN)
            await door.visit()

    async def test_the_attempt_that_fails_for_good_leaves_it_open_as_long_as_that_lasts(
        self,
    ) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            calling = asyncio.create_task(client.call("long"))
            call = await old.asked("long")
            door.refuse(403)
            await old.reconnect()
            await door.said.then("open", "open", "open")
            failed = await door.said.then("open")
            assert isinstance(failed.reason, HandshakeRefused)
            assert failed.retry_in is None
            await old.agree(call, "done")
            assert await calling == "done"
            assert client.state is ClientState.OPEN
            await old.close(1012)
            await door.said.then("waiting", "connecting", "open")
            await door.visit()

    async def test_a_connection_that_ends_while_an_attempt_is_under_way_waits_for_that(
        self,
    ) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            door.open.clear()
            await old.reconnect()
            await door.said.then("open", "open", "open")
            await old.close(1012)
            status = await door.said.then("connecting")
            assert status.reason == client.status.reason
            assert isinstance(status.reason, ConnectionClosed)
            assert status.reason.code == 1012
            door.open.set()
            await door.said.then("open")
            await door.visit()
            assert door.knocks == 2

    @virtual_time
    async def test_a_connection_that_ends_before_the_attempt_waits_until_that_is_due(self) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, door.connect(on_state=door.said):
            old = await door.visit()
            began = loop.time()
            await old.reconnect(after=60_000)
            await door.said.then("open", "open")
            await old.close(1012)
            assert (await door.said.then("waiting")).retry_in == pytest.approx(60, abs=0.1)
            await door.said.then("connecting")
            assert loop.time() - began == pytest.approx(60, abs=0.1)
            await door.said.then("open")

    async def test_to_hurry_is_nothing(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            await door.said.then("open")
            await (await door.visit()).reconnect(after=60_000)
            await door.said.then("open")
            client.hurry()
            for _ in range(100):  # turns in which it would
                await asyncio.sleep(0)
            door.said.nothing_else()


class TestWhileWaiting:
    async def test_a_reason_to_hurry_has_it_connect_at_once(self) -> None:
        async with Door() as door, door.connect(reconnect=NEVER, on_state=door.said) as client:
            (await door.visit()).cut()
            await door.said.then("open", "waiting")
            client.hurry()
            await door.said.then("connecting", "open")
            await door.visit()

    async def test_on_state_may_hurry(self) -> None:
        async with Door() as door:
            clients: list[Client] = []

            def hurry(status: Status) -> None:
                door.said(status)
                if status.state is ClientState.WAITING:
                    clients[0].hurry()

            async with door.connect(reconnect=NEVER, on_state=hurry) as client:
                clients.append(client)
                (await door.visit()).cut()
                await door.said.then("open", "waiting", "connecting", "open")
                await door.visit()

    async def test_to_close_it_closes_it(self) -> None:
        async with Door() as door, door.connect(reconnect=NEVER, on_state=door.said) as client:
            (await door.visit()).cut()
            await door.said.then("open", "waiting")
            await client.close(1000, "enough")
            status = await door.said.then("closed")
            assert client.closed is not None
            assert (client.closed.code, client.closed.reason) == (1000, "enough")
            assert status.reason == client.closed
        door.said.nothing_else()
        assert door.knocks == 1


class TestThatIsClosed:
    async def test_nothing_happens_to_it(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            await (await door.visit()).close(4501)
            await door.said.then("open", "closed")
            client.hurry()
            await client.close(1000, "enough")
            with pytest.raises(ConnectionClosed) as caught:
                await client.call("m")
            assert caught.value.code == 4501
            assert not caught.value.may_have_run
            with pytest.raises(ConnectionClosed):
                await client.notify("m")
            with pytest.raises(ConnectionClosed):
                async with client.subscribe("a"):
                    pass
            with pytest.raises(ConnectionClosed):
                await anext(client.stream("m"))
            assert client.closed is not None
            assert client.closed.code == 4501
        door.said.nothing_else()
        assert door.knocks == 1

    @virtual_time
    async def test_an_attempt_that_is_under_way_gives_it_no_connection(self) -> None:
        async with VirtualDoor() as door, door.connect(on_state=door.said) as client:
            old = await door.visit()
            door.open.clear()
            await old.reconnect()
            await door.said.then("open", "open", "open")
            await door.knocked(2)
            await old.close(4501)
            await door.said.then("closed")
            door.open.set()
            await asyncio.sleep(60)
            with pytest.raises(ConnectionClosed):
                await client.call("m")
            door.said.nothing_else()

    async def test_with_one_connection_any_end_is_for_good(self) -> None:
        async with Door() as door:
            async with door.connect(reconnect=None, on_state=door.said) as client:
                visit = await door.visit()
                await visit.reconnect()
                await visit.close(1012)
                assert (await client.wait_closed()).code == 1012
            await door.said.then("open", "closed")
            door.said.nothing_else()


class TestWhoeverIsTold:
    async def test_that_it_fails_is_logged_and_changes_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(status: Status) -> None:
            door.said(status)
            raise ValueError(status.state.value)

        with caplog.at_level(logging.ERROR, "openapi.client"):
            async with Door() as door, door.connect(on_state=fail) as client:
                (await door.visit()).cut()
                await door.said.then("open", "waiting", "connecting", "open")
                calling = asyncio.create_task(client.call("m"))
                visit = await door.visit()
                await visit.answer(1)
                assert await calling == 1
        await door.said.then("closed")
        assert [record.getMessage() for record in caplog.records] == ["on_state failed"] * 5


class TestTheFirstAttempt:
    async def test_that_nobody_is_there_is_raised(self) -> None:
        async with Door() as door:
            door.url = nowhere()
            with pytest.raises(ConnectionClosed, match="cannot connect to .*: Connection refused"):
                async with door.connect(on_state=door.said):
                    pass

    @pytest.mark.parametrize("status", [401, 503])
    async def test_that_it_is_refused_is_raised(self, status: int) -> None:
        async with Door() as door:
            door.refuse(status)
            with pytest.raises(HandshakeRefused) as caught:
                async with door.connect(on_state=door.said):
                    pass
            assert caught.value.status == status
            assert door.knocks == 1
            assert door.said.all[-1].state is ClientState.CLOSED

    @virtual_time
    async def test_that_it_is_not_answered_in_time_is_raised(self) -> None:
        async with VirtualDoor() as door:
            door.link.halt()
            with pytest.raises(TimeoutError, match="did not answer within 10 seconds"):
                async with door.connect():
                    pass
            door.link.heal()

    async def test_that_a_function_fails_is_raised(self) -> None:
        async def token() -> dict[str, str]:
            raise LookupError("no token")

        async with Door() as door:
            with pytest.raises(LookupError, match="no token"):
                async with door.connect(headers=token):
                    pass
            assert door.knocks == 0

    async def test_it_is_raised_though_the_next_one_begins_at_once(self) -> None:
        at_once = Backoff(first=1e-9, cap=1e-9)
        async with Door() as door:
            door.refuse(503, times=3)
            with pytest.raises(HandshakeRefused):
                async with door.connect(reconnect=at_once):
                    pass

    async def test_without_waiting_it_is_as_any_other(self) -> None:
        async with Door() as door:
            door.refuse(503, times=3)
            async with door.connect(wait_open=False, on_state=door.said) as client:
                await client.wait_open()
                for _ in range(3):
                    await door.said.then("waiting", "connecting")
                await door.said.then("open")
            assert door.knocks == 4

    async def test_to_wait_for_it_may_be_given_up(self) -> None:
        async with Door() as door:
            door.open.clear()
            async with door.connect(wait_open=False, reconnect=QUICK) as client:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.wait_open(), 0.001)
                door.open.set()
                await client.wait_open()
                await client.wait_open()
