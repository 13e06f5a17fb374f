"""Some hundred clients that lose their server together: ``-m …herd_clients JSON``.

The JSON has the ``url``, the ``channel`` and how many ``clients`` there are. The process prints
``"ready"`` when all have subscribed, ``"back"`` when all have subscribed again, on a connection
that they made by themselves, and ``"heard"`` when all have got a message. When its stdin ends, it
prints when they did what, in seconds of the clock that all processes share, and ends.
"""

import asyncio
import json
import logging
import sys
import time
from contextlib import AsyncExitStack
from typing import Any, Final

from openapi.client import connect
from tests.coming_back.lines import say, stdin_ends

#: How many connect at a time in the beginning. Later they come as they come.
_AT_ONCE: Final = 20


class Member:
    """One client, with the backoff that clients have."""

    def __init__(self, url: str, channel: str) -> None:
        self.attempts: list[float] = []
        """When it began to connect."""
        self.renewed: list[float] = []
        """When its subscription was renewed."""
        self.heard = 0
        """How many messages it got."""
        self.is_subscribed, self.is_back, self.has_heard = (asyncio.Event() for _ in range(3))
        self._target = url
        self._channel = channel

    async def live(self, turn: asyncio.Semaphore) -> None:
        """Read what is published, without end."""
        async with AsyncExitStack() as stack:
            async with turn:
                client = await stack.enter_async_context(connect(self._url))
                messages = client.subscribe(self._channel, on_renewed=self._renewed)
                await stack.enter_async_context(messages)
            self.is_subscribed.set()
            async for _ in messages:
                self.heard += 1
                self.has_heard.set()

    def _url(self) -> str:
        self.attempts.append(time.monotonic())
        return self._target

    def _renewed(self, _: object) -> None:
        self.renewed.append(time.monotonic())
        self.is_back.set()


async def main(options: dict[str, Any]) -> None:
    """Do as the argument says."""
    logging.getLogger("openapi").addHandler(logging.NullHandler())
    herd = [Member(options["url"], options["channel"]) for _ in range(options["clients"])]
    turn = asyncio.Semaphore(_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.live(turn)) for each in herd]
        tasks.append(group.create_task(_tell(herd)))
        await stdin_ends()
        for task in tasks:
            task.cancel()
    say(
        {
            "attempts": [moment for each in herd for moment in each.attempts],
            "renewed": [each.renewed for each in herd],
            "heard": [each.heard for each in herd],
        }
    )


async def _tell(herd: list[Member]) -> None:
    for each in herd:
        await each.is_subscribed.wait()
    say("ready")
    for each in herd:
        await each.is_back.wait()
    say("back")
    for each in herd:
        await each.has_heard.wait()
    say("heard")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
