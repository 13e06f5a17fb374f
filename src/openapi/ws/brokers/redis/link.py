"""One connection to one server, for commands: those of a tick go out in one write.

    answer = await link.call(b"PUBLISH", b"channel", b"message")

Nothing waits for a server that is away: a call fails at once, and what was under way fails with the
connection. Whether it was done is not known then. Answers come in the order of the calls, so those
that one process makes one behind the other are carried out in that order.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from redis.exceptions import (
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from openapi.errors import BrokerUnavailable, DeclarationError
from openapi.ws.broker import Outage
from openapi.ws.brokers.redis.connection import Answer, Connect, Connection, packed
from openapi.ws.brokers.redis.scripts import SCRIPTS, Script
from openapi.ws.brokers.supervision import Supervisor, SupervisorState

__all__ = ["Link", "first_of"]

logger = logging.getLogger(__name__)

#: Calls that wait for an answer, and their bytes. More are refused: a server that is this far
#: behind would answer them too late.
_CALLS: Final = 10_000
_BYTES: Final = 32 * 1024 * 1024

#: Seconds for an answer that came while the loop was busy with something else.
_GRACE: Final = 0.05

#: By how many time-outs a call may be late, as long as there are answers.
_PATIENT: Final = 4

#: The oldest server whose scripts, streams and sharded channels are as they are used here.
_OLDEST: Final = 7

#: How an error begins that redis-py has no type for, and that says nothing of the call.
_AWAY: Final = ("BUSY", "MISCONF", "NOREPLICAS", "ACL failure")


#: What a node says of all slots; of one that nobody has, it says another thing.
_DOWN: Final = "The cluster is down"

_UNFIT: Final = (
    OutOfMemoryError,
    ReadOnlyError,
    NoPermissionError,
    ClusterDownError,  # and MasterDownError
    TryAgainError,
    NoScriptError,
)


class _Call(NamedTuple):
    answered: "asyncio.Future[Answer]"
    expires: float
    bytes: int


class Link:
    """A supervised connection. ``timeout`` is how long an answer may take: seconds.

    ``cluster`` is whether the server is to be a node of a cluster. ``look_interval`` is how often
    it is asked whether it is a primary still, if it is not known from elsewhere: seconds.
    ``changed`` is called when the link is up, and when it is so no more.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        timeout: float,
        cluster: bool = False,
        look_interval: float | None = None,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect = connect
        self._timeout = timeout
        self._cluster = cluster
        self._look_interval = look_interval
        self._queue: list[tuple[tuple[bytes, ...], _Call]] = []
        self._waiting: deque[_Call] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._busy = asyncio.Event()
        self._heard = 0.0  # when the last answer came
        self._said: set[str] = set()  # what the log was told of that this server refuses
        self._owner = Supervisor(
            name,
            self._session,
            changed=changed,
            final=_is_final,
        )

    @property
    def up(self) -> bool:
        """Whether a call would be tried."""
        return self._owner.state is SupervisorState.UP

    @property
    def begins(self) -> bool:
        """Whether it is being connected for the first time, and nothing has gone wrong yet."""
        return self._owner.state is SupervisorState.TRYING and self._owner.outage is None

    @property
    def outage(self) -> Outage | None:
        """Why it is not up."""
        return self._owner.outage

    def start(self) -> None:
        """Begin to connect. Harmless the second time."""
        self._owner.start()

    async def open(self, patience: float) -> None:
        """Connect, for so many seconds at most; behind that it is tried on.

        Raises DeclarationError for a server that is too old.
        """
        await self._owner.open(patience)

    async def aclose(self) -> None:
        """Disconnect. Calls that wait for an answer fail."""
        await self._owner.aclose()

    async def finish(self) -> None:
        """Wait for the answers to what is under way, or until there will be none."""
        if self._waiting:
            await asyncio.wait([self._waiting[-1].answered])

    def call(self, *command: bytes, asking: bool = False) -> "asyncio.Future[Answer]":
        """Send a command with the others of this tick. The answer comes, or what is wrong with it.

        ``asking`` is whether another node has said to ask here for once. Raises BrokerUnavailable,
        here or when it is awaited. Who does not await it cancels it.
        """
        if not self.up:
            raise BrokerUnavailable
        return self._send(command, asking=asking)

    async def run_script(
        self, script: Script, keys: Sequence[bytes], *args: bytes, asking: bool = False
    ) -> Answer:
        """Run a script. Raises BrokerUnavailable."""
        count = b"%d" % len(keys)
        return await self.call(b"EVALSHA", script.digest, count, *keys, *args, asking=asking)

    def _send(
        self, command: tuple[bytes, ...], *, asking: bool = False
    ) -> "asyncio.Future[Answer]":
        size = sum(map(len, command))
        if len(self._waiting) >= _CALLS or self._bytes + size > _BYTES:
            raise BrokerUnavailable
        if asking:  # it holds for the very next command
            self._queue_up((b"ASKING",), 0).cancel()
        return self._queue_up(command, size)

    def _queue_up(self, command: tuple[bytes, ...], size: int) -> "asyncio.Future[Answer]":
        loop = asyncio.get_running_loop()
        call = _Call(loop.create_future(), loop.time() + self._timeout, size)
        self._bytes += size
        self._queue.append((command, call))
        self._waiting.append(call)
        self._news.set()
        self._busy.set()
        return call.answered

    async def _session(self, up: Callable[[], None]) -> None:
        connection = self._connect()
        try:
            try:
                async with asyncio.timeout(self._timeout):
                    await connection.connect()
            except TimeoutError:
                raise self._no_answer() from None
            self._said.clear()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(connection))
                group.create_task(self._read(connection))
                group.create_task(self._watch())
                await self._greet()
                if self._look_interval is not None:
                    await self._look()
                    group.create_task(self._look_on(self._look_interval))
                up()
        except ExceptionGroup as failed:
            raise first_of(failed) from None
        finally:
            self._fail()
            await connection.disconnect(nowait=True)

    async def _greet(self) -> None:
        """Find out who it is, and teach it the scripts."""
        lines = (await self._send((b"INFO", b"server"))).splitlines()
        info = dict(line.split(b":", 1) for line in lines if b":" in line)
        version = info.get(b"redis_version", b"0").decode()
        if int(version.split(".")[0]) < _OLDEST:
            raise DeclarationError(
                f"{self._owner.name} has version {version}: Redis or Valkey {_OLDEST} is needed"
            )
        mode = info.get(b"server_mode", info.get(b"redis_mode"))  # Valkey's word, and Redis's
        if (mode == b"cluster") is not self._cluster:
            is_, wanted = ("no", "redis") if self._cluster else ("a", "redis+cluster")
            raise DeclarationError(
                f"{self._owner.name} is {is_} node of a cluster: its URL begins with {wanted}://"
            )
        if self._cluster:
            state = await self._send((b"CLUSTER", b"INFO"))
            if b"cluster_state:ok" not in state:
                # So one says that was restarted, for two seconds, to hear whether it was replaced.
                raise ConnectionError("it says that the cluster is down")
        for script in SCRIPTS:
            await self._send((b"SCRIPT", b"LOAD", script.source))

    async def _look(self) -> None:
        """End the connection to one that is no primary: it publishes to its own subscribers only.

        A primary that is made a replica keeps its connections.
        """
        if b"role:slave" in await self._send((b"INFO", b"replication")):
            raise ConnectionError("it is a replica")

    async def _look_on(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            with suppress(BrokerUnavailable):  # too much is under way to ask it now
                await self._look()

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._queue = self._queue, []
            written = packed(command for command, _ in batch)
            await connection.send_packed_command(written, check_health=False)

    async def _read(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            answer: Answer
            try:
                answer = await connection.read_response(
                    disable_decoding=True, timeout=math.inf, disconnect_on_error=False
                )
            except ResponseError as exc:
                answer = exc
            self._heard = loop.time()
            call = self._waiting.popleft()
            self._bytes -= call.bytes
            if call.answered.done():
                continue  # who asked was cancelled
            if isinstance(answer, ResponseError):
                call.answered.set_exception(self._gone_wrong(answer))
            else:
                call.answered.set_result(answer)
            if isinstance(answer, NoScriptError):
                # To send this one again would put it behind those that are on their way.
                raise ConnectionError("somebody flushed its scripts: it is taught them anew")
            if isinstance(answer, ReadOnlyError):
                raise answer  # it was made a replica: there is another one to write to
            if isinstance(answer, ClusterDownError) and _DOWN in str(answer):
                raise answer  # it is of no use until it says that it is

    async def _watch(self) -> None:
        """End the connection when the oldest call has no answer in time."""
        loop = asyncio.get_running_loop()
        while True:
            await self._busy.wait()
            if not self._waiting:
                self._busy.clear()
            elif (remaining := self._due() - loop.time()) > 0:
                await asyncio.sleep(remaining)
            else:
                late = self._waiting[0]
                await asyncio.sleep(_GRACE)
                if self._waiting and self._waiting[0] is late:
                    raise self._no_answer()

    def _due(self) -> float:
        """When the oldest call is late: not while others before it are answered, for a while."""
        expires = self._waiting[0].expires
        return min(max(expires, self._heard + self._timeout), expires + _PATIENT * self._timeout)

    def _gone_wrong(self, exc: ResponseError) -> Exception:
        """What a caller gets for an error: BrokerUnavailable where it says nothing of their call.

        What concerns where in a cluster a key is, is the caller's to see.
        """
        if not isinstance(exc, _UNFIT) and not str(exc).startswith(_AWAY):
            return exc
        kind = str(exc).split(" ", 1)[0] if type(exc) is ResponseError else type(exc).__name__
        is_taught = isinstance(exc, NoScriptError)
        if kind not in self._said and not is_taught:  # once in a connection: there may be many
            self._said.add(kind)
            logger.error("%s refuses what it is asked for: %s", self._owner.name, exc)
        unavailable = BrokerUnavailable()
        unavailable.__cause__ = exc
        return unavailable

    def _no_answer(self) -> ConnectionError:
        return ConnectionError(f"no answer within {self._timeout:g} s")

    def _fail(self) -> None:
        """Nobody answers any more."""
        waiting = tuple(self._waiting)
        self._waiting.clear()
        self._queue.clear()
        self._bytes = 0
        self._news.clear()
        for call in waiting:
            if not call.answered.done():
                call.answered.set_exception(BrokerUnavailable())
                call.answered.exception()  # it is nobody's where it was not awaited yet


def first_of(failed: ExceptionGroup[Exception]) -> Exception:
    """One of several failures, a wrong declaration before others, and what is behind it."""
    each: Exception = failed
    while isinstance(each, ExceptionGroup):
        wrong, rest = each.split(DeclarationError)
        each = (wrong or rest or each).exceptions[0]
    cause = each.__cause__
    return cause if isinstance(each, BrokerUnavailable) and isinstance(cause, Exception) else each


def _is_final(exc: Exception) -> bool:
    return isinstance(exc, DeclarationError)
