"""Our calls of a peer: each waits its turn, is sent, and waits for its answer.

total = await peer.call("add", {"a": 1, "b": 2}, returns=Total, timeout=5)
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import ceil
from typing import Any, Final

from openapi.errors import InvalidData, UnexpectedData, Unserializable
from openapi.protocol.pending import Asked, Outcome
from openapi.protocol.session import Session
from openapi.schema import Schema, encode_json, encode_msgpack

__all__ = ["Asking", "deadline", "nobody"]

logger = logging.getLogger(__name__)

_AGES: Final = 2**53 / 1000  # seconds, in more milliseconds than JavaScript can count

#: What an object begins with, in JSON and in MessagePack.
_OBJECTS: Final = {False: b"{", True: bytes((*range(0x80, 0x90), 0xDE, 0xDF))}


def nobody() -> None:
    """Nobody wants to know."""


@asynccontextmanager
async def deadline(timeout: float | None, text: str) -> AsyncIterator[None]:
    """Raise TimeoutError, with what it is about, after so many seconds. None: never."""
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():  # somebody else's
            raise
        raise TimeoutError(f"{text} within {timeout:g} seconds") from exc


class Asking:
    """The asking side of a session. At most ``asked`` calls are in flight; more wait.

    ``freed`` is called at the end of each.
    """

    __slots__ = ("_asked", "_freed", "_loop", "_queued", "_turns", "session")

    def __init__(self, session: Session, *, asked: int, freed: Callable[[], object]) -> None:
        self.session: Final = session
        self._loop = asyncio.get_running_loop()
        self._asked = asked
        self._freed = freed
        self._queued = 0
        self._turns: asyncio.Semaphore | None = None

    async def call(
        self,
        method: str,
        payload: object,
        *,
        returns: object,
        timeout: float | None,
        room: Callable[[], Awaitable[object]] | None = None,
    ) -> Any:
        """Call a method of the peer; returns its response as the type asked for.

        ``returns`` is a type or its Schema. ``timeout`` is in seconds, None waits for ever.
        ``room`` is that of :meth:`ask`.

        Raises as :meth:`ask` does, TimeoutError, and UnexpectedData for a response that does not
        fit.
        """
        schema = Schema.of(returns)
        async with deadline(timeout, f"{method!r} was not answered"):
            response = await self.ask(method, payload, timeout=timeout, room=room)
        try:
            packed = self.session.codec.packed
            return schema.unpack(response) if packed else schema.decode(response)
        except InvalidData as exc:
            raise UnexpectedData(exc.errors) from exc

    def notify(self, method: str, payload: object) -> None:
        """Call a method of the peer without an answer. Raises ConnectionClosed, Unserializable."""
        self.session.pending.notify(method, self._written(method, payload))

    async def ask(
        self,
        method: str,
        payload: object,
        *,
        timeout: float | None = None,
        sent: Callable[[], object] | None = None,
        answered: Callable[[bytes], object] | None = None,
        room: Callable[[], Awaitable[object]] | None = None,
    ) -> bytes:
        """Call a method of the peer; returns the response, in the codec's format.

        ``timeout``, in seconds, is told to the peer; to wait no longer is up to the caller.
        ``sent`` is called when it cannot be taken back any more, ``answered`` with the response
        before any later message is looked at. ``room`` is awaited before it is sent. Cancelling it
        tells the peer.

        Raises CallFailed, ConnectionClosed, UnexpectedData for a stream, Unserializable for a
        payload that has no form in the dialect.
        """
        ended: asyncio.Future[None] = self._loop.create_future()
        outcomes: list[Outcome] = []

        def end(outcome: Outcome) -> None:
            if answered is not None and isinstance(outcome, bytes):
                answered(outcome)
            outcomes.append(outcome)
            if not ended.done():  # cancelled, but its task did not run yet
                ended.set_result(None)

        asked = await self.begin(method, payload, end, timeout=timeout, room=room)
        if sent is not None:
            sent()
        try:
            await ended
        except asyncio.CancelledError:
            self._abandon(asked)
            raise
        return _response(outcomes.pop())

    async def begin(
        self,
        method: str,
        payload: object,
        ended: Callable[[Outcome], object],
        *,
        item: Callable[[bytes], object] | None = None,
        timeout: float | None = None,
        room: Callable[[], Awaitable[object]] | None = None,
    ) -> Asked:
        """Send a call when it is its turn; see :meth:`Pending.ask`. ``timeout`` is in seconds.

        Raises ConnectionClosed, Unserializable.
        """
        written, pending = self._written(method, payload), self.session.pending
        if self._turns is None:
            self._turns = asyncio.Semaphore(self._asked)
            pending.freed = self._free
        self._queued += 1
        try:
            await self._turns.acquire()
        finally:
            self._queued -= 1
        try:
            if room is not None:
                await room()
            return pending.ask(method, written, ended, item=item, timeout=_milliseconds(timeout))
        except BaseException:  # whoever asks was cancelled, perhaps
            self._turns.release()
            raise

    def shed(self) -> None:
        """Nothing more is to be sent: whoever waits for a turn has it, and is told by ``room``."""
        if self._turns is not None:
            for _ in range(self._queued):
                self._turns.release()

    def _free(self) -> None:
        if self._turns is not None:
            self._turns.release()
        self._freed()

    def _written(self, method: str, payload: object) -> bytes:
        if not isinstance(method, str):  # nobody could answer it: its name cannot be read
            raise Unserializable(f"the name of a method is a string, {method!r} is none")
        value = {} if payload is None else payload
        packed = self.session.codec.packed
        written = encode_msgpack(value) if packed else encode_json(value)
        if written[0] not in _OBJECTS[packed]:
            raise Unserializable(f"the payload of {method!r} is no object: {payload!r:.60}")
        return written

    def _abandon(self, asked: Asked) -> None:
        try:
            self.session.pending.abandon(asked)
        except Unserializable:
            logger.exception("the peer could not be told that a call is given up")


def _response(outcome: Outcome) -> bytes:
    """What a call was answered with. Raises why it was not."""
    if isinstance(outcome, bytes):
        return outcome
    try:
        raise outcome
    finally:
        del outcome  # its traceback has this frame: a cycle


def _milliseconds(timeout: float | None) -> int | None:
    """How long somebody waits, as the wire says it; nothing where that is for ages."""
    if timeout is None or timeout >= _AGES:
        return None
    return max(1, ceil(timeout * 1000))
