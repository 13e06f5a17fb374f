"""Redis brokers as nodes of one world: a real cluster is between them, and a gate before each node.

The nodes announce the ports of their gates, so whoever goes by what they say goes through these. A
gate that is shut refuses connections; one that is stuck takes them, and carries nothing.
"""

import asyncio
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from openapi.ws.broker import Broker
from openapi.ws.brokers.redis import RedisBroker
from openapi.ws.brokers.redis.names import PARTITIONS, Names
from tests.servers.cluster import ValkeyCluster
from tests.servers.process import HOST, free_port
from tests.ws.broker_nodes import Clock, Node, World
from tests.ws.brokers.stage import PATIENCE

__all__ = ["NAMES", "ClusterWorld", "Gate", "Gates", "brokers", "slot_of"]

NAMES: Final = Names("openapi", partitions=PARTITIONS)

_BUFFER: Final = 64 * 1024


def slot_of(channel: str) -> int:
    """The slot of the partition of a channel."""
    return NAMES.slot(NAMES.partition(channel))


@asynccontextmanager
async def brokers(url: str, count: int = 1, **options: Any) -> AsyncIterator[list[Node]]:
    """Brokers of their own on a cluster, open."""
    nodes = [Node(RedisBroker(url, **options), PATIENCE) for _ in range(count)]
    for node in nodes:
        await node.open()
    yield nodes
    for node in nodes:
        await node.broker.aclose()


class Gate:
    """A relay on a port of its own to a port of loopback."""

    def __init__(self, target: int, port: int) -> None:
        self.target: Final = target
        self.port: Final = port
        self._ends: set[StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._going = asyncio.Event()
        self._going.set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Let all through. Harmless when it is open."""
        self._going.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, HOST, self.port)

    async def shut(self) -> None:
        """Let nobody through, and end all connections. Harmless when it is shut."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._going.set()
        for end in self._ends:
            end.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stick(self) -> None:
        """Carry nothing until it is opened."""
        self._going.clear()

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ends.add(writer)
        there, back = await asyncio.open_connection(HOST, self.target)
        self._ends.add(back)
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        self._ends -= {writer, back}
        for end in (writer, back):
            with suppress(OSError):  # it was reset
                await end.wait_closed()

    async def _pump(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while data := await reader.read(_BUFFER):
                await self._going.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # either end went away
        finally:
            writer.close()


class Gates:
    """The ports of the gates of a cluster, which its nodes announce."""

    def __init__(self, cluster: ValkeyCluster) -> None:
        self.cluster: Final = cluster
        self.ports: Final = [free_port() for _ in cluster.nodes]
        for node, port in zip(cluster.nodes, self.ports, strict=True):
            node.execute("CONFIG", "SET", "cluster-announce-port", port)
        while not self._all_are_known():  # they tell each other twice a second
            time.sleep(0.01)

    def gates(self) -> Sequence[Gate]:
        """New gates, not open yet."""
        return [
            Gate(node.port, port) for node, port in zip(self.cluster.nodes, self.ports, strict=True)
        ]

    @property
    def url(self) -> str:
        """Where clients find the cluster."""
        return "redis+cluster://" + ",".join(f"{HOST}:{port}" for port in self.ports)

    def _all_are_known(self) -> bool:
        ports = {
            primary[1]
            for node in self.cluster.nodes
            for _, _, primary, *_ in node.execute("CLUSTER", "SLOTS")
        }
        return ports <= set(self.ports)


class ClusterWorld(World):
    """All of one cluster. ``options`` are those of every broker."""

    def __init__(self, gates: Gates, **options: Any) -> None:
        self.gates = gates.gates()
        self.clock = Clock()
        self._url = gates.url
        self._cluster = gates.cluster
        self._options = {"clock": self.clock, **options}

    async def brokers(self, count: int) -> list[Broker]:
        return [RedisBroker(self._url, **self._options) for _ in range(count)]

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    async def lose(self, channel: str) -> None:
        node = self._cluster.node_of(slot_of(channel))
        assert node.execute("DEL", *NAMES.stream(channel)) == 2

    async def kill(self, broker: Broker) -> None:
        # Whoever is killed says nothing; its connections end, and all that it had in mind is gone.
        # Nobody leaves when a broker is closed, so this is the same.
        await broker.aclose()

    async def away(self, *, silent: bool = False) -> None:
        for gate in self.gates:
            if silent:
                gate.stick()
            else:
                await gate.shut()

    async def back(self) -> None:
        for gate in self.gates:
            await gate.open()

    async def aclose(self) -> None:
        for gate in self.gates:
            await gate.shut()
