"""Who is connected, by the id of the socket and by its user."""

from collections.abc import Collection, Hashable
from dataclasses import dataclass

from openapi.ws.socket import Websocket

__all__ = ["ConnectionInfo", "Directory"]


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One connection: see :meth:`SocketsManager.connections`."""

    socket_id: str
    user: Hashable
    started: float
    """When it was accepted: seconds since the epoch."""
    channels: dict[str, list[str]]
    """``{channel: [pattern, …]}``"""
    queued_bytes: int
    """What waits for its client to read."""
    node: str
    """The id of its process: see :attr:`SocketsManager.node`."""


class Directory:
    """The sockets of one manager. What leaves costs no more than what came.

    ``node`` is the id of this process.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._by_id: dict[str, Websocket] = {}
        self._by_user: dict[Hashable, set[Websocket]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def users(self) -> int:
        """How many users have a socket."""
        return len(self._by_user)

    def add(self, ws: Websocket) -> None:
        """It is connected."""
        self._by_id[ws.socket_id] = ws
        self._know(ws, ws.user)

    def remove(self, ws: Websocket) -> None:
        """It is gone, if it was here."""
        if self._by_id.pop(ws.socket_id, None) is not None:
            self._forget(ws, ws.user)

    def rename(self, ws: Websocket, old: Hashable, new: Hashable) -> bool:
        """Its user is another one now. Returns whether that changes anything here."""
        if ws.socket_id not in self._by_id or old == new:
            return False
        self._know(ws, new)  # first: what is not hashable changes nothing
        self._forget(ws, old)
        return True

    def find(self, method: str, user: Hashable, socket_id: str | None) -> Collection[Websocket]:
        """The sockets of a user, or the one of an id.

        Raises ValueError, naming ``method``, unless exactly one of them is given.
        """
        if (user is None) == (socket_id is None):
            raise ValueError(f"{method}() is of a user or of a socket_id: give one of them")
        return self.among(user, socket_id)

    def among(self, user: Hashable, socket_id: str | None) -> Collection[Websocket]:
        """The sockets of a user, or the one of an id."""
        if socket_id is None:
            return tuple(self._by_user.get(user, ()))
        ws = self._by_id.get(socket_id)
        return () if ws is None else (ws,)

    def info(self, user: Hashable = None) -> list[ConnectionInfo]:
        """All of them, or those of a user, in the order in which they came."""
        return [
            ConnectionInfo(
                socket_id=ws.socket_id,
                user=ws.user,
                started=ws.started,
                channels=ws.channels.get_subscribed(ws.connection),
                queued_bytes=ws.connection.queued_bytes,
                node=self._node,
            )
            for ws in self._by_id.values()
            if user is None or ws.user == user
        ]

    def _know(self, ws: Websocket, user: Hashable) -> None:
        if user is not None:
            self._by_user.setdefault(user, set()).add(ws)

    def _forget(self, ws: Websocket, user: Hashable) -> None:
        sockets = self._by_user.get(user)
        if sockets is not None:
            sockets.discard(ws)
            if not sockets:
                del self._by_user[user]
