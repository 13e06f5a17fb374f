"""Clients of all three dialects, which say and hear native frames."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection
from yarl import URL

from tests.wire_dialects import DIALECTS, JSONRPC, NATIVE, PACKED
from tests.ws.peer import Peer, peer

__all__ = ["JSONRPC", "NATIVE", "PACKED", "Speaker", "speaking"]


class Speaker(Peer):
    """A client of one dialect."""

    def __init__(self, socket: ClientConnection, dialect: str) -> None:
        super().__init__(socket)
        self.dialect = dialect

    async def send(self, message: object) -> None:
        """Send a native frame as this dialect has it; text and bytes as they are."""
        if isinstance(message, dict):
            if message.get("payload", ()) is None:
                message = {key: value for key, value in message.items() if key != "payload"}
            speech = DIALECTS[self.dialect]
            message = speech.write(speech.said(message))
        assert isinstance(message, str | bytes)
        await self.socket.send(message)

    async def receive(self) -> dict[str, Any]:
        """The next message, as the native frame that it stands for."""
        frame: dict[str, Any] = DIALECTS[self.dialect].read(await self.socket.recv())
        return _native(frame) if self.dialect == JSONRPC else frame


@asynccontextmanager
async def speaking(url: URL, dialect: str = NATIVE) -> AsyncIterator[Speaker]:
    """Connect in a dialect."""
    async with peer(url, subprotocols=[dialect]) as client:
        assert client.socket.subprotocol == dialect
        yield Speaker(client.socket, dialect)


def _native(frame: dict[str, Any]) -> dict[str, Any]:
    assert frame.pop("jsonrpc") == "2.0", frame
    match frame:
        case {"result": result, "id": id}:
            return {"id": id, "response": result}
        case {"error": error, "id": id}:
            said, data = dict(error), error.get("data")
            for key in ("errors", "retry_after"):
                if isinstance(data, dict) and key in data:
                    said[key] = data[key]
            return {"id": id, "error": said}
        case {"method": "event", "params": params}:
            message: dict[str, Any] = params
            return message
    raise AssertionError(f"a message that is not expected here: {frame}")
