"""An event loop in a thread of its own, for callers that have none.

loop = LoopThread("openapi client")
loop.run(coroutine)                 # blocks, and returns or raises what the coroutine does
loop.close()
"""

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from openapi.errors import CloseCode, ConnectionClosed

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for any number of threads. The thread is a daemon: nobody waits for it.

    Whatever is not over when it is closed is cancelled.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether somebody closed it."""
        return self._closed

    @property
    def gone(self) -> bool:
        """Whether it runs nothing any more, though nobody closed it.

        Threads are not there in a process that was forked, nor when the interpreter ends.
        """
        return sys.is_finalizing() or os.getpid() != self._process

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there; cancels it if waiting for it is interrupted, by Ctrl-C.

        Raises what it raises, ConnectionClosed behind :meth:`close`, and RuntimeError in the thread
        itself, and where that is gone.
        """
        if self.gone:
            coroutine.close()
            raise RuntimeError(
                "the thread of this client is not there any more: the interpreter ends, or the"
                " process was forked; connect in the process that uses the client"
            )
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "a callback of the client may not wait for the client: it runs in the thread that"
                " would do the work; hand it to another one, for instance by a queue"
            )
        with self._lock:
            if self._closed:
                coroutine.close()
                raise ConnectionClosed(CloseCode.NORMAL, "this client is closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C: nobody waits for it any more
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread. Harmless the second time, and where it is gone."""
        if self.gone:
            return
        with self._lock:
            if not self._closed:
                self._closed = True  # what was begun before is a task by the time it stops
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        loop = self._loop
        try:
            loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
