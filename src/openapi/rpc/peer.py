"""A session on an event loop: the peer's calls as tasks, and our tasks' calls of the peer.

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
from contextlib import asynccontextmanager
from functools import partial
from math import ceil
from typing import Any, Final, TypeAlias

from openapi.errors import (
    ErrorCode,
    InvalidData,
    RpcError,
    UnexpectedData,
    Unserializable,
)
from openapi.protocol.frames import Message, Reconnect
from openapi.protocol.incoming import CallState, Incoming, Stop
from openapi.protocol.pending import Asked, Outcome
from openapi.protocol.session import Session
from openapi.rpc.refusals import NO_FORM, internal_error, is_told, refusal_of
from openapi.rpc.running import Running
from openapi.schema import Schema, encode_json, encode_msgpack

__all__ = ["Invoke", "Peer", "deadline"]

logger = logging.getLogger(__name__)

Invoke: TypeAlias = Callable[[Incoming], Coroutine[Any, Any, Any]]
"""Runs a handler: ``await invoke(call)`` is its result, for a stream its async iterator."""

#: Items of a stream that never suspends between two turns of the loop.
_BURST: Final = 32

_AGES: Final = 2**53 / 1000  # seconds, in more milliseconds than JavaScript can count

#: What an object begins with, in JSON and in MessagePack.
_OBJECTS: Final = {False: b"{", True: bytes((*range(0x80, 0x90), 0xDE, 0xDF))}

_NULL: Final = {False: b"null", True: b"\xc0"}


def _at_once() -> Awaitable[object] | None:
    """There is room."""
    return None


def _nothing(call: Incoming) -> None:
    """Nobody wants to know."""


def _never() -> None:
    """Nobody wants to know of ours."""


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


class Peer:
    """The other end of a connection.

    ``invoke`` runs a handler. ``room`` returns None while there is room for an item of a stream,
    otherwise what to await before asking again. ``done`` is called behind the work of each call,
    ``freed`` at the end of each of ours.
    ``outlive`` is given the tasks of shielded calls that :meth:`end` leaves running; without it
    they are cancelled as all others. ``asked`` bounds our own calls in flight; more wait.
    """

    __slots__ = (
        "_asked",
        "_done",
        "_ended",
        "_freed",
        "_gate",
        "_invoke",
        "_loop",
        "_outlive",
        "_queued",
        "_room",
        "_running",
        "_turns",
        "session",
    )

    def __init__(
        self,
        session: Session,
        *,
        invoke: Invoke,
        room: Callable[[], Awaitable[object] | None] = _at_once,
        done: Callable[[Incoming], object] = _nothing,
        freed: Callable[[], object] = _never,
        outlive: Callable[[asyncio.Task[None]], object] | None = None,
        asked: int,
    ) -> None:
        self.session: Final = session
        self._loop = asyncio.get_running_loop()
        self._invoke = invoke
        self._room = room
        self._done = done
        self._freed = freed
        self._outlive = outlive
        self._asked = asked
        self._turns: asyncio.Semaphore | None = None
        self._queued = 0
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
        except BaseException:
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

    def _abandon(self, asked: Asked) -> None:
        try:
            self.session.pending.abandon(asked)
        except Unserializable:
            logger.exception("the peer could not be told that a call is given up")

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
