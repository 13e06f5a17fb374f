"""What the how-to pages of channels show, each file done as its page says."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

import docs.examples.howto.authorize as authorize
import docs.examples.howto.carry_broker as carry_broker
import docs.examples.howto.carry_manager as carry_manager
import docs.examples.howto.channel_rules as channel_rules
import docs.examples.howto.miss_nothing as miss_nothing
import docs.examples.howto.presence as presence
import docs.examples.howto.slow_readers as slow_readers
from openapi.client import Backoff, Client, connect
from openapi.client.subscription import SubscriptionState
from openapi.errors import (
    CallFailed,
    CannotPublish,
    CloseCode,
    DeclarationError,
    ErrorCode,
    InvalidData,
)
from openapi.ws import ChannelRule, Limits, SocketsManager, drain
from openapi.ws.brokers.memory import MemoryBroker, streams
from tests.conftest import Serve
from tests.pages import blocks_of, conversation, converse
from tests.relay import Relay, relayed
from tests.ws.peer import peer
from tests.ws.tcp import Client as TcpClient
from tests.ws.tcp import Frame, served


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams have the epochs of the pages, one after the other."""
    names = iter(["k3Wq9ZtB", "p7Rd2LmX"])
    monkeypatch.setattr(streams, "token_urlsafe", lambda size: next(names))


