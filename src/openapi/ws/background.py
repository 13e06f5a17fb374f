"""Tasks that nobody awaits: each has an owner here, who sees its failure and lets it end."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

__all__ = ["Background", "stop"]

logger = logging.getLogger(__name__)


class Background:
    """The tasks of one manager."""

    def __init__(self) -> None:
        self.own: set[asyncio.Task[None]] = set()
        """What it started itself."""
        self.outliving: set[asyncio.Task[None]] = set()
        """Calls whose connection has ended; whoever started them sees how they fail."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something; its failure is logged."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.own.add(task)
        task.add_done_callback(self._ended)
        return task

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Take care of a task that outlives its connection."""
        self.outliving.add(task)
        task.add_done_callback(self.outliving.discard)

    async def wind_up(self, timeout: float) -> None:
        """Wait so many seconds until all have ended, and cancel those that have not."""
        if tasks := self.own | self.outliving:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            stop(late)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.own.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a background task of the sockets manager failed", exc_info=exc)


def stop(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, each once: what they clean up is not to be disturbed."""
    for task in tasks:
        if not task.cancelling():
            task.cancel()
