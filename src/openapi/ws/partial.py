"""What is gathered from all nodes of an application, and who of them did not answer.

    replies = await sockets.call("confirm", user=7)
    replies[0].result                                   # a list
    for each in replies.missing: log(each)              # "web-2 (4711) did not answer within 2 s"

A node is a process with a manager. What is found is of those who answered; it is never an error
that somebody did not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from openapi.errors import OpenApiError

__all__ = ["Count", "Found", "Missing", "NodeInfo", "Reply"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One process of an application: see :attr:`SocketsManager.node`."""

    id: str
    """A random name."""
    host: str
    """The name of its machine."""
    pid: int
    """Its number there."""
    connections: int
    """How many it had when it was last heard."""

    def __str__(self) -> str:
        return f"{self.host} ({self.pid})"


@dataclass(frozen=True, slots=True)
class Missing:
    """A node that did not answer, or not all that there was to say, and why. For people."""

    node: NodeInfo | None
    """None: the others are not known, as nothing could be heard since this process started, or
    there are more of them than it keeps."""
    reason: str

    def __str__(self) -> str:
        return f"{self.node or 'other nodes'}: {self.reason}"


class Found(list[T]):
    """A list of what was found in all nodes: first in this one, then as they answered."""

    __slots__ = ("missing",)

    def __init__(self, items: Iterable[T] = (), missing: Iterable[Missing] = ()) -> None:
        super().__init__(items)
        self.missing: tuple[Missing, ...] = tuple(missing)
        """Those of whom there is nothing here, or not all. Empty: it is complete."""


class Count(int):
    """How many connections it were, in all nodes."""

    missing: tuple[Missing, ...]
    """Those whose connections are not among them. Empty: it is complete."""

    def __new__(cls, value: int = 0, missing: Iterable[Missing] = ()) -> "Count":
        """Count so many."""
        count = super().__new__(cls, value)
        count.missing = tuple(missing)
        return count


@dataclass(frozen=True, slots=True)
class Reply:
    """What one connection said to :meth:`SocketsManager.call`: a result, or why there is none."""

    socket_id: str
    result: Any = None
    error: OpenApiError | TimeoutError | None = None
    """CallFailed, ConnectionClosed, UnexpectedData, TimeoutError; or Unserializable, where the
    payload has a JSON form and none in the dialect of this connection."""
