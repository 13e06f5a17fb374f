"""The loop of a test that counts: whoever asks for ``loop`` runs on asyncio's, and on uvloop."""

import asyncio
from collections.abc import Callable

import pytest

from tests.counts.loops import LOOPS, CountingLoop


def pytest_asyncio_loop_factories(
    item: pytest.Function,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Called by pytest-asyncio for each test."""
    return LOOPS if "loop" in item.fixturenames else {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def loop() -> CountingLoop:
    """The loop that the test runs on, which counts."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    return loop
