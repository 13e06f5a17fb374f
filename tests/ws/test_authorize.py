"""Who may do what on a channel: every way to it asks, and none gives away what another refuses."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import pytest

from openapi.errors import DeclarationError, ErrorCode
from openapi.protocol.patterns import Pattern
from openapi.spec import ApiPath
from openapi.ws import ChannelRule, Position, RpcError, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.raw import RawSocket
from tests.ws.speaking import JSONRPC, NATIVE, PACKED, Speaker, speaking

Payload = dict[str, Any]

RULES = [ChannelRule("*", history=20, presence=True)]


class Named(Endpoint):
    """Its user is who the URL says."""

    async def on_connect(self) -> None:
        self.user = self.request.query.get("user")


# --- the matrix: users × channels × calls × dialects --------------------------------------------

OWN, FOREIGN, PARTLY, NEWS = "orders:anna", "orders:bert", "public:7", "news"
CHANNELS: Final = (OWN, FOREIGN, PARTLY, NEWS)
EVENTS: Final = ("public.a", "private.a")
"""What is published on each of them, before each call and behind it."""
ALL_SEEING: Final = ("root", "ghost")

USERS: Final = ("anna", "bert", "live", "reader", "past", "looker", "writer", "watcher", "stranger")


def may(user: str, action: str, channel: str, event: str) -> bool:
    """What the application of this test allows."""
    if user in ALL_SEEING:
        return True
    if channel == f"orders:{user}":
        return user in ("anna", "bert")
    match user, channel:
        case ("anna", "public:7"):  # some events only, and no history, which is of all events
            return action in ("subscribe", "publish") and event.startswith("public.")
        case ("live", _):  # whatever comes, but nothing of the past, and nobody's name
            return action == "subscribe"
        case ("reader", "news"):
            return action in ("subscribe", "history")
        case ("past", "news"):
            return action == "history"
        case ("looker", "news"):
            return action == "presence"
        case ("writer", "news"):
            return action == "publish"
        case ("watcher", "news"):
            return action in ("subscribe", "presence")
    return False


class Guarded(Named):
    """Asks ``may``."""

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        await asyncio.sleep(0)
        return may(str(self.user), action, channel, event)


REFUSALS: Final = {
    "subscribe": "Not allowed to subscribe to this channel",
    "publish": "Not allowed to publish on this channel",
    "history": "Not allowed to read the history of this channel",
    "presence": "Not allowed to see who is on this channel",
}


@dataclass(frozen=True)
class Way:
    """A call, and what it asks for: actions with their events."""

    method: str
    payload: Payload
    asks: tuple[tuple[str, str], ...]

    @property
    def pattern(self) -> str:
        """What it subscribes to."""
        event: str = self.payload.get("event", "*")
        return event


def _subscribe(event: str, **more: Any) -> Way:
    asks = (("subscribe", event), *((("presence", ""),) if "presence" in more else ()))
    return Way("subscribe", ({} if event == "*" else {"event": event}) | more, asks)


def _publish(event: str, **more: Any) -> Way:
    return Way("publish", {"event": event, "data": "mine"} | more, (("publish", event),))


WAYS: Final = (
    _subscribe("*"),
    _subscribe("public.a"),
    _subscribe("private.a"),
    _subscribe("public.*"),
    _subscribe("p*"),
    _subscribe("[p]ublic.*"),
    _subscribe("*", presence=True),
    _subscribe("public.*", presence=True),
    _subscribe("*", recover=True),
    _subscribe("public.*", recover=True),
    _subscribe("private.a", recover=True, presence=True),
    Way("history", {}, (("history", "*"),)),
    Way("history", {"reverse": True, "limit": 3}, (("history", "*"),)),
    Way("presence", {}, (("presence", ""),)),
    _publish("public.b"),
    _publish("private.b"),
    _publish("public.b", key="k"),
)


class World:
    """A server with channels on which something happened, and somebody who sees all of it."""

    def __init__(self, sockets: SocketsManager, root: Peer, ghost: Peer) -> None:
        self.tops: dict[str, Position] = {}
        self.kept: dict[str, list[Payload]] = {channel: [] for channel in CHANNELS}
        self._sockets = sockets
        self._root = root
        self._ghost = ghost

    async def begin(self) -> None:
        """There is some history, and somebody is present."""
        for channel in CHANNELS:
            await self._root.call("subscribe", {"channel": channel, "presence": True})
            await self.publish(channel)

    async def publish(self, channel: str) -> list[Payload]:
        """Returns the messages as everybody gets them who may."""
        messages = []
        for event in EVENTS:
            top = await self._sockets.publish(channel, event, f"a secret of {channel}")
            assert top is not None
            messages.append(
                {
                    "channel": channel,
                    "event": event,
                    "data": f"a secret of {channel}",
                    "offset": top.offset,
                }
            )
            self.keep(messages[-1], top)
        return messages

    def keep(self, message: Payload, position: Position) -> None:
        """A message was published, unless it was before."""
        known = self.tops.get(message["channel"])
        if known is not None and known.offset >= position.offset:
            return
        self.tops[message["channel"]] = position
        self.kept[message["channel"]].append(message)

    async def visit(self, channel: str) -> list[Payload]:
        """Somebody joins, and leaves."""
        await self._ghost.call("subscribe", {"channel": channel})
        await self._seen(channel, "$join")
        await self._ghost.call("unsubscribe", {"channel": channel})
        await self._seen(channel, "$leave")
        ghost = {"id": "ghost", "user": "ghost"}
        return [
            {"channel": channel, "event": event, "data": ghost} for event in ("$join", "$leave")
        ]

    async def _seen(self, channel: str, event: str) -> None:
        while True:
            message = await self._root.message()
            about = message["channel"], message["event"]
            if about == (channel, event) and message["data"]["id"] == "ghost":
                return


def asked_for(world: World, channel: str, way: Way) -> Payload:
    """The payload of a call."""
    payload = {"channel": channel, **way.payload}
    if "recover" in payload:
        top = world.tops[channel]
        payload["recover"] = {"offset": top.offset - 2, "epoch": top.epoch}
    return payload


def response(world: World, user: str, channel: str, way: Way, subscribed: Payload) -> Payload:
    """What comes of a call that is allowed; of others than these it is checked otherwise."""
    top, kept = world.tops[channel], world.kept[channel][-20:]
    position = {"offset": top.offset, "epoch": top.epoch}
    match way.method:
        case "history":
            kept = kept[::-1][:3] if way.payload else kept
            return {"messages": kept, **position}
        case "subscribe":
            subscribed[channel] = [way.pattern]
            expected = {"subscribed": dict(subscribed), **position}
            if "recover" in way.payload:
                readable = may(user, "history", channel, "*")
                fits = Pattern(way.pattern).matches
                missed = [each for each in kept[-2:] if readable and fits(each["event"])]
                expected |= {"recovered": readable, "messages": missed}
            return expected
    return {}


async def go(world: World, client: Speaker, user: str, way: Way) -> list[Payload]:
    """Try one way on each channel; returns what happened there that this client may see."""
    subscribed: Payload = {}
    allowed: set[str] = set()
    for channel in CHANNELS:
        refused = [action for action, event in way.asks if not may(user, action, channel, event)]
        expected = response(world, user, channel, way, {} if refused else subscribed)
        answer = await client.ask(way.method, asked_for(world, channel, way))
        if refused:
            refusal = {"code": ErrorCode.NOT_ALLOWED, "message": REFUSALS[refused[0]]}
            assert answer["error"] == refusal, (user, channel, way)
            continue
        allowed.add(channel)
        found = answer["response"]
        if way.method == "presence":
            ids = {member["id"] for member in found["members"]}
            assert "root" in ids
            assert ids <= {"root", user}
        elif way.method == "publish":
            position = Position(found.pop("offset"), found.pop("epoch"))
            assert found == {"channel": channel, "event": way.pattern, "data": "mine"}
            world.keep({**found, "offset": position.offset}, position)
        else:
            assert found == expected, (user, channel, way)
    seen = []
    for channel in CHANNELS:
        messages, guests = await world.publish(channel), await world.visit(channel)
        if way.method == "subscribe" and channel in allowed:
            seen += [each for each in messages if Pattern(way.pattern).matches(each["event"])]
            seen += guests if "presence" in way.payload else []
    return seen


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
@pytest.mark.parametrize("user", USERS)
async def test_no_way_yields_anything_of_a_channel_that_its_user_may_not_read(
    serve: Serve, user: str, dialect: str
) -> None:
    sockets = SocketsManager(channels=RULES)
    url = await serve(application(Guarded, sockets)) / "stream"
    async with (
        peer(url.with_query(user="root")) as root,
        peer(url.with_query(user="ghost")) as ghost,
    ):
        world = World(sockets, root, ghost)
        await world.begin()
        for way in WAYS:
            async with speaking(url.with_query(user=user), dialect) as client:
                expected = await go(world, client, user, way)
                await client.call("info")
                # of who comes and goes, those are told that are somebody else
                seen = [each for each in client.messages if not _is_of(each, user)]
                assert seen == expected, (user, way)


def _is_of(message: Payload, user: str) -> bool:
    return message["event"] in ("$join", "$leave") and message["data"]["id"] == user


# --- what authorize is asked, and what it says ---------------------------------------------------


class Asking(Named):
    """Notes what it is asked, and says what it is told to."""

    asked: list[tuple[str, str, str]]
    says: dict[str, Any]
    """An answer for each action, or an exception."""

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        self.asked.append((action, channel, event))
        answer = self.says.get(action, True)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return] # that is what is tested


def asking(**says: Any) -> type[Asking]:
    """An endpoint of its own for one test."""
    return type("Asking", (Asking,), {"asked": [], "says": says})


SINCE = {"offset": 0, "epoch": "x"}


@pytest.mark.parametrize(
    ("method", "payload", "asked"),
    [
        ("subscribe", {}, [("subscribe", "c", "*")]),
        ("subscribe", {"event": None}, [("subscribe", "c", "*")]),
        ("subscribe", {"event": "task.*"}, [("subscribe", "c", "task.*")]),
        (
            "subscribe",
            {"event": "a", "recover": SINCE, "presence": True},
            [("subscribe", "c", "a"), ("presence", "c", ""), ("history", "c", "*")],
        ),
        ("subscribe", {"recover": None, "presence": False}, [("subscribe", "c", "*")]),
        ("unsubscribe", {}, []),
        ("history", {"limit": 1}, [("history", "c", "*")]),
        ("presence", {}, [("presence", "c", "")]),
        ("publish", {"data": 1}, [("publish", "c", "")]),
        ("publish", {"data": 1, "event": "a", "key": "k"}, [("publish", "c", "a")]),
    ],
)
async def test_each_call_asks_for_all_that_it_wants_and_for_nothing_else(
    serve: Serve, method: str, payload: Payload, asked: list[tuple[str, str, str]]
) -> None:
    endpoint = asking()
    sockets = SocketsManager(channels=RULES)
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        await client.ask(method, {"channel": "c", **payload})
        assert endpoint.asked == asked


@pytest.mark.parametrize("answer", [None, 1, "yes", [True], object(), False, 0, RpcError])
async def test_whatever_is_not_true_is_a_no(serve: Serve, answer: object) -> None:
    endpoint = asking(subscribe=answer, publish=answer, history=answer, presence=answer)
    sockets = SocketsManager(channels=RULES)
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        for method, more in (
            ("subscribe", {}),
            ("publish", {"data": 1}),
            ("history", {}),
            ("presence", {}),
        ):
            assert await client.error(method, {"channel": "c", **more}) == {
                "code": -32002,
                "message": REFUSALS[method],
            }
        assert sockets.channels.info() == {}
        assert await sockets.publish("c", "", 1) is not None
        await client.call("info")
        assert client.messages == []


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_authorize_may_refuse_in_its_own_words(serve: Serve, dialect: str) -> None:
    refusal = RpcError(7, "log in first", data={"at": "/login"}, retry_after=5)
    endpoint = asking(subscribe=refusal, publish=refusal, history=refusal, presence=refusal)
    sockets = SocketsManager(channels=RULES)
    async with speaking(await serve(application(endpoint, sockets)) / "stream", dialect) as client:
        for method, more in (
            ("subscribe", {}),
            ("publish", {"data": 1}),
            ("history", {}),
            ("presence", {}),
        ):
            error = await client.error(method, {"channel": "c", **more})
            assert (error["code"], error["message"]) == (7, "log in first")
            assert (error["data"]["at"], error["retry_after"]) == ("/login", 5)
        assert sockets.channels.info() == {}


async def test_an_authorize_that_fails_is_an_internal_error_and_yields_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    sockets = SocketsManager(channels=RULES)
    await sockets.publish("c", "kept", "a secret")
    for action, method, more in (
        ("subscribe", "subscribe", {}),
        ("presence", "subscribe", {"presence": True}),
        ("publish", "publish", {"data": 1}),
        ("history", "history", {}),
        ("presence", "presence", {}),
    ):
        endpoint = asking(**{action: LookupError("no such user")})
        async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
            error = await client.error(method, {"channel": "c", **more})
            assert (error["code"], error["message"]) == (-32603, "Internal error")
            assert error["data"].keys() == {"error_id"}
            assert sockets.channels.info() == {}
            await sockets.publish("c", "live", "a secret")
            await client.call("info")
            assert client.messages == []
    assert caplog.text.count("LookupError: no such user") == 5


@pytest.mark.parametrize("refusal", [False, None, RpcError(7, "log in"), OSError("cut")])
async def test_who_may_not_read_history_recovers_nothing_and_gets_what_comes(
    serve: Serve, refusal: object
) -> None:
    sockets = SocketsManager(channels=RULES)
    endpoint = asking(history=refusal)
    first = await sockets.publish("c", "kept", "a secret")
    assert first is not None
    since = {"offset": 0, "epoch": first.epoch}
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        assert await client.call("subscribe", {"channel": "c", "recover": since}) == {
            "subscribed": {"c": ["*"]},
            "offset": 1,
            "epoch": first.epoch,
            "recovered": False,
            "messages": [],
        }
        await sockets.publish("c", "live", 1)
        assert (await client.message())["event"] == "live"


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_a_notification_is_asked_for_as_a_call_is(serve: Serve, dialect: str) -> None:
    sockets = SocketsManager(channels=RULES)
    endpoint = asking(subscribe=False, publish=False)
    inbox: list[str] = []

    async def keep(channel: str, event: str, data: Any) -> None:
        inbox.append(event)

    await sockets.channels.register("c", "*", keep)
    async with speaking(await serve(application(endpoint, sockets)) / "stream", dialect) as client:
        for method, more in (("subscribe", {}), ("publish", {"event": "mine", "data": 1})):
            payload = {"channel": "c", **more}
            await client.send({"id": None, "method": method, "payload": payload})
        await client.call("info")
        await sockets.publish("c", "live", 1)
        await client.call("info")
        assert client.messages == []
        assert len(endpoint.asked) == 2
    assert inbox == ["live"]


async def test_a_message_that_may_not_be_published_reaches_nobody(serve: Serve) -> None:
    sockets = SocketsManager(channels=RULES)
    endpoint = asking(publish=False)
    url = await serve(application(endpoint, sockets)) / "stream"
    async with peer(url) as one, peer(url) as other:
        await other.call("subscribe", {"channel": "c"})
        for more in ({}, {"key": "k"}):
            await one.error("publish", {"channel": "c", "event": "no", "data": 1, **more})
        top = await sockets.publish("c", "yes", 1)
        assert top is not None
        assert top.offset == 1
        assert (await other.message())["event"] == "yes"


# --- wrong declarations --------------------------------------------------------------------------


def _sync(self: object, action: str, channel: str, event: str) -> bool:
    return True


async def _too_few(self: object, action: str, channel: str) -> bool:
    return True


async def _too_many(self: object, action: str, channel: str, event: str, user: str) -> bool:
    return True


async def _keyword(self: object, action: str, channel: str, *, event: str) -> bool:
    return True


@pytest.mark.parametrize("function", [_sync, _too_few, _too_many, _keyword, None, True])
def test_an_authorize_that_cannot_be_called_is_refused_where_the_class_is(function: Any) -> None:
    with pytest.raises(DeclarationError) as refusal:
        type("Wrong", (ApiPath, WsPathMixin, Subscribe), {"authorize": function})
    assert str(refusal.value) == (
        "Wrong.authorize: it must be `async def authorize(self, action, channel, event)`"
    )


def test_an_authorize_of_another_class_counts_wherever_it_stands() -> None:
    class Wrong:
        authorize = _sync

    for bases in ((Wrong, ApiPath, WsPathMixin), (Wrong, WsPathMixin, Subscribe, Publish)):
        with pytest.raises(DeclarationError, match="Endpoint.authorize: it must be"):
            type("Endpoint", bases, {})


def test_an_authorize_may_name_its_arguments_as_it_likes_and_have_more_with_defaults() -> None:
    async def names(self: object, what: str, where: str, which: str, strict: bool = True) -> bool:
        return strict

    async def rest(self: object, *question: str) -> bool:
        return bool(question)

    for function in (names, rest):
        type("Fine", (ApiPath, WsPathMixin, Subscribe), {"authorize": function})


# --- an authorize that takes its time ------------------------------------------------------------


class Gate:
    """Questions that wait until they are answered, by channel and event."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], asyncio.Future[bool]] = {}
        self._asked: dict[tuple[str, str], asyncio.Event] = {}

    def _event(self, channel: str, event: str) -> asyncio.Event:
        return self._asked.setdefault((channel, event), asyncio.Event())

    async def ask(self, channel: str, event: str) -> bool:
        """Wait for the answer."""
        answer = self._answers.setdefault(
            (channel, event), asyncio.get_running_loop().create_future()
        )
        self._event(channel, event).set()
        return await answer

    def answer(self, channel: str, event: str, answer: bool = True) -> None:
        """Answer a question, asked already or not."""
        future = self._answers.setdefault(
            (channel, event), asyncio.get_running_loop().create_future()
        )
        future.set_result(answer)

    def fail(self, channel: str, event: str, error: Exception) -> None:
        """Fail at a question that was asked."""
        self._answers[channel, event].set_exception(error)

    async def asked(self, channel: str, event: str) -> None:
        """Wait for the question."""
        await self._event(channel, event).wait()


