"""What every broker is held to whatever becomes of its server.

    class TestOutages(Ending, Disconnecting, Forgetting):
        '''A Redis server.'''

    @pytest.fixture
    def start(start_valkey: StartValkey) -> Start: ...

The fixture starts a server of one kind, as a :class:`Scene`. Real servers, real sockets, two
servers of one application with three clients each. What is lost on a channel with history is heard
later or flagged, never lost silently: everything that was acknowledged is compared with what each
client heard and was told. The figures are in the output.
"""

import asyncio
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from functools import partial
from typing import Any, ClassVar, Final, Protocol

import pytest

from openapi.ws import Broker
from tests.servers.process import Server
from tests.ws.brokers.stage import (
    BACK,
    HISTORY,
    Play,
    assert_nothing_silent,
    open_files,
    stage,
    until,
)
from tests.ws.brokers.tampering import Tampering, tampering

__all__ = ["Connections", "Disconnecting", "Ending", "Forgetting", "Kept", "Scene", "Start"]

#: Messages that nobody hears, and fewer than there is history.
_UNHEARD: Final = 20


class Kept(Enum):
    """What of its messages a server has when it was killed and started again."""

    NOTHING = "nothing"
    WRITTEN = "all that it wrote"
    SYNCED = "all that it acknowledged, even if the machine went down"


class Connections(Enum):
    """Which connections of a broker. They may be the same one."""

    HEARING = "those by which it hears"
    ASKING = "those by which it publishes and reads"
    ALL = "all"


