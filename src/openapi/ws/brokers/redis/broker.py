"""The broker over Redis or Valkey: the contract, in commands and scripts."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from secrets import token_urlsafe
from typing import Final

from openapi.errors import (
    BrokerUnavailable,
    CannotPublish,
    CannotSubscribe,
    DeclarationError,
)
from openapi.protocol.envelope import VERSION, Envelope, Unreadable
from openapi.protocol.publication import Data, Publication
from openapi.protocol.stream import Page, Position, Retention
from openapi.schema import Schema
from openapi.ws.broker import (
    KEY_SECONDS,
    Broker,
    Deliver,
    KeepsHistory,
    KeepsPresence,
    Member,
    Outage,
    PublishesOnce,
    Refreshed,
    Supervised,
)
from openapi.ws.brokers.begun import Begun
from openapi.ws.brokers.redis.address import Address
from openapi.ws.brokers.redis.connection import Answer
from openapi.ws.brokers.redis.scripts import APPEND, HISTORY, ONCE, PRESENT, Script
from openapi.ws.refusals import key_taken

__all__ = ["RedisBroker"]

logger = logging.getLogger(__name__)

#: What a message may have in bytes, with all that is around it.
_MESSAGE_BYTES: Final = 16 * 1024 * 1024
#: What a reading of history brings at most; one message of more comes alone.
_PAGE_BYTES: Final = 1024 * 1024
#: Deliveries that are waited for side by side. While there are more, no more messages are read.
_DELIVERING: Final = 1000
#: How long to wait for the server when the broker is opened: seconds.
_PATIENCE: Final = 3.0

_KEY_MS: Final = b"%d" % (KEY_SECONDS * 1000)

_MEMBER: Final = Schema[Member](Member)


class RedisBroker(Broker, KeepsHistory, PublishesOnce, KeepsPresence, Supervised):
    """See :class:`Broker`. The server is Redis or Valkey, version 7 or newer.

    ``url`` is ``redis://user:password@host:port/db``, ``rediss://`` for TLS, ``redis+cluster://``
    and ``rediss+cluster://`` for a cluster, of which several nodes may be named:
    ``redis+cluster://a:7000,b:7000``. What redis-py knows may stand behind a ``?``.

    ``prefix`` is what all keys and channels of the server begin with. A command that has no answer
    within ``timeout`` seconds has failed, and its connection with it. Where no message came for
    ``probe_interval`` seconds, one is sent to see whether any would. What is known of a stream is
    kept for ``epoch_ttl`` seconds behind its last use, or twice as long as its messages.

    A restarted server may have lost its newest messages. So the streams get a new epoch then, and
    clients that come back are told that they may have missed some; ``trust_restarts`` says that
    nothing is lost at a restart, as with ``appendfsync always`` and no replicas to fail over to.

    ``clock`` gives the time of messages, in seconds; None is the server's own clock.

    Raises :class:`DeclarationError` for a URL or a prefix that cannot be, ValueError for times.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379",
        *,
        prefix: str = "openapi",
        timeout: float = 2.0,
        probe_interval: float = 30.0,
        epoch_ttl: float = 30 * 86400.0,
        trust_restarts: bool = False,
        clock: Callable[[], float] | None = None,
    ) -> None:
        times = {"timeout": timeout, "probe_interval": probe_interval, "epoch_ttl": epoch_ttl}
        for name, seconds in times.items():
            if not 0 < seconds < inf:
                raise ValueError(f"RedisBroker: {name} must be more than 0, not {seconds:g}")
        self.ignored = 0
        """Messages on the bus that were none, or of another version."""
        self._address = Address(url)
        self._prefix = prefix
        self._timeout = timeout
        self._probe_interval = probe_interval
        self._epoch_ttl = epoch_ttl
        self._trust_restarts = trust_restarts
        self._clock = clock
        self._ahead = 0.0  # of the server's clock before the monotonic one here
        self._missed: Callable[[Collection[str] | None], object] = lambda _: None
        self._deliver: Deliver | None = None
        self._closed = False
        self._delivering: set[asyncio.Task[None]] = set()
        self._full = False  # it was said that too many are waited for
        self._subscribed: set[str] = set()
        self._servers = self._address.servers(
            prefix=prefix,
            receive=self._receive,
            missed=lambda channels: self._missed(channels),
            probe_interval=probe_interval,
            timeout=timeout,
        )

    @property
    def outage(self) -> Outage | None:
        """See :attr:`Supervised.outage`."""
        return self._servers.outage

    def watch(self, missed: Callable[[Collection[str] | None], object]) -> None:
        """See :meth:`Supervised.watch`."""
        self._missed = missed

    async def open(self, deliver: Deliver) -> None:
        """See :meth:`Broker.open`. Raises DeclarationError for a server that is of no use."""
        if self._deliver is not None:
            raise DeclarationError("this RedisBroker is open already: a manager needs its own")
        if self._closed:
            raise DeclarationError("this RedisBroker was closed: make a new one")
        self._deliver = deliver
        try:
            await self._servers.open(_PATIENCE)
        except BaseException:
            self._deliver = None  # it may be opened again; what was begun goes on until then
            raise

    async def aclose(self) -> None:
        """See :meth:`Broker.aclose`. It cannot be opened again."""
        self._deliver, self._closed = None, True
        self._subscribed.clear()
        await self._servers.aclose()
        delivering = tuple(self._delivering)
        for task in delivering:
            task.cancel()
        if delivering:
            await asyncio.wait(delivering)

    async def publish(self, channel: str, event: str, data: object) -> None:
        """See :meth:`Broker.publish`."""
        self._check_open()
        message = Envelope.write(event, data)
        bus = self._servers.names.bus(channel)
        await self._servers.call(channel, self._servers.publish, bus, _checked(message))

    async def subscribe(self, channel: str) -> None:
        """See :meth:`Broker.subscribe`."""
        if self._deliver is None:
            raise CannotSubscribe("the broker is not open")
        self._subscribed.add(channel)
        try:
            await self._servers.subscribe(channel)
        except BrokerUnavailable:
            self._subscribed.discard(channel)
            raise

    async def unsubscribe(self, channel: str) -> None:
        """See :meth:`Broker.unsubscribe`."""
        self._subscribed.discard(channel)
        self._servers.unsubscribe(channel)

    def now(self) -> float:
        """See :meth:`KeepsHistory.now`: the server's clock, as far as it is known."""
        if self._clock is not None:
            return self._clock()
        return time.monotonic() + self._ahead if self._ahead else time.time()

    async def append(
        self,
        channel: str,
        event: str,
        data: object,
        *,
        retention: Retention,
        key: str | None = None,
    ) -> Position:
        """See :meth:`KeepsHistory.append`."""
        self._check_open()
        data, names = Data.of(data), self._servers.names
        message = _checked(Envelope.write(event, data))
        keys: Sequence[bytes] = names.stream(channel)
        digest = b""
        if key is not None:
            keys, digest = (*keys, names.key(channel, key, kept=True)), data.digest(event)
        answer = await self._run(
            channel,
            APPEND,
            keys,
            *self._stream_args(retention),
            names.bus(channel),
            self._servers.publish,
            VERSION,
            message[len(VERSION) + 1 :],
            digest,
            _KEY_MS,
        )
        if len(answer) == 1:
            raise key_taken()
        offset, epoch, now = answer
        self._heard_of(now)
        return Position(offset, epoch.decode())

    async def history(
        self,
        channel: str,
        *,
        retention: Retention,
        since: Position | None = None,
        limit: int,
        reverse: bool = False,
    ) -> Page[Publication]:
        """See :meth:`KeepsHistory.history`."""
        top, epoch, now, *found = await self._run(
            channel,
            HISTORY,
            self._servers.names.stream(channel),
            *self._stream_args(retention),
            b"" if since is None else since.epoch.encode("utf-8", "surrogatepass"),
            b"" if since is None else b"%d" % since.offset,
            b"%d" % limit,
            b"%d" % reverse,
            b"%d" % _PAGE_BYTES,
        )
        self._heard_of(now)
        kept = [self._kept(id_, raw) for id_, raw in zip(found[::2], found[1::2], strict=True)]
        messages = [message for message in kept if message is not None]
        more = sum(map(len, found[1::2])) >= _PAGE_BYTES
        return Page(messages, Position(top, epoch.decode()), more)

    async def publish_once(self, channel: str, event: str, data: object, *, key: str) -> None:
        """See :meth:`PublishesOnce.publish_once`."""
        self._check_open()
        data, names = Data.of(data), self._servers.names
        answer = await self._run(
            channel,
            ONCE,
            (names.key(channel, key, kept=False),),
            self._time(),
            names.bus(channel),
            self._servers.publish,
            _checked(Envelope.write(event, data)),
            data.digest(event),
            _KEY_MS,
        )
        if answer != b"done":
            raise key_taken()

    async def enter(
        self, channel: str, connections: Mapping[str, Member], *, ttl: float
    ) -> Sequence[Member]:
        """See :meth:`KeepsPresence.enter`."""
        said: list[bytes] = []
        for name, member in connections.items():
            said += (_encoded(name), _encoded(member.id), _MEMBER.encode(_with(member, 0)))
        answer = await self._present(channel, b"enter", _ms(ttl), *said) if said else []
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return [_with(_MEMBER.decode(form), count) for form, count in pairs]

    async def leave(self, channel: str, connections: Collection[str]) -> Sequence[Member]:
        """See :meth:`KeepsPresence.leave`."""
        names = map(_encoded, connections)
        return [_MEMBER.decode(form) for form in await self._present(channel, b"leave", *names)]

    async def refresh(self, channel: str, connections: Collection[str], *, ttl: float) -> Refreshed:
        """See :meth:`KeepsPresence.refresh`."""
        names = map(_encoded, connections)
        lost, expired = await self._present(channel, b"refresh", _ms(ttl), *names)
        return Refreshed([_decoded(name) for name in lost], list(map(_MEMBER.decode, expired)))

    async def members(self, channel: str) -> Sequence[Member]:
        """See :meth:`KeepsPresence.members`."""
        answer = await self._present(channel, b"members")
        found = zip(answer[::3], answer[1::3], answer[2::3], strict=True)
        in_order = sorted(found, key=lambda each: int(each[2]))
        return [_with(_MEMBER.decode(form), count) for form, count, _ in in_order]

    def _check_open(self) -> None:
        if self._deliver is None:
            raise CannotPublish("the broker is not open")

    async def _run(
        self, channel: str, script: Script, keys: Sequence[bytes], *args: bytes
    ) -> Answer:
        return await self._servers.run_script(channel, script, keys, *args)

    async def _present(self, channel: str, act: bytes, *args: bytes) -> Answer:
        keys = self._servers.names.present(channel)
        return await self._run(channel, PRESENT, keys, self._time(), act, *args)

    def _time(self) -> bytes:
        return b"" if self._clock is None else _ms(self._clock())

    def _stream_args(self, retention: Retention) -> Iterable[bytes]:
        """What the scripts begin with that read or write a stream."""
        return (
            self._time(),
            token_urlsafe(6).encode(),
            b"%d" % self._trust_restarts,
            _ms(max(self._epoch_ttl, 2 * retention.seconds)),
            b"%d" % retention.messages,
            _ms(retention.seconds),
        )

    def _heard_of(self, now: int) -> None:
        self._ahead = now / 1000 - time.monotonic()

    def _kept(self, id_: bytes, raw: bytes) -> Publication | None:
        envelope = self._read(raw)
        if envelope is None:
            return None
        offset, _, at = id_.partition(b"-")
        return Publication(int(offset), envelope.event, envelope.data, int(at) / 1000)

    def _read(self, raw: bytes) -> Envelope | None:
        try:
            return Envelope.read(raw, most=_MESSAGE_BYTES)
        except Unreadable as exc:
            self.ignored += 1
            if self.ignored == 1:
                logger.warning(
                    "a message in Redis under the prefix %r is ignored, and so will be others: %s",
                    self._prefix,
                    exc,
                )
            return None

    def _receive(self, bus: bytes, raw: bytes) -> Awaitable[None] | None:
        """A message of the bus. What is returned is to be awaited before the next is read."""
        channel = self._servers.names.channel_of(bus)
        deliver = self._deliver
        if deliver is None or channel not in self._subscribed:
            return None
        envelope = self._read(raw)
        if envelope is None:
            return None
        begun = Begun(deliver(channel, envelope.event, envelope.data, envelope.position))
        if begun.done:
            return None
        task = asyncio.get_running_loop().create_task(begun)
        self._delivering.add(task)
        task.add_done_callback(self._delivered)
        return self._fewer() if len(self._delivering) > _DELIVERING else None

    async def _fewer(self) -> None:
        """Wait for some to be done: whatever takes messages here takes too long."""
        if not self._full:
            self._full = True
            logger.warning(
                "%d deliveries of messages that came over Redis are not done, so no more are read,"
                " and nobody can subscribe to what this process does not hear yet: let callbacks"
                " start tasks for what takes long",
                len(self._delivering),
            )
        await asyncio.wait(self._delivering, return_when=asyncio.FIRST_COMPLETED)

    def _delivered(self, task: "asyncio.Task[None]") -> None:
        self._delivering.discard(task)
        self._full = self._full and len(self._delivering) > _DELIVERING // 2
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a message that came over Redis was not delivered", exc_info=exc)


def _checked(message: bytes) -> bytes:
    if len(message) > _MESSAGE_BYTES:
        raise CannotPublish(
            f"the message has {len(message)} bytes, and {_MESSAGE_BYTES} may be carried"
        )
    return message


def _with(member: Member, connections: int) -> Member:
    return Member(member.id, member.user, member.info, connections)


def _ms(seconds: float) -> bytes:
    return b"%d" % round(seconds * 1000)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")
