"""Tasks that nobody need await: who began them has them here, and how one fails is seen."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

__all__ = ["Tasks"]

logger = logging.getLogger("openapi.client")


class Tasks:
    """The tasks of one owner, until they are done.

    A failure is logged as ``failed``, unless it is ``told``, to somebody else.
    """

    def __init__(self, failed: str, *, told: type[Exception] | tuple[()] = ()) -> None:
        self._failed: Final = failed
        self._told: Final = told
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def wait(self) -> None:
        """Wait until there are none."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Cancel them, and wait until there are none."""
        for task in self._tasks:
            task.cancel()
        await self.wait()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        exc = None if task.cancelled() else task.exception()
        if exc is not None and not isinstance(exc, self._told):
            logger.error(self._failed, exc_info=exc)
