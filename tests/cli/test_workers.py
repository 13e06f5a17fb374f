"""Several processes that serve one application on one address."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from openapi.cli import workers
from openapi.cli.load import BrokenApplication
from openapi.cli.managers import Refused, check_workers
from openapi.cli.output import Output
from openapi.client import Client, connect
from openapi.errors import ConnectionClosed
from tests.cli.crew import in_memory
from tests.cli.in_flight import assert_two_signals_end, in_flight
from tests.cli.process import (
    DEADLINE,
    ENVIRONMENT,
    ended,
    interrupted,
    line,
    run,
    run_unread,
    started,
    stopped,
)
from tests.servers.valkey import ValkeyServer

CREW = "tests/cli/crew.py"
APP = f"{CREW}:create_app"
PLAIN = f"{CREW}:without_manager"
TWO = ("--port", "0", "--workers", "2")


@pytest.fixture
def broker(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the broker of the application that is served."""
    monkeypatch.setitem(ENVIRONMENT, "BROKER", valkey.url)
    return valkey.url


@asynccontextmanager
async def one_on_each(url: str, workers: Sequence[int]) -> AsyncIterator[dict[int, Client]]:
    """Clients, one on each worker, by its process id. Nobody can choose to whom they come."""
    clients: dict[int, Client] = {}
    async with AsyncExitStack() as stack:
        while len(clients) < len(workers):
            client = await stack.enter_async_context(connect(f"{url}/stream", reconnect=None))
            clients[await client.call("process", returns=int)] = client
        assert clients.keys() == set(workers)
        yield clients


def said_by(process: "subprocess.Popen[str]", fits: Callable[[str], bool]) -> str:
    """What it writes on stderr, until that fits."""
    assert process.stderr is not None
    said, fd = b"", process.stderr.fileno()
    while not fits(said.decode()):
        ready, _, _ = select.select([fd], [], [], DEADLINE)
        data = os.read(fd, 65536) if ready else b""
        assert data, f"it says no more, behind {said!r}"
        said += data
    return said.decode()


def answered(url: str) -> int:
    """Which worker answers."""
    with urllib.request.urlopen(f"{url}/process", timeout=DEADLINE) as response:
        worker: int = json.loads(response.read())
    return worker


def until_gone(workers: Sequence[int]) -> None:
    """Wait until no process has these ids."""
    deadline = time.monotonic() + DEADLINE
    while any(psutil.pid_exists(worker) for worker in workers):
        assert time.monotonic() < deadline, workers
        time.sleep(0.01)  # a pause between two looks


