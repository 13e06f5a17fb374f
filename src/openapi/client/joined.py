"""The response of ``subscribe``: where a subscription begins, and what was missed before that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openapi.client.history import kept, position_of
from openapi.errors import InvalidData
from openapi.protocol.frames import Message
from openapi.protocol.stream import Position

__all__ = ["Joined", "joined"]


@dataclass(frozen=True, slots=True)
class Joined:
    """A subscription that the server agreed to.

    ``position`` is that from which its messages come, on a channel that keeps history.
    ``recovered`` is whether ``messages`` are all that were missed.
    """

    position: Position | None = None
    recovered: bool = False
    messages: tuple[Message, ...] = ()


def joined(channel: str, response: object, write: Callable[[Any], bytes]) -> Joined:
    """Read a response, as plain values; ``write`` writes data as a live message has it.

    Raises InvalidData where something was recovered, and cannot be read.
    """
    position = position_of(response)
    match response:
        case {"recovered": True}:
            if position is None:
                raise InvalidData({"": "expected a position, an offset and an epoch"})
            messages = (
                Message.of(channel, event, write(data), offset)
                for event, offset, data in kept(response)
            )
            return Joined(position, True, tuple(messages))
    return Joined(position)
