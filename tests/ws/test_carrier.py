"""A broker's life: opened once, closed once, never asked outside of that."""

import asyncio
from collections.abc import Collection

import pytest

from openapi.errors import CannotPublish, CannotSubscribe
from openapi.ws import Broker, Position, SocketsManager
from openapi.ws.broker import Deliver
from openapi.ws.carrier import Carrier, CarrierState


class Noted(Broker):
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def open(self, deliver: Deliver) -> None:
        self.asked.append("open")
        await asyncio.sleep(0)

    async def publish(self, channel: str, event: str, data: object) -> None:
        self.asked.append("publish")

    async def subscribe(self, channel: str) -> None:
        self.asked.append("subscribe")

    async def unsubscribe(self, channel: str) -> None:
        self.asked.append("unsubscribe")

    async def aclose(self) -> None:
        self.asked.append("close")


async def deliver(channel: str, event: str, data: object, position: Position | None = None) -> None:
    raise AssertionError("nobody delivers here")


def missed(channels: Collection[str] | None) -> None:
    raise AssertionError("nobody misses anything here")


async def test_many_who_need_it_at_once_open_it_once() -> None:
    broker = Noted()
    carrier = Carrier(broker, deliver, missed)
    assert await asyncio.gather(*(carrier.opened() for _ in range(5))) == [broker] * 5
    assert broker.asked == ["open"]


async def test_what_was_never_opened_is_not_closed() -> None:
    broker = Noted()
    carrier = Carrier(broker, deliver, missed)
    await carrier.aclose()
    assert carrier.state is CarrierState.CLOSED
    assert await carrier.opened() is None
    assert broker.asked == []


async def test_it_is_closed_once() -> None:
    broker = Noted()
    carrier = Carrier(broker, deliver, missed)
    await carrier.opened()
    await carrier.aclose()
    await carrier.aclose()
    assert broker.asked == ["open", "close"]


async def test_one_whose_opening_was_cancelled_is_opened_by_the_next_and_closed_in_any_case() -> (
    None
):
    class Slow(Noted):
        async def open(self, deliver: Deliver) -> None:
            await super().open(deliver)
            await asyncio.sleep(3600)

    for opened_again in (False, True):
        broker = Slow()
        carrier = Carrier(broker, deliver, missed)
        for _ in range(1 + opened_again):
            opening = asyncio.create_task(carrier.opened())
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
        await carrier.aclose()
        assert broker.asked == ["open"] * (1 + opened_again) + ["close"]


async def test_one_that_cannot_be_opened_is_away_until_it_can() -> None:
    class Reluctant(Noted):
        async def open(self, deliver: Deliver) -> None:
            await super().open(deliver)
            if len(self.asked) == 1:
                raise OSError("no route")

    def reason() -> str | None:
        return carrier.outage.reason if carrier.outage is not None else None

    carrier = Carrier(Reluctant(), deliver, missed)
    assert reason() is None
    with pytest.raises(OSError, match="no route"):
        await carrier.opened()
    assert reason() == "no route"
    await carrier.opened()
    assert reason() is None


async def test_one_that_was_closed_while_another_waited_to_open_it_is_not_opened() -> None:
    broker = Noted()
    carrier = Carrier(broker, deliver, missed)
    closing = asyncio.create_task(carrier.aclose())
    opening = asyncio.create_task(carrier.opened())
    await asyncio.gather(closing, opening)
    assert opening.result() is None
    assert broker.asked == []


async def test_a_manager_that_has_shut_down_refuses_and_asks_its_broker_nothing() -> None:
    broker = Noted()
    sockets = SocketsManager(broker=broker)
    await sockets.drain()
    with pytest.raises(CannotPublish, match="the server has shut down"):
        await sockets.publish("c", "", 1)
    with pytest.raises(CannotSubscribe, match="the server has shut down"):
        await sockets.subscribe("c")
    await sockets.unsubscribe("c")
    assert broker.asked == []
