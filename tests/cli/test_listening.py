"""Listening on the command line: what is kept, then what comes, and what does not."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import websockets

from openapi.client import connect
from tests.cli.process import Terminal, line, run, served, started

APP = "tests/cli/app.py:create_app"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The endpoint of a server that all tests of this file share. It gives 4 messages at once."""
    with served(APP, "--quiet") as host:
        yield f"{host}/stream"


async def publish(url: str, channel: str, numbers: Sequence[int], event: str = "n") -> None:
    async with connect(f"ws://{url}") as client:
        for number in numbers:
            await client.publish(channel, event, number)


@contextlib.asynccontextmanager
async def answering(
    answers: Sequence[Any], *messages: dict[str, Any]
) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that answers calls so, and sends messages behind the first answer.

    Yields its URL, and the payloads of the calls.
    """
    heard: list[Any] = []

    async def talk(socket: websockets.ServerConnection) -> None:
        async for text in socket:
            call = json.loads(text)
            heard.append(call["payload"])
            if len(heard) <= len(answers):
                answer = {"id": call["id"], "response": answers[len(heard) - 1]}
                await socket.send(json.dumps(answer))
            else:
                await socket.close()
            for message in messages if len(heard) == 1 else ():
                await socket.send(json.dumps({"channel": "c", **message}))

    async with websockets.serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}", heard


def page(*offsets: int) -> dict[str, Any]:
    """Kept messages, whose data is their offset; those of even ones are x."""
    messages = [{"event": "nx"[not n % 2], "data": n, "offset": n} for n in offsets]
    return {"messages": messages, "offset": 9, "epoch": "e"}


class TestHistory:
    async def test_the_last_ones_come_first_and_then_live_ones(self, url: str) -> None:
        await publish(url, "kept:last", range(1, 6))
        with started("listen", url, "kept:last", "--history", "3") as process:
            lines = [await asyncio.to_thread(line, process) for _ in range(3)]
            await publish(url, "kept:last", [6])
            lines.append(await asyncio.to_thread(line, process))
        assert lines == [
            {"channel": "kept:last", "event": "n", "data": n, "offset": n} for n in (3, 4, 5, 6)
        ]

    async def test_they_are_as_many_as_are_kept_also_if_the_server_gives_few_at_once(
        self, url: str
    ) -> None:
        await publish(url, "kept:all", range(1, 11))
        done = run("listen", url, "kept:all", "--history", "99", "--count", "10")
        assert [json.loads(each)["data"] for each in done.stdout.splitlines()] == [*range(1, 11)]

    async def test_they_fit_the_pattern_and_count(self, url: str) -> None:
        for number in range(1, 7):
            await publish(url, "kept:fit", [number], "even" if number % 2 == 0 else "odd")
        done = run("listen", url, "kept:fit", "o*", "--history", "2", "--count", "2")
        assert (done.returncode, done.stderr) == (0, "")
        assert [json.loads(each)["data"] for each in done.stdout.splitlines()] == [3, 5]

    async def test_between_them_and_what_is_live_there_is_no_gap_and_nothing_is_told_twice(
        self,
    ) -> None:
        answers = [{"offset": 6, "epoch": "e"}, page(6, 5, 4), page(3, 2)]
        live = {"event": "x", "data": 8, "offset": 8}
        async with answering(answers, live) as (url, heard):
            done = await asyncio.to_thread(
                run, "listen", url, "c", "x", "--history", "3", "--count", "4"
            )
        assert [json.loads(each)["offset"] for each in done.stdout.splitlines()] == [2, 4, 6, 8]
        assert heard[:3] == [
            {"channel": "c", "event": "x"},
            {"channel": "c", "since": {"offset": 7, "epoch": "e"}, "reverse": True},
            {"channel": "c", "since": {"offset": 4, "epoch": "e"}, "reverse": True},
        ]

    async def test_on_a_terminal_they_have_no_time_for_nobody_knows_it(self, url: str) -> None:
        await publish(url, "kept:terminal", [1])
        with Terminal("listen", url, "kept:terminal", "--history", "1") as terminal:
            terminal.wait_for("\n          n           1\n")
            await publish(url, "kept:terminal", [2])
            terminal.wait_for(":")
            terminal.wait_for("n           2\n")
            terminal.press_ctrl_c()
            assert terminal.wait() == 0

    def test_where_there_is_none_it_is_refused(self, url: str) -> None:
        done = run("listen", url, "fleeting", "--history", "5")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith("  channel: keeps no history\n")

    def test_none_is_no_number(self) -> None:
        done = run("listen", "localhost", "c", "--history", "0")
        assert done.returncode == 2
        assert "--history" in done.stderr


class TestLosses:
    async def test_are_told_in_sentences_and_it_goes_on(self) -> None:
        messages = (
            {"event": "$reset", "data": {"offset": 5, "epoch": "f"}},
            {"event": "n", "data": 6, "offset": 6},
            {"event": "$lagged", "data": {"dropped": 2}},
            {"event": "n", "data": 9, "offset": 9},
            {"event": "n", "data": 10, "offset": 10},
        )
        async with answering([{"offset": 1, "epoch": "e"}], *messages) as (url, _):
            done = await asyncio.to_thread(run, "listen", url, "c", "--count", "3")
        assert [json.loads(each)["offset"] for each in done.stdout.splitlines()] == [6, 9, 10]
        assert done.stderr.splitlines() == [
            "Warning: messages of 'c' are lost, nobody knows which: it goes on behind offset 5",
            "Warning: 2 messages were left out: the connection is too slow",
        ]
        assert done.returncode == 0
