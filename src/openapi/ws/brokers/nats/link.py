"""One connection to a server: what is said, asked and heard over it, until it ends.

A client of nats-py without a life of its own: it does not connect again, so nothing is kept back
and sent later. What is known of it, and minded here:

- Its ``flush`` sends the PING ahead of what waits to be written, and a PONG for somebody who gave
  up ends its reading without a word. So a fence is a message to oneself: it comes back when all
  that was said before it was read by the server.
- It drops cancellations where it waits for room. So it never waits here: its queues are without
  bounds, and what is in them is bounded here.
- It has a task and a queue for each subscription. Those here have neither: a message is handed
  over where it was read, so that all come in the order in which they came.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from openapi.errors import BrokerUnavailable, CannotPublish, DeclarationError
from openapi.ws.brokers.nats.address import Address

__all__ = ["Link", "NobodyAnswers"]

logger = logging.getLogger(__name__)

#: Questions that wait for their answers.
_ASKED: Final = 4096
#: Bytes that wait to be written.
_PENDING: Final = 16 * 1024 * 1024
#: What the server counts as part of a message besides what it is: its headers.
_HEADERS: Final = 1024
#: Seconds in which a message to oneself comes back.
_PROBE: Final = 1.0
#: Seconds that who was held up, or asleep, gets to read what has come meanwhile.
_GRACE: Final = 0.05
_CLOSED: Final = "the server closed the connection"
_SILENT: Final = "nothing is heard of the server"
#: Complaints of the server that are told, each once.
_TOLD: Final = 100


class NobodyAnswers(Exception):
    """There is nobody on the subject: no stream has it, or there are no streams."""


class _Client(Client):
    """A client whose connection does not end where somebody sends headers that are none."""

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (IndexError, ValueError) as exc:
            logger.debug("headers that cannot be read: %r", exc)
            return None


class _Sink(asyncio.Future[Msg]):
    """Takes every message of a subscription, where the client expects an only one."""

    def __init__(self, receive: Callable[[Msg], object]) -> None:
        super().__init__()
        self._receive = receive

    def set_result(self, message: Msg, /) -> None:
        self._receive(message)


class _Asked:
    """A question. ``many`` is whether there are several answers, and a last one of status only."""

    __slots__ = ("answers", "answered", "many")

    def __init__(self, many: bool) -> None:
        self.many = many
        self.answers: list[Msg] = []
        self.answered: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        """The only answer, or the last."""
        self.answered.add_done_callback(_seen)

    def receive(self, message: Msg) -> None:
        if self.many and not _status(message):
            self.answers.append(message)
        elif not self.answered.done():
            self.answered.set_result(message)


class Link:
    """A connection that is not there yet. ``timeout`` is how long an answer may take: seconds."""

    def __init__(self, own: Callable[[str], str], *, timeout: float) -> None:
        self._client = _Client()
        self._own = own(token_hex(8))
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self._asked: dict[str, _Asked] = {}
        self._fence: asyncio.Task[None] | None = None
        self._suspicion: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._why: Exception | None = None
        self._told: set[str] = set()
        self._heard = self._loop.time()
        self._doubted: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._ended.add_done_callback(_seen)

    async def connect(self, address: Address, server: str) -> None:
        """Connect to one server. Raises what is wrong; then it is to be closed all the same.

        Raises DeclarationError where the server does not encrypt, and is to; OSError.
        """
        client = self._client
        connecting = self._loop.create_task(
            client.connect(
                servers=[server],
                name="aio-openapi",
                allow_reconnect=False,
                max_reconnect_attempts=1,  # 0 would be without end
                reconnect_time_wait=0,
                ping_interval=5,
                pending_size=0,
                flusher_queue_size=0,
                error_cb=self._failed,
                closed_cb=self._closed,
                **self._trusting(address, server),
            )
        )
        # It has time-outs of its own, and is not cancelled: before Python 3.12 a connection that is
        # made at that moment is left open, and who is cancelled by two time-outs at the same
        # moment is told of the second one later, wherever they are then.
        connecting.add_done_callback(_seen)
        try:
            await asyncio.wait([connecting])
        finally:
            if not connecting.done():
                await asyncio.wait([connecting])
        if connecting.cancelled():  # not by us: what it waited for was
            raise ConnectionError(f"{server} does not answer")
        try:
            connecting.result()
        except TimeoutError as exc:
            raise ConnectionError(f"{server} does not answer") from exc
        except nats.errors.NoServersError:
            raise ConnectionError(f"{server}: {self._why}") from self._why
        if address.encrypted and not self.info.get("tls_required"):
            raise _plain(server)
        reading = client._reading_task  # its end is the connection's, whatever it was
        assert reading is not None
        reading.add_done_callback(lambda _: self.end(_CLOSED))
        address.discovered(client.discovered_servers)
        await self.listen(f"{self._own}.*", self._answered)

    @property
    def info(self) -> Mapping[str, Any]:
        """What the server says of itself."""
        return self._client._server_info

    @property
    def most(self) -> int:
        """How many bytes a message may have."""
        return self._client.max_payload - _HEADERS

    def end(self, why: str) -> None:
        """Have it ended: :meth:`watch` raises that."""
        if not self._ended.done():
            self._ended.set_exception(ConnectionError(why))
            for asked in self._asked.values():
                if not asked.answered.done():
                    asked.answered.set_exception(BrokerUnavailable())

    def doubt_it(self) -> None:
        """Something was not answered, or refused for now."""
        if not self._doubted.done():
            self._doubted.set_result(None)

    async def doubted(self, within: float) -> None:
        """Wait until something was not answered since, for so many seconds at most."""
        await asyncio.wait([self._doubted], timeout=within)
        if self._doubted.done():
            self._doubted = self._loop.create_future()

    async def watch(self, interval: float) -> None:
        """Wait until it ends, and raise why. After so many seconds of silence it is probed."""
        while not self._ended.done():
            heard = self._heard
            quiet = self._loop.time() - heard
            if quiet >= interval:
                await self._probe()
                if self._heard == heard:
                    self.end(_SILENT)
            else:
                await asyncio.wait([self._ended], timeout=interval - quiet)
        self._ended.result()

    async def aclose(self) -> None:
        """Disconnect at once. Who waits for an answer gets none."""
        self.end("it was closed")
        await asyncio.gather(*self._tasks, return_exceptions=True)
        writer = getattr(self._client._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()  # or it would wait for one who reads no more
        if self._client._reading_task is None:
            return  # it was never connected, and waits for ever where TLS had failed
        # It would write what is left, which asyncio of 3.13 does not survive behind an abort.
        self._client._pending.clear()
        with suppress(OSError):  # there was more to say
            await self._client.close()

    async def listen(self, subject: str, receive: Callable[[Msg], object]) -> Subscription:
        """Subscribe. It is so when a fence that is asked for behind this has been passed."""
        self._check()

        def received(message: Msg) -> None:
            self._heard = self._loop.time()
            receive(message)

        return await self._client.subscribe(subject, future=_Sink(received))

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send a message behind all others. It does not suspend.

        Raises CannotPublish for one that is too long; BrokerUnavailable.
        """
        self._check()
        if len(payload) > self.most:
            raise CannotPublish(
                f"a message of {len(payload)} bytes is too long: the NATS server takes {self.most},"
                " by its setting max_payload"
            )
        if self._client.pending_data_size + len(payload) > _PENDING:
            raise BrokerUnavailable("More waits to be sent to NATS than may, try again later")
        try:
            await self._client.publish(subject, payload, reply=reply, headers=headers)
        except nats.errors.Error as exc:
            raise BrokerUnavailable from exc

    async def ask(
        self, subject: str, payload: bytes = b"", *, headers: dict[str, str] | None = None
    ) -> bytes:
        """Send a message, and wait for its answer.

        Raises NobodyAnswers; what :meth:`publish` raises; BrokerUnavailable where there is none in
        time: whether the message arrived is not known then.
        """
        return (await self._ask(subject, payload, _Asked(many=False), headers)).data

    async def ask_for_many(self, subject: str, payload: bytes) -> list[Msg]:
        """Send a message, and wait for its answers. Each may take as long as an only one.

        Raises what :meth:`ask` does.
        """
        asked = _Asked(many=True)
        await self._ask(subject, payload, asked)
        return asked.answers

    async def fence(self) -> None:
        """Wait until the server has read all that was said so far. There is one for each tick.

        Raises BrokerUnavailable where it does not in time.
        """
        self._check()
        if self._fence is None:
            self._fence = self._spawn(self._pass())
        await asyncio.shield(self._fence)

    async def _pass(self) -> None:
        await asyncio.sleep(0)  # until all have spoken whose turn it was
        self._fence = None
        await self._echo(self._timeout)

    async def _probe(self) -> None:
        """See whether what is said comes back. The connection ends if it does not."""
        try:
            await self._echo(_PROBE)
        except BrokerUnavailable as exc:
            logger.debug("probed: %s", exc)

    async def _echo(self, patience: float) -> None:
        """Say something to oneself. Where nothing at all is heard then, the connection ends."""
        token, asked = self._expect(_Asked(many=False))
        before = self._heard
        try:
            await self.publish(f"{self._own}.{token}", b"")
            if not await _in_time(asked.answered, patience):
                if self._heard == before:
                    self.end(_SILENT)
                raise _silent()
        finally:
            del self._asked[token]
        asked.answered.result()

    async def _ask(
        self, subject: str, payload: bytes, asked: _Asked, headers: dict[str, str] | None = None
    ) -> Msg:
        token, asked = self._expect(asked)
        there = 0
        try:
            await self.publish(subject, payload, reply=f"{self._own}.{token}", headers=headers)
            while True:
                if await _in_time(asked.answered, self._timeout / 2):
                    break
                self._suspect()  # what does not answer may be one stream, or all of the server
                if await _in_time(asked.answered, self._timeout / 2):
                    break
                if len(asked.answers) == there:
                    self.doubt_it()
                    raise _silent()
                there = len(asked.answers)
        finally:
            del self._asked[token]
        message = asked.answered.result()
        if _status(message) == "503":
            raise NobodyAnswers
        return message

    def _suspect(self) -> None:
        if self._suspicion is None or self._suspicion.done():
            self._suspicion = self._spawn(self._probe())

    def _expect(self, asked: _Asked) -> tuple[str, _Asked]:
        self._check()
        if len(self._asked) >= _ASKED:
            raise BrokerUnavailable("More is asked of NATS at once than may be, try again later")
        self._last += 1
        token = str(self._last)
        self._asked[token] = asked
        return token, asked

    def _answered(self, message: Msg) -> None:
        asked = self._asked.get(message.subject.rpartition(".")[2])
        if asked is not None:
            asked.receive(message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_seen)
        return task

    def _check(self) -> None:
        if self._ended.done():
            raise BrokerUnavailable

    def _trusting(self, address: Address, server: str) -> dict[str, Any]:
        """The options for a server, of which those that are secret are said in secret only."""
        options = address.options(server)
        options["connect_timeout"] = self._timeout / 2  # for each step, and some are tried twice

        def secret(value: str) -> Callable[[], str]:
            def tell() -> str:
                if not self.info.get("tls_required"):
                    raise _plain(server)
                return value

            return tell

        if address.encrypted:
            for name in options.keys() & {"user", "password", "token"}:
                options[name] = secret(options[name])
        return options

    async def _failed(self, exc: Exception) -> None:
        """The client has something to complain of."""
        self._why = exc
        text = str(exc)
        if isinstance(exc, nats.errors.UnexpectedEOF | OSError):
            if self._client.is_connected:
                self.end(_CLOSED)
        elif not self._client.is_connected:
            logger.debug("it cannot be connected to: %s", text)  # who wanted to is told
        elif text not in self._told and len(self._told) < _TOLD:
            self._told.add(text)
            logger.error("NATS refuses what is asked of it: %s", text)

    async def _closed(self) -> None:
        self.end(str(self._client.last_error or _CLOSED))


def _status(message: Msg) -> str:
    return (message.headers or {}).get("Status", "")


def _seen(future: asyncio.Future[Any]) -> None:
    """Whoever waits for it is told; it may be nobody."""
    if not future.cancelled():
        future.exception()


async def _in_time(future: asyncio.Future[Msg], seconds: float) -> bool:
    for patience in (seconds, _GRACE):
        if (await asyncio.wait([future], timeout=patience))[0]:
            return True
    return False


def _silent() -> BrokerUnavailable:
    return BrokerUnavailable("NATS does not answer, try again later")


def _plain(server: str) -> DeclarationError:
    return DeclarationError(
        f"{server} does not encrypt: have the server do it by its setting tls, or say nats://"
    )
