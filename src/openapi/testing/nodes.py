"""An application on several nodes, all of them in this process.

def make_app(broker: Broker) -> web.Application:
    app = web.Application()
    app[SOCKETS] = SocketsManager(broker=broker, channels=RULES)
    ...

async with cluster(3, make_app) as nodes:
    async with nodes.node(0).connect("/stream") as ada, nodes.connect("/stream") as grace:
        await nodes.kill(1)
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeAlias

from aiohttp import web
from yarl import URL

from openapi.testing.bus import Bus
from openapi.testing.client import SocketClient, connected
from openapi.testing.link import Link, refused
from openapi.testing.server import Server, ServerState
from openapi.ws.broker import Broker
from openapi.ws.brokers.memory import MemoryBroker

__all__ = ["Cluster", "MakeApp", "Node", "cluster"]

MakeApp: TypeAlias = Callable[[Broker], web.Application | Awaitable[web.Application]]
"""Makes the application of one node, whose manager gets the broker."""

_BALANCED: Final = "cluster.test"


class Node:
    """One node: a server, and its end of the bus. It is made anew by :meth:`Cluster.start`."""

    def __init__(self, number: int, server: Server, bus: Bus) -> None:
        self.number: Final = number
        """Its place in the cluster, from 0."""
        self.server: Final = server
        """What serves it: ``await node.server.shutdown()`` ends it with grace."""
        self.bus: Final = bus

    @property
    def app(self) -> web.Application:
        """Its application."""
        return self.server.app

    @property
    def url(self) -> URL:
        """``ws://node-0.test``."""
        return self.server.url

    @property
    def alive(self) -> bool:
        """Whether it was not killed, nor shut down."""
        return self.server.state is ServerState.LISTENING

    def connect(
        self, path: str = "/stream", *, link: Link | None = None, **options: Any
    ) -> AbstractAsyncContextManager[SocketClient]:
        """Connect a client to this node: see :meth:`Server.connect`."""
        return self.server.connect(path, link=link, **options)


class Cluster:
    """The nodes of one application."""

    def __init__(self, make_app: MakeApp) -> None:
        self.url: Final = URL.build(scheme="ws", host=_BALANCED)
        """``ws://cluster.test``: each connection goes to the next node that is alive."""
        self.nodes: Final[list[Node]] = []
        """All of them, by their numbers; those that have ended too."""
        self._make_app = make_app
        self._memory = MemoryBroker(clock=asyncio.get_running_loop().time)
        self._turn = 0
        self._started = AsyncExitStack()

    def node(self, number: int) -> Node:
        """One of the nodes, which are numbered from 0. Raises IndexError where there is none."""
        if not 0 <= number < len(self.nodes):
            raise IndexError(f"there is no node {number!r}: {len(self.nodes)} are numbered from 0")
        return self.nodes[number]

    def connect(
        self, path: str = "/stream", *, link: Link | None = None, **options: Any
    ) -> AbstractAsyncContextManager[SocketClient]:
        """Connect a client to the nodes in turn: one that comes back finds one that is alive.

        The options are those of :meth:`Server.connect`.
        """
        return connected(self.url.join(URL(path)), self._find, link=link, **options)

    async def add(self) -> Node:
        """Start one more node."""
        self.nodes.append(await self._make(len(self.nodes)))
        return self.nodes[-1]

    async def kill(self, number: int) -> None:
        """End a node without a word, as if its process were killed.

        Its connections are reset, and nobody is told over the bus: the others find out. Its
        application is cleaned up all the same, so that nothing of it is left in this process.
        """
        node = self.node(number)
        node.bus.die()
        await node.server.aclose()

    async def start(self, number: int) -> Node:
        """Start a node that has ended, with a new application. Returns the new one."""
        if self.node(number).alive:
            raise ValueError(f"node {number} is alive: kill it, or shut it down, first")
        self.nodes[number] = await self._make(number)
        return self.nodes[number]

    def partition(self, *numbers: int) -> None:
        """Cut nodes off from the bus, and with it from all others, each other among them.

        Their clients stay connected, and are told that the broker is away where it is needed.
        """
        for number in numbers:
            self.node(number).bus.cut_off()

    def heal(self, *numbers: int) -> None:
        """Have nodes, by default all, reach the bus again."""
        for number in numbers or range(len(self.nodes)):
            self.node(number).bus.come_back()

    async def aclose(self) -> None:
        """End all nodes."""
        await self._started.aclose()

    async def _make(self, number: int) -> Node:
        bus = Bus(self._memory)
        made = self._make_app(bus)
        app = await made if inspect.isawaitable(made) else made
        server = Server(app, host=f"node-{number}.test", find=self._find)
        self._started.push_async_callback(server.aclose)
        await server.start()
        return Node(number, server, bus)

    def _find(self, host: str) -> Server:
        if host != _BALANCED:
            for node in self.nodes:
                if node.url.host == host:
                    return node.server
            raise refused()
        for _ in self.nodes:
            node = self.nodes[self._turn % len(self.nodes)]
            self._turn += 1
            if node.alive:
                return node.server
        raise refused()


@asynccontextmanager
async def cluster(nodes: int, make_app: MakeApp) -> AsyncIterator[Cluster]:
    """Start so many nodes of an application: ``async with cluster(3, make_app) as nodes``.

    ``make_app`` is called for each with the broker for its manager, which knows history, keys and
    presence; it may be a coroutine function. The clock of what is kept is that of the loop, so that
    it is virtual where the loop's is.
    """
    made = Cluster(make_app)
    try:
        for _ in range(nodes):
            await made.add()
        yield made
    finally:
        await made.aclose()
