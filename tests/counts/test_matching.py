"""Who gets a message is found in steps whose number does not depend on who does not."""

import sys
from collections import Counter
from itertools import cycle
from types import FrameType
from typing import Any, Final

import pytest

from tests.counts.connections import Site, site
from tests.counts.loops import CountingLoop

FEW: Final = 100
MANY: Final = 10_000
OTHERS: Final = ("bill.{}", "bill.{}.*", "order.{}", "order.{}.*", "*.{}", "?{}*", "[a-c]{}*")


async def steps(server: Site) -> Counter[str]:
    """How often what was called, of Python and of C, to publish one message."""
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, called: object) -> None:
        if event == "call":
            counts[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            counts[getattr(called, "__qualname__", "")] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        await server.sockets.publish("c", "order.1234.paid", 1)
    finally:
        sys.setprofile(before)
    return counts


async def nobody(channel: str, event: str, data: Any) -> None:
    raise AssertionError("it was for others")


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_to_publish_takes_as_many_steps_whatever_others_have(loop: CountingLoop) -> None:
    async with site(loop) as server:
        subscribers = await server.connect(2)
        for each, event in zip(subscribers, ("order.*.paid", "order.1234.paid"), strict=True):
            await each.client.call("subscribe", {"channel": "c", "event": event})
        taken = []
        for number, form in zip(range(MANY), cycle(OTHERS)):
            pattern = form.format(20_000 + number)
            await server.sockets.channels.register("c", pattern, nobody)
            if number + 1 in (FEW, MANY):
                await steps(server)  # what is worked out once, for all that follow
                taken.append(await steps(server))
        few, many = taken
        assert many == few
