"""The examples do what they say."""

import asyncio
import json
import shlex
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import websockets
from openapi_spec_validator import validate
from yarl import URL

from examples import monitor
from openapi.client import connect
from openapi.errors import CallFailed
from tests.cli.process import ROOT, Terminal, line, run, served, started
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


class TestTheReadme:
    """Its three commands, against `make run` on another port."""

    COMMANDS = (
        "openapi listen localhost:8080/stream host",
        """openapi call localhost:8080/stream processes '{"by": "memory", "limit": 3}'""",
        "openapi listen localhost:8080/stream notes",
    )

    def arguments(self, command: str, host: str) -> list[str]:
        return shlex.split(command.replace("localhost:8080", host))[1:]

    def test_the_machine_is_watched(self, host: str) -> None:
        with Terminal(*self.arguments(self.COMMANDS[0], host)) as terminal:
            for event in ("cpu ", "memory ", "disk ", "network "):
                terminal.wait_for(f"  {event}")
            terminal.press_ctrl_c()
            assert terminal.wait() == 0

    def test_the_processes_are_a_table(self, host: str) -> None:
        with Terminal(*self.arguments(self.COMMANDS[1], host)) as terminal:
            assert terminal.wait() == 0
        heads, *rows = terminal.text.splitlines()
        assert heads.split() == ["pid", "name", "cpu_percent", "memory_mib"]
        assert len(rows) == 3

    def test_a_note_is_seen(self, host: str) -> None:
        with started(*self.arguments(self.COMMANDS[2], host)) as process:
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
