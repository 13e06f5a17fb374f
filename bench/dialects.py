"""What a client says to each server and what it hears, as payloads of WebSocket messages.

A server has the wording of its own protocol; all of them are asked the same: to take an order and
to answer with its receipt, to subscribe to a channel, and to publish a message there. What they
answer is compared as a whole: an answer that is only nearly right ends the measurement.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

__all__ = [
    "AIOHTTP_RPC",
    "BY_HAND",
    "FASTAPI_RPC",
    "FILLER",
    "IN_FLIGHT",
    "NODE_BY_HAND",
    "NODE_SOCKETIO",
    "OPENAPI_3_2_1",
    "ORDER",
    "OURS",
    "SOCKETIO",
    "Dialect",
    "Worded",
    "Wording",
]

ORDER: Final = {
    "id": 123456,
    "item": "oolong",
    "price": 12.5,
    "express": True,
    "note": "leave it there",
}

IN_FLIGHT: Final = 16
"""A connection has at most so many calls in flight, numbered from 0."""


FILLER: Final = b"x" * 100
"""What the data of a message begins with, before its number."""


class Dialect(Protocol):
    """How a client talks to a server. Payloads are bytes, neither framed nor masked.

    What is neither an answer, nor a message, nor what the server may say besides, raises
    AssertionError, whoever is asked about it.
    """

    @property
    def path(self) -> str:
        """The target of the handshake's request, with its query."""

    @property
    def binary(self) -> bool:
        """Whether payloads go as binary messages; otherwise as text."""

    def hello(self) -> Sequence[tuple[bytes | None, bytes]]:
        """What comes first, in turn: what to send, or None, and what the reply begins with."""

    def call(self, number: int) -> bytes:
        """The order; ``number`` says which it is of the :data:`IN_FLIGHT`."""

    def answered(self, payload: bytes) -> int | None:
        """The number of the order that this is the receipt of; None for anything else."""

    def subscribe(self, channel: str) -> bytes:
        """Subscribe to all events of a channel."""

    def subscribed(self, payload: bytes) -> bool:
        """Whether this is the answer to that."""

    def publish(self, channel: str, number: int) -> bytes:
        """Publish a message with a number from 0."""

    def published(self, payload: bytes) -> bool:
        """Whether this is the answer to that. It comes when the message was handed to all."""

    def delivered(self, payload: bytes) -> int | None:
        """The number of the message that was published, and is this; None for anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A server's protocol, as templates for ``%``.

    ``%(id)d`` is the number of the call, ``%(number)d`` that of the message, ``%(order)b`` the
    order as JSON, ``%(channel)b`` the channel and ``%(filler)b`` what the data begins with.
    """

    path: str
    binary: bool = False
    hello: tuple[tuple[bytes | None, bytes], ...] = ()
    call: bytes
    answer: bytes
    # None, the others too: the server has no publish/subscribe.
    subscribe: bytes | None = None
    subscribed: bytes | None = None
    publish: bytes | None = None
    published: bytes | None = None
    message: bytes | None = None
    besides: frozenset[bytes] = frozenset()
    """What else the server may say."""


class Worded:
    """The dialect of a wording. See :class:`Dialect`."""

    __slots__ = (
        "_answers",
        "_calls",
        "_channels",
        "_last",
        "_message",
        "_published",
        "_subscribed",
        "_wording",
    )

    def __init__(self, wording: Wording) -> None:
        self._wording = wording
        numbers = range(IN_FLIGHT)
        self._calls = [wording.call % {b"id": id, b"order": _ORDER_JSON} for id in numbers]
        self._answers = {wording.answer % {b"id": id}: id for id in numbers}
        self._subscribed = _matching(wording.subscribed)
        self._published = _matching(wording.published)
        self._message = _matching(wording.message)
        #: Those that were spoken of. There are few.
        self._channels = set[bytes]()
        # A message reaches many, and all of them get the same.
        self._last: tuple[bytes, int] = b"", 0

    @property
    def path(self) -> str:
        return self._wording.path

    @property
    def binary(self) -> bool:
        return self._wording.binary

    def hello(self) -> Sequence[tuple[bytes | None, bytes]]:
        return self._wording.hello

    def call(self, number: int) -> bytes:
        return self._calls[number]

    def answered(self, payload: bytes) -> int | None:
        number = self._answers.get(payload)
        if number is None:
            self._check(payload)
        return number

    def subscribe(self, channel: str) -> bytes:
        template = _existing(self._wording.subscribe, self.path)
        return template % {b"channel": self._spoken_of(channel)}

    def subscribed(self, payload: bytes) -> bool:
        return self._match(self._subscribed, payload) is not None or self._check(payload)

    def publish(self, channel: str, number: int) -> bytes:
        template = _existing(self._wording.publish, self.path)
        name = self._spoken_of(channel)
        return template % {b"channel": name, b"number": number, b"filler": FILLER}

    def published(self, payload: bytes) -> bool:
        return self._match(self._published, payload) is not None or self._check(payload)

    def delivered(self, payload: bytes) -> int | None:
        last, number = self._last
        if payload == last:
            return number
        match = self._match(self._message, payload)
        if match is None:
            self._check(payload)
            return None
        number = int(match["number"])
        self._last = payload, number
        return number

    def _check(self, payload: bytes) -> bool:
        """Return False for what may be said, though it is not what was asked for."""
        if payload in self._answers or payload in self._wording.besides:
            return False
        for said in (self._message, self._published, self._subscribed):
            if self._match(said, payload):
                return False
        raise AssertionError(f"the server said {payload!r}, which is no answer that fits")

    def _match(self, pattern: re.Pattern[bytes], payload: bytes) -> re.Match[bytes] | None:
        match = pattern.fullmatch(payload)
        if match is None or match.groupdict().get("channel") in (None, *self._channels):
            return match
        return None

    def _spoken_of(self, channel: str) -> bytes:
        name = channel.encode()
        self._channels.add(name)
        return name


