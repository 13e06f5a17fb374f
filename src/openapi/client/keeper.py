"""What keeps a connection there: connects, and connects again.

When, is the table of :mod:`openapi.protocol.reconnecting`. Here are the clock, the socket and the
tasks: one that connects, and one for each connection, of which there are two while the client moves
from a server that is about to close to another.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

from openapi.client.connection import Connection
from openapi.client.dialing import NotMade, believed, may_try_again, retry_after
from openapi.errors import CloseCode, ConnectionClosed, may_reconnect
from openapi.protocol.backoff import Backoff
from openapi.protocol.frames import Reconnect
from openapi.protocol.reconnecting import ClientState, Reconnecting

__all__ = ["Keeper", "Status"]

logger = logging.getLogger("openapi.client")


@dataclass(frozen=True, slots=True)
class Status:
    """What ``on_state`` is told, and :attr:`Client.status` says.

    ``reason`` is why the last connection, or the last attempt, ended; None before that, and while
    the client is open. ``retry_in`` is how many seconds it was then until the next attempt, None
    where none is due.
    """

    state: ClientState
    reason: Exception | None = None
    retry_in: float | None = None


class Keeper:
    """Keeps a connection there.

    ``dial`` makes an attempt, ``opened`` is given each new connection before anybody else uses it,
    with the one before it, if that lives. ``ended`` is called when there will be none any more.
    ``backoff`` is None where the first connection is the only one. With ``wait``, :meth:`ready`
    waits for a connection; otherwise it fails.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Connection]],
        *,
        opened: Callable[[Connection, Connection | None], object],
        ended: Callable[[ConnectionClosed], object],
        backoff: Backoff | None,
        wait: bool,
        on_state: Callable[[Status], object] | None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._dial = dial
        self._opened = opened
        self._ended = ended
        self._again: Final = backoff is not None
        self._wait = wait
        self._on_state = on_state
        self._loop = asyncio.get_running_loop()
        self._machine = Reconnecting(backoff or Backoff(), random=random)
        self._changed = asyncio.Event()
        self._stir = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._running: dict[asyncio.Task[None], Connection] = {}
        self._awaited = False
        self._tried = False
        self._failed: Exception | None = None  # why the first attempt did
        self._fault: BaseException | None = None
        self.connection: Connection | None = None
        """The newest, as long as it is open."""
        self.closed: ConnectionClosed | None = None
        """Why there is none any more, and none will be."""
        self.status = Status(ClientState.CONNECTING)

    async def open(self) -> None:
        """Begin, and wait for the first attempt. Raises why it failed: then it is the only one."""
        self._awaited = True
        self.start()
        while not self._tried:
            await self._next_change()
        if self._failed is not None:
            raise self._failed

    def start(self) -> None:
        """Begin. Call :meth:`aclose` behind it."""
        self._connecting = self._loop.create_task(self._connect())

    @property
    def state(self) -> ClientState:
        """See :mod:`openapi.protocol.reconnecting`."""
        return self._machine.state

    @property
    def connections(self) -> list[Connection]:
        """All that are open: two, while it moves."""
        return [*self._running.values()]

    @property
    def at_hand(self) -> Connection | None:
        """The connection to say something on, if there is one."""
        connection = self.connection
        if connection is None or connection.leaving or connection.closed is not None:
            return None
        return connection

    async def ready(self) -> Connection:
        """Wait for the connection to say something on.

        Raises ConnectionClosed if there will be none, or where nothing is waited for.
        """
        while True:
            if (connection := self.at_hand) is not None:
                return connection
            if self.closed is not None:
                raise _again(self.closed)
            if not self._wait:
                raise self._absent()
            await self._next_change()

    async def wait_open(self) -> None:
        """Wait for a connection. Raises ConnectionClosed if there will be none."""
        while self.state is not ClientState.OPEN:
            if self.closed is not None:
                raise _again(self.closed)
            await self._next_change()

    async def wait_closed(self) -> ConnectionClosed:
        """Wait until there will be no connection any more; returns why."""
        while self.closed is None:
            await self._next_change()
        return self.closed

    def told(self, connection: Connection, reconnect: Reconnect) -> None:
        """A server is about to close."""
        if self._again and connection is self.connection:
            connection.leave()
            self._machine.told(self._loop.time(), believed(reconnect.after))
            self._tell(None)

    def hurry(self) -> None:
        """There is a reason to connect at once."""
        self._machine.hurry(self._loop.time())
        self._stir.set()

    async def aclose(self, code: int, reason: str = "") -> None:
        """Close all connections, behind what waits to be sent, and connect no more.

        Raises what went wrong in this library, if anything did.
        """
        self._machine.close()
        closing = [self._spawn(each.close(code, reason)) for each in self._running.values()]
        if self._connecting is not None:
            self._connecting.cancel()
        tasks = [*closing, *self._running, *filter(None, [self._connecting])]
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            try:
                while rest := [task for task in tasks if not task.done()]:
                    await asyncio.wait(rest)
            finally:
                self._close_for_good(ConnectionClosed(code, reason))
        for task in closing:
            task.result()
        if (fault := self._fault) is not None:
            self._fault = None
            raise fault

    async def _connect(self) -> None:
        machine = self._machine
        while machine.state is not ClientState.CLOSED:
            if machine.attempting:
                await self._attempt()
            elif machine.due is not None and machine.due <= self._loop.time():
                machine.began()
                self._tell(self.status.reason)
            else:
                await self._rest()

    async def _rest(self) -> None:
        """Wait until the next attempt is due, or something has happened."""
        due = self._machine.due
        try:
            async with asyncio.timeout_at(due):
                await self._stir.wait()
        except TimeoutError:
            return
        self._stir.clear()

    async def _attempt(self) -> None:
        reason: Exception | None = None
        try:
            connection = await self._dial()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            reason = ConnectionError("what an attempt waited for was cancelled")  # and not itself
            self._retry(reason, again=True)
        except NotMade as exc:
            reason = exc.reason
            logger.warning("an attempt to connect failed", exc_info=reason)
            self._retry(reason, again=True)
        except Exception as exc:  # whoever waits is told
            reason = exc
            self._retry(exc, again=may_try_again(exc))
        else:
            self._machine.opened(self._loop.time())
            self._carry(connection)
            # Subscriptions ask in tasks, each by one more: they are to have asked before whoever
            # waits for the connection hears of it, and says what would be published to them.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if not self._tried:
            self._tried, self._failed = True, reason
        self._tell(reason)

    def _retry(self, reason: Exception, *, again: bool) -> None:
        """An attempt failed."""
        only = self._awaited and not self._tried  # whoever waits for it is told, and goes
        again = again and self._again and not only
        self._machine.failed(self._loop.time(), again=again, after=retry_after(reason))

    def _carry(self, connection: Connection) -> None:
        before, self.connection = self.connection, connection
        task = self._loop.create_task(connection.run(lambda closed: self._lost(connection, closed)))
        self._running[task] = connection
        task.add_done_callback(self._carried)
        self._opened(connection, before)

    def _carried(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task).link.abort()  # for a task that was cancelled before its first step
        exc = None if task.cancelled() else task.exception()
        if exc is not None:  # a fault of this library: it is raised where the client is left
            self._fault = self._fault or exc
            self._machine.close()
            self._tell(exc if isinstance(exc, Exception) else None)

    def _lost(self, connection: Connection, closed: ConnectionClosed) -> bool:
        """A connection has ended. Returns whether there is another, or will be."""
        if connection is self.connection:
            self.connection = None
            again = self._again and may_reconnect(closed.code)
            self._machine.lost(self._loop.time(), again=again)
            self._tell(closed)
        return self.state is not ClientState.CLOSED

    def _tell(self, reason: Exception | None) -> None:
        """Something has changed."""
        if self.status.state is ClientState.CLOSED:
            return
        state, due = self.state, self._machine.due
        retry_in = None if due is None else max(0.0, due - self._loop.time())
        self.status = Status(state, reason, retry_in)
        if state is ClientState.CLOSED:
            self._close_for_good(_closed(reason))
        self._stir.set()
        self._wake()
        if self._on_state is not None:
            try:
                self._on_state(self.status)
            except Exception:  # a function of the application, and none of the client's faults
                logger.exception("on_state failed")

    def _close_for_good(self, closed: ConnectionClosed) -> None:
        if self.closed is None:
            self.closed = closed
            if self._connecting is not None and self._connecting is not asyncio.current_task():
                self._connecting.cancel()
            if self.status.state is not ClientState.CLOSED:
                self._tell(closed)
            self._ended(closed)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        return self._loop.create_task(coroutine)

    async def _next_change(self) -> None:
        await self._changed.wait()

    def _absent(self) -> ConnectionClosed:
        """Why there is no connection to say something on."""
        if self.connection is not None:
            return ConnectionClosed(CloseCode.RESTART, "the server is about to close")
        return _closed(self.status.reason)


def _closed(reason: Exception | None) -> ConnectionClosed:
    """As what those are told that want a connection."""
    match reason:
        case ConnectionClosed():
            return _again(reason)
        case None:
            return ConnectionClosed(CloseCode.ABNORMAL, "there is no connection yet")
        case _:
            told = isinstance(reason, OSError | ValueError) and str(reason)
            text = told or f"{type(reason).__name__}: {reason}"  # KeyError's text is but a name
            closed = ConnectionClosed(CloseCode.ABNORMAL, text)
            closed.__cause__ = reason
            return closed


def _again(closed: ConnectionClosed) -> ConnectionClosed:
    """The same for somebody else, with a traceback of its own."""
    again = copy(closed)
    again.__cause__ = closed.__cause__
    return again
