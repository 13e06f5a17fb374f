"""What docs/how-to/workers.md and docs/how-to/publish-from-outside.md show, done as they say."""

import asyncio
import os
import shlex
import signal
import sys

import pytest

import docs.examples.howto.publish_from_outside as outside
from openapi.client import connect
from openapi.errors import BrokerUnavailable
from openapi.ws import Publisher
from tests.cli.process import DEADLINE, ENVIRONMENT, ROOT, Terminal, line, run, started
from tests.cli.test_workers import one_on_each
from tests.servers.fixtures import StartValkey
from tests.servers.valkey import ValkeyServer

WORKERS = "openapi serve docs.examples.howto.workers:create_app --workers 2"
PLAIN = """openapi publish --broker redis://localhost news made '{"n": 1}'"""
KEPT = """openapi publish --broker redis://localhost --app docs.examples.howto.publish_from_outside:create_app orders:7 paid '{"id": "a", "cents": 1200}'"""  # noqa: E501 - as it is on the page
PIPED = "openapi publish --broker redis://localhost news made - < message.json | cat"


def shown(page: str, command: str) -> str:
    """What a page shows for a command."""
    text = (ROOT / "docs/how-to" / page).read_text("utf-8")
    assert f"$ {command}\n" in text
    return text.partition(f"$ {command}\n")[2].partition("```")[0]


def arguments(command: str, broker: str) -> list[str]:
    return shlex.split(command.replace("redis://localhost", broker))[1:]


@pytest.fixture
def broker(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(ENVIRONMENT, "BROKER", valkey.url)
    monkeypatch.setattr(outside, "BROKER", valkey.url)
    return valkey.url


class TestWorkers:
    def test_it_shows_what_the_page_says_and_ctrl_c_stops_them_all(self, broker: str) -> None:
        with Terminal(*arguments(WORKERS, broker), "--port", "0") as terminal:
            terminal.wait_for("Ctrl-C stops")
            address = terminal.text.split("http://")[1].split()[0]
            rows = [row.rstrip() for row in terminal.text.splitlines()]
            page = shown("workers.md", WORKERS).replace("127.0.0.1:8080", address)
            assert rows == page.splitlines()
            terminal.press_ctrl_c()
            assert terminal.wait() == 0
        assert terminal.text.count("stopping; Ctrl-C again does not wait") == 1
        assert "Traceback" not in terminal.text

    async def test_the_workers_hear_of_each_other(self, broker: str) -> None:
        with started(*arguments(WORKERS, broker), "--port", "0", "--quiet") as process:
            said = line(process)
            async with one_on_each(said["url"], said["workers"]) as clients:
                one, other = clients.values()
                async with one.subscribe("news") as news:
                    await other.call("publish", {"channel": "news", "event": "a", "data": 1})
                    assert (await anext(news)).data == 1
            for pid in (process.pid, *said["workers"]):  # as systemd does
                os.kill(pid, signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, DEADLINE) == 0


class TestPublishing:
    @pytest.mark.parametrize("command", [PLAIN, KEPT])
    def test_the_command_shows_what_the_page_says(self, broker: str, command: str) -> None:
        with Terminal(*arguments(command, broker)) as terminal:
            assert terminal.wait() == 0
        assert terminal.text == shown("publish-from-outside.md", command)

    def test_in_a_pipe_it_is_a_line_of_json(self, broker: str) -> None:
        command = arguments(PIPED.partition(" < ")[0], broker)
        done = run(*command, input='{"n": 1}')
        assert done.stdout == shown("publish-from-outside.md", PIPED)

    async def test_a_script_publishes_what_is_kept(self, broker: str) -> None:
        script = "docs.examples.howto.publish_from_outside"
        publishing = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", script, "7", "a", "1200"), cwd=ROOT, env=ENVIRONMENT
        )
        assert await publishing.wait() == 0
        target = "docs.examples.howto.publish_from_outside:create_app"
        with started("serve", target, "--port", "0", "--quiet") as process:
            async with connect(line(process)["url"] + "/stream") as client:
                page = await client.history("orders:7")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, DEADLINE) == 0
        assert [(each.event, each.data) for each in page.messages] == [
            ("paid", {"id": "a", "cents": 1200})
        ]

    async def test_what_is_tried_again_is_published_once(self, start_valkey: StartValkey) -> None:
        server = start_valkey(appendonly=True)
        payment = outside.Payment("a", 1200)
        async with Publisher(server.url, channels=outside.CHANNELS) as publisher:
            first = await outside.surely(publisher, "7", payment)
            server.kill()
            with pytest.raises(BrokerUnavailable):
                await publisher.publish_once("orders:7", "paid", payment, key="a")
            trying = asyncio.create_task(outside.surely(publisher, "7", payment))
            server.start()
            assert await trying == first
            last = await publisher.publish("orders:7", "last", payment)
        assert first is not None
        assert last is not None
        assert (first.offset, last.offset) == (1, 2)
