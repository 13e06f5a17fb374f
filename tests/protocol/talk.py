"""One end of a conversation: a session, the methods that its peer may call, and what it sent."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

from openapi.protocol.frames import Codec
from openapi.protocol.incoming import Incoming
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable, ws_rpc
from openapi.protocol.native import JSON
from openapi.protocol.session import Event, Session


@dataclass
class Pair:
    """Two numbers."""

    a: int
    b: int


@dataclass
class Place:
    """One of its own fields is a lane."""

    row: int


@dataclass
class Fragile:
    """A type whose own code fails."""

    x: int = 0

    def __post_init__(self) -> None:
        raise RuntimeError("fragile")


class Methods:
    """What the peer may call. Nothing runs here: a session only says what is to be run."""

    async def ws_rpc_echo(self, payload: dict[str, Any]) -> Any:
        """Anything."""

    async def ws_rpc_add(self, payload: Pair) -> Any:
        """Its payload has a type."""

    async def ws_rpc_fragile(self, payload: Fragile) -> Any:
        """The type of its payload fails."""

    @ws_rpc(timeout=5)
    async def ws_rpc_quick(self, payload: dict[str, Any]) -> Any:
        """It has five seconds."""

    @ws_rpc(timeout=None)
    async def ws_rpc_endless(self, payload: dict[str, Any]) -> Any:
        """It takes as long as it likes."""

    @ws_rpc(shield=True)
    async def ws_rpc_pay(self, payload: dict[str, Any]) -> Any:
        """It goes on when it is cancelled."""

    @ws_rpc(lane=True)
    async def ws_rpc_alone(self, payload: dict[str, Any]) -> Any:
        """One after another."""

    @ws_rpc(lane="order")
    async def ws_rpc_ship(self, payload: dict[str, Any]) -> Any:
        """One after another, for each order."""

    @ws_rpc(lane="order", timeout=5)
    async def ws_rpc_bill(self, payload: dict[str, Any]) -> Any:
        """Likewise, and behind what ships the order."""

    @ws_rpc(lane="row")
    async def ws_rpc_seat(self, payload: Place) -> Any:
        """Likewise, and its payload has a type."""

    async def ws_rpc_tail(self, payload: dict[str, Any]) -> AsyncIterator[Any]:
        """A stream."""
        yield None


TABLE = MethodTable.of(Methods)
INVALID = "Invalid RPC parameters"


class Talk:
    """A session and what it sent."""

    def __init__(self, limits: Limits | None = None, codec: Codec = JSON) -> None:
        self.messages: list[bytes] = []
        self.packed = codec.packed
        self.session = Session(
            TABLE, send=self.messages.append, codec=codec, limits=limits or Limits(), prefix="s"
        )

    def ask(
        self, id: Any, method: str = "echo", payload: Any = None, **more: Any
    ) -> Incoming | None:
        """The peer calls. Returns the call, if it is to be run."""
        events = self.say({"id": id, "method": method, "payload": payload, **more})
        assert len(events) < 2
        for event in events:
            assert isinstance(event, Incoming)
            return event
        return None

    def run(self, id: Any, method: str = "echo", payload: Any = None, **more: Any) -> Incoming:
        """The peer calls, and the call is to be run."""
        call = self.ask(id, method, payload, **more)
        assert call is not None
        return call

    def say(self, message: Any) -> list[Event]:
        """The peer says anything: bytes and text as they are, everything else encoded."""
        if not isinstance(message, str | bytes):
            message = msgspec.msgpack.encode(message) if self.packed else json.dumps(message)
        return [*self.session.receive(message)]

    def sent(self) -> list[Any]:
        """What was sent since the last time."""
        decode = msgspec.msgpack.decode if self.packed else json.loads
        sent, self.messages[:] = [decode(message) for message in self.messages], []
        return sent

    def error(self) -> dict[str, Any]:
        """The one error that was sent since the last time."""
        [frame] = self.sent()
        error: dict[str, Any] = frame["error"]
        return error


def batch(*messages: Any) -> str:
    """A batch of JSON-RPC: a call is ``(id, method)``, or with parameters ``(id, method, …)``."""
    return json.dumps([_request(*each) if isinstance(each, tuple) else each for each in messages])


def _request(id: Any, method: str, params: Any = None) -> dict[str, Any]:
    request = {"jsonrpc": "2.0", "method": method}
    if id is not None:
        request["id"] = id
    return request if params is None else {**request, "params": params}
