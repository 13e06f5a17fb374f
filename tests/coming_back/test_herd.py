"""Clients that lose their server all at once come back soon, and do not storm it.

What they wait is what clients wait by default. Each was subscribed, and hears what is published
when all are back.
"""

import resource
from collections.abc import Iterator
from typing import Final

import pytest

from tests.coming_back.herd import Figures, HerdServer, grazing, share

AWAY: Final = 2.0
"""Seconds in which nobody listens: about what it takes to start a server."""

MOVING: Final = 0.5
"""The same, where another was started before the server ended."""

WITHIN: Final = 10.0
"""Seconds in which all are back."""

MOST: Final = 0.15
"""The part of the attempts that may be made in any 100 ms."""


@pytest.fixture(autouse=True)
def open_files() -> Iterator[None]:
    """A connection is a file, and many systems let a process have a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"allow {wanted} files: ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def servers() -> Iterator[tuple[HerdServer, HerdServer]]:
    """One, and another to take its place."""
    with HerdServer() as server, HerdServer(server.port) as successor:
        yield server, successor


def judge(figures: Figures) -> None:
    """All came back in time, each for itself, and once."""
    assert figures.back <= WITHIN, figures
    assert figures.most <= MOST, figures
    assert figures.renewed == figures.heard == figures.clients, figures


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("clients", "away"),
    [
        (500, AWAY),
        pytest.param(500, 5.0, marks=pytest.mark.full),
        pytest.param(2000, AWAY, marks=pytest.mark.full),
    ],
)
async def test_clients_whose_server_is_killed_and_started_again_are_soon_back(
    servers: tuple[HerdServer, HerdServer], clients: int, away: float
) -> None:
    server, successor = servers
    async with grazing(server, clients=clients) as herd:
        await herd.kill(successor, away=away)
        judge(await herd.comes_back())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("clients", [500, pytest.param(2000, marks=pytest.mark.full)])
async def test_clients_whose_server_ends_in_order_move_to_the_one_that_takes_its_place(
    servers: tuple[HerdServer, HerdServer], clients: int
) -> None:
    server, successor = servers
    async with grazing(server, clients=clients) as herd:
        await herd.stop(successor, away=MOVING)
        judge(await herd.comes_back())


def test_the_100_ms_that_had_most_may_begin_at_any_attempt() -> None:
    assert share([0.0, 0.09, 0.11, 0.15, 0.18, 5.0, 6.0, 7.0, 8.0, 9.0]) == 0.4
