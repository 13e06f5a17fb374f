"""Kept messages and positions, as a server says them. What it says more is passed over."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from openapi.errors import InvalidData
from openapi.protocol.message import Message
from openapi.protocol.stream import Position

__all__ = ["History", "history_of", "kept", "position_of"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class History(Generic[T]):
    """What :meth:`Client.history` returns: messages, and where the channel was at that moment."""

    messages: list[Message[T]]
    position: Position


def history_of(channel: str, response: object, read: Callable[[object], T]) -> History[T]:
    """Read the response of ``history``; ``read`` makes plain values of data a T.

    Raises InvalidData.
    """
    position = position_of(response)
    if position is None:
        raise InvalidData({"": "expected a position, an offset and an epoch"})
    messages = []
    for number, (event, offset, data) in enumerate(kept(response)):
        try:
            value = read(data)
        except InvalidData as exc:
            raise InvalidData(exc.within(f"messages[{number}].data")) from exc
        messages.append(Message(channel, event, value, Position(offset, position.epoch)))
    return History(messages, position)


def position_of(response: object) -> Position | None:
    """The position in a response, or in the data of ``$reset``; None where there is none."""
    match response:
        case {"offset": int(offset), "epoch": str(epoch)}:
            return Position(offset, epoch)
    return None


def kept(response: object) -> Iterator[tuple[str, int, Any]]:
    """The event, the offset and the data of each of ``messages``. Raises InvalidData."""
    match response:
        case {"messages": list(messages)}:
            pass
        case _:
            raise InvalidData({"messages": "expected an array"})
    for number, message in enumerate(messages):
        match message:
            case {"event": str(event), "offset": int(offset), **fields}:
                yield event, offset, fields.get("data")
            case _:
                text = "expected an object with an event, an offset and data"
                raise InvalidData({f"messages[{number}]": text})
