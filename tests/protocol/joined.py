"""A server and a client, joined without a loop: what one of them says, the other hears at once."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from msgspec import json, msgpack

from openapi.protocol.frames import Codec
from openapi.protocol.incoming import Incoming
from openapi.protocol.limits import Limits
from openapi.protocol.native import JSON, JSON_CLIENT
from openapi.protocol.pending import Asked, Outcome
from openapi.protocol.session import Event, Session
from tests.protocol.talk import TABLE


@dataclass
class Mine:
    """A call that one of them made, and how it ended: once at most."""

    asked: Asked
    ended: list[Outcome]
    items: list[bytes]


class End:
    """One of the two: its session, what it said, and what it is to do."""

    def __init__(self, codec: Codec, limits: Limits, prefix: str) -> None:
        self.other: End | None = None
        self.messages: list[bytes] = []
        self.events: list[Event] = []
        self.freed = 0
        self._codec = msgpack if codec.packed else json
        self._under_way: deque[bytes] = deque()
        self._is_slow = False
        self.session = Session(TABLE, send=self._send, codec=codec, limits=limits, prefix=prefix)
        self.pending = self.session.pending
        self.pending.freed = self._free

    def ask(
        self,
        method: str = "echo",
        payload: Any = None,
        *,
        timeout: int | None = None,
        stream: bool = False,
    ) -> Mine:
        """Call a method of the other one; of a ``stream`` the items are wanted."""
        ended: list[Outcome] = []
        items: list[bytes] = []
        asked = self.pending.ask(
            method,
            self.encode({} if payload is None else payload),
            ended.append,
            item=items.append if stream else None,
            timeout=timeout,
        )
        return Mine(asked, ended, items)

    def taken(self) -> Incoming:
        """The one call that it is to run, since the last time."""
        [event] = self.events
        self.events.clear()
        assert isinstance(event, Incoming)
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
        """What it says meanwhile comes to the other one afterwards only, if it is not lost."""
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


class Joined:
    """A server and a client. Each has the methods of ``talk.py``."""

    def __init__(
        self, limits: Limits | None = None, codecs: tuple[Codec, Codec] = (JSON, JSON_CLIENT)
    ) -> None:
        limits = limits or Limits()
        self.server = End(codecs[0], limits, "s")
        self.client = End(codecs[1], limits, "")
        self.server.other, self.client.other = self.client, self.server

    def call(
        self, method: str = "echo", payload: Any = None, *, stream: bool = False
    ) -> tuple[Mine, Incoming]:
        """The client calls, and the server is to run it."""
        return self.client.ask(method, payload, stream=stream), self.server.taken()
