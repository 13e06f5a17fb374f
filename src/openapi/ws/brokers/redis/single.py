"""One server: a connection for commands, and one for messages."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from secrets import token_hex
from typing import Final

from openapi.errors import BrokerUnavailable
from openapi.ws.broker import Outage
from openapi.ws.brokers.redis.connection import Answer, Connect
from openapi.ws.brokers.redis.link import Link
from openapi.ws.brokers.redis.names import Names
from openapi.ws.brokers.redis.reader import Reader, Receive, Verbs
from openapi.ws.brokers.redis.scripts import Script
from openapi.ws.brokers.redis.servers import Servers

__all__ = ["Single"]

_VERBS: Final = Verbs(b"SUBSCRIBE", b"UNSUBSCRIBE", b"message")


class Single(Servers):
    """See :class:`Servers`. ``connect`` makes a connection to the server that ``name`` tells of."""

    publish = b"PUBLISH"

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        prefix: str,
        database: int,
        receive: Receive,
        missed: Callable[[Collection[str] | None], object],
        probe_interval: float,
        timeout: float,
    ) -> None:
        self.names = Names(prefix, database=database)
        self._link = Link(
            f"{name} (commands)", connect, timeout=timeout, look_interval=probe_interval
        )
        self._reader = Reader(
            f"{name} (messages)",
            connect,
            verbs=_VERBS,
            receive=receive,
            missed=lambda _: missed(None),
            probe=self._probe,
            probe_channel=self.names.probe(0, token_hex(8)),
            probe_interval=probe_interval,
            timeout=timeout,
        )

    @property
    def outage(self) -> Outage | None:
        """See :attr:`Servers.outage`."""
        return self._link.outage or self._reader.outage

    async def open(self, patience: float) -> None:
        """See :meth:`Servers.open`."""
        loop = asyncio.get_running_loop()
        due = loop.time() + patience
        self._reader.start()  # both at once: who is away is waited for once
        await self._link.open(patience)
        await self._reader.open(max(0.0, due - loop.time()))

    async def aclose(self) -> None:
        """See :meth:`Servers.aclose`."""
        await self._reader.aclose()
        await self._link.aclose()

    async def call(self, channel: str, *command: bytes) -> Answer:
        """See :meth:`Servers.call`."""
        return await self._link.call(*command)

    async def run_script(
        self, channel: str, script: Script, keys: Sequence[bytes], *args: bytes
    ) -> Answer:
        """See :meth:`Servers.run_script`."""
        return await self._link.run_script(script, keys, *args)

    async def subscribe(self, channel: str) -> None:
        """See :meth:`Servers.subscribe`."""
        if not self._link.up:
            raise BrokerUnavailable  # it may be stuck, which the reader does not see
        await self._reader.want(self.names.bus(channel))

    def unsubscribe(self, channel: str) -> None:
        """See :meth:`Servers.unsubscribe`."""
        self._reader.forget(self.names.bus(channel))

    async def _probe(self, channel: bytes, message: bytes) -> Answer:
        return await self._link.call(b"PUBLISH", channel, message)