class TestServing:
    async def test_who_is_on_one_hears_what_is_published_on_the_other(self, broker: str) -> None:
        with started("serve", APP, *TWO) as process:
            said = line(process)
            assert len(set(said["workers"])) == 2
            assert process.pid not in said["workers"]
            async with one_on_each(said["url"], said["workers"]) as clients:
                one, other = clients.values()
                async with one.subscribe("kept1") as here, other.subscribe("kept1") as there:
                    payload = {"channel": "kept1", "event": "made", "data": {"n": 1}}
                    await one.call("publish", payload)
                    heard = [await anext(messages) for messages in (here, there)]
            assert [message.data for message in heard] == [{"n": 1}] * 2
            assert heard[0].position == heard[1].position != None  # noqa: E711 - both are one
            await asyncio.to_thread(stopped, process)

    def test_in_a_pipe_it_says_one_document_and_whoever_answers_logs_that(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        with started("serve", PLAIN, "--port", port, "--workers", "2") as process:
            said = line(process)
            assert said["url"] == f"http://127.0.0.1:{port}"
            assert said["routes"] == [
                {"method": "GET", "path": "/process", "summary": "Which worker this is"}
            ]
            assert {answered(said["url"]) for _ in range(64)} == set(said["workers"])
            # Nobody else gets the port.
            done = run("serve", PLAIN, "--port", port, "--workers", "2")
            assert (done.returncode, done.stdout) == (1, "")
            text = f"cannot listen on 127.0.0.1:{port}: Address already in use; try another --port"
            assert done.stderr == f"Error: {text}\n"
            assert stopped(process).count("  200  GET     /process  ") == 64
        until_gone(said["workers"])

    def test_each_has_the_event_loop_that_was_chosen(self) -> None:
        target = "tests/cli/app.py:prints_its_loop"
        with started("serve", target, *TWO, "--loop", "asyncio") as process:
            line(process)
            said = stopped(process).split()
        assert [name.split(".")[0] for name in said] == ["asyncio", "asyncio"]

    def test_that_the_broker_is_away_is_said_once(self) -> None:
        with started("serve", f"{CREW}:broker_is_away", *TWO) as process:
            line(process)
            said = stopped(process)
        text = "the broker of the manager in app['web_sockets'] is away, and tried until it is back"
        assert said.count(f"Warning: {text}: nobody listens") == 1
        assert "Nobody listens" not in said  # the log of each worker


class TestThePort:
    def test_every_address_is_shown_as_one_that_can_be_connected_to(self) -> None:
        # Its manager carries messages itself, and is not refused.
        with started("serve", f"{CREW}:own_manager", *TWO, "--host", "0.0.0.0") as process:
            assert line(process)["url"].startswith("http://127.0.0.1:")
            stopped(process)

    @pytest.mark.parametrize(
        ("host", "text"),
        [
            ("192.0.2.1", ":0: Cannot assign requested address; give an address of this machine"),
            ("nowhere.invalid", ": Name or service not known; give an address of this machine"),
        ],
    )
    def test_an_address_that_is_not_of_this_machine_is_told(self, host: str, text: str) -> None:
        done = run("serve", PLAIN, *TWO, "--host", host)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: cannot listen on {host}{text}")


class TestWhatIsRefused:
    def test_the_broker_of_one_process_is_refused_before_anything_starts(self) -> None:
        done = run("serve", f"{CREW}:in_memory_below", *TWO)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(
            "\n\nError: --workers 2: the broker of the manager in app[SOCKETS] is of one process,"
            " as memory:// is, and the others would not hear of its messages: give it one that they"
            " share, as SocketsManager(broker='redis://localhost'), or serve with one worker\n"
        )
        assert "started" not in done.stderr
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its key is a text
            app = in_memory()
        with pytest.raises(Refused, match=r"the manager in app\['web_sockets'\] is of one process"):
            check_workers(app, 2)

    def test_one_worker_may_have_it(self) -> None:
        with started("serve", f"{CREW}:in_memory", "--port", "0", "--workers", "1") as process:
            assert "workers" not in line(process)
            stopped(process)

    @pytest.mark.parametrize(
        ("target", "code", "text"),
        [
            ("tests/cli/app.py:create_ap", 2, "did you mean tests/cli/app.py:create_app?"),
            ("tests/cli/app.py:fails_to_start", 1, "did not start: LookupError: no database"),
            (f"{CREW}:dies_while_it_starts", 1, "Error: worker 1 was killed by SIGABRT\n"),
        ],
    )
    def test_what_cannot_be_served_is_told_once(self, target: str, code: int, text: str) -> None:
        done = run("serve", target, *TWO)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.count(text) == 1
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("target", "code", "text"),
        [
            (f"{CREW}:of_no_use", 2, "the manager in app['web_sockets']: it is too old"),
            (f"{CREW}:cannot_open", 1, "app['web_sockets'] cannot be opened: LookupError: no"),
        ],
    )
    def test_a_broker_that_cannot_be_opened_is_told_by_one_worker_too(
        self, target: str, code: int, text: str
    ) -> None:
        done = run("serve", target, "--port", "0")
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.count(text) == 1
        assert "Traceback" not in done.stderr

    def test_a_number_that_is_none_is_wrong_usage(self) -> None:
        done = run("serve", PLAIN, "--workers", "0")
        assert (done.returncode, done.stdout) == (2, "")
        assert "--workers" in done.stderr