def gated(gate: Gate, only: str = "publish") -> type[Named]:
    """An endpoint whose authorize asks a gate, about one action."""

    class Gated(Named):
        async def authorize(self, action: str, channel: str, event: str) -> bool:
            return action != only or await gate.ask(channel, event)

    return Gated


@pytest.mark.parametrize("history", [0, 10])
async def test_a_clients_messages_keep_their_order_however_long_each_is_thought_about(
    serve: Serve, history: int
) -> None:
    gate = Gate()
    sockets = SocketsManager(channels=[ChannelRule("*", history=history)])
    async with peer(await serve(application(gated(gate), sockets)) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
        for number in range(5):
            payload = {"channel": "c", "event": f"e{number}", "data": number}
            await client.send({"id": f"p{number}", "method": "publish", "payload": payload})
        for number in (4, 3, 1, 2):
            gate.answer("c", f"e{number}", number != 3)
        await client.call("info")
        assert client.messages == []
        gate.answer("c", "e0")
        frames = [await client.receive() for _ in range(9)]
        assert [frame["event"] for frame in frames if "event" in frame] == ["e0", "e1", "e2", "e4"]
        assert [frame["id"] for frame in frames if "id" in frame] == [f"p{n}" for n in range(5)]
        (refused,) = [frame for frame in frames if "error" in frame]
        assert refused["id"] == "p3"


async def test_messages_on_other_channels_and_of_others_do_not_wait(serve: Serve) -> None:
    gate = Gate()
    sockets = SocketsManager()
    url = await serve(application(gated(gate), sockets)) / "stream"
    async with peer(url) as one, peer(url) as other:
        for channel in ("c", "d"):
            await other.call("subscribe", {"channel": channel})
        await one.send({"id": "slow", "method": "publish", "payload": {"channel": "c", "data": 1}})
        await gate.asked("c", "")
        gate.answer("d", "")
        await one.call("publish", {"channel": "d", "data": 2})
        gate.answer("c", "mine")
        await other.call("publish", {"channel": "c", "event": "mine", "data": 3})
        assert [(await other.message())["data"] for _ in range(2)] == [2, 3]
        gate.answer("c", "")
        assert (await other.message())["data"] == 1


async def test_a_message_that_is_cancelled_while_it_is_thought_about_holds_up_no_other(
    serve: Serve,
) -> None:
    gate = Gate()
    sockets = SocketsManager()
    async with peer(await serve(application(gated(gate), sockets)) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
        for id in ("first", "second"):
            payload = {"channel": "c", "event": id, "data": 1}
            await client.send({"id": id, "method": "publish", "payload": payload})
        await gate.asked("c", "first")
        await client.send({"id": "first", "cancel": True})
        gate.answer("c", "second")
        assert (await client.receive())["error"]["code"] == ErrorCode.CANCELLED
        frames = [await client.receive() for _ in range(2)]
        assert {frame.get("event", frame.get("id")) for frame in frames} == {"second"}


@pytest.mark.parametrize("action", ["subscribe", "presence", "history"])
async def test_a_connection_that_ends_while_it_is_thought_about_gets_nothing(
    serve: Serve, action: str
) -> None:
    gate = Gate()
    sockets = SocketsManager(channels=RULES)
    url = await serve(application(gated(gate, action), sockets)) / "stream"
    socket = await RawSocket.open(url)
    (ws,) = sockets.sockets
    payload = {"channel": "c", "event": "x", "recover": SINCE, "presence": True}
    socket.send({"id": 1, "method": "subscribe", "payload": payload})
    event = {"subscribe": "x", "presence": "", "history": "*"}[action]
    await gate.asked("c", event)
    socket.reset()
    await ws.connection.wait_closed()
    await sockets.drain()
    assert sockets.server_info() == {"connections": 0, "channels": {}}
    assert (len(sockets.channels.gates), len(sockets.channels.feeds)) == (0, 0)


async def test_who_unsubscribes_while_it_is_thought_about_has_no_subscription(
    serve: Serve,
) -> None:
    gate = Gate()
    sockets = SocketsManager()
    async with peer(await serve(application(gated(gate, "subscribe"), sockets)) / "stream") as it:
        for method in ("subscribe", "unsubscribe"):
            await it.send({"id": method, "method": method, "payload": {"channel": "c"}})
        await gate.asked("c", "*")
        gate.answer("c", "*")
        assert (await it.receive())["response"] == {"subscribed": {"c": ["*"]}}
        assert (await it.receive())["response"] == {"subscribed": {}}
        assert sockets.channels.info() == {}


# --- asking anew ---------------------------------------------------------------------------------


class Changing(Named):
    """Allows what is in ``rights``; a question may wait at a gate."""

    rights: set[tuple[str, str, str]]
    asked: list[tuple[str, str, str]]
    gates: dict[tuple[str, str, str], Gate]

    async def authorize(self, action: str, channel: str, event: str) -> bool:
        question = action, channel, event
        self.asked.append(question)
        allowed = question in self.rights
        if (gate := self.gates.get(question)) is not None:
            return await gate.ask(channel, event)
        return allowed

    async def ws_rpc_reconsider(self, payload: Payload) -> list[str]:
        """Ask anew"""
        return await self.reauthorize()


def changing(*rights: tuple[str, str, str]) -> type[Changing]:
    """An endpoint of its own for one test."""
    return type("Changing", (Changing,), {"asked": [], "rights": set(rights), "gates": {}})


def lost(channel: str, *events: str, action: str = "subscribe") -> Payload:
    """What a client is told of subscriptions that it may not have any more."""
    data = {"code": -32002, "message": REFUSALS[action], "events": list(events)}
    return {"channel": channel, "event": "$unsubscribed", "data": data}


A, B = ("subscribe", "a", "x"), ("subscribe", "a", "y*")
C, WATCH = ("subscribe", "b", "*"), ("presence", "b", "")


@pytest.mark.parametrize("dialect", [NATIVE, PACKED, JSONRPC])
async def test_what_is_refused_when_asked_anew_is_lost_and_the_client_is_told(
    serve: Serve, dialect: str
) -> None:
    endpoint = changing(A, B, C)
    sockets = SocketsManager(channels=RULES)
    async with speaking(await serve(application(endpoint, sockets)) / "stream", dialect) as client:
        for _, channel, event in (A, B, C):
            await client.call("subscribe", {"channel": channel, "event": event})
        (ws,) = sockets.sockets
        endpoint.asked.clear()
        assert await ws.reauthorize() == []
        assert endpoint.asked == [A, B, C]
        endpoint.rights.discard(B)
        assert await ws.reauthorize() == ["a"]
        assert await client.message() == lost("a", "y*")
        for event in ("x", "y1"):
            await sockets.publish("a", event, 1)
            await sockets.publish("b", event, 1)
        messages = [await client.message() for _ in range(3)]
        assert [(each["channel"], each["event"]) for each in messages] == [
            ("a", "x"),
            ("b", "x"),
            ("b", "y1"),
        ]
        endpoint.rights.clear()
        assert await ws.reauthorize() == ["a", "b"]
        assert [await client.message() for _ in range(2)] == [lost("a", "x"), lost("b", "*")]
        assert sockets.channels.info() == {}
        assert await ws.reauthorize() == []


async def test_several_patterns_that_are_lost_are_told_one_by_one(serve: Serve) -> None:
    endpoint = changing(A, B)
    sockets = SocketsManager()
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        for _, channel, event in (A, B):
            await client.call("subscribe", {"channel": channel, "event": event})
        endpoint.rights.clear()
        assert await client.call("reconsider") == ["a"]
        assert client.messages == [lost("a", "x"), lost("a", "y*")]
        await client.error("unsubscribe", {"channel": "a"})


async def test_an_error_is_a_no_when_it_is_asked_anew(serve: Serve) -> None:
    endpoint = asking()
    sockets = SocketsManager()
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        await client.call("subscribe", {"channel": "a"})
        endpoint.says["subscribe"] = RpcError(7, "log in first")
        (ws,) = sockets.sockets
        assert await ws.reauthorize() == ["a"]
        assert await client.message() == lost("a", "*")


async def test_an_authorize_that_fails_when_asked_anew_is_a_no_and_the_others_are_asked(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = changing(A, B, C)
    sockets = SocketsManager()
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        for _, channel, event in (A, B, C):
            await client.call("subscribe", {"channel": channel, "event": event})
        (ws,) = sockets.sockets
        endpoint.rights = {B}
        gate = endpoint.gates[A] = Gate()
        asking_anew = asyncio.create_task(ws.reauthorize())
        await gate.asked("a", "x")
        gate.fail("a", "x", OSError("the wire is cut"))
        assert await asking_anew == ["a", "b"]
        assert [await client.message() for _ in range(2)] == [lost("a", "x"), lost("b", "*")]
        assert sockets.channels.info() == {"a": {"y*": 1}}
    assert "the wire is cut" in caplog.text


async def test_presence_is_lost_by_itself(serve: Serve) -> None:
    endpoint = changing(C, WATCH)
    sockets = SocketsManager(channels=RULES)
    url = await serve(application(endpoint, sockets)) / "stream"
    async with peer(url.with_query(user="anna")) as client, peer(url) as other:
        await client.call("subscribe", {"channel": "b", "presence": True})
        assert (await client.message())["data"] == {"id": "anna", "user": "anna"}
        (ws,) = [each for each in sockets.sockets if each.user == "anna"]
        assert await ws.reauthorize() == []
        endpoint.rights.discard(WATCH)
        assert await ws.reauthorize() == ["b"]
        assert await client.message() == lost("b", "$join", "$leave", action="presence")
        assert await ws.reauthorize() == []
        await other.call("subscribe", {"channel": "b"})
        await other.call("unsubscribe", {"channel": "b"})
        members = await sockets.channels.presence.members("b")
        assert [member.id for member in members] == ["anna"]  # so the join was told to who may
        await sockets.publish("b", "x", 1)
        assert (await client.message())["event"] == "x"
        assert sockets.channels.info() == {"b": {"*": 1}}


async def test_who_lost_a_channel_is_not_present_on_it_any_more(serve: Serve) -> None:
    endpoint = changing(C, WATCH)
    sockets = SocketsManager(channels=RULES)
    url = await serve(application(endpoint, sockets)) / "stream"
    async with peer(url.with_query(user="anna")) as client, peer(url) as other:
        await other.call("subscribe", {"channel": "b", "presence": True})
        await client.call("subscribe", {"channel": "b", "presence": True})
        while (await other.message())["data"]["id"] != "anna":
            pass
        endpoint.rights.clear()
        (ws,) = [each for each in sockets.sockets if each.user == "anna"]
        assert await ws.reauthorize() == ["b"]
        assert await other.message() == {
            "channel": "b",
            "event": "$leave",
            "data": {"id": "anna", "user": "anna"},
        }
        while (message := await client.message())["event"] == "$join":
            pass
        assert message == lost("b", "*")


async def test_a_subscription_that_was_made_anew_meanwhile_is_not_touched(serve: Serve) -> None:
    for leaves in (True, False):
        endpoint = changing(C)
        sockets = SocketsManager()
        async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
            await client.call("subscribe", {"channel": "b"})
            (ws,) = sockets.sockets
            gate = endpoint.gates[C] = Gate()
            asking_anew = asyncio.create_task(ws.reauthorize())
            await gate.asked("b", "*")
            del endpoint.gates[C]
            if leaves:
                await client.call("unsubscribe", {"channel": "b"})
            await client.call("subscribe", {"channel": "b"})
            gate.answer("b", "*", False)
            assert await asking_anew == []
            await sockets.publish("b", "x", 1)
            assert (await client.message())["event"] == "x"


async def test_a_subscription_that_was_taken_back_meanwhile_is_no_loss(serve: Serve) -> None:
    endpoint = changing(A, B, C)
    sockets = SocketsManager()
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        for _, channel, event in (A, B, C):
            await client.call("subscribe", {"channel": channel, "event": event})
        (ws,) = sockets.sockets
        gate = endpoint.gates[A] = Gate()
        endpoint.asked.clear()
        asking_anew = asyncio.create_task(ws.reauthorize())
        await gate.asked("a", "x")
        await client.call("unsubscribe", {"channel": "a", "event": "x"})
        await client.call("unsubscribe", {"channel": "a", "event": "y*"})
        gate.answer("a", "x", False)
        assert await asking_anew == []
        assert endpoint.asked == [A, C]
        await client.call("info")
        assert client.messages == []


async def test_presence_that_was_asked_for_anew_meanwhile_is_not_taken_away(serve: Serve) -> None:
    endpoint = changing(C, WATCH)
    sockets = SocketsManager(channels=RULES)
    url = await serve(application(endpoint, sockets)) / "stream"
    async with peer(url.with_query(user="anna")) as client, peer(url) as other:
        await client.call("subscribe", {"channel": "b", "presence": True})
        (ws,) = [each for each in sockets.sockets if each.user == "anna"]
        gate = endpoint.gates[WATCH] = Gate()
        asking_anew = asyncio.create_task(ws.reauthorize())
        await gate.asked("b", "")
        del endpoint.gates[WATCH]
        await client.call("unsubscribe", {"channel": "b"})
        await client.call("subscribe", {"channel": "b", "presence": True})
        gate.answer("b", "", False)
        assert await asking_anew == []
        await other.call("subscribe", {"channel": "b"})
        while (message := await client.message())["data"].get("user") == "anna":
            assert message["event"] in ("$join", "$leave")
        assert message["event"] == "$join"


async def test_presence_that_was_taken_back_meanwhile_is_no_loss(serve: Serve) -> None:
    endpoint = changing(C, WATCH)
    sockets = SocketsManager(channels=RULES)
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        await client.call("subscribe", {"channel": "b", "presence": True})
        (ws,) = sockets.sockets
        gate = endpoint.gates[WATCH] = Gate()
        asking_anew = asyncio.create_task(ws.reauthorize())
        await gate.asked("b", "")
        await client.call("unsubscribe", {"channel": "b"})
        gate.answer("b", "", False)
        assert await asking_anew == []
        await client.call("info")
        assert {message["event"] for message in client.messages} <= {"$join", "$leave"}


async def test_a_connection_that_ends_while_it_is_asked_anew_leaves_nothing(serve: Serve) -> None:
    endpoint = changing(A, C)
    sockets = SocketsManager(channels=RULES)
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        for _, channel, event in (A, C):
            await client.call("subscribe", {"channel": channel, "event": event})
        (ws,) = sockets.sockets
        gate = endpoint.gates[A] = Gate()
        asking_anew = asyncio.create_task(ws.reauthorize())
        await gate.asked("a", "x")
    await ws.connection.wait_closed()
    gate.answer("a", "x", False)
    assert await asking_anew == []
    assert sockets.channels.info() == {}


class Slow(SocketsManager):
    """Takes its time to have a channel carried here."""

    def __init__(self) -> None:
        super().__init__(channels=RULES)
        self.waits, self.go = asyncio.Event(), asyncio.Event()

    async def subscribe(self, channel: str) -> None:
        self.waits.set()
        await self.go.wait()
        await super().subscribe(channel)


@pytest.mark.parametrize("presence", [False, True])
async def test_a_subscription_that_is_on_its_way_is_asked_for_anew(
    serve: Serve, presence: bool
) -> None:
    endpoint = changing(C, WATCH)
    sockets = Slow()
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        payload = {"channel": "b", "presence": presence}
        await client.send({"id": "s", "method": "subscribe", "payload": payload})
        await sockets.waits.wait()
        endpoint.rights.discard(WATCH if presence else C)
        (ws,) = sockets.sockets
        assert await ws.reauthorize() == []
        sockets.go.set()
        error = (await client.receive())["error"]
        assert error["message"] == REFUSALS["presence" if presence else "subscribe"]
        await sockets.drain()
        assert sockets.channels.info() == {}


async def test_a_recovery_that_is_on_its_way_is_asked_for_anew(serve: Serve) -> None:
    history = ("history", "b", "*")
    endpoint = changing(C, history)
    sockets = Slow()
    first = await sockets.publish("b", "kept", "a secret")
    assert first is not None
    async with peer(await serve(application(endpoint, sockets)) / "stream") as client:
        since = {"offset": 0, "epoch": first.epoch}
        payload = {"channel": "b", "recover": since}
        await client.send({"id": "s", "method": "subscribe", "payload": payload})
        await sockets.waits.wait()
        endpoint.rights.discard(history)
        (ws,) = sockets.sockets
        assert await ws.reauthorize() == []
        sockets.go.set()
        response = (await client.receive())["response"]
        assert (response["recovered"], response["messages"]) == (False, [])


async def test_when_the_user_changes_what_is_not_the_new_ones_is_lost(serve: Serve) -> None:
    sockets = SocketsManager(channels=RULES)
    url = await serve(application(Guarded, sockets)) / "stream"
    async with peer(url.with_query(user="anna")) as client:
        await client.call("subscribe", {"channel": OWN, "presence": True})
        await client.call("subscribe", {"channel": PARTLY, "event": "public.*"})
        (ws,) = sockets.sockets
        ws.user = "live"
        assert await ws.reauthorize() == [OWN]
        await client.call("info")
        messages = [each for each in client.messages if each["event"] not in ("$join", "$leave")]
        assert messages == [lost(OWN, "$join", "$leave", action="presence")]
        client.messages.clear()
        ws.user = "bert"
        assert await ws.reauthorize() == [OWN, PARTLY]
        assert [await client.message() for _ in range(2)] == [
            lost(OWN, "*"),
            lost(PARTLY, "public.*"),
        ]
        ws.user = None
        assert await ws.reauthorize() == []
        assert sockets.channels.info() == {}


async def test_what_the_server_subscribed_somebody_to_is_asked_for_too(serve: Serve) -> None:
    sockets = SocketsManager()
    async with peer(await serve(application(changing(), sockets)) / "stream") as client:
        await client.call("info")
        (ws,) = sockets.sockets
        await sockets.subscribe_socket("a", "x", socket_id=ws.socket_id)
        assert (await client.message())["event"] == "$subscribed"
        assert await ws.reauthorize() == ["a"]
        assert await client.message() == lost("a", "x")
