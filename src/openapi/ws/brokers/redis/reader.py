"""One connection to one server, for messages: it is subscribed to what is wanted, and no more.

    await reader.want(b"bus")       # it is subscribed
    reader.forget(b"bus")

What is wanted is subscribed to in batches, those of a tick in one command, and again whenever the
connection is made anew; then ``missed`` is called, for nobody knows what came meanwhile. Where
nothing was heard for a while, a message to an own channel must come back, by the way that all
messages go: a server may be alive and deliver nothing, as one that was replaced behind a proxy.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Final, NamedTuple

from redis.exceptions import MovedError

from openapi.errors import BrokerUnavailable
from openapi.ws.broker import Outage
from openapi.ws.brokers.redis.connection import Connect, Connection, packed
from openapi.ws.brokers.redis.link import first_of
from openapi.ws.brokers.supervision import Supervisor, SupervisorState

__all__ = ["Moved", "Reader", "Receive", "Verbs"]

logger = logging.getLogger(__name__)

#: Channels in one command.
_BATCH: Final = 512
#: How fast a server confirms at least, behind the first seconds.
_CONFIRMED_PER_SECOND: Final = 10_000
#: Seconds in which a probe comes back, and more for one that came while the loop was busy.
_ECHO: Final = 0.9
_GRACE: Final = 0.05

Receive = Callable[[bytes, bytes], Awaitable[None] | None]
"""Takes a bus channel and a message. What it returns is waited for before the next is read."""


class Verbs(NamedTuple):
    """The commands of one kind of channels, and what the server says of them."""

    subscribe: bytes
    unsubscribe: bytes
    message: bytes


class Moved(Exception):
    """A bus channel is another server's."""


