"""A function of the application as a subscriber."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from openapi.errors import ChannelCallbackError
from openapi.ws.delivery import Delivery
from openapi.ws.subscriber import Subscriber

if TYPE_CHECKING:
    from openapi.ws.channels import Channels

__all__ = ["Callback", "CallbackType"]

logger = logging.getLogger(__name__)

CallbackType: TypeAlias = Callable[[str, str, Any], Awaitable[Any]]
"""``await callback(channel, event, data)``, with the data as it came over the wire."""


@dataclass(frozen=True, slots=True)
class Callback(Subscriber):
    """A function as a subscriber, equal to every other one of that function."""

    callback: CallbackType
    channels: "Channels"

    @property
    def gone(self) -> bool:
        return False

    async def deliver(self, delivery: Delivery) -> None:
        try:
            await self.callback(delivery.channel, delivery.event, delivery.data)
        except ChannelCallbackError:
            self.channels.leave(self)
        except Exception:
            # Its publisher must not suffer, nor the other subscribers: it is removed, and said so.
            logger.exception(
                "callback %r failed on channel %r, event %r, and is removed from every channel",
                self.callback,
                delivery.channel,
                delivery.event,
            )
            self.channels.leave(self)
