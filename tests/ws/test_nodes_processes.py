"""Nodes that are processes of their own, over real servers, and one that is killed."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from yarl import URL

from tests.servers.cluster import ValkeyCluster
from tests.servers.nats import NatsServer
from tests.servers.process import HOST, Server
from tests.servers.valkey import ValkeyServer
from tests.ws import node_process
from tests.ws.peer import Peer, peer


class NodeProcess(Server):
    """An application that is served, on ``broker``."""

    def __init__(self, broker: str) -> None:
        super().__init__()
        self.broker = broker

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _command(self) -> Sequence[str | Path]:
        return [sys.executable, Path(node_process.__file__), str(self.port), self.broker]

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), 1.0) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b'"broker":{"status":"up"}' in connection.makefile("rb").read()


@pytest.fixture(params=["valkey", "cluster", "shared_nats"])
def broker(request: pytest.FixtureRequest) -> str:
    """The URL of a server."""
    server: ValkeyServer | ValkeyCluster | NatsServer = request.getfixturevalue(request.param)
    return server.url


@pytest.fixture
def nodes(broker: str) -> Iterator[list[NodeProcess]]:
    """Two processes of one application."""
    with ExitStack() as stack:
        yield [stack.enter_context(NodeProcess(broker)) for _ in range(2)]


@asynccontextmanager
async def client(node: NodeProcess, user: str) -> AsyncIterator[Peer]:
    async with peer((URL(node.url) / "stream").with_query(user=user)) as connected:
        await connected.call("info")
        yield connected


async def answer(connected: Peer) -> None:
    """Answer every call of the server, as long as it lives."""
    while True:
        frame = await connected.receive()
        await connected.send({"id": frame["id"], "response": 1})


async def test_a_process_that_is_killed_is_named_and_the_others_answer(
    nodes: list[NodeProcess],
) -> None:
    one, other = nodes
    async with client(one, "anna") as near, client(other, "anna") as far, client(one, "") as asker:
        # A machine that is busy may find a node silent that is there: in the end both answer.
        whole = {"results": [1, 1], "missing": []}
        answering = [asyncio.create_task(answer(each)) for each in (near, far)]
        while await asker.call("call", {"user": "anna"}) != whole:
            pass
        while (info := await asker.call("info"))["missing"] or len(info["nodes"]) < 2:
            pass
        assert info["connections"] == 3
        assert {each["pid"] for each in info["nodes"]} == {one.pid, other.pid}

        answering[1].cancel()
        await asyncio.wait(answering[1:])
        calling = asyncio.create_task(asker.call("call", {"user": "anna"}))
        await far.receive()
        pid = other.pid
        other.kill()
        said = await calling
        assert said["results"] == [1]
        ((missing, reason),) = said["missing"]
        assert missing == pid
        assert reason.startswith("nothing was heard of it for ")
        while (info := await asker.call("info"))["missing"]:  # until it is forgotten
            assert [each["pid"] for each in info["missing"]] == [pid]
        assert [each["pid"] for each in info["nodes"]] == [one.pid]
        answering[0].cancel()
