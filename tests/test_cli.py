"""The command line: real processes, pipes, terminals and signals."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from yarl import URL

from openapi import __version__
from openapi.cli.commands import openapi
from openapi.client import connect
from tests.cli.in_flight import assert_two_signals_end, in_flight
from tests.cli.process import (
    COMMAND,
    DEADLINE,
    ENVIRONMENT,
    ROOT,
    Terminal,
    ended,
    interrupted,
    line,
    run,
    run_code,
    run_unread,
    served,
    started,
    stopped,
)
from tests.cli.raw import answering

APP = "tests/cli/app.py:create_app"
SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
METHODS = (
    "ask · ask_listener · count · echo · history · kick · last_call · presence · publish · quiet"
    " · rows · stuck · subscribe · unsubscribe"
)


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """``HOST:PORT`` of a server that all tests of this file share."""
    with served(APP, "--quiet") as host:
        yield host


@pytest.fixture
def url(host: str) -> str:
    return f"{host}/stream"


class TestServe:
    def test_in_a_pipe_it_says_one_document_and_logs_requests_on_stderr(self) -> None:
        with started("serve", APP, "--port", "0") as process:
            said = line(process)
            assert said["url"].startswith("http://127.0.0.1:")
            assert said["routes"] == [
                {"method": "WS", "path": "/stream", "summary": METHODS},
                {"method": "GET", "path": "/hello", "summary": "Say hello"},
                {"method": "GET", "path": "/broken", "summary": ""},
                {"method": "GET", "path": "/view", "summary": "Look"},
                {"method": "DELETE", "path": "/view", "summary": ""},
            ]
            with urllib.request.urlopen(f"{said['url']}/hello?a=1") as response:
                assert response.read() == b"hello"
            err = stopped(process)
        assert "  200  GET     /hello?a=1  " in err
        assert len(err.splitlines()) == 1

    def test_quiet_is_quiet(self) -> None:
        with started("serve", APP, "--port", "0", "-q") as process:
            with urllib.request.urlopen(line(process)["url"] + "/hello"):
                pass
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=DEADLINE) == ("", "")
        assert process.returncode == 0

    def test_on_a_terminal_it_shows_where_everything_is_and_stops_at_ctrl_c(self) -> None:
        with Terminal("serve", APP, "--port", "0", columns=220) as terminal:
            terminal.wait_for("Ctrl-C stops")
            address = terminal.text.split("http://")[1].splitlines()[0]
            rows = [row.rstrip().split(maxsplit=2) for row in terminal.text.splitlines()]
            assert ["WS", f"ws://{address}/stream", METHODS] in rows
            assert ["GET", f"http://{address}/hello", "Say hello"] in rows
            assert ["DELETE", f"http://{address}/view"] in rows
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://{address}/broken")
            terminal.wait_for("  500  GET     /broken  ")
            assert "\x1b[31m500" in terminal.raw
            terminal.press_ctrl_c()
            assert terminal.wait() == 0
        assert "stopping; Ctrl-C again does not wait" in terminal.text
        assert "Traceback" not in terminal.text

    async def test_a_call_in_flight_is_answered_before_it_stops(self) -> None:
        with started("serve", APP, "--port", "0") as process:
            address = line(process)["url"]
            async with connect(f"{address}/stream", reconnect=None) as client:
                call = await in_flight(client, "last_call")
                process.send_signal(signal.SIGTERM)
                assert await call == "answered"
                assert (await client.wait_closed()).code == 1012
            await asyncio.to_thread(process.wait, DEADLINE)
            assert process.returncode == 0

    async def test_a_second_signal_does_not_wait_for_calls_in_flight(self) -> None:
        with started("serve", APP, "--port", "0") as process:
            url = line(process)["url"] + "/stream"
            async with connect(url, reconnect=None) as client:
                await assert_two_signals_end(process, signal.SIGTERM, client, "echo")

    def test_a_port_that_is_taken_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = run("serve", APP, "--port", str(port))
        assert (done.returncode, done.stdout) == (1, "")
        text = f"cannot listen on 127.0.0.1:{port}: Address already in use; try another --port"
        assert done.stderr == f"Error: {text}\n"

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    @pytest.mark.parametrize(
        ("host", "text"),
        [
            ("192.0.2.1", ":0: Cannot assign requested address; give an address of this machine"),
            ("nowhere.invalid", ": Name or service not known; give an address of this machine"),
        ],
    )
    def test_an_address_that_is_not_of_this_machine_is_told(
        self, loop: str, host: str, text: str
    ) -> None:
        done = run("serve", APP, "--port", "0", "--loop", loop, "--host", host)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: cannot listen on {host}{text}")

    @pytest.mark.parametrize("host", ["", "a..b", "a" * 64])
    def test_a_host_that_can_be_none_is_wrong_usage(self, host: str) -> None:
        done = run("serve", APP, "--port", "0", "--host", host)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{host!r} is no address: give one of this machine, as 127.0.0.1" in done.stderr

    def test_every_address_is_shown_as_one_that_can_be_connected_to(self) -> None:
        with served(APP, "--host", "0.0.0.0") as host:
            assert host.startswith("127.0.0.1:")

    @pytest.mark.parametrize(
        ("target", "code", "text"),
        [
            ("nowhere:app", 2, "there is no module 'nowhere'"),
            (".:x", 2, "there is no module '.'"),
            ("tests/cli/app.py:create_ap", 2, "did you mean tests/cli/app.py:create_app?"),
            ("tests/cli/app.py:Endpoint", 2, "app.py:Endpoint is the class Endpoint, not"),
            ("tests/cli/app.py:fails", 1, "LookupError: no settings (tests/cli/app.py, line"),
            ("tests/cli/app.py:fails_to_start", 1, "did not start: LookupError: no database"),
        ],
    )
    def test_what_cannot_be_served_is_told_in_a_sentence(
        self, target: str, code: int, text: str
    ) -> None:
        done = run("serve", target, "--port", "0")
        assert (done.returncode, done.stdout) == (code, "")
        assert text in done.stderr
        assert "Traceback" not in done.stderr

    def test_an_application_that_fails_to_stop_is_told_in_a_sentence(self) -> None:
        with started("serve", "tests/cli/app.py:fails_to_stop", "--port", "0") as process:
            line(process)
            err = stopped(process, 1)
        assert "did not stop well: LookupError: no goodbye (tests/cli/app.py, line " in err

    def test_a_signal_while_it_starts_stops_it(self) -> None:
        with started("serve", "tests/cli/app.py:starts_slowly", "--port", "0") as process:
            interrupted(process, behind="starting")

    def test_ctrl_c_while_it_is_imported_stops_it(self) -> None:
        with started("serve", "tests/cli/imports_slowly.py:app") as process:
            interrupted(process, behind="importing")

    def test_ctrl_c_while_it_is_imported_ends_the_line_of_a_terminal(self) -> None:
        with Terminal("serve", "tests/cli/imports_slowly.py:app") as terminal:
            terminal.wait_for("importing")
            terminal.press_ctrl_c()
            assert terminal.wait() == 130
        assert terminal.text == "importing\n^C\n"

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop", "auto"])
    def test_the_event_loop_can_be_chosen(self, loop: str) -> None:
        target = "tests/cli/app.py:prints_its_loop"
        with started("serve", target, "--port", "0", "--loop", loop) as process:
            line(process)
            err = stopped(process)
        assert err.split(".")[0].strip() == ("asyncio" if loop == "asyncio" else "uvloop")

    def test_without_uvloop_the_loop_is_asyncios_unless_it_was_asked_for(self) -> None:
        done = _without("uvloop", "serve", APP, "--loop", "uvloop")
        assert done.returncode == 2
        assert 'uvloop is not installed: pip install "aio-openapi[speed]"' in done.stderr
        done = _without("uvloop", "serve", "tests/cli/app.py:fails")
        assert done.returncode == 1

    def test_it_serves_on_when_nobody_reads_its_log_any_more(self) -> None:
        with started("serve", APP, "--port", "0") as process:
            url = line(process)["url"]
            assert process.stderr is not None
            process.stderr.close()
            for _ in range(3):
                with urllib.request.urlopen(f"{url}/hello") as response:
                    assert response.read() == b"hello"
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0

    def test_an_output_that_cannot_be_written_is_not_taken_for_a_port_that_cannot_be_had(
        self,
    ) -> None:
        done = _unwritable("serve", APP, "--port", "0")
        assert done.returncode == 1
        assert done.stderr == "Error: cannot write to standard output: Bad file descriptor\n"

    def test_nobody_reads_where_it_is(self) -> None:
        done = run_unread("serve", APP, "--port", "0")
        assert (done.returncode, done.stderr) == (0, "")


class TestCall:
    def test_in_a_pipe_the_response_is_one_line_of_json(self, url: str) -> None:
        value = {"a": [1, 2.5, None, "é\n"]}
        done = run("call", url, "echo", json.dumps({"value": value}))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == '{"a":[1,2.5,null,"é\\n"]}\n'

    def test_the_payload_can_come_from_standard_input(self, url: str) -> None:
        done = run("call", f"ws://{url}", "echo", "-", input='{"value": 1}')
        assert (done.returncode, done.stdout) == (0, "1\n")

    def test_without_a_payload_the_method_is_called_all_the_same(self, url: str) -> None:
        done = run("call", f"http://{url}", "echo")
        assert (done.returncode, done.stdout) == (0, "null\n")

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (
                [{"pid": 1, "name": "init"}, {"pid": 200, "name": "[a]"}],
                "pid  name\n  1  init\n200  [a]",
            ),
            ({"host": "here", "up": True, "none": None}, "host  here\nup    true\nnone  null"),
            ({"a": {"b": [1]}}, '{\n  "a": {\n    "b": [\n      1\n    ]\n  }\n}'),
            ([1, 2], "[\n  1,\n  2\n]"),
            ("text", '"text"'),
            ([], "[]"),
            ("\x1b[31m\x9bred", '"\\u001b[31m\\x9bred"'),
        ],
    )
    def test_on_a_terminal_it_is_for_reading(self, url: str, value: object, shown: str) -> None:
        with Terminal("call", url, "echo", json.dumps({"value": value})) as terminal:
            assert terminal.wait() == 0
        lines = [row.rstrip() for row in terminal.text.splitlines()]
        assert "\n".join(lines).strip() == shown

    def test_numbers_have_a_colour(self, url: str) -> None:
        with Terminal("call", url, "echo", '{"value": [1]}') as terminal:
            terminal.wait()
        assert "\x1b[" in terminal.raw

    def test_json_is_json_on_a_terminal_too(self, url: str) -> None:
        with Terminal("call", "--json", url, "echo", '{"value": [1]}') as terminal:
            assert terminal.wait() == 0
        assert terminal.raw == "[1]\r\n"

    def test_a_refusal_names_every_field_on_stderr(self, url: str) -> None:
        done = run("call", url, "publish", '{"event": 1, "more": 2}')
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[0] == "Error: Invalid RPC parameters (-32602)"
        fields = {row.split(":")[0].strip() for row in done.stderr.splitlines()[1:]}
        assert fields == {"channel", "data", "event", "more"}

    def test_a_refusal_shows_its_data(self, url: str) -> None:
        done = run("call", url, "echo", json.dumps({"value": "x" * 70_000}))
        assert done.returncode == 1
        assert '  {"limit":"message_bytes","max":65536,"size":' in done.stderr

    def test_a_server_that_is_not_there_is_told(self, unused_tcp_port: int) -> None:
        done = run("call", f"localhost:{unused_tcp_port}", "echo")
        assert (done.returncode, done.stdout) == (1, "")
        text = f"cannot connect to ws://localhost:{unused_tcp_port}: Connection refused"
        assert done.stderr == f"Error: {text}\n"

    def test_a_url_that_is_no_websocket_is_told(self, host: str) -> None:
        done = run("call", f"{host}/nothing", "echo")
        assert done.returncode == 1
        assert done.stderr == f"Error: ws://{host}/nothing refused the connection: 404 Not Found\n"

    def test_a_server_that_does_not_answer_is_told(self, url: str) -> None:
        done = run("call", url, "stuck", "--timeout", "1.5")
        assert done.returncode == 1
        assert (
            done.stderr
            == "Error: 'stuck' was not answered within 1.5 seconds; --timeout gives it more\n"
        )

    def test_a_server_that_accepts_no_connection_is_told_within_the_same_time(self) -> None:
        with answering(b"") as host:
            done = run("call", host, "echo", "--timeout", "0.3")
        assert done.returncode == 1
        assert done.stderr == f"Error: ws://{host} did not answer within 0.3 seconds\n"

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (
                f"{SWITCHING}Connection: upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
                "{url} answered the handshake wrongly, with a Sec-WebSocket-Accept that does not"
                " fit: it is no WebSocket server, or a proxy in between is at fault",
            ),
            (
                f"{SWITCHING}\r\n",
                "{url} answered the handshake wrongly, without 'Connection: upgrade': it is no"
                " WebSocket server, or a proxy in between is at fault",
            ),
            (
                "SSH-2.0-OpenSSH_9.6\r\n",
                "cannot connect to {url}: the answer cannot be read as HTTP (Bad status line);"
                " check the host and the port",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "{url} is no WebSocket, it answered 200 OK: check the path",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: ftp://there/\r\nContent-Length: 0\r\n\r\n",
                "cannot connect to {url}: it redirects to 'ftp://there/', which is no URL of HTTP",
            ),
        ],
    )
    def test_a_server_that_is_no_websockets_is_told_by_what_it_answered(
        self, answer: str, text: str
    ) -> None:
        with answering(answer.encode()) as host:
            done = run("call", host, "echo")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"Error: {text.format(url=f'ws://{host}')}\n"

    def test_a_host_that_is_not_known_is_told(self) -> None:
        done = run("call", "nowhere.invalid/stream", "echo")
        assert (done.returncode, done.stdout) == (1, "")
        text = "cannot connect to ws://nowhere.invalid/stream: the host 'nowhere.invalid' is not"
        assert done.stderr.startswith(f"Error: {text} found, ")
        assert done.stderr.endswith("; check its name\n")

    def test_tls_with_a_server_that_has_none_is_told(self, host: str) -> None:
        done = run("call", f"wss://{host}/stream", "echo")
        assert done.returncode == 1
        assert "check the port, and whether it is ws:// or wss://\n" in done.stderr

    def test_a_certificate_that_is_not_valid_is_told(self) -> None:
        with answering(b"", tls=True) as host:
            done = run("call", f"wss://{host}", "echo")
        assert done.returncode == 1
        text = f"cannot connect to wss://{host}: its certificate is not valid, self-signed"
        assert done.stderr.replace("self signed", "self-signed").startswith(f"Error: {text}")

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"", "it is empty"),
            (b"\xff", "it is not UTF-8 at byte 0"),
            (b'{"a":\n1 2}', "Expecting ',' delimiter, line 2, column 3"),
            (b'{"a": 1e999}', "it has a number or a character that cannot be read"),
            (b"[" * 100_000, "it is nested too deep"),
        ],
    )
    def test_a_standard_input_that_is_no_json_is_told_with_the_place(
        self, data: bytes, text: str
    ) -> None:
        done = subprocess.run(
            [*COMMAND, "call", "localhost", "echo", "-"],
            input=data,
            capture_output=True,
            cwd=ROOT,
            env=ENVIRONMENT,
            timeout=DEADLINE,
        )
        assert done.returncode == 2
        assert done.stderr.decode().endswith(f": standard input is no JSON: {text}\n")

    def test_a_standard_input_that_cannot_be_read_is_told(self) -> None:
        with open(os.devnull, "wb") as closed:
            done = run("call", "localhost", "echo", "-", stdin=closed)
        assert done.returncode == 2
        assert "standard input cannot be read: Bad file descriptor" in done.stderr

    def test_in_a_pipe_json_is_utf_8_whatever_the_locale(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(ENVIRONMENT, "PYTHONIOENCODING", "ascii")
        done = run("call", url, "echo", '{"value": "é"}')
        assert (done.returncode, done.stdout) == (0, '"é"\n')

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["call", "localhost", "echo", "{a: 1}"], "'{a: 1}' is no JSON: quote it"),
            (["call", "localhost", "echo", '{"a": 1%s}' % ("0" * 30)], "is no JSON: a: integer"),
            (["call", "localhost", "echo", "9" * 30], "is no JSON: integer out of range"),
            (["call", "ftp://localhost/", "echo"], "write ws://HOST:PORT/PATH"),
            (["call", "ws://[", "echo"], "write ws://HOST:PORT/PATH"),
            (["call", "localhost", "echo", "{" * 100], f"'{'{' * 60}…' is no JSON"),
            (["call", "a..b", "echo"], "write ws://HOST:PORT/PATH"),
            (["call", "localhost", "\udcff"], "'\\udcff' is not UTF-8"),
            (["listen", "localhost", "\udcff"], "'\\udcff' is not UTF-8"),
            (["call", "localhost", "echo", "--timeout", "0"], "'0' is no time to wait: give"),
            (["call", "localhost", "echo", "--timeout", "-1"], "give seconds, more than 0"),
            (["call", "localhost", "echo", "--timeout", "nan"], "give seconds, more than 0"),
            (["listen", "localhost", "a", "--timeout", "inf"], "give seconds, more than 0"),
            (["call", "localhost", "echo", "--timeout", "soon"], "give seconds, more than 0"),
            (["call", "localhost"], "Missing argument 'METHOD'"),
            (["publish", "localhost", "channel", "event"], "Missing argument 'JSON'"),
            (["listen", "localhost", "channel", "--count", "0"], "--count"),
            (["sing"], "No such command 'sing'"),
        ],
    )
    def test_wrong_usage_is_told_in_a_sentence(self, arguments: list[str], text: str) -> None:
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert text in done.stderr
        assert "Traceback" not in done.stderr

    async def test_ctrl_c_interrupts_it_quietly_on_the_server_too(self, url: str) -> None:
        async with connect(f"ws://{url}") as client, client.subscribe("calls") as calls:
            with Terminal("call", url, "stuck") as terminal:
                assert (await anext(calls)).event == "started"
                terminal.press_ctrl_c()
                assert terminal.wait() == 130
            assert (await anext(calls)).event == "over"
        assert terminal.text == "^C\n"

    def test_nobody_reads_the_response(self, url: str) -> None:
        done = run_unread("call", url, "echo")
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_response_that_cannot_be_written_is_a_failure(self, url: str) -> None:
        done = _unwritable("call", url, "echo")
        assert done.returncode == 1
        assert done.stderr == "Error: cannot write to standard output: Bad file descriptor\n"


class TestListenAndPublish:
    def test_messages_are_lines_of_json_until_it_is_asked_to_stop(self, url: str) -> None:
        with started("listen", url, "news", "w*") as process:
            _publish_until_heard(url, process, "world", {"a": 1})
            assert run("publish", url, "news", "other", "1").returncode == 0
            assert run("publish", url, "news", "wide", "[2]").returncode == 0
            heard = line(process)
            while heard["event"] == "world":
                heard = line(process)
            assert heard == {"channel": "news", "event": "wide", "data": [2]}
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=DEADLINE)
        assert (process.returncode, err) == (0, "")

    def test_publishing_shows_what_was_published(self, url: str) -> None:
        done = run("publish", url, "news", "world", "-", input='{"a": 1}')
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == {"channel": "news", "event": "world", "data": {"a": 1}}

    def test_on_a_terminal_messages_are_for_reading_and_ctrl_c_stops(self, url: str) -> None:
        with Terminal("listen", url, "people") as terminal:
            terminal.wait_for("listening, Ctrl-C stops")
            run("publish", url, "people", "new\x07", '{"name": "[b]Ann[/b]", "age": 3, "x": {}}')
            run("publish", url, "people", "list", "[1]")
            terminal.wait_for("[1]")
            terminal.press_ctrl_c()
            assert terminal.wait() == 0
        rows = terminal.text.splitlines()
        assert rows[1][8:] == "  new\\x07     name [b]Ann[/b]  age 3  x {}"
        assert rows[2][8:] == "  list        [1]"
        assert rows[3:] == ["^C"]

    def test_json_is_json_on_a_terminal_too(self, url: str) -> None:
        with Terminal("listen", "--json", url, "news", "-n", "1") as terminal:
            _publish_until(terminal.ended, url, "world", 1)
            assert terminal.wait() == 0
        assert terminal.raw == '{"channel":"news","event":"world","data":1}\r\n'

    def test_a_closed_pipe_ends_it_at_once(self, url: str) -> None:
        with started("listen", url, "news") as process:
            _publish_until_heard(url, process, "world", 1)
            assert process.stdout is not None
            process.stdout.close()
            assert ended(process) == ""

    def test_a_reader_that_stops_for_a_while_misses_nothing(self, url: str) -> None:
        with started("listen", url, "news") as process:
            _publish_until_heard(url, process, "start", None)
            for _ in range(4):
                done = run("publish", url, "news", "long", "-", input=json.dumps("x" * 60_000))
                assert done.returncode == 0
            heard = [line(process)]
            while sum(message["event"] == "long" for message in heard) < 4:
                heard.append(line(process))
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE) == 0

    def test_output_can_go_to_a_file(self, url: str, tmp_path: Path) -> None:
        path = tmp_path / "out"
        with (
            path.open("w") as file,
            started("listen", url, "news", "-n", "2", stdout=file) as process,
        ):
            _publish_until(lambda: process.poll() is not None, url, "world", 1)
            assert process.returncode == 0
        assert path.read_text() == '{"channel":"news","event":"world","data":1}\n' * 2

    def test_a_server_that_goes_away_is_listened_to_again_when_it_is_back(self) -> None:
        with ExitStack() as stack:
            with started("serve", APP, "--port", "0") as server:
                url = line(server)["url"] + "/stream"
                process = stack.enter_context(started("listen", url, "news"))
                _publish_until_heard(url, process, "world", 1)
                server.send_signal(signal.SIGTERM)
                assert process.stderr is not None
                said = process.stderr.readline()
                assert "Warning: the connection is closed (1012, the server restarts)" in said
                assert "; connecting again in " in said
            stack.enter_context(started("serve", APP, "--port", str(URL(url).port)))
            while "connected again; what was published meanwhile is missed" not in said:
                said = process.stderr.readline()
                assert said
            run("publish", url, "news", "back", "2")
            while line(process)["event"] != "back":
                pass
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=DEADLINE)
            assert process.returncode == 0

    def test_being_thrown_out_is_told_with_its_code(self) -> None:
        with served(APP) as host, started("listen", f"{host}/stream", "news") as process:
            _publish_until_heard(f"{host}/stream", process, "world", 1)
            run("call", f"{host}/stream", "kick")
            _, err = process.communicate(timeout=DEADLINE)
            assert process.returncode == 1
            assert err == "Error: the server closed the connection (4504, go away)\n"

    def test_a_refused_channel_is_a_failure(self, url: str) -> None:
        done = run("listen", url, "x" * 300)
        assert (done.returncode, done.stdout) == (1, "")
        assert "channel: longer than 255 bytes" in done.stderr


class TestClosedStreams:
    """``>&-`` and its like in a shell: a stream that is closed is as the null device."""

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_a_call_is_made_and_its_failure_is_the_exit_code(self, url: str, closed: str) -> None:
        done = _redirected(closed, "call", url, "echo")
        said = "" if closed.startswith(">") or " " in closed else "null\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
        done = _redirected(closed, "call", url, "nothing")
        assert (done.returncode, done.stdout) == (1, "")
        assert ("nothing method not available" in done.stderr) is ("2>" not in closed)
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_what_fails_to_be_served_is_the_exit_code(self, closed: str) -> None:
        done = _redirected(closed, "serve", "tests/cli/app.py:fails")
        assert (done.returncode, done.stdout) == (1, "")
        assert ("no settings" in done.stderr) is ("2>" not in closed)
        assert "Traceback" not in done.stderr

    def test_a_standard_input_that_is_closed_is_empty(self) -> None:
        done = _redirected("<&-", "call", "localhost", "echo", "-")
        assert done.returncode == 2
        assert "standard input is no JSON: it is empty" in done.stderr

    def test_a_channel_is_listened_to(self, url: str) -> None:
        with _shell("<&- >&-", "listen", url, "news", "-n", "1") as process:
            try:
                _publish_until(lambda: process.poll() is not None, url, "world", 1)
            finally:
                process.kill()
            assert process.stderr is not None
            assert (process.wait(), process.stderr.read()) == (0, "")

    def test_an_application_is_served_and_writes_into_no_socket(self) -> None:
        """The listening socket must not get the number of the stream that was closed."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        target = "tests/cli/app.py:says_when_it_starts"
        with _shell("<&- >&-", "serve", target, "-q", "--port", str(port)) as process:
            try:
                assert process.stderr is not None
                assert process.stderr.readline() == "started\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(DEADLINE) in (0, 130)  # 130 where it did not listen yet
                assert process.stderr.read() == ""
            finally:
                process.kill()


