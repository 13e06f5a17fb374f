"""The tutorial of the chat: its files, its commands, and what they show.

Its page is held in Chromium: clients/js/test/tutorial/chat.test.js.
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import urlopen

import pytest

from openapi.browser import MODULE
from openapi.client import Member
from openapi.client.sync import connect
from openapi.errors import CallFailed, ConnectionClosed
from tests.cli.process import DEADLINE, ROOT, Terminal, line, served, started
from tests.servers.process import free_port
from tests.servers.valkey import ValkeyServer
from tests.test_docs import region

PAGE = (ROOT / "docs/tutorial/a-chat.md").read_text("utf-8")

STEP1 = ROOT / "docs/examples/chat/step1.py"
STEP2 = ROOT / "docs/examples/chat/step2.py"
STEP3 = ROOT / "docs/examples/chat/step3.py"
STEP4 = ROOT / "docs/examples/chat/step4.py"
STEP5 = ROOT / "docs/examples/chat/step5.py"
STEPS = [STEP1, STEP2, STEP3, STEP4, STEP5]
BOT = ROOT / "docs/examples/chat/bot.py"
SCRIPT = ROOT / "docs/examples/chat/say.py"
TYPED = ROOT / "docs/examples/chat/say_typed.py"
TESTS = ROOT / "docs/examples/chat/test_chat.py"
HTML = ROOT / "docs/examples/chat/page/index.html"
JAVASCRIPT = ROOT / "docs/examples/chat/page/chat.js"

SERVE = "openapi serve chat.py:create_app"
SAY = """openapi call 'localhost:8080/chat?name=ada' say '{"text": "Hello"}'"""
WRONG = """openapi call 'localhost:8080/chat?name=ada' say '{"text": "", "room": "the lobby"}'"""
NOBODY = """openapi call localhost:8080/chat say '{"text": "Hello"}'"""
LISTEN = "openapi listen 'localhost:8080/chat?name=eve' room:lobby --history 10"
RUN_BOT = "python bot.py 'ws://localhost:8080/chat?name=bot'"
ASK = """openapi call 'localhost:8080/chat?name=ada' say '{"text": "bot, how many?"}'"""
RUN_SCRIPT = "python say.py 'ws://localhost:8080/chat?name=deploy' 'Version 7 is live'"
OVER_REDIS = "BROKER=redis://localhost openapi serve chat.py:create_app"
# As it is on the page: in one line.
PUBLISH = """openapi publish --broker redis://localhost --app chat.py:create_app room:lobby said '{"name": "deploy", "text": "Version 8 is live"}'"""  # noqa: E501
STAFF = "openapi listen 'localhost:8080/chat?name=eve' room:staff"
PYTEST = "pytest -q test_chat.py"
TYPES = "openapi types chat.py:create_app --python chat_client.py"
CHECK = "openapi types chat.py:create_app --python chat_client.py --check"
RUN_TYPED = "python say_typed.py 'ws://localhost:8080/chat?name=deploy' 'Version 9 is live'"
WORKERS = "BROKER=redis://localhost openapi serve chat.py:create_app --workers 4"


def saved(step: Path, folder: Path) -> str:
    """Have a folder as a reader has it; returns what is served."""
    (folder / "page").mkdir(exist_ok=True)
    for file in (HTML, JAVASCRIPT):
        (folder / "page" / file.name).write_bytes(file.read_bytes())
    for file in (BOT, SCRIPT, TYPED, TESTS):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "chat.py").write_bytes(step.read_bytes())
    return f"{folder}/chat.py:create_app"


@contextmanager
def chat(step: Path, folder: Path) -> Iterator[str]:
    """Serve a step; yields ``HOST:PORT``."""
    with served(saved(step, folder)) as host:
        yield host


def arguments(command: str, host: str) -> list[str]:
    """The arguments of a command of the page, for a server elsewhere."""
    return shlex.split(command.replace("localhost:8080", host))[1:]


def shown(command: str, *args: str, code: int = 0, folder: str = "") -> str:
    """The block that the page must have: a command, and what it shows on a terminal."""
    with Terminal(*args) as terminal:
        assert terminal.wait() == code, terminal.text
    lines = [text.rstrip().replace(folder, "") for text in terminal.text.splitlines()]
    return "\n".join(["```console", f"$ {command}", *lines, "```"])


def block(command: str) -> list[str]:
    """What the page shows behind a command."""
    assert f"```console\n$ {command}\n" in PAGE
    return PAGE.partition(f"```console\n$ {command}\n")[2].partition("```")[0].splitlines()


