"""A server whose every connection is led by the test, to which a client comes again and again.

async with Door() as door, door.connect(on_state=door.said) as client:
    visit = await door.visit()
    await visit.reconnect()
    other = await door.visit()      # the client comes before it has left
    third = await door.lose(other)
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from aiohttp import web
from yarl import URL

from openapi.client import Backoff, Client, ClientState, Status, Subscription, connect
from openapi.protocol.session import PING
from openapi.testing import Link
from openapi.testing.server import Server
from tests.client.servers import Peer

__all__ = ["QUICK", "Door", "Said", "VirtualDoor", "Visit"]

T = TypeVar("T")

QUICK: Final = Backoff(first=0.001, cap=0.001)
"""For tests to which it is all the same how long a client waits."""


class Said:
    """What ``on_state`` was told, in order: nothing may come in between."""

    def __init__(self) -> None:
        self.all: Final[list[Status]] = []
        self._read = 0
        self._more = asyncio.Event()

    def __call__(self, status: Status) -> None:
        """Is ``on_state``."""
        self.all.append(status)
        self._more.set()

    async def then(self, *states: str) -> Status:
        """Expect that these are the next; returns the last of them."""
        for state in states:
            while self._read == len(self.all):
                self._more.clear()
                await self._more.wait()
            self._read += 1
            said = [each.state for each in self.all[: self._read]]
            assert said[-1] is ClientState(state), said
        return self.all[self._read - 1]

    def nothing_else(self) -> None:
        """Expect that there was no other."""
        assert self._read == len(self.all), self.all[self._read :]


class Visit(Peer):
    """One connection of a client. What it says is read all the time, and kept for the test."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        super().__init__(ws, request)
        self._frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answers_pings = True
        """Whether ``rpc.ping`` is answered at once, and not kept."""
        self._closing = False
        self._closed = asyncio.Event()
        self._left = asyncio.Event()

    async def read(self) -> None:
        """Read until one of both leaves."""
        async for message in self.ws:
            frame = json.loads(message.data)
            if self.answers_pings and frame.get("method") == PING and "id" in frame:
                await self.agree(frame)
            else:
                self._frames.put_nowait(frame)
        if self._closing:
            await self._closed.wait()
        self._left.set()

    async def received(self) -> dict[str, Any]:
        """The next frame of the client."""
        return await self._frames.get()

    async def close(self, code: int, reason: str = "") -> None:
        """Close it, and wait until the client has left."""
        self._closing = True
        await self.ws.close(code=code, message=reason.encode())
        self._closed.set()
        await self._left.wait()

    async def reconnect(self, after: int = 0) -> None:
        """Tell it to come back, in milliseconds."""
        await self.send({"event": "$reconnect", "data": {"after": after, "code": 1012}})

    async def asked(self, method: str) -> dict[str, Any]:
        """The next frame, which calls this method."""
        call = await self.received()
        assert call["method"] == method, call
        return call

    async def agree(self, call: dict[str, Any], response: object = None) -> None:
        """Answer a call."""
        await self.send({"id": call["id"], "method": call["method"], "response": response})

    async def subscribed(self, **response: Any) -> dict[str, Any]:
        """Agree to the subscription that is asked for; returns what was asked."""
        call = await self.asked("subscribe")
        await self.agree(call, response)
        payload: dict[str, Any] = call["payload"]
        return payload

    async def enter(self, messages: Subscription[T], **response: Any) -> Subscription[T]:
        """Agree to a subscription that is entered meanwhile; returns it."""
        entering = asyncio.create_task(messages.__aenter__())
        await self.subscribed(**response)
        return await entering

    async def recover(self, call: dict[str, Any], *offsets: int) -> None:
        """Agree to a subscription, with all that it missed. The data are the offsets, of ``e``."""
        missed = [{"event": "x", "data": offset, "offset": offset} for offset in offsets]
        top = {"offset": offsets[-1], "epoch": "e"}
        await self.agree(call, {"recovered": True, **top, "messages": missed})

    async def refuse(self, call: dict[str, Any], code: int, **fields: Any) -> None:
        """Answer a call with an error."""
        error = {"code": code, "message": "no", **fields}
        await self.send({"id": call["id"], "method": call["method"], "error": error})

    async def say(self, channel: str, event: str, data: object, offset: int | None = None) -> None:
        """Send a message of a channel."""
        message = {"channel": channel, "event": event, "data": data}
        await self.send(message if offset is None else message | {"offset": offset})

    def cut(self) -> None:
        """Cut it, as a network does."""
        self.transport.abort()

    async def left(self) -> int | None:
        """Wait until the client has left; returns its close code."""
        await self._left.wait()
        return self.ws.close_code

    async def hears_only(self, client: Client) -> None:
        """Expect that what the client says now is what comes next."""
        await client.notify("n")
        await self.asked("n")

    def said_nothing_else(self) -> None:
        """Expect that there was no other frame."""
        assert self._frames.empty(), self._frames.get_nowait()


class Door:
    """The server, on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self.said: Final = Said()
        """For the ``on_state`` of one client."""
        self.answers: Final[deque[Callable[[], web.Response]]] = deque()
        """What the next handshakes are answered instead of 101, in order."""
        self.open = asyncio.Event()
        """Handshakes are answered as long as it is set."""
        self.open.set()
        self.knocks = 0
        """How many handshakes there were."""
        self._knock = asyncio.Event()
        self._visits: asyncio.Queue[Visit] = asyncio.Queue()
        self._app = web.Application()
        self._app.router.add_get("/stream", self._handle)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)
        self.url: URL

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = URL.build(scheme="ws", host=host, port=port, path="/stream")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.open.set()
        await self._stop()

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Connect a client: see :func:`openapi.client.connect`."""
        return connect(self.url, **{"reconnect": QUICK} | options)

    async def visit(self) -> Visit:
        """The next connection."""
        return await self._visits.get()

    async def move(self, visit: Visit) -> Visit:
        """Tell a client to come back; returns its next connection. It has not left the other."""
        await visit.reconnect()
        return await self.visit()

    async def lose(self, visit: Visit) -> Visit:
        """Cut a connection; returns the next."""
        visit.cut()
        return await self.visit()

    def refuse(self, status: int, times: int = 1, **headers: str) -> None:
        """Answer the next handshakes with a status."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.extend([lambda: web.Response(status=status, headers=names)] * times)

    async def knocked(self, times: int) -> None:
        """Wait until there were so many handshakes."""
        while self.knocks < times:
            self._knock.clear()
            await self._knock.wait()

    async def _stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.knocks += 1
        self._knock.set()
        await self.open.wait()
        if self.answers:
            return self.answers.popleft()()
        ws = web.WebSocketResponse(protocols=["wsrpc.v1.json"], timeout=1.0)
        await ws.prepare(request)
        visit = Visit(ws, request)
        self._visits.put_nowait(visit)
        await visit.read()
        return ws


class VirtualDoor(Door):
    """The same in virtual time, without a port; ``link`` is the network in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self.link: Final = Link()
        self._server = Server(self._app, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._server.start()
        self.url = self._server.url / "stream"
        return self

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Any]:
        """Connect a client over the link."""
        return self._server.connect(link=self.link, **options)

    async def _stop(self) -> None:
        await self._server.aclose()
