"""What ended a connection, or an attempt, and whether a client comes back behind that."""

import asyncio
import logging
import re
import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, TCPConnector, web
from aiohttp.abc import AbstractResolver
from yarl import URL

from openapi.client import Backoff, Client, ClientState, connect
from openapi.errors import (
    CallFailed,
    CloseCode,
    ConnectionClosed,
    HandshakeRefused,
    may_reconnect,
)
from openapi.testing import virtual_time
from tests.client.door import QUICK, Door, Said, VirtualDoor
from tests.relay import relayed

WIRE: Final = Path(__file__).parents[2] / "wire" / "README.md"

_ROW: Final = re.compile(r"^\| (\d{4}) \|.*\| (yes|no) \|$", re.MULTILINE)

CODES: Final = {int(code): back == "yes" for code, back in _ROW.findall(WIRE.read_text())}
"""The table of close codes: whether a client comes back."""

BACK: Final = [code for code, back in CODES.items() if back]
FINAL: Final = [code for code, back in CODES.items() if not back]


class TestACloseCode:
    def test_is_in_the_table_of_the_wire_as_this_library_has_it(self) -> None:
        assert CODES == {code: may_reconnect(code) for code in CloseCode}

    # 1005 and 1006 are never sent; 1012 comes behind `$reconnect` as a rule, here it does not
    @pytest.mark.parametrize("code", [*(each for each in BACK if each not in (1005, 1006)), 3000])
    async def test_of_those_that_mean_yes_has_it_come_back(self, code: int) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            await (await door.visit()).close(code, "why")
            status = await door.said.then("open", "waiting")
            assert isinstance(status.reason, ConnectionClosed)
            assert (status.reason.code, status.reason.reason) == (code, "why")
            await door.said.then("connecting", "open")
            await door.visit()
            assert client.closed is None

    @pytest.mark.parametrize("code", [*FINAL, 4600, 4999])
    async def test_of_those_that_mean_no_ends_it(self, code: int) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            visit = await door.visit()
            calling = asyncio.create_task(client.call("m", idempotent=True))
            await visit.asked("m")
            await visit.close(code, "why")
            closed = await client.wait_closed()
            assert (closed.code, closed.reason) == (code, "why")
            with pytest.raises(ConnectionClosed, match="why") as caught:
                await calling
            assert caught.value.may_have_run
            await door.said.then("open", "closed")
        assert door.knocks == 1

    async def test_that_is_missing_has_it_come_back(self) -> None:
        async with Door() as door, door.connect(on_state=door.said):
            visit = await door.visit()
            visit.transport.write(b"\x88\x00")
            status = await door.said.then("open", "waiting")
            assert isinstance(status.reason, ConnectionClosed)
            assert status.reason.code == 1005
            await door.said.then("connecting", "open")
            await door.visit()


class TestAConnection:
    async def test_that_is_cut_is_made_again(self) -> None:
        async with Door() as door, relayed(door.url) as relay:
            async with connect(relay.url, reconnect=QUICK, on_state=door.said):
                await door.visit()
                relay.cut()
                status = await door.said.then("open", "waiting")
                assert isinstance(status.reason, ConnectionClosed)
                assert status.reason.code == 1006
                await door.said.then("connecting", "open")
                await door.visit()

    @virtual_time
    async def test_that_gives_no_sign_of_life_is_made_again(self) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door, door.connect(on_state=door.said):
            await door.visit()
            began = loop.time()
            door.link.halt()
            status = await door.said.then("open", "waiting")
            assert loop.time() - began == pytest.approx(30, abs=1)
            assert isinstance(status.reason, ConnectionClosed)
            assert status.reason.code == 1006
            door.link.heal()
            await door.said.then("connecting", "open")
            await door.visit()

    async def test_whose_message_is_too_long_is_made_again(self) -> None:
        async with Door() as door, door.connect(on_state=door.said, message_bytes=100):
            visit = await door.visit()
            await visit.say("a", "x", "x" * 100)
            status = await door.said.then("open", "waiting")
            assert isinstance(status.reason, ConnectionClosed)
            assert status.reason.code == 1009
            assert await visit.left() == 1009
            await door.said.then("connecting", "open")
            await door.visit()


