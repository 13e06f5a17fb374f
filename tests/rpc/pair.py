"""Two peers joined without a socket: what one says, the other hears later, and in order."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from openapi.protocol.frames import Codec
from openapi.protocol.incoming import Incoming
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.native import JSON, JSON_CLIENT
from openapi.protocol.session import Session
from openapi.rpc.peer import Invoke, Peer

TABLES: dict[type, MethodTable] = {}


class Wire:
    """One direction. ``said`` is all that was sent; ``delay`` is asked how late each arrives."""

    def __init__(self, delay: Callable[[], float]) -> None:
        self.said: list[bytes] = []
        self.to: Peer | None = None
        self._delay = delay
        self._under_way: deque[bytes] = deque()

    def send(self, message: bytes) -> None:
        """Send a message."""
        self.said.append(message)
        self._under_way.append(message)
        asyncio.get_running_loop().call_later(self._delay(), self._arrive)

    def _arrive(self) -> None:
        message = self._under_way.popleft()
        if self.to is not None:
            packed = self.to.session.codec.packed
            self.to.receive(message if packed else message.decode())

    def frames(self) -> list[dict[str, Any]]:
        """All that was sent, as plain data."""
        return [json.loads(message) for message in self.said]


class Pair:
    """A server, whose methods are those of ``target``, and a client, likewise.

    ``server.end`` and ``client.end`` are up to the test. ``outlived`` has the tasks of shielded
    calls that went on.
    """

    def __init__(
        self,
        target: object,
        client_target: object = None,
        *,
        limits: Limits | None = None,
        delay: Callable[[], float] = lambda: 0.0,
        codecs: tuple[Codec, Codec] = (JSON, JSON_CLIENT),
        room: Callable[[], Awaitable[object] | None] = lambda: None,
        done: Callable[[Incoming], object] = lambda call: None,
    ) -> None:
        limits = limits or Limits()
        self.to_client, self.to_server = Wire(delay), Wire(delay)
        self.outlived: list[asyncio.Task[None]] = []
        self.server = Peer(
            Session(
                table_of(type(target)),
                send=self.to_client.send,
                codec=codecs[0],
                limits=limits,
                prefix="s",
            ),
            invoke=invoker(target),
            room=room,
            done=done,
            outlive=self.outlived.append,
            asked=limits.asked,
        )
        self.client = Peer(
            Session(
                table_of(type(client_target)),
                send=self.to_server.send,
                codec=codecs[1],
                limits=limits,
            ),
            invoke=invoker(client_target),
            asked=limits.calls,
        )
        self.to_client.to, self.to_server.to = self.client, self.server

    def end(self, code: int = 1001) -> None:
        """Cut the connection, at both ends."""
        self.server.end(code)
        self.client.end(code)


def table_of(owner: type) -> MethodTable:
    """The methods of a class: read once, as a test of ten thousand schedules has as many pairs."""
    if owner not in TABLES:
        TABLES[owner] = MethodTable.of(owner)
    return TABLES[owner]


def invoker(target: object) -> Invoke:
    """What runs the methods of a target."""

    async def opened(items: Any) -> Any:
        return items

    def invoke(call: Incoming) -> Coroutine[Any, Any, Any]:
        result = call.method.function(target, call.payload)
        handler: Coroutine[Any, Any, Any] = opened(result) if call.method.stream else result
        return handler

    return invoke
