"""Connections that are reset again and again: whatever is published, nobody misses it unawares.

A real server and real sockets on loopback. What happens in which order is a schedule of its own,
made from a seed, which waits for the clients where it must: see ``fleet.py``.
"""

import asyncio
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from yarl import URL

from openapi.ws import ChannelRule, SocketsManager
from openapi.ws.brokers.memory import MemoryBroker
from tests.ws.bus import Bus, fine
from tests.ws.endpoints import application
from tests.ws.fleet import Figures, Fleet, follow, judge, schedule
from tests.ws.tcp import Client, served

CHANNEL = "news"
CLIENTS = 1000
MESSAGES = 200
RATE = 40  # messages a second of the schedule
LASTING = 1.5  # seconds of the schedule: a connection, in the mean
AWAY = 0.2  # seconds of the schedule: 8 messages
SEED = 20_261


def keeping(history: int) -> SocketsManager:
    return SocketsManager(channels=[ChannelRule(CHANNEL, history=history)])


class Publisher:
    """Publishes messages whose data is their own number."""

    def __init__(self, sockets: SocketsManager) -> None:
        self.published = 0
        self._sockets = sockets

    async def __call__(self, times: int = 1) -> int:
        """Publish some; returns the offset of the last."""
        for _ in range(times):
            self.published += 1
            position = await self._sockets.publish(CHANNEL, "n", {"n": self.published})
            assert position is not None
            assert position.offset == self.published
        return self.published


async def jitter(
    history: int, away: Callable[[random.Random], float], clients: int
) -> tuple[Figures, Fleet]:
    """Reset the connections of so many clients while 200 messages are published."""
    rng, sockets = random.Random(SEED), keeping(history)
    async with served(application(sockets=sockets)) as url:
        fleet = Fleet([url], CHANNEL, clients)
        await fleet.all_come()
        moments = schedule(
            rng,
            listeners=clients,
            messages=MESSAGES,
            rate=RATE,
            lasting=LASTING,
            away=lambda: away(rng),
        )
        resets = await follow(fleet, moments, Publisher(sockets), rng)
        await fleet.all_come()
        await fleet.all_hear()
        figures = judge(fleet.listeners, MESSAGES, resets)
        fleet.reset()
    sys.stdout.write(f"{figures}\n")
    return figures, fleet


def faults(fleet: Fleet) -> list[str]:
    return [f"{each.number}: {fault}" for each in fleet.listeners for fault in each.faults]


# The test of AnyCable's nodejs-websocket-bench, with its traps: connections are reset and not
# closed; all stay away for as long; whoever could not connect counts; one process, one clock.


many = pytest.mark.parametrize("clients", [300, pytest.param(CLIENTS, marks=pytest.mark.full)])


@pytest.mark.timeout(300)
@many
async def test_clients_that_are_reset_all_the_time_get_every_message_once_in_order(
    clients: int,
) -> None:
    figures, fleet = await jitter(300, lambda rng: AWAY, clients)
    assert faults(fleet) == []
    assert figures.expected == MESSAGES * clients
    assert figures.resets > 2 * clients
    assert figures.recovered > 2 * clients
    assert figures.delivered == figures.expected, figures
    assert (figures.flagged, figures.silent, figures.refused) == (0, 0, 0), figures
    assert (figures.repeated, figures.swapped) == (0, 0), figures


@pytest.mark.timeout(300)
@many
async def test_where_history_is_too_short_whoever_misses_something_is_told_so(clients: int) -> None:
    history = 12
    figures, fleet = await jitter(history, lambda rng: 1.0 if rng.random() < 0.2 else AWAY, clients)
    assert faults(fleet) == []
    assert figures.silent == 0, figures
    assert (figures.repeated, figures.swapped) == (0, 0), figures
    assert figures.delivered + figures.flagged == figures.expected, figures
    assert figures.refused > 0, figures
    assert figures.recovered > 0, figures
    # Nobody is told that something is lost which was still there.
    assert all(len(lost) > history for each in fleet.listeners for lost in each.flagged)


