"""What a channel delivers to: a connection, a callback, a subscription of the server's own."""

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar

from openapi.protocol.stream import Position
from openapi.ws.broker import Member

if TYPE_CHECKING:
    from openapi.ws.delivery import Delivery

__all__ = ["Subscriber"]


class Subscriber:
    """Takes the messages of the channels that it is subscribed to.

    None of this may suspend: what takes longer is returned, by :meth:`deliver` and :meth:`room`.
    """

    __slots__ = ()

    limited: ClassVar[bool] = False
    """Whether ``limits.channels`` and ``limits.patterns`` hold for it."""

    overhead: ClassVar[int] = 0
    """What each message that it missed costs it besides the message's own bytes."""

    @property
    def gone(self) -> bool:
        """Whether it takes nothing any more, and must not be subscribed again."""
        raise NotImplementedError

    def deliver(self, delivery: "Delivery") -> Awaitable[object] | None:
        """Take a message. What is returned is awaited before the publisher goes on."""
        raise NotImplementedError

    def flush(self, channel: str) -> None:
        """Another subscription begins: what waits of the channel goes out in front of it."""

    def hold(self, channel: str) -> None:
        """A subscription begins: keep its messages until whoever asked for it has the answer."""

    def begun(self, take_back: Callable[[], object]) -> None:
        """A subscription has begun: whoever asked for it has it unless the answer is an error."""

    def tell(self, channel: str, event: str, data: Any) -> None:
        """Something that the server says of a channel: ``$unsubscribed`` and the like."""

    def reset(self, channel: str, position: Position) -> None:
        """Messages of a channel are lost to it: it goes on from a position."""

    def parted(self, channel: str, patterns: Collection[str]) -> None:
        """Some of its subscriptions on a channel have ended; it has these still."""

    def sift(self, channel: str) -> None:
        """What is held of a channel is not wanted, but for what fits the subscriptions it has."""

    def behind(self, channel: str) -> int | None:
        """The offset from which it is still to catch up on a channel; None if it need not."""
        return None

    @property
    def most(self) -> int | None:
        """How many bytes of messages that it missed it takes at once; None: any number."""
        return None

    def recovers(self) -> None:
        """The answer to whoever subscribes has messages that were missed: it may be long."""

    @property
    def full(self) -> bool:
        """Whether it cannot take much at once."""
        return False

    def room(self) -> Awaitable[object] | None:
        """None unless it is full, then what to await before asking again."""
        return None

    @property
    def name(self) -> str:
        """What its connection is called among those who are present; empty: it never is."""
        return ""

    def member(self, channel: str) -> Member:
        """Who it is, to those who may know, where it has a name. Raises Unserializable."""
        raise NotImplementedError
