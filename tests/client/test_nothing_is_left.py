"""Whenever a client is closed, or cancelled: no task is left, no socket, nobody who waits."""

import asyncio
import gc
import os
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from openapi.client import Backoff, Client
from openapi.errors import ConnectionClosed
from openapi.testing import run
from tests.client.begun import all_wait
from tests.client.door import Door, VirtualDoor

Stage = Callable[[VirtualDoor, Client], Awaitable[object]]

TURNS: Final = 40
"""More than it takes to close."""


async def nothing(door: VirtualDoor, client: Client) -> None:
    """The client is about to connect."""


async def connecting(door: VirtualDoor, client: Client) -> None:
    """The server does not answer the handshake yet."""
    door.open.clear()
    await door.knocked(1)


async def unreachable(door: VirtualDoor, client: Client) -> None:
    """The network says nothing."""
    door.link.halt()
    await asyncio.sleep(1)


async def waiting(door: VirtualDoor, client: Client) -> None:
    """The next attempt is due at some time."""
    visit = await door.visit()
    door.refuse(503, Retry_After="3600")
    visit.cut()
    await door.said.then("open", "waiting", "connecting", "waiting")


async def opened(door: VirtualDoor, client: Client) -> None:
    """There is a connection."""
    await door.visit()


async def subscribed(door: VirtualDoor, client: Client) -> None:
    """Something is under way on it."""
    visit = await door.visit()
    others(client)
    for _ in range(3):
        await visit.received()


async def told(door: VirtualDoor, client: Client) -> None:
    """The server is about to close."""
    await (await door.visit()).reconnect(after=1_000_000)
    await door.said.then("open", "open")


async def moving(door: VirtualDoor, client: Client) -> None:
    """There are two connections, and the new one is asked for what the old one has."""
    old = await door.visit()
    await old.enter(client.subscribe("a"))
    new = await door.move(old)
    await new.asked("subscribe")
    await door.said.then("open", "open", "open", "open")


async def going(door: VirtualDoor, client: Client) -> None:
    """The old connection lives, and the next attempt is under way."""
    old = await door.visit()
    door.open.clear()
    await old.reconnect()
    await door.knocked(2)


STAGES: Final[list[Stage]] = [
    nothing,
    connecting,
    unreachable,
    waiting,
    opened,
    subscribed,
    told,
    moving,
    going,
]

BEGUN: Final[set[asyncio.Task[Any]]] = set()


def others(client: Client) -> list["asyncio.Task[Any]"]:
    """Tasks that wait for something of the client."""

    async def subscribe() -> None:
        async with client.subscribe("b", timeout=None) as messages:
            await anext(messages)

    waits: list[Any] = [
        client.call("m", timeout=None),
        client.call("n", timeout=None, idempotent=True),
        subscribe(),
    ]
    tasks = [asyncio.create_task(each) for each in waits]
    BEGUN.update(tasks)
    for task in tasks:
        task.add_done_callback(ended)
    return tasks


def ended(task: "asyncio.Task[Any]") -> None:
    """It waits no longer, and it is known why."""
    BEGUN.discard(task)
    assert task.cancelled() or isinstance(task.exception(), ConnectionClosed | None)


@pytest.fixture(autouse=True)
def strict() -> Any:
    """What is left over, aiohttp and asyncio tell by warnings when it is collected."""
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert not caught, [str(each.message) for each in caught]


