"""What the server asks, answered on the command line: beforehand, or by a person."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from openapi.client import Client, connect
from tests.cli.process import DEADLINE, Terminal, line, run, served, started

APP = "tests/cli/app.py:create_app"
PROMPT = "answer (JSON, empty refuses): "
REFUSED = {"refused": "It was refused (-32002)"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The endpoint of a server that all tests of this file share."""
    with served(APP, "--quiet") as host:
        yield f"{host}/stream"


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    """Who has the server ask the others."""
    async with connect(f"ws://{url}") as client:
        yield client


def asking(client: Client, method: str = "confirm", **payload: Any) -> "asyncio.Task[Any]":
    """Have the server ask whoever listens to ``news``, once somebody does."""
    question = {"method": method, "payload": payload}
    return asyncio.create_task(client.call("ask_listener", question))


class TestGiven:
    def test_a_call_answers_what_it_is_asked_meanwhile(self, url: str) -> None:
        given = ["--answer", 'confirm={"yes": true}', "--answer", "other=[1]"]
        for method, answer in (("confirm", {"yes": True}), ("other", [1])):
            done = run("call", url, "ask", json.dumps({"method": method}), *given)
            assert (done.returncode, done.stderr) == (0, "")
            assert json.loads(done.stdout) == answer

    def test_what_has_no_answer_is_not_there(self, url: str) -> None:
        done = run("call", url, "ask", '{"method": "more"}', "--answer", "confirm=1")
        refused = "Invalid RPC parameters (-32601); method: more method not available"
        assert json.loads(done.stdout) == {"refused": refused}

    async def test_who_listens_answers_and_hears_messages_all_the_same(
        self, url: str, client: Client
    ) -> None:
        with started("listen", url, "news", "--answer", 'confirm="a=b"') as process:
            assert await asking(client) == "a=b"
            await client.publish("news", "world", 1)
            assert await asyncio.to_thread(line, process) == {
                "channel": "news",
                "event": "world",
                "data": 1,
            }
            process.terminate()
            assert await asyncio.to_thread(process.communicate, None, DEADLINE) == ("", "")
            assert process.returncode == 0

    async def test_on_a_terminal_it_is_seen(self, url: str, client: Client) -> None:
        with Terminal("listen", url, "news", "--answer", "confirm=true") as terminal:
            await asyncio.to_thread(terminal.wait_for, "listening")
            assert await asking(client, text="\x1b[1mLunch?") is True
            await asyncio.to_thread(terminal.wait_for, "true\n")
            terminal.press_ctrl_c()
            assert await asyncio.to_thread(terminal.wait) == 0
        shown = "confirm  text \\x1b[1mLunch?  → true"
        assert terminal.text == f"listening, Ctrl-C stops\n{shown}\n^C\n"

    @pytest.mark.parametrize("command", ["call", "listen"])
    @pytest.mark.parametrize(
        ("answers", "text"),
        [
            (["=1"], "'=1' names no method: write METHOD=JSON or METHOD"),
            ([""], "'' names no method: write METHOD=JSON or METHOD"),
            (["confirm=yes"], "'yes' is no JSON: quote it for the shell"),
            (["confirm="], "'' is no JSON: quote it for the shell"),
            (["confirm=-"], "'-' is no JSON: quote it for the shell"),
            (["confirm=1", "confirm=2"], "there are two answers for 'confirm': give one"),
            (
                ["confirm"],
                "there is no terminal on which you could be asked for 'confirm': write"
                " confirm=JSON",
            ),
            (["\udcff=1"], "'\\udcff=1' is not UTF-8"),
        ],
    )
    def test_wrong_usage_is_told_in_a_sentence(
        self, command: str, answers: list[str], text: str
    ) -> None:
        options = [part for answer in answers for part in ("--answer", answer)]
        done = run(command, "localhost", "info", *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert text in done.stderr


class TestAsked:
    """``--answer METHOD``: the person at the terminal is asked."""

    @pytest.fixture
    def terminal(self, url: str) -> Iterator[Terminal]:
        with Terminal("listen", url, "news", "--answer", "confirm") as terminal:
            terminal.wait_for("listening, Ctrl-C stops\n")
            yield terminal

    async def shown(self, terminal: Terminal, text: str) -> None:
        """Wait until it shows a text behind all else."""
        await asyncio.to_thread(terminal.wait_until, lambda shown: shown.endswith(text))

    async def stop(self, terminal: Terminal) -> list[str]:
        """Press Ctrl-C; returns what was shown behind the first line."""
        terminal.press_ctrl_c()
        assert await asyncio.to_thread(terminal.wait) == 0
        return terminal.text.splitlines()[1:]

    async def test_what_is_typed_is_the_answer(self, terminal: Terminal, client: Client) -> None:
        answer = asking(client, text="Lunch?")
        await self.shown(terminal, PROMPT)
        terminal.type('{"yes": [1, "é"]}\n')
        assert await answer == {"yes": [1, "é"]}
        assert await self.stop(terminal) == [
            "confirm  text Lunch?",
            PROMPT + '{"yes": [1, "é"]}',
            "^C",
        ]

    async def test_a_call_asks_too(self, url: str) -> None:
        with Terminal("call", url, "ask", "{}", "--answer", "confirm") as terminal:
            await self.shown(terminal, PROMPT)
            terminal.type("1\n")
            assert await asyncio.to_thread(terminal.wait) == 0
        assert terminal.text == f"confirm  {{}}\n{PROMPT}1\n1\n"

    @pytest.mark.parametrize("key", ["\n", " \n", "\x04"])
    async def test_nothing_is_a_refusal(self, terminal: Terminal, client: Client, key: str) -> None:
        answer = asking(client)
        await self.shown(terminal, PROMPT)
        terminal.type(key)
        assert await answer == REFUSED
        assert await self.stop(terminal) == ["confirm  {}", PROMPT + key.strip("\n\x04"), "^C"]

    async def test_what_is_no_json_is_asked_for_again(
        self, terminal: Terminal, client: Client
    ) -> None:
        answer = asking(client)
        await self.shown(terminal, PROMPT)
        terminal.type("yes\n")
        await self.shown(terminal, f'as in {{"yes": true}}\n{PROMPT}')
        terminal.type("tr\x04ue\n")  # Ctrl-D hands over what is typed so far
        assert await answer is True
        await self.stop(terminal)

    async def test_what_was_typed_before_is_no_answer(
        self, terminal: Terminal, client: Client
    ) -> None:
        terminal.type("1\n2")
        await self.shown(terminal, "1\n2")
        answer = asking(client)
        await self.shown(terminal, PROMPT)
        terminal.type("3\n")
        assert await answer == 3
        await self.stop(terminal)

    async def test_questions_come_one_after_another_and_messages_wait_for_them(
        self, terminal: Terminal, client: Client
    ) -> None:
        first = asking(client, text="one")
        await self.shown(terminal, PROMPT)
        await client.publish("news", "world", 1)
        second = asking(client, text="two")
        await client.call("echo")  # behind it
        terminal.type("1\n")
        assert await first == 1
        await self.shown(terminal, f"text two\n{PROMPT}")
        terminal.type("2\n")
        assert await second == 2
        rows = await self.stop(terminal)
        assert rows.pop(2)[8:] == "  world       1"
        asked = ["confirm  text one", f"{PROMPT}1", "confirm  text two", f"{PROMPT}2"]
        assert rows == [*asked, "^C"]

    async def test_a_question_that_the_server_gives_up_ends_and_the_next_begins_anew(
        self, terminal: Terminal, client: Client
    ) -> None:
        first, second = asking(client, text="one"), asking(client, text="two")
        await self.shown(terminal, PROMPT)
        shown, other = (first, second) if "text one" in terminal.text else (second, first)
        terminal.type("fal")
        await self.shown(terminal, f"{PROMPT}fal")
        shown.cancel()
        await self.shown(terminal, PROMPT)
        terminal.type("true\n")
        assert await other is True
        rows = await self.stop(terminal)
        assert rows[1:3] == [f"{PROMPT}fal", "the server waits no longer"]
        assert rows[4:] == [f"{PROMPT}true", "^C"]

    async def test_ctrl_c_stops_it_while_a_question_is_open(
        self, terminal: Terminal, client: Client
    ) -> None:
        answer = asking(client)
        await self.shown(terminal, PROMPT)
        terminal.type("tr")
        await self.shown(terminal, "tr")
        assert await self.stop(terminal) == ["confirm  {}", f"{PROMPT}tr^C"]
        assert await answer == {"gone": 1000}

    async def test_an_answer_that_is_given_is_not_shown_in_the_middle_of_a_question(
        self, url: str, client: Client
    ) -> None:
        arguments = ("listen", url, "news", "--answer", "confirm", "--answer", "other=7")
        with Terminal(*arguments) as terminal:
            answer = asking(client)
            await self.shown(terminal, PROMPT)
            assert await asking(client, "other") == 7
            terminal.type("1\n")
            assert await answer == 1
            assert await self.stop(terminal) == ["confirm  {}", f"{PROMPT}1", "^C"]
