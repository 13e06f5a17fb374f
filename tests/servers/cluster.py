"""A cluster of valkey-servers: primaries that share the slots, and replicas of each if wanted.

with ValkeyCluster(replicas=1) as cluster:
    broker = RedisBroker(cluster.url)
    cluster.move_slot(slot_of("a"), cluster.nodes[2])
    cluster.kill(cluster.node_of(slot_of("b")))     # its replica takes over in a second or two
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

from redis.exceptions import RedisError

from tests.servers.process import HOST, NotReady, free_port
from tests.servers.valkey import ValkeyServer

__all__ = ["SLOTS", "ClusterNode", "ValkeyCluster"]

SLOTS: Final = 16_384

#: Seconds until those who do not answer are taken for dead.
_NODE_TIMEOUT: Final = 1.0
#: Seconds in which nodes surely agree. They take two to begin, whatever they know.
_PATIENCE: Final = 30.0
_PAUSE: Final = 0.01
#: Keys that are moved at a time.
_BATCH: Final = 100


class ClusterNode(ValkeyServer):
    """One node of a cluster."""

    def __init__(self, *options: str, **kept: Any) -> None:
        super().__init__(*options, **kept)
        self.bus_port = free_port()
        self.id = ""
        """What the others know it by, as soon as it has run."""

    def start(self) -> None:
        super().start()
        self.id = self.execute("CLUSTER", "MYID")

    def _command(self) -> Sequence[str | Path]:
        return [
            *super()._command(),
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)),
            *("--cluster-node-timeout", str(int(_NODE_TIMEOUT * 1000))),
            *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync", "yes"),
        ]


class ValkeyCluster:
    """Three primaries, or another number of them, with so many replicas each.

    ``options``, ``appendonly`` and ``save`` are those of every node. :attr:`nodes` has the
    primaries first, with the slots in equal parts, in their order, then the replicas in turn.
    """

    def __init__(
        self,
        *options: str,
        primaries: int = 3,
        replicas: int = 0,
        appendonly: bool = False,
        save: str = "",
    ) -> None:
        self.primaries: Final = primaries
        self.nodes: Final = [
            ClusterNode(*options, appendonly=appendonly, save=save)
            for _ in range(primaries * (1 + replicas))
        ]

    @property
    def url(self) -> str:
        """Where clients find it: the first node."""
        return self.nodes[0].url.replace("redis://", "redis+cluster://")

    def start(self) -> None:
        """Start all nodes, make them a cluster, and return when each of them says it is one.

        Raises NotReady.
        """
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        for number, node in enumerate(self.nodes[: self.primaries]):
            low, high = (SLOTS * n // self.primaries for n in (number, number + 1))
            node.execute("CLUSTER", "ADDSLOTSRANGE", low, high - 1)
            node.execute("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in others:
            first.execute("CLUSTER", "MEET", HOST, node.port, node.bus_port)
        self._until(self._all_know_each_other, "not everybody knows everybody")
        for number, node in enumerate(self.nodes[self.primaries :]):
            node.execute("CLUSTER", "REPLICATE", self.nodes[number % self.primaries].id)
        self.wait()

    def kill(self, node: ClusterNode) -> None:
        """End a node at once. :meth:`start_again` brings it back."""
        node.kill()

    def start_again(self, node: ClusterNode) -> None:
        """Start a node that was ended, and return when the cluster is whole."""
        node.start()
        self.wait()

    def wait(self) -> None:
        """Return when all nodes that run say that the cluster is whole, and of the same slots.

        Raises NotReady.
        """
        self._until(self._is_whole, "the cluster is not whole")

    def node_of(self, slot: int) -> ClusterNode:
        """The primary that has a slot, as those who run see it."""
        owners = self._owners(self._running()[0])
        (found,) = (owner for low, high, owner in owners if low <= slot <= high)
        return next(node for node in self.nodes if node.id == found)

    def slot_of(self, key: str) -> int:
        """The slot of a key."""
        slot: int = self._running()[0].execute("CLUSTER", "KEYSLOT", key)
        return slot

    def move_slot(self, slot: int, to: ClusterNode) -> None:
        """Move a slot and its keys to another primary, key by key, as tools for clusters do.

        While it is under way, clients are asked to ask there.
        """
        source = self.node_of(slot)
        self.begin_to_move(slot, to)
        while keys := source.execute("CLUSTER", "GETKEYSINSLOT", slot, _BATCH):
            source.execute("MIGRATE", HOST, to.port, "", 0, 10_000, "KEYS", *keys)
        self.end_of_moving(slot, to)

    def begin_to_move(self, slot: int, to: ClusterNode) -> None:
        """Let the keys of a slot be in two places: new ones are made at the other primary."""
        source = self.node_of(slot)
        to.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)

    def end_of_moving(self, slot: int, to: ClusterNode) -> None:
        """Say that the other primary has the slot, and wait until everybody knows."""
        to.execute("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        for node in self._running():
            if node is not to and node in self.nodes[: self.primaries]:
                node.execute("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        self.wait()

    def migrate_slot(self, slot: int, to: ClusterNode) -> None:
        """Move a slot and its keys to another primary, as one act, which clients see at its end."""
        self.node_of(slot).execute(
            "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to.id
        )
        self._until(lambda: self.node_of(slot) is to, f"slot {slot} is not at {to}")
        self.wait()

    def flush(self) -> None:
        """Delete every key."""
        for node in self._running():
            if node.execute("ROLE")[0] == "master":
                node.execute("FLUSHALL")

    def close(self) -> None:
        """Kill all nodes and remove their folders. Harmless the second time."""
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.runs]

    def _all_know_each_other(self) -> bool:
        for node in self.nodes:
            lines = node.execute("CLUSTER", "NODES").splitlines()
            if len(lines) != len(self.nodes) or any("handshake" in line for line in lines):
                return False
        return True

    def _is_whole(self) -> bool:
        seen = set()
        for node in self._running():
            info = _fields(node.execute("CLUSTER", "INFO"))
            if info["cluster_state"] != "ok" or int(info["cluster_slots_ok"]) != SLOTS:
                return False
            replication = _fields(node.execute("INFO", "replication"))
            if replication.get("master_link_status", "up") != "up":
                return False
            seen.add(tuple(sorted(self._owners(node))))
        return len(seen) == 1

    @staticmethod
    def _owners(node: ClusterNode) -> list[tuple[int, int, str]]:
        return [(low, high, owner[2]) for low, high, owner, *_ in node.execute("CLUSTER", "SLOTS")]

    def _until(self, there: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._says(there):
            if time.monotonic() > deadline:
                infos = [node.execute("CLUSTER", "NODES") for node in self._running()]
                raise NotReady("\n".join([otherwise, *infos]))
            time.sleep(_PAUSE)

    @staticmethod
    def _says(there: Callable[[], bool]) -> bool:
        try:
            return there()
        except RedisError:  # one that has just ended, or is loading
            return False


def _fields(info: Any) -> dict[str, str]:
    if isinstance(info, dict):
        return {str(name): str(value) for name, value in info.items()}
    lines = (line.partition(":") for line in str(info).splitlines())
    return {name: value for name, _, value in lines}
