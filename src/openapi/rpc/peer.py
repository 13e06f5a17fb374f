"""A session on an event loop: the peer's calls as tasks. Our own are :mod:`openapi.rpc.asking`.

    peer = Peer(session, invoke=invoke)
    others = peer.receive(message)          # calls are started and stopped by themselves
    total = await peer.call("add", {"a": 1, "b": 2}, returns=Total, timeout=5)
    peer.end(1001)                          # the connection is over

It knows no socket: what it says goes where the session sends to.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any, Final, TypeAlias

from openapi.errors import ErrorCode, RpcError, Unserializable
from openapi.protocol.frames import Message, Reconnect
from openapi.protocol.incoming import DONE, RUNNING, WAITING, Incoming, Stop
from openapi.protocol.session import Session
from openapi.rpc.asking import Asking, nobody
from openapi.rpc.refusals import NO_FORM, internal_error, is_told, refusal_of
from openapi.rpc.running import Running, enter
from openapi.rpc.starting import LATER, begun, ended_by_exit, start

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
        session.incoming = Running
        self._invoke = invoke
        self._room = room
        self._done = done
        self._outlive = outlive
        self._running: dict[Running, None] = {}
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
            if type(event) is Running:
                event.owner = self
                if event.state is RUNNING and event.timeout is None and self._gate is None:
                    self._start(event)  # nearly all
                else:
                    self._take(event)
            elif type(event) is Stop:
                if event.call in self._running:
                    self._stop(event.call)
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
        for call in gate:
            self._start(call)

    def end(self, code: int, reason: str = "") -> None:
        """The connection is over: every call is cancelled, and each of ours has failed.

        May be called again. No task is cancelled twice: what it cleans up is not disturbed.
        """
        if self._ended:
            return
        self._ended = True
        self.session.close(code, reason)
        for call in tuple(self._running):
            self._leave(call)
        self._gate = None
        # Whoever owns it knows it through these; reference counts must free both. No call begins
        # any more, so nothing is invoked.
        del self._invoke
        self._room, self._done = _at_once, _nothing

    def _take(self, call: Running) -> None:
        if call.state is DONE:
            return  # the connection ended by what came before it in one batch
        if call.timeout is not None:
            call.limit(self._expire)
        if call.state is WAITING:
            # It will be begun in the task of another, of whose context it is to know nothing.
            call.context = copy_context()
            self._running[call] = None
        elif self._gate is not None:
            self._running[call] = None
            self._gate.append(call)
        else:
            self._start(call)

    def _start(self, call: Running) -> None:
        if call.state is not RUNNING:
            return  # it was stopped before its turn
        if call.method.shield and call.broken is None:
            # It has begun, though its task may not have, and whoever invokes it may go.
            call.work = self._invoke(call)
        task = start(self._run(call), self._loop)
        if LATER or not task.done():
            call.task = task
            self._running[call] = None
            if self._ended:  # by its own first step
                self._leave(call)

    def _expire(self, call: Running) -> None:
        try:
            self.session.expire(call)
        except Unserializable:
            logger.exception("a call that took too long could not be answered")
        self._stop(call)

    def _leave(self, call: Running) -> None:
        """The connection is over, and with it a call; but shielded work goes on elsewhere."""
        if call.work is not None and call.task is not None and self._outlive is not None:
            self._outlive(call.task)
        else:
            self._stop(call)

    def _stop(self, call: Running) -> None:
        if call.task is None:
            self._over(call)
        elif self._ended or not call.method.shield:
            call.stop()

    def _over(self, call: Running) -> None:
        """The work of a call is over, or never began."""
        if call.work is None and call.timer is None:  # nearly all
            call.owner = call.task = None
        else:
            call.over()
        self._running.pop(call, None)
        if not self._running:
            self._running.clear()  # which gives back the table that it grew
        if self._gate is not None and call in self._gate:
            self._gate.remove(call)
        following = self.session.done(call)
        # The next of its lane may still be on its way here, in one batch with it.
        if following is not None and following in self._running:
            assert isinstance(following, Running)
            if self._gate is not None:
                self._gate.append(following)
            elif not self._loop.is_closed():
                # not from here: a long lane of short calls would go deeper with each
                self._loop.call_soon(self._start, following, context=following.context)
        self._done(call)

    async def _run(self, call: Running) -> None:
        session, method, result = self.session, call.method, None
        try:
            if LATER:
                await begun()
            if call.state is DONE and call.work is None:
                return  # the connection ended before its first step
            enter(call)
            if call.broken is not None:
                raise internal_error(call, call.broken) from call.broken
            try:
                if method.stream:
                    await self._stream(call)
                else:
                    result = await (call.work or self._invoke(call))
            except BaseException as exc:
                if is_told(exc):
                    raise
                raise refusal_of(call, exc) from exc
            packed = session.packed
            try:
                response = _NULL[packed] if method.stream else method.encode(result, packed=packed)
                session.answer(call, response)
            except Unserializable as exc:
                raise internal_error(call, exc, NO_FORM) from exc
            except Exception as exc:
                # It does not fit its type, or the type's own code failed.
                raise internal_error(call, exc) from exc
        except RpcError as error:
            self._fail(call, error)
        except asyncio.CancelledError:
            # By the connection's end or its caller, who has been told then; or by anybody else.
            self._fail(call, RpcError(ErrorCode.CANCELLED, "The call was cancelled"))
            raise
        except (KeyboardInterrupt, SystemExit):
            ended_by_exit()
            raise
        finally:
            self._over(call)

    def _fail(self, call: Running, error: RpcError) -> None:
        try:
            try:
                self.session.fail(call, error)
            except Unserializable as exc:
                self.session.fail(call, internal_error(call, exc))
        except Exception:  # of a codec that is the application's own, perhaps
            logger.exception("a call could not be answered")

    async def _stream(self, call: Running) -> None:
        """Send the items that a handler yields, as long as there is room for them."""
        items: AsyncIterator[Any] = await self._invoke(call)
        try:
            await self._pump(call, items)
        finally:
            # Nobody else would: a generator that is let go of is closed whenever.
            if (aclose := getattr(items, "aclose", None)) is not None:
                await aclose()

    async def _pump(self, call: Running, items: AsyncIterator[Any]) -> None:
        seq = 0
        while True:
            await self._make_room(call)
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            if call.state is not RUNNING:
                return  # it was stopped, and its generator would not hear of it
            # Others had it meanwhile: as many streams may have pulled as there are calls.
            await self._make_room(call)
            seq += 1
            self.session.item(call, self._encoded(call, item), seq)
            if seq % _BURST == 0:  # a generator that never suspends would keep the loop to itself
                await asyncio.sleep(0)

    async def _make_room(self, call: Running) -> None:
        call.rest()
        while (room := self._room()) is not None:
            await room
        call.restart()

    def _encoded(self, call: Incoming, result: object) -> bytes:
        try:
            return call.method.encode(result, packed=self.session.codec.packed)
        except Unserializable as exc:
            raise internal_error(call, exc, NO_FORM) from exc
        except Exception as exc:
            # It does not fit its type, or the type's own code failed.
            raise internal_error(call, exc) from exc
