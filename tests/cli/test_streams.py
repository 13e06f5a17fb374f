"""Streams on the command line: their items as they come, and all the ways in which they end."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from openapi.cli import remote
from openapi.cli.output import Output
from openapi.client import TooSlow, connect
from tests.cli.process import DEADLINE, Terminal, ended, line, run, served, started

APP = "tests/cli/app.py:create_app"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The endpoint of a server that all tests of this file share."""
    with served(APP, "--quiet") as host:
        yield f"{host}/stream"


@contextlib.asynccontextmanager
async def recording(
    *answers: dict[str, Any], called: asyncio.Event | None = None
) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that answers the first call with these frames; yields its URL, and what it hears."""
    heard: list[Any] = []

    async def talk(socket: websockets.ServerConnection) -> None:
        async for message in socket:
            heard.append(json.loads(message))
            if len(heard) == 1:
                for answer in answers:
                    await socket.send(json.dumps({"id": heard[0]["id"], **answer}))
                if called is not None:
                    called.set()
        heard.append(socket.close_code)

    async with _serving(talk) as url:
        yield url, heard


@contextlib.asynccontextmanager
async def _serving(
    talk: Callable[[websockets.ServerConnection], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that talks so; yields its URL."""
    async with websockets.serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def watching(url: str) -> AsyncIterator[AsyncIterator[str]]:
    """What is said of the calls of other connections."""
    async with connect(f"ws://{url}") as client, client.subscribe("calls") as calls:
        yield (message.event async for message in calls)


