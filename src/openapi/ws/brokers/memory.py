"""The broker of one process: what is published is delivered at once."""

from openapi.errors import CannotPublish
from openapi.ws.broker import Broker, Deliver

__all__ = ["MemoryBroker"]


class MemoryBroker(Broker):
    """See :class:`Broker`. Every channel can be published and subscribed to."""

    def __init__(self, url: str = "memory://") -> None:
        self._deliver: Deliver | None = None

    async def open(self, deliver: Deliver) -> None:
        """See :meth:`Broker.open`."""
        self._deliver = deliver

    async def publish(self, channel: str, event: str, data: object) -> None:
        """See :meth:`Broker.publish`."""
        if self._deliver is None:
            raise CannotPublish("the broker is not open")
        await self._deliver(channel, event, data)

    async def subscribe(self, channel: str) -> None:
        """See :meth:`Broker.subscribe`."""

    async def unsubscribe(self, channel: str) -> None:
        """See :meth:`Broker.unsubscribe`."""

    async def aclose(self) -> None:
        """See :meth:`Broker.aclose`."""
        self._deliver = None
