"""Several processes of one application: who is found in all of them, and who is missing."""

import asyncio
import enum
import json
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from yarl import URL

from openapi.errors import (
    BrokerUnavailable,
    CallFailed,
    ConnectionClosed,
    InvalidData,
    RpcError,
    UnexpectedData,
)
from openapi.ws import (
    Broker,
    ConnectionInfo,
    Count,
    Found,
    Limits,
    Missing,
    Position,
    Reply,
    SocketsManager,
    nodes,
)
from openapi.ws.answering import Items, Work
from openapi.ws.broker import Deliver
from openapi.ws.brokers.memory import MemoryBroker
from openapi.ws.faults import Fault
from openapi.ws.node_messages import MOST_BYTES, Question, ReplyItem
from openapi.ws.nodes import Nodes, NodeState
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer

Payload = dict[str, Any]

#: Nodes hear of each other within a turn or two here: what is to be heard is waited for.
QUIET = Limits(node_interval=1000.0)


class Named(Endpoint):
    """Its user is who the URL says."""

    async def on_connect(self) -> None:
        user: Any = self.request.query.get("user")
        self.user = int(user) if user is not None and user.isdecimal() else user


class Wire(Broker):
    """One node's end of a memory, which can be cut, or have its messages looked at."""

    def __init__(self, memory: MemoryBroker) -> None:
        self.memory = memory.sibling()
        self.deaf = False
        """Nothing comes any more, as in a process that has died."""
        self.refuses: Exception | None = None
        """What publishing and subscribing raises."""
        self.loses: Callable[[str, str], bool] = lambda channel, event: False
        """Which of its messages never arrive."""
        self.said: list[tuple[str, str, Any]] = []

    async def open(self, deliver: Deliver) -> None:
        async def hear(
            channel: str, event: str, data: object, position: Position | None = None
        ) -> None:
            if not self.deaf:
                await deliver(channel, event, data, position)

        await self.memory.open(hear)

    async def publish(self, channel: str, event: str, data: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.said.append((channel, event, data))
        if not self.deaf and not self.loses(channel, event):
            await self.memory.publish(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        await self.memory.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        await self.memory.unsubscribe(channel)

    async def aclose(self) -> None:
        await self.memory.aclose()


def node_of(sockets: SocketsManager) -> Nodes:
    """What a manager knows of others."""
    found: Nodes = vars(sockets)["_SocketsManager__parts"].nodes
    return found


@dataclass
class Node:
    """A served manager."""

    sockets: SocketsManager
    wire: Wire
    url: URL

    @property
    def nodes(self) -> Nodes:
        return node_of(self.sockets)

    def knows(self, *others: "Node") -> bool:
        """Whether these are all that it knows, itself left out."""
        return {each.sockets.node for each in others} - {self.sockets.node} == {
            each.sign.node for each in self.nodes.table.all
        }


class Cluster:
    """Nodes that share a memory."""

    def __init__(self, serve: Serve) -> None:
        self.memory = MemoryBroker()
        self.all: list[Node] = []
        self._serve = serve

    async def start(self, *, limits: Limits = QUIET, **options: Any) -> Node:
        """One node more. It knows the others, and they know it."""
        wire = Wire(self.memory)
        sockets = SocketsManager(broker=wire, limits=limits, **options)
        node = Node(sockets, wire, await self._serve(application(Named, sockets)) / "stream")
        await sockets.open()
        self.all.append(node)
        await until(lambda: all(each.knows(*self.all) for each in self.all))
        return node


async def until(there: Callable[[], object]) -> None:
    """Wait for what is sure to come."""
    async with asyncio.timeout(20):
        while True:
            if there():
                return
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is missing because this machine is slow."""
    monkeypatch.setattr(nodes, "_PATIENCE", 60.0)


@pytest.fixture
def cluster(serve: Serve) -> Cluster:
    return Cluster(serve)


@asynccontextmanager
async def client(node: Node, user: object = None) -> AsyncIterator[Peer]:
    """A client, whose user is known to the node."""
    url = node.url if user is None else node.url.with_query(user=str(user))
    async with peer(url) as connected:
        await connected.call("info")
        yield connected


async def answering(client: Peer, answer: Payload) -> None:
    """Answer the next call of the server."""
    frame = await client.receive()
    await client.send({"id": frame["id"], **answer})


def named(found: Found[Any] | Count) -> set[str]:
    """The ids of those who are missing."""
    return {each.node.id if each.node is not None else "?" for each in found.missing}


# --- everything reaches all nodes ---------------------------------------------------------------


async def test_a_call_of_a_user_is_answered_by_their_connections_in_all_nodes(
    cluster: Cluster,
) -> None:
    one, other, third = [await cluster.start() for _ in range(3)]
    async with client(one, "anna") as a, client(other, "anna") as b, client(third, "bert"):
        calling = asyncio.create_task(one.sockets.call("ask", {"q": 1}, user="anna", returns=int))
        await asyncio.gather(answering(a, {"response": 1}), answering(b, {"response": 2}))
        replies = await calling
    assert [reply.result for reply in replies] == [1, 2]  # the near ones first
    assert replies.missing == ()


async def test_a_connection_is_found_by_its_id_wherever_it_is_and_for_a_near_one_nobody_is_asked(
    cluster: Cluster,
) -> None:
    one, other, third = [await cluster.start() for _ in range(3)]
    async with client(other) as far, client(one) as near:
        (there,), (here,) = other.sockets.sockets, one.sockets.sockets
        for id, connected in ((there.socket_id, far), (here.socket_id, near)):
            one.wire.said.clear()
            calling = asyncio.create_task(one.sockets.call("ask", socket_id=id))
            await answering(connected, {"response": id})
            replies = await calling
            assert replies == [Reply(id, result=id)]
            assert replies.missing == ()
        assert one.wire.said == []
        # One has it: whoever does not answer is nobody who is missing.
        third.wire.deaf = True
        assert await one.sockets.disconnect(socket_id=there.socket_id) == 1
        assert (await far.closed())[0] == 4504


async def test_what_a_client_answers_wrongly_is_the_same_exception_in_every_node(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    error = {
        "code": 7,
        "message": "no",
        "data": {"a": [1]},
        "errors": {"q": "required"},
        "retry_after": 20,
    }

    async def replies(caller: Node, answer: Payload) -> Found[Reply]:
        async with client(other, "anna") as connected:
            call = caller.sockets.call("ask", user="anna", returns=int)
            calling = asyncio.create_task(call)
            await answering(connected, answer)
            return await calling

    for caller in (other, one):  # near and far
        (reply,) = await replies(caller, {"error": error})
        assert isinstance(reply.error, CallFailed)
        assert vars(reply.error) == error
        (reply,) = await replies(caller, {"response": "x"})
        assert isinstance(reply.error, UnexpectedData)
        assert reply.error.errors == {"": "expected `int`, got `str`"}
        assert isinstance(reply.error.__cause__, InvalidData)


async def test_a_client_that_goes_away_or_is_silent_is_told_of_from_afar(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(other, "anna") as connected:
        calling = asyncio.create_task(one.sockets.call("ask", user="anna"))
        await connected.receive()
        await other.sockets.disconnect(user="anna", code=4001, reason="expired")
        (reply,) = await calling
        assert isinstance(reply.error, ConnectionClosed)
        assert (reply.error.code, reply.error.reason) == (4001, "expired")
    async with client(other, "anna"):
        replies = await one.sockets.call("ask", user="anna", timeout=0.01)
        assert [type(reply.error) for reply in replies] == [TimeoutError]
        assert replies.missing == ()


async def test_results_have_the_type_that_was_asked_for_wherever_they_are_from(
    cluster: Cluster,
) -> None:
    @dataclass
    class Choice:
        yes: bool
        when: datetime

    one, other = [await cluster.start() for _ in range(2)]
    async with client(other, "anna") as connected:
        calling = asyncio.create_task(
            one.sockets.call("ask", Choice(True, datetime.min), user="anna", returns=Choice)
        )
        answer = {"yes": False, "when": "2026-01-02T03:04:05Z"}
        frame = await connected.receive()
        assert frame["payload"] == {"yes": True, "when": "0001-01-01T00:00:00"}
        await connected.send({"id": frame["id"], "response": answer})
        (reply,) = await calling
        assert reply.result == Choice(False, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


async def test_connections_are_subscribed_taken_out_and_closed_in_all_nodes(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(one, "anna") as a, client(other, "anna") as b, client(other, "bert") as c:
        assert await one.sockets.subscribe_socket("news", "x*", user="anna") == 2
        await other.sockets.publish("news", "x1", 1)
        for each in (a, b):
            assert [(await each.message())["event"] for _ in range(2)] == ["$subscribed", "x1"]
        assert await one.sockets.unsubscribe_socket("news", user="anna") == 2
        assert await one.sockets.unsubscribe_socket("news", user="anna") == 0
        for each in (a, b):
            assert (await each.message())["event"] == "$unsubscribed"
        closed = await one.sockets.disconnect(user="anna", code=4001, reason="expired")
        assert (closed, closed.missing) == (2, ())
        assert json.dumps({"connections": closed}) == '{"connections": 2}'
        for each in (a, b):
            assert await each.closed() == (4001, "expired")
        assert await c.call("info") == {"connections": 1, "channels": {}}


async def test_a_refusal_in_another_node_is_raised_here(cluster: Cluster) -> None:
    one, other = [await cluster.start(limits=Limits(channels=1)) for _ in range(2)]
    async with client(other, "anna") as connected:
        await connected.call("subscribe", {"channel": "a"})
        with pytest.raises(RpcError) as refusal:
            await one.sockets.subscribe_socket("b", user="anna")
        assert (refusal.value.code, refusal.value.data) == (-32007, {"limit": "channels", "max": 1})
        with pytest.raises(InvalidData) as invalid:
            await one.sockets.subscribe_socket("$nodes", user="anna")
        assert invalid.value.errors == {"channel": "Invalid channel"}


@pytest.mark.parametrize("user", ["anna", "bert", "nobody"])
async def test_what_no_closing_frame_can_say_is_refused_wherever_its_reader_is(
    cluster: Cluster, user: str
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(one, "anna") as anna, client(other, "bert") as bert:
        for code in (1, 1006, 70000):
            with pytest.raises(ValueError, match=f"close code {code} cannot be sent"):
                await one.sockets.disconnect(user=user, code=code)
        with pytest.raises(UnicodeEncodeError):
            await one.sockets.disconnect(user=user, reason="\ud800")
        for each in (anna, bert):
            assert (await each.call("info"))["connections"] == 1


async def test_connections_of_all_nodes_say_where_they_are(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(one, "anna"), client(other, 7) as far, client(other):
        await far.call("subscribe", {"channel": "a", "event": "x"})
        found = await one.sockets.connections()
        assert [(each.user, each.node) for each in found] == [
            ("anna", one.sockets.node),
            (7, other.sockets.node),
            (None, other.sockets.node),
        ]
        (seven,) = await one.sockets.connections(user=7)
        (there,) = (ws for ws in other.sockets.sockets if ws.user == 7)
        assert seven == ConnectionInfo(
            socket_id=there.socket_id,
            user=7,
            started=there.started,
            channels={"a": ["x"]},
            queued_bytes=0,
            node=other.sockets.node,
        )


async def test_the_cluster_is_the_sum_of_its_nodes(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(one) as a, client(other) as b, client(other) as c:
        for each, channel, event in ((a, "x", "*"), (b, "x", "*"), (c, "x", "e"), (c, "y", "*")):
            await each.call("subscribe", {"channel": channel, "event": event})
        assert one.sockets.server_info() == {"connections": 1, "channels": {"x": {"*": 1}}}
        place = {"host": socket.gethostname(), "pid": os.getpid()}
        assert await one.sockets.server_info(cluster=True) == {
            "connections": 3,
            "channels": {"x": {"*": 2, "e": 1}, "y": {"*": 1}},
            "nodes": [
                {"id": one.sockets.node, **place, "connections": 1},
                {"id": other.sockets.node, **place, "connections": 2},
            ],
            "missing": [],
            "ignored": 0,
            "dropped": 0,
        }
        await one.wire.memory.publish("$nodes", "hello", "whatever")
        await until(lambda: one.nodes.ignored)
        one.nodes.answering.dropped += 2
        info = await one.sockets.server_info(cluster=True)
        assert (info["ignored"], info["dropped"]) == (1, 2)


async def test_more_channels_than_one_message_tells_of_are_told_in_several(
    cluster: Cluster,
) -> None:
    async def ignore(channel: str, event: str, data: Any) -> None:
        raise AssertionError("nothing is published")

    one, other = [await cluster.start() for _ in range(2)]
    names = [f"{number:0>200}" for number in range(3000)]
    for name in names:
        await other.sockets.channels.register(name, "*", ignore)
    info = await one.sockets.server_info(cluster=True)
    assert info["channels"] == {name: {"*": 1} for name in names}
    assert info["missing"] == []
    parts = [data for _, event, data in other.wire.said if event == "1.answer"]
    assert [part["last"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 2


# --- users --------------------------------------------------------------------------------------


async def test_a_user_that_is_a_number_is_not_the_one_that_is_its_text(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(other, 7):
        assert [each.user for each in await one.sockets.connections(user=7)] == [7]
        assert await one.sockets.connections(user="7") == []


class Colour(enum.StrEnum):
    RED = "red"


async def test_a_user_that_equals_a_text_is_found_by_it_everywhere(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(other, "red"):
        assert [each.user for each in await one.sockets.connections(user=Colour.RED)] == ["red"]


@pytest.mark.parametrize("user", [uuid.UUID(int=7), (1, 2), True, 2**63], ids=repr)
async def test_a_user_that_does_not_travel_is_found_here_and_the_others_are_named(
    cluster: Cluster, user: Any
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(one), client(other):
        for node in (one, other):
            (ws,) = node.sockets.sockets
            ws.user = user
        found = await one.sockets.connections(user=user)
        assert [each.node for each in found] == [one.sockets.node]
        assert named(found) == {other.sockets.node}
        assert "is found in this process only" in str(found.missing[0])
        # Who is there at all is told, and the user as its text.
        everybody = await one.sockets.connections()
        assert [each.user for each in everybody] == [user, str(user)]
        closed = await one.sockets.disconnect(user=user)
        assert (closed, named(closed)) == (1, {other.sockets.node})


# --- who is missing -----------------------------------------------------------------------------


async def test_a_node_that_shuts_down_answers_what_it_can_and_is_nobody_afterwards(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(other, "anna") as connected:
        calling = asyncio.create_task(one.sockets.call("ask", user="anna", timeout=None))
        await connected.receive()
        vars(other.sockets)["_SocketsManager__parts"].drain._limits = Limits(drain_window=0.01)
        await other.sockets.drain()
        (reply,) = await calling
        assert isinstance(reply.error, ConnectionClosed)
        assert reply.error.code == 1012
    assert one.knows()
    found = await one.sockets.connections()
    assert (found, found.missing) == ([], ())
    assert await other.sockets.connections() == []


async def test_a_node_that_says_bye_in_the_middle_of_an_answer_is_missing(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    other.wire.loses = lambda channel, event: event == "1.answer"
    async with client(other, "anna") as connected:
        calling = asyncio.create_task(one.sockets.call("ask", user="anna", timeout=None))
        await answering(connected, {"response": 1})
        await until(lambda: any(event == "1.answer" for _, event, _ in other.wire.said))
        await other.sockets.disconnect(user="anna")
        await other.sockets.drain()
        replies = await calling
    assert [each.reason for each in replies.missing] == ["it has shut down"]


async def test_what_is_asked_as_this_node_ends_is_over_at_once(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(other, "anna") as connected:
        calling = asyncio.create_task(one.sockets.call("ask", user="anna", timeout=None))
        await connected.receive()
        await one.sockets.drain()
        replies = await calling
        assert [each.reason for each in replies.missing] == ["this process shuts down"]


async def test_what_is_asked_when_this_node_has_ended_is_not_taken_for_complete(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(other, "anna"):
        await one.sockets.drain()
        for found in (
            await one.sockets.connections(user="anna"),
            await one.sockets.disconnect(user="anna"),
        ):
            assert not found
            assert named(found) == {other.sockets.node}
            assert [each.reason for each in found.missing] == ["this process shuts down"]
        whole = await one.sockets.server_info(cluster=True)
        assert [each["id"] for each in whole["missing"]] == [other.sockets.node]
    # Whoever knew nobody has asked all.
    await other.sockets.drain()
    assert (await other.sockets.connections()).missing == ()


async def test_while_the_broker_is_away_what_is_here_is_done_and_the_others_are_named(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(one, "anna") as near, client(other, "anna"):
        one.wire.refuses = BrokerUnavailable("redis at db is away")
        calling = asyncio.create_task(one.sockets.call("ask", user="anna"))
        await answering(near, {"response": 1})
        replies = await calling
        assert [reply.result for reply in replies] == [1]
        (missing,) = replies.missing
        assert missing.node is not None
        assert missing.node.id == other.sockets.node
        assert missing.reason == "the broker is away: redis at db is away (-32008)"
        one.wire.refuses = None
        found = await one.sockets.connections()
        assert (len(found), found.missing) == (2, ())


async def test_a_node_whose_broker_was_never_there_says_that_it_knows_nobody(
    serve: Serve,
) -> None:
    wire = Wire(MemoryBroker())
    wire.refuses = BrokerUnavailable()
    sockets = SocketsManager(broker=wire)
    async with peer(await serve(application(Named, sockets)) / "stream") as connected:
        await connected.call("info")
        found = await sockets.connections()
        assert len(found) == 1
        assert found.missing == (Missing(None, "the broker is away"),)
        assert str(found.missing[0]) == "other nodes: the broker is away"
        info = await sockets.server_info(cluster=True)
        assert [each["id"] for each in info["nodes"]] == [sockets.node]
        nobody = dict.fromkeys(("id", "host", "pid", "connections"))
        assert info["missing"] == [{**nobody, "reason": "the broker is away"}]
        wire.refuses = None
        await until(lambda: node_of(sockets).state is NodeState.JOINED)
        assert (await sockets.connections()).missing == ()


async def test_a_broker_that_cannot_be_opened_is_a_reason_and_no_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Wire):
        async def open(self, deliver: Deliver) -> None:
            raise RuntimeError("the server is too old")

    async with SocketsManager(broker=Broken(MemoryBroker())) as sockets:
        found = await sockets.connections()
        (missing,) = found.missing
        assert missing == Missing(None, "the broker is away: the server is too old")


async def test_a_question_that_is_too_long_is_asked_of_nobody_and_they_are_named(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    for payload, why in (
        ({"text": "x" * MOST_BYTES}, "bytes as JSON"),
        ({"n": 2**64}, "integer out of range"),
    ):
        async with client(one, "anna") as near:
            calling = asyncio.create_task(one.sockets.call("ask", payload, user="anna"))
            await answering(near, {"response": 1})
            replies = await calling
            assert [reply.result for reply in replies] == [1]
            (missing,) = replies.missing
            assert missing.reason.startswith("it cannot be asked: ")
            assert why in missing.reason


async def test_an_answer_that_is_too_long_is_named_in_its_place(cluster: Cluster) -> None:
    one, other = [
        await cluster.start(limits=Limits(message_bytes=2 * MOST_BYTES)) for _ in range(2)
    ]
    async with client(other, "anna") as long, client(other, "anna") as short:
        calling = asyncio.create_task(one.sockets.call("ask", user="anna"))
        await answering(long, {"response": "x" * MOST_BYTES})
        await answering(short, {"response": "y" * (MOST_BYTES // 2)})
        replies = sorted(await calling, key=lambda reply: str(reply.result))
        assert isinstance(replies[0].error, UnexpectedData)
        assert "too long to travel between processes" in str(replies[0].error)
        assert replies[1].result == "y" * (MOST_BYTES // 2)


async def test_an_error_of_a_kind_that_is_not_known_here_is_an_error_all_the_same(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    asking = one.nodes.answering._answer

    def answer(question: Question) -> Items | Work:
        return [ReplyItem("s", fault=Fault("QuotaExceeded", "too much"))]

    other.nodes.answering._answer = answer
    (reply,) = await one.sockets.call("ask", user="anna")
    assert isinstance(reply.error, UnexpectedData)
    assert str(reply.error) == "an error that is not known here: too much"
    other.nodes.answering._answer = asking


async def test_an_error_of_a_client_that_does_not_travel_spoils_no_other_reply(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    url = other.url.with_query(user="anna")
    async with (
        client(other, "anna") as good,
        peer(url, subprotocols=["wsrpc.v1.msgpack"]) as bad,
    ):
        await until(lambda: len(other.sockets.sockets) == 2)
        calling = asyncio.create_task(one.sockets.call("ask", user="anna"))
        await answering(good, {"response": 1})
        frame = msgspec.msgpack.decode(await bad.socket.recv(decode=False))
        data = msgspec.msgpack.Ext(5, b"has no JSON form")
        error = {"code": 1, "message": "not so", "data": data}
        await bad.socket.send(msgspec.msgpack.encode({"id": frame["id"], "error": error}))
        replies = await calling
    assert replies.missing == ()
    assert [each.result for each in replies if each.error is None] == [1]
    (failed,) = (each.error for each in replies if each.error is not None)
    assert isinstance(failed, UnexpectedData)
    assert "an error that does not travel between processes: not so" in str(failed)


async def test_a_node_that_fails_at_a_question_is_missing_and_not_one_that_found_nothing(
    cluster: Cluster,
) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    failures = {"away for a moment": BrokerUnavailable, "it took too long": TimeoutError}

    def fail(question: Question) -> Items | Work:
        raise failures[reason](f"{reason} redis://me:secret@db")

    other.nodes.answering._answer = fail
    for reason in failures:
        for found in (
            await one.sockets.call("ask", user="anna"),
            await one.sockets.connections(),
        ):
            assert found == []
            assert [each.reason for each in found.missing] == [f"{reason} redis://db"]
        whole = await one.sockets.server_info(cluster=True)
        assert [each["reason"] for each in whole["missing"]] == [f"{reason} redis://db"]


async def test_a_node_whose_sockets_never_subscribed_is_found(serve: Serve) -> None:
    memory = MemoryBroker()
    one, other = (SocketsManager(broker=Wire(memory), limits=QUIET) for _ in range(2))
    async with AsyncExitStack() as stack:
        for sockets in (one, other):
            url = await serve(application(Named, sockets)) / "stream"
            await stack.enter_async_context(peer(url))
        await until(lambda: len(node_of(one).table) == 1)
        assert len(await one.connections()) == 2


async def test_a_broker_that_could_not_be_opened_is_tried_again_with_the_next_connection(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Late(Wire):
        tries = 0

        async def open(self, deliver: Deliver) -> None:
            self.tries += 1
            if self.tries <= 2:
                raise OSError("not yet")
            await super().open(deliver)

    sockets = SocketsManager(broker=Late(MemoryBroker()), limits=QUIET)
    url = await serve(application(Named, sockets)) / "stream"
    async with peer(url) as first:
        await first.call("info")
        assert not sockets.opened
        async with peer(url) as again:
            await again.call("info")
        async with peer(url) as second, peer(url) as third:
            for each in (second, third):
                await each.call("info")
            await until(lambda: sockets.opened)
    assert [each.message for each in caplog.records] == ["the broker cannot be opened"]
    assert "not yet" in caplog.text


def test_whether_a_manager_reaches_other_processes_is_known() -> None:
    class Own(SocketsManager):
        def __init__(self) -> None:
            pass

        async def publish(self, channel: str, event: str, data: Any) -> None:
            raise NotImplementedError

    class Subclass(SocketsManager):
        def __init__(self) -> None:
            pass

    for sockets, spans in (
        (SocketsManager(), False),
        (SocketsManager(broker=MemoryBroker()), False),
        (SocketsManager(broker=Wire(MemoryBroker())), True),
        (Subclass(), False),
        (Own(), True),
    ):
        assert sockets.spans_processes is spans
        assert len(sockets.node) == 16


# --- cancelling ---------------------------------------------------------------------------------


async def test_who_is_cancelled_leaves_nothing_behind_here_or_there(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(one, "anna") as near, client(other, "anna") as far:
        before = asyncio.all_tasks()
        calling = asyncio.create_task(one.sockets.call("ask", user="anna", timeout=None))
        asked = [await each.receive() for each in (near, far)]
        calling.cancel()
        await asyncio.wait([calling])
        for each, frame in zip((near, far), asked, strict=True):
            assert await each.receive() == {"id": frame["id"], "cancel": True}
        await until(lambda: len(other.nodes.answering) == 0 and asyncio.all_tasks() <= before)


async def test_what_a_node_asked_ends_when_it_is_gone(cluster: Cluster) -> None:
    one, other = [await cluster.start() for _ in range(2)]
    async with client(other, "anna") as far:
        calling = asyncio.create_task(one.sockets.call("ask", user="anna", timeout=None))
        frame = await far.receive()
        await one.sockets.drain()
        assert await far.receive() == {"id": frame["id"], "cancel": True}
        await calling