class TestItems:
    def test_in_a_pipe_each_is_a_line_of_json_and_the_end_is_none(self, url: str) -> None:
        done = run("call", url, "count", '{"to": 3}')
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n2\n3\n", "")

    def test_they_come_before_the_end_does(self, url: str) -> None:
        with started("call", url, "quiet", '{"to": 2}') as process:
            assert [line(process), line(process)] == [1, 2]
            assert process.poll() is None

    def test_a_stream_without_any_is_an_empty_answer(self, url: str) -> None:
        done = run("call", url, "count")
        assert (done.returncode, done.stdout, done.stderr) == (0, "null\n", "")

    def test_on_a_terminal_each_is_a_line_for_reading(self, url: str) -> None:
        with Terminal("call", url, "rows") as terminal:
            assert terminal.wait() == 0
        assert terminal.text == 'n 1  text [b]\\x1b\n"text"\n[1]\n{}\n'

    def test_json_is_json_on_a_terminal_too(self, url: str) -> None:
        with Terminal("call", "--json", url, "count", '{"to": 2}') as terminal:
            assert terminal.wait() == 0
        assert terminal.raw == "1\r\n2\r\n"

    def test_they_can_go_to_a_file(self, url: str, tmp_path: Path) -> None:
        path = tmp_path / "out"
        with path.open("w") as file:
            with started("call", url, "count", '{"to": 3}', stdout=file) as process:
                assert process.wait(DEADLINE) == 0
        assert path.read_text() == "1\n2\n3\n"

    @pytest.mark.parametrize("fail", [False, True])
    def test_a_reader_that_waits_for_the_end_misses_none(self, url: str, fail: bool) -> None:
        payload = json.dumps({"to": 30_000, "fail": fail})
        with started("call", url, "count", payload) as process:
            assert line(process) == 1
            out, err = process.communicate(timeout=DEADLINE)
        assert out.splitlines()[-1] == "30000"
        assert len(out.splitlines()) == 29_999
        assert process.returncode == fail
        assert bool(err) is fail

    def test_a_failure_behind_them_is_a_refusal(self, url: str) -> None:
        done = run("call", url, "count", '{"to": 2, "fail": true}')
        assert (done.returncode, done.stdout) == (1, "1\n2\n")
        assert done.stderr == "Error: No more (1)\n  to: too many\n"

    def test_they_may_take_longer_than_the_first_may(self, url: str) -> None:
        payload = '{"to": 2, "pause": 2.5}'
        done = run("call", url, "count", payload, "--timeout", "2")
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n2\n", "")

    async def test_the_server_is_told_no_time_and_a_first_that_does_not_come_is_cancelled(
        self,
    ) -> None:
        async with recording() as (url, heard):
            done = await asyncio.to_thread(run, "call", url, "tail", "--timeout", "0.5")
            assert (done.returncode, done.stdout) == (1, "")
            text = "'tail' was not answered within 0.5 seconds; --timeout gives it more"
            assert done.stderr == f"Error: {text}\n"
        assert heard == [
            {"id": 1, "method": "tail", "payload": {}},
            {"id": 1, "cancel": True},
            1000,
        ]

    def test_an_output_that_is_read_too_slowly_is_told(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async def fall_behind() -> None:
            raise TooSlow("too slow")

        assert remote.run(fall_behind(), Output()) == 1
        assert capsys.readouterr().err == (
            "Error: the output is read too slowly: 64 MiB waited for that\n"
        )

    def test_an_output_that_cannot_be_written_is_a_failure(self, url: str) -> None:
        with open("/dev/full", "w") as full:
            with started("call", url, "count", '{"to": 3}', stdout=full) as process:
                _, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 1
        assert err == "Error: cannot write to standard output: No space left on device\n"


class TestEnding:
    async def test_ctrl_c_cancels_it_on_the_server(self, url: str) -> None:
        async with watching(url) as events:
            with Terminal("call", url, "quiet", '{"to": 1}') as terminal:
                assert await anext(events) == "started"
                terminal.wait_for("1\n")
                terminal.press_ctrl_c()
                assert terminal.wait() == 130
            assert await anext(events) == "over"
        assert terminal.text == "1\n^C\n"

    @pytest.mark.parametrize("items", [0, 1])
    async def test_the_server_hears_of_ctrl_c_before_the_connection_ends(self, items: int) -> None:
        answers = [{"method": "tail", "item": n, "seq": n} for n in range(1, items + 1)]
        called = asyncio.Event()
        async with recording(*answers, called=called) as (url, heard):
            with started("call", url, "tail") as process:
                if items:
                    assert await asyncio.to_thread(line, process) == 1
                await called.wait()
                process.send_signal(signal.SIGINT)
                assert await asyncio.to_thread(process.wait, DEADLINE) == 130
        assert heard[1:] == [{"id": 1, "cancel": True}, 1000]

    async def test_a_closed_pipe_cancels_it_on_the_server_though_it_is_quiet(
        self, url: str
    ) -> None:
        async with watching(url) as events:
            with started("call", url, "quiet", '{"to": 1}') as process:
                assert await anext(events) == "started"
                assert line(process) == 1
                assert process.stdout is not None
                process.stdout.close()
                assert await anext(events) == "over"
                assert ended(process) == ""

    def test_a_closed_pipe_ends_it_while_it_is_written_to(self, url: str) -> None:
        with started("call", url, "count", '{"to": 1000000}') as process:
            assert line(process) == 1
            assert process.stdout is not None
            process.stdout.close()
            assert ended(process) == ""

    def test_ctrl_c_ends_it_though_nobody_reads_on(self, url: str) -> None:
        with started("call", url, "count", '{"to": 1000000}') as process:
            assert line(process) == 1
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE) == 130

    async def test_a_call_whose_response_nobody_reads_is_made_all_the_same(self) -> None:
        called, closed, heard = asyncio.Event(), asyncio.Event(), []

        async def answer(socket: websockets.ServerConnection) -> None:
            heard.append(json.loads(await socket.recv()))
            called.set()
            await closed.wait()
            await (await socket.ping())  # it has had the time to notice
            await socket.send(json.dumps({"id": 1, "method": "pay", "response": "paid"}))
            heard.extend([json.loads(message) async for message in socket])

        async with _serving(answer) as url:
            with started("call", url, "pay") as process:
                await called.wait()
                assert process.stdout is not None
                process.stdout.close()
                closed.set()
                assert await asyncio.to_thread(process.wait, DEADLINE) == 0
        assert heard == [{"id": 1, "method": "pay", "payload": {}}]

    async def test_a_connection_that_ends_is_told_with_its_code(self) -> None:
        async def leave(socket: websockets.ServerConnection) -> None:
            await socket.recv()
            await socket.send(json.dumps({"id": 1, "method": "tail", "item": "x", "seq": 1}))
            await socket.close(4504, "go away")

        async with _serving(leave) as url:
            done = await asyncio.to_thread(run, "call", url, "tail")
        assert (done.returncode, done.stdout) == (1, '"x"\n')
        assert done.stderr == "Error: the server closed the connection (4504, go away)\n"
