"""A server's session and a client's, joined without a loop: what one says, the other hears at once.

    pair = session_pair(Room)
    made, call = pair.call("add", {"a": 1, "b": 2})
    assert call.payload == Pair(1, 2)
    pair.server.session.answer(call, call.method.encode(3))
    assert pair.client.decode(made.ended[0]) == 3

Nothing runs here: a session says what is to be run, and the test says what came of it.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec import json, msgpack

from openapi.protocol.frames import Codec
from openapi.protocol.incoming import Incoming
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.native import JSON, JSON_CLIENT, MSGPACK, MSGPACK_CLIENT
from openapi.protocol.pending import Asked, Outcome
from openapi.protocol.session import Event, Session

__all__ = ["MadeCall", "SessionEnd", "SessionPair", "session_pair"]

_CODECS: Final[dict[str, tuple[Codec, Codec]]] = {
    "json": (JSON, JSON_CLIENT),
    "msgpack": (MSGPACK, MSGPACK_CLIENT),
}


@dataclass
class MadeCall:
    """A call that one of them made, and how it ended: once at most. Items are encoded."""

    asked: Asked
    ended: list[Outcome]
    items: list[bytes]


class SessionEnd:
    """One of the two: its session, what it said, and what it is to do."""

    def __init__(self, methods: MethodTable, codec: Codec, limits: Limits, prefix: str) -> None:
        self.other: SessionEnd | None = None
        self.messages: list[bytes] = []
        """What it said, encoded; :meth:`said` has it as plain data."""
        self.events: list[Event] = []
        """What it is to do."""
        self.freed = 0
        """How many of its calls have given their place back."""
        self._codec = msgpack if codec.packed else json
        self._under_way: deque[bytes] = deque()
        self._is_slow = False
        self.session = Session(methods, send=self._send, codec=codec, limits=limits, prefix=prefix)
        """The session itself: it answers calls, and is closed."""
        self.pending = self.session.pending
        """Its own calls: they are asked, and abandoned."""
        self.pending.freed = self._free

    def ask(
        self,
        method: str,
        payload: Any = None,
        *,
        timeout: int | None = None,
        stream: bool = False,
    ) -> MadeCall:
        """Call a method of the other one; of a ``stream`` the items are wanted.

        ``timeout`` is what the other one is told, in milliseconds.
        """
        ended: list[Outcome] = []
        items: list[bytes] = []
        asked = self.pending.ask(
            method,
            self.encode({} if payload is None else payload),
            ended.append,
            item=items.append if stream else None,
            timeout=timeout,
        )
        return MadeCall(asked, ended, items)

    def taken(self) -> Incoming:
        """The one call that it is to run, since the last time. Fails where it is not one."""
        [event] = self.events
        self.events.clear()
        assert isinstance(event, Incoming), f"{event} is no call"
        return event

    def said(self) -> list[Any]:
        """What it said since the last time, as plain data."""
        said, self.messages[:] = [self._codec.decode(each) for each in self.messages], []
        return said

    def encode(self, value: object) -> bytes:
        """A value in the format of the conversation."""
        encoded: bytes = self._codec.encode(value)
        return encoded

    def decode(self, value: Any) -> Any:
        """The same the other way."""
        return self._codec.decode(value)

    @contextmanager
    def slowly(self) -> Iterator[deque[bytes]]:
        """What it says meanwhile comes to the other one afterwards only, if it is not lost.

        Gives what is under way: what is taken from there is lost.
        """
        self._is_slow = True
        yield self._under_way
        self._is_slow = False
        self._deliver()

    def _send(self, message: bytes) -> None:
        self.messages.append(message)
        self._under_way.append(message)
        self._deliver()

    def _deliver(self) -> None:
        assert self.other is not None
        while self._under_way and not self._is_slow:
            message = self._under_way.popleft()
            heard = message if self._codec is msgpack else message.decode()
            self.other.events += self.other.session.receive(heard)

    def _free(self) -> None:
        self.freed += 1


class SessionPair:
    """A ``server`` and a ``client``, each with methods that the other one may call."""

    def __init__(
        self,
        methods: MethodTable,
        client_methods: MethodTable,
        *,
        limits: Limits | None = None,
        codecs: tuple[Codec, Codec] = _CODECS["json"],
    ) -> None:
        limits = limits or Limits()
        self.server: Final = SessionEnd(methods, codecs[0], limits, "s")
        """Its end of the conversation."""
        self.client: Final = SessionEnd(client_methods, codecs[1], limits, "")
        """The other one."""
        self.server.other, self.client.other = self.client, self.server

    def call(
        self, method: str, payload: Any = None, *, stream: bool = False
    ) -> tuple[MadeCall, Incoming]:
        """The client calls, and the server is to run it."""
        return self.client.ask(method, payload, stream=stream), self.server.taken()


def session_pair(
    methods: type | MethodTable,
    client_methods: type | MethodTable | None = None,
    *,
    limits: Limits | None = None,
    encoding: Literal["json", "msgpack"] = "json",
) -> SessionPair:
    """Join a server's session and a client's. ``methods`` is an endpoint, or any class of methods.

    ``client_methods`` is what the server may call. ``limits`` hold for both.

    Raises DeclarationError for methods that cannot be any.
    """
    return SessionPair(
        _table(methods),
        MethodTable({}) if client_methods is None else _table(client_methods),
        limits=limits,
        codecs=_CODECS[encoding],
    )


def _table(methods: type | MethodTable) -> MethodTable:
    return methods if isinstance(methods, MethodTable) else MethodTable.of(methods)
