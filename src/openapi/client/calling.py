"""How a call of a client is made, on whatever connection there is.

| its connection ends, and the call     | it                                                  |
|---------------------------------------|-----------------------------------------------------|
| was not sent                          | is sent on the next connection                      |
| was sent, and is idempotent           | is sent again on the next connection                |
| was sent                              | fails with ConnectionClosed, which says so          |
| was refused by a server that is about | is sent on the next connection, for it has not run  |
| to close                              |                                                     |

An idempotent call that is refused for a while, with ``retry_after``, is made again behind that.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from openapi.client.keeper import Keeper
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode
from openapi.protocol.backoff import delays
from openapi.protocol.pending import Asked, Outcome, Pending

__all__ = ["Begun", "Calling"]


class Begun(NamedTuple):
    """A call that was sent, and the table that has it."""

    asked: Asked
    pending: Pending


class Calling:
    """Makes the calls of one client. At most ``waiting`` of them wait to be sent."""

    def __init__(self, keeper: Keeper, *, waiting: int) -> None:
        self._keeper = keeper
        self._most: Final = waiting
        self._unsent: dict[object, None] = {}

    async def ask(
        self, method: str, payload: object, *, timeout: float | None, idempotent: bool
    ) -> bytes:
        """Call a method; returns the response, in the codec's format.

        The server is told what is left of ``timeout``; to wait no longer is up to the caller.

        Raises CallFailed, ConnectionClosed, UnexpectedData for a stream, Unserializable.
        """
        ends = None if timeout is None else asyncio.get_running_loop().time() + timeout
        pauses = delays(random.random)
        while True:
            place = self._take_place()
            connection = None
            try:
                connection = await self._keeper.ready()
                return await connection.ask(
                    method, payload, timeout=_left(ends), sent=partial(self._sent, place)
                )
            except ConnectionClosed as exc:
                if self._keeper.closed is not None or connection is None:
                    raise
                if exc.may_have_run and not idempotent:
                    raise
            except CallFailed as exc:
                refused = exc.code == ErrorCode.SHUTTING_DOWN
                if not (refused and connection is not None and connection.leaving):
                    if exc.retry_after is None or not idempotent:
                        raise
                    await asyncio.sleep(exc.retry_after / 1000 + next(pauses))
            finally:
                self._sent(place)

    async def begin(
        self,
        method: str,
        payload: object,
        ended: Callable[[Outcome], object],
        *,
        item: Callable[[bytes], object],
        timeout: float | None,
    ) -> Begun:
        """Send a call: see :meth:`Peer.begin`. Raises ConnectionClosed, Unserializable."""
        place = self._take_place()
        try:
            while True:
                connection = await self._keeper.ready()
                try:
                    asked = await connection.begin(
                        method, payload, ended, item=item, timeout=timeout
                    )
                except ConnectionClosed:
                    if self._keeper.closed is not None:
                        raise
                else:
                    return Begun(asked, connection.session.pending)
        finally:
            self._sent(place)

    async def notify(self, method: str, payload: object) -> None:
        """Queue a notification. Raises ConnectionClosed, Unserializable."""
        place = self._take_place()
        try:
            while True:
                connection = await self._keeper.ready()
                try:
                    await connection.room()
                    connection.peer.notify(method, payload)
                except ConnectionClosed:
                    if self._keeper.closed is not None:
                        raise
                else:
                    return
        finally:
            self._sent(place)

    def _take_place(self) -> object:
        if len(self._unsent) >= self._most:
            raise CallFailed(
                ErrorCode.TOO_MANY_CALLS,
                f"{self._most} calls wait to be sent, wait for an answer before the next",
                data={"limit": "waiting", "max": self._most},
            )
        place = object()
        self._unsent[place] = None
        return place

    def _sent(self, place: object) -> None:
        self._unsent.pop(place, None)


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(0.001, ends - asyncio.get_running_loop().time())
