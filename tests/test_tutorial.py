"""The tutorial from its first step to its last: its files, its commands, and what they show."""

import importlib.util
import json
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openapi_spec_validator import validate

from openapi import __version__
from tests.cli.process import ROOT, Terminal, run, served

PAGE = (ROOT / "docs/tutorial/a-board-of-tasks.md").read_text("utf-8")

STEP1 = ROOT / "docs/examples/tutorial/step1.py"
STEP2 = ROOT / "docs/examples/tutorial/step2.py"
STEP3 = ROOT / "docs/examples/tutorial/step3.py"
STEP4 = ROOT / "docs/examples/tutorial/step4.py"
CLIENT = ROOT / "docs/examples/tutorial/client.py"

SERVE = "openapi serve board.py:create_app"
ADD = """openapi call localhost:8080/board add '{"title": "write a tutorial", "minutes": 45}'"""
WRONG = """openapi call localhost:8080/board add '{"titel": "write a tutorial", "minutes": "45"}'"""
FINISH = """openapi call localhost:8080/board finish '{"id": 7}'"""
LISTEN = "openapi listen localhost:8080/board tasks"
PUBLISH = """openapi publish localhost:8080/board chat hello '{"from": "me"}'"""
RUN_CLIENT = "python client.py ws://localhost:8080/board"


@contextmanager
def board(step: Path, folder: Path) -> Iterator[str]:
    """Serve a step as a reader does, who saved it as ``board.py``; yields ``HOST:PORT``."""
    (folder / "board.py").write_text(step.read_text())
    with served(f"{folder}/board.py:create_app") as host:
        yield host


def arguments(command: str, host: str) -> list[str]:
    """The arguments of a command of the page, for a server elsewhere."""
    return shlex.split(command.replace("localhost:8080", host))[1:]


def shown(command: str, host: str, *, code: int = 0) -> str:
    """The block that the page must have: a command, and what it shows on a terminal."""
    with Terminal(*arguments(command, host)) as terminal:
        assert terminal.wait() == code, terminal.text
    lines = [text.rstrip() for text in terminal.text.splitlines()]
    return "\n".join(["```console", f"$ {command}", *lines, "```"])


def post(url: str, data: object) -> Any:
    """What is answered to a POST of JSON."""
    with urllib.request.urlopen(url, json.dumps(data).encode()) as response:
        return json.load(response)


def test_the_server_says_what_it_serves(tmp_path: Path) -> None:
    (tmp_path / "board.py").write_text(STEP1.read_text())
    with Terminal("serve", f"{tmp_path}/board.py:create_app", "--port", "0") as terminal:
        terminal.wait_for("Ctrl-C stops")
        terminal.press_ctrl_c()
        assert terminal.wait() == 0
    block = PAGE.partition(f"$ {SERVE}\n")[2].partition("```")[0].splitlines()
    told = [text.rstrip() for text in terminal.text.splitlines()][: len(block)]
    port = told[0].rpartition(":")[2]
    assert [text.replace(port, "8080") for text in told] == block
    assert __version__ in block[0]


def test_step_1_answers_a_call_and_names_every_fault(tmp_path: Path) -> None:
    with board(STEP1, tmp_path) as host:
        assert shown(ADD, host) in PAGE
        assert shown(WRONG, host, code=1) in PAGE


def test_step_2_refuses(tmp_path: Path) -> None:
    with board(STEP2, tmp_path) as host:
        assert shown(FINISH, host, code=1) in PAGE
        assert json.loads(run(*arguments(ADD, host)).stdout)["id"] == 1
        assert json.loads(run("call", f"{host}/board", "finish", '{"id": 1}').stdout)["done"]


def test_step_3_tells_everybody(tmp_path: Path) -> None:
    with board(STEP3, tmp_path) as host:
        with Terminal(*arguments(LISTEN, host)) as listener:
            listener.wait_for("listening")
            run(*arguments(ADD, host))
            listener.wait_for("done false")
            listener.press_ctrl_c()
            assert listener.wait() == 0
        note, message, *_ = listener.text.splitlines()
        told = PAGE.partition(f"$ {LISTEN}\n")[2].partition("```")[0].splitlines()
        time = len("18:37:07")
        assert [note, message[time:].rstrip()] == [told[0], told[1][time:]]
        assert shown(PUBLISH, host) in PAGE


def test_step_4_does_the_same_over_http(tmp_path: Path) -> None:
    with board(STEP4, tmp_path) as host:
        with Terminal(*arguments(LISTEN, host)) as listener:
            listener.wait_for("listening")
            posted = post(f"http://{host}/tasks", {"title": "try HTTP"})
            listener.wait_for("title try HTTP  minutes 30  id 1  done false")
        with urllib.request.urlopen(f"http://{host}/tasks") as response:
            assert json.load(response) == [posted]
        with urllib.request.urlopen(f"http://{host}/openapi.json") as response:
            document = json.load(response)
        validate(document)
        assert set(document["paths"]) == {"/board", "/tasks"}


@pytest.mark.parametrize("step", [STEP1, STEP2, STEP3, STEP4], ids=lambda step: step.stem)
def test_a_step_makes_an_application_of_its_own_each_time(step: Path) -> None:
    module = _module(step)
    assert module.create_app() is not module.create_app()


def test_the_client_does_what_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT.read_text())
    with board(STEP4, tmp_path) as host:
        done = subprocess.run(
            [sys.executable, *arguments(RUN_CLIENT, host)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=30,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"```console\n$ {RUN_CLIENT}\n{done.stdout}```" in PAGE


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module
