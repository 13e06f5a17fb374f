"""The other nodes that a node has heard of: a plain table, whose time is given to it.

| a node   | is heard | not for 3 of its intervals | not for 12 | says bye |
|----------|----------|----------------------------|------------|----------|
| unknown  | live     |                            |            |          |
| live     | live     | suspect                    |            | unknown  |
| suspect  | live     |                            | unknown    | unknown  |
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from openapi.ws.node_messages import VERSION, Sign
from openapi.ws.partial import NodeInfo

__all__ = ["NodeTable", "OtherNode"]

#: So many intervals without a sign of life.
_SUSPECT: Final = 3
_FORGOTTEN: Final = 12
_MOST: Final = 1024


@dataclass(slots=True)
class OtherNode:
    """What it last said, and when."""

    sign: Sign
    heard: float

    @property
    def info(self) -> NodeInfo:
        """It, for people."""
        sign = self.sign
        return NodeInfo(sign.node, sign.host, sign.pid, sign.connections)

    def unfit(self, now: float) -> str | None:
        """Why no answer of it is waited for, if so."""
        if self.sign.version != VERSION:
            return f"it speaks version {self.sign.version}, and this one speaks {VERSION}"
        silent = now - self.heard
        if silent > _SUSPECT * self.sign.interval:
            return f"nothing was heard of it for {silent:.0f} s"
        return None


class NodeTable:
    """The other nodes, by id. There are at most ``most``: what comes then is not taken."""

    def __init__(self, most: int = _MOST) -> None:
        self.overflowed = False
        """Whether others may be there that found no room."""
        self._nodes: dict[str, OtherNode] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: str) -> bool:
        return node in self._nodes

    @property
    def all(self) -> Collection[OtherNode]:
        """Those that are not forgotten."""
        return self._nodes.values()

    def get(self, node: str) -> OtherNode | None:
        """One of them."""
        return self._nodes.get(node)

    def hear(self, sign: Sign, now: float) -> bool:
        """A sign of life. Returns False where there is no room for one more."""
        known = self._nodes.get(sign.node)
        if known is not None:
            known.sign, known.heard = sign, now
        elif len(self._nodes) < self._most:
            self._nodes[sign.node] = OtherNode(sign, now)
        else:
            self.overflowed = True
            return False
        return True

    def remove(self, node: str) -> None:
        """It said bye."""
        if self._nodes.pop(node, None) is not None:
            self.overflowed = False  # whoever found no room is heard again, and finds it

    def sweep(self, now: float) -> list[str]:
        """Forget those that were not heard for long; returns their ids."""
        gone = [
            id
            for id, node in self._nodes.items()
            if now - node.heard > _FORGOTTEN * node.sign.interval
        ]
        for id in gone:
            self.remove(id)
        return gone

    def excuse(self, now: float) -> None:
        """Nothing could be heard: that they were silent says nothing of them."""
        for node in self._nodes.values():
            node.heard = now
