"""The manager: what it tells, what it carries, and how it lets go of everybody."""

import asyncio
import logging
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from openapi.errors import (
    CallFailed,
    CannotPublish,
    ConnectionClosed,
    DeclarationError,
    UnexpectedData,
    Unserializable,
)
from openapi.ws import Broker, Limits, Reply, SocketsManager, Websocket
from openapi.ws.broker import Deliver
from tests.conftest import Serve
from tests.ws.endpoints import MANAGER, Endpoint, application
from tests.ws.peer import Peer, peer
from tests.ws.raw import CLOSE, RawSocket, masked


async def test_server_info_counts_connections_and_subscribers(serve: Serve) -> None:
    app = application()
    url = await serve(app) / "stream"
    async with peer(url) as one, peer(url) as other:
        await one.call("subscribe", {"channel": "a"})
        await one.call("subscribe", {"channel": "a", "event": "x.*"})
        await other.call("subscribe", {"channel": "a"})
        await other.call("subscribe", {"channel": "b", "event": "y"})
        assert await one.call("info") == {
            "connections": 2,
            "channels": {"a": {"*": 2, "x.*": 1}, "b": {"y": 1}},
        }


async def test_a_view_can_publish(serve: Serve) -> None:
    app = application()

    async def notify(request: web.Request) -> web.Response:
        await request.app[MANAGER].publish("c", "note", {"text": await request.text()})
        return web.Response(status=204)

    app.router.add_post("/notes", notify)
    base = await serve(app)
    async with peer(base / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
        await post(base / "notes", "hello")
        assert await client.message() == {
            "channel": "c",
            "event": "note",
            "data": {"text": "hello"},
        }


async def post(url: URL, text: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(url, data=text) as response:
        assert response.status == 204


def test_an_unknown_broker_is_refused_when_the_manager_is_made() -> None:
    with pytest.raises(DeclarationError) as refusal:
        SocketsManager(broker="pigeon://post")
    assert str(refusal.value) == (
        "no broker for the scheme 'pigeon': a URL begins with one of memory://, redis://,"
        " rediss://, redis+cluster://, rediss+cluster://, nats://, tls://"
    )


def test_an_origin_that_can_never_match_is_refused_when_the_manager_is_made() -> None:
    with pytest.raises(ValueError, match=r"https://example.com/"):
        SocketsManager(origins=["https://example.com/"])


def test_limits_that_are_none_are_refused_when_they_are_given() -> None:
    with pytest.raises(DeclarationError) as refusal:
        SocketsManager(limits={"calls": 5})  # type: ignore[arg-type]
    assert str(refusal.value) == "SocketsManager: limits is a `Limits(…)`, not {'calls': 5}"
    with pytest.raises(DeclarationError, match=r"Wrong: limits is a `Limits\(…\)`, not 5"):
        type("Wrong", (SocketsManager,), {"limits": 5})


class Recorder(Broker):
    """Notes what it is asked, but for what the nodes of an application say to each other."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.deliver: Deliver | None = None

    def note(self, what: str, channel: str, event: str = "") -> None:
        if not channel.startswith("$"):
            self.asked.append(f"{what} {channel} {event}".rstrip())

    async def open(self, deliver: Deliver) -> None:
        self.asked.append("open")
        self.deliver = deliver

    async def publish(self, channel: str, event: str, data: object) -> None:
        self.note("publish", channel, event)
        assert self.deliver is not None
        await self.deliver(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        self.note("subscribe", channel)

    async def unsubscribe(self, channel: str) -> None:
        self.note("unsubscribe", channel)

    async def aclose(self) -> None:
        self.asked.append("close")


async def test_a_broker_is_opened_once_and_asked_for_a_channel_once_and_closed_last(
    serve: Serve,
) -> None:
    broker = Recorder()
    app = application(sockets=SocketsManager(broker=broker))
    url = await serve(app) / "stream"
    async with peer(url) as one, peer(url) as other:
        for client in (one, other):
            await client.call("subscribe", {"channel": "c"})
            await client.call("subscribe", {"channel": "c", "event": "x"})
        await one.call("publish", {"channel": "c", "event": "x", "data": 1})
        await one.call("unsubscribe", {"channel": "c"})
        await other.call("unsubscribe", {"channel": "c", "event": "x"})
        assert "unsubscribe c" not in broker.asked
        await other.call("unsubscribe", {"channel": "c", "event": "*"})
    await app[MANAGER].drain()
    assert broker.asked == ["open", "subscribe c", "publish c x", "unsubscribe c", "close"]


async def test_publishing_before_anybody_is_there_goes_nowhere_and_is_no_error() -> None:
    await SocketsManager().publish("nobody", "", 1)


async def test_a_closed_memory_broker_publishes_no_more() -> None:
    sockets = SocketsManager()
    await sockets.publish("c", "", 1)
    await sockets.drain()
    with pytest.raises(CannotPublish):
        await sockets.publish("c", "", 1)


async def test_a_background_task_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("in the background")

    sockets = SocketsManager()
    sockets.spawn(fail())
    await sockets.drain()
    assert "a background task of the sockets manager failed" in caplog.text
    assert "in the background" in caplog.text


async def test_a_broker_that_fails_to_unsubscribe_is_logged_and_harms_nobody(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Recorder):
        async def unsubscribe(self, channel: str) -> None:
            raise OSError("the wire is cut")

    app = application(sockets=SocketsManager(broker=Failing()))
    async with peer(await serve(app) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
    await app[MANAGER].drain()
    assert "the wire is cut" in caplog.text


async def test_a_manager_that_fails_to_remove_a_socket_is_logged_and_the_socket_ends(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(SocketsManager):
        def remove(self, ws: Websocket) -> None:
            super().remove(ws)
            raise KeyError("a bug of the application's own")

    app = application(sockets=Failing())
    async with peer(await serve(app) / "stream") as client:
        await client.call("info")
        (ws,) = app[MANAGER].sockets
    await ws.connection.wait_closed()
    assert f"removing socket {ws.socket_id} failed" in caplog.text


async def test_a_broker_that_never_answers_does_not_hold_up_the_shutdown(serve: Serve) -> None:
    class Stuck(Recorder):
        async def unsubscribe(self, channel: str) -> None:
            await asyncio.Event().wait()

    broker = Stuck()
    app = application(sockets=SocketsManager(broker=broker, limits=Limits(close_timeout=0.05)))
    async with peer(await serve(app) / "stream") as client:
        await client.call("subscribe", {"channel": "c"})
    await app[MANAGER].drain()
    assert broker.asked[-1] == "close"


async def test_a_broker_that_fails_to_close_is_logged_and_the_clean_up_goes_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Recorder):
        async def aclose(self) -> None:
            raise OSError("the wire is cut")

    sockets = SocketsManager(broker=Failing())
    await sockets.publish("c", "", 1)
    await sockets.drain()
    assert "closing the broker failed" in caplog.text


async def test_a_manager_that_no_socket_ever_came_to_is_closed_by_whoever_owns_it() -> None:
    broker = Recorder()
    async with SocketsManager(broker=broker) as sockets:
        await sockets.publish("c", "x", 1)
    assert broker.asked == ["open", "publish c x", "close"]


async def test_a_connection_that_is_accepted_as_the_drain_begins_is_closed(serve: Serve) -> None:
    app = application()

    async def drain(request: web.Request, response: web.StreamResponse) -> None:
        await app[MANAGER].drain()

    app.on_response_prepare.append(drain)
    async with peer(await serve(app) / "stream") as client:
        assert (await client.closed())[0] == 1012
    assert app[MANAGER].sockets == set()


def test_a_subclass_with_an_origin_that_can_never_match_is_refused() -> None:
    with pytest.raises(ValueError, match=r"https://example.com/"):

        class Wrong(SocketsManager):
            origins = ("https://example.com/",)


async def test_a_broker_that_never_closes_does_not_hold_up_the_shutdown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stuck(Recorder):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    sockets = SocketsManager(broker=Stuck(), limits=Limits(close_timeout=0.05))
    await sockets.publish("c", "", 1)
    await sockets.drain()
    assert "closing the broker failed" in caplog.text


async def test_a_handshake_that_ends_behind_the_begin_of_the_shutdown_is_closed_at_once() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    class Late(Draining):
        async def start(self) -> URL:
            @web.middleware
            async def hesitate(request: web.Request, handler: Handler) -> web.StreamResponse:
                entered.set()
                await go.wait()
                return await handler(request)

            self.app.middlewares.append(hesitate)
            return await super().start()

    server = Late(Limits())
    url = await server.start()
    opening = asyncio.create_task(RawSocket.open(url))  # the first that the manager ever sees
    await entered.wait()
    shutdown = asyncio.create_task(server.runner.cleanup())
    while server.runner.sites:  # noqa: ASYNC110 - the runner announces nothing
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    go.set()
    socket = await opening
    assert await socket.close_code() == 1012
    socket.writer.write(masked(CLOSE, b"\x03\xf4"))
    await shutdown
    await socket.shut()


async def test_a_manager_that_fails_to_add_a_socket_closes_it_with_1011(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(SocketsManager):
        def add(self, ws: Websocket) -> None:
            raise web.HTTPForbidden

    sockets = Refusing()
    async with peer(await serve(application(sockets=sockets)) / "stream") as client:
        assert (await client.closed())[0] == 1011
    assert len(sockets.heartbeat) == 0
    assert "adding socket" in caplog.text


async def test_sockets_can_all_be_closed(serve: Serve) -> None:
    app = application()
    url = await serve(app) / "stream"
    async with peer(url) as one, peer(url) as other:
        await app[MANAGER].close_sockets()
        assert (await one.closed())[0] == (await other.closed())[0] == 1001
        assert app[MANAGER].server_info() == {"connections": 0, "channels": {}}


class Working(Endpoint):
    """Its calls last until the test lets them end."""

    entered: asyncio.Event
    finish: asyncio.Event

    async def ws_rpc_work(self, payload: dict[str, Any]) -> str:
        self.entered.set()
        await self.finish.wait()
        return "done"


class Draining:
    """A server on its way down, with one client that has a call in flight."""

    def __init__(self, limits: Limits) -> None:
        class Endpoint(Working):
            entered = asyncio.Event()
            finish = asyncio.Event()

        self.endpoint = Endpoint
        self.sockets = SocketsManager(limits=limits)
        self.app = application(Endpoint, self.sockets)
        self.runner = web.AppRunner(self.app, shutdown_timeout=30)

    async def start(self) -> URL:
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        host, port = self.runner.addresses[0][:2]
        return URL.build(scheme="http", host=host, port=port, path="/stream")


async def test_a_shutdown_lets_calls_in_flight_finish_and_refuses_new_ones() -> None:
    server = Draining(Limits())
    async with peer(await server.start()) as client:
        await client.send({"id": "work", "method": "work"})
        await server.endpoint.entered.wait()
        shutdown = asyncio.create_task(server.runner.cleanup())
        notice = await client.receive()
        assert notice["event"] == "$reconnect"
        assert notice["data"]["code"] == 1012
        assert 0 <= notice["data"]["after"] <= 30_000
        error = await client.error("info")
        assert error["code"] == -32009
        assert error["retry_after"] == notice["data"]["after"]
        server.endpoint.finish.set()
        assert (await client.receive())["response"] == "done"
        assert await client.closed() == (1012, "the server restarts")
        await shutdown
        assert server.sockets.server_info() == {"connections": 0, "channels": {}}


async def test_a_shutdown_ends_idle_sockets_at_once() -> None:
    server = Draining(Limits())
    url = await server.start()
    async with peer(url) as one, peer(url) as other:
        await server.runner.cleanup()
        assert (await one.closed())[0] == (await other.closed())[0] == 1012


async def test_a_call_that_does_not_finish_within_the_window_is_cancelled() -> None:
    server = Draining(Limits(drain_window=0.05))
    async with peer(await server.start()) as client:
        await client.send({"id": "work", "method": "work"})
        await server.endpoint.entered.wait()
        await server.runner.cleanup()
        assert (await client.receive())["event"] == "$reconnect"
        assert (await client.closed())[0] == 1012


async def test_a_peer_that_ignores_the_shutdown_is_cut_off() -> None:
    server = Draining(Limits(close_timeout=0.05))
    socket = await RawSocket.open(await server.start())
    await server.runner.cleanup()  # though the peer sends no closing frame
    assert await socket.close_code() == 1012
    await socket.shut()


async def test_a_shutdown_still_hears_what_its_peers_say() -> None:
    """aiohttp feeds no parser of its own any more once a server shuts down."""
    server = Draining(Limits(close_timeout=600))
    socket = await RawSocket.open(await server.start())
    shutdown = asyncio.create_task(server.runner.cleanup())
    assert await socket.close_code() == 1012
    socket.writer.write(masked(CLOSE, b"\x03\xf4"))
    await shutdown  # as soon as the closing frame was answered, not after ten minutes
    await socket.shut()


async def test_a_server_with_less_patience_than_the_window_still_says_goodbye() -> None:
    server = Draining(Limits())
    server.runner = web.AppRunner(server.app, shutdown_timeout=0.05)
    async with peer(await server.start()) as client:
        await client.send({"id": "work", "method": "work"})
        await server.endpoint.entered.wait()
        await server.runner.cleanup()
        assert (await client.receive())["event"] == "$reconnect"
        assert (await client.closed())[0] == 1012


async def test_clients_are_spread_over_the_time_that_they_need_to_come_back(serve: Serve) -> None:
    app = application()
    url = await serve(app) / "stream"
    sockets = await asyncio.gather(*(RawSocket.open(url) for _ in range(200)))
    drain = asyncio.create_task(app[MANAGER].drain())
    notices = [await socket.receive() for socket in sockets]
    afters = [notice["data"]["after"] for notice in notices]
    assert 0 <= min(afters) < 200 < 800 < max(afters) <= 1000  # a second at least
    for socket in sockets:
        socket.writer.write(masked(CLOSE, b"\x03\xf4"))
    await drain
    for socket in sockets:
        await socket.shut()


async def test_draining_twice_is_one_drain(serve: Serve) -> None:
    app = application()
    async with peer(await serve(app) / "stream") as client:
        await asyncio.gather(app[MANAGER].drain(), app[MANAGER].drain())
        assert (await client.receive())["event"] == "$reconnect"
        assert (await client.closed())[0] == 1012


async def test_one_manager_serves_several_endpoints_and_watches_their_server_once(
    serve: Serve,
) -> None:
    app = application()
    app.router.add_view("/other", Endpoint)
    base = await serve(app)
    async with peer(base / "stream") as one, peer(base / "other") as other:
        await one.call("subscribe", {"channel": "c"})
        await other.call("publish", {"channel": "c", "data": 1})
        assert (await one.message())["data"] == 1
        assert (await other.call("info"))["connections"] == 2


def test_the_shutdown_writes_nothing_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        server = Draining(Limits())
        async with peer(await server.start()) as client:
            await client.call("info")
            await server.runner.cleanup()

    with caplog.at_level(logging.INFO, logger="openapi"):
        asyncio.run(run())
    assert [record for record in caplog.records if record.name.startswith("openapi")] == []


# Calls of clients


class Named(Endpoint):
    """Clients say who they are."""

    async def ws_rpc_name(self, payload: dict[str, Any]) -> str:
        self.user = payload.get("user")
        return self.socket_id


async def answer(client: Peer, **frame: Any) -> None:
    """Answer the next call of the server."""
    asked = await client.receive()
    assert (asked["method"], asked["payload"]) == ("confirm", {"text": "sure?"})
    await client.send({"id": asked["id"], **frame})


async def test_all_connections_of_a_user_are_called_and_nobody_elses(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    async with peer(url) as one, peer(url) as other, peer(url) as stranger:
        ids = [await client.call("name", {"user": "ada"}) for client in (one, other)]
        await stranger.call("name", {"user": "grace"})
        calls = sockets.call("confirm", {"text": "sure?"}, user="ada", returns=bool)
        asking = asyncio.create_task(calls)
        await answer(one, response=True)
        await answer(other, response=False)
        replies = await asking
        assert {reply.socket_id: reply.result for reply in replies} == {
            ids[0]: True,
            ids[1]: False,
        }
        assert [reply.error for reply in replies] == [None, None]
        await stranger.call("info")
        assert stranger.messages == []


async def test_one_connection_that_fails_spoils_no_other(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    leaving = await RawSocket.open(url)
    leaving.send({"id": 1, "method": "name", "payload": {"user": 7}})
    left = (await leaving.receive())["response"]
    async with peer(url) as good, peer(url) as bad, peer(url) as odd, peer(url) as late:
        ids = [await client.call("name", {"user": 7}) for client in (good, bad, odd, late)]
        calls = sockets.call("confirm", {"text": "sure?"}, user=7, returns=int, timeout=1)
        asking = asyncio.create_task(calls)
        await answer(good, response=1)
        await answer(bad, error={"code": 7, "message": "no"})
        await answer(odd, response="one")
        assert (await leaving.receive())["method"] == "confirm"
        leaving.reset()
        replies = {reply.socket_id: reply for reply in await asking}
        assert (await late.receive())["method"] == "confirm"
        assert "cancel" in await late.receive()  # nobody waits for it any more
    await leaving.shut()
    assert set(replies) == {left, *ids}
    assert replies[ids[0]] == Reply(ids[0], result=1)
    refused, gone = replies[ids[1]].error, replies[left].error
    assert isinstance(refused, CallFailed)
    assert refused.code == 7
    assert isinstance(replies[ids[2]].error, UnexpectedData)
    assert isinstance(replies[ids[3]].error, TimeoutError)
    assert isinstance(gone, ConnectionClosed)
    assert gone.code == 1006


async def test_one_connection_is_called_by_the_id_of_its_socket(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    async with peer(url) as one, peer(url) as other:
        id = await one.call("name")
        asking = asyncio.create_task(sockets.call("confirm", {"text": "sure?"}, socket_id=id))
        await answer(one, response=[1])
        assert await asking == [Reply(id, result=[1])]
        await other.call("info")
        assert other.messages == []


async def test_where_nobody_is_nobody_is_called(serve: Serve) -> None:
    sockets = SocketsManager()
    assert await sockets.call("confirm", user="ada") == []
    assert await sockets.call("confirm", socket_id="unknown") == []
    url = await serve(application(Named, sockets)) / "stream"
    async with peer(url) as client:
        id = await client.call("name", {"user": "ada"})
    for socket in list(sockets.sockets):
        await socket.connection.wait_closed()
    assert await sockets.call("confirm", user="ada") == []
    assert await sockets.call("confirm", socket_id=id) == []


async def test_a_user_that_changes_is_called_by_the_new_name_only(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    async with peer(url) as client:
        for user in ("ada", "grace"):
            await client.call("name", {"user": user})
        assert await sockets.call("confirm", user="ada") == []
        asking = asyncio.create_task(sockets.call("confirm", {"text": "sure?"}, user="grace"))
        await answer(client, response=1)
        assert [reply.result for reply in await asking] == [1]
        await client.call("name", {"user": None})
        assert await sockets.call("confirm", user="grace") == []


async def test_a_call_is_of_a_user_or_of_a_socket() -> None:
    sockets = SocketsManager()
    with pytest.raises(ValueError, match="give one of them"):
        await sockets.call("confirm")
    with pytest.raises(ValueError, match="give one of them"):
        await sockets.call("confirm", user="ada", socket_id="x")
    with pytest.raises(Unserializable):
        await sockets.call("confirm", {"a": object()}, user="ada")


async def test_giving_up_a_call_of_many_tells_all_of_them(serve: Serve) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    async with peer(url) as one, peer(url) as other:
        for client in (one, other):
            await client.call("name", {"user": "ada"})
        asking = asyncio.create_task(sockets.call("confirm", user="ada", timeout=None))
        ids = [(await client.receive())["id"] for client in (one, other)]
        asking.cancel()
        for client, id in zip((one, other), ids, strict=True):
            assert await client.receive() == {"id": id, "cancel": True}
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_payload_that_one_dialect_cannot_say_is_that_connections_error(
    serve: Serve,
) -> None:
    sockets = SocketsManager()
    url = await serve(application(Named, sockets)) / "stream"
    async with peer(url) as plain, peer(url, subprotocols=["wsrpc.v1.msgpack"]):
        await plain.call("info")
        for socket in sockets.sockets:
            socket.user = "ada"
        # An integer that JSON can say, and MessagePack cannot.
        asking = asyncio.create_task(sockets.call("confirm", {"n": 2**70}, user="ada"))
        asked = await plain.receive()
        assert asked["payload"] == {"n": 2**70}
        await plain.send({"id": asked["id"], "response": 1})
        outcomes = [reply.error or reply.result for reply in await asking]
        assert [type(outcome) for outcome in outcomes if outcome != 1] == [Unserializable]
