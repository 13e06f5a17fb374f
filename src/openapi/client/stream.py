"""One call of a client that is answered with a stream: its items, read by ``async for``.

| state | reading it                  | an item   | its end        | nobody reads it any more  |
|-------|-----------------------------|-----------|----------------|---------------------------|
| NEW   | calls the method: OPEN      |           |                | ENDED                     |
| OPEN  | the next item               | is queued | ENDED, with it | ENDED, the server is told |
| ENDED | what is queued, then its end| is dropped|                |                           |

Nobody reads it any more when it was left, when its reader was cancelled or waited too long, when
more waits than may, and when nothing refers to it: ``break`` is enough.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from openapi.client.calling import Begun
from openapi.errors import (
    CallFailed,
    ErrorCode,
    InvalidData,
    OpenApiError,
    TooSlow,
    UnexpectedData,
)
from openapi.protocol.pending import Outcome
from openapi.rpc.asking import deadline
from openapi.rpc.inbox import Inbox

__all__ = ["Begin", "Stream", "StreamState"]

T = TypeVar("T")


class Begin(Protocol):
    """Sends a call, on whatever connection there is: see :meth:`Calling.begin`."""

    async def __call__(
        self,
        method: str,
        payload: object,
        ended: Callable[[Outcome], object],
        *,
        item: Callable[[bytes], object],
        timeout: float | None,
    ) -> Begun: ...


class StreamState(Enum):
    """See the table of the module."""

    NEW = "new"
    OPEN = "open"
    ENDED = "ended"


class _Feed:
    """A stream as its connection knows it, and keeps it: so its reader's end can be lost."""

    __slots__ = (
        "_again",
        "_begin",
        "_begin_anew",
        "_begun",
        "_limit",
        "_method",
        "_read",
        "inbox",
        "loop",
        "response",
        "state",
    )

    def __init__(
        self, begin: Begin, method: str, *, read: Callable[[bytes], Any], queue_bytes: int
    ) -> None:
        self.state = StreamState.NEW
        self.inbox: Final[Inbox[bytes]] = Inbox(queue_bytes)
        self.response: Any = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._begin = begin
        self._begun: Begun | None = None
        self._begin_anew: Callable[[], Awaitable[None]] | None = None
        self._again: asyncio.Task[None] | None = None
        self._limit = queue_bytes
        self._method = method
        self._read = read

    async def begin(self, payload: object, timeout: float | None) -> None:
        """Call the method, when it is its turn."""
        self.state, self.loop = StreamState.OPEN, asyncio.get_running_loop()
        self._begin_anew = partial(self.begin, payload, timeout)
        self._begun = await self._begin(
            self._method, payload, self._ended, item=self._item, timeout=timeout
        )
        if self.inbox.ready:  # it was left while it waited for its turn
            self._abandon(self._begun)

    def leave(self, error: Exception | None) -> None:
        """Nobody reads it any more: the server need not go on."""
        if self._begun is not None:
            self._abandon(self._begun)
        self._end(error)

    def _abandon(self, begun: Begun) -> None:
        begun.pending.abandon(begun.asked)

    def _item(self, item: bytes) -> None:
        if not self.inbox.put(item, len(item)):
            self.leave(
                TooSlow(
                    f"the stream of {self._method!r} ended: more than {self._limit} bytes of items"
                    " waited; read faster, or give it a larger queue_bytes"
                )
            )

    def _ended(self, outcome: Outcome) -> None:
        begun = self._begun
        if begun is not None and isinstance(outcome, CallFailed) and begun.refused(outcome):
            # It has not run, and may on the next connection.
            self._begun = None
            self._again = asyncio.ensure_future(self._try_again())
            return
        if not isinstance(outcome, bytes):
            self._end(outcome)
            return
        try:
            self.response = self._read(outcome)
        except InvalidData as exc:
            self._end(UnexpectedData(exc.errors))
        else:
            self._end(None)

    async def _try_again(self) -> None:
        assert self._begin_anew is not None
        try:
            await self._begin_anew()
        except OpenApiError as exc:
            self._end(exc)

    def _end(self, error: Exception | None) -> None:
        if self._again is not None and self._again is not asyncio.current_task():
            self._again.cancel()
        self.state = StreamState.ENDED
        self.inbox.end(error)


class Stream(Generic[T]):
    """What :meth:`Client.stream` returns.

        async for line in client.stream("tail", {"path": "app.log"}, type=Line): ...

        async with client.stream("tail", {"path": "app.log"}) as lines:
            async for line in lines: ...

    The method is called when it is entered, or first read. Leaving it, by the end of the block or
    by ``break``, tells the server, whose method ends; so does cancelling whoever waits for an item.

    The iteration ends with CallFailed where the method fails, with ConnectionClosed when the
    connection ends, with TooSlow when more than ``queue_bytes`` wait to be read, and with
    TimeoutError when no item comes within ``timeout``. An item that does not fit ``type`` raises
    UnexpectedData; the next one can be read.
    """

    __slots__ = ("__weakref__", "_decode", "_feed", "_method", "_payload", "_timeout")

    def __init__(
        self,
        begin: Begin,
        method: str,
        payload: object,
        *,
        decode: Callable[[bytes], T],
        read: Callable[[bytes], Any],
        timeout: float | None,
        queue_bytes: int,
    ) -> None:
        self._feed = _Feed(begin, method, read=read, queue_bytes=queue_bytes)
        self._method = method
        self._payload = payload
        self._decode = decode
        self._timeout = timeout

    @property
    def response(self) -> Any:
        """What the method answered at its end, as dicts, lists and plain values.

        None for a stream. A method that answers otherwise has no items, and its answer is here.
        """
        return self._feed.response

    @property
    def queued_bytes(self) -> int:
        """How many bytes of items wait to be read."""
        return self._feed.inbox.size

    async def aclose(self) -> None:
        """Leave it: the server is told, unless it has ended. What is queued can still be read."""
        self._feed.leave(None)

    async def __aenter__(self) -> Self:
        if self._feed.state is StreamState.NEW:
            await self._within(self._begin, "was not called")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        inbox = self._feed.inbox
        while not inbox.ready:
            await self._within(self._wait, "sent no item")
        item = inbox.take()
        try:
            return self._decode(item)
        except InvalidData as exc:
            raise UnexpectedData(exc.errors) from exc

    def __del__(self) -> None:
        # The garbage collector may run in any thread.
        feed = self._feed
        if feed.state is StreamState.OPEN and feed.loop is not None and not feed.loop.is_closed():
            feed.loop.call_soon_threadsafe(feed.leave, None)

    async def _begin(self) -> None:
        await self._feed.begin(self._payload, self._timeout)

    async def _wait(self) -> None:
        if self._feed.state is StreamState.NEW:
            await self._begin()
        await self._feed.inbox.wait()

    async def _within(self, wait: Callable[[], Awaitable[None]], text: str) -> None:
        try:
            async with deadline(self._timeout, f"{self._method!r} {text}"):
                await wait()
        except Exception as exc:
            self._feed.leave(exc)
            raise
        except BaseException:  # cancelled: the server need not go on
            self._feed.leave(CallFailed(ErrorCode.CANCELLED, "Its reader was cancelled"))
            raise
