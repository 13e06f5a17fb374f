"""Every bound of a connection, in one place."""

from dataclasses import dataclass, fields
from math import inf

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may cost. Sizes are in bytes, times in seconds."""

    message_bytes: int = 64 * 1024
    """An inbound message. A longer one is refused with -32007 and skipped."""
    discard_bytes: int = 1024 * 1024
    """An inbound message that announces more than this is not skipped: close code 1009."""
    fragments: int = 256
    """Fragments of an inbound message. More: close code 1009."""
    json_depth: int = 64
    """Nesting of brackets in an inbound message, its own included. Deeper: -32007."""
    calls: int = 64
    """Calls in flight. More: -32004."""
    call_timeout: float | None = None
    """A call whose method says nothing else, and each item of a stream. Longer: -32005."""
    batch: int = 64
    """What is in one JSON-RPC batch. More: -32007."""
    shielded: int = 1000
    """Shielded calls in flight, of all connections of a manager. More: -32004."""
    asked: int = 64
    """The server's own calls to a client, in flight. More wait for their turn."""
    channels: int = 128
    """Channels subscribed to. More: -32007."""
    patterns: int = 16
    """Event patterns per channel. More: -32007."""
    name_bytes: int = 255
    """The name of a channel or an event, or a pattern. Longer: -32602."""
    keys: int = 1000
    """Keys that one connection publishes with at once; as many again in 5 minutes. More: -32003."""
    recovery: int = 300
    """Messages that a client gets at once: recovered, or of a history. More: not recovered."""
    outbox_bytes: int = 1024 * 1024
    """Queued for a peer that reads too slowly. More: close code 4008."""
    errors: int = 100
    """Unreadable messages in a row. More: close code 4503."""
    ping_interval: float | None = 25.0
    """Between two pings, the first at a random moment of it. None: no pings."""
    pong_timeout: float = 10.0
    """For a sign of life after a ping. Longer: close code 4000."""
    position_check: float = 40.0
    """Without a message on a channel with history, before its position is compared."""
    presence_interval: float = 25.0
    """Between two refreshments of who is present."""
    presence_ttl: float = 60.0
    """Who was not refreshed for so long is not present any more."""
    presence_grace: float = 15.0
    """Who lost their connection stays present for so long, as they may come back."""
    node_interval: float = 10.0
    """Between two signs of life of this process to the others of its application."""
    close_timeout: float = 5.0
    """For the peer's closing frame after ours; then the connection is cut."""
    drain_window: float = 30.0
    """For calls in flight to finish at a shutdown, and over which clients are spread."""

    def __post_init__(self) -> None:
        """Raise ValueError for a bound that can bound nothing."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.type == float | None:
                continue
            if field.type is int and (type(value) is not int or value < 1):
                raise ValueError(f"Limits.{field.name} must be an integer from 1, not {value!r}")
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 < value < inf:
                raise ValueError(f"Limits.{field.name} must be more than 0 seconds, not {value!r}")
        if self.presence_ttl <= self.presence_interval:
            raise ValueError(
                "Limits.presence_ttl must be more than presence_interval, or who is present is"
                f" gone in between: {self.presence_ttl!r} is not more than"
                f" {self.presence_interval!r}"
            )
