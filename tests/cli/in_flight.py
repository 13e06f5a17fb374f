"""Calls that are in flight when the command that serves them is asked to end.

call = await in_flight(client, "last_call")     # the server has it
process.send_signal(signal.SIGTERM)
assert await call == "answered"
"""

import asyncio
import signal
import subprocess
from typing import Any

import pytest

from openapi.client import Client
from openapi.errors import CallFailed
from tests.cli.process import ended


async def in_flight(
    client: Client, method: str, *, seen_by: Client | None = None
) -> asyncio.Task[Any]:
    """Call a method that says so on the channel ``calls``; returns when it does.

    ``seen_by`` is who hears of that, where the caller does not.
    """
    async with (seen_by or client).subscribe("calls") as calls:
        call = asyncio.create_task(client.call(method))
        await anext(calls)
    return call


async def assert_two_signals_end(
    process: "subprocess.Popen[str]", how: signal.Signals, client: Client, another: str
) -> None:
    """Have a call in flight that is never answered: the second signal does not wait for it.

    ``another`` is a method that is answered until the first one.
    """
    call = await in_flight(client, "stuck")
    process.send_signal(how)
    with pytest.raises(CallFailed):  # it is shutting down
        while True:
            await client.call(another)
    process.send_signal(how)
    with pytest.raises((ConnectionError, CallFailed)):  # gone, or told so before
        await call
    assert "Traceback" not in await asyncio.to_thread(ended, process)