class TestTheCommand:
    def test_it_tells_its_version(self) -> None:
        assert run("--version").stdout == f"openapi {__version__}\n"

    def test_every_command_has_help_with_an_example(self) -> None:
        cli = CliRunner()
        for command in ("serve", "call", "listen", "publish"):
            assert command in cli.invoke(openapi, ["--help"]).output
            assert f"  openapi {command} " in cli.invoke(openapi, [command, "-h"]).output

    @pytest.mark.parametrize("package", ["click", "rich"])
    def test_without_its_packages_it_says_what_to_install(self, package: str) -> None:
        done = _without(package, "--help")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == ('The command needs click and rich: pip install "aio-openapi[cli]"\n')

    def test_ctrl_c_while_it_is_loaded_is_quiet(self) -> None:
        code = (
            "import sys\n"
            "class Interrupted:\n"
            "    def find_spec(self, name, path, target=None):\n"
            "        if name == 'click':\n"
            "            raise KeyboardInterrupt\n"
            "sys.meta_path.insert(0, Interrupted())\n"
            "from openapi.cli import main; main()"
        )
        done = run_code(code)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")

    def test_another_package_that_is_missing_is_not_taken_for_one_of_them(self) -> None:
        done = _without("yarl", "--help")
        assert done.returncode == 1
        assert "ModuleNotFoundError: import of yarl halted" in done.stderr