@pytest.mark.timeout(120)
async def test_clients_that_come_back_at_another_server_whose_bus_is_unreliable_miss_nothing() -> (
    None
):
    rng, clients = random.Random(SEED), 200
    rule = ChannelRule(CHANNEL, history=300)
    memory = MemoryBroker()
    bus = Bus(memory)
    near = SocketsManager(broker=memory, channels=[rule])
    far = SocketsManager(broker=bus, channels=[rule])
    async with served(application(sockets=near)) as a, served(application(sockets=far)) as b:
        fleet, publish = Fleet([a, b], CHANNEL, clients), Publisher(near)
        await fleet.all_come()
        bus.weather = lambda number: rng.choice([(0,), (0,), (0,), (), (0, 2), (3,)])
        moments = schedule(
            rng,
            listeners=clients,
            messages=MESSAGES,
            rate=RATE,
            lasting=LASTING,
            away=lambda: AWAY,
        )
        resets = await follow(fleet, moments, publish, rng, heard=False)
        await fleet.all_come()
        bus.weather = fine
        last = await publish()  # whatever was lost before is found by this one
        await fleet.until(lambda: all(each.offset == last for each in fleet.listeners))
        figures = judge(fleet.listeners, publish.published, resets)
        fleet.reset()
    sys.stdout.write(f"{figures}\n")
    assert faults(fleet) == []
    assert figures.delivered == figures.expected, figures
    assert (figures.flagged, figures.repeated, figures.swapped) == (0, 0, 0), figures
    assert sum(limit > 0 for limit in bus.reads) > 10


def test_what_is_judged_is_what_was_published_and_not_what_a_client_believes() -> None:
    fleet = Fleet([URL("http://127.0.0.1/stream")], CHANNEL, 5)
    fine, gap, twice, swapped, told = fleet.listeners
    fine.heard = [1, 2, 3, 4]
    gap.heard = [1, 2, 4]
    twice.heard = [1, 2, 3, 3, 4]
    swapped.heard = [1, 3, 2, 4]
    told.heard, told.flagged = [1, 4], [range(2, 4)]
    figures = judge(fleet.listeners, 4, 0)
    assert (figures.silent, figures.repeated, figures.swapped, figures.flagged) == (1, 1, 1, 2)
    assert (figures.expected, figures.delivered) == (20, 17)


def test_who_was_never_connected_counts_as_one_who_missed_everything() -> None:
    fleet = Fleet([URL("http://127.0.0.1/stream")], CHANNEL, 2)
    fleet.listeners[0].heard = [1, 2, 3, 4]
    figures = judge(fleet.listeners, 4, 0)
    assert (figures.expected, figures.delivered, figures.silent) == (8, 4, 4)
    assert figures.percent == 50


# Cases of their own


async def joined(client: Client, recover: dict[str, Any] | None = None) -> dict[str, Any]:
    """Subscribe, and say what was answered, but for the list of subscriptions."""
    payload = {"channel": CHANNEL} | ({} if recover is None else {"recover": recover})
    response: dict[str, Any] = await client.call("subscribe", payload)
    assert response.pop("subscribed") == {CHANNEL: ["*"]}
    return response


def position_in(response: dict[str, Any]) -> dict[str, Any]:
    return {"offset": response["offset"], "epoch": response["epoch"]}


def offsets_in(messages: list[dict[str, Any]]) -> list[int]:
    return [each["offset"] for each in messages]


@pytest.mark.parametrize("before", [0, 5])
async def test_a_client_that_saw_no_message_yet_gets_all_of_them(before: int) -> None:
    sockets = keeping(100)
    publish = Publisher(sockets)
    async with served(application(sockets=sockets)) as url:
        await publish(before)
        client = await Client.open(url)
        at = position_in(await joined(client))
        assert at["offset"] == before
        client.reset()
        await publish(3)
        client = await Client.open(url)
        again = await joined(client, at)
        assert again["recovered"] is True
        assert offsets_in(again["messages"]) == [before + 1, before + 2, before + 3]
        assert position_in(again) == {"offset": before + 3, "epoch": at["epoch"]}
        await publish()
        await client.call("info")
        assert offsets_in(client.of(CHANNEL)) == [before + 4]


async def test_a_client_that_missed_nothing_recovers_nothing() -> None:
    sockets = keeping(100)
    async with served(application(sockets=sockets)) as url:
        await Publisher(sockets)(2)
        client = await Client.open(url)
        at = position_in(await joined(client))
        client.reset()
        again = await joined(await Client.open(url), at)
        assert again == {"recovered": True, "messages": [], **at}


