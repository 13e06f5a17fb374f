"""Clients in processes of their own are cut off all the time: they miss nothing unawares.

Both clients come back by themselves: to the one server whose broker is its memory, and to either of
two that share one.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from tests.coming_back.jitter import Node, jitter, programs
from tests.servers.fixtures import StartNats, StartValkey

MESSAGES: Final = 200
SEED: Final = 20_261

Nodes = Callable[[int], list[Node]]
"""Start the servers of an application that keeps so many messages."""


@pytest.fixture(params=["memory", "redis", "nats"])
def nodes(
    request: pytest.FixtureRequest, start_valkey: StartValkey, start_nats: StartNats
) -> Iterator[Nodes]:
    match request.param:
        case "redis":
            urls = [start_valkey().url] * 2
        case "nats":
            urls = [start_nats().url] * 2
        case _:
            urls = ["memory://"]
    with ExitStack() as stack:
        yield lambda history: [
            stack.enter_context(Node(url, history=history, seed=SEED + number))
            for number, url in enumerate(urls)
        ]


def turns(*sizes: int) -> list[int]:
    """Messages that are published in one go: any of these sizes, until there are enough."""
    rng = random.Random(SEED)
    chosen: list[int] = []
    while (rest := MESSAGES - sum(chosen)) > 0:
        chosen.append(min(rng.choice(sizes), rest))
    return chosen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("clients", [100, pytest.param(300, marks=pytest.mark.full)])
async def test_clients_that_are_cut_off_all_the_time_get_every_message_once_in_order(
    nodes: Nodes, node: str, clients: int
) -> None:
    found = await jitter(
        nodes(300), programs(node), clients=clients, turns=turns(1, 1, 1, 2, 5), seed=SEED
    )
    for each in found.values():
        figures = each.figures
        assert figures.expected == clients * (MESSAGES + 1)
        assert figures.delivered == figures.expected, figures
        assert (figures.flagged, figures.silent, figures.refused) == (0, 0, 0), figures
        assert (figures.repeated, figures.swapped) == (0, 0), figures
    # three times each were cut off, of which some were not subscribed yet
    assert sum(each.figures.recovered for each in found.values()) > len(found) * clients


@pytest.mark.timeout(300)
@pytest.mark.parametrize("clients", [50, pytest.param(300, marks=pytest.mark.full)])
async def test_where_history_is_too_short_clients_that_miss_something_are_told_so(
    nodes: Nodes, node: str, clients: int
) -> None:
    history = 12
    found = await jitter(
        nodes(history), programs(node), clients=clients, turns=turns(1, 1, 1, 2, 25), seed=SEED
    )
    for each in found.values():
        figures = each.figures
        assert figures.silent == 0, figures
        assert (figures.repeated, figures.swapped) == (0, 0), figures
        assert figures.delivered + figures.flagged == figures.expected, figures
        assert figures.flagged > 0, figures
        assert figures.recovered > 0, figures
        # Nobody is told that something is lost which was still there.
        assert all(len(lost) > history for lost in each.flagged), each.flagged
