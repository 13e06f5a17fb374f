"""A socket as its endpoint sees it: what it knows, its hooks, and calls of its client."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from yarl import URL

from openapi.errors import (
    CallFailed,
    ConnectionClosed,
    DeclarationError,
    ErrorCode,
    UnexpectedData,
    Unserializable,
)
from openapi.ws import Limits, RpcError, SocketsManager, Websocket, WsPathMixin, ws_rpc
from tests.conftest import Serve
from tests.ws.endpoints import Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.raw import CLOSE, HANDSHAKE, PING, RawSocket, masked, message

Payload = dict[str, Any]


async def served(
    serve: Serve, endpoint: type[Endpoint], **limits: Any
) -> tuple[URL, SocketsManager]:
    sockets = SocketsManager(limits=Limits(**limits))
    return await serve(application(endpoint, sockets)) / "stream", sockets


async def gone(sockets: SocketsManager) -> None:
    """Wait until the server has noticed the end of every socket."""
    for socket in list(sockets.sockets):
        await socket.connection.wait_closed()


def tables(sockets: SocketsManager) -> list[int]:
    """How many entries the manager has of sockets, users and tasks."""
    parts = vars(sockets)["_SocketsManager__parts"]
    directory, background = parts.directory, parts.background
    return [len(directory), directory.users, len(background.own), len(background.outliving)]


NOTHING = [0, 0, 0, 0]


# What it knows


class Knowing(Endpoint):
    """Tells what it knows."""

    async def ws_rpc_who(self, payload: Payload) -> Any:
        return [self.request.headers["X-Name"], self.socket_id, str(self)]

    async def ws_rpc_keep(self, payload: Payload) -> list[Any]:
        kept: list[Any] = vars(self.state).setdefault("kept", [])
        kept.append(payload)
        return kept

    async def ws_rpc_name(self, payload: Payload) -> None:
        self.user = payload["user"]


async def test_a_handler_knows_its_request_and_its_socket(serve: Serve) -> None:
    url, sockets = await served(serve, Knowing)
    async with (
        peer(url, additional_headers={"X-Name": "one"}) as one,
        peer(url, additional_headers={"X-Name": "other"}) as other,
    ):
        answers = [await client.call("who") for client in (one, other)]
        assert [answer[0] for answer in answers] == ["one", "other"]
        ids = {socket.socket_id for socket in sockets.sockets}
        assert len(ids) == 2
        assert {answer[1] for answer in answers} == {answer[2] for answer in answers} == ids


async def test_the_state_of_a_socket_is_its_own(serve: Serve) -> None:
    url, _ = await served(serve, Knowing)
    async with peer(url) as one, peer(url) as other:
        assert await one.call("keep", {"a": 1}) == [{"a": 1}]
        assert await other.call("keep", {"b": 1}) == [{"b": 1}]
        assert await one.call("keep", {"a": 2}) == [{"a": 1}, {"a": 2}]


async def test_a_socket_is_nobodys_until_it_says_whose_it_is(serve: Serve) -> None:
    url, sockets = await served(serve, Knowing)
    async with peer(url) as client:
        (socket,) = sockets.sockets
        assert (socket.user, tables(sockets)) == (None, [1, 0, 0, 0])
        for user in ("ada", "ada", "grace", None, 7):
            await client.call("name", {"user": user})
            assert socket.user == user
            assert tables(sockets) == [1, 0 if user is None else 1, 0, 0]
    await gone(sockets)
    assert tables(sockets) == NOTHING


async def test_a_user_that_is_not_hashable_is_refused_and_changes_nothing(serve: Serve) -> None:
    url, sockets = await served(serve, Knowing)
    async with peer(url) as client:
        (socket,) = sockets.sockets
        await client.call("name", {"user": "ada"})
        with pytest.raises(TypeError):
            socket.user = ["ada"]  # type: ignore[assignment]
        assert (socket.user, tables(sockets)) == ("ada", [1, 1, 0, 0])
        asking = asyncio.create_task(sockets.call("x", user="ada"))
        await client.send({"id": (await client.receive())["id"], "response": 1})
        assert [reply.result for reply in await asking] == [1]


async def test_a_user_that_is_named_when_the_socket_is_gone_is_not_remembered(
    serve: Serve,
) -> None:
    class Late(Knowing):
        async def on_disconnect(self, code: int) -> None:
            self.user = "ada"
            left.set()

    left = asyncio.Event()
    url, sockets = await served(serve, Late)
    async with peer(url) as client:
        await client.call("name", {"user": "grace"})
    await left.wait()
    assert await sockets.call("x", user="ada") == []
    assert tables(sockets)[:2] == [0, 0]


# on_connect


class Greeting(Endpoint):
    """Its ``on_connect`` waits for the gate, and then does what the test wants."""

    gate: asyncio.Event
    log: asyncio.Queue[str]
    raises: BaseException | None = None

    async def on_connect(self) -> None:
        self.log.put_nowait("on_connect began")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.log.put_nowait("on_connect was cancelled")
            raise
        if self.raises is not None:
            raise self.raises
        self.log.put_nowait("on_connect returned")

    async def on_disconnect(self, code: int) -> None:
        self.log.put_nowait(f"on_disconnect {code}")

    async def ws_rpc_note(self, payload: Payload) -> None:
        self.log.put_nowait(f"note {payload.get('n', '')}")

    async def ws_rpc_leave(self, payload: Payload) -> None:
        await self.close(4504, "enough")

    @ws_rpc(lane=True)
    async def ws_rpc_alone(self, payload: Payload) -> None:
        self.log.put_nowait(f"note {payload.get('n', '')}")


@pytest.fixture
def greeting() -> type[Greeting]:
    class Fresh(Greeting):
        gate = asyncio.Event()
        log: asyncio.Queue[str] = asyncio.Queue()

    return Fresh


async def noted(greeting: type[Greeting], *lines: str) -> None:
    assert [await greeting.log.get() for _ in lines] == list(lines)


async def test_no_call_runs_before_on_connect_returned_and_then_in_order(
    serve: Serve, greeting: type[Greeting]
) -> None:
    url, _ = await served(serve, greeting)
    calls = [message({"id": n, "method": "note", "payload": {"n": n}}) for n in range(3)]
    socket = await RawSocket.open(url, behind=calls[0] + calls[1])
    socket.writer.write(calls[2])
    await noted(greeting, "on_connect began")
    socket.writer.write(masked(PING, b""))
    await socket.frame()  # so it has read what came before
    assert greeting.log.empty()
    greeting.gate.set()
    await noted(greeting, "on_connect returned", "note 0", "note 1", "note 2")
    assert [(await socket.receive())["id"] for _ in range(3)] == [0, 1, 2]
    socket.reset()
    await socket.shut()
    await noted(greeting, "on_disconnect 1006")


async def test_a_call_behind_the_handshake_finds_its_own_socket(serve: Serve) -> None:
    class Counting(WsPathMixin):
        async def ws_rpc_info(self, payload: Payload) -> Any:
            return [
                self.sockets.server_info()["connections"],
                len(await self.sockets.call("x", socket_id=self.socket_id, timeout=0.001)),
            ]

    sockets = SocketsManager()
    url = await serve(application(Counting, sockets)) / "stream"
    socket = await RawSocket.open(url, behind=message({"id": 1, "method": "info"}))
    while (frame := await socket.receive()).get("id") != 1:
        pass
    assert frame["response"] == [1, 1]
    await socket.shut()


@pytest.mark.parametrize(
    ("code", "closes"),
    [
        (ErrorCode.NOT_AUTHENTICATED, 4500),
        (ErrorCode.NOT_ALLOWED, 4501),
        (ErrorCode.RATE_LIMITED, 4504),
        (42, 4504),
    ],
)
async def test_on_connect_may_refuse_the_connection(
    serve: Serve, greeting: type[Greeting], code: int, closes: int
) -> None:
    greeting.raises = RpcError(code, "who are you?")
    greeting.gate.set()
    url, sockets = await served(serve, greeting)
    socket = await RawSocket.open(url, behind=message({"id": 1, "method": "note"}))
    assert await socket.frame() == (CLOSE, closes.to_bytes(2) + b"who are you?")
    await socket.shut()
    await gone(sockets)
    await noted(greeting, "on_connect began")
    assert greeting.log.empty()  # neither a call nor on_disconnect
    assert tables(sockets) == NOTHING


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("ä" * 100, "ä" * 61),
        ("x" + "🦉" * 100, "x" + "🦉" * 30),
        ("", ""),
        ("a\udcff", "a?"),  # a header that is not UTF-8
    ],
)
async def test_a_reason_is_cut_to_what_a_closing_frame_holds(
    serve: Serve, greeting: type[Greeting], message: str, reason: str
) -> None:
    greeting.raises = RpcError(ErrorCode.NOT_ALLOWED, message)
    greeting.gate.set()
    url, _ = await served(serve, greeting)
    async with peer(url) as client:
        assert await client.closed() == (4501, reason)


async def test_a_refusal_may_quote_a_header_that_is_not_utf_8(serve: Serve) -> None:
    class Quoting(Endpoint):
        async def on_connect(self) -> None:
            token = self.request.headers["X-Token"]
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, f"no token {token}")

    url, _ = await served(serve, Quoting)
    handshake = HANDSHAKE.format(path=url.path, host=url.host, port=url.port).encode()
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(handshake.replace(b"Upgrade: web", b"X-Token: \xff\r\nUpgrade: web"))
    await reader.readuntil(b"\r\n\r\n")
    socket = RawSocket(reader, writer)
    assert await socket.frame() == (CLOSE, (4500).to_bytes(2) + b"no token ?")
    await socket.shut()


@pytest.mark.parametrize(
    "raises", [KeyError("secret"), asyncio.CancelledError("secret"), GeneratorExit("secret")]
)
async def test_an_on_connect_that_fails_closes_the_connection_and_is_logged(
    serve: Serve,
    greeting: type[Greeting],
    caplog: pytest.LogCaptureFixture,
    raises: BaseException,
) -> None:
    greeting.raises = raises
    greeting.gate.set()
    url, sockets = await served(serve, greeting)
    socket = await RawSocket.open(url, behind=message({"id": 1, "method": "note"}))
    assert await socket.close_code() == 1011
    await socket.shut()
    await gone(sockets)
    (record,) = caplog.records
    assert "on_connect of socket" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is raises
    await noted(greeting, "on_connect began")
    assert greeting.log.empty()


async def test_an_on_connect_that_cancels_itself_closes_the_connection(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Cancelling(Endpoint):
        async def on_connect(self) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()

    url, sockets = await served(serve, Cancelling)
    socket = await RawSocket.open(url, behind=message({"id": 1, "method": "info"}))
    assert await socket.close_code() == 1011
    await socket.shut()
    await gone(sockets)
    assert "on_connect of socket" in caplog.text


@pytest.mark.parametrize("end", ["close", "reset", "half-close", "breach"])
async def test_a_client_that_leaves_during_on_connect_cancels_it(
    serve: Serve, greeting: type[Greeting], caplog: pytest.LogCaptureFixture, end: str
) -> None:
    url, sockets = await served(serve, greeting)
    socket = await RawSocket.open(url, behind=message({"id": 1, "method": "note"}))
    await noted(greeting, "on_connect began")
    await leave(socket, end)
    await noted(greeting, "on_connect was cancelled")
    await socket.shut()
    await gone(sockets)
    await asyncio.sleep(0)
    assert tables(sockets) == NOTHING
    assert greeting.log.empty()
    assert caplog.records == []


async def leave(socket: RawSocket, end: str) -> None:
    match end:
        case "close":
            socket.writer.write(masked(CLOSE, b"\x03\xe9"))
        case "close without a code":
            socket.writer.write(masked(CLOSE, b""))
        case "reset":
            socket.reset()
        case "half-close":
            socket.writer.write_eof()
        case "breach":
            socket.writer.write(b"\x81\x00")
            assert await socket.close_code() == 1002
            socket.writer.close()


async def test_on_connect_may_ask_its_client(serve: Serve, greeting: type[Greeting]) -> None:
    class Asking(greeting):  # type: ignore[misc, valid-type]
        async def on_connect(self) -> None:
            self.user = await self.call("login", returns=str)

        async def ws_rpc_who(self, payload: Payload) -> Any:
            return self.user

    url, sockets = await served(serve, Asking)
    async with peer(url) as client:
        await client.send({"id": 1, "method": "who"})
        asked = await client.receive()
        assert asked["method"] == "login"
        await client.send({"id": asked["id"], "response": "ada"})
        assert await client.receive() == {"id": 1, "method": "who", "response": "ada"}
        assert tables(sockets) == [1, 1, 0, 0]


@pytest.mark.parametrize("end", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_while_on_connect_asks_it_is_no_failure(
    serve: Serve, greeting: type[Greeting], caplog: pytest.LogCaptureFixture, end: str
) -> None:
    class Asking(greeting):  # type: ignore[misc, valid-type]
        async def on_connect(self) -> None:
            await self.call("login")

    url, sockets = await served(serve, Asking)
    socket = await RawSocket.open(url)
    assert (await socket.receive())["method"] == "login"
    await leave(socket, end)
    await gone(sockets)
    await socket.shut()
    await asyncio.sleep(0)
    assert (caplog.records, greeting.log.qsize(), tables(sockets)) == ([], 0, NOTHING)


async def test_on_connect_may_subscribe_its_socket(serve: Serve) -> None:
    class Subscribing(Endpoint):
        async def on_connect(self) -> None:
            await self.channels.register("news", None, self.connection)

    url, sockets = await served(serve, Subscribing)
    async with peer(url) as client:
        await client.call("info")
        await sockets.publish("news", "e", 1)
        assert await client.message() == {"channel": "news", "event": "e", "data": 1}


async def test_on_connect_may_close_its_socket(serve: Serve, greeting: type[Greeting]) -> None:
    class Closing(greeting):  # type: ignore[misc, valid-type]
        async def on_connect(self) -> None:
            await self.close(4504, "full")

    url, sockets = await served(serve, Closing)
    socket = await RawSocket.open(url, behind=message({"id": 1, "method": "note"}))
    assert await socket.frame() == (CLOSE, (4504).to_bytes(2) + b"full")
    await socket.shut()
    await gone(sockets)
    await noted(greeting, "on_disconnect 4504")  # it returned
    assert greeting.log.empty()


async def test_calls_that_wait_for_on_connect_have_places(
    serve: Serve, greeting: type[Greeting]
) -> None:
    url, _ = await served(serve, greeting, calls=2)
    async with peer(url) as client:
        for n in range(3):
            await client.send({"id": n, "method": "note", "payload": {"n": n}})
        refused = await client.receive()
        assert (refused["id"], refused["error"]["code"]) == (2, -32004)
        greeting.gate.set()
        assert [(await client.receive())["id"] for _ in range(2)] == [0, 1]


async def test_a_call_that_waits_for_on_connect_can_be_cancelled_and_expires(
    serve: Serve, greeting: type[Greeting]
) -> None:
    url, _ = await served(serve, greeting)
    async with peer(url) as client:
        for n, method in enumerate(("note", "alone", "alone", "alone")):
            await client.send({"id": n, "method": method, "payload": {"n": n}})
        await client.send({"id": 4, "method": "note", "timeout": 20})
        for n in (0, 1):  # the second leaves a lane in which two wait behind it
            await client.send({"id": n, "cancel": True})
            answer = await client.receive()
            assert (answer["id"], answer["error"]["code"]) == (n, -32006)
        answer = await client.receive()
        assert (answer["id"], answer["error"]["code"]) == (4, -32005)
        greeting.gate.set()
        assert [(await client.receive())["id"] for _ in range(2)] == [2, 3]
        await noted(greeting, "on_connect began", "on_connect returned", "note 2", "note 3")


async def test_answers_and_pings_do_not_wait_for_on_connect(
    serve: Serve, greeting: type[Greeting]
) -> None:
    url, _ = await served(serve, greeting)
    async with peer(url) as client:
        await (await client.socket.ping())
        await client.send({"id": 1, "method": "unknown"})
        assert (await client.receive())["error"]["code"] == -32601


# on_disconnect


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("close", 1001),
        ("close without a code", 1005),
        ("reset", 1006),
        ("half-close", 1006),
        ("breach", 1002),
    ],
)
async def test_on_disconnect_gets_the_code_that_the_client_brought_about(
    serve: Serve, greeting: type[Greeting], end: str, code: int
) -> None:
    greeting.gate.set()
    url, sockets = await served(serve, greeting)
    socket = await RawSocket.open(url)
    await noted(greeting, "on_connect began", "on_connect returned")
    await leave(socket, end)
    await noted(greeting, f"on_disconnect {code}")
    await socket.shut()
    await sockets.drain()
    assert tables(sockets) == NOTHING


@pytest.mark.parametrize(
    ("end", "code"),
    [("leave", 4504), ("rubbish", 4503), ("binary", 1003), ("silence", 4000), ("slow", 4008)],
)
async def test_on_disconnect_gets_the_code_that_the_server_closed_with(
    serve: Serve, greeting: type[Greeting], end: str, code: int
) -> None:
    greeting.gate.set()
    ping = {"ping_interval": 0.05, "pong_timeout": 0.05} if end == "silence" else {}
    url, sockets = await served(serve, greeting, errors=3, **ping)
    socket = await RawSocket.open(url)
    await noted(greeting, "on_connect began", "on_connect returned")
    match end:
        case "leave":
            socket.send({"id": None, "method": "leave"})
        case "rubbish":
            for _ in range(4):
                socket.send([])
        case "binary":
            socket.writer.write(masked(2, b"{}"))
        case "slow":
            (ws,) = sockets.sockets
            while not ws.connection.gone:
                await ws.notify("news", {"text": "x" * 100_000})
                await asyncio.sleep(0)
    if end != "slow":
        assert await socket.close_code() == code
    socket.reset()
    await noted(greeting, f"on_disconnect {code}")
    await socket.shut()


async def test_a_shutdown_waits_for_on_disconnect(serve: Serve, greeting: type[Greeting]) -> None:
    class Slow(greeting):  # type: ignore[misc, valid-type]
        async def on_disconnect(self, code: int) -> None:
            await asyncio.sleep(0.01)
            await super().on_disconnect(code)

    greeting.gate.set()
    url, sockets = await served(serve, Slow)
    async with peer(url) as client:
        await client.call("note")
        await sockets.drain()
        while greeting.log.qsize() > 1:
            greeting.log.get_nowait()
        assert greeting.log.get_nowait() == "on_disconnect 1012"


async def test_a_shutdown_ends_an_on_connect_and_an_on_disconnect_that_hang(
    serve: Serve, greeting: type[Greeting]
) -> None:
    class Hanging(greeting):  # type: ignore[misc, valid-type]
        async def on_disconnect(self, code: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.log.put_nowait("on_disconnect was cancelled")

    url, sockets = await served(serve, Hanging, drain_window=0.02, close_timeout=0.02)
    greeting.gate.set()
    async with peer(url):
        await noted(greeting, "on_connect began", "on_connect returned")
        greeting.gate.clear()
        async with peer(url) as waiting:
            await noted(greeting, "on_connect began")
            await waiting.send({"id": 1, "method": "note"})
            await sockets.drain()
            ends = {await greeting.log.get(), await greeting.log.get()}
            assert ends == {"on_connect was cancelled", "on_disconnect was cancelled"}
            assert (await waiting.closed())[0] == 1012


async def test_calls_that_wait_for_on_connect_may_finish_while_the_server_shuts_down(
    serve: Serve, greeting: type[Greeting]
) -> None:
    url, sockets = await served(serve, greeting)
    async with peer(url) as client:
        await client.send({"id": 1, "method": "note"})
        await (await client.socket.ping())
        drain = asyncio.create_task(sockets.drain())
        assert (await client.receive())["event"] == "$reconnect"
        greeting.gate.set()
        assert (await client.receive())["id"] == 1
        assert (await client.closed())[0] == 1012
        await drain


async def test_an_on_disconnect_that_fails_is_logged_and_harms_nobody(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Endpoint):
        async def on_disconnect(self, code: int) -> None:
            raise KeyError("in on_disconnect")

    url, sockets = await served(serve, Failing)
    async with peer(url) as client:
        await client.call("info")
    await sockets.drain()
    assert "in on_disconnect" in caplog.text
    assert tables(sockets) == NOTHING


async def test_a_socket_that_its_manager_cannot_add_has_no_hooks(
    serve: Serve, greeting: type[Greeting], caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(SocketsManager):
        def add(self, ws: Websocket) -> None:
            raise ValueError("no")

    greeting.gate.set()
    sockets = Refusing()
    url = await serve(application(greeting, sockets)) / "stream"
    socket = await RawSocket.open(url, behind=message({"id": 1, "method": "note"}))
    assert await socket.close_code() == 1011
    socket.reset()
    await socket.shut()
    await sockets.drain()
    assert greeting.log.empty()
    assert tables(sockets) == NOTHING


async def test_a_client_that_leaves_behind_the_handshake_has_no_hooks(
    serve: Serve, greeting: type[Greeting]
) -> None:
    url, sockets = await served(serve, greeting)
    goodbye = message({"id": 1, "method": "note"}) + masked(CLOSE, b"\x03\xe8")
    socket = await RawSocket.open(url, behind=goodbye)
    assert await socket.close_code() == 1000
    await socket.shut()
    await gone(sockets)
    assert greeting.log.empty()


def plain(self: Any, *args: Any) -> None: ...
async def without_anything() -> None: ...
async def with_too_much(self: Any, code: int, reason: str) -> None: ...


@pytest.mark.parametrize("hook", ["on_connect", "on_disconnect"])
@pytest.mark.parametrize("wrong", [plain, without_anything, with_too_much])
def test_a_hook_of_another_form_is_refused_when_its_class_is_defined(
    hook: str, wrong: Callable[..., Any]
) -> None:
    with pytest.raises(DeclarationError) as refusal:
        type("Wrong", (WsPathMixin,), {hook: wrong})
    signature = {"on_connect": "(self)", "on_disconnect": "(self, code)"}[hook]
    assert str(refusal.value) == f"Wrong.{hook}: it must be `async def {hook}{signature}`"


# Calls of the client


@dataclass
class Question:
    """What a client is asked."""

    text: str


@dataclass
class Confirmed:
    """What it answers."""

    yes: bool
    by: str = "nobody"


class Asking(Endpoint):
    """Asks its client, and tells how that ended."""

    log: asyncio.Queue[object]

    async def ws_rpc_ask(self, payload: Payload) -> Any:
        try:
            answer = await self.call(
                "confirm",
                Question(payload.get("text", "?")),
                returns=Confirmed,
                timeout=payload.get("timeout", 30),
            )
        except CallFailed as exc:
            return ["failed", exc.code, exc.message, exc.data]
        except UnexpectedData as exc:
            return ["unexpected", exc.errors]
        except TimeoutError as exc:
            return ["timeout", str(exc)]
        return [type(answer).__name__, answer.yes, answer.by]

    async def ws_rpc_ask_and_fail(self, payload: Payload) -> Any:
        return await self.call("confirm")

    @ws_rpc(shield=True)
    async def ws_rpc_ask_shielded(self, payload: Payload) -> None:
        try:
            await self.call("confirm")
        except ConnectionClosed as exc:
            self.log.put_nowait((exc.code, exc.reason))

    async def ws_rpc_tell(self, payload: Payload) -> None:
        await self.notify("news", payload)
        await self.notify("no payload")

    async def ws_rpc_cannot(self, payload: Payload) -> None:
        for ask in (self.call, self.notify):
            try:
                await ask("confirm", {"a": object()})
            except Unserializable:
                self.log.put_nowait("unserializable")

    async def ws_rpc_echo(self, payload: Payload) -> Payload:
        return payload


@pytest.fixture
def asking() -> type[Asking]:
    class Fresh(Asking):
        log: asyncio.Queue[object] = asyncio.Queue()

    return Fresh


async def ask(client: Peer, **payload: Any) -> Any:
    """Have the server ask; returns the id of what it asks."""
    await client.send({"id": "ask", "method": "ask", "payload": payload})
    asked = await client.receive()
    assert asked["method"] == "confirm"
    assert asked["payload"] == {"text": payload.get("text", "?")}
    return asked["id"]


async def outcome(client: Peer) -> Any:
    answer = await client.receive()
    assert answer["id"] == "ask"
    return answer["response"]


async def test_a_handler_asks_its_client_typed_both_ways(
    serve: Serve, asking: type[Asking]
) -> None:
    url, _ = await served(serve, asking)
    async with peer(url) as client:
        await client.send({"id": "ask", "method": "ask", "payload": {"text": "sure?"}})
        assert await client.receive() == {
            "id": "s1",
            "method": "confirm",
            "payload": {"text": "sure?"},
            "timeout": 30_000,
        }
        await client.send({"id": "s1", "response": {"yes": True, "by": "ada"}})
        assert await outcome(client) == ["Confirmed", True, "ada"]
        assert await ask(client) == "s2"
        await client.send({"id": "s2", "method": "confirm", "response": {"yes": False}})
        assert await outcome(client) == ["Confirmed", False, "nobody"]


async def test_the_error_of_a_client_is_a_failed_call(serve: Serve, asking: type[Asking]) -> None:
    url, _ = await served(serve, asking)
    async with peer(url) as client:
        id = await ask(client)
        await client.send({"id": id, "error": {"code": 7, "message": "not now", "data": [1]}})
        assert await outcome(client) == ["failed", 7, "not now", [1]]
        id = await ask(client)
        await client.send({"id": id, "error": "not now"})  # which nobody can read
        assert (await outcome(client))[:2] == ["failed", -32603]


async def test_a_clients_error_does_not_become_the_servers(
    serve: Serve, asking: type[Asking], caplog: pytest.LogCaptureFixture
) -> None:
    url, _ = await served(serve, asking)
    async with peer(url) as client:
        await client.send({"id": "ask", "method": "ask_and_fail"})
        await client.send(
            {
                "id": (await client.receive())["id"],
                "error": {"code": -32001, "message": "the client's own"},
            }
        )
        error = (await client.receive())["error"]
        assert (error["code"], error["message"]) == (-32603, "Internal error")


async def test_an_answer_of_the_wrong_type_is_unexpected_and_the_next_call_is_fine(
    serve: Serve, asking: type[Asking]
) -> None:
    url, _ = await served(serve, asking, errors=1)
    async with peer(url) as client:
        for wrong in (7, {"yes": "maybe"}, None, {}):
            await client.send({"id": await ask(client), "response": wrong})
            assert (await outcome(client))[0] == "unexpected"
        await client.send({"id": await ask(client), "response": {"yes": True}})
        assert (await outcome(client))[0] == "Confirmed"


async def test_a_client_that_does_not_answer_in_time_is_told_to_stop(
    serve: Serve, asking: type[Asking]
) -> None:
    url, _ = await served(serve, asking)
    async with peer(url) as client:
        id = await ask(client, timeout=0.02)
        assert await client.receive() == {"id": id, "cancel": True}
        assert await outcome(client) == [
            "timeout",
            "'confirm' was not answered within 0.02 seconds",
        ]
        await client.send({"id": id, "response": {"yes": True}})  # too late, and it may be
        await client.send({"id": await ask(client), "response": {"yes": True}})
        assert (await outcome(client))[0] == "Confirmed"


async def test_a_cancelled_handler_takes_its_question_back(
    serve: Serve, asking: type[Asking]
) -> None:
    url, _ = await served(serve, asking)
    async with peer(url) as client:
        id = await ask(client)
        await client.send({"id": "ask", "cancel": True})
        assert (await client.receive())["error"]["code"] == -32006
        assert await client.receive() == {"id": id, "cancel": True}


async def test_answers_that_nobody_asked_for_do_no_harm(serve: Serve, asking: type[Asking]) -> None:
    url, _ = await served(serve, asking)
    async with peer(url) as client:
        for id in ("s1", "s99", 7, "x", ""):
            await client.send({"id": id, "response": 1})
            await client.send({"id": id, "error": {"code": 1, "message": "?"}})
        id = await ask(client)
        for _ in range(3):  # twice too often
            await client.send({"id": id, "response": {"yes": True}})
        assert await outcome(client) == ["Confirmed", True, "nobody"]
        assert await client.call("echo", {"a": 1}) == {"a": 1}
        assert client.messages == []


async def test_too_many_answers_that_nobody_asked_for_close_the_connection(
    serve: Serve, asking: type[Asking]
) -> None:
    url, _ = await served(serve, asking, errors=10)
    async with peer(url) as client:
        for _ in range(2):
            for _ in range(10):
                await client.send({"id": "s99", "response": 1})
            await client.call("echo")  # ten in a row are forgiven
        for _ in range(11):
            await client.send({"id": "s99", "response": 1})
        assert (await client.closed())[0] == 4503


async def test_a_client_is_asked_no_more_at_a_time_than_the_limit(
    serve: Serve, asking: type[Asking]
) -> None:
    url, sockets = await served(serve, asking, asked=2)
    async with peer(url) as client:
        (ws,) = sockets.sockets
        asks = [asyncio.create_task(ws.call("ask", {"n": n})) for n in range(5)]
        first = [await client.receive() for _ in range(2)]
        assert await client.call("echo") == {}
        assert client.messages == []  # the others wait
        for n in range(5):
            asked = first.pop(0) if first else await client.receive()
            assert asked["payload"] == {"n": n}
            await client.send({"id": asked["id"], "response": n})
        assert await asyncio.gather(*asks) == [0, 1, 2, 3, 4]


async def test_a_question_that_waits_for_its_turn_expires_and_is_never_asked(
    serve: Serve, asking: type[Asking]
) -> None:
    url, sockets = await served(serve, asking, asked=1)
    async with peer(url) as client:
        (ws,) = sockets.sockets
        first = asyncio.create_task(ws.call("first"))
        asked = await client.receive()
        with pytest.raises(TimeoutError, match=r"'second' was not answered within 0\.02 seconds"):
            await ws.call("second", timeout=0.02)
        assert await client.call("echo") == {}
        await client.send({"id": asked["id"], "response": 1})
        assert await first == 1
        third = asyncio.create_task(ws.call("third"))
        await client.send({"id": (await client.receive())["id"], "response": 3})
        assert await third == 3
        assert client.messages == []


async def test_any_task_may_ask_the_client_of_a_socket(serve: Serve, asking: type[Asking]) -> None:
    url, sockets = await served(serve, asking)
    async with peer(url) as client:
        (ws,) = sockets.sockets
        asks = [asyncio.create_task(ws.call("ask", {"n": n}, timeout=None)) for n in range(10)]
        asked = [await client.receive() for _ in asks]
        assert all("timeout" not in frame for frame in asked)
        for frame in reversed(asked):
            await client.send({"id": frame["id"], "response": frame["payload"]})
        assert await asyncio.gather(*asks) == [{"n": n} for n in range(10)]


@pytest.mark.parametrize(
    ("end", "code"), [("close", 1001), ("reset", 1006), ("half-close", 1006), ("breach", 1002)]
)
async def test_whoever_asks_a_client_that_goes_away_hears_of_it_at_once(
    serve: Serve, asking: type[Asking], end: str, code: int
) -> None:
    url, sockets = await served(serve, asking, asked=3)
    socket = await RawSocket.open(url)
    (ws,) = sockets.sockets
    asks = [asyncio.create_task(ws.call("ask", timeout=None)) for _ in range(10)]
    socket.send({"id": 1, "method": "ask_shielded"})
    for _ in range(3):  # the others wait for their turn
        await socket.receive()
    await leave(socket, end)
    for outcome in await asyncio.gather(*asks, return_exceptions=True):
        assert isinstance(outcome, ConnectionClosed)
        assert outcome.code == code
    log = await asking.log.get()
    assert isinstance(log, tuple)
    assert log[0] == code
    for ask in (ws.call, ws.notify):
        with pytest.raises(ConnectionClosed):
            await ask("ask")
    await socket.shut()


async def test_a_handler_whose_client_goes_away_is_cancelled_and_nothing_is_logged(
    serve: Serve, asking: type[Asking], caplog: pytest.LogCaptureFixture
) -> None:
    url, sockets = await served(serve, asking)
    async with peer(url) as client:
        await ask(client)
        await client.send({"id": 2, "method": "ask_and_fail"})
        await client.receive()
    await gone(sockets)
    await sockets.drain()
    assert caplog.records == []


async def test_a_client_is_told_without_being_asked(serve: Serve, asking: type[Asking]) -> None:
    url, _ = await served(serve, asking)
    async with peer(url) as client:
        assert await client.call("tell", {"a": 1}) is None
        assert client.messages == [
            {"id": None, "method": "news", "payload": {"a": 1}},
            {"id": None, "method": "no payload", "payload": {}},
        ]


async def test_what_has_no_json_form_cannot_be_asked(serve: Serve, asking: type[Asking]) -> None:
    url, _ = await served(serve, asking)
    async with peer(url) as client:
        await client.call("cannot")
        assert [await asking.log.get() for _ in range(2)] == ["unserializable"] * 2
        assert client.messages == []


async def test_a_socket_that_is_gone_is_in_no_table(serve: Serve) -> None:
    class Held(Knowing):
        async def on_connect(self) -> None:
            self.user = "ada"

        async def on_disconnect(self, code: int) -> None:
            self.state.code = code

        async def ws_rpc_ask(self, payload: Payload) -> Any:
            return await self.call("confirm")

    url, sockets = await served(serve, Held)
    async with peer(url) as client:
        await client.send({"id": 1, "method": "ask"})
        await client.receive()
    await sockets.drain()
    assert tables(sockets) == NOTHING