class Scene(ABC):
    """A server, and what can be done to brokers on it. ``options`` are those of every broker."""

    connections: ClassVar[int]
    """How many two brokers have."""
    hears_apart: ClassVar[bool]
    """Whether a broker hears by one connection, and publishes by another."""

    relay: Tampering
    """What :meth:`relayed` has between the brokers and the server."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.server = server
        self.options = options

    @abstractmethod
    def broker(self, port: int, **options: Any) -> Broker:
        """A broker of the server, which it finds at a port of loopback."""

    @abstractmethod
    def deafen(self) -> None:
        """Lose what is published from now on, and is acknowledged, on the relayed connections.

        Those that are made later are sound.
        """

    @abstractmethod
    async def end(self, which: Connections) -> None:
        """End connections that are relayed."""

    def connected(self) -> int:
        """How many connections brokers have."""
        return self.relay.carried

    @abstractmethod
    async def lose_stream(self, how: str) -> None:
        """Have the server forget the stream of the channel: its messages and their numbers."""

    @abstractmethod
    async def lose_messages(self) -> None:
        """Have the server forget the messages of the channel, and not their numbers."""

    @asynccontextmanager
    async def direct(self, **options: Any) -> AsyncIterator[Play]:
        """Brokers connect to the server itself."""
        options = {**self.options, **options}
        async with stage(lambda: self.broker(self.server.port, **options)) as play:
            yield play

    @asynccontextmanager
    async def relayed(self, **options: Any) -> AsyncIterator[Play]:
        """Brokers connect to a relay."""
        options = {**self.options, **options}
        async with (
            tampering(self.server.port) as self.relay,
            stage(lambda: self.broker(self.relay.port, **options)) as play,
        ):
            assert self.relay.connections == self.connections
            yield play

    @asynccontextmanager
    async def unheard(self, count: int, **options: Any) -> AsyncIterator[Play]:
        """Brokers connect to a relay, and have not heard so many of the newest messages."""
        async with self.relayed(**options) as play:
            await play.go_on()
            self.deafen()
            await play.ledger.publish_many(play.managers, count)
            yield play


class Start(Protocol):
    """Start a server that keeps so much, or as much as one does that is told nothing about it."""

    def __call__(self, kept: Kept | None = None) -> Scene: ...


class Ending:
    """The server dies and comes back, or stands still."""

    async def test_a_server_that_was_killed_and_kept_everything_costs_a_flag_at_most(
        self, start: Start
    ) -> None:
        scene = start(Kept.WRITTEN)
        async with scene.direct() as play:
            await play.go_on()
            scene.server.kill()
            await play.notices()
            scene.server.start()
            figures = await play.recovers()
        assert_nothing_silent(play, figures, "kill -9")
        assert figures.told == len(play.witnesses)

    async def test_a_server_that_is_trusted_to_keep_everything_costs_nothing(
        self, start: Start
    ) -> None:
        scene = start(Kept.SYNCED)
        async with scene.direct(trust_restarts=True) as play:
            await play.go_on()
            scene.server.kill()
            await play.notices()
            scene.server.start()
            figures = await play.recovers()
        assert_nothing_silent(play, figures, "kill -9, trusted")
        assert (figures.told, figures.heard) == (0, figures.expected)

    @pytest.mark.parametrize("kept", [Kept.NOTHING, Kept.WRITTEN], ids=["nothing kept", "all kept"])
    @pytest.mark.parametrize("trusted", [False, True], ids=["", "trusted"])
    async def test_what_nobody_heard_before_the_server_was_killed_is_heard_later_or_flagged(
        self, start: Start, kept: Kept, trusted: bool
    ) -> None:
        scene = start(kept)
        async with scene.unheard(_UNHEARD, trust_restarts=trusted) as play:
            scene.server.kill()
            await play.notices()
            scene.server.start()
            figures = await play.recovers()
        what = f"kill -9, {_UNHEARD} unheard, kept {kept.value}, {trusted=}"
        assert_nothing_silent(play, figures, what)
        if trusted and kept is not Kept.NOTHING:
            assert (figures.told, figures.flagged) == (0, 0)
        else:
            # And what one server published before the other one had found its way back.
            assert figures.told == len(play.witnesses)
            assert figures.flagged >= _UNHEARD * len(play.witnesses)

    @pytest.mark.parametrize("seconds", [0, pytest.param(10, marks=pytest.mark.full)])
    async def test_a_server_that_stands_still_is_noticed_and_found_again(
        self, start: Start, seconds: float
    ) -> None:
        scene = start()
        async with scene.direct() as play:
            await play.go_on()
            scene.server.pause()
            began = time.perf_counter()
            await play.notices()
            noticed = time.perf_counter() - began
            await asyncio.sleep(seconds)  # so long it stands still
            await play.holds_out()
            scene.server.resume()
            figures = await play.recovers()
        sys.stdout.write(f"noticed after {noticed:.2f} s\n")
        assert_nothing_silent(play, figures, f"stopped for {seconds} s more")
        assert (figures.told, figures.heard) == (0, figures.expected)


class Disconnecting:
    """Connections end, or carry nothing any more."""

    @pytest.fixture
    def ended(self) -> Connections:
        """Which connections end."""
        return Connections.ALL

    async def test_connections_that_end_are_made_anew_and_nothing_is_lost(
        self, start: Start, ended: Connections
    ) -> None:
        scene = start()
        async with scene.relayed() as play:
            await play.go_on()
            await scene.end(ended)
            figures = await play.recovers()
            assert scene.relay.connections == scene.connections + 2
        assert_nothing_silent(play, figures, f"connections ended: {ended.value}")
        assert (figures.told, figures.heard) == (0, figures.expected)

    async def test_messages_that_come_while_nobody_hears_are_read_from_history(
        self, start: Start
    ) -> None:
        scene = start()
        async with scene.unheard(50) as play:
            await scene.end(Connections.HEARING)
            figures = await play.recovers()
        assert_nothing_silent(play, figures, "50 messages unheard, then connections ended")
        assert (figures.told, figures.heard) == (0, figures.expected)

    async def test_more_was_missed_than_there_is_history_and_everybody_is_told(
        self, start: Start
    ) -> None:
        scene, unheard = start(), HISTORY + 100
        async with scene.unheard(unheard) as play:
            await scene.end(Connections.HEARING)
            figures = await play.recovers()
        assert_nothing_silent(play, figures, f"{unheard} messages unheard of {HISTORY} kept")
        assert figures.told == len(play.witnesses)
        assert figures.flagged > 0

    async def test_a_bus_that_is_alive_and_delivers_nothing_is_replaced(self, start: Start) -> None:
        scene, interval = start(), 0.3
        async with scene.relayed(probe_interval=interval) as play:
            relay = scene.relay
            await play.go_on()
            before = relay.connections
            assert relay.swallow() == 2
            began = time.perf_counter()
            if scene.hears_apart:
                await play.ledger.publish_many(play.managers, _UNHEARD)
            await until(lambda: relay.connections == before + 2)
            found = time.perf_counter() - began
            figures = await play.recovers()
            assert relay.connections == before + 2
        sys.stdout.write(f"found and replaced after {found:.2f} s, probed every {interval} s\n")
        assert_nothing_silent(play, figures, "alive, and delivers nothing")
        assert (figures.told, figures.heard) == (0, figures.expected)
        assert found < interval + 1 + BACK

    async def test_after_many_reconnections_there_are_as_many_connections_and_files_as_before(
        self, start: Start
    ) -> None:
        scene, many = start(), 20
        async with scene.relayed() as play:
            relay, connections = scene.relay, scene.connections
            await play.go_on()
            assert scene.connected() == connections
            files, tasks = open_files(), len(asyncio.all_tasks())
            for ever in range(2 * connections, connections + many + 1, connections):
                await scene.end(Connections.ALL)
                await until(partial(_has_had, relay, ever))
                await play.until(lambda: not any(each.outage for each in play.managers))
                await play.go_on(2)
            await until(lambda: relay.carried == connections)
            assert scene.connected() == connections
            assert open_files() == files
            assert len(asyncio.all_tasks()) == tasks
            figures = await play.recovers()
        assert_nothing_silent(play, figures, f"{many} reconnections")
        assert (figures.told, figures.heard) == (0, figures.expected)


def _has_had(relay: Tampering, connections: int) -> bool:
    """Whether there were so many connections, ever."""
    return relay.connections == connections


class Forgetting:
    """What the server keeps is lost."""

    @pytest.fixture
    def lost(self) -> str:
        """How the stream is lost."""
        return "the stream deleted"

    async def test_a_stream_that_is_lost_is_new_at_once_and_flagged_to_everybody(
        self, start: Start, lost: str
    ) -> None:
        scene = start()
        async with scene.direct() as play:
            await play.go_on()
            await scene.lose_stream(lost)
            figures = await play.recovers()
            assert play.ledger.refused == 0
        assert_nothing_silent(play, figures, lost)
        assert figures.told == len(play.witnesses)
        # All that was published is live, and nothing was missed.
        assert figures.heard == figures.expected

    async def test_messages_that_are_lost_before_they_were_heard_are_flagged(
        self, start: Start
    ) -> None:
        scene = start()
        async with scene.unheard(_UNHEARD) as play:
            await scene.lose_messages()
            await scene.end(Connections.HEARING)
            figures = await play.recovers()
        assert_nothing_silent(play, figures, f"{_UNHEARD} messages unheard, and they are lost")
        assert figures.flagged >= _UNHEARD * len(play.witnesses)