class Reader:
    """A supervised connection. ``probe`` publishes a message to a bus channel.

    ``missed`` is called with the bus channels that are subscribed to again, or were another
    server's. ``moved`` is called with a bus channel that the server says is not its own any more,
    and where it says that it is; then it is not wanted here any more. ``slot`` is that of a bus
    channel, where one command may name those of one slot only.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        verbs: Verbs,
        receive: Receive,
        missed: Callable[[Collection[bytes]], object],
        probe: Callable[[bytes, bytes], Awaitable[object]],
        probe_channel: bytes,
        probe_interval: float,
        timeout: float,
        changed: Callable[[], object] = lambda: None,
        moved: Callable[[bytes, MovedError | None], object] = lambda *_: None,
        slot: Callable[[bytes], int] = lambda _: 0,
    ) -> None:
        self._connect = connect
        self._verbs = verbs
        self._receive = receive
        self._missed = missed
        self._probe = probe
        self._probe_channel = probe_channel
        self._probe_interval = probe_interval
        self._timeout = timeout
        self._moved = moved
        self._slot = slot
        self._wanted: set[bytes] = set()
        self._asked: dict[bytes, asyncio.Future[None]] = {}
        self._sent: dict[bytes, int] = {}  # subscriptions that are not confirmed yet
        self._confirmed = asyncio.Event()
        self._adding: dict[bytes, None] = {}
        self._removing: dict[bytes, None] = {}
        self._adopted: set[bytes] = set()
        self._landed: list[bytes] = []  # those of them that are confirmed
        self._news = asyncio.Event()
        self._heard = 0.0
        self._held_up = False
        self._echo = asyncio.Event()
        self._owner = Supervisor(name, self._session, changed=changed)

    @property
    def up(self) -> bool:
        """Whether messages come."""
        return self._owner.state is SupervisorState.UP

    @property
    def begins(self) -> bool:
        """Whether it is being connected for the first time, and nothing has gone wrong yet."""
        return self._owner.state is SupervisorState.TRYING and self._owner.outage is None

    @property
    def outage(self) -> Outage | None:
        """Why none come."""
        return self._owner.outage

    @property
    def wanted(self) -> frozenset[bytes]:
        """What it is to be subscribed to."""
        return frozenset(self._wanted)

    def probe_by(self, channel: bytes) -> None:
        """Have another channel for probes. Harmless where it is the one."""
        if channel != self._probe_channel:
            self._removing[self._probe_channel] = None
            self._probe_channel = channel
        self._adding[channel] = None
        self._news.set()

    def start(self) -> None:
        """Begin to connect."""
        self._owner.start()

    async def open(self, patience: float) -> None:
        """Connect, for so many seconds at most; behind that it is tried on."""
        await self._owner.open(patience)

    async def aclose(self) -> None:
        """Disconnect."""
        await self._owner.aclose()

    async def want(self, bus: bytes) -> None:
        """Have messages of a bus channel; none is missed from now on.

        Raises BrokerUnavailable where it is not up, or not in time, and Moved where it is another
        server's; then it is not wanted.
        """
        asked = self._asked.get(bus)
        if asked is None:
            if bus in self._wanted:
                return
            if not self.up:
                raise BrokerUnavailable
            asked = self._asked[bus] = asyncio.get_running_loop().create_future()
            self._add(bus)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(asked)
        except TimeoutError:
            await asyncio.sleep(_GRACE)  # it may be here, where the loop was busy
            if not asked.done():
                self.forget(bus)
                raise BrokerUnavailable from None
            await asked

    def adopt(self, buses: Iterable[bytes]) -> None:
        """Have messages of bus channels as soon as may be: they were another server's."""
        for bus in buses:
            self._adopted.add(bus)
            self._add(bus)

    def forget(self, bus: bytes, why: Exception | None = None) -> None:
        """Have no messages of a bus channel any more. Harmless where none come.

        ``why`` is what :meth:`want` raises that waits for it, BrokerUnavailable unless given.
        """
        if bus in self._wanted:
            self._wanted.discard(bus)
            self._adopted.discard(bus)
            self._settle(bus, why or BrokerUnavailable())
            self._adding.pop(bus, None)
            self._removing[bus] = None
            self._news.set()

    def _add(self, bus: bytes) -> None:
        self._wanted.add(bus)
        self._removing.pop(bus, None)
        self._adding[bus] = None
        self._news.set()

    def _settle(self, bus: bytes, failure: Exception | None = None) -> None:
        asked = self._asked.pop(bus, None)
        if asked is None or asked.done():
            return
        if failure is None:
            asked.set_result(None)
        else:
            asked.set_exception(failure)
            asked.exception()  # who asked may have been cancelled

    async def _session(self, up: Callable[[], None]) -> None:
        connection = self._connect()
        try:
            try:
                async with asyncio.timeout(self._timeout):
                    await connection.connect()
            except TimeoutError:
                raise ConnectionError(f"no answer within {self._timeout:g} s") from None
            self._sent.clear()
            self._held_up = False
            self._removing.clear()
            self._adding = dict.fromkeys((self._probe_channel, *self._wanted))
            self._news.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(connection))
                group.create_task(self._read(connection))
                await self._all_confirmed()
                up()
                self._adopted.clear()
                if self._wanted:
                    self._missed(self.wanted)
                await self._listen()
        except ExceptionGroup as failed:
            raise first_of(failed) from None
        finally:
            for bus in tuple(self._asked):
                self.forget(bus)
            await connection.disconnect(nowait=True)

    async def _all_confirmed(self) -> None:
        """Wait until all that is wanted is subscribed to."""
        patience = self._timeout + len(self._wanted) / _CONFIRMED_PER_SECOND
        try:
            async with asyncio.timeout(patience):
                while self._adding or self._sent:
                    self._confirmed.clear()
                    await self._confirmed.wait()
        except TimeoutError:
            raise ConnectionError(f"subscriptions took longer than {patience:g} s") from None

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            removing, self._removing = tuple(self._removing), {}
            adding, self._adding = tuple(self._adding), {}
            for bus in adding:
                self._sent[bus] = self._sent.get(bus, 0) + 1
            commands = [
                *((self._verbs.unsubscribe, *batch) for batch in self._batches(removing)),
                *((self._verbs.subscribe, *batch) for batch in self._batches(adding)),
            ]
            await connection.send_packed_command(packed(commands), check_health=False)

    def _batches(self, buses: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """What fits into one command each."""
        for _, alike in groupby(sorted(buses, key=self._slot), key=self._slot):
            rest = iter(alike)
            while batch := tuple(islice(rest, _BATCH)):
                yield batch

    async def _read(self, connection: Connection) -> None:
        loop, message = asyncio.get_running_loop(), self._verbs.message
        while True:
            try:
                kind, bus, data, *_ = await connection.read_response(
                    disable_decoding=True, timeout=math.inf, disconnect_on_error=False
                )
            except MovedError as exc:
                self._turned_away(exc)
                continue
            self._heard = loop.time()
            self._echo.set()
            if kind == message:
                if bus in self._wanted and (wait := self._receive(bus, data)) is not None:
                    self._held_up = True
                    await wait
                    self._held_up = False
                    self._heard = loop.time()
            elif kind == self._verbs.subscribe.lower():
                self._confirm(bus)
            elif self._is_wanted(bus) and bus not in self._sent and bus not in self._adding:
                self._lose(bus, None)  # nobody here asked for that

    def _is_wanted(self, bus: bytes) -> bool:
        return bus in self._wanted or bus == self._probe_channel

    def _confirm(self, bus: bytes) -> None:
        sent = self._sent.get(bus, 1) - 1
        if sent:
            self._sent[bus] = sent  # it was left and wanted again meanwhile
            return
        self._sent.pop(bus, None)
        self._settle(bus)
        if bus in self._adopted and self.up:
            self._adopted.discard(bus)
            self._landed.append(bus)
            if len(self._landed) == 1:
                asyncio.get_running_loop().call_soon(self._land)
        self._confirmed.set()

    def _land(self) -> None:
        """Those that were another server's come from here now."""
        landed, self._landed = self._landed, []
        self._missed(landed)

    def _turned_away(self, exc: MovedError) -> None:
        """A command was refused, for its slot is another server's. What was to be left is."""
        for bus in [bus for bus in self._sent if self._slot(bus) == exc.slot_id]:
            del self._sent[bus]
            if self._is_wanted(bus) and bus not in self._adding:
                self._lose(bus, exc)
        self._confirmed.set()

    def _lose(self, bus: bytes, exc: MovedError | None) -> None:
        self._wanted.discard(bus)
        self._adopted.discard(bus)
        self._moved(bus, exc)
        self._settle(bus, Moved())

    async def _listen(self) -> None:
        """Return when nothing comes any more."""
        loop = asyncio.get_running_loop()
        while True:
            quiet = loop.time() - self._heard
            if self._held_up or quiet < self._probe_interval:
                await asyncio.sleep(self._probe_interval - (0.0 if self._held_up else quiet))
                continue
            self._echo.clear()
            try:
                await self._probe(self._probe_channel, b"")
            except BrokerUnavailable:
                # Who publishes cannot, which says nothing of this connection.
                await asyncio.sleep(min(_ECHO, self._probe_interval))
                continue
            try:
                async with asyncio.timeout(_ECHO):
                    await self._echo.wait()
            except TimeoutError:
                await asyncio.sleep(_GRACE)
                if not self._echo.is_set():
                    raise ConnectionError("it is there, and delivers nothing") from None
