"""A cluster: a connection for commands and one for messages to each node that has slots of ours.

Who has which slot is asked of the nodes that are known, and again when one of them says that it has
a slot no more, or is away. A channel is where its partition is (:mod:`~.names`); where that moves,
its calls and its messages move along.

What a node that is gone has not handed on to the one that takes its place is lost. So a stream gets
a new epoch wherever it has another server, also where its slot was only moved and nothing is lost:
nobody can tell the one from the other in time.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from redis.exceptions import AskError, ClusterDownError, MovedError

from openapi.errors import BrokerUnavailable, DeclarationError
from openapi.protocol.backoff import delays
from openapi.ws.broker import Outage
from openapi.ws.brokers.redis.connection import Answer, Connection
from openapi.ws.brokers.redis.link import Link
from openapi.ws.brokers.redis.names import PARTITIONS, SLOTS, Names, slot_of
from openapi.ws.brokers.redis.node import PUBLISH, Node
from openapi.ws.brokers.redis.partition import Partition, Send
from openapi.ws.brokers.redis.reader import Moved, Receive
from openapi.ws.brokers.redis.scripts import Script
from openapi.ws.brokers.redis.servers import Servers
from openapi.ws.brokers.redis.topology import At, Topology, ask
from openapi.ws.brokers.supervision import Supervisor

__all__ = ["Cluster"]

#: Nodes that are asked at a time who has which slot, and more if they have not said that they can
#: be used.
_ASKED: Final = 3
_ASKED_AT_MOST: Final = 16
#: The ceiling of the first pause before they are asked again, and of the longest: seconds.
_FIRST: Final = 0.05
_CAP: Final = 1.0
#: After so many seconds in which nothing changed, the pauses begin anew.
_CALM: Final = 1.0
#: How many nodes a subscription may be sent to in turn.
_TURNS: Final = 5


class Cluster(Servers):
    """See :class:`Servers`. ``seeds`` are some of its nodes; ``connection`` makes one to any node.

    The nodes are asked who has what at least every ``probe_interval`` seconds, too.
    """

    publish = PUBLISH

    def __init__(
        self,
        seeds: Sequence[At],
        connection: Callable[[str, int], Connection],
        *,
        prefix: str,
        receive: Receive,
        missed: Callable[[Collection[str] | None], object],
        probe_interval: float,
        timeout: float,
    ) -> None:
        self.names = Names(prefix, partitions=PARTITIONS)
        self._seeds = seeds
        self._connection = connection
        self._receive = receive
        self._missed = missed
        self._probe_interval = probe_interval
        self._timeout = timeout
        self._nodes: dict[At, Node] = {}
        self._partitions = [
            Partition(number, moved=self._follow, asked=self._asked, timeout=timeout)
            for number in range(PARTITIONS)
        ]
        self._of_slot = {self.names.slot(each.number): each for each in self._partitions}
        self._topology: Topology | None = None
        self._lacking: float | None = None  # since when slots are nobody's
        self._hint: At | None = None  # who knows best
        self._stale = asyncio.Event()
        self._closed = False
        self._leaving: dict[Node, asyncio.Task[None]] = {}  # nodes that have nothing of ours
        where = ", ".join(map(str, seeds))
        self._owner = Supervisor(
            f"Redis Cluster at {where}",
            self._keep,
            final=lambda exc: isinstance(exc, DeclarationError),
        )

    @property
    def outage(self) -> Outage | None:
        """See :attr:`Servers.outage`: which nodes are away, and how many slots they have."""
        topology = self._topology
        if topology is None:
            return self._owner.outage
        away = [
            Outage(each.since, f"{each.reason} ({topology.slots(node.at)} of {SLOTS} slots)")
            for node in self._nodes.values()
            if (each := node.outage) is not None
        ]
        if self._lacking is not None:
            reason = f"{self._owner.name}: {topology.unassigned} of {SLOTS} slots are nobody's"
            away.append(Outage(self._lacking, reason))
        if not away:
            return self._owner.outage
        return Outage(min(each.since for each in away), "; ".join(each.reason for each in away))

    async def open(self, patience: float) -> None:
        """See :meth:`Servers.open`."""
        loop = asyncio.get_running_loop()
        due = loop.time() + patience
        await self._owner.open(patience)
        for node in tuple(self._nodes.values()):  # all of them have begun
            await node.open(max(0.0, due - loop.time()))

    async def aclose(self) -> None:
        """See :meth:`Servers.aclose`."""
        self._closed = True
        await self._owner.aclose()
        for partition in self._partitions:
            partition.node = None
        leaving = tuple(self._leaving.values())
        for node in (*self._nodes.values(), *self._leaving):
            await node.aclose()
        self._nodes.clear()
        if leaving:
            await asyncio.wait(leaving)

    async def call(self, channel: str, *command: bytes) -> Answer:
        """See :meth:`Servers.call`."""

        def send(link: Link, *, asking: bool) -> Awaitable[Answer]:
            return link.call(*command, asking=asking)

        return await self._call(channel, send)

    async def run_script(
        self, channel: str, script: Script, keys: Sequence[bytes], *args: bytes
    ) -> Answer:
        """See :meth:`Servers.run_script`."""

        def send(link: Link, *, asking: bool) -> Awaitable[Answer]:
            return link.run_script(script, keys, *args, asking=asking)

        return await self._call(channel, send)

    async def subscribe(self, channel: str) -> None:
        """See :meth:`Servers.subscribe`."""
        partition = self._partitions[self.names.partition(channel)]
        bus = self.names.bus(channel)
        partition.wanted.add(bus)
        partition.asking.add(bus)
        try:
            async with asyncio.timeout(self._timeout):
                await self._subscribe(partition, bus)
        except (BrokerUnavailable, DeclarationError, TimeoutError) as exc:
            self.unsubscribe(channel)
            raise BrokerUnavailable from exc
        finally:
            partition.asking.discard(bus)

    def unsubscribe(self, channel: str) -> None:
        """See :meth:`Servers.unsubscribe`."""
        partition = self._partitions[self.names.partition(channel)]
        bus = self.names.bus(channel)
        partition.wanted.discard(bus)
        partition.lost.discard(bus)
        if partition.node is not None:
            partition.node.reader.forget(bus)

    async def _call(self, channel: str, send: Send) -> Answer:
        try:
            return await self._partitions[self.names.partition(channel)].call(send)
        except BrokerUnavailable as exc:
            if isinstance(exc.__cause__, ClusterDownError):
                self._stale.set()
            raise

    async def _subscribe(self, partition: Partition, bus: bytes) -> None:
        for _ in range(_TURNS):
            node = partition.node
            if node is None:
                break
            if node.begins:
                await node.open(self._timeout)
            if not node.link.up:
                break  # it may be stuck, which the reader does not see
            partition.lost.discard(bus)
            try:
                await node.reader.want(bus)
            except Moved:
                continue  # it was said where to
            if partition.node is node and bus not in partition.lost:
                return
        raise BrokerUnavailable

    # --- who has what -----------------------------------------------------------------------------

    async def _keep(self, up: Callable[[], None]) -> None:
        """Know who has which slot, for as long as anybody says it."""
        loop = asyncio.get_running_loop()
        pauses = delays(random.random, first=_FIRST, cap=_CAP)
        self._apply(await self._ask())
        up()
        while True:
            since = loop.time()
            if self._is_whole:
                with suppress(TimeoutError):  # then a failover may have gone unseen
                    async with asyncio.timeout(self._probe_interval):
                        await self._stale.wait()
            if loop.time() - since >= _CALM:
                pauses = delays(random.random, first=_FIRST, cap=_CAP)
            await asyncio.sleep(next(pauses))
            self._stale.clear()
            self._apply(await self._ask())

    async def _ask(self) -> Topology:
        """The newest of what some nodes say. Raises what is wrong where none does."""
        hint, self._hint = self._hint, None
        up = [node for node in self._nodes.values() if node.link.up]
        random.shuffle(up)
        up.sort(key=lambda node: (node.at != hint, node.sure))
        unsure = sum(not node.sure for node in up)
        asked = up[: min(max(unsure, _ASKED), _ASKED_AT_MOST)]
        said = await self._said(node.topology for node in asked)
        if not any(isinstance(each, Topology) for each in said):
            known = self._topology.nodes if self._topology is not None else frozenset()
            said = await self._said(
                partial(ask, self._connection(*at), at) for at in {*known, *self._seeds}
            )
        return _newest(said)

    async def _said(
        self, questions: Iterable[Callable[[], Awaitable[Topology]]]
    ) -> Sequence[Topology | BaseException]:
        return await asyncio.gather(*map(self._in_time, questions), return_exceptions=True)

    async def _in_time(self, question: Callable[[], Awaitable[Topology]]) -> Topology:
        try:
            async with asyncio.timeout(self._timeout):
                return await question()
        except TimeoutError:
            raise ConnectionError(f"no answer within {self._timeout:g} s") from None

    def _apply(self, topology: Topology) -> None:
        """Have everything where it is said to be."""
        self._topology = topology
        if not topology.unassigned:
            self._lacking = None
        elif self._lacking is None:
            self._lacking = time.time()
        for partition in self._partitions:
            at = topology.owner(self.names.slot(partition.number))
            self._place(partition, None if at is None else self._node(at))
            if partition.node is not None and partition.lost:
                partition.node.reader.adopt(partition.lost - partition.asking)
                partition.lost.clear()
        for node in tuple(self._nodes.values()):
            if not node.partitions:
                self._drop(node)

    @property
    def _is_whole(self) -> bool:
        """Whether all is as it should be; otherwise it is asked again and again."""
        return self._lacking is None and all(node.sure for node in self._nodes.values())

    def _node(self, at: At) -> Node:
        if self._closed:
            raise BrokerUnavailable
        node = self._nodes.get(at)
        if node is None:
            node = self._nodes[at] = Node(
                at,
                lambda: self._connection(*at),
                names=self.names,
                receive=self._receive,
                missed=self._missed_here,
                changed=self._stale.set,
                lost=self._lost,
                probe_interval=self._probe_interval,
                timeout=self._timeout,
            )
        return node

    def _drop(self, node: Node) -> None:
        """It has nothing of ours any more."""
        del self._nodes[node.at]
        task = asyncio.get_running_loop().create_task(node.leave())
        self._leaving[node] = task
        task.add_done_callback(lambda _: self._leaving.pop(node))

    def _place(self, partition: Partition, node: Node | None) -> None:
        before = partition.node
        if before is node:
            return
        partition.node = node
        if before is not None:
            before.remove(partition.number)
            for bus in partition.wanted:
                before.reader.forget(bus, Moved())
        if node is None:
            partition.lost.update(partition.wanted)
        else:
            node.add(partition.number)
            node.reader.adopt(partition.wanted - partition.asking)
            partition.lost.clear()

    def _follow(self, partition: Partition, node: Node, exc: MovedError) -> None:
        """A node says who has a partition now. There may be more to it, so all is asked anew."""
        if partition.node is node:
            self._hint = node.at.told(exc.host, exc.port)
            self._place(partition, self._node(self._hint))
        self._stale.set()

    def _asked(self, node: Node, exc: AskError) -> Node:
        """A node says who has some keys of a partition already."""
        return self._node(node.at.told(exc.host, exc.port))

    def _lost(self, node: Node, bus: bytes, exc: MovedError | None) -> None:
        """A node has let go of a bus channel."""
        partition = self._of_slot[slot_of(bus)]
        if bus in partition.wanted and partition.node is node:
            partition.lost.add(bus)
        if exc is not None:
            self._follow(partition, node, exc)
        self._stale.set()

    def _missed_here(self, buses: Collection[bytes]) -> None:
        self._missed([self.names.channel_of(bus) for bus in buses])


def _newest(said: Sequence[Topology | BaseException]) -> Topology:
    """The newest of some answers. Raises what is wrong where all failed, what is final first."""
    topologies = [each for each in said if isinstance(each, Topology)]
    if topologies:
        return max(topologies, key=lambda each: each.weight)
    failed = [each for each in said if isinstance(each, Exception)]
    raise next((each for each in failed if isinstance(each, DeclarationError)), failed[0])
