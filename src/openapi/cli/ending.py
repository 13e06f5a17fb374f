"""How a process that serves is asked to end: to drain, and then not to wait for that."""

import asyncio
import signal
from collections.abc import Awaitable
from typing import Any

__all__ = ["Ending"]


class Ending:
    """Made by the task that starts what is served, which is cancelled where it has not done so."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._now = asyncio.Event()
        self._starting = asyncio.current_task()

    @property
    def asked(self) -> bool:
        """Whether it is to end."""
        return self._stop.is_set()

    @property
    def pressed(self) -> bool:
        """Whether it is not to wait for what still runs."""
        return self._now.is_set()

    def listen(self, *, twice: bool) -> None:
        """Take SIGINT and SIGTERM for it; with ``twice``, the second does not wait."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled if twice else self.ask)

    def started(self) -> None:
        """It serves: from now on nothing is cancelled."""
        self._starting = None

    def ask(self) -> None:
        """Have it end. Harmless the second time."""
        self._stop.set()
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()

    def press(self) -> None:
        """Have it end, and not wait for what still runs."""
        self._now.set()
        self.ask()

    async def wait(self) -> None:
        """Wait until it is asked to end."""
        await self._stop.wait()

    async def patiently(self, work: Awaitable[Any]) -> "asyncio.Future[Any]":
        """Wait for what lets go of everything, and cancel it when it is pressed. Returns it."""
        cleaning, pressed = asyncio.ensure_future(work), asyncio.create_task(self._now.wait())
        await asyncio.wait([cleaning, pressed], return_when=asyncio.FIRST_COMPLETED)
        for task in (cleaning, pressed):
            task.cancel()
        await asyncio.wait([cleaning])
        return cleaning

    def _signalled(self) -> None:
        if self.asked:
            self._now.set()
        self.ask()
