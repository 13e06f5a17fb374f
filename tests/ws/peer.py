"""A client that is not ours, speaking the wire by hand: the `websockets` package and JSON."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from yarl import URL


class Peer:
    """One connection. Published messages that come before an awaited answer are kept in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self._last_id = 0

    @property
    def compressed(self) -> bool:
        """Whether permessage-deflate was agreed on."""
        assert self.socket.response is not None
        return "permessage-deflate" in self.socket.response.headers.get(
            "Sec-WebSocket-Extensions", ""
        )

    async def send(self, message: object) -> None:
        """Send text as it is, anything else as JSON."""
        await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next frame, whatever it is."""
        frame: dict[str, Any] = json.loads(await self.socket.recv())
        return frame

    async def ask(self, method: str, payload: object = None) -> dict[str, Any]:
        """Call a method and return the whole answer."""
        self._last_id += 1
        await self.send({"id": self._last_id, "method": method, "payload": payload})
        while (frame := await self.receive()).get("id") != self._last_id:
            self.messages.append(frame)
        return frame

    async def call(self, method: str, payload: object = None) -> Any:
        """Call a method and return its response."""
        answer = await self.ask(method, payload)
        assert "error" not in answer, answer
        return answer["response"]

    async def error(self, method: str, payload: object = None) -> dict[str, Any]:
        """Call a method and return its error."""
        answer = await self.ask(method, payload)
        assert "response" not in answer, answer
        error: dict[str, Any] = answer["error"]
        return error

    async def message(self) -> dict[str, Any]:
        """The next published message."""
        return self.messages.pop(0) if self.messages else await self.receive()

    async def closed(self) -> tuple[int, str]:
        """Read to the end: the closing frame's code and reason."""
        await self.socket.wait_closed()
        close = self.socket.protocol.close_rcvd
        return (close.code, close.reason) if close is not None else (1006, "")


@asynccontextmanager
async def peer(url: URL, **options: Any) -> AsyncIterator[Peer]:
    """Connect to an endpoint."""
    options.setdefault("compression", None)
    options.setdefault("ping_interval", None)
    async with connect(str(url.with_scheme("ws")), **options) as socket:
        yield Peer(socket)