async def test_a_client_recovers_again_from_where_it_recovered_to() -> None:
    sockets = keeping(100)
    publish = Publisher(sockets)
    async with served(application(sockets=sockets)) as url:
        client = await Client.open(url)
        at, got = position_in(await joined(client)), []
        for _ in range(5):
            client.reset()
            await publish(2)
            client = await Client.open(url)
            again = await joined(client, at)
            assert again["recovered"] is True
            got += offsets_in(again["messages"])
            at = position_in(again)
        assert got == [*range(1, 11)]


async def test_a_recovery_whose_answer_was_lost_is_done_again() -> None:
    sockets = keeping(100)
    publish = Publisher(sockets)
    async with served(application(sockets=sockets)) as url:
        client = await Client.open(url)
        at = position_in(await joined(client))
        client.reset()
        await publish(2)
        watch = await Client.open(url)
        while CHANNEL in (await watch.call("info"))["channels"]:
            pass
        lost = await Client.open(url)
        lost.pause()  # the answer never reaches it
        lost.begin("subscribe", {"channel": CHANNEL, "recover": at})
        while CHANNEL not in (await watch.call("info"))["channels"]:
            pass
        await publish(2)
        lost.reset()
        assert lost.received == []
        again = await joined(await Client.open(url), at)
        assert again["recovered"] is True
        assert offsets_in(again["messages"]) == [1, 2, 3, 4]


async def test_clients_that_reconnect_at_once_miss_nothing() -> None:
    rng, sockets = random.Random(SEED), keeping(300)
    publish, rounds, clients = Publisher(sockets), 100, 20
    async with served(application(sockets=sockets)) as url:
        fleet = Fleet([url], CHANNEL, clients)
        await fleet.all_come()
        for _ in range(rounds):
            for listener in fleet.listeners:
                listener.reset()  # and back in the same turn of the loop
                listener.come()
                if rng.random() < 1 / clients:
                    await publish()
            await publish()
            if rng.random() < 0.7:
                await fleet.until(lambda: fleet.coming < clients // 2)
        await fleet.all_come()
        await fleet.all_hear()
        figures = judge(fleet.listeners, publish.published, rounds * clients)
        assert faults(fleet) == []
        assert figures.delivered == figures.expected, figures
        assert (figures.flagged, figures.repeated, figures.swapped) == (0, 0, 0), figures
        assert figures.recovered > clients, figures
        fleet.reset()


async def test_a_client_that_is_away_from_the_first_message_to_the_last_gets_all_of_them() -> None:
    sockets = keeping(300)
    async with served(application(sockets=sockets)) as url:
        fleet = Fleet([url], CHANNEL, 2)
        await fleet.all_come()
        away, stays = fleet.listeners
        away.reset()
        await Publisher(sockets)(MESSAGES)
        await fleet.all_come()
        await fleet.all_hear()
        assert away.heard == stays.heard == [*range(1, MESSAGES + 1)]
        assert (away.recovered, away.flagged, faults(fleet)) == (1, [], [])
        fleet.reset()


@pytest.mark.timeout(120)
async def test_a_thousand_clients_that_come_back_after_a_restart_cost_one_reading() -> None:
    rule = ChannelRule(CHANNEL, history=100)
    memory = MemoryBroker()
    elsewhere = SocketsManager(broker=memory, channels=[rule])
    publish = Publisher(elsewhere)
    before = SocketsManager(broker=memory.sibling(), channels=[rule])
    async with served(application(sockets=before)) as url:
        fleet = Fleet([url], CHANNEL, CLIENTS)
        await fleet.all_come()
        await publish(10)
        await fleet.all_hear()
        fleet.reset()
    bus = Bus(memory)
    after = SocketsManager(broker=bus, channels=[rule])
    async with served(application(sockets=after)) as url:
        fleet.urls = [url]
        await publish(20)
        coming = asyncio.ensure_future(fleet.all_come(at_once=CLIENTS + 1))
        await fleet.until(lambda: any(each.here for each in fleet.listeners))
        await publish(5)
        await coming
        await publish(5)
        assert bus.reads == [0, 100]  # where the stream is, and what it has
        await fleet.all_hear()
        figures = judge(fleet.listeners, publish.published, CLIENTS)
        assert faults(fleet) == []
        assert figures.delivered == figures.expected == 40 * CLIENTS, figures
        assert figures.recovered == CLIENTS, figures
        fleet.reset()
    await elsewhere.drain()