def _existing(template: bytes | None, path: str) -> bytes:
    if template is None:
        raise TypeError(f"the server at {path} has no publish/subscribe")
    return template


def _matching(template: bytes | None) -> re.Pattern[bytes]:
    """What matches all that a template may become; without one, nothing."""
    if template is None:
        return re.compile(rb"(?!)")
    pattern, seen = b"", set[bytes]()
    for text, name in _PARTS.findall(template):
        pattern += re.escape(text)
        if name:
            again = name in seen
            seen.add(name)
            pattern += b"(?P=%b)" % name if again else _FIELDS[name]
    return re.compile(pattern)


_PARTS: Final = re.compile(rb"(.*?)(?:%\((\w+)\)[bd]|$)", re.DOTALL)
_FIELDS: Final[Mapping[bytes, bytes]] = {
    b"id": rb"(?P<id>\d+)",
    b"number": rb"(?P<number>\d+)",
    b"channel": rb'(?P<channel>[^"]+)',
    b"filler": FILLER,
}
_ORDER_JSON: Final = json.dumps(ORDER, separators=(",", ":")).encode()


OURS: Final = Wording(
    path="/stream",
    call=b'{"id":%(id)d,"method":"order","payload":%(order)b}',
    answer=b'{"id":%(id)d,"method":"order",'
    b'"response":{"id":123456,"total":15.0,"text":"leave it there"}}',
    subscribe=b'{"id":0,"method":"subscribe","payload":{"channel":"%(channel)b"}}',
    subscribed=b'{"id":0,"method":"subscribe","response":{"subscribed":{"%(channel)b":["*"]}}}',
    publish=b'{"id":%(number)d,"method":"publish",'
    b'"payload":{"channel":"%(channel)b","event":"e","data":"%(filler)b%(number)d"}}',
    published=b'{"id":%(number)d,"method":"publish",'
    b'"response":{"channel":"%(channel)b","event":"e","data":"%(filler)b%(number)d"}}',
    message=b'{"channel":"%(channel)b","event":"e","data":"%(filler)b%(number)d"}',
)

#: The same calls; what subscribes and publishes is answered with as little as can be.
BY_HAND: Final = replace(
    OURS,
    subscribed=b'{"id":0,"method":"subscribe","response":null}',
    published=b'{"id":%(number)d,"method":"publish","response":null}',
)

#: JavaScript writes 15.0 as 15.
NODE_BY_HAND: Final = replace(BY_HAND, answer=BY_HAND.answer.replace(b"15.0", b"15"))

#: Engine.IO 4 and Socket.IO 5: `0{…}` opens, `40` connects, `42ID["event",…]` is an event that is
#: answered with `43ID[…]`, and `2` a ping.
SOCKETIO: Final = Wording(
    path="/socket.io/?EIO=4&transport=websocket",
    hello=((None, b"0{"), (b"40", b"40{")),
    call=b'42%(id)d["order",%(order)b]',
    answer=b'43%(id)d[{"id":123456,"total":15.0,"text":"leave it there"}]',
    subscribe=b'420["subscribe","%(channel)b"]',
    subscribed=b"430[]",
    publish=b'42%(number)d["publish",'
    b'{"channel":"%(channel)b","event":"e","data":"%(filler)b%(number)d"}]',
    published=b"43%(number)d[]",
    message=b'42["e",{"channel":"%(channel)b","data":"%(filler)b%(number)d"}]',
    besides=frozenset({b"2"}),
)

NODE_SOCKETIO: Final = replace(SOCKETIO, answer=SOCKETIO.answer.replace(b"15.0", b"15"))

FASTAPI_RPC: Final = Wording(
    path="/ws",
    call=b'{"request":{"method":"order","arguments":%(order)b,"call_id":"%(id)d"}}',
    answer=b'{"request":null,"response":{"result":{"id":123456,"total":15.0,'
    b'"text":"leave it there"},"result_type":"Receipt","call_id":"%(id)d"}}',
)

AIOHTTP_RPC: Final = Wording(
    path="/rpc",
    call=b'{"jsonrpc":"2.0","id":%(id)d,"method":"order","params":%(order)b}',
    answer=b'{"id":%(id)d,"jsonrpc":"2.0",'
    b'"result":{"id":123456,"total":15.0,"text":"leave it there"}}',
)

#: An id is a string there, and JSON has spaces.
OPENAPI_3_2_1: Final = Wording(
    path="/stream",
    call=b'{"id":"%(id)d","method":"order","payload":%(order)b}',
    answer=b'{"id": "%(id)d", "method": "order", '
    b'"response": {"id": 123456, "total": 15.0, "text": "leave it there"}}',
    subscribe=b'{"id":"0","method":"subscribe","payload":{"channel":"%(channel)b"}}',
    subscribed=b'{"id": "0", "method": "subscribe", '
    b'"response": {"subscribed": {"%(channel)b": ["*"]}}}',
    publish=b'{"id":"%(number)d","method":"publish",'
    b'"payload":{"channel":"%(channel)b","event":"e","data":"%(filler)b%(number)d"}}',
    published=b'{"id": "%(number)d", "method": "publish", '
    b'"response": {"channel": "%(channel)b", "event": "e", "data": "%(filler)b%(number)d"}}',
    message=b'{"channel": "%(channel)b", "event": "e", "data": "%(filler)b%(number)d"}',
)
