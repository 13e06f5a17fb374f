"""The commands that talk to a server: call, listen, publish."""

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from openapi.cli.answers import Answers
from openapi.cli.lines import lines
from openapi.cli.output import CannotWrite, Output
from openapi.client import (
    Backoff,
    Client,
    ClientState,
    Message,
    Position,
    PositionLost,
    Status,
    Subscription,
    TooSlow,
    connect,
)
from openapi.errors import CallFailed, ConnectionClosed, OpenApiError

__all__ = ["Stopped", "call", "listen", "run"]

_QUEUE_BYTES: Final = 64 * 1024 * 1024
"""What waits for whoever reads the output."""

_END: Final = object()


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


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
    except TooSlow:
        out.error(f"the output is read too slowly: {_QUEUE_BYTES >> 20} MiB waited for that")
    except (OpenApiError, OSError) as exc:
        out.error(str(exc))
    else:
        return 0
    return 1


async def call(
    out: Output,
    url: str,
    method: str,
    payload: object,
    *,
    timeout: float,
    given: Mapping[str, object],
) -> None:
    """Call a method and show its response, or the items of its stream as they come.

    ``timeout`` is in seconds, for the response or the first item. ``given`` is what the server is
    answered meanwhile, see :class:`Answers`.
    """
    answers = Answers(out, given)
    async with (
        _connected(url, timeout, answers) as client,
        client.stream(method, payload, queue_bytes=_QUEUE_BYTES) as stream,
    ):
        try:
            async with asyncio.timeout(timeout):
                item = await anext(stream, _END)
        except TimeoutError:
            raise TimeoutError(
                f"{method!r} was not answered within {timeout:g} seconds; --timeout gives it more"
            ) from None
        if item is _END:
            async with answers.screen:
                out.show(stream.response)
            return
        # Only now: a call that is none of a stream is made though nobody reads its response.
        async with lines(out, out.show_item, screen=answers.screen) as show:
            await show(item)
            async for item in stream:
                await show(item)


async def listen(
    out: Output,
    url: str,
    channel: str,
    event: str,
    *,
    history: int,
    count: int | None,
    timeout: float,
    given: Mapping[str, object],
) -> None:
    """Show messages, ``count`` of them or without end; first the last ``history`` that are kept.

    When the connection is lost it is made anew. What is lost or left out is said on stderr.
    ``given`` is that of :func:`call`.
    """
    answers, left, live, dropped = Answers(out, given), count, False, 0

    def render(message: Mapping[str, Any]) -> None:
        out.show_message(message, live=live)

    async with (
        lines(out, render, screen=answers.screen) as show,
        _connected(url, timeout, answers, coming_back=out) as client,
        client.subscribe(
            channel,
            event,
            timeout=timeout,
            queue_bytes=_QUEUE_BYTES,
            on_renewed=partial(_renewed, out),
        ) as messages,
    ):
        past = await _past(client, messages, history, timeout=timeout)
        out.note("listening, Ctrl-C stops")
        while left is None or left > 0:
            live = not past
            message = await _next(out, messages, dropped) if live else past.popleft()
            dropped = messages.dropped
            await show(_form(message))
            if left is not None:
                left -= 1


async def _past(
    client: Client, messages: Subscription[Any], count: int, *, timeout: float
) -> deque[Message[Any]]:
    """The last messages right before a subscription that fit it, or as many as are kept."""
    found: deque[Message[Any]] = deque()
    since = messages.position
    if since is not None:  # it is behind the first that is wanted
        since = Position(since.offset + 1, since.epoch)
    while len(found) < count:
        page = await client.history(messages.channel, since=since, reverse=True, timeout=timeout)
        if not page.messages:
            break
        fit = [each for each in page.messages if messages.pattern.matches(each.event)]
        found.extendleft(fit[: count - len(found)])
        since = page.messages[-1].position
    return found


async def _next(out: Output, messages: Subscription[Any], dropped: int) -> Message[Any]:
    """The next message, behind what is to be said; ``dropped`` was said before."""
    while True:
        try:
            message = await anext(messages)
        except PositionLost as exc:
            out.warning(
                f"messages of {exc.channel!r} are lost, nobody knows which:"
                f" it goes on behind offset {exc.offset}"
            )
        else:
            if (more := messages.dropped - dropped) > 0:
                out.warning(f"{more} messages were left out: the connection is too slow")
            return message


def _form(message: Message[Any]) -> dict[str, Any]:
    form = {"channel": message.channel, "event": message.event, "data": message.data}
    if message.position is not None:
        form["offset"] = message.position.offset
    return form


def _renewed(out: Output, messages: Subscription[Any]) -> None:
    """The connection was lost, and there is another."""
    if messages.recovered:
        out.warning("connected again, nothing was missed")
    elif messages.position is None:  # otherwise it is told by what is read
        out.warning("connected again; what was published meanwhile is missed")


def _lost(out: Output, status: Status) -> None:
    """Say that it waits for another connection."""
    if status.state is ClientState.WAITING:
        out.warning(f"{status.reason}; connecting again in {status.retry_in or 0:.1f} s")


@asynccontextmanager
async def _connected(
    url: str, timeout: float, answers: Answers, *, coming_back: Output | None = None
) -> AsyncIterator[Client]:
    """A client; with ``coming_back`` it connects again and again, and says so there."""
    client: Client | None = None
    try:
        async with connect(
            url,
            open_timeout=timeout,
            serve=answers.handlers(),
            reconnect=Backoff() if coming_back else None,
            on_state=partial(_lost, coming_back) if coming_back else None,
        ) as client:
            try:
                yield client
            finally:
                answers.end()
    except ConnectionClosed as exc:
        if client is None:
            raise ConnectionError(exc.reason) from exc
        text = f"the server closed the connection ({exc.code}{exc.reason and ', ' + exc.reason})"
        if client.reconnect is not None:
            text += f"; come back in {client.reconnect.after / 1000:g} s"
        raise ConnectionError(text) from exc


async def _until_stopped(command: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(command)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if task.cancelled():
        raise Stopped
    task.result()
