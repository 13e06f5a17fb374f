"""Sockets of a real server against a model: who receives what is exactly the model's answer."""

import asyncio
import fnmatch
from typing import Any

from aiohttp import web
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from yarl import URL

from openapi.ws import SocketsManager
from tests.ws.endpoints import application
from tests.ws.raw import CLOSE, RawSocket, masked

channels = st.sampled_from(["one", "two", "three"])
events = st.sampled_from(["", "a", "ab", "a.b", "b", "*", "a*"])
patterns = st.sampled_from([None, "*", "a", "a*", "?b", "[ab]", "[!a]", "*b", "a.b", "a[*]"])


class Client:
    """A socket, and what the model says that it has."""

    def __init__(self, socket: RawSocket) -> None:
        self.socket = socket
        self.subscribed: dict[str, dict[str, None]] = {}
        self.last_id = 0
        self.received: list[tuple[str, str, Any]] = []

    async def ask(self, method: str, payload: object) -> dict[str, Any]:
        """Call; every message that comes before the answer was received before it."""
        self.last_id += 1
        self.socket.send({"id": self.last_id, "method": method, "payload": payload})
        while (frame := await self.socket.receive()).get("id") != self.last_id:
            self.received.append((frame["channel"], frame["event"], frame["data"]))
        answer: dict[str, Any] = frame
        return answer

    def wants(self, channel: str, event: str) -> bool:
        return any(
            fnmatch.fnmatchcase(event, pattern) for pattern in self.subscribed.get(channel, ())
        )

    @property
    def has(self) -> dict[str, list[str]]:
        return {channel: list(patterns) for channel, patterns in self.subscribed.items()}


class Server(RuleBasedStateMachine):
    """Subscribe, unsubscribe, publish and close, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.sockets = SocketsManager()
        self.alive: list[Client] = []
        self.number = 0
        self.runner, self.url = self.loop.run_until_complete(self._start())

    async def _start(self) -> tuple[web.AppRunner, URL]:
        runner = web.AppRunner(application(sockets=self.sockets))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return runner, URL.build(scheme="http", host=host, port=port, path="/stream")

    clients = Bundle("clients")

    @rule(target=clients)
    def connect(self) -> Client:
        client = Client(self.loop.run_until_complete(RawSocket.open(self.url)))
        self.alive.append(client)
        return client

    @rule(client=clients, channel=channels, pattern=patterns)
    def subscribe(self, client: Client, channel: str, pattern: str | None) -> None:
        client.subscribed.setdefault(channel, {})[pattern or "*"] = None
        payload = {"channel": channel, "event": pattern}
        answer = self.loop.run_until_complete(client.ask("subscribe", payload))
        assert answer["response"] == {"subscribed": client.has}

    @rule(client=clients, channel=channels, pattern=patterns)
    def unsubscribe(self, client: Client, channel: str, pattern: str | None) -> None:
        payload = {"channel": channel, "event": pattern}
        answer = self.loop.run_until_complete(client.ask("unsubscribe", payload))
        if channel not in client.subscribed:
            assert answer["error"]["errors"] == {"channel": "Invalid channel"}
            return
        if pattern is None:
            del client.subscribed[channel]
        else:
            client.subscribed[channel].pop(pattern, None)
            if not client.subscribed[channel]:
                del client.subscribed[channel]
        assert answer["response"] == {"subscribed": client.has}

    @rule(client=clients, channel=channels, event=events)
    def publish(self, client: Client, channel: str, event: str) -> None:
        self.loop.run_until_complete(self._publish(client, channel, event))

    async def _publish(self, client: Client, channel: str, event: str) -> None:
        self.number += 1
        payload = {"channel": channel, "event": event, "data": self.number}
        assert (await client.ask("publish", payload))["response"] == payload
        for other in self.alive:
            await other.ask("info", None)
            expected = [(channel, event, self.number)] if other.wants(channel, event) else []
            assert other.received == expected
            other.received.clear()

    @rule(client=consumes(clients), politely=st.booleans())
    def close(self, client: Client, politely: bool) -> None:
        self.alive.remove(client)
        self.loop.run_until_complete(self._close(client, politely))

    async def _close(self, client: Client, politely: bool) -> None:
        if politely:
            client.socket.writer.write(masked(CLOSE, b"\x03\xe8"))
        else:
            client.socket.reset()
        before = {ws.connection for ws in self.sockets.sockets}
        if len(before) > len(self.alive):
            waits = [asyncio.ensure_future(connection.wait_closed()) for connection in before]
            _, open_ones = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in open_ones:
                wait.cancel()
        await client.socket.shut()

    @invariant()
    def counts_are_the_models(self) -> None:
        expected: dict[str, dict[str, int]] = {}
        for client in self.alive:
            for channel, own in client.subscribed.items():
                for pattern in own:
                    counts = expected.setdefault(channel, {})
                    counts[pattern] = counts.get(pattern, 0) + 1
        info = self.sockets.server_info()
        assert info == {"connections": len(self.alive), "channels": expected}

    def teardown(self) -> None:
        self.loop.run_until_complete(self._end())
        self.loop.close()

    async def _end(self) -> None:
        for client in list(self.alive):
            self.alive.remove(client)
            await self._close(client, politely=False)
        assert self.sockets.server_info() == {"connections": 0, "channels": {}}
        await self.runner.cleanup()


TestWhoReceivesWhat = Server.TestCase
TestWhoReceivesWhat.settings = settings(stateful_step_count=40)
