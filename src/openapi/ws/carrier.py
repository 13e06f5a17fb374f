"""A broker's life: opened when it is first needed, closed once, and never asked outside of that.

| state  | opened()            | aclose()               |
|--------|---------------------|------------------------|
| NEW    | OPEN, the broker;   | CLOSED, closes it if   |
|        | NEW if that fails   | anybody tried to open  |
| OPEN   | the broker          | CLOSED, closes it      |
| CLOSED | None                |                        |
"""

import asyncio
import time
from collections.abc import Callable, Collection
from enum import Enum
from typing import Final

from openapi.ws.broker import Broker, Deliver, Outage, Supervised, broker_from_url

__all__ = ["Carrier", "CarrierState"]


class CarrierState(Enum):
    """See the table of the module."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


class Carrier:
    """Owns the broker of a manager. ``missed`` is what :meth:`Supervised.watch` is given.

    ``ready`` is called with the broker when it is open.
    """

    def __init__(
        self,
        broker: str | Broker,
        deliver: Deliver,
        missed: Callable[[Collection[str] | None], object],
        ready: Callable[[Broker], object] = lambda _: None,
    ) -> None:
        self.broker: Final = broker_from_url(broker) if isinstance(broker, str) else broker
        self._deliver = deliver
        self._missed = missed
        self._ready = ready
        self._turn = asyncio.Lock()
        self._tried = False  # to open it: what was begun is to be ended, whatever became of it
        self._failure: Outage | None = None
        self.state = CarrierState.NEW

    async def opened(self) -> Broker | None:
        """The broker, open; None when it is closed. Raises what its ``open`` raises."""
        if self.state is CarrierState.NEW:
            async with self._turn:
                if self.state is CarrierState.NEW:
                    if isinstance(self.broker, Supervised):
                        self.broker.watch(self._missed)
                    self._tried = True
                    try:
                        await self.broker.open(self._deliver)
                    except Exception as exc:  # whatever it is, people are told why
                        self._failure = Outage(time.time(), str(exc) or type(exc).__name__)
                        raise
                    self._failure = None
                    self.state = CarrierState.OPEN
                    self._ready(self.broker)
        return self.broker if self.state is CarrierState.OPEN else None

    @property
    def outage(self) -> Outage | None:
        """Whether the broker's server is away, or could not be opened. Not known before that."""
        if isinstance(self.broker, Supervised) and self.state is CarrierState.OPEN:
            return self.broker.outage
        return self._failure

    async def aclose(self) -> None:
        """Close the broker, if anybody ever tried to open it."""
        async with self._turn:
            before, self.state = self.state, CarrierState.CLOSED
            if before is not CarrierState.CLOSED and self._tried:
                await self.broker.aclose()
