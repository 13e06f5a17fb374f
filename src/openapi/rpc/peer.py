"""A session on an event loop: the peer's calls as tasks. Our own are :mod:`openapi.rpc.asking`.

    peer = Peer(session, invoke=invoke)
    others = peer.receive(message)          # calls are started and stopped by themselves
    total = await peer.call("add", {"a": 1, "b": 2}, returns=Total, timeout=5)
    peer.end(1001)                          # the connection is over

It knows no socket: what it says goes where the session sends to.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from openapi.errors import ErrorCode, RpcError, Unserializable
from openapi.protocol.frames import Message, Reconnect
from openapi.protocol.incoming import CallState, Incoming, Stop
from openapi.protocol.session import Session
from openapi.rpc.asking import Asking, nobody
from openapi.rpc.refusals import NO_FORM, internal_error, is_told, refusal_of
from openapi.rpc.running import Running

__all__ = ["Invoke", "Peer"]

logger = logging.getLogger(__name__)

Invoke: TypeAlias = Callable[[Incoming], Coroutine[Any, Any, Any]]
"""Runs a handler: ``await invoke(call)`` is its result, for a stream its async iterator."""

#: Items of a stream that never suspends between two turns of the loop.
_BURST: Final = 32

_NULL: Final = {False: b"null", True: b"\xc0"}


def _at_once() -> Awaitable[object] | None:
    """There is room."""
    return None


def _nothing(call: Incoming) -> None:
    """Nobody wants to know."""


class Peer(Asking):
    """The other end of a connection.

    ``invoke`` runs a handler. ``room`` returns None while there is room for an item of a stream,
    otherwise what to await before asking again. ``done`` is called behind the work of each call.
    ``outlive`` is given the tasks of shielded calls that :meth:`end` leaves running; without it
    they are cancelled as all others. ``asked`` and ``freed`` are those of :class:`Asking`.
    """

    __slots__ = ("_done", "_ended", "_gate", "_invoke", "_outlive", "_room", "_running")

    def __init__(
        self,
        session: Session,
        *,
        invoke: Invoke,
        room: Callable[[], Awaitable[object] | None] = _at_once,
        done: Callable[[Incoming], object] = _nothing,
        freed: Callable[[], object] = nobody,
        outlive: Callable[[asyncio.Task[None]], object] | None = None,
        asked: int,
    ) -> None:
        super().__init__(session, asked=asked, freed=freed)
        self._invoke = invoke
        self._room = room
        self._done = done
        self._outlive = outlive
        self._running: dict[Incoming, Running] = {}
        self._gate: list[Running] | None = None
        self._ended = False

    @property
    def running(self) -> int:
        """Calls that are waiting or worked on."""
        return len(self._running)

    def receive(self, message: str | bytes) -> Sequence[Message | Reconnect]:
        """Take in one message. Returns what is no call's."""
        others: Sequence[Message | Reconnect] = ()
        for event in self.session.receive(message):
            if type(event) is Incoming:
                self._take(event)
            elif type(event) is Stop:
                if (running := self._running.get(event.call)) is not None:
                    self._stop(running)
            else:
                assert isinstance(event, Message | Reconnect)
                others = [*others, event]
        return others

    def pause(self) -> None:
        """Take calls, but run none of them until :meth:`resume`."""
        self._gate = []

    def resume(self) -> None:
        """Run the calls that have come meanwhile."""
        gate, self._gate = self._gate or [], None
        for running in gate:
            self._start(running)

    def end(self, code: int, reason: str = "") -> None:
        """The connection is over: every call is cancelled, and each of ours has failed.

        May be called again. No task is cancelled twice: what it cleans up is not disturbed.
        """
        if self._ended:
            return
        self._ended = True
        self.session.close(code, reason)
        for running in tuple(self._running.values()):
            self._leave(running)
        self._gate = None
        # Whoever owns it knows it through these; reference counts must free both. No call begins
        # any more, so nothing is invoked.
        del self._invoke
        self._room, self._done = _at_once, _nothing

    def _take(self, call: Incoming) -> None:
        if call.state is CallState.DONE:
            return  # the connection ended by what came before it in one batch
        running = Running(call, self, self._loop)
        if call.timeout is not None:
            running.limit(self._expire)
        if call.state is CallState.WAITING:
            self._running[call] = running
        elif self._gate is not None:
            self._running[call] = running
            self._gate.append(running)
        else:
            self._start(running)

    def _start(self, running: Running) -> None:
        if running.call.state is not CallState.RUNNING:
            return  # it was stopped before its turn
        if running.call.method.shield and running.call.broken is None:
            # It has begun, though its task may not have, and whoever invokes it may go.
            running.work = self._invoke(running.call)
        task = _start_task(self._run(running), self._loop)
        if task.done():
            self._over(running, task)
        else:
            running.task = task
            self._running[running.call] = running
            task.add_done_callback(partial(self._over, running))
            if self._ended:  # by its own first step
                self._leave(running)

    def _expire(self, running: Running) -> None:
        try:
            self.session.expire(running.call)
        except Unserializable:
            logger.exception("a call that took too long could not be answered")
        self._stop(running)

    def _leave(self, running: Running) -> None:
        """The connection is over, and with it a call; but shielded work goes on elsewhere."""
        if running.work is not None and running.task is not None and self._outlive is not None:
            self._outlive(running.task)
        else:
            self._stop(running)

    def _stop(self, running: Running) -> None:
        if running.task is None:
            self._over(running, None)
        elif self._ended or not running.call.method.shield:
            running.stop()

    def _over(self, running: Running, task: "asyncio.Task[None] | None") -> None:
        """The work of a call is over, or never began."""
        call = running.call
        running.over()
        self._running.pop(call, None)
        if self._gate is not None and running in self._gate:
            self._gate.remove(running)
        if task is not None and not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a call could not be answered", exc_info=exc)
        following = self.session.done(call)
        # The next of its lane may still be on its way here, in one batch with it.
        if following is not None and (waiting := self._running.get(following)) is not None:
            if self._gate is not None:
                self._gate.append(waiting)
            else:  # not from here: a long lane of short calls would go deeper with each
                self._loop.call_soon(self._start, waiting)
        self._done(call)

    async def _run(self, running: Running) -> None:
        session, call = self.session, running.call
        if call.state is CallState.DONE and running.work is None:
            return  # the connection ended before its first step
        running.enter()
        try:
            if call.broken is not None:
                raise internal_error(call, call.broken) from call.broken
            respond = self._stream if call.method.stream else self._result
            response = await respond(running)
            try:
                session.answer(call, response)
            except Unserializable as exc:
                raise internal_error(call, exc, NO_FORM) from exc
        except RpcError as error:
            try:
                session.fail(call, error)
            except Unserializable as exc:
                session.fail(call, internal_error(call, exc))
        except asyncio.CancelledError:
            # By the connection's end or its caller, who has been told then; or by anybody else.
            session.fail(call, RpcError(ErrorCode.CANCELLED, "The call was cancelled"))
            raise

    async def _result(self, running: Running) -> bytes:
        """What a handler answers; whatever goes wrong becomes an RpcError."""
        call = running.call
        try:
            result = await (running.work or self._invoke(call))
        except BaseException as exc:
            if is_told(exc):
                raise
            raise refusal_of(call, exc) from exc
        return self._encoded(call, result)

    async def _stream(self, running: Running) -> bytes:
        """Send the items that a handler yields, as long as there is room for them."""
        call = running.call
        try:
            items: AsyncIterator[Any] = await self._invoke(call)
            try:
                await self._pump(running, items)
            finally:
                # Nobody else would: a generator that is let go of is closed whenever.
                if (aclose := getattr(items, "aclose", None)) is not None:
                    await aclose()
        except BaseException as exc:
            if is_told(exc):
                raise
            raise refusal_of(call, exc) from exc
        return _NULL[self.session.codec.packed]

    async def _pump(self, running: Running, items: AsyncIterator[Any]) -> None:
        call, seq = running.call, 0
        while True:
            await self._make_room(running)
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            if call.state is not CallState.RUNNING:
                return  # it was stopped, and its generator would not hear of it
            # Others had it meanwhile: as many streams may have pulled as there are calls.
            await self._make_room(running)
            seq += 1
            self.session.item(call, self._encoded(call, item), seq)
            if seq % _BURST == 0:  # a generator that never suspends would keep the loop to itself
                await asyncio.sleep(0)

    async def _make_room(self, running: Running) -> None:
        running.rest()
        while (room := self._room()) is not None:
            await room
        running.restart()

    def _encoded(self, call: Incoming, result: object) -> bytes:
        try:
            return call.method.encode(result, packed=self.session.codec.packed)
        except Unserializable as exc:
            raise internal_error(call, exc, NO_FORM) from exc
        except Exception as exc:
            # It does not fit its type, or the type's own code failed.
            raise internal_error(call, exc) from exc


if sys.version_info >= (3, 12):

    def _start_task(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        # Most handlers never suspend: they are done before this returns.
        return asyncio.Task(coroutine, loop=loop, eager_start=True)

else:

    def _start_task(
        coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
    ) -> asyncio.Task[None]:
        return loop.create_task(coroutine)