def _without(package: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command where a package is not installed."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"sys.argv = {['openapi', *arguments]!r}\n"
        "from openapi.cli import main; main()"
    )
    return run_code(code)


def _unwritable(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with an output that was opened for reading."""
    with (
        open(os.devnull, "rb") as output,
        started(*arguments, stdout=output) as process,
    ):
        _, err = process.communicate(timeout=DEADLINE)
    return subprocess.CompletedProcess(arguments, process.returncode, "", err)


def _shell(redirections: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start the command by a shell that redirects its streams."""
    return subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
    )


def _redirected(redirections: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command by a shell that redirects its streams."""
    with _shell(redirections, *arguments) as process:
        try:
            out, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _publish_until_heard(
    url: str, process: "subprocess.Popen[str]", event: str, data: object
) -> None:
    """Until a listener, which has just been started, hears it: then it listens."""
    assert process.stdout is not None
    output = process.stdout
    _publish_until(lambda: bool(select.select([output], [], [], 0)[0]), url, event, data)
    assert line(process) == {"channel": "news", "event": event, "data": data}


def _publish_until(done: Callable[[], bool], url: str, event: str, data: object) -> None:
    """Publish on the channel ``news`` until somebody has heard it."""

    async def publish() -> None:
        async with connect(url if "://" in url else f"ws://{url}") as client:
            async with asyncio.timeout(DEADLINE):
                while not done():
                    await client.publish("news", event, data)
                    await asyncio.sleep(0.02)  # a pause between two tries

    asyncio.run(publish())
