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
from typing import NamedTuple

from openapi.client.connection import Connection
from openapi.client.dialing import believed
from openapi.client.keeper import Keeper
from openapi.client.places import Places
from openapi.errors import CallFailed, ConnectionClosed, ErrorCode
from openapi.protocol.backoff import delays
from openapi.protocol.pending import Asked, Outcome, Pending

__all__ = ["Begun", "Calling", "is_leaving"]


class Begun(NamedTuple):
    """A call that was sent: the table that has it, and whether its server ``refused`` to run it."""

    asked: Asked
    pending: Pending
    refused: Callable[[CallFailed], bool]


class Calling:
    """Makes the calls of one client. What waits to be sent has its ``places``."""

    def __init__(self, keeper: Keeper, places: Places) -> None:
        self._keeper = keeper
        self._places = places
        self._waiting = 0

    async def ask(
        self, method: str, payload: object, *, timeout: float | None, idempotent: bool
    ) -> bytes:
        """Call a method; returns the response, in the codec's format.

        The server is told what is left of ``timeout``; to wait no longer is up to the caller.

        Raises CallFailed, ConnectionClosed, UnexpectedData for a stream, Unserializable.
        """
        ends = None if timeout is None else asyncio.get_running_loop().time() + timeout
        pauses = delays(random.random)
        may_have_run = False
        while True:
            # What was sent once is not refused a place: nobody would know whether it has run.
            place = object() if may_have_run else self._places.take()
            connection = None
            try:
                connection = self._at_once or await self._ready()
                return await connection.ask(
                    method, payload, timeout=_left(ends), sent=partial(self._places.leave, place)
                )
            except ConnectionClosed as exc:
                may_have_run = exc.may_have_run = may_have_run or exc.may_have_run
                if self._keeper.closed is not None or connection is None:
                    raise
                if may_have_run and not idempotent:
                    raise
            except CallFailed as exc:
                if connection is None or not is_leaving(connection, exc):
                    if exc.retry_after is None or not idempotent:
                        raise
                    await asyncio.sleep(believed(exc.retry_after) + next(pauses))
            finally:
                self._places.leave(place)

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
        place = self._places.take()
        try:
            while True:
                connection = await self._ready()
                try:
                    asked = await connection.begin(
                        method, payload, ended, item=item, timeout=timeout
                    )
                except ConnectionClosed:
                    if self._keeper.closed is not None:
                        raise
                else:
                    return Begun(asked, connection.session.pending, partial(is_leaving, connection))
        finally:
            self._places.leave(place)

    async def notify(self, method: str, payload: object) -> None:
        """Queue a notification. Raises ConnectionClosed, Unserializable."""
        place = self._places.take()
        try:
            while True:
                connection = await self._ready()
                try:
                    await connection.room()
                    connection.peer.notify(method, payload)
                except ConnectionClosed:
                    if self._keeper.closed is not None:
                        raise
                else:
                    return
        finally:
            self._places.leave(place)

    @property
    def _at_once(self) -> Connection | None:
        """The connection, where nobody waits for it."""
        return None if self._waiting else self._keeper.at_hand

    async def _ready(self) -> Connection:
        """The connection, behind all that waited for it before."""
        if (connection := self._at_once) is not None:
            return connection
        self._waiting += 1
        try:
            await self._keeper.ready()
            # A subscription that waited, too, asks in a task of its own, which begins meanwhile.
            await asyncio.sleep(0)
            return await self._keeper.ready()
        finally:
            self._waiting -= 1


def is_leaving(connection: Connection, error: CallFailed) -> bool:
    """Whether a server refused because it is about to close: the next one is to be asked."""
    return error.code == ErrorCode.SHUTTING_DOWN and connection.leaving


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(0.001, ends - asyncio.get_running_loop().time())
