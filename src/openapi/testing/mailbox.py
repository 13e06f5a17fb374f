"""What came on a channel and nobody has expected yet."""

import asyncio
from typing import Any, Final

from openapi.client import Message, Subscription
from openapi.errors import OpenApiError, PositionLost, UnexpectedData
from openapi.protocol.patterns import Pattern

__all__ = ["ANYTHING", "Mailbox"]

_MOST: Final = 1000
"""Messages that wait to be expected."""

_SHOWN: Final = 20
"""Messages that a failure shows, the latest."""

_WIDTH: Final = 200
"""Characters that a failure shows of a message."""


class _Anything:
    """Data that is not looked at."""

    def __repr__(self) -> str:
        return "any data"


ANYTHING: Final = _Anything()


class Mailbox:
    """The messages of one subscription, in the order in which they came."""

    def __init__(self, subscription: Subscription[Any]) -> None:
        self.subscription: Final = subscription
        self._messages: list[Message[Any]] = []
        self._read = asyncio.Event()  # set, and made anew, when the one that reads has read
        self._reading = False
        self._ended: Exception | None = None

    async def expect(self, event: str, data: object, timeout: float) -> Message[Any]:
        """Take the oldest message that fits, or wait for one. Raises AssertionError."""
        __tracebackhide__ = True
        wanted = f"{event!r} with {_shown(data)}" if data is not ANYTHING else repr(event)
        wanted = f"expected {wanted} on {self.subscription.channel!r}"
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                found = await self._find(Pattern(event), data)
        except TimeoutError:
            if not limit.expired():
                raise
            raise AssertionError(f"{wanted} within {timeout:g} s, {self._instead()}") from None
        if found is None:
            closed = isinstance(self._ended, StopAsyncIteration)
            how = "was left" if closed else f"ended ({_shown(self._ended)})"
            why = f"the subscription {how}"
            raise AssertionError(f"{wanted}, but {why}, {self._instead()}") from self._ended
        return self._messages.pop(found)

    async def expect_nothing(self, event: str, within: float) -> None:
        """Fail if there is a message that fits, or one comes. Raises AssertionError."""
        __tracebackhide__ = True
        limit = asyncio.timeout(within)
        try:
            async with limit:
                found = await self._find(Pattern(event), ANYTHING)
        except TimeoutError:
            if not limit.expired():
                raise
            found = None
        if found is not None:
            what = "nothing" if event == "*" else f"nothing that fits {event!r}"
            raise AssertionError(
                f"expected {what} on {self.subscription.channel!r}, but this came:\n"
                f"  {_line(self._messages[found])}"
            )

    async def _find(self, pattern: Pattern, data: object) -> int | None:
        """Read until there is a message that fits; returns where it is, None if none can come."""
        while True:
            for at, message in enumerate(self._messages):
                if pattern.matches(message.event) and (data is ANYTHING or message.data == data):
                    return at
            if self._ended is not None:
                return None
            if self._reading:
                await self._read.wait()  # whatever another one reads is for all
            else:
                await self._take_turn()

    async def _take_turn(self) -> None:
        self._reading = True
        try:
            await self._read_one()
        finally:
            self._reading = False
            self._read.set()
            self._read = asyncio.Event()

    async def _read_one(self) -> None:
        try:
            message = await anext(self.subscription)
        except (PositionLost, UnexpectedData):
            raise  # it goes on behind that
        except (OpenApiError, StopAsyncIteration) as exc:
            self._ended = exc
            return
        if len(self._messages) == _MOST:
            raise AssertionError(
                f"{_MOST} messages on {self.subscription.channel!r} wait to be expected:"
                " join with a pattern that fewer of them fit"
            )
        self._messages.append(message)

    def _instead(self) -> str:
        if not self._messages:
            return "and nothing came"
        lines = [f"  {_line(message)}" for message in self._messages[-_SHOWN:]]
        if len(self._messages) > _SHOWN:
            lines.insert(0, f"  {len(self._messages) - _SHOWN} earlier ones, and then")
        return "\n".join(["and these came instead:", *lines])


def _line(message: Message[Any]) -> str:
    return f"{message.event!r} with {_shown(message.data)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"
