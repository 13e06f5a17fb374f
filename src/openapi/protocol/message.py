"""A published message, as whoever reads a subscription gets it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from openapi.protocol.stream import Position

__all__ = ["Message"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """A published message. ``position`` is right behind it, on a channel that keeps history."""

    channel: str
    event: str
    data: T
    position: Position | None = None