class Copy(miss_nothing.Copy):
    """A copy whose changes can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[int] = []
        self.loads = 0
        self._news = asyncio.Event()

    def apply(self, order: miss_nothing.Order) -> None:
        super().apply(order)
        self.applied.append(order.id)
        self._news.set()

    async def load(self, client: Client) -> None:
        await super().load(client)
        self.loads += 1
        self._news.set()

    async def until(self, there: Callable[[], bool]) -> None:
        while not there():
            self._news.clear()
            await self._news.wait()

    async def until_applied(self, count: int) -> None:
        await self.until(lambda: len(self.applied) >= count)


async def keep(copy: Copy, url: URL, reconnect: Backoff) -> None:
    """As the page does, but for the time that it waits."""
    async with connect(url, reconnect=reconnect) as client:
        await copy.follow(client)


class TestMissNothing:
    """docs/how-to/miss-nothing.md"""

    async def test_the_page_shows_what_is_said(self, serve: Serve, epochs: None) -> None:
        broker = MemoryBroker()
        app = miss_nothing.create_app(broker)
        url = await serve(app) / "shop"

        async def change(**order: Any) -> None:
            await miss_nothing.change(app, miss_nothing.Order(**order))

        async def cause(frame: Frame) -> None:
            await change(**frame["data"])

        async with relayed(url) as relay:
            async with peer(relay.url) as client:
                await converse(client, "miss-nothing.md", 1, cause)
                relay.cut()
                await client.socket.wait_closed()
            await change(id=7, status="paid")
            await change(id=7, status="sent")
            async with peer(relay.url) as client:
                await converse(client, "miss-nothing.md", 2, cause)
                broker.forget("orders")
                await change(id=8, status="paid")
                await converse(client, "miss-nothing.md", 3)
            async with peer(relay.url) as client:
                await converse(client, "miss-nothing.md", 4)

    async def test_a_client_that_is_cut_off_gets_each_message_once(self, serve: Serve) -> None:
        app = miss_nothing.create_app()
        async with self.keeping(await serve(app) / "shop") as (relay, copy):
            number = 0
            for away in (1, 0, 99, 7, 100):
                await copy.until_applied(number)
                relay.cut()
                for _ in range(away):
                    number += 1
                    await miss_nothing.change(app, miss_nothing.Order(number, "new"))
            await copy.until_applied(number)
            assert copy.applied == list(range(1, number + 1))
            assert copy.loads == 1

    async def test_a_client_that_was_away_for_too_long_loads_the_orders_anew(
        self, serve: Serve
    ) -> None:
        app = miss_nothing.create_app()
        async with self.keeping(await serve(app) / "shop") as (relay, copy):
            relay.cut()
            for number in range(101):
                await miss_nothing.change(app, miss_nothing.Order(number, "new"))
            await copy.until(lambda: copy.loads == 2)
            assert copy.orders == app[miss_nothing.ORDERS]
            assert copy.applied == []

    async def test_a_client_whose_stream_is_lost_loads_the_orders_anew(self, serve: Serve) -> None:
        broker = MemoryBroker()
        app = miss_nothing.create_app(broker)
        async with self.keeping(await serve(app) / "shop") as (_, copy):
            await miss_nothing.change(app, miss_nothing.Order(1, "new"))
            await copy.until(lambda: copy.applied == [1])
            broker.forget("orders")
            await miss_nothing.change(app, miss_nothing.Order(1, "paid"))
            await copy.until(lambda: copy.loads == 2)
            assert copy.orders == app[miss_nothing.ORDERS]

    async def test_a_client_comes_back_when_the_server_that_restarts_said(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drain, "_SOONEST_RETURN", 0.01)
        broker = MemoryBroker()
        before, behind = miss_nothing.create_app(broker), miss_nothing.create_app(broker.sibling())
        async with served(behind) as new, AsyncExitStack() as running:
            old = await running.enter_async_context(served(before))
            away = Backoff(first=1000.0, cap=1000.0)
            async with self.keeping(old.with_name("shop"), away) as (relay, copy):
                await miss_nothing.change(before, miss_nothing.Order(1, "new"))
                await copy.until_applied(1)
                relay.target = new.with_name("shop")
                await running.aclose()
                await miss_nothing.change(behind, miss_nothing.Order(2, "new"))
                await copy.until_applied(2)
                assert copy.loads == 1

    async def test_what_changes_while_the_orders_are_loaded_is_not_lost(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = miss_nothing.create_app()
        copy = Copy()
        async with connect(await serve(app) / "shop") as client:
            ask = client.call

            async def call(method: str, *args: Any, **options: Any) -> Any:
                if method == "orders":
                    await miss_nothing.change(app, miss_nothing.Order(1, "new"))
                response = await ask(method, *args, **options)
                if method == "orders":
                    await miss_nothing.change(app, miss_nothing.Order(2, "new"))
                return response

            monkeypatch.setattr(client, "call", call)
            following = asyncio.create_task(copy.follow(client))
            await copy.until(lambda: copy.applied == [1, 2])
            assert copy.orders == app[miss_nothing.ORDERS]
            following.cancel()
            await asyncio.wait([following])

    @asynccontextmanager
    async def keeping(
        self, url: URL, reconnect: Backoff | None = None
    ) -> AsyncIterator[tuple[Relay, Copy]]:
        """A copy that was loaded, by a client behind a relay."""
        copy = Copy()
        async with relayed(url) as relay:
            if reconnect is None:
                task = asyncio.create_task(miss_nothing.keep(copy, str(relay.url)))
            else:
                task = asyncio.create_task(keep(copy, relay.url, reconnect))
            await copy.until(lambda: copy.loads == 1)
            yield relay, copy
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


class TestChannelRules:
    """docs/how-to/channel-rules.md"""

    async def test_the_page_shows_what_is_said(self, serve: Serve, epochs: None) -> None:
        url = await serve(channel_rules.create_app()) / "stream"
        async with peer(url) as client:
            await converse(client, "channel-rules.md", 1)
            await converse(client, "channel-rules.md", 2)

    async def test_the_longest_name_holds_and_the_others_are_refused(self, serve: Serve) -> None:
        url = await serve(channel_rules.create_app()) / "stream"
        elsewhere: dict[str, Any] = {"channel": "elsewhere"}
        async with peer(url) as client:
            assert "offset" in await client.call("subscribe", {"channel": "orders:7"})
            assert "offset" not in await client.call("subscribe", {"channel": "orders:drafts:7"})
            refused = await client.error("subscribe", elsewhere)
            assert refused["errors"] == {"channel": "Invalid channel"}
            refused = await client.error("publish", elsewhere | {"data": 1})
            assert refused["errors"] == {"channel": "Cannot publish to channel"}

    async def test_the_server_is_held_to_the_rules_too(self) -> None:
        app = channel_rules.create_app()
        async with app[channel_rules.SOCKETS] as sockets:
            with pytest.raises(CannotPublish):
                await sockets.publish("elsewhere", "e", 1)
            with pytest.raises(InvalidData, match=r"data\.id: expected `int`, got `str`"):
                await sockets.publish("orders:7", "e", {"id": "7"})
            await sockets.publish("orders:7", "e", channel_rules.Order(7))
            await sockets.publish("orders:7", "e", {"id": 7, "state": "paid"})
            async with sockets.subscription("orders:7") as orders:
                assert orders.position is not None
                assert orders.position.offset == 2

    async def test_one_connection_may_publish_so_often(self, serve: Serve) -> None:
        url = await serve(channel_rules.create_app()) / "stream"
        async with peer(url) as client:
            began = time.monotonic()
            for id in range(50):
                payload = {"channel": f"orders:{id % 2}", "data": {"id": id}}
                await client.send({"id": id, "method": "publish", "payload": payload})
            answers = [await client.receive() for _ in range(50)]
            most = 5 + 5 * (time.monotonic() - began)
        refused = [answer["error"] for answer in answers if "error" in answer]
        assert 5 <= 50 - len(refused) <= most
        for error in refused:
            assert error["code"] == ErrorCode.RATE_LIMITED
            assert 0 < error["retry_after"] <= 200

    async def test_hooks_are_called_for_the_first_and_behind_the_last(self, serve: Serve) -> None:
        app = channel_rules.create_app()
        url = await serve(app) / "stream"
        async with peer(url) as one:
            async with peer(url) as other:
                for client in (one, other):
                    await client.call("subscribe", {"channel": "camera:door"})
                    assert channel_rules.RUNNING == {"door"}
            await one.call("unsubscribe", {"channel": "camera:door"})
            await one.call("subscribe", {"channel": "camera:roof"})
        await app[channel_rules.SOCKETS].drain()
        assert channel_rules.RUNNING == set()

    def test_a_promise_that_the_broker_cannot_keep_is_refused(self) -> None:
        broker = carry_broker.HubBroker(carry_broker.Hub())
        with pytest.raises(DeclarationError) as refused:
            SocketsManager(broker=broker, channels=channel_rules.CHANNELS)
        assert f"{refused.value}\n" in blocks_of("channel-rules.md", "text")

    def test_what_cannot_be_meant_is_refused(self) -> None:
        for name, options in (("x", {"slow": "catch_up"}), ("a*b", {}), ("x", {"data": "Order"})):
            with pytest.raises(DeclarationError):
                ChannelRule(name, **options)  # type: ignore[arg-type]
        with pytest.raises(DeclarationError):
            SocketsManager(channels=[ChannelRule("x"), ChannelRule("x")])


class TestSlowReaders:
    """docs/how-to/slow-readers.md"""

    MESSAGES = 2000
    TEXT = "x" * 1000

    @pytest.fixture
    async def app(self) -> web.Application:
        return slow_readers.create_app()

    @pytest.fixture
    async def url(self, app: web.Application) -> AsyncIterator[URL]:
        async with served(app, send_buffer=4096) as url:
            yield url

    async def flood(self, app: web.Application, channel: str) -> None:
        """Publish more than the system and the server hold for one connection."""
        for number in range(self.MESSAGES):
            price = {"symbol": "ACME" if number % 2 else "EMCA", "price": number, "text": self.TEXT}
            await app[slow_readers.SOCKETS].publish(channel, "price", price)
            if number % 100 == 0:
                await asyncio.sleep(0)  # what was published is written

    async def read_late(self, app: web.Application, url: URL, channel: str) -> list[Frame]:
        """What a client gets that reads nothing while messages are published."""
        client = await TcpClient.open(url, receive_buffer=4096)
        await client.call("subscribe", {"channel": channel})
        client.pause()
        await self.flood(app, channel)
        client.resume()
        await client.until(lambda: numbers(client.of(channel))[-1:] == [self.MESSAGES - 1])
        client.reset()
        return client.of(channel)

    async def test_one_that_must_not_lag_is_disconnected(
        self, app: web.Application, url: URL
    ) -> None:
        client = await TcpClient.open(url, receive_buffer=4096)
        await client.call("subscribe", {"channel": "orders:7"})
        client.pause()
        await self.flood(app, "orders:7")
        client.resume()
        assert await client.closed == CloseCode.TOO_SLOW

    @pytest.mark.parametrize("channel", ["logs:web", "prices"])
    async def test_one_that_may_is_told_how_much_it_missed(
        self, app: web.Application, url: URL, channel: str
    ) -> None:
        frames = await self.read_late(app, url, channel)
        (_, lagged), (_, message) = conversation("slow-readers.md", 1)
        (told,) = (frame for frame in frames if frame["event"] == "$lagged")
        dropped = told["data"]["dropped"]
        assert told == lagged | {"channel": channel, "data": {"dropped": dropped}}
        assert dropped + len(frames) - 1 == self.MESSAGES
        latest = numbers(frames)[frames.index(told) :]
        if channel == "prices":
            assert latest == [self.MESSAGES - 2, self.MESSAGES - 1]
            assert frames[-1].keys() == message.keys()
        else:
            assert latest == list(range(self.MESSAGES - len(latest), self.MESSAGES))

    async def test_one_that_catches_up_misses_nothing(self, app: web.Application, url: URL) -> None:
        frames = await self.read_late(app, url, "audit")
        assert numbers(frames) == list(range(self.MESSAGES))

    async def test_the_python_client_counts_what_is_left_out(
        self, app: web.Application, url: URL, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with relayed(url) as relay:
            sockets, subscribed = app[slow_readers.SOCKETS], asyncio.Event()

            async def note(channel: str, event: str) -> None:
                subscribed.set()

            monkeypatch.setattr(sockets, "subscribe_to_event", note)
            lines = slow_readers.follow(str(relay.url), "web")
            reading = asyncio.ensure_future(anext(lines))
            await subscribed.wait()
            relay.stop()
            for number in range(self.MESSAGES):
                await sockets.publish("logs:web", "line", f"{number} {self.TEXT}")
                if number % 100 == 0:
                    await asyncio.sleep(0)  # what was published is written
            relay.go_on()
            read, left_out = list[int](), 0
            while not read or read[-1] != self.MESSAGES - 1:
                line = await reading
                if line.endswith("are left out)"):
                    left_out += int(line[1:].split()[0])
                else:
                    read.append(int(line.split()[0]))
                reading = asyncio.ensure_future(anext(lines))
            assert left_out + len(read) == self.MESSAGES
            reading.cancel()
            await asyncio.wait([reading])


def numbers(frames: list[Frame]) -> list[int]:
    """The numbers of the prices among them."""
    return [frame["data"]["price"] for frame in frames if frame["event"] == "price"]


class TestPresence:
    """docs/how-to/presence.md"""

    async def test_the_page_shows_what_is_said(self, serve: Serve) -> None:
        url = await serve(presence.create_app()) / "rooms"
        async with (
            peer(url.with_query(user="ada")) as ada,
            peer(url.with_query(user="grace")) as laptop,
            peer(url.with_query(user="grace")) as telephone,
        ):

            async def come(join: Frame) -> None:
                if join["data"]["user"] == "grace":
                    for grace in (laptop, telephone):
                        await grace.call("subscribe", {"channel": "room:1"})

            async def go(leave: Frame) -> None:
                for grace in (laptop, telephone):
                    await grace.call("unsubscribe", {"channel": "room:1"})

            await converse(ada, "presence.md", 1, come)
            await converse(ada, "presence.md", 2, come)
            await converse(ada, "presence.md", 3, go)

    async def test_a_client_knows_who_is_in_a_room(self, serve: Serve) -> None:
        class Seen(presence.Members):
            def show(self) -> None:
                news.put_nowait(list(self.members))

        news: asyncio.Queue[list[str]] = asyncio.Queue()
        url = await serve(presence.create_app(Limits(presence_grace=0.01))) / "rooms"
        async with (
            relayed(url.with_query(user="ada")) as relay,
            connect(relay.url, reconnect=Backoff(first=0.01)) as client,
        ):
            watching = asyncio.create_task(Seen(client, "room:1").watch())
            assert await news.get() == ["ada"]
            assert await news.get() == ["ada"]  # its own $join, which the answer had already
            async with peer(url.with_query(user="grace")) as grace:
                await grace.call("subscribe", {"channel": "room:1"})
                assert await news.get() == ["ada", "grace"]
                await grace.call("publish", {"channel": "room:1", "data": "hello"})
                await grace.call("unsubscribe", {"channel": "room:1"})
                assert await news.get() == ["ada"]
                await grace.call("subscribe", {"channel": "room:1"})
                assert await news.get() == ["ada", "grace"]
                relay.cut()
                await grace.call("unsubscribe", {"channel": "room:1"})
                while await news.get() != ["ada"]:
                    pass  # it asks as soon as it is back, perhaps before she has left
            watching.cancel()
            await asyncio.wait([watching])

    async def test_who_is_another_user_is_another_member(self, serve: Serve) -> None:
        app = presence.create_app()
        url = await serve(app) / "rooms"
        async with peer(url.with_query(user="ada")) as client:
            await client.call("subscribe", {"channel": "room:1", "presence": True})
            (ws,) = app[presence.SOCKETS].sockets
            ws.user = "grace"
            told = [await client.message() for _ in range(3)]
            assert [(each["event"], each["data"]["id"]) for each in told] == [
                ("$join", "ada"),
                ("$leave", "ada"),
                ("$join", "grace"),
            ]

    async def test_coming_back_makes_no_noise(self, serve: Serve) -> None:
        url = await serve(presence.create_app(Limits(presence_grace=1000.0))) / "rooms"
        async with peer(url.with_query(user="ada")) as ada, relayed(url) as relay:
            await ada.call("subscribe", {"channel": "room:1", "presence": True})
            assert (await ada.message())["data"]["id"] == "ada"
            for _ in range(2):
                async with peer(relay.url.with_query(user="grace")) as grace:
                    await grace.call("subscribe", {"channel": "room:1"})
                    relay.cut()
                    await grace.socket.wait_closed()
            async with peer(url.with_query(user="grace")) as grace:
                await grace.call("subscribe", {"channel": "room:1"})
                members = (await ada.call("presence", {"channel": "room:1"}))["members"]
                assert [member["id"] for member in members] == ["ada", "grace"]
                await grace.call("unsubscribe", {"channel": "room:1"})
                assert (await ada.message())["event"] == "$join"
                assert (await ada.message())["event"] == "$leave"

    async def test_who_does_not_come_back_has_left(self, serve: Serve) -> None:
        url = await serve(presence.create_app(Limits(presence_grace=0.01))) / "rooms"
        async with peer(url.with_query(user="ada")) as ada:
            await ada.call("subscribe", {"channel": "room:1", "presence": True})
            assert (await ada.message())["data"]["id"] == "ada"
            async with peer(url.with_query(user="grace")) as grace:
                await grace.call("subscribe", {"channel": "room:1"})
            assert (await ada.message())["event"] == "$join"
            assert (await ada.message())["event"] == "$leave"


class TestAuthorize:
    """docs/how-to/authorize.md"""

    @pytest.fixture(autouse=True)
    def rooms(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rooms = {"room:1": {"ada", "grace"}, "room:2": {"ada"}}
        monkeypatch.setattr(authorize, "ROOMS", rooms)

    async def test_the_page_shows_what_is_said(self, serve: Serve, epochs: None) -> None:
        url = await serve(authorize.create_app()) / "rooms"
        async with peer(url) as client, aiohttp.ClientSession() as session:
            await converse(client, "authorize.md", 1)
            async with session.delete(url / "room:1" / "grace") as response:
                assert response.status == 204
            await converse(client, "authorize.md", 2)

    async def test_who_is_nobody_any_more_has_nothing_but_the_news(self, serve: Serve) -> None:
        url = await serve(authorize.create_app()) / "rooms"
        async with connect(url) as client:
            assert await client.call("sign_in", {"secret": "ada's secret"}) == "ada"
            async with client.subscribe("room:2") as room, client.subscribe("news") as news:
                assert await client.call("sign_in", {"secret": "forgotten"}) is None
                with pytest.raises(CallFailed) as lost:
                    await anext(room)
                assert lost.value.code == ErrorCode.NOT_ALLOWED
                assert news.state is SubscriptionState.OPEN

    async def test_everyone_may_read_the_news_and_nobody_writes_them(self, serve: Serve) -> None:
        url = await serve(authorize.create_app()) / "rooms"
        async with peer(url) as client:
            refused = await client.error("publish", {"channel": "news", "data": 1})
            assert refused["code"] == ErrorCode.NOT_ALLOWED
            assert (await client.call("history", {"channel": "news"}))["messages"] == []

    async def test_who_may_not_read_history_recovers_nothing(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def allow(self: Any, action: str, channel: str, event: str) -> bool:
            return action != "history"

        monkeypatch.setattr(authorize.Room, "authorize", allow)
        app = authorize.create_app()
        url = await serve(app) / "rooms"
        async with peer(url) as client:
            where = await client.call("subscribe", {"channel": "news"})
            await app[authorize.SOCKETS].publish("news", "e", 1)
            assert (await client.message())["offset"] == 1
            recover = {"channel": "news", "recover": {"offset": 0, "epoch": where["epoch"]}}
            answer = await client.call("subscribe", recover)
            assert (answer["recovered"], answer["messages"]) == (False, [])

    async def test_what_fails_allows_nothing(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = authorize.create_app()
        url = await serve(app) / "rooms"

        async def fail(self: Any, action: str, channel: str, event: str) -> bool:
            raise LookupError("the rooms are not to be found")

        async with peer(url) as client:
            await client.call("subscribe", {"channel": "news"})
            (ws,) = app[authorize.SOCKETS].sockets
            monkeypatch.setattr(authorize.Room, "authorize", fail)
            refused = await client.error("subscribe", {"channel": "news", "event": "e"})
            assert refused["code"] == ErrorCode.INTERNAL_ERROR
            assert await ws.reauthorize() == ["news"]
            assert ws.channels.get_subscribed(ws.connection) == {}
        assert "the rooms are not to be found" in caplog.text


class TestCarryingManager:
    """docs/how-to/carry-messages.md: what a manager that carries messages itself cannot have."""

    @pytest.fixture
    async def url(self, serve: Serve) -> URL:
        class Manager(carry_manager.QueueManager):
            def __init__(self) -> None:
                super().__init__()
                rules = [ChannelRule("kept", history=9), ChannelRule("room", presence=True)]
                SocketsManager.__init__(self, channels=[*rules, ChannelRule("typed", data=int)])

        class Stream(carry_manager.Stream):
            SOCKETS_KEY = web.AppKey("SOCKETS", SocketsManager)

        app = web.Application()
        app[Stream.SOCKETS_KEY] = manager = Manager()
        app.cleanup_ctx.append(manager.carry)
        app.router.add_view("/stream", Stream)
        return await serve(app) / "stream"

    async def test_its_messages_have_no_positions_and_the_log_says_so(
        self, url: URL, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with peer(url) as client:
            await client.call("subscribe", {"channel": "kept"})
            assert await client.call("publish", {"channel": "kept", "data": 1}) == {
                "channel": "kept",
                "event": "",
                "data": 1,
            }
            assert "offset" not in await client.message()
        assert "does not keep the history that the rule for 'kept' promises" in caplog.text

    async def test_a_key_is_refused(self, url: URL) -> None:
        async with peer(url) as client:
            refused = await client.error("publish", {"channel": "c", "data": 1, "key": "k"})
            assert set(refused["errors"]) == {"key"}

    async def test_there_is_presence_in_its_process(self, url: URL) -> None:
        async with peer(url) as client:
            await client.call("subscribe", {"channel": "room", "presence": True})
            assert (await client.message())["event"] == "$join"

    async def test_what_clients_publish_is_typed(self, url: URL) -> None:
        async with peer(url) as client:
            refused = await client.error("publish", {"channel": "typed", "data": "1"})
            assert set(refused["errors"]) == {"data"}