def program(command: str, host: str, folder: Path) -> list[str]:
    """What a program of the reader's prints, line by line."""
    done = subprocess.run(
        [sys.executable, *arguments(command, host)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@contextmanager
def bot(host: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """The bot, as long as it is wanted. Ctrl-C ends it."""
    with subprocess.Popen(
        [sys.executable, *arguments(RUN_BOT, host)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: "subprocess.Popen[str]", text: str) -> str:
    """Read what a program prints up to a line that begins so."""
    assert process.stdout is not None
    for printed in process.stdout:
        if printed.startswith(text):
            return printed.rstrip("\n")
    raise AssertionError(f"it never prints {text!r}")


def wait_for_the_bot(host: str) -> None:
    """Wait until it listens: behind "open" it has yet to subscribe."""
    with (
        connect(f"ws://{host}/chat?name=eve") as client,
        client.subscribe("room:lobby", presence=True) as messages,
    ):
        here = {member.id for member in client.presence("room:lobby")}
        while "bot" not in here:
            data = messages.get().data
            if isinstance(data, Member):
                here.add(data.id)


def say(host: str, user: str, text: str, **more: str) -> Any:
    """Say something; returns what the server answers."""
    with connect(f"ws://{host}/chat?name={user}") as client:
        return client.call("say", {"text": text, **more})


def kept(host: str, room: str = "lobby", user: str = "reader") -> list[tuple[str, str]]:
    """All that is kept of a room: who said what."""
    with connect(f"ws://{host}/chat?name={user}") as client:
        messages = client.history(f"room:{room}").messages
    return [(each.data["name"], each.data["text"]) for each in messages]


def test_the_server_says_what_it_serves(tmp_path: Path) -> None:
    with Terminal("serve", saved(STEP1, tmp_path), "--port", "0") as terminal:
        terminal.wait_for("Ctrl-C stops")
        terminal.press_ctrl_c()
        assert terminal.wait() == 0
    told = [text.rstrip() for text in terminal.text.splitlines()][: len(block(SERVE))]
    port = told[0].rpartition(":")[2]
    assert [text.replace(port, "8080") for text in told] == block(SERVE)


def test_a_message_is_said_and_every_fault_is_named(tmp_path: Path) -> None:
    with chat(STEP1, tmp_path) as host:
        assert shown(SAY, *arguments(SAY, host)) in PAGE
        assert shown(WRONG, *arguments(WRONG, host), code=1) in PAGE
        assert shown(NOBODY, *arguments(NOBODY, host), code=1) in PAGE
        assert kept(host) == [("ada", "Hello")]


def test_who_listens_hears_what_was_said_before_and_what_is_said_now(tmp_path: Path) -> None:
    with chat(STEP1, tmp_path) as host:
        say(host, "ada", "Hello")
        with Terminal(*arguments(LISTEN, host)) as listener:
            listener.wait_for("Hello")
            say(host, "ada", "Hello")
            listener.wait_until(lambda text: text.count("Hello") == 2)
            listener.press_ctrl_c()
            assert listener.wait() == 0
        note, *messages = [text.rstrip() for text in listener.text.splitlines()][:3]
    time = len("18:37:07")
    assert [note, *(message[time:] for message in messages)] == [
        block(LISTEN)[0],
        *(message[time:] for message in block(LISTEN)[1:]),
    ]


def test_only_rooms_are_there_and_nobody_publishes_by_himself(tmp_path: Path) -> None:
    with chat(STEP1, tmp_path) as host, connect(f"ws://{host}/chat?name=eve") as client:
        with pytest.raises(CallFailed), client.subscribe("news"):
            pass
        with pytest.raises(CallFailed):
            client.publish("room:lobby", "said", {"name": "ada", "text": "Hello"})


def test_what_is_said_twice_with_one_key_is_said_once(tmp_path: Path) -> None:
    with chat(STEP2, tmp_path) as host:
        for name in ("ada", "ada", "eve"):
            assert say(host, name, "Hello", key="1") == {"name": name, "text": "Hello"}
        assert kept(host) == [("ada", "Hello"), ("eve", "Hello")]


def test_the_bot_answers_and_a_script_says_one_thing(tmp_path: Path) -> None:
    with chat(STEP2, tmp_path) as host, bot(host, tmp_path) as process:
        assert until(process, "open").rstrip() == block(RUN_BOT)[0]
        wait_for_the_bot(host)
        assert program(RUN_SCRIPT, host, tmp_path) == block(RUN_SCRIPT)
        with Terminal(*arguments(LISTEN, host)) as listener:
            listener.wait_for("Version 7 is live")
            assert shown(ASK, *arguments(ASK, host)) in PAGE
            listener.wait_for("name bot  text 2, ada")
        process.send_signal(2)
        assert process.wait(DEADLINE) == 0


def test_the_bot_comes_back_to_a_server_that_was_started_anew(tmp_path: Path) -> None:
    target = saved(STEP2, tmp_path)
    port = str(free_port())
    with started("serve", target, "--port", port) as server:
        host = line(server)["url"].removeprefix("http://")
        with bot(host, tmp_path) as process:
            until(process, "open")
            wait_for_the_bot(host)
            server.send_signal(2)  # Ctrl-C
            server.communicate(timeout=DEADLINE)
            until(process, "waiting")
            with started("serve", target, "--port", port) as again:
                line(again)
                until(process, "open")
                until(process, "messages were lost: counting anew")
                with connect(f"ws://{host}/chat?name=eve") as client:
                    with client.subscribe("room:lobby", "said") as messages:
                        client.call("say", {"text": "bot, how many?"})
                        said = [messages.get().data for _ in range(2)]
                assert said[1] == {"name": "bot", "text": "1, eve"}


def test_the_page_and_the_client_are_served(tmp_path: Path) -> None:
    with chat(STEP3, tmp_path) as host:
        for path, text in [
            ("?name=ada", HTML.read_text()),
            ("page/chat.js", JAVASCRIPT.read_text()),
            ("openapi.js", MODULE.read_text()),
        ]:
            with urlopen(f"http://{host}/{path}") as response:
                assert text in response.read().decode()


def test_the_tutorial_has_the_page_and_all_of_its_script() -> None:
    assert (
        f"<!-- file: docs/examples/chat/page/index.html -->\n```html\n{HTML.read_text()}```" in PAGE
    )
    script = JAVASCRIPT.read_text()
    names = re.findall(r"^// \[(\w+)\]$", script, re.MULTILINE)
    pieces = [region(script, name) or "" for name in names]
    places = [PAGE.index(f"```javascript\n{piece}```") for piece in pieces]
    assert places == sorted(places)
    rest = re.sub(r"^// \[/?\w+\]\n", "", script, flags=re.MULTILINE)
    for piece in pieces:
        rest = rest.replace(piece, "", 1)
    assert [text for text in rest.splitlines() if text] == [script.splitlines()[0]]


def test_what_others_wrote_is_shown_as_text_alone() -> None:
    script = re.sub(r"//.*", "", JAVASCRIPT.read_text())
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", script)


def test_redis_keeps_what_is_said_while_the_server_is_away(tmp_path: Path) -> None:
    target = saved(STEP4, tmp_path)
    assert block(OVER_REDIS)[0].startswith("openapi ")
    with ValkeyServer() as valkey:
        command = PUBLISH.replace("redis://localhost", valkey.url)
        words = shlex.split(command.replace("chat.py:create_app", target))[1:]
        environment = {**os.environ, "BROKER": valkey.url}
        with over_redis(target, environment) as host:
            say(host, "ada", "Hello")
        with Terminal(*words) as terminal:
            assert terminal.wait() == 0, terminal.text
        assert terminal.text.splitlines() == block(PUBLISH)
        with over_redis(target, environment) as host:
            assert kept(host) == [("ada", "Hello"), ("deploy", "Version 8 is live")]
        with over_redis(target, environment, "--workers", "2") as host:
            assert kept(host) == [("ada", "Hello"), ("deploy", "Version 8 is live")]
    assert "4 workers" in block(WORKERS)[0]


@contextmanager
def over_redis(target: str, environment: dict[str, str], *options: str) -> Iterator[str]:
    """Serve with a broker in the environment; yields ``HOST:PORT``."""
    command = [sys.executable, "-m", "openapi", "serve", target, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield line(process)["url"].removeprefix("http://")
        finally:
            process.terminate()
            process.communicate(timeout=DEADLINE)


def test_the_room_of_the_staff_is_theirs(tmp_path: Path) -> None:
    with chat(STEP5, tmp_path) as host:
        assert shown(STAFF, *arguments(STAFF, host), code=1) in PAGE
        with pytest.raises(CallFailed, match="You may not speak in staff"):
            say(host, "eve", "Let me in", room="staff")
        for user in ("ada", "ada&secret=1906"):
            with pytest.raises(ConnectionClosed, match="This name needs its secret"):
                say(host, user, "Let me in", room="staff")
        say(host, "grace&secret=1906", "Hello", room="staff")
        assert kept(host, "staff", "ada&secret=1815") == [("grace", "Hello")]


def test_the_tests_of_the_chat_pass(tmp_path: Path) -> None:
    saved(STEP5, tmp_path)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(PYTEST)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    dots, result = block(PYTEST)
    assert dots in done.stdout
    assert result.partition(" in ")[0] in done.stdout


def test_the_typed_client_is_written_and_used(tmp_path: Path) -> None:
    target = saved(STEP5, tmp_path)
    command = ["types", target, "--python", f"{tmp_path}/chat_client.py"]
    assert shown(TYPES, *command, folder=f"{tmp_path}/") in PAGE
    check = shown(CHECK, *command, "--check", folder=f"{tmp_path}/")
    assert check in PAGE
    with chat(STEP5, tmp_path) as host:
        assert program(RUN_TYPED, host, tmp_path) == block(RUN_TYPED)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem)
def test_a_step_makes_an_application_of_its_own_each_time(step: Path, tmp_path: Path) -> None:
    saved(step, tmp_path)
    module: Any = _module(tmp_path / "chat.py", step.stem)
    assert module.create_app() is not module.create_app()


def _module(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_chat_{name}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module
