"""The servers that tests start: what is done to them is done, and none is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nats as nats_client
import psutil
import pytest
from redis.exceptions import MovedError, RedisError

from tests.servers.cluster import ValkeyCluster
from tests.servers.fixtures import StartNats, StartValkey
from tests.servers.nats import NatsServer
from tests.servers.process import NotReady, Server
from tests.servers.valkey import ValkeyServer

ROOT = Path(__file__).parents[2]


def test_a_server_that_keeps_nothing_has_nothing_when_it_was_killed(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey()
    url = server.url
    server.execute("SET", "k", "v")
    server.kill()
    with pytest.raises(RedisError):
        server.execute("GET", "k")
    server.start()
    assert server.execute("GET", "k") is None
    assert server.url == url


def test_a_server_that_writes_everything_down_has_it_when_it_was_killed(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey(appendonly=True)
    server.execute("SET", "k", "v")
    server.kill()
    server.start()
    assert server.execute("GET", "k") == "v"


def test_a_server_that_saves_has_it_when_it_was_stopped(start_valkey: StartValkey) -> None:
    server = start_valkey(save="3600 1")
    server.execute("SET", "k", "v")
    server.stop()
    server.start()
    assert server.execute("GET", "k") == "v"


def test_a_server_that_is_paused_is_there_and_goes_on(start_valkey: StartValkey) -> None:
    server = start_valkey()
    server.pause()
    assert psutil.Process(server.pid).status() == psutil.STATUS_STOPPED
    server.resume()
    assert server.execute("ECHO", "here") == "here"


def test_the_connection_of_the_test_is_no_client(valkey: ValkeyServer) -> None:
    assert valkey.clients() == []


@pytest.mark.parametrize("test", ["one", "next"])
def test_a_shared_server_is_empty_for_each_test(valkey: ValkeyServer, test: str) -> None:
    assert valkey.execute("DBSIZE") == 0
    valkey.execute("SET", test, "v")


def test_a_password_is_wanted(start_valkey: StartValkey) -> None:
    server = start_valkey(password="secret")
    assert server.url == f"redis://:secret@127.0.0.1:{server.port}"
    assert server.execute("PING")


def test_a_server_that_does_not_start_says_why() -> None:
    server = ValkeyServer("--no-such-option", "1")
    with pytest.raises(NotReady, match="no-such-option"), server:
        pass
    assert not server.folder.exists()


async def test_what_jetstream_kept_outlives_its_server(start_nats: StartNats) -> None:
    server = start_nats()
    for end in (server.stop, server.kill):
        async with await nats_client.connect(server.url) as client:
            await client.jetstream().add_stream(name="S", subjects=["s"])
        end()
        server.start()
        async with await nats_client.connect(server.url) as client:
            assert [each.config.name for each in await client.jetstream().streams_info()] == ["S"]


async def test_a_server_may_have_a_configuration(start_nats: StartNats) -> None:
    config = "authorization { user: ada, password: secret }"
    server = start_nats(config=config, jetstream=False, user="ada", password="secret")
    assert server.url == f"nats://ada:secret@127.0.0.1:{server.port}"
    async with await nats_client.connect(server.url) as client:
        assert client.is_connected


def test_a_slot_moves_with_its_keys(cluster: ValkeyCluster) -> None:
    slot = cluster.slot_of("k")
    source = cluster.node_of(slot)
    source.execute("SET", "k", "v")
    for move in (cluster.move_slot, cluster.migrate_slot):
        source = cluster.node_of(slot)
        to = next(node for node in cluster.nodes if node is not source)
        move(slot, to)
        assert cluster.node_of(slot) is to
        assert to.execute("GET", "k") == "v"
        with pytest.raises(MovedError):
            source.execute("GET", "k")


@pytest.mark.parametrize("kind", [ValkeyServer, NatsServer])
def test_servers_die_with_tests_that_are_killed_where_the_system_sees_to_it(
    kind: type[Server],
) -> None:
    program = (
        f"from {kind.__module__} import {kind.__name__} as Server\n"
        "running, paused = Server(), Server()\n"
        "for each in (running, paused): each.start()\n"
        "paused.pause()\n"
        "for each in (running, paused): print(each.pid, each.folder, flush=True)\n"
        "input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        lines = [tests.stdout.readline().split() for _ in range(2)]
        servers = [psutil.Process(int(pid)) for pid, _ in lines]
        tests.send_signal(signal.SIGKILL)
    if sys.platform != "linux":
        for server in servers:
            server.kill()
    while not all(map(has_ended, servers)):  # for as long as the test may take
        time.sleep(0.01)
    for _, folder in lines:
        shutil.rmtree(folder)


def has_ended(server: psutil.Process) -> bool:
    """Whether nothing of a process is left but that nobody has asked how it ended."""
    return not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
