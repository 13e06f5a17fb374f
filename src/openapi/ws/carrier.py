"""A broker's life: opened when it is first needed, closed once, and never asked outside of that.

| state  | opened()            | aclose()               |
|--------|---------------------|------------------------|
| NEW    | OPEN, the broker    | CLOSED                 |
| OPEN   | the broker          | CLOSED, closes it      |
| CLOSED | None                |                        |
"""

import asyncio
from enum import Enum

from openapi.ws.broker import Broker, Deliver, broker_from_url

__all__ = ["Carrier", "CarrierState"]


class CarrierState(Enum):
    """See the table of the module."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


class Carrier:
    """Owns the broker of a manager."""

    def __init__(self, broker: str | Broker, deliver: Deliver) -> None:
        self._broker = broker_from_url(broker) if isinstance(broker, str) else broker
        self._deliver = deliver
        self._turn = asyncio.Lock()
        self.state = CarrierState.NEW

    async def opened(self) -> Broker | None:
        """The broker, open; None when it is closed. Raises what its ``open`` raises."""
        if self.state is CarrierState.NEW:
            async with self._turn:
                if self.state is CarrierState.NEW:
                    await self._broker.open(self._deliver)
                    self.state = CarrierState.OPEN
        return self._broker if self.state is CarrierState.OPEN else None

    async def aclose(self) -> None:
        """Close the broker, if it was ever opened."""
        async with self._turn:
            before, self.state = self.state, CarrierState.CLOSED
            if before is CarrierState.OPEN:
                await self._broker.aclose()
