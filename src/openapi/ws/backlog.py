"""Messages of one channel that wait for their reader, and what makes room when they are too many.

backlog = Backlog(Latest(key="symbol"))
backlog.put(delivery, size)         # takes the place of one with the same key
backlog.drop_oldest()
backlog.take()                      # the oldest
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from openapi.schema import encode_json
from openapi.ws.delivery import Delivery
from openapi.ws.rules import Latest, Slow

__all__ = ["OVERHEAD", "Backlog"]

#: What a message that waits costs besides its bytes.
OVERHEAD: Final = 200


class Backlog:
    """Each message has a size in bytes, its own and what it costs to keep it."""

    __slots__ = ("_key", "_waiting", "dropped", "size")

    def __init__(self, slow: Slow) -> None:
        self._key = _key_of(slow) if isinstance(slow, Latest) else id
        self._waiting: OrderedDict[Hashable, tuple[Delivery, int]] = OrderedDict()
        self.size = 0
        """Bytes of all that waits."""
        self.dropped = 0
        """How many went without being taken."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, delivery: Delivery, size: int) -> None:
        """Queue a message."""
        key = self._key(delivery)
        if (replaced := self._waiting.pop(key, None)) is not None:
            self.size -= replaced[1]
            self.dropped += 1
        self._waiting[key] = (delivery, size + OVERHEAD)
        self.size += size + OVERHEAD

    def take(self) -> Delivery:
        """The oldest message."""
        return self._pop(last=False)

    def drop_oldest(self) -> None:
        """Lose one."""
        self._pop(last=False)
        self.dropped += 1

    def drop_newest(self) -> None:
        """Take the newest back: it will come in another way."""
        self._pop(last=True)

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Forget the messages of events that nobody wants any more."""
        for key, (delivery, size) in tuple(self._waiting.items()):
            if not wanted(delivery.event):
                del self._waiting[key]
                self.size -= size

    def clear(self) -> None:
        """Forget all of them."""
        self._waiting.clear()
        self.size = 0

    def _pop(self, *, last: bool) -> Delivery:
        _, (delivery, size) = self._waiting.popitem(last=last)
        self.size -= size
        return delivery


def _key_of(policy: Latest) -> Callable[[Delivery], Hashable]:
    def key_of(delivery: Delivery) -> Hashable:
        data, value = delivery.data, None
        if policy.key is not None and isinstance(data, dict):
            value = data.get(policy.key)
        return (delivery.event, encode_json(value))  # in JSON, 1 is not true, nor "1"

    return key_of
