"""What waits while a test goes on.

asking = begun(client.call("m"))
await all_wait()                    # it has said what it says, or waits for its turn
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

__all__ = ["all_wait", "begun"]


def begun(awaitable: Awaitable[object]) -> "asyncio.Future[Any]":
    """Begin to wait for it."""
    return asyncio.ensure_future(awaitable)


async def all_wait() -> None:
    """Let all that was begun run up to where it waits."""
    await asyncio.sleep(0)
