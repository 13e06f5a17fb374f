"""What this node knows of the ends of logs, so that it need not ask."""

from collections import OrderedDict, deque
from typing import Final, NamedTuple

from openapi.protocol.stream import Position

__all__ = ["Top", "Tops"]

#: Channels, and records of each, that are remembered.
_CHANNELS: Final = 10_000
_RECORDS: Final = 16


class Top(NamedTuple):
    """Where a log was behind one of its records."""

    sequence: int
    """That of the record in the stream; 0 where there is none."""
    position: Position | None
    """None where the stream of the channel is still to be begun."""
    floor: int = 1
    run: str = "-"


class Tops:
    """The newest records of the channels that were used last."""

    def __init__(self) -> None:
        self._tops: OrderedDict[str, deque[Top]] = OrderedDict()

    def newest(self, channel: str) -> Top | None:
        """What may be the end of a log. Somebody else may have gone on since."""
        tops = self._tops.get(channel)
        return tops[-1] if tops else None

    def behind(self, channel: str, position: Position) -> int:
        """The sequence of a record that has nothing behind a position; 0 where none is known."""
        for top in reversed(self._tops.get(channel, ())):
            known = top.position
            if known and known.epoch == position.epoch and known.offset <= position.offset:
                return top.sequence
        return 0

    def add(self, channel: str, top: Top) -> None:
        """Remember a record, unless a newer one is known."""
        tops = self._tops.setdefault(channel, deque(maxlen=_RECORDS))
        self._tops.move_to_end(channel)
        if not tops or top.sequence > tops[-1].sequence:
            tops.append(top)
        if len(self._tops) > _CHANNELS:
            self._tops.popitem(last=False)

    def forget(self, channel: str) -> None:
        """Somebody else went on, or nobody knows."""
        self._tops.pop(channel, None)

    def clear(self) -> None:
        """Forget all: the server may be another one."""
        self._tops.clear()
