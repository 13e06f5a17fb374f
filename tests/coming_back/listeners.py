"""Some hundred clients of one channel, which come back by themselves: ``-m …listeners JSON``.

The JSON is what :class:`tests.coming_back.jitter.Listeners` says. The process prints ``"ready"``
when all have subscribed, and ``"done"`` when all have got as far as the last message. When its
stdin ends, it prints what each of them noted, a line for each, and ends. Lines are JSON.

``clients/js/test/jitter/listeners.js`` is the same for the client in JavaScript.
"""

import asyncio
import json
import logging
import sys
from typing import Any, Final

from openapi.client import Backoff, Client, Subscription, connect
from openapi.errors import PositionLost
from tests.coming_back.lines import say, stdin_ends

BACKOFF: Final = Backoff(first=0.05, cap=0.5)


class Listener:
    """One client. ``urls`` are taken in turn, one at each attempt."""

    def __init__(self, urls: list[str], number: int, channel: str, last: int) -> None:
        self.noted: list[list[int] | int] = []
        """Runs of numbers, from the first to the last; and up to where it was told of a loss."""
        self.recovered = 0
        """How often it came back and nothing was lost."""
        self.refused = 0
        """How often it came back and something was."""
        self.subscribed = asyncio.Event()
        self.reached = asyncio.Event()
        """It is where the last message is."""
        self._urls = urls
        self._attempt = number
        self._channel = channel
        self._last = last

    async def listen(self) -> None:
        """Listen until the last message came, or the loss of it."""
        async with connect(self._url, reconnect=BACKOFF) as client:
            async with client.subscribe(
                self._channel, type=int, on_renewed=self._renewed
            ) as messages:
                self.subscribed.set()
                reading = asyncio.create_task(self._read(messages))
                await self._over(client, reading)
            await reading  # what was queued

    async def _over(self, client: Client, reading: "asyncio.Task[None]") -> None:
        reached = asyncio.create_task(self.reached.wait())
        try:
            await asyncio.wait([reached, reading], return_when=asyncio.FIRST_COMPLETED)
        finally:
            reached.cancel()
        if reading.done():
            await reading
            raise RuntimeError("the subscription has ended")
        # what was sent before the answer, and should not have been, has come then, too
        await client.history(self._channel, limit=1)

    async def _read(self, messages: Subscription[int]) -> None:
        while True:
            try:
                async for message in messages:
                    assert message.position is not None
                    assert message.position.offset == message.data
                    self._heard(message.data)
                return
            except PositionLost as lost:
                self.noted.append(lost.offset)
                self._at(lost.offset)

    def _heard(self, number: int) -> None:
        run = self.noted[-1] if self.noted else None
        if isinstance(run, list) and number == run[1] + 1:
            run[1] = number
        else:
            self.noted.append([number, number])
        self._at(number)

    def _at(self, offset: int) -> None:
        if offset >= self._last:
            self.reached.set()

    def _url(self) -> str:
        self._attempt += 1
        return self._urls[self._attempt % len(self._urls)]

    def _renewed(self, subscription: Subscription[int]) -> None:
        if subscription.recovered:
            self.recovered += 1
        else:
            self.refused += 1


async def main(options: dict[str, Any]) -> None:
    """Do as the argument says."""
    # that a subscription is not renewed yet is no news here
    logging.getLogger("openapi").addHandler(logging.NullHandler())
    listeners = [
        Listener(options["urls"], number, options["channel"], options["last"])
        for number in range(options["clients"])
    ]
    async with asyncio.TaskGroup() as group:
        listening = [group.create_task(each.listen()) for each in listeners]
        telling = group.create_task(_tell(listeners, listening))
        await stdin_ends()
        for task in [telling, *listening]:
            task.cancel()
    for each in listeners:
        say({"noted": each.noted, "recovered": each.recovered, "refused": each.refused})


async def _tell(listeners: list[Listener], listening: "list[asyncio.Task[None]]") -> None:
    for each in listeners:
        await each.subscribed.wait()
    say("ready")
    await asyncio.wait(listening)
    say("done")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