class TestClosing:
    @pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
    def test_ends_all_that_waits(self, stage: Stage) -> None:
        async def scenario() -> None:
            async with VirtualDoor() as door:
                async with door.connect(wait_open=False, on_state=door.said) as client:
                    await stage(door, client)
                    waits = [*others(client), asyncio.create_task(client.wait_closed())]
                    await all_wait()
                    await client.close(1000, "enough")
                    door.link.heal()
                    ends = await asyncio.gather(*waits, return_exceptions=True)
                    for end in ends[:2]:
                        assert isinstance(end, ConnectionClosed)
                    assert isinstance(ends[3], ConnectionClosed)
                await asyncio.sleep(10)
                assert not door.link.connections
                gone(client)

        run(scenario())

    @pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
    @pytest.mark.parametrize("ways", ["body", "leaving", "both"])
    def test_that_is_cancelled_at_any_turn_leaves_nothing(self, stage: Stage, ways: str) -> None:
        over = [run(self.cancelled(stage, ways, turns)) for turns in range(TURNS)]
        assert over[-1]

    async def cancelled(self, stage: Stage, ways: str, turns: int) -> bool:
        """Cancel who uses the client: in its body, while it is left, or twice.

        Returns whether it was over before the last of that.
        """
        async with VirtualDoor() as door:
            clients: list[Client] = []
            waits: list[asyncio.Task[Any]] = []
            reached, body = asyncio.Event(), asyncio.Event()

            async def use() -> None:
                async with door.connect(
                    wait_open=False, on_state=door.said, close_timeout=1.0
                ) as client:
                    clients.append(client)
                    await stage(door, client)
                    waits.extend(others(client))
                    reached.set()
                    await body.wait()

            using = asyncio.create_task(use())
            await reached.wait()
            if ways == "leaving":
                body.set()
            else:
                using.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            over = using.done()
            if ways != "body":
                using.cancel()
            await asyncio.wait([using])
            door.link.heal()
            _, late = await asyncio.wait(waits, timeout=60)
            assert not late
            await asyncio.sleep(10)
            assert not door.link.connections
            gone(clients[0])
            return over

    def test_while_it_is_entered_at_any_turn_leaves_nothing(self) -> None:
        for turns in range(TURNS):
            run(self.entered(turns))

    async def entered(self, turns: int) -> None:
        """Cancel who waits for the first connection."""
        async with VirtualDoor() as door:

            async def use() -> None:
                async with door.connect():
                    await asyncio.Event().wait()

            using = asyncio.create_task(use())
            for _ in range(turns):
                await asyncio.sleep(0)
            using.cancel()
            await asyncio.wait([using])
            await asyncio.sleep(10)
            assert not door.link.connections

    @pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
    def test_twice_and_at_once_is_harmless(self, stage: Stage) -> None:
        async def scenario() -> None:
            async with VirtualDoor() as door:
                async with door.connect(wait_open=False, on_state=door.said) as client:
                    await stage(door, client)
                    door.link.heal()
                    await asyncio.gather(*(client.close(1000, str(n)) for n in range(3)))
                    await client.close()
                    assert client.closed is not None
                await asyncio.sleep(10)
                assert not door.link.connections
                gone(client)

        run(scenario())

    def test_by_whoever_is_told_of_a_state_is_harmless(self) -> None:
        async def scenario() -> None:
            async with VirtualDoor() as door:
                closing: list[asyncio.Task[None]] = []
                clients: list[Client] = []

                def close(status: object) -> None:
                    if clients:
                        closing.append(asyncio.create_task(clients[0].close()))

                async with door.connect(on_state=close) as client:
                    clients.append(client)
                    (await door.visit()).cut()
                    await client.wait_closed()
                await asyncio.gather(*closing)
                gone(client)

        run(scenario())


def gone(client: Any) -> None:
    """Nothing of it is left, whether or not it is still known."""
    client = getattr(client, "_client", client)
    assert client.closed is not None
    keeper, renewing = client._keeper, client._renewing
    assert not keeper._running
    assert keeper._connecting is None or keeper._connecting.done()
    assert not renewing._tasks and not renewing._subscriptions and not renewing._renewals
    assert not len(renewing._places)


class TestAClientThatComesBackAHundredTimes:
    @pytest.mark.parametrize("way", ["cut", "moved"])
    async def test_has_no_more_tasks_descriptors_and_objects_than_behind_the_first(
        self, way: str
    ) -> None:
        async with Door() as door:
            reconnect = Backoff(first=0.001, cap=0.001)
            async with door.connect(reconnect=reconnect) as client:
                visit = await door.visit()
                messages = await visit.enter(client.subscribe("a"))
                counts = []
                for number in range(103):
                    if way == "cut":
                        visit.cut()
                        await visit.left()
                        visit = await door.visit()
                        await visit.subscribed()
                    else:
                        old = visit
                        visit = await door.move(old)
                        await visit.subscribed()
                        assert await old.left() == 1000
                    await visit.say("a", "x", number)
                    assert (await anext(messages)).data == number
                    if number in (2, 102):
                        counts.append(await self.counted())
            assert counts[0] == counts[1]

    async def counted(self) -> dict[str, int]:
        """What there is, when all is quiet."""
        for _ in range(20):  # what ends does so in steps
            await asyncio.sleep(0)
        gc.collect()
        kinds = Counter(str(getattr(type(each), "__module__", "")) for each in gc.get_objects())
        ours = sum(count for name, count in kinds.items() if name.startswith("openapi.client"))
        return {
            "tasks": len(asyncio.all_tasks()),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "objects": ours,
        }
