"""A node of a cluster: a connection for commands, and one for messages where it has channels."""

import asyncio
import time
from collections.abc import Callable, Collection
from secrets import token_hex
from typing import Final

from redis.exceptions import MovedError

from openapi.errors import BrokerUnavailable
from openapi.ws.broker import Outage
from openapi.ws.brokers.redis.connection import Answer, Connect
from openapi.ws.brokers.redis.link import Link
from openapi.ws.brokers.redis.names import Names, slot_of
from openapi.ws.brokers.redis.reader import Reader, Receive, Verbs
from openapi.ws.brokers.redis.topology import QUESTIONS, At, Topology

__all__ = ["PUBLISH", "Node"]

PUBLISH: Final = b"SPUBLISH"
_VERBS: Final = Verbs(b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"smessage")


class Node:
    """A node, connected from the beginning, and read from as soon as it has a partition.

    ``changed`` is called when one of its connections is up, and when it is so no more; ``lost``
    with a bus channel that is another node's now, and with the node's word for where it is, if it
    said so. The others are as in :class:`Link` and :class:`Reader`.
    """

    def __init__(
        self,
        at: At,
        connect: Connect,
        *,
        names: Names,
        receive: Receive,
        missed: Callable[[Collection[bytes]], object],
        changed: Callable[[], object],
        lost: Callable[["Node", bytes, MovedError | None], object],
        probe_interval: float,
        timeout: float,
    ) -> None:
        self.at: Final = at
        self.partitions: Final[set[int]] = set()
        """Those that it has."""
        self._names = names
        self._lost = lost
        self._timeout = timeout
        self._token = token_hex(8)
        self._changed = changed
        self._faulty: Outage | None = None
        self._probed = -1  # the partition that has the probe; one there is, or will be
        self.link: Final = Link(
            f"Redis at {at} (commands)",
            connect,
            timeout=timeout,
            cluster=True,
            changed=self._link_changed,
        )
        self.reader: Final = Reader(
            f"Redis at {at} (messages)",
            connect,
            verbs=_VERBS,
            receive=receive,
            missed=missed,
            probe=self._probe,
            probe_channel=b"",
            probe_interval=probe_interval,
            timeout=timeout,
            changed=changed,
            moved=self._moved,
            slot=slot_of,
        )
        self.link.start()

    @property
    def begins(self) -> bool:
        """Whether it is being connected for the first time, and nothing has gone wrong yet."""
        return self.link.begins or self.reader.begins

    @property
    def outage(self) -> Outage | None:
        """Whether it is away, or says that it cannot be used."""
        return self.link.outage or self.reader.outage or self._faulty

    @property
    def sure(self) -> bool:
        """Whether it is there, and has not said that it cannot be used."""
        return self.link.up and (self.reader.up or not self.partitions) and self._faulty is None

    def add(self, partition: int) -> None:
        """It has a partition."""
        self.partitions.add(partition)
        if self._probed not in self.partitions:
            self._probe_in(partition)
        self.reader.start()

    def remove(self, partition: int) -> None:
        """It has a partition no more."""
        self.partitions.discard(partition)
        if self._probed == partition and self.partitions:
            self._probe_in(min(self.partitions))

    async def open(self, patience: float) -> None:
        """Wait until it is connected, for so many seconds at most. Raises DeclarationError."""
        loop = asyncio.get_running_loop()
        due = loop.time() + patience
        await self.link.open(patience)
        await self.reader.open(max(0.0, due - loop.time()))

    async def leave(self) -> None:
        """Disconnect when what is under way has its answers: it has nothing of ours any more."""
        await self.reader.aclose()
        await self.link.finish()
        await self.link.aclose()

    async def aclose(self) -> None:
        """Disconnect."""
        await self.reader.aclose()
        await self.link.aclose()

    async def topology(self) -> Topology:
        """Who has which slot, as it says. Raises what :func:`~.topology.ask` does."""
        answers = await asyncio.gather(*(self.link.call(*each) for each in QUESTIONS))
        topology = Topology.read(*answers, asked=self.at)
        if topology.ok:
            self._faulty = None
        elif self._faulty is None:
            reason = f"Redis at {self.at}: it says that the cluster is down"
            self._faulty = Outage(time.time(), reason)
        return topology

    def _link_changed(self) -> None:
        self._faulty = None  # it is found out anew
        self._changed()

    def _probe_in(self, partition: int) -> None:
        self._probed = partition
        self.reader.probe_by(self._names.probe(partition, self._token))

    async def _probe(self, channel: bytes, message: bytes) -> Answer:
        """See :class:`Reader`. It goes to this node, and no other."""
        try:
            return await self.link.call(PUBLISH, channel, message)
        except MovedError as exc:
            self._lost(self, channel, exc)
            raise BrokerUnavailable from exc

    def _moved(self, bus: bytes, exc: MovedError | None) -> None:
        self._lost(self, bus, exc)
