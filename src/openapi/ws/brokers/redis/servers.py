"""What a broker needs of Redis: one server, or a cluster of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from openapi.ws.broker import Outage
from openapi.ws.brokers.redis.connection import Answer
from openapi.ws.brokers.redis.names import Names
from openapi.ws.brokers.redis.scripts import Script

__all__ = ["Servers"]


class Servers(ABC):
    """One server or several. What concerns a channel goes to the one that has it.

    Commands raise BrokerUnavailable where that one is away, and what it answers that is an error.
    Those that are given one behind the other for one channel are carried out in that order.
    """

    names: Names
    """How keys and bus channels are named."""
    publish: bytes
    """The command that publishes to a bus channel."""

    @property
    @abstractmethod
    def outage(self) -> Outage | None:
        """Whether any of them is away."""

    @abstractmethod
    async def open(self, patience: float) -> None:
        """Connect, for so many seconds at most; then it is tried on. Raises DeclarationError."""

    @abstractmethod
    async def aclose(self) -> None:
        """Disconnect."""

    @abstractmethod
    async def call(self, channel: str, *command: bytes) -> Answer:
        """Send a command that concerns a channel."""

    @abstractmethod
    async def run_script(
        self, channel: str, script: Script, keys: Sequence[bytes], *args: bytes
    ) -> Answer:
        """Run a script that concerns a channel."""

    @abstractmethod
    async def subscribe(self, channel: str) -> None:
        """Have messages of a channel received; when it returns, none is missed from then on."""

    @abstractmethod
    def unsubscribe(self, channel: str) -> None:
        """Have messages of a channel received no longer."""
