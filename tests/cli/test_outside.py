"""``openapi publish --broker``: a message without a server."""

import asyncio
import json
import time
from contextlib import AsyncExitStack

import pytest
from click.testing import CliRunner

from openapi.cli.commands import openapi
from openapi.client import connect
from openapi.ws import Position, Publisher
from tests.cli.crew import KEPT
from tests.cli.process import ENVIRONMENT, Terminal, line, run, started, stopped
from tests.cli.test_workers import APP, CREW, TWO, one_on_each
from tests.servers.fixtures import StartValkey
from tests.servers.valkey import ValkeyServer

NEVER = "redis://127.0.0.1:1"
"""Where nobody listens."""


@pytest.fixture
def broker(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(ENVIRONMENT, "BROKER", valkey.url)
    return valkey.url


async def test_it_reaches_the_sockets_of_every_worker(broker: str) -> None:
    with started("serve", APP, *TWO, "--quiet") as process:
        said = line(process)
        async with one_on_each(said["url"], said["workers"]) as clients, AsyncExitStack() as stack:
            listening = [
                await stack.enter_async_context(client.subscribe(channel))
                for client in clients.values()
                for channel in ("news", "kept1")
            ]
            publish = ("publish", "--broker", broker)
            done = await asyncio.to_thread(run, *publish, "news", "made", '{"n": 1}')
            assert (done.returncode, done.stderr) == (0, "")
            plain = {"channel": "news", "event": "made", "offset": None, "epoch": None}
            assert json.loads(done.stdout) == plain
            done = await asyncio.to_thread(
                run, *publish, "--app", APP, "kept1", "made", "-", input='{"n": 2}'
            )
            assert (done.returncode, done.stderr) == (0, "")
            kept = json.loads(done.stdout)
            assert (kept["channel"], kept["event"], kept["offset"]) == ("kept1", "made", 1)
            heard = [await anext(messages) for messages in listening]
        assert [message.data for message in heard] == [{"n": 1}, {"n": 2}] * 2
        position = Position(1, kept["epoch"])
        assert [message.position for message in heard] == [None, position] * 2
        assert await asyncio.to_thread(stopped, process) == ""


async def test_a_channel_that_keeps_history_is_refused_without_its_rule(broker: str) -> None:
    async with Publisher(broker, channels=[KEPT]) as publisher:
        await publisher.publish("kept1", "made", 1)
    text = "'kept1' keeps history, and a message without a number is an error there"
    for app, advice in (
        ((), "name the application, as --app MODULE:APP, whose rule says how much"),
        (("--app", f"{CREW}:in_memory"), f"{CREW}:in_memory has no rule that says how much"),
    ):
        publish = ("publish", "--broker", broker, *app, "kept1", "made", "2")
        done = await asyncio.to_thread(run, *publish)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"Error: {text}: {advice}\n"


def test_the_same_key_is_one_message(broker: str) -> None:
    publish = ("publish", "--broker", broker, "--app", APP, "--key", "a", "kept1", "made")
    first, again = run(*publish, "1"), run(*publish, "1")
    assert first.returncode == again.returncode == 0
    assert first.stdout == again.stdout
    other = run(*publish, "2")
    assert (other.returncode, other.stdout) == (1, "")
    assert "key" in other.stderr


def test_on_a_terminal_it_says_where_the_message_is(broker: str) -> None:
    with Terminal("publish", "--broker", broker, "--app", APP, "kept1", "m\x07", "1") as terminal:
        assert terminal.wait() == 0
    assert terminal.text == "published m\\x07 to kept1, at offset 1\n"
    with Terminal("publish", "--broker", broker, "news", "made", "1") as terminal:
        assert terminal.wait() == 0
    assert terminal.text == "published made to news\n"


def test_a_broker_that_is_away_is_told_in_a_sentence() -> None:
    done = run("publish", "--broker", NEVER, "news", "made", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the broker is away: Redis at 127.0.0.1:1")
    assert done.stderr.count("\n") == 1


def test_a_broker_that_does_not_answer_is_told_within_the_timeout(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    server.pause()
    begun = time.monotonic()
    done = run("publish", "--broker", server.url, "news", "made", "1", "--timeout", "0.5")
    assert (done.returncode, done.stdout) == (1, "")
    text = "the broker did not answer within 0.5 seconds; --timeout gives it more"
    assert done.stderr == f"Error: {text}\n"
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--broker", "memory://"], "memory:// is of one process, and nobody would get a message"),
        (["--broker", "pigeon://here"], "no broker for the scheme 'pigeon'"),
        (["ws://localhost", "--app", APP], "--app is for --broker: a server knows its own rules"),
        (["--broker", NEVER, "--key", "\udcff"], "'\\udcff' is not UTF-8"),
        (["--broker", NEVER, "--timeout", "0"], "Invalid value for '--timeout'"),
    ],
)
def test_an_argument_that_is_none_is_told_in_a_sentence(arguments: list[str], text: str) -> None:
    done = CliRunner().invoke(openapi, ["publish", *arguments, "news", "made", "1"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert text in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--broker", NEVER, "--app", f"{CREW}:nothing"], f"--app: {CREW} has no 'nothing'"),
        (["--broker", NEVER, "--app", f"{CREW}:without_manager"], "has no SocketsManager: name"),
        (
            ["--broker", NEVER, "--app", f"{CREW}:two_managers"],
            "has 2 managers, in app['one'] and app['other']: name an application with one",
        ),
    ],
)
def test_an_application_without_its_rules_is_told_in_a_sentence(
    arguments: list[str], text: str
) -> None:
    done = run("publish", *arguments, "news", "made", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_of_its_arguments_none_may_be_missing(broker: str) -> None:
    done = CliRunner().invoke(openapi, ["publish", "--broker", broker, "news", "made"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Missing argument 'JSON'" in done.stderr


def test_an_application_that_fails_is_told() -> None:
    done = run("publish", "--broker", NEVER, "--app", "tests/cli/app.py:fails", "a", "b", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "LookupError: no settings" in done.stderr


async def test_through_a_server_a_key_is_a_key_too() -> None:
    with started("serve", "tests/cli/app.py:create_app", "--port", "0", "-q") as process:
        url = line(process)["url"] + "/stream"
        async with connect(url) as client, client.subscribe("news") as news:
            for _ in range(2):
                done = await asyncio.to_thread(run, "publish", url, "news", "a", "1", "--key", "k")
                assert done.returncode == 0
            await client.call("publish", {"channel": "news", "event": "last", "data": 1})
            assert [(await anext(news)).event for _ in range(2)] == ["a", "last"]
        stopped(process)
