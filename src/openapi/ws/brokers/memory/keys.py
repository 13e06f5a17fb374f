"""The keys of publications: what was published with each, for a while."""

from collections import OrderedDict
from math import ceil
from typing import NamedTuple

from openapi.errors import ErrorCode, RpcError
from openapi.protocol.stream import Position
from openapi.ws.refusals import key_taken

__all__ = ["Key", "Keys"]


class Key(NamedTuple):
    """What was published with a key, and where in its stream, if it has one."""

    digest: bytes
    expires: float
    position: Position | None = None


class Keys:
    """The keys of publications, by channel, key, and whether it is that of a stream."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: OrderedDict[tuple[str, str, bool], Key] = OrderedDict()  # oldest first

    def find(self, name: tuple[str, str, bool], digest: bytes, now: float) -> Key | None:
        """What was published with this key. Raises RpcError where there is no room for a new one.

        Raises InvalidData where it was something else.
        """
        keys = self._keys
        while keys and next(iter(keys.values())).expires <= now:
            keys.popitem(last=False)
        known = keys.get(name)
        if known is not None and known.digest != digest:
            raise key_taken()
        if known is None and len(keys) >= self._most:
            wait = next(iter(keys.values())).expires - now
            raise RpcError(
                ErrorCode.LIMIT_EXCEEDED,
                f"{self._most} keys of messages are remembered, and no more can be:"
                " publish without one, or try again later",
                data={"limit": "keys", "max": self._most},
                retry_after=ceil(wait * 1000),
            )
        return known

    def add(self, name: tuple[str, str, bool], key: Key) -> None:
        """Remember a key that was not found."""
        self._keys[name] = key
