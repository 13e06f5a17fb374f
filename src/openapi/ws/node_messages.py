"""What the nodes of an application say to each other, as types, and the bounds of each.

| event                      | on          | what                                                  |
|----------------------------|-------------|-------------------------------------------------------|
| ``hello`` ``here`` ``bye`` | ``$nodes``  | :class:`Sign`: a node has come, is there, goes        |
| ``here``                   | an inbox    | the answer to a ``hello``                             |
| ``1.call`` and so on       | ``$nodes``  | a :class:`Question` to all                            |
| ``1.stop``                 | ``$nodes``  | whoever asked does not wait any more                  |
| ``1.taken``                | an inbox    | the answer takes a while                              |
| ``1.answer``               | an inbox    | a part of the answer                                  |
| ``1.awaiting``             | an inbox    | answers are still waited for                          |
| ``1.lost``                 | an inbox    | those of them that do not come any more               |

The inbox of a node is the channel ``$node:ID``. The number is the version of what is asked and
answered; what has another one is unreadable. A :class:`Sign` is read by nodes of every version, so
it stays as it is for ever.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from openapi.errors import InvalidData, OpenApiError, Unserializable
from openapi.protocol.envelope import Unreadable
from openapi.protocol.publication import Data
from openapi.schema import Schema
from openapi.ws.faults import Fault

__all__ = [
    "ALL",
    "MOST_BYTES",
    "VERSION",
    "Answer",
    "Awaiting",
    "CallQuestion",
    "CannotSay",
    "ConnectionItem",
    "ConnectionsQuestion",
    "DisconnectQuestion",
    "InfoItem",
    "InfoQuestion",
    "Lost",
    "Message",
    "Question",
    "QuestionOfSome",
    "ReplyItem",
    "Sign",
    "Stop",
    "SubscribeQuestion",
    "Taken",
    "UnsubscribeQuestion",
    "inbox_of",
    "read",
    "said",
]

ALL: Final = "$nodes"
"""The channel that every node hears."""

VERSION: Final = 1
"""Of what is asked and answered."""

MOST_BYTES: Final = 512 * 1024
"""A message as JSON. Brokers carry 1 MiB."""

_NODE: Final = re.compile("[0-9a-f]{16}")
_LONGEST_INTERVAL: Final = 3600.0


class CannotSay(OpenApiError):
    """It is too long, or has no JSON form."""


def inbox_of(node: str) -> str:
    """The channel that only this node hears."""
    return f"$node:{node}"


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life. ``interval`` is how many seconds pass to the next."""

    node: str
    host: str
    pid: int
    version: int
    interval: float
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Asked of all nodes. ``id`` is that of whoever asks, which is ``node``."""

    id: int
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOfSome(Question):
    """About the connections of a user, or one by its id."""

    user: str | int | None = None
    socket_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallQuestion(QuestionOfSome):
    """Call a method of clients. Its items are :class:`ReplyItem`."""

    method: str
    payload: Any
    timeout: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisconnectQuestion(QuestionOfSome):
    """Close connections. Its item is how many."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeQuestion(QuestionOfSome):
    """Subscribe connections. Its item is how many."""

    channel: str
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribeQuestion(QuestionOfSome):
    """Take a channel from connections. Its item is how many."""

    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsQuestion(Question):
    """Who is connected? Its items are :class:`ConnectionItem`."""

    user: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoQuestion(Question):
    """What is subscribed to? Its items are :class:`InfoItem`."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Nobody waits for the answer any more."""

    id: int
    node: str


@dataclass(frozen=True, slots=True)
class Taken:
    """``node`` has something to do for question ``id`` of whoever hears it."""

    id: int
    node: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A part of what ``node`` answers to question ``id``. Parts are counted from 0."""

    id: int
    node: str
    part: int
    last: bool
    items: list[Any]
    fault: Fault | None = None
    """Why there is not all in the items; in the last part only."""


@dataclass(frozen=True, slots=True)
class Awaiting:
    """``node`` waits for the answers to these questions of its own, which were :class:`Taken`."""

    node: str
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Lost:
    """``node`` does not work on these questions of whoever hears it: it has said what it could."""

    node: str
    ids: list[int]


@dataclass(frozen=True, slots=True)
class ReplyItem:
    """What a connection said."""

    socket_id: str
    result: Any = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class ConnectionItem:
    """A connection."""

    socket_id: str
    user: str | int | None
    started: float
    channels: dict[str, list[str]]
    queued_bytes: int


@dataclass(frozen=True, slots=True)
class InfoItem:
    """A node, and a part of what is subscribed to there: ``{channel: {pattern: subscribers}}``"""

    host: str
    pid: int
    connections: int
    channels: dict[str, dict[str, int]]


Message: TypeAlias = Sign | Question | Stop | Taken | Answer | Awaiting | Lost

_SIGNS: Final = ("hello", "here", "bye")
_KINDS: Final[dict[str, type[Message]]] = {
    **dict.fromkeys(_SIGNS, Sign),
    f"{VERSION}.call": CallQuestion,
    f"{VERSION}.disconnect": DisconnectQuestion,
    f"{VERSION}.subscribe": SubscribeQuestion,
    f"{VERSION}.unsubscribe": UnsubscribeQuestion,
    f"{VERSION}.connections": ConnectionsQuestion,
    f"{VERSION}.info": InfoQuestion,
    f"{VERSION}.stop": Stop,
    f"{VERSION}.taken": Taken,
    f"{VERSION}.answer": Answer,
    f"{VERSION}.awaiting": Awaiting,
    f"{VERSION}.lost": Lost,
}
_EVENTS: Final = {kind: event for event, kind in _KINDS.items() if kind is not Sign}
_ANYTHING: Final = Schema[Any](Any)


def said(message: Message, sign: str = "") -> tuple[str, object]:
    """The event and the data of a message, of plain values. ``sign`` is that of a :class:`Sign`.

    Raises CannotSay.
    """
    try:
        json = Schema.of(type(message)).encode(message)
        if len(json) > MOST_BYTES:
            raise CannotSay(f"it has {len(json)} bytes as JSON, more than {MOST_BYTES}")
        return sign or _EVENTS[type(message)], _ANYTHING.decode(json)
    except (InvalidData, Unserializable) as exc:
        raise CannotSay(f"it has no form that travels: {exc}") from exc


def read(event: str, data: object) -> Message:
    """What came over the bus. Raises Unreadable: nothing in it is taken for what it says it is."""
    kind = _KINDS.get(event)
    if kind is None:
        raise Unreadable(f"{event[:40]!r} is nothing that is said in version {VERSION}")
    try:
        json = Data.of(data).json
        if len(json) > MOST_BYTES:
            raise Unreadable(f"it has {len(json)} bytes, more than {MOST_BYTES}")
        message: Message = Schema.of(kind).decode(json)
    except (InvalidData, Unserializable) as exc:
        raise Unreadable(f"{event!r} cannot be read: {exc}") from None
    if _NODE.fullmatch(message.node) is None:
        raise Unreadable(f"{event!r} is of {message.node[:40]!r}, which is no node")
    if isinstance(message, Sign) and not 0 < message.interval <= _LONGEST_INTERVAL:
        raise Unreadable(f"{event!r} announces the next in {message.interval!r} seconds")
    return message
