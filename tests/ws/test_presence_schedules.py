"""Two processes over one broker that fails in every way, in thousands of orders of events.

Whatever the order: what the broker has in the end is what is wanted, joins and leaves of a member
come in turn, and nothing is left.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from openapi.ws.broker import Member
from tests.extent import extent
from tests.shuffled import pause, run, running_loop
from tests.unwatched import unwatched
from tests.ws.presence import Process, idle, memory

SCHEDULES = extent(2_400, 1_200)
SLICES = extent(20, 10)  # so that a failure names a part of them, and several may fail

CHANNELS = ("c", "d")
GRACE = 15
MEMBERS = 3


@dataclass(frozen=True, slots=True)
class Weather:
    """What goes wrong, and how fast all goes on.

    What nobody can know is not asked for. Where the same members are in both processes, publishing
    takes no time: a join of one process and a leave of the other have no order but that of the
    broker, and that is lost on the way from it to the subscribers. Where answers are lost, nothing
    expires: who joined without an answer and has expired is told to have left. And nobody is away
    for so long that the broker may forget without a word.
    """

    faults: tuple[str, ...]
    pauses: tuple[float, ...]
    shared: bool


#: Calls that fail or hang, for so long that everybody expires.
OUTAGES = Weather(("fail", "outage", "hang"), (0, 0, 0, 0.3, 7, 33), shared=True)
#: Answers that are lost, and publishing that takes its time, or fails.
SILENCE = Weather(("fail", "silence"), (0, 0, 0, 0.3, 2), shared=False)
#: A broker that forgets who is there.
LOSSES = Weather(("fail", "lose"), (0, 0, 0.3, 33), shared=False)


class Wanted:
    """Who should be on the channels by what one process was told: the rules in their plainest."""

    def __init__(self) -> None:
        self.there: dict[tuple[str, str], str] = {}
        self.away: dict[tuple[str, str], float] = {}

    def enter(self, channel: str, connection: str, id: str) -> None:
        self.pass_time()
        self.away.pop((channel, connection), None)
        before = self.there.get((channel, connection))
        self.there[channel, connection] = id
        if before != id:
            for place in self.away:
                if place[0] == channel and self.there[place] == id:
                    self.leave(*place)
                    return

    def leave(self, channel: str, connection: str) -> None:
        self.pass_time()
        self.away.pop((channel, connection), None)
        self.there.pop((channel, connection), None)

    def drop(self, channel: str, connection: str) -> None:
        self.pass_time()
        if (channel, connection) in self.there:
            self.away.setdefault((channel, connection), running_loop().time() + GRACE)

    def pass_time(self) -> None:
        for place in [place for place, due in self.away.items() if due < running_loop().time()]:
            del self.away[place], self.there[place]

    def members(self, channel: str) -> Counter[str]:
        self.pass_time()
        return Counter(id for place, id in self.there.items() if place[0] == channel)


class Site:
    """A process, what it should do, and those who come and go in it."""

    def __init__(self, name: str, process: Process, weather: Weather) -> None:
        self.process = process
        self.weather = weather
        self.wanted = Wanted()
        self.rng = running_loop().rng
        self.ids = [n if weather.shared else f"{name}{n}" for n in "xyz"[:MEMBERS]]
        self.name = name
        process.node.before = self.travel
        process.taken = self.take

    async def travel(self, verb: str) -> None:
        await pause(self.rng)
        if self.rng.random() < 0.1:
            await asyncio.sleep(0.01)

    async def take(self, channel: str, event: str, data: object) -> None:
        if not self.weather.shared:
            await pause(self.rng)
        if self.rng.random() < 0.1:
            raise ValueError("not published")

    async def wait(self) -> None:
        await pause(self.rng)
        # at times that meet no timer: which of the two comes first, the rules do not say
        await asyncio.sleep(self.rng.choice(self.weather.pauses) * self.rng.uniform(0.5, 1))

    async def client(self, number: int) -> None:
        """Come, go, be cut off and come back, on connections of its own."""
        rng, presence = self.rng, self.process.presence
        for n in range(rng.randint(2, 6)):
            channel, id = rng.choice(CHANNELS), rng.choice(self.ids)
            connection = f"{self.name}/{number}/{rng.choice([n, 0])}"
            for verb in rng.choices(("enter", "leave", "drop", "back"), (3, 2, 3, 2), k=3):
                match verb:
                    case "enter":
                        info = rng.choice([None, None, 1])
                        presence.enter(channel, connection, Member(id, info=info))
                        self.wanted.enter(channel, connection, id)
                    case "leave":
                        presence.leave(channel, connection)
                        self.wanted.leave(channel, connection)
                    case _:
                        presence.drop(channel, connection)
                        self.wanted.drop(channel, connection)
                        if verb == "back":
                            await self.wait()
                            connection += "'"
                            presence.enter(channel, connection, Member(id))
                            self.wanted.enter(channel, connection, id)
                await self.wait()
            if self.weather is SILENCE and rng.random() < 0.3:
                members = await presence.members(channel)
                self.wanted.pass_time()
                mine = self.wanted.there.get((channel, connection))
                assert mine is None or mine in {member.id for member in members}

    async def faults(self) -> None:
        """Go wrong a few times, until cancelled; all is well in the end."""
        node, rng = self.process.node, self.rng
        try:
            for _ in range(rng.randint(0, 4)):
                await self.wait()
                match rng.choice(self.weather.faults):
                    case "fail":
                        node.failing = rng.randint(1, 4)
                    case "silence":
                        node.unanswered = rng.randint(1, 3)
                    case "outage":
                        node.failing = 1_000_000
                        await asyncio.sleep(rng.uniform(1, 70))
                        node.failing = 0
                        await asyncio.sleep(45)  # until a refreshment gets through
                    case "hang":
                        node.gate = asyncio.Event()
                        await asyncio.sleep(rng.uniform(1, 40))
                        node.gate.set()
                        await asyncio.sleep(45)
                    case _:
                        lost = [name for _, name in self.wanted.there if rng.random() < 0.7]
                        await node.broker.leave(rng.choice(CHANNELS), lost)
                await self.wait()
        finally:
            node.failing = node.unanswered = 0
            if node.gate is not None:
                node.gate.set()

    def leave_all(self) -> None:
        rng, presence = self.rng, self.process.presence
        for channel, connection in tuple(self.wanted.there):
            rng.choice((presence.leave, presence.drop))(channel, connection)


def check_turns(published: list[tuple[str, str, object]]) -> None:
    """Of each member on each channel, joins and leaves come in turn, a join first."""
    present: set[tuple[str, str]] = set()
    for channel, event, data in published:
        assert isinstance(data, dict)
        place = channel, data["id"]
        assert event == ("$leave" if place in present else "$join"), place
        present.symmetric_difference_update({place})


def seen(published: list[tuple[str, str, object]], channel: str) -> set[str]:
    """Who is there for one who heard all that was published."""
    last = {
        data["id"]: event
        for of, event, data in published
        if of == channel and isinstance(data, dict)
    }
    return {id for id, event in last.items() if event == "$join"}


async def agree(sites: list[Site], published: list[tuple[str, str, object]]) -> None:
    """What the broker has, what was published and what is wanted are the same."""
    broker = sites[0].process.node.broker
    for channel in CHANNELS:
        wanted = sum((site.wanted.members(channel) for site in sites), Counter[str]())
        members = await broker.members(channel)
        assert {member.id: member.connections for member in members} == wanted
        if sites[0].weather is not LOSSES:
            assert seen(published, channel) == wanted.keys()
        else:
            assert seen(published, channel) >= wanted.keys()


def scenario(weather: Weather) -> Callable[[], Coroutine[Any, Any, None]]:
    async def main() -> None:
        rng = running_loop().rng
        broker = memory()
        sites = [
            Site(name, Process(node), weather)
            for name, node in (("a", broker), ("b", broker.sibling()))
        ]
        published: list[tuple[str, str, object]] = []
        for site in sites:
            site.process.published = published
        faults = [asyncio.create_task(site.faults()) for site in sites]
        async with asyncio.TaskGroup() as clients:
            for site in sites:
                for number in range(3):
                    clients.create_task(site.client(number))
        for task in faults:
            task.cancel()
        await asyncio.wait(faults)
        await asyncio.sleep(100)  # the longest pause of a worker, the grace, a tick and its repair
        await agree(sites, published)
        for site in rng.sample(sites, rng.choice([0, 0, 1])):
            await site.process.presence.aclose()
            assert not len(site.process.presence)
            assert not site.process.tasks
            site.wanted = Wanted()
            await asyncio.sleep(100)
            sites.remove(site)
            for channel in CHANNELS:
                members = await broker.members(channel)
                assert {m.id: m.connections for m in members} == sites[0].wanted.members(channel)
        for site in sites:
            site.leave_all()
        await asyncio.sleep(20)
        for channel in CHANNELS:
            assert await broker.members(channel) == []
        assert all(idle(site.process) for site in sites)
        if weather is not LOSSES:
            check_turns(published)

    return main


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize(
    "weather", [OUTAGES, SILENCE, LOSSES], ids=["outages", "silence", "losses"]
)
def test_in_every_order_the_broker_has_who_is_wanted(weather: Weather, part: int) -> None:
    with unwatched(part > 0):
        for seed in range(part, SCHEDULES // 3, SLICES):
            run(seed, scenario(weather), turns=200_000)
