"""Documents that come one after another, each shown as it comes."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from openapi.cli.output import Output, json_line

__all__ = ["Show", "lines"]

Show: TypeAlias = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def lines(
    out: Output,
    render: Callable[[Any], None],
    *,
    screen: AbstractAsyncContextManager[object],
) -> AsyncIterator[Show]:
    """How a document is shown: to people by ``render``, else as a line of JSON.

    ``screen`` is had while something is shown. A pipe is written to without blocking the loop, so
    that pings are answered; all is written when this is left, unless by a cancellation. When
    nobody reads the pipe any more, whoever is inside is cancelled, and this raises BrokenPipeError.
    """
    if _is_pipe(sys.stdout.fileno()):
        async with _pipe() as show:
            yield show
        return

    async def show_at_once(document: Any) -> None:
        async with screen:
            if out.human:
                render(document)
            else:
                out.line(json_line(document))

    yield show_at_once


def _is_pipe(fd: int) -> bool:
    """Whether whoever reads a file descriptor can go away."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@asynccontextmanager
async def _pipe() -> AsyncIterator[Show]:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    task = asyncio.current_task()
    assert task is not None
    # The end of the pipe is told at once, also when there is nothing to write.
    gone = asyncio.create_task(reader.read())
    cancelling, inside, broken = task.cancelling(), True, False

    def stop(ended: asyncio.Task[bytes]) -> None:
        nonlocal broken
        if not ended.cancelled():
            ended.exception()  # a broken pipe, or none: it is the same
            if inside:  # removing the callback would not do: it may be about to be called
                broken = True
                task.cancel()

    async def written(waiting: Awaitable[None]) -> None:
        try:
            await waiting
        except ConnectionError as exc:
            raise BrokenPipeError from exc

    async def write(document: Any) -> None:
        writer.write(json_line(document).encode() + b"\n")
        await written(writer.drain())

    async def finish() -> None:
        nonlocal inside
        inside = False
        writer.close()
        await written(writer.wait_closed())

    gone.add_done_callback(stop)
    try:
        try:
            yield write
        except Exception:
            await finish()  # what came before the failure
            raise
        await finish()
    except asyncio.CancelledError as exc:
        if broken and task.uncancel() <= cancelling:
            raise BrokenPipeError from exc
        raise
    finally:
        inside = False
        gone.cancel()
        writer.close()
        os.set_blocking(sys.stdout.fileno(), True)
