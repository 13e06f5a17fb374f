"""The examples do what they say."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import websockets
from aiohttp import web
from openapi_spec_validator import validate
from yarl import URL

from examples import monitor
from examples.logs import Line, Logs
from openapi.client import Client, Stream, connect
from openapi.client.handlers import Handler
from openapi.errors import CallFailed, ErrorCode, RpcError
from tests.cli.process import COMMAND, ENVIRONMENT, ROOT, Terminal, line, run, served, started
from tests.conftest import Serve
from tests.test_docs import region

STREAM = ROOT / "examples/stream"

ENDPOINT = '''\
from aiohttp import web
from openapi.spec import ApiPath
from openapi.ws import WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

ws_routes = web.RouteTableDef()

@ws_routes.view("/stream")
class Websocket(ApiPath, WsPathMixin, Subscribe, Publish):

    async def ws_rpc_info(self, payload):
        """Server information"""
        return self.sockets.server_info()
'''

MAIN = """\
from aiohttp.web import Application
from openapi.ws import SocketsManager

def setup_app(app: Application) -> None:
    app['web_sockets'] = SocketsManager()
    app.router.add_routes(ws_routes)
"""


@pytest.fixture(scope="module")
def stream() -> Iterator[str]:
    """The URL of the documented example."""
    with served("examples/stream/main.py:setup_app") as host:
        yield f"ws://{host}/stream"


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """``HOST:PORT`` of the monitor, served as `make run` does."""
    with served("examples/monitor.py:create_app") as host:
        yield host


class TestTheDocumentedExample:
    """examples/stream/endpoint.py and examples/stream/main.py"""

    def test_its_text_is_the_documented_one(self) -> None:
        assert region((STREAM / "endpoint.py").read_text(), "endpoint") == ENDPOINT
        assert region((STREAM / "main.py").read_text(), "main") == MAIN

    @pytest.mark.parametrize("bases", ["ApiPath, WsPathMixin", "WsPathMixin, ApiPath"])
    def test_it_runs_as_two_files_of_a_user_with_the_mixins_in_either_order(
        self, tmp_path: Path, bases: str
    ) -> None:
        endpoint = ENDPOINT.replace("ApiPath, WsPathMixin", bases)
        (tmp_path / "endpoint.py").write_text(endpoint)
        (tmp_path / "main.py").write_text(f"from endpoint import ws_routes\n{MAIN}")
        with served(f"{tmp_path}/main.py:setup_app") as host:
            done = run("call", f"{host}/stream", "info")
        assert json.loads(done.stdout) == {"connections": 1, "channels": {}}

    def test_a_plain_get_is_told_that_it_is_none(self, stream: str) -> None:
        async def get() -> tuple[int, Any]:
            async with aiohttp.ClientSession() as session, session.get(URL(stream)) as response:
                return response.status, await response.json()

        assert asyncio.run(get()) == (400, {"message": "Unable to open websocket connection"})

    async def test_websockets_calls_subscribes_publishes_and_receives(self, stream: str) -> None:
        async with websockets.connect(stream) as socket:

            async def say(frame: dict[str, Any]) -> Any:
                await socket.send(json.dumps(frame))
                return json.loads(await socket.recv())

            info = {"connections": 1, "channels": {}}
            assert await say({"id": "a", "method": "info"}) == {
                "id": "a",
                "method": "info",
                "response": info,
            }
            names = {"channel": "news", "event": "w*"}
            answer = await say({"id": "b", "method": "subscribe", "payload": names})
            assert answer["response"] == {"subscribed": {"news": ["w*"]}}
            news = {"channel": "news", "event": "world", "data": {"n": 1}}
            frames = [
                await say({"id": "c", "method": "publish", "payload": news}),
                json.loads(await socket.recv()),
            ]
            assert {"id": "c", "method": "publish", "response": news} in frames
            assert news in frames

    def test_the_ws_of_node_calls_subscribes_publishes_and_receives(
        self, stream: str, node: str
    ) -> None:
        command = [node, "stream.mjs", stream]
        done = subprocess.run(
            command, cwd=ROOT / "tests/foreign", capture_output=True, text=True, timeout=20
        )
        assert (done.returncode, done.stderr) == (0, "")
        info, subscribed, *rest = map(json.loads, done.stdout.splitlines())
        assert info["response"] == {"connections": 1, "channels": {}}
        assert subscribed["response"] == {"subscribed": {"news": ["w*"]}}
        news = {"channel": "news", "event": "world", "data": {"n": 1}}
        assert {"id": "c", "method": "publish", "response": news} in rest
        assert news in rest


class TestTheMonitor:
    """examples/monitor.py"""

    @pytest.fixture
    async def url(self, serve: Serve) -> AsyncIterator[URL]:
        yield await serve(monitor.create_app())

    async def test_each_second_every_part_of_the_machine_is_published(self, url: URL) -> None:
        async with (
            connect(url / "stream") as client,
            client.subscribe("host", "cpu", type=monitor.Cpu) as cpus,
            client.subscribe("host", "memory", type=monitor.Memory) as memories,
            client.subscribe("host", "disk", type=monitor.Disk) as disks,
            client.subscribe("host", "network", type=monitor.Network) as networks,
        ):
            cpu = (await anext(cpus)).data
            assert 0 <= cpu.percent <= 100
            assert len(cpu.cores) >= 1
            memory = (await anext(memories)).data
            assert 0 < memory.used_mib < memory.total_mib
            assert 0 <= (await anext(disks)).data.percent <= 100
            assert (await anext(networks)).data.sent_kib >= 0
            assert isinstance((await anext(cpus)).data, monitor.Cpu)

    async def test_the_processes_that_use_most_are_listed(self, url: URL) -> None:
        async with connect(url / "stream") as client:
            top = monitor.Top(by="memory", limit=3)
            found = await client.call("processes", top, returns=list[monitor.Process])
            assert len(found) <= 3
            sizes = [process.memory_mib for process in found]
            assert sizes == sorted(sizes, reverse=True)
            assert await client.call("processes", {"by": "cpu"})
            with pytest.raises(CallFailed) as caught:
                await client.call("processes", {"by": "name", "limit": 0})
            assert set(caught.value.errors or ()) == {"by", "limit"}

    async def test_it_says_what_machine_it_is(self, url: URL) -> None:
        async with connect(url / "stream") as client:
            info = await client.call("info", returns=monitor.Info)
            assert info.connections == 1
            assert info.processors >= 1

    async def test_whatever_asks_psutil_does_it_in_the_one_thread(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads = set()

        def watched(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                threads.add(threading.current_thread().name)
                return function(*args, **kwargs)

            return call

        for name in ("boot_time", "cpu_count", "cpu_percent", "process_iter", "virtual_memory"):
            monkeypatch.setattr(psutil, name, watched(getattr(psutil, name)))
        url = await serve(monitor.create_app())
        async with connect(url / "stream") as client:
            await client.call("info", returns=monitor.Info)
            await client.call("processes")
        assert threads == {"psutil_0"}

    async def test_a_note_that_is_posted_reaches_who_listens(self, url: URL) -> None:
        async with (
            connect(url / "stream") as client,
            client.subscribe("notes", type=monitor.Note) as notes,
            aiohttp.ClientSession() as session,
        ):
            async with session.post(url / "notes", json={"text": "hello"}) as response:
                assert response.status == 201
                posted = await response.json()
            message = await anext(notes)
            assert (message.event, message.data.text) == ("note", "hello")
            assert posted["author"] == message.data.author == "somebody"
            async with session.post(url / "notes", json={"text": "", "more": 1}) as response:
                assert response.status == 422
                assert {each["field"] for each in (await response.json())["errors"]} == {
                    "text",
                    "more",
                }

    async def test_its_document_is_correct_and_has_everything(self, url: URL) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url / "openapi.json") as response,
        ):
            document = await response.json()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            validate(document)
        assert set(document["paths"]) == {"/stream", "/notes"}

    async def test_it_does_not_stop_the_loop_while_it_looks(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop, looking, go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def look(percpu: bool) -> list[float]:
            loop.call_soon_threadsafe(looking.set)
            assert go.wait(10), "the loop, which was to let it go, stood still"
            return [50.0]

        monkeypatch.setattr(psutil, "cpu_percent", look)
        machine = monitor.Machine()
        sampling = asyncio.create_task(machine.sample())
        await looking.wait()
        assert not sampling.done()
        go.set()
        assert (await sampling).cpu.percent == 50.0
        machine.close()

    async def test_a_publisher_that_fails_is_told_at_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fail() -> monitor.Sample:
            asyncio.get_running_loop().call_soon(lambda: failed.set())
            raise ZeroDivisionError

        app, failed = monitor.create_app(), asyncio.Event()
        running = monitor.keep_publishing(app)
        await anext(running)
        monkeypatch.setattr(app[monitor.MACHINE], "sample", fail)
        await failed.wait()
        assert caplog.messages == ["nothing is published any more"]
        assert await anext(running, "stopped") == "stopped"


class TestTail:
    """examples/logs.py and the method `tail` of examples/monitor.py"""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        """A log in a directory of logs."""
        (tmp_path / "logs").mkdir()
        return tmp_path / "logs/app.log"

    @pytest.fixture
    async def client(self, serve: Serve, log: Path) -> AsyncIterator[Client]:
        url = await serve(monitor.create_app(log.parent))
        async with connect(url / "stream") as client:
            yield client

    def tail(self, client: Client, path: str = "app.log", lines: int = 10) -> Stream[Line]:
        return client.stream("tail", {"path": path, "lines": lines}, type=Line)

    @pytest.mark.parametrize(("lines", "texts"), [(1, ["three"]), (2, ["two", "three"]), (9, None)])
    async def test_the_last_lines_come_and_then_each_new_one(
        self, client: Client, log: Path, lines: int, texts: list[str] | None
    ) -> None:
        log.write_text("one\n\ntwo\nthree\n")
        expected = ["one", "", "two", "three"] if texts is None else texts
        async with self.tail(client, lines=lines) as tail:
            assert [(await anext(tail)).text for _ in expected] == expected
            for number in range(3):
                add(log, f"{number}\n")
                assert await anext(tail) == Line(15 + 2 * number, str(number))

    async def test_it_can_begin_at_the_end(self, client: Client, log: Path) -> None:
        log.write_text("one\n")
        async with self.tail(client, lines=0) as tail:
            coming = asyncio.ensure_future(anext(tail))
            while not coming.done():
                add(log, "two\n")
                await client.call("processes")
            assert (await coming).text == "two"

    async def test_a_line_comes_when_it_has_its_end(self, client: Client, log: Path) -> None:
        log.write_text("one\ntw")
        async with self.tail(client) as tail:
            assert await anext(tail) == Line(0, "one")
            coming = asyncio.ensure_future(anext(tail))
            await client.call("processes")
            add(log, "o")
            await client.call("processes")
            assert not coming.done()
            add(log, "\r\nthree\n")
            assert await coming == Line(4, "two")
            assert await anext(tail) == Line(9, "three")

    async def test_an_empty_file_may_grow(self, client: Client, log: Path) -> None:
        log.touch()
        async with self.tail(client) as tail:
            coming = asyncio.ensure_future(anext(tail))
            await client.call("processes")
            add(log, "one\n")
            assert await coming == Line(0, "one")

    async def test_a_file_that_is_cut_short_is_read_from_its_start(
        self, client: Client, log: Path
    ) -> None:
        log.write_text("one\ntwo\nthr")
        async with self.tail(client) as tail:
            assert [(await anext(tail)).text for _ in range(2)] == ["one", "two"]
            log.write_text("new\n")
            assert await anext(tail) == Line(8, "thr")
            assert await anext(tail) == Line(0, "new")

    async def test_a_file_whose_name_is_given_to_another_is_read_to_its_end_before_that(
        self, client: Client, log: Path
    ) -> None:
        log.write_text("one\n")
        async with self.tail(client) as tail:
            assert (await anext(tail)).text == "one"
            add(log, "two\n")
            log.rename(log.with_suffix(".old"))
            assert (await anext(tail)).text == "two"
            coming = asyncio.ensure_future(anext(tail))
            await client.call("processes")
            log.write_text("a file that is longer than the other was\n")
            assert await coming == Line(0, "a file that is longer than the other was")

    async def test_a_long_line_is_cut_and_what_is_no_utf_8_is_replaced(
        self, client: Client, log: Path
    ) -> None:
        log.write_bytes(b"x" * 100_000 + b"\n" + b"y" * 4096 + b"\r\n\xff\n")
        async with self.tail(client) as tail:
            assert await anext(tail) == Line(0, "x" * 4096 + "…")
            assert await anext(tail) == Line(100_001, "y" * 4096)
            assert await anext(tail) == Line(104_099, "\N{REPLACEMENT CHARACTER}")

    async def test_it_looks_back_for_a_mebibyte_at_most(self, client: Client, log: Path) -> None:
        lines = [f"{number:09}\n" for number in range(300_000)]
        log.write_text("".join(lines))
        async with self.tail(client, lines=1000) as tail:
            assert (await anext(tail)).text == "000299000"
        log.write_text("".join([*lines, "x" * 1_040_000, "\n"]))
        async with self.tail(client, lines=1000) as tail:
            first = await anext(tail)
            assert first.offset == 3_000_000 - (1024 * 1024 - 1_040_001) // 10 * 10
            assert first.text == f"{first.offset // 10:09}"

    async def test_files_below_and_links_that_stay_there_are_followed(
        self, client: Client, log: Path
    ) -> None:
        (log.parent / "sub").mkdir()
        (log.parent / "sub/other.log").write_text("one\n")
        log.symlink_to("sub/other.log")
        for path in ("app.log", "sub/other.log", "sub/../app.log"):
            async with self.tail(client, path) as tail:
                assert (await anext(tail)).text == "one"

    @pytest.mark.parametrize("path", ["../secret", "link", "folder/secret", "{absolute}"])
    async def test_what_leads_out_is_refused_whether_or_not_it_is_there(
        self, client: Client, log: Path, path: str
    ) -> None:
        (log.parent / "link").symlink_to("../secret")
        (log.parent / "folder").symlink_to("..")
        log.write_text("one\n")
        for _ in range(2):
            with pytest.raises(CallFailed, match="Only what is below the directory of") as caught:
                await anext(self.tail(client, path.format(absolute=log)))
            assert caught.value.code == ErrorCode.NOT_ALLOWED
            (log.parent.parent / "secret").write_text("secret\n")

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("no.log", "No such file or directory"),
            ("x" * 300, "File name too long"),
            (".", "is no file"),
            ("pipe", "is no file"),
            ("loop", "Too many levels of symbolic links"),
            ("a\0b", "is no path"),
        ],
    )
    async def test_what_is_no_file_is_refused(
        self, client: Client, log: Path, path: str, text: str
    ) -> None:
        os.mkfifo(log.parent / "pipe")
        (log.parent / "loop").symlink_to("loop")
        with pytest.raises(CallFailed) as caught:
            await anext(self.tail(client, path))
        assert caught.value.errors == {"path": text}

    async def test_a_link_that_leads_out_later_ends_it(self, client: Client, log: Path) -> None:
        (log.parent / "now.log").write_text("one\n")
        (log.parent.parent / "secret").write_text("secret\n")
        log.symlink_to("now.log")
        async with self.tail(client) as tail:
            assert (await anext(tail)).text == "one"
            (log.parent / "next").symlink_to("../secret")
            (log.parent / "next").rename(log)
            with pytest.raises(CallFailed, match="Only what is below"):
                await anext(tail)

    async def test_a_file_that_is_gone_before_it_can_be_opened_is_waited_for(
        self, client: Client, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened, looks = os.open, []

        def open_a_little_later(path: str, *flags: int) -> int:
            if threading.current_thread().name == "logs_0":
                looks.append(path)
                if len(looks) == 2:
                    raise FileNotFoundError
            return opened(path, *flags)

        log.write_text("one\n")
        async with self.tail(client) as tail:
            monkeypatch.setattr(os, "open", open_a_little_later)
            assert (await anext(tail)).text == "one"
            log.rename(log.with_suffix(".old"))
            log.write_text("two\n")
            assert (await anext(tail)).text == "two"
        assert looks == [str(log)] * 3

    async def test_files_are_read_in_one_thread_and_closed_there(
        self, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads, reading, go = set(), asyncio.Event(), threading.Event()
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        class File(FileIO):
            def read(self, size: int | None = -1, /) -> bytes:
                threads.add(threading.current_thread().name)
                loop.call_soon_threadsafe(reading.set)
                assert go.wait(10), "the loop, which was to let it go, stood still"
                return super().read(size)

            def close(self) -> None:
                if not self.closed:
                    threads.add(threading.current_thread().name)
                    loop.call_soon_threadsafe(closed.set)
                super().close()

        monkeypatch.setattr("examples.logs.FileIO", File)
        logs = Logs(log.parent)
        log.write_text("one\n")
        tail = logs.follow("app.log", 1)
        coming = asyncio.ensure_future(anext(tail))
        await reading.wait()
        coming.cancel()
        await asyncio.wait([coming])
        assert not closed.is_set()  # it is read yet
        go.set()
        await closed.wait()
        logs.close()
        assert threads == {"logs_0"}


def add(log: Path, text: str) -> None:
    """Have a log grow."""
    with log.open("a", newline="") as file:
        file.write(text)


class TestTheJournal:
    """What examples/monitor.py writes down, where it is given no other logs."""

    @pytest.fixture
    async def url(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[URL]:
        monkeypatch.delenv("MONITOR_LOGS", raising=False)
        yield await serve(monitor.create_app())

    async def test_it_has_every_connection_and_call_and_how_it_ended(self, url: URL) -> None:
        async with connect(url / "stream") as reader:
            journal = reader.stream("tail", {"path": "monitor.log"}, type=Line)

            async def written(pattern: str) -> str:
                async for line in journal:
                    if found := re.search(pattern, line.text):
                        return found[0]
                raise AssertionError(f"it ended without {pattern!r}")

            assert await written("the monitor starts$")
            async with connect(url / "stream") as client:
                name = (await written(r"\S+ comes from 127.0.0.1$")).split()[0]
                await client.call("info")
                while name == (await written(r"\S+ info done in 0\.\d{3} s$")).split()[0]:
                    break
                with pytest.raises(CallFailed):
                    await anext(client.stream("tail", {"path": "nothing"}))
                assert await written(r"tail failed in ")
                async with client.stream("tail", {"path": "monitor.log"}) as tail:
                    await anext(tail)
                assert await written(r"tail cancelled in ")
            assert await written(r"is gone \(1000\)$")

    async def test_what_pages_ask_again_and_again_is_not_in_it(self, url: URL) -> None:
        async with connect(url / "stream") as client:
            await client.call("processes")
            await client.call("info")
            seen = []
            async for line in client.stream("tail", {"path": "monitor.log"}, type=Line):
                seen.append(line.text)
                if " info done in " in line.text:
                    break
            assert not [text for text in seen if " processes " in text]

    async def test_a_tail_ends_when_the_server_does_and_the_log_with_it(self) -> None:
        app = monitor.create_app()
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        directory = app[monitor.LOGS].directory
        assert directory is not None
        assert [path.name for path in directory.iterdir()] == ["monitor.log"]
        async with connect(f"ws://127.0.0.1:{port}/stream") as client:
            tail = client.stream("tail", {"path": "monitor.log"}, type=Line)
            assert (await anext(tail)).text.endswith("the monitor starts")
            ending = asyncio.create_task(runner.cleanup())
            async for line in tail:
                assert line.text
            assert tail.response is None
        await ending
        assert not directory.exists()

    async def test_other_logs_can_be_given_by_the_environment(
        self, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MONITOR_LOGS", str(tmp_path))
        (tmp_path / "app.log").write_text("one\n")
        url = await serve(monitor.create_app())
        async with connect(url / "stream") as client:
            line = await anext(client.stream("tail", {"path": "app.log"}, type=Line))
            assert line == Line(0, "one")
        assert [path.name for path in tmp_path.iterdir()] == ["app.log"]

    def test_what_is_no_directory_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(NotADirectoryError, match="nothing is no directory: give one whose"):
            monitor.create_app(tmp_path / "nothing")


class TestConfirm:
    """The method `confirm` of examples/monitor.py"""

    @pytest.fixture
    async def url(self, serve: Serve) -> AsyncIterator[URL]:
        yield await serve(monitor.create_app())

    async def test_everyone_who_watches_is_asked_and_each_answer_counts(self, url: URL) -> None:
        silent = asyncio.Event()

        async def yes(payload: monitor.Question) -> monitor.Decision:
            assert payload.text == "Lunch?"
            return monitor.Decision(yes=True)

        async def no(payload: monitor.Question) -> monitor.Decision:
            return monitor.Decision(yes=False)

        async def refuse(payload: monitor.Question) -> monitor.Decision:
            raise RpcError(1, "Not now")

        async def leave(payload: monitor.Question) -> None:
            leaver.cancel()
            await asyncio.Event().wait()

        async def be_silent(payload: monitor.Question) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                silent.set()  # the server waits no longer

        async def watch(handler: Handler | None, watching: asyncio.Event) -> None:
            serve = {} if handler is None else {"confirm": handler}
            async with (
                connect(url / "stream", serve=serve, reconnect=None) as client,
                client.subscribe("questions"),
            ):
                watching.set()
                await client.wait_closed()

        tasks = []
        async with connect(url / "stream", serve={"confirm": yes}) as caller:
            for handler in (yes, no, refuse, leave, be_silent, None):
                watching = asyncio.Event()
                tasks.append(asyncio.create_task(watch(handler, watching)))
                await watching.wait()
            leaver = tasks[3]
            async with caller.subscribe("questions", type=monitor.Outcome) as outcomes:
                poll = monitor.Poll("Lunch?", seconds=3.0)
                votes = await caller.call("confirm", poll, returns=list[monitor.Vote])
                assert (await anext(outcomes)).data == monitor.Outcome("Lunch?", votes)
        assert sorted((vote.yes, vote.error) for vote in votes if vote.yes is not None) == [
            (False, None),
            (True, None),
        ]
        assert sorted(vote.error for vote in votes if vote.error is not None) == [
            "'confirm' was not answered within 3 seconds",
            "Invalid RPC parameters (-32601); method: confirm method not available",
            "Not now (1)",
            "the connection is closed (1000); the call may have run",
        ]
        assert silent.is_set()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def test_where_nobody_watches_nobody_answers(self, url: URL) -> None:
        async with connect(url / "stream") as client, client.subscribe("questions"):
            assert await client.call("confirm", {"text": "Lunch?"}) == []


class TestTheCommandLine:
    """The monitor as docs/how-to/command-line.md shows it."""

    TAIL = """openapi call localhost:8080/stream tail '{"path": "monitor.log"}'"""
    ANSWER = """openapi listen localhost:8080/stream questions --answer confirm='{"yes": true}'"""
    ASK = "openapi listen localhost:8080/stream questions --answer confirm"
    CONFIRM = """openapi call localhost:8080/stream confirm '{"text": "Lunch?"}'"""

    def test_a_log_is_followed_and_ctrl_c_is_heard_by_the_server(self, host: str) -> None:
        with started(*arguments(self.TAIL, host)) as reader:
            with Terminal(*arguments(self.TAIL, host)) as terminal:
                terminal.wait_for("the monitor starts\n")
                run("call", f"{host}/stream", "info")
                terminal.wait_for(" info done in 0.")
                terminal.press_ctrl_c()
                assert terminal.wait() == 130
            assert re.search(r"^offset \d+  text .* info done in 0.\d+ s$", terminal.text, re.M)
            while " tail cancelled in " not in line(reader)["text"]:
                pass

    def test_a_reader_that_has_enough_ends_it_on_the_server(self, host: str) -> None:
        with started(*arguments(self.TAIL, host)) as reader:
            command = [*COMMAND, *arguments(self.TAIL, host)]
            done = subprocess.run(
                ["sh", "-c", '"$@" | head -n 1', "sh", *command],
                cwd=ROOT,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=20,
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert len(done.stdout.splitlines()) == 1
            while " tail cancelled in " not in line(reader)["text"]:
                pass

    def test_who_listens_is_asked(self, host: str) -> None:
        with (
            Terminal(*arguments(self.ASK, host)) as person,
            Terminal(*arguments(self.ANSWER, host)) as machine,
        ):
            person.wait_for("listening")
            machine.wait_for("listening")
            with Terminal(*arguments(self.CONFIRM, host)) as terminal:
                person.wait_for("text Lunch?\nanswer (JSON, empty refuses): ")
                person.type('{"yes": false}\n')
                assert terminal.wait() == 0
            person.wait_for("  answered    text Lunch?  votes ")
            machine.wait_for('confirm  text Lunch?  → {"yes":true}\n')
        heads, *rows = [row.split() for row in terminal.text.splitlines()]
        assert heads == ["socket", "yes", "error"]
        assert sorted(row[1:] for row in rows) == [["false", "null"], ["true", "null"]]


def arguments(command: str, host: str) -> list[str]:
    """Those of a documented command, for another server."""
    return shlex.split(command.replace("localhost:8080", host))[1:]


class TestTheReadme:
    """Its three commands, against `make run` on another port."""

    COMMANDS = (
        "openapi listen localhost:8080/stream host",
        """openapi call localhost:8080/stream processes '{"by": "memory", "limit": 3}'""",
        "openapi listen localhost:8080/stream notes",
    )

    def test_the_machine_is_watched(self, host: str) -> None:
        with Terminal(*arguments(self.COMMANDS[0], host)) as terminal:
            for event in ("cpu ", "memory ", "disk ", "network "):
                terminal.wait_for(f"  {event}")
            terminal.press_ctrl_c()
            assert terminal.wait() == 0

    def test_the_processes_are_a_table(self, host: str) -> None:
        with Terminal(*arguments(self.COMMANDS[1], host)) as terminal:
            assert terminal.wait() == 0
        heads, *rows = terminal.text.splitlines()
        assert heads.split() == ["pid", "name", "cpu_percent", "memory_mib"]
        assert len(rows) == 3

    def test_a_note_is_seen(self, host: str) -> None:
        with started(*arguments(self.COMMANDS[2], host)) as process:
            posting = f"""
import json, urllib.request
body = json.dumps({{"text": "hello"}}).encode()
print(urllib.request.urlopen("http://{host}/notes", body).status)
"""
            hearing = asyncio.run(_heard(process, posting))
        assert hearing["event"] == "note"
        assert hearing["data"]["text"] == "hello"


async def _heard(process: "subprocess.Popen[str]", posting: str) -> Any:
    """What a listener hears; posts until it does, for it may just have been started."""
    hearing = asyncio.create_task(asyncio.to_thread(line, process))
    while not hearing.done():
        posted = await asyncio.create_subprocess_exec(
            sys.executable, "-c", posting, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await posted.communicate()
        assert out == b"201\n"
    return hearing.result()
