"""Publishing from a program that has no sockets: a script, a job, another service.

    async with Publisher("redis://localhost", channels=CHANNELS) as publisher:
        await publisher.publish("orders:7", "paid", {"cents": 1200})

The messages go to the servers over their broker, and no server is asked. So it is the program that
keeps the rules of the channels: it has to be given those of the application.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from openapi.errors import CannotPublish, DeclarationError, InvalidData
from openapi.protocol.stream import Position, Retention
from openapi.protocol.topics import SERVER_EVENT
from openapi.ws.broker import Broker, KeepsHistory, Outage, broker_from_url
from openapi.ws.carrier import Carrier
from openapi.ws.publishing import Publishing
from openapi.ws.redacted import redacted
from openapi.ws.rules import ChannelRule, ChannelRules

__all__ = ["NoRule", "Publisher"]

#: Channels of which it is remembered that they may be published to: to ask takes a round trip.
_REMEMBERED: Final = 4096

#: Nothing is read with it but where the stream ends.
_UNREAD: Final = Retention(messages=1, seconds=1.0)


class NoRule(CannotPublish):
    """The channel keeps history, and no rule that was given says so."""


class Publisher:
    """Publishes to the sockets of all servers that share a broker. Enter it to open the broker.

    ``broker`` is what their :class:`SocketsManager` has: a URL, or a broker of its own that is not
    open. ``channels`` are the rules that it has, or those of the channels that are published to.

    A server takes no message without a number on a channel that keeps history. So a channel that no
    rule is given for is looked up the first time, and refused if it has ever kept any.

    Raises :class:`DeclarationError` for a broker that does not exist or reaches no other process,
    and for rules that contradict each other or promise what the broker cannot keep.
    """

    def __init__(self, broker: str | Broker, *, channels: Sequence[ChannelRule] = ()) -> None:
        found = broker_from_url(broker) if isinstance(broker, str) else broker
        if not found.spans_processes:
            named = redacted(broker) if isinstance(broker, str) else type(broker).__name__
            raise DeclarationError(
                f"Publisher: {named} is of one process, and nobody would get a message:"
                " give it the broker that the servers share, as 'redis://localhost'"
            )
        self.rules: Final = ChannelRules("Publisher", channels)
        self.rules.check("Publisher", found)
        self._carrier: Final = Carrier(found, _nobody, lambda _: None)
        self._publishing: Final = Publishing(self.rules, self._opened)
        self._entered = False
        self._checked: set[str] = set()

    async def publish(self, channel: str, event: str, data: Any) -> Position | None:
        """Publish a message to everybody who subscribed to it, in all servers.

        Returns its position on a channel that keeps history, otherwise None. The broker has it
        then; whether anybody is subscribed is not known.

        Raises CannotPublish where the channel cannot be published to, and NoRule, which is one, if
        it keeps history and no rule says so; InvalidData for data that is not of the channel's
        type, and for an event that begins with ``$``: those are the servers' own; Unserializable
        for data that has no JSON form; BrokerUnavailable where the broker is away.
        """
        if event.startswith(SERVER_EVENT):
            raise InvalidData({"event": f"{event!r} is the servers' own"})
        await self._check(channel)
        return await self._publishing.publish(channel, event, data)

    async def publish_once(
        self, channel: str, event: str, data: Any, *, key: str
    ) -> Position | None:
        """Do as :meth:`publish`, unless the channel had the ``key`` within 5 minutes.

        Then nothing happens, and the position is that of the first time: give each message a key of
        its own, as a UUID, to be able to try it again.

        Raises as :meth:`publish`; InvalidData for a key that another message had, or where nobody
        remembers keys; RpcError (LIMIT_EXCEEDED) where no more keys can be remembered.
        """
        await self._check(channel)
        return await self._publishing.publish_once(channel, event, data, key=key)

    @property
    def outage(self) -> Outage | None:
        """Since when, and why, the broker's server is away; None while it is there."""
        return self._carrier.outage

    async def __aenter__(self) -> Self:
        """Open the broker.

        Raises what cannot be mended, as a server that is too old; one that is away is come back to.
        """
        self._entered = True
        if await self._carrier.opened() is None:
            raise DeclarationError("this Publisher was closed: make a new one")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._carrier.aclose()

    async def _opened(self) -> Broker:
        if not self._entered:
            raise DeclarationError("enter the Publisher first: `async with Publisher(…) as …:`")
        broker = await self._carrier.opened()
        if broker is None:
            raise CannotPublish("the publisher is closed")
        return broker

    async def _check(self, channel: str) -> None:
        """Raise NoRule for a channel that keeps history without a rule that says so."""
        if channel in self._checked:
            return
        rule = self.rules.of(channel)
        if rule.refused:
            return  # which is said when it is published
        if rule not in self.rules.all:
            broker = await self._opened()
            if isinstance(broker, KeepsHistory):
                page = await broker.history(channel, retention=_UNREAD, limit=0)
                if page.top.offset:
                    raise NoRule(
                        f"{channel!r} keeps history, and a message without a number is an error"
                        " there: give the rules of the application, as"
                        " channels=[ChannelRule(…, history=…)]"
                    )
        if len(self._checked) >= _REMEMBERED:
            self._checked.clear()
        self._checked.add(channel)


async def _nobody(channel: str, event: str, data: object, position: Position | None = None) -> None:
    """Nothing is subscribed to."""
