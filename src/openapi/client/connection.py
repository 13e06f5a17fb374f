"""One connection of a client: a WebSocket, the calls on it, and what it is subscribed to."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiohttp import ClientWebSocketResponse

from openapi.client.link import Link
from openapi.client.subscriptions import Subscriptions
from openapi.errors import CloseCode, ConnectionClosed
from openapi.protocol.frames import Codec, Message, Reconnect
from openapi.protocol.incoming import Incoming
from openapi.protocol.limits import Limits
from openapi.protocol.methods import MethodTable
from openapi.protocol.pending import Asked, Outcome
from openapi.protocol.session import PING, Session
from openapi.rpc.peer import Peer

__all__ = ["Connection"]

# JSON that is nested too deeply is not decoded anyway. MessagePack may have containers as names,
# which can be made so that to decode them takes the square of their number: up to so many pass.
_LIMITS: Final = {False: Limits(json_depth=2**63), True: Limits(json_depth=1000)}


class Connection:
    """A WebSocket that is open, made with ``autoping=False``. Its owner keeps :meth:`run` running.

    ``methods`` are what the server may call. ``read`` and ``write`` read and write plain values.
    ``told`` is called when the server says that it is about to close. ``calls``, ``queue_bytes``
    and ``close_timeout`` are those of :func:`openapi.client.connect`.
    """

    def __init__(
        self,
        ws: ClientWebSocketResponse,
        *,
        codec: Codec,
        methods: MethodTable,
        read: Callable[[Any], object],
        write: Callable[[object], bytes],
        told: "Callable[[Connection, Reconnect], object]",
        calls: int,
        queue_bytes: int,
        close_timeout: float,
    ) -> None:
        self.link: Final = Link(
            ws,
            receive=self.received,
            packed=codec.packed,
            queue_bytes=queue_bytes,
            close_timeout=close_timeout,
        )
        self.session: Final = Session(
            methods, send=self.link.send, codec=codec, limits=_LIMITS[codec.packed]
        )
        self._stirred = asyncio.Event()
        self.peer: Final = Peer(
            self.session,
            invoke=self._invoke,
            done=lambda call: self._stirred.set(),
            freed=self._stirred.set,
            asked=calls,
        )
        self.subscriptions: Final = Subscriptions(
            self._ask,
            read=read,
            write=write,
            leave_timeout=close_timeout,
            released=self._stirred.set,
        )
        self.leaving = False
        """Whether no call is begun here any more, for another connection is to have it."""
        self.reconnect: Reconnect | None = None
        """What the server said, that is about to close."""
        self._told = told
        self._handling: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()

    @property
    def closed(self) -> ConnectionClosed | None:
        """How it ended; None as long as it lasts."""
        return self.link.closed

    @property
    def ignored(self) -> int:
        """How many messages of the server meant nothing."""
        session = self.session
        ignored = session.ignored + session.dropped
        return ignored + self.link.ignored + self.subscriptions.ignored

    async def ask(self, method: str, payload: object, **asking: Any) -> bytes:
        """Call a method: see :meth:`Peer.ask`. Raises as that does."""
        return await self.peer.ask(method, payload, room=self.room, **asking)

    async def begin(
        self, method: str, payload: object, ended: Callable[[Outcome], object], **asking: Any
    ) -> Asked:
        """Call a method: see :meth:`Peer.begin`. Raises as that does."""
        return await self.peer.begin(method, payload, ended, room=self.room, **asking)

    async def room(self) -> None:
        """Wait until something can be sent. Raises ConnectionClosed if that is not to be here."""
        await self.link.room()
        if self.leaving:
            raise ConnectionClosed(CloseCode.RESTART, "the server is about to close")

    def leave(self) -> None:
        """Begin no call here any more: those that wait for their turn have one elsewhere."""
        self.leaving = True
        self.peer.shed()

    async def wait_quiet(self) -> None:
        """Wait until nobody uses it any more, or it has ended."""
        while self.closed is None and (
            self.session.pending or self.peer.running or self.subscriptions
        ):
            self._stirred.clear()
            await self._stirred.wait()

    async def close(self, code: int, reason: str = "") -> None:
        """Send what waits to be sent, and close."""
        await self.link.close(code, reason)
        await self._ended.wait()

    async def run(self, lost: Callable[[ConnectionClosed], bool]) -> None:
        """Keep it going until it ends.

        ``lost`` is called then, and says whether another connection takes its place.
        """
        try:
            await self.link.run()
        finally:
            assert self.closed is not None
            again = lost(self.closed)
            self.peer.end(self.closed.code, self.closed.reason)
            self.subscriptions.end(self.closed, again=again)
            self._ended.set()
            self._stirred.set()
            await self.subscriptions.wait_idle()
            while self._handling:
                await asyncio.wait(self._handling)

    def received(self, message: str | bytes) -> None:
        """Take in a message of the server."""
        for other in self.peer.receive(message):
            if isinstance(other, Message):
                self.subscriptions.deliver(other)
            else:
                self.reconnect = other
                self._told(self, other)

    async def _ask(self, method: str, payload: object, **asking: Any) -> bytes:
        """What subscriptions ask: to leave one is right on a connection that is left, too."""
        room = self.link.room if method in ("unsubscribe", PING) else self.room
        return await self.peer.ask(method, payload, room=room, **asking)

    async def _invoke(self, call: Incoming) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        result = await call.method.function(self, call.payload)
        await self.link.settled()
        return result
