"""The beginning of a subscription."""

from collections.abc import Sequence
from dataclasses import dataclass

from openapi.protocol.stream import Position
from openapi.ws.delivery import Delivery

__all__ = ["Joined"]


@dataclass(frozen=True, slots=True)
class Joined:
    """A subscription that has begun.

    ``position`` is where, on a channel that keeps history. ``recovered`` is whether ``messages``
    are all that were missed; None where nobody asked for them.
    """

    position: Position | None = None
    recovered: bool | None = None
    messages: Sequence[Delivery] = ()
