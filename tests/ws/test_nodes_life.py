"""How nodes find each other, and how long they are waited for: in virtual time, in many orders."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from openapi.errors import BrokerUnavailable, InvalidData, RpcError
from openapi.protocol.publication import Data
from openapi.ws import Limits, Position, SocketsManager
from openapi.ws.answering import Answering, Items, Work
from openapi.ws.asking import Asking, Gathered
from openapi.ws.background import Background
from openapi.ws.broker import Broker, Deliver, Outage, Supervised
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.faults import Fault, exception_of, fault_of
from openapi.ws.node_messages import (
    ALL,
    MOST_BYTES,
    VERSION,
    Answer,
    Awaiting,
    ConnectionsQuestion,
    InfoQuestion,
    Lost,
    Message,
    Question,
    Sign,
    Stop,
    Taken,
    inbox_of,
    said,
)
from openapi.ws.node_table import NodeTable
from openapi.ws.nodes import Nodes, NodeState
from openapi.ws.partial import Count, Missing, NodeInfo
from tests.shuffled import run
from tests.ws.endpoints import Endpoint, application
from tests.ws.linked import Client, Linked

INTERVAL = Limits().node_interval
STRANGER = "0123456789abcdef"


class Wire(Broker, Supervised):
    """One node's end of a memory. What it says takes a while, and may be lost."""

    def __init__(self, memory: MemoryBroker) -> None:
        self.memory = memory.sibling()
        self.cut = False
        """Nothing comes or goes, and nobody is told."""
        self.away = False
        """Everything that needs the server fails."""
        self.hangs = False
        """Everything that needs the server takes for ever."""
        self.takes = 0.001
        """Or as many seconds."""
        self.loses: set[str] = set()
        self.said: list[str] = []
        self.missed: Callable[[Collection[str] | None], object] = lambda channels: None

    @property
    def outage(self) -> Outage | None:
        return Outage(0.0, "away") if self.away else None

    def watch(self, missed: Callable[[Collection[str] | None], object]) -> None:
        self.missed = missed

    async def open(self, deliver: Deliver) -> None:
        async def hear(
            channel: str, event: str, data: object, position: Position | None = None
        ) -> None:
            if not self.cut:
                await deliver(channel, event, data, position)

        await self.memory.open(hear)

    async def publish(self, channel: str, event: str, data: object) -> None:
        await self._server()
        self.said.append(event)
        if not self.cut and event not in self.loses:
            await self.memory.publish(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        await self._server()
        await self.memory.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        await self.memory.unsubscribe(channel)

    async def aclose(self) -> None:
        await self.memory.aclose()

    async def _server(self) -> None:
        await asyncio.sleep(self.takes)
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise BrokerUnavailable("away")


class One:
    """A node, without sockets."""

    def __init__(self, memory: MemoryBroker, **limits: Any) -> None:
        self.wire = Wire(memory)
        self.sockets = SocketsManager(broker=self.wire, limits=Limits(**limits))

    @property
    def nodes(self) -> Nodes:
        assert self.sockets.node  # which makes it, the first time
        found: Nodes = vars(self.sockets)["_SocketsManager__parts"].nodes
        return found

    def knows(self, other: "One") -> bool:
        return other.sockets.node in self.nodes.table

    async def missing(self) -> list[str]:
        """Why others do not answer."""
        return [each.reason for each in (await self.sockets.connections()).missing]

    async def hear(self, event: str, data: object, channel: str = ALL) -> None:
        """Something comes over the bus."""
        await self.wire.memory.publish(channel, event, data)


def told(
    scenario: Callable[[One, One], Coroutine[Any, Any, None]], *, seeds: int = 20, **limits: Any
) -> None:
    """Run a scenario of two nodes that know each other, in many orders."""

    async def main() -> None:
        memory = MemoryBroker()
        async with One(memory, **limits).sockets, One(memory).sockets:
            pass  # others were here before
        one, other = One(memory, **limits), One(memory, **limits)
        async with one.sockets, other.sockets:
            await asyncio.gather(one.sockets.open(), other.sockets.open())
            await asyncio.sleep(1)
            assert one.knows(other)
            assert other.knows(one)
            assert (len(one.nodes.table), len(other.nodes.table)) == (1, 1)
            await scenario(one, other)
            one.wire.hangs = other.wire.hangs = False

    for seed in range(seeds):
        run(seed, main)


def sign(**changes: Any) -> object:
    """A sign of life of a stranger."""
    stranger = Sign(STRANGER, "far", 1, VERSION, INTERVAL, 5)
    return said(replace(stranger, **changes), "here")[1]


# --- signs of life ------------------------------------------------------------------------------


def test_a_node_that_is_not_heard_is_suspect_then_forgotten_and_found_again() -> None:
    async def scenario(one: One, other: One) -> None:
        other.wire.cut = True
        await asyncio.sleep(2 * INTERVAL)
        assert await one.missing() == ["it did not answer within 2 s"]
        await asyncio.sleep(2 * INTERVAL)
        (reason,) = await one.missing()
        assert reason.startswith("nothing was heard of it for ")
        await asyncio.sleep(9 * INTERVAL)
        assert not one.knows(other)
        assert await one.missing() == []
        other.wire.cut = False
        await asyncio.sleep(INTERVAL)
        assert one.knows(other)
        assert await one.missing() == []

    told(scenario)


def test_a_node_says_that_it_is_there_once_in_an_interval_and_bye_at_the_end() -> None:
    async def scenario(one: One, other: One) -> None:
        one.wire.said.clear()
        await asyncio.sleep(100 * INTERVAL)
        assert set(one.wire.said) == {"here"}
        assert 100 <= len(one.wire.said) <= 125
        await one.sockets.drain()
        assert one.wire.said[-1] == "bye"
        assert not other.knows(one)

    told(scenario, seeds=3)


def test_what_is_lost_of_the_first_words_is_made_good_within_an_interval() -> None:
    async def main() -> None:
        memory = MemoryBroker()
        one, other = One(memory), One(memory)
        one.wire.loses = other.wire.loses = {"hello"}
        async with one.sockets, other.sockets:
            await asyncio.gather(one.sockets.open(), other.sockets.open())
            await asyncio.sleep(1)
            assert not one.knows(other)
            await asyncio.sleep(INTERVAL)
            assert one.knows(other)
            assert other.knows(one)

    for seed in range(20):
        run(seed, main)


def test_whoever_has_just_come_waits_a_moment_for_those_who_are_there() -> None:
    async def main() -> None:
        memory = MemoryBroker()
        async with One(memory).sockets as there:
            await there.open()
            await asyncio.sleep(1)
            async with One(memory).sockets as new:
                info = await new.server_info(cluster=True)  # it opens the broker, too
                assert [each["id"] for each in info["nodes"]] == [new.node, there.node]

    for seed in range(50):
        run(seed, main)


def test_one_that_is_alone_asks_nobody_and_waits_for_nobody() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one = One(MemoryBroker())
        async with one.sockets:
            await one.sockets.open()
            await asyncio.sleep(1)
            one.wire.said.clear()
            before = loop.time()
            assert await one.sockets.connections() == []
            assert (one.wire.said, loop.time()) == ([], before)

    run(0, main)


@pytest.mark.parametrize("trouble", ["away", "hangs"])
def test_while_the_broker_is_away_nobody_is_forgotten(trouble: str) -> None:
    async def scenario(one: One, other: One) -> None:
        setattr(one.wire, trouble, True)
        setattr(other.wire, trouble, True)
        await asyncio.sleep(30 * INTERVAL)
        (reason,) = await one.missing()
        assert reason.startswith("the broker is away: ")
        assert one.knows(other)
        setattr(one.wire, trouble, False)
        setattr(other.wire, trouble, False)
        one.wire.missed(None)
        other.wire.missed([ALL])
        await asyncio.sleep(0.1)
        assert await one.missing() == []

    told(scenario, seeds=5)


def test_a_node_whose_broker_is_back_says_at_once_that_it_is_there() -> None:
    async def scenario(one: One, other: One) -> None:
        for missed in (None, [ALL], [inbox_of(one.sockets.node), "c"]):
            one.wire.said.clear()
            one.wire.missed(missed)
            one.wire.missed(missed)  # while it says so: once more
            await asyncio.sleep(0.1)
            assert one.wire.said == ["here", "here"]
        one.wire.missed(["c"])
        await asyncio.sleep(0.1)
        assert len(one.wire.said) == 2

    told(scenario)


def test_a_node_that_was_stopped_for_long_does_not_blame_the_others() -> None:
    async def scenario(one: One, other: One) -> None:
        # Its timers come late, and so does what it hears.
        one.nodes._due -= 20 * INTERVAL
        for node in one.nodes.table.all:
            node.heard -= 20 * INTERVAL
        await asyncio.sleep(INTERVAL)
        assert one.knows(other)

    told(scenario)


def test_a_node_joins_as_soon_as_its_broker_is_there(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        memory = MemoryBroker()
        one, other = One(memory), One(memory)
        other.wire.away = True
        async with one.sockets, other.sockets:
            await asyncio.gather(one.sockets.open(), other.sockets.open())
            await asyncio.sleep(100)
            assert other.nodes.state is NodeState.JOINING
            other.wire.away = False
            await asyncio.sleep(2.1)
            assert one.knows(other)
            assert other.knows(one)

    with caplog.at_level(logging.WARNING):
        run(1, main)
    assert caplog.records == []  # the broker has said that it is away


def test_a_node_that_cannot_say_that_it_is_here_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(one: One, other: One) -> None:
        async def fail(channel: str, event: str, data: object) -> None:
            raise LookupError("a broker with a fault")

        one.wire.memory.publish = fail  # type: ignore[method-assign]
        await asyncio.sleep(10 * INTERVAL)

    with caplog.at_level(logging.WARNING):
        told(scenario, seeds=1)
    assert [each.message for each in caplog.records] == [
        "the other nodes cannot be told that this one is here: LookupError('a broker with a fault')"
    ]


def test_a_node_ends_in_the_middle_of_whatever_it_does() -> None:
    async def main() -> None:
        one = One(MemoryBroker())
        opening = asyncio.create_task(one.sockets.open())
        await asyncio.sleep(delay)
        await one.sockets.drain()
        await opening
        assert one.nodes.state is NodeState.CLOSED

    for seed in range(40):
        delay = seed / 10_000
        run(seed, main)


def test_the_broker_may_be_away_when_a_node_says_bye() -> None:
    async def scenario(one: One, other: One) -> None:
        one.wire.away, other.wire.hangs = True, True
        await one.sockets.drain()
        await other.sockets.drain()

    told(scenario, seeds=3)


def test_whoever_says_bye_says_nothing_behind_it() -> None:
    async def scenario(one: One, other: One) -> None:
        await one.hear("hello", sign())
        await one.sockets.drain()
        assert one.wire.said[-2:] == ["here", "bye"]
        assert one.nodes._greeting == {}

    told(scenario)


def test_others_have_their_time_from_when_they_were_asked() -> None:
    async def scenario(one: One, other: One) -> None:
        one.wire.takes = other.wire.takes = 1.5
        assert await one.missing() == []

    told(scenario)


def test_what_was_answered_counts_though_asking_failed_in_the_end() -> None:
    async def scenario(one: One, other: One) -> None:
        published = one.wire.memory.publish

        async def fail(channel: str, event: str, data: object) -> None:
            await published(channel, event, data)
            await asyncio.sleep(0.1)
            raise BrokerUnavailable("the answer of the server is lost")

        one.wire.memory.publish = fail  # type: ignore[method-assign]
        assert await one.missing() == []
        one.wire.memory.publish = published  # type: ignore[method-assign]

    told(scenario)


def test_a_manager_that_has_its_broker_for_itself_says_nothing() -> None:
    async def main() -> None:
        async with SocketsManager() as sockets:
            await sockets.open()
            nodes: Nodes = vars(sockets)["_SocketsManager__parts"].nodes
            assert nodes.state is NodeState.NEW
            assert await sockets.connections() == []
            info = await sockets.server_info(cluster=True)
            assert [each["id"] for each in info["nodes"]] == [sockets.node]
            assert nodes.nobody("whatever") == Gathered()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(0, main)


# --- with clients -------------------------------------------------------------------------------


class Named(Endpoint):
    """Its user is who the URL says."""

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")


def served(
    count: int, scenario: Callable[[list[One], list[Client]], Coroutine[Any, Any, None]]
) -> None:
    """Run a scenario of nodes that have a client each, whose user is anna."""

    async def main() -> None:
        memory = MemoryBroker()
        nodes = [One(memory, ping_interval=None) for _ in range(count)]
        async with AsyncExitStack() as stack:
            clients = list[Client]()
            for node in nodes:
                app = application(Named, node.sockets)
                server = await stack.enter_async_context(Linked(app))
                clients.append(await server.connect("/stream?user=anna"))
            await asyncio.sleep(1)
            await scenario(nodes, clients)

    for seed in range(10):
        run(seed, main)


async def answering(client: Client, response: object) -> None:
    """Answer the next call of the server."""
    frame = await client.messages.get()
    client.send({"id": frame["id"], "response": response})


def test_a_node_that_died_is_named_and_the_others_answer() -> None:
    async def scenario(nodes: list[One], clients: list[Client]) -> None:
        one, other, dead = nodes
        dead.wire.cut = True
        calling = asyncio.create_task(one.sockets.call("ask", user="anna"))
        await asyncio.gather(*(answering(each, 1) for each in clients[:2]))
        replies = await calling
        assert [reply.result for reply in replies] == [1, 1]
        host, pid = socket.gethostname(), os.getpid()
        info = NodeInfo(dead.sockets.node, host, pid, 1)
        (missing,) = replies.missing
        assert missing == Missing(info, "it did not answer within 2 s")
        assert str(missing) == f"{host} ({pid}): it did not answer within 2 s"
        for found in (
            await one.sockets.connections(),
            await one.sockets.subscribe_socket("c", user="anna"),
            await one.sockets.unsubscribe_socket("c", user="anna"),
        ):
            count = found if isinstance(found, Count) else len(found)
            assert (count, found.missing) == (2, replies.missing)
        whole = await one.sockets.server_info(cluster=True)
        assert {each["id"] for each in whole["nodes"]} == {one.sockets.node, other.sockets.node}
        assert whole["missing"] == [
            {
                "id": dead.sockets.node,
                "host": host,
                "pid": pid,
                "connections": 1,
                "reason": "it did not answer within 2 s",
            }
        ]
        closed = await one.sockets.disconnect(user="anna")
        assert (closed, closed.missing) == (2, replies.missing)
        assert [await each.closed for each in clients[:2]] == [4504, 4504]

    served(3, scenario)


@pytest.mark.parametrize(
    ("timeout", "reason"),
    [(5.0, "it was not done within 7 s"), (None, "nothing was heard of it for ")],
)
def test_a_node_that_dies_while_it_works_on_a_call_is_named_in_the_end(
    timeout: float | None, reason: str
) -> None:
    async def scenario(nodes: list[One], clients: list[Client]) -> None:
        one, other = nodes
        calling = asyncio.create_task(one.sockets.call("ask", user="anna", timeout=timeout))
        await clients[1].messages.get()
        other.wire.cut = True
        await answering(clients[0], 1)
        replies = await calling
        assert [reply.result for reply in replies] == [1]
        (missing,) = replies.missing
        assert missing.reason.startswith(reason)

    served(2, scenario)


def test_an_answer_that_was_given_while_the_broker_was_away_comes_when_it_is_back() -> None:
    async def scenario(nodes: list[One], clients: list[Client]) -> None:
        one, other = nodes
        calling = asyncio.create_task(one.sockets.call("ask", user="anna"))
        await answering(clients[0], 1)
        await asyncio.sleep(1)
        other.wire.away = True
        await answering(clients[1], 2)
        await asyncio.sleep(5)
        assert not calling.done()
        other.wire.away = False
        await asyncio.sleep(1.1)
        assert calling.done()
        replies = await calling
        assert ([reply.result for reply in replies], replies.missing) == ([1, 2], ())

    served(2, scenario)


@pytest.mark.parametrize("timeout", [30.0, None])
def test_an_answer_that_was_lost_is_named_within_an_interval(timeout: float | None) -> None:
    async def scenario(nodes: list[One], clients: list[Client]) -> None:
        one, other = nodes
        other.wire.loses = {"1.answer"}
        calling = asyncio.create_task(one.sockets.call("ask", user="anna", timeout=timeout))
        for each in clients:
            await answering(each, 1)
        await asyncio.sleep(INTERVAL + 1)
        assert calling.done()
        replies = await calling
        assert [reply.result for reply in replies] == [1]
        assert [each.reason for each in replies.missing] == ["its answer was lost"]

    served(2, scenario)


def test_whoever_works_for_this_node_and_is_not_known_is_not_waited_for_without_end() -> None:
    async def scenario(nodes: list[One], clients: list[Client]) -> None:
        one, other = nodes
        calling = asyncio.create_task(one.sockets.call("ask", user="anna", timeout=None))
        for each in clients:
            await answering(each, 1)
        event, data = said(Taken(1, STRANGER))
        await one.hear(event, data, inbox_of(one.sockets.node))
        await asyncio.sleep(2 * INTERVAL)
        assert not calling.done()
        await asyncio.sleep(2 * INTERVAL)
        assert calling.done()
        replies = await calling
        assert len(replies) == 2
        (missing,) = replies.missing
        assert missing.node == NodeInfo(STRANGER, "?", 0, 0)
        assert missing.reason == "it is not known here, and has not answered for long"

    served(2, scenario)


# --- what comes over the bus --------------------------------------------------------------------


def test_what_cannot_be_read_is_ignored_and_counted_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good: Any = sign()
    rubbish: list[tuple[str, object]] = [
        ("hello", None),
        ("hello", []),
        ("hello", {**good, "more": 1}),
        ("hello", {**good, "node": "../../x"}),
        ("hello", {**good, "node": 5}),
        ("hello", {**good, "interval": 0}),
        ("hello", {**good, "interval": 1e9}),
        ("hello", {**good, "host": "x" * MOST_BYTES}),
        ("hello", object()),
        ("hello", Data(b"no JSON", None)),
        ("eval", good),
        ("", good),
        ("2.call", {"id": 1, "node": STRANGER}),
        ("1.call", {"id": 1, "node": STRANGER}),
        ("1.call", {"id": "x", "node": STRANGER, "method": "m", "payload": 1, "timeout": 1}),
        ("1.answer", {"id": 1, "node": STRANGER, "part": 0, "last": True, "items": 5}),
    ]

    async def scenario(one: One, other: One) -> None:
        for event, data in rubbish:
            if type(data) is object:
                await one.nodes.receive(ALL, event, data)
            else:
                await one.hear(event, data)
        assert one.nodes.ignored == len(rubbish)
        assert STRANGER not in one.nodes.table
        assert await one.missing() == []

    with caplog.at_level(logging.WARNING):
        told(scenario, seeds=1)
    warnings = [each.message for each in caplog.records]
    assert len(warnings) == 2  # one of each node
    assert all(each.startswith("a message of another node is ignored, as") for each in warnings)


def test_a_node_of_another_version_is_known_and_named_and_not_waited_for() -> None:
    async def scenario(one: One, other: One) -> None:
        await one.hear("here", sign(version=VERSION + 1))
        loop = asyncio.get_running_loop()
        before = loop.time()
        (reason,) = await one.missing()
        assert reason == f"it speaks version {VERSION + 1}, and this one speaks {VERSION}"
        assert loop.time() - before < 1

    told(scenario, seeds=3)


def test_there_is_a_bound_to_the_nodes_that_are_known() -> None:
    table = NodeTable(most=2)
    a, b, c = (Sign(str(n) * 16, "h", 1, 1, 10.0, 0) for n in range(3))
    assert [table.hear(each, 0.0) for each in (a, b, c, a)] == [True, True, False, True]
    table.remove(b.node)
    assert table.hear(c, 0.0)
    assert len(table) == 2

    async def scenario(one: One, other: One) -> None:
        one.nodes.table._most = 1
        await one.hear("hello", sign())
        assert one.nodes.ignored == 1
        assert STRANGER not in one.nodes.table
        # An answer does not look complete though somebody may not have been waited for.
        found = await one.sockets.connections()
        assert [str(each) for each in found.missing] == [
            "other nodes: there are more than 1, and no more are known"
        ]
        await other.sockets.drain()
        assert await one.missing() == []

    told(scenario, seeds=1)


def test_many_hellos_of_one_node_are_answered_by_one_at_a_time() -> None:
    async def scenario(one: One, other: One) -> None:
        one.wire.said.clear()
        for _ in range(100):
            await one.nodes.receive(ALL, "hello", sign())
        await asyncio.sleep(0.1)
        assert one.wire.said == ["here"]
        one.wire.away = True
        await one.nodes.receive(ALL, "hello", sign())
        await asyncio.sleep(0.1)

    told(scenario, seeds=3)


def test_answers_to_questions_that_nobody_asked_change_nothing() -> None:
    async def scenario(one: One, other: One) -> None:
        inbox = inbox_of(one.sockets.node)
        for message in (
            Answer(999, STRANGER, 0, True, []),
            Taken(999, STRANGER),
            Stop(999, STRANGER),
        ):
            await one.hear(*said(message), channel=inbox)
        assert one.nodes.ignored == 0
        assert await one.missing() == []

    told(scenario, seeds=1)


def test_an_answer_of_one_who_is_not_known_is_taken_and_one_that_cannot_be_read_is_named() -> None:
    async def scenario(one: One, other: One) -> None:
        item = {"socket_id": "s", "user": 7, "started": 1.0, "channels": {}, "queued_bytes": 0}
        for items, users, reasons in (
            ([item], [7], []),
            ([{"socket_id": 5}], [], ["its answer cannot be read"]),
        ):
            other.wire.hangs = True  # so that there is time
            asking = asyncio.create_task(one.sockets.connections())
            await asyncio.sleep(1)
            (id,) = one.nodes.questions._asking
            answer = Answer(id, STRANGER, 0, True, list(items))
            await one.hear(*said(answer), channel=inbox_of(one.sockets.node))
            found = await asking
            assert [each.user for each in found] == users
            told = {each.node and each.node.host: each.reason for each in found.missing}
            assert told.pop("vm", None) or told  # the other one
            assert [each.reason for each in found.missing if each.reason in reasons] == reasons
            other.wire.hangs = False
            await asyncio.sleep(3)

    told(scenario, seeds=3)


def test_there_is_a_bound_to_the_questions_that_wait() -> None:
    async def scenario(one: One, other: One) -> None:
        other.wire.cut = True
        asking = [asyncio.create_task(one.sockets.connections()) for _ in range(1030)]
        found = await asyncio.gather(*asking)
        reasons = [each.missing[0].reason for each in found]
        assert reasons.count("1024 questions are waiting for answers here") == 6

    told(scenario, seeds=1)


def test_who_is_cancelled_while_the_broker_is_away_leaves_it_at_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(one: One, other: One) -> None:
        other.wire.cut = True
        asking = asyncio.create_task(one.sockets.connections())
        await asyncio.sleep(0.1)
        one.wire.away = True
        asking.cancel()
        await asyncio.sleep(0.1)
        assert asking.cancelled()
        one.wire.away = False

    with caplog.at_level(logging.INFO):
        told(scenario, seeds=1)
    assert "the other nodes could not be told to stop" in caplog.text


def test_a_node_that_has_said_bye_hears_nothing_any_more() -> None:
    async def scenario(one: One, other: One) -> None:
        await one.sockets.drain()
        await one.nodes.receive(ALL, "here", sign())
        await one.nodes.receive(ALL, "nonsense", sign())
        assert STRANGER not in one.nodes.table
        assert one.nodes.ignored == 1

    told(scenario, seeds=1)


# --- a question that is out ---------------------------------------------------------------------


def asked(scenario: Callable[[Asking[int]], Awaitable[None]], **options: Any) -> None:
    """A question of numbers, to ``a`` and ``b``."""

    async def main() -> None:
        options.setdefault("longest", 10.0)
        asking = Asking(int, patience=2.0, **options)
        for name in ("a", "b"):
            asking.expect(name, NodeInfo(name, name, 1, 0))
        await scenario(asking)

    for seed in range(5):
        run(seed, main)


def result(asking: Asking[int]) -> tuple[list[int], dict[str, str]]:
    gathered = asking.gathered(lambda id: NodeInfo(id, "?", 0, 0))
    missing = {each.node.id: each.reason for each in gathered.missing if each.node is not None}
    return [number for _, number in gathered.found], missing


def part(node: str, number: int, *items: int, last: bool = False) -> Answer:
    return Answer(1, node, number, last, list(items))


def test_parts_may_come_in_any_order_and_twice() -> None:
    async def scenario(asking: Asking[int]) -> None:
        waiting = asyncio.create_task(asking.answers())
        for each in (part("a", 2, 3, last=True), part("a", 0, 1), part("a", 0, 1), part("b", 0)):
            asking.answered(each)
            await asyncio.sleep(0.1)
        assert not waiting.done()
        asking.answered(part("a", 1, 2))
        asking.answered(part("a", 1, 2))
        asking.answered(part("b", 1, 9, last=True))
        await waiting
        assert result(asking) == ([3, 1, 2, 9], {})

    asked(scenario)


@pytest.mark.parametrize("longest", [10.0, None])
def test_where_a_part_is_lost_the_node_is_named(longest: float | None) -> None:
    async def scenario(asking: Asking[int]) -> None:
        asking.taken("a")
        asking.answered(part("a", 1, 2, last=True))
        asking.answered(part("b", 0, 5, last=True))
        await asking.answers()
        assert result(asking) == ([2, 5], {"a": "a part of its answer was lost"})

    asked(scenario, longest=longest)


def test_an_answer_that_comes_late_is_taken_while_others_are_waited_for() -> None:
    async def scenario(asking: Asking[int]) -> None:
        asking.lost("a", "it was not heard")
        asking.lost("a", "again")
        asking.lost("nobody", "whatever")
        asking.taken("a")
        asking.answered(part("a", 0, 1, last=True))
        asking.answered(part("a", 1, 2, last=True))
        asking.answered(part("b", 0, last=True))
        await asking.answers()
        assert result(asking) == ([1], {})

    asked(scenario)


def test_a_part_without_end_is_no_answer() -> None:
    async def scenario(asking: Asking[int]) -> None:
        for number in range(64):
            asking.answered(part("a", number, number))
        for number in (64, -1):
            with pytest.raises(InvalidData):
                asking.answered(part("a", number, 1))
        asking.answered(part("b", 0, last=True))
        await asking.answers()
        assert result(asking)[1] == {"a": "its answer cannot be read"}

    asked(scenario)


def test_a_refusal_is_an_exception_and_a_fault_of_a_program_is_a_reason() -> None:
    async def scenario(asking: Asking[int]) -> None:
        asking.answered(replace(part("a", 0, last=True), fault=fault_of(RpcError(5, "no"))))
        asking.answered(replace(part("b", 0, last=True), fault=Fault("", "it is busy")))
        await asking.answers()
        gathered = asking.gathered(lambda id: NodeInfo(id, "?", 0, 0))
        assert [str(each) for each in gathered.refused] == ["no (5)"]
        assert result(asking) == ([], {"b": "it is busy"})

    asked(scenario)


# --- answering ----------------------------------------------------------------------------------


class Asker:
    """Asks an :class:`Answering` directly."""

    def __init__(self, answer: Callable[[Question], Items | Work], most: int = 2) -> None:
        self.heard: list[Message] = []
        self.slow = asyncio.Event()
        self.slow.set()
        self.background = Background()
        self.answering = Answering(
            "f" * 16, answer=answer, say=self._say, spawn=self.background.spawn, most=most
        )

    async def _say(self, node: str, message: Message) -> None:
        await self.slow.wait()
        self.heard.append(message)

    async def settle(self) -> None:
        """Let it answer."""
        await asyncio.sleep(0.1)


def question(id: int) -> Question:
    return ConnectionsQuestion(id=id, node=STRANGER)


def answered(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    for seed in range(5):
        run(seed, scenario)


def test_a_question_too_many_is_refused_as_busy_and_those_beyond_are_dropped() -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def work() -> Items:
            await go.wait()
            return [1]

        asker = Asker(lambda question: work())
        asker.slow.clear()
        for id in range(7):
            asker.answering.receive(question(id))
        assert (len(asker.answering), asker.answering.dropped) == (2, 3)
        asker.slow.set()
        await asker.settle()
        busy = [each for each in asker.heard if isinstance(each, Answer)]
        assert sorted(each.id for each in busy) == [2, 3]
        assert {each.fault and each.fault.text for each in busy} == {
            "it is busy: 2 questions are worked on"
        }
        go.set()
        await asker.settle()
        assert len(asker.answering) == 0
        asker.answering.receive(question(8))
        await asker.settle()
        assert asker.heard[-1] == Answer(8, "f" * 16, 0, True, [1])

    answered(scenario)


def test_a_question_that_comes_twice_is_worked_on_once() -> None:
    async def scenario() -> None:
        times = list[int]()

        def answer(question: Question) -> Items:
            times.append(question.id)
            return ()

        asker = Asker(answer)
        for _ in range(2):
            asker.answering.receive(question(1))
            asker.answering.receive(question(1))
            await asker.settle()
        assert times == [1]

    answered(scenario)


def test_a_question_that_is_stopped_or_whose_asker_is_gone_ends() -> None:
    async def scenario() -> None:
        async def work() -> Items:
            await asyncio.Event().wait()
            return ()

        asker = Asker(lambda question: work())
        asker.answering.receive(question(1))
        asker.answering.receive(question(2))
        await asker.settle()
        asker.answering.stop(Stop(3, STRANGER))
        asker.answering.stop(Stop(1, STRANGER))
        await asker.settle()
        assert len(asker.answering) == 1
        asker.answering.gone("0" * 16)
        asker.answering.gone(STRANGER)
        await asker.settle()
        assert len(asker.answering) == 0

    answered(scenario)


def test_what_takes_too_long_at_the_end_is_stopped() -> None:
    async def scenario() -> None:
        async def work() -> Items:
            await asyncio.Event().wait()
            return ()

        asker = Asker(lambda question: work())
        await asker.answering.finish(1.0)
        asker.answering.receive(question(1))
        await asker.answering.finish(1.0)
        await asker.settle()
        assert len(asker.answering) == 0

    answered(scenario)


def test_one_that_is_stopped_before_it_could_say_that_it_began_has_not_begun() -> None:
    async def scenario() -> None:
        async def work() -> Items:
            raise AssertionError("nobody waits for it")

        asker = Asker(lambda question: work())
        asker.slow.clear()
        asker.answering.receive(question(1))
        await asker.settle()
        asker.answering.stop(Stop(1, STRANGER))
        await asker.settle()
        assert (len(asker.answering), asker.heard) == (0, [])

    answered(scenario)


def test_what_fails_here_is_logged_here_and_only_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = [
        RuntimeError("a secret of this process"),
        RpcError(5, "with data that nobody can write", data=object()),
    ]

    async def scenario() -> None:
        def answer(question: Question) -> Items:
            raise failures[question.id]

        asker = Asker(answer)
        for id in range(2):
            asker.answering.receive(question(id))
        await asker.settle()
        for each in asker.heard:
            assert isinstance(each, Answer)
            assert each.fault == Fault("", "it failed there, and the log says how")

    run(0, scenario)
    assert "a secret of this process" in caplog.text
    assert "a question of another node failed" in caplog.text


def test_an_error_that_is_too_long_to_travel_is_said_to_be_so() -> None:
    async def scenario() -> None:
        def answer(question: Question) -> Items:
            raise RpcError(5, "no", data="x" * MOST_BYTES)

        asker = Asker(answer)
        asker.answering.receive(question(1))
        await asker.settle()
        (said,) = asker.heard
        assert isinstance(said, Answer)
        assert said.fault == Fault("", "it refused: an error that is too long to travel, no")

    run(0, scenario)


def test_an_answer_that_cannot_be_sent_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async def work() -> Items:
            await asyncio.sleep(1)
            return ()

        async def fail(node: str, message: Message) -> None:
            raise LookupError("a broker with a fault")

        asker = Asker(lambda question: () if question.id == 1 else work(), most=2)
        asker.answering._say = fail
        for id in (1, 2, 3):
            asker.answering.receive(question(id))
        await asyncio.sleep(2)
        assert len(asker.answering) == 0

    with caplog.at_level(logging.INFO, "openapi.ws.answering"):
        run(0, scenario)
    texts = [each.getMessage().partition(":")[0] for each in caplog.records]
    assert sorted(texts) == [
        "an answer to another node could not be sent",
        "an answer to another node could not be sent",
        *["another node could not be told that it gets no answer"] * 3,
    ]


def test_an_answer_waits_until_it_can_be_sent_and_one_that_never_can_is_said_to_be_lost() -> None:
    async def scenario() -> None:
        failure: Exception = BrokerUnavailable()

        async def fail(node: str, message: Message) -> None:
            if isinstance(message, Answer):
                raise failure
            asker.heard.append(message)

        asker = Asker(lambda question: [question.id])
        say, asker.answering._say = asker.answering._say, fail
        asker.answering.receive(question(1))
        await asyncio.sleep(10)
        asker.answering.awaited(Awaiting(STRANGER, [1]))
        await asker.settle()
        assert asker.heard == []
        asker.answering._say = say
        await asyncio.sleep(1)
        assert asker.heard == [Answer(1, "f" * 16, 0, True, [1])]
        asker.answering.awaited(Awaiting(STRANGER, [1]))
        failure, asker.answering._say = LookupError("a broker with a fault"), fail
        asker.answering.receive(question(2))
        await asker.settle()
        assert asker.heard[1:] == [Lost("f" * 16, [1]), Lost("f" * 16, [2])]

    answered(scenario)


def test_an_answer_without_end_is_cut_and_says_so() -> None:
    async def scenario() -> None:
        many = ["x" * 200_000] * 200
        asker = Asker(lambda question: many)
        asker.answering.receive(question(1))
        await asker.settle()
        parts = [each for each in asker.heard if isinstance(each, Answer)]
        assert [each.part for each in parts] == list(range(64))
        assert [each.last for each in parts] == [False] * 63 + [True]
        assert parts[-1].fault == Fault("", "it has more to say than 64 parts of an answer hold")
        assert sum(len(each.items) for each in parts) == 63

    run(0, scenario)


def test_an_item_that_is_too_long_to_travel_is_left_out_and_said() -> None:
    async def scenario() -> None:
        asker = Asker(lambda question: ["short", "x" * MOST_BYTES, "other"])
        asker.answering.receive(InfoQuestion(id=1, node=STRANGER))
        await asker.settle()
        (answer,) = asker.heard
        assert isinstance(answer, Answer)
        assert answer.items == ["short", "other"]
        assert answer.fault is not None
        assert "too long to travel between processes" in answer.fault.text

    run(0, scenario)


# --- exceptions ---------------------------------------------------------------------------------


def test_exceptions_come_out_as_what_they_were() -> None:
    away = BrokerUnavailable("away", retry_after=5)
    fault = fault_of(away)
    assert fault is not None
    back = exception_of(fault)
    assert type(back) is BrokerUnavailable
    assert vars(back) == vars(away)
    for exc in (TimeoutError("late"), RpcError(1, "x", data={"a": 1}, errors={"a": "b"})):
        fault = fault_of(exc)
        assert fault is not None
        again = exception_of(fault)
        assert (type(again), str(again), vars(again)) == (type(exc), str(exc), vars(exc))
    assert fault_of(KeyError("ours")) is None
    assert exception_of(Fault("KeyError", "theirs")) is None
