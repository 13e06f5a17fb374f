"""The contract between a :class:`~openapi.ws.SocketsManager` and what carries its messages.

    class Loopback(Broker):
        async def open(self, deliver: Deliver) -> None:
            self._deliver = deliver

        async def publish(self, channel: str, event: str, data: object) -> None:
            await self._deliver(channel, event, data)

A manager opens its broker once, before anything else, and closes it last. It subscribes to a
channel when the first of its sockets does and unsubscribes when the last one left; it never does
both at the same time for one channel.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TypeAlias
from urllib.parse import urlsplit

from openapi.errors import DeclarationError

__all__ = ["Broker", "Deliver", "broker_from_url"]

Deliver: TypeAlias = Callable[[str, str, object], Awaitable[None]]
"""``await deliver(channel, event, data)`` hands a message to the sockets of this process."""

_BROKERS = {"memory": "openapi.ws.brokers.memory:MemoryBroker"}


class Broker(ABC):
    """Carries messages from whoever publishes to every process that subscribes."""

    @abstractmethod
    async def open(self, deliver: Deliver) -> None:
        """Get ready: messages of subscribed channels go to ``deliver``, each channel's in order."""

    @abstractmethod
    async def publish(self, channel: str, event: str, data: object) -> None:
        """Hand on a message. Raises CannotPublish where it cannot be."""

    @abstractmethod
    async def subscribe(self, channel: str) -> None:
        """Have messages of a channel delivered; when it returns, none is missed from then on.

        Harmless when it is subscribed already. Raises CannotSubscribe where it cannot be.
        """

    @abstractmethod
    async def unsubscribe(self, channel: str) -> None:
        """Have messages of a channel no longer delivered. Harmless when it is not subscribed."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of everything. Harmless the second time."""


def broker_from_url(url: str) -> Broker:
    """The broker for a URL, ``memory://`` being the one in this process.

    Raises :class:`DeclarationError` for a scheme that no broker has.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _BROKERS:
        known = ", ".join(f"{name}://" for name in _BROKERS)
        raise DeclarationError(f"no broker for {url!r}: its scheme must be one of {known}")
    module, _, name = _BROKERS[scheme].partition(":")
    broker: Broker = getattr(import_module(module), name)(url)
    return broker