class TestAServer:
    async def test_that_is_not_there_is_tried_again(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = URL.build(scheme="ws", host="127.0.0.1", port=closed.getsockname()[1])
        async with Door() as door:
            urls = [nobody, nobody, door.url]
            door.url = lambda: urls.pop(0)  # type: ignore[assignment] # as `connect` takes it
            async with door.connect(on_state=door.said, wait_open=False):
                status = await door.said.then("waiting", "connecting", "waiting")
                assert isinstance(status.reason, ConnectionClosed)
                assert "Connection refused" in status.reason.reason
                await door.said.then("connecting", "open")
                await door.visit()

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (b"", "the server closed the connection without an answer"),
            (b"SSH-2.0-OpenSSH\r\n", "the answer cannot be read as HTTP .*; check the host"),
            (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "it redirects again and again"),
            (
                b"HTTP/1.1 302 Found\r\nLocation: ftp://a/\r\n\r\n",
                "it redirects to 'ftp://a/', which is no URL of HTTP",
            ),
        ],
    )
    async def test_that_is_something_else_is_tried_again(self, answer: bytes, why: str) -> None:
        async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(answering, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await self.tried_again(URL.build(scheme="ws", host="127.0.0.1", port=port), why)

    async def test_that_does_not_speak_tls_is_tried_again(self) -> None:
        async with Door() as door:
            await self.tried_again(door.url.with_scheme("wss"), "TLS failed, .*; check the port")

    async def test_whose_name_is_not_found_is_tried_again(self) -> None:
        class Nowhere(AbstractResolver):
            async def resolve(self, *args: object, **options: object) -> list[Any]:
                raise OSError(None, "no such name")

            async def close(self) -> None:
                """Nothing is to be closed."""

        async with ClientSession(connector=TCPConnector(resolver=Nowhere())) as session:
            why = "the host 'nobody.test' is not found, no such name; check its name"
            await self.tried_again(URL("ws://nobody.test/"), why, session=session)

    async def tried_again(self, url: URL, why: str, **options: Any) -> None:
        """Expect that this is why an attempt failed, and that there is another."""
        said = Said()
        options |= {"reconnect": QUICK, "wait_open": False, "on_state": said}
        async with connect(url, **options):
            for _ in range(3):
                status = await said.then("waiting", "connecting")
                assert isinstance(status.reason, ConnectionClosed)
                assert re.search(why, status.reason.reason), status.reason.reason

    @virtual_time
    async def test_that_does_not_answer_in_time_is_tried_again(self) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door:
            door.link.halt()
            began = loop.time()
            async with door.connect(on_state=door.said, wait_open=False, open_timeout=3):
                status = await door.said.then("waiting")
                assert loop.time() - began == 3
                assert isinstance(status.reason, TimeoutError)
                assert str(status.reason).endswith("did not answer within 3 seconds")
                door.link.heal()
                await door.said.then("connecting", "open")
                await door.visit()

    async def test_that_does_not_speak_the_encoding_is_left_alone(self) -> None:
        async with Door() as door:
            async with door.connect(
                encoding="msgpack", on_state=door.said, wait_open=False
            ) as client:
                visit = await door.visit()
                assert await visit.left() == 1003
                closed = await client.wait_closed()
                assert closed.code == 1003
                assert "does not speak wsrpc.v1.msgpack" in closed.reason
            await door.said.then("closed")
            assert door.knocks == 1


class TestAHandshake:
    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 511, 599])
    async def test_that_is_refused_for_now_is_tried_again(self, status: int) -> None:
        async with Door() as door:
            door.refuse(status)
            async with door.connect(on_state=door.said, wait_open=False):
                said = await door.said.then("waiting")
                assert isinstance(said.reason, HandshakeRefused)
                assert said.reason.status == status
                await door.said.then("connecting", "open")

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 410, 426])
    async def test_that_is_answered_otherwise_is_the_end(self, status: int) -> None:
        async with Door() as door:
            door.refuse(status, Retry_After="1")
            async with door.connect(on_state=door.said, wait_open=False) as client:
                await door.said.then("closed")
                closed = await client.wait_closed()
                assert isinstance(closed, HandshakeRefused)
                assert closed.status == status
            assert door.knocks == 1

    async def test_that_a_later_attempt_finds_refused_for_good_ends_it(self) -> None:
        async with Door() as door, door.connect(on_state=door.said) as client:
            visit = await door.visit()
            door.refuse(401)
            visit.cut()
            await door.said.then("open", "waiting", "connecting", "closed")
            with pytest.raises(HandshakeRefused):
                await client.call("m")

    async def test_that_is_no_websocket_s_is_tried_again(self) -> None:
        async with Door() as door:
            wrong = {"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Accept": "x"}
            door.answers.append(lambda: web.Response(status=101, headers=wrong))
            async with door.connect(on_state=door.said, wait_open=False):
                said = await door.said.then("waiting")
                assert isinstance(said.reason, ConnectionClosed)
                assert "Sec-WebSocket-Accept" in said.reason.reason
                await door.said.then("connecting", "open")


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503])
    @virtual_time
    async def test_is_waited_for_and_then_the_random_time(self, status: int) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door:
            door.refuse(status, Retry_After="120")
            began = loop.time()
            reconnect = Backoff(first=5.0, cap=5.0)
            async with door.connect(on_state=door.said, wait_open=False, reconnect=reconnect):
                said = await door.said.then("waiting")
                assert isinstance(said.reason, HandshakeRefused)
                assert said.reason.retry_after == 120_000
                assert said.retry_in is not None
                assert 120 < said.retry_in < 125
                await door.said.then("connecting", "open")
                assert loop.time() - began == pytest.approx(said.retry_in)

    @virtual_time
    async def test_may_be_a_date(self) -> None:
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=1000), usegmt=True)
        async with VirtualDoor() as door:
            door.refuse(503, Retry_After=at)
            async with door.connect(on_state=door.said, wait_open=False):
                said = await door.said.then("waiting")
                assert said.retry_in is not None
                assert 900 < said.retry_in <= 1001
                await door.said.then("connecting", "open")

    @pytest.mark.parametrize(
        ("text", "waited"),
        [
            pytest.param("Mon, 01 Jan 2024 00:00:00 GMT", 0, id="is over"),
            pytest.param("Mon, 01 Jan 2024 00:00:00", 0, id="without a zone"),
            pytest.param("soon", 0, id="no number and no date"),
            pytest.param("-5", 0, id="negative"),
            pytest.param("", 0, id="empty"),
            pytest.param("1e3", 0, id="no integer"),
            pytest.param("\u0665", 0, id="a digit that is not of HTTP"),
            pytest.param("999999999999999", 3600, id="for ever"),
            pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 3600, id="at the end of time"),
            pytest.param("Mon, 99 Foo 2024 00:00:00 GMT", 0, id="a date that there is not"),
        ],
    )
    @virtual_time
    async def test_is_believed_as_far_as_it_makes_sense(self, text: str, waited: float) -> None:
        async with VirtualDoor() as door:
            door.refuse(503, Retry_After=text)
            async with door.connect(on_state=door.said, wait_open=False, reconnect=QUICK):
                said = await door.said.then("waiting")
                assert said.retry_in == pytest.approx(waited, abs=0.01)
                await door.said.then("connecting", "open")

    @virtual_time
    async def test_is_not_waited_for_by_who_hurries(self) -> None:
        loop = asyncio.get_running_loop()
        async with VirtualDoor() as door:
            door.refuse(503, Retry_After="120")
            async with door.connect(on_state=door.said, wait_open=False) as client:
                await door.said.then("waiting")
                began = loop.time()
                client.hurry()
                await door.said.then("connecting", "open")
                assert loop.time() == began