class TestAWorkerThatEnds:
    def test_another_one_takes_its_place_though_what_it_forked_lives_on(self) -> None:
        with started("serve", f"{CREW}:leaves_children", *TWO, "--quiet") as process:
            said = line(process)
            killed, other = said["workers"]
            os.kill(killed, signal.SIGKILL)
            err = said_by(process, lambda text: "serves again" in text)
            assert err.startswith(
                f"Warning: worker 1, process {killed}, was killed by SIGKILL; it is started again\n"
                "worker 1 serves again, as process "
            )
            new = int(err.split()[-1])
            assert {answered(said["url"]) for _ in range(64)} == {new, other}
            stopped(process)

    async def test_one_that_is_asked_to_end_drains_and_another_one_comes(self, broker: str) -> None:
        with started("serve", APP, *TWO, "--quiet") as process:
            said = line(process)
            async with one_on_each(said["url"], said["workers"]) as clients:
                client, other = clients[said["workers"][0]], clients[said["workers"][1]]
                call = await in_flight(client, "last_call", seen_by=other)
                os.kill(said["workers"][0], signal.SIGTERM)
                assert await call == "answered"
                assert (await client.wait_closed()).code == 1012
                assert await other.call("process") == said["workers"][1]
                err = await asyncio.to_thread(said_by, process, lambda text: "again, as" in text)
            assert "ended with exit code 0; it is started again" in err
            await asyncio.to_thread(stopped, process)

    async def test_one_that_does_not_start_again_ends_all_and_says_why_once(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        file, serving = tmp_path / "file", asyncio.Event()
        told: dict[str, Any] = {}

        def announce(*about: object, workers: Sequence[int]) -> None:
            told["workers"] = workers
            serving.set()

        target = f"{CREW}:fails_while_there_is_a_file"
        command = ("-m", "openapi", "serve", target, *TWO, "--quiet")
        monkeypatch.setenv("FILE", str(file))
        monkeypatch.setattr(sys, "orig_argv", [sys.executable, *command])
        monkeypatch.setattr(workers, "_PAUSE", 0.01)
        monkeypatch.setattr(workers, "announce", announce)
        supervising = asyncio.create_task(
            workers.supervise(Output(as_json=True), workers=2, host="127.0.0.1", port=0)
        )
        await serving.wait()
        file.touch()
        os.kill(told["workers"][1], signal.SIGKILL)
        with pytest.raises(BrokenApplication) as failure:
            await supervising
        assert str(failure.value) == (
            "worker 2 did not start 5 times in a row: it is given up, and the others with it"
        )
        assert capsys.readouterr().err.count("LookupError: no settings") == 1
        until_gone(told["workers"])

    def test_one_that_starts_after_some_attempts_is_no_failure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "file"
        monkeypatch.setitem(ENVIRONMENT, "FILE", str(file))
        target = f"{CREW}:fails_while_there_is_a_file"
        with started("serve", target, *TWO, "--quiet") as process:
            workers = line(process)["workers"]
            file.touch()
            os.kill(workers[1], signal.SIGKILL)
            said_by(process, lambda text: "does not start" in text)
            file.unlink()
            said_by(process, lambda text: "worker 2 serves again" in text)
            stopped(process)


class TestTheEnd:
    async def test_calls_in_flight_are_answered_and_clients_told_to_come_back(
        self, broker: str
    ) -> None:
        with started("serve", APP, *TWO, "--quiet") as process:
            said = line(process)
            async with one_on_each(said["url"], said["workers"]) as clients:
                async with next(iter(clients.values())).subscribe("calls") as calls:
                    pending = [
                        asyncio.create_task(client.call("last_call")) for client in clients.values()
                    ]
                    for _ in pending:
                        await anext(calls)
                process.send_signal(signal.SIGTERM)
                assert await asyncio.gather(*pending) == ["answered", "answered"]
                for client in clients.values():
                    assert (await client.wait_closed()).code == 1012
                    assert client.reconnect is not None
            assert await asyncio.to_thread(ended, process) == ""

    async def test_a_second_signal_does_not_wait_for_calls_in_flight(self, broker: str) -> None:
        with started("serve", APP, *TWO, "--quiet") as process:
            said = line(process)
            async with one_on_each(said["url"], said["workers"]) as clients:
                client, _ = clients.values()
                await assert_two_signals_end(process, signal.SIGINT, client, "process")

    async def test_one_whose_loop_is_blocked_is_killed_at_the_second(self, broker: str) -> None:
        with started("serve", APP, *TWO, "--quiet") as process:
            said = line(process)
            async with one_on_each(said["url"], said["workers"]) as clients:
                client, other = clients.values()
                call = await in_flight(client, "block", seen_by=other)
                process.send_signal(signal.SIGTERM)
                await other.wait_closed()
                process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosed):
                    await call
            assert await asyncio.to_thread(process.wait, DEADLINE) == 0
        until_gone(said["workers"])

    def test_when_the_first_process_is_killed_the_others_end(self) -> None:
        with started("serve", PLAIN, *TWO) as process:
            workers = line(process)["workers"]
            process.kill()
            until_gone(workers)

    def test_an_application_that_fails_to_stop_is_told_once(self) -> None:
        with started("serve", "tests/cli/app.py:fails_to_stop", *TWO) as process:
            line(process)
            err = stopped(process, 1)
        assert err.count("did not stop well: LookupError: no goodbye (tests/cli/app.py, line ") == 1

    def test_a_signal_while_they_start_stops_them(self) -> None:
        with started("serve", "tests/cli/app.py:starts_slowly", *TWO) as process:
            interrupted(process, behind="starting")

    def test_nobody_reads_where_it_is(self) -> None:
        done = run_unread("serve", PLAIN, *TWO)
        assert (done.returncode, done.stderr) == (0, "")
