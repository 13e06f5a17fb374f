"""The commands that talk to a server: call, listen, publish."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from openapi.cli.output import CannotWrite, Output, is_pipe, json_line
from openapi.client import Client, connect
from openapi.errors import CallFailed, ConnectionClosed, OpenApiError

__all__ = ["Stopped", "call", "listen", "run"]

Show: TypeAlias = Callable[[str, str, Any], Awaitable[None]]


class Stopped(Exception):
    """Ctrl-C or SIGTERM, or nobody reads what is shown."""


def run(command: Coroutine[Any, Any, None], out: Output) -> int:
    """Run a command; returns its exit code. Raises Stopped."""
    try:
        asyncio.run(_until_stopped(command))
    except BrokenPipeError:
        out.abandon()
        return 0
    except CannotWrite as exc:
        out.abandon()
        out.error(str(exc))
    except CallFailed as exc:
        out.refusal(exc)
    except (OpenApiError, OSError) as exc:
        out.error(str(exc))
    else:
        return 0
    return 1


async def call(out: Output, url: str, method: str, payload: object, *, timeout: float) -> None:
    """Call a method and show its response."""
    async with _connected(url, timeout) as client:
        out.show(await client.call(method, payload, timeout=timeout))


async def listen(
    out: Output, url: str, channel: str, event: str, *, count: int | None, timeout: float
) -> None:
    """Show messages, ``count`` of them or without end."""
    async with (
        _lines(out) as show,
        _connected(url, timeout) as client,
        client.subscribe(channel, event, timeout=timeout) as messages,
    ):
        out.note("listening, Ctrl-C stops")
        left = count
        async for message in messages:
            await show(message.channel, message.event, message.data)
            if left is not None:
                left -= 1
                if not left:
                    break


@asynccontextmanager
async def _connected(url: str, timeout: float) -> AsyncIterator[Client]:
    client: Client | None = None
    try:
        async with connect(url, open_timeout=timeout) as client:
            yield client
    except ConnectionClosed as exc:
        if client is None:
            raise ConnectionError(exc.reason) from exc
        text = f"the server closed the connection ({exc.code}{exc.reason and ', ' + exc.reason})"
        if client.reconnect is not None:
            text += f"; come back in {client.reconnect.after / 1000:g} s"
        raise ConnectionError(text) from exc


@asynccontextmanager
async def _lines(out: Output) -> AsyncIterator[Show]:
    """How a message is shown; in a pipe without blocking the loop, so that pings are answered."""
    if not is_pipe(sys.stdout.fileno()):

        async def show(channel: str, event: str, data: Any) -> None:
            if out.human:
                out.show_message(event, data)
            else:
                out.line(json_line({"channel": channel, "event": event, "data": data}))

        yield show
        return
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    async def write(channel: str, event: str, data: Any) -> None:
        line = json_line({"channel": channel, "event": event, "data": data})
        writer.write(line.encode() + b"\n")
        await writer.drain()

    # The end of the pipe is told at once, also when there is nothing to write.
    task, gone = asyncio.current_task(), asyncio.create_task(reader.read())

    def stop(ended: asyncio.Task[bytes]) -> None:
        if not ended.cancelled() and task is not None:
            ended.exception()  # a broken pipe, or none: it is the same
            task.cancel()

    gone.add_done_callback(stop)
    try:
        yield write
        await writer.drain()
    finally:
        gone.cancel()
        transport.close()
        os.set_blocking(sys.stdout.fileno(), True)


async def _until_stopped(command: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(command)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if task.cancelled():
        raise Stopped
    task.result()