class TestAFunction:
    async def test_makes_the_url_and_the_headers_of_each_attempt(self) -> None:
        async with Door() as door:
            numbers = iter(range(10))

            def url() -> URL:
                return door.url.with_query(n=next(numbers))

            async def token() -> Mapping[str, str]:
                await asyncio.sleep(0)  # it takes its time
                return {"Authorization": f"Bearer {next(numbers)}"}

            async with connect(url, headers=token, reconnect=QUICK):
                for number in range(3):
                    visit = await door.visit()
                    assert visit.request.query["n"] == str(2 * number)
                    assert visit.request.headers["Authorization"] == f"Bearer {2 * number + 1}"
                    visit.cut()

    async def test_may_be_a_coroutine_function_for_the_url_and_a_plain_one_for_headers(
        self,
    ) -> None:
        async with Door() as door:

            async def url() -> str:
                await asyncio.sleep(0)  # it takes its time
                return str(door.url)

            async with connect(url, headers=lambda: {"X-A": "1"}):
                assert (await door.visit()).request.headers["X-A"] == "1"

    @pytest.mark.parametrize("what", ["url", "headers"])
    @pytest.mark.parametrize(
        "failure",
        [
            LookupError("no token"),
            TimeoutError("the token took too long"),
            CallFailed(7, "no token"),
            ConnectionClosed(1000, "of another client"),
            ConnectionClosed(4501, "of another client"),
            HandshakeRefused(401, "of another server"),
            asyncio.CancelledError("of another task"),
        ],
        ids=lambda failure: type(failure).__name__,
    )
    @pytest.mark.parametrize("plain", [True, False], ids=["plain", "coroutine"])
    async def test_that_fails_is_called_again(
        self, what: str, failure: BaseException, plain: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL, "openapi.client")
        async with Door() as door:
            failures = [failure, failure]
            good: Any = {"url": door.url, "headers": {}}[what]

            def make() -> Any:
                if failures:
                    raise failures.pop()
                return good

            async def make_later() -> Any:
                await asyncio.sleep(0)  # it takes its time
                return make()

            async with made(door, what, make if plain else make_later) as client:
                await door.said.then("waiting", "connecting", "waiting", "connecting", "open")
                await door.visit()
                assert client.state is ClientState.OPEN

    async def test_that_returns_no_url_is_told_and_called_again(self) -> None:
        async with Door() as door:
            urls: list[Any] = ["ftp://nobody", "http://" + "a" * 64 + ".test", door.url]
            async with made(door, "url", lambda: urls.pop(0)) as client:
                for _ in range(2):
                    said = await door.said.then("waiting", "connecting")
                    assert isinstance(said.reason, ValueError)
                    assert "is no URL of a WebSocket" in str(said.reason)
                await door.said.then("open")
                await door.visit()
                assert client.state is ClientState.OPEN

    async def test_whose_failure_is_a_fault_of_the_application_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Door() as door:
            results: list[Any] = [{}]
            async with made(door, "headers", lambda: {} if not results else results.pop()["x"]):
                await door.said.then("waiting", "connecting", "open")
        assert "an attempt to connect failed" in caplog.text
        assert "KeyError: 'x'" in caplog.text

    async def test_that_runs_when_the_client_is_closed_is_cancelled(self) -> None:
        ended: list[str] = []
        begun = asyncio.Event()

        async def token() -> Mapping[str, str]:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")
            raise AssertionError

        async with Door() as door, door.connect(headers=token, wait_open=False) as client:
            await begun.wait()
            await client.close()
            assert ended == ["cancelled"]
            assert door.knocks == 0


def made(door: Door, what: str, function: Any) -> AbstractAsyncContextManager[Client]:
    """A client whose URL, or headers, a function makes."""
    options: dict[str, Any] = {"wait_open": False, "on_state": door.said, "reconnect": QUICK}
    if what == "url":
        return connect(function, **options)
    return connect(door.url, headers=function, **options)
