"""The command that serves an application until it is asked to stop."""

import asyncio
import errno
import inspect
import logging
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from rich.table import Table
from rich.text import Text
from yarl import URL

from openapi import __version__
from openapi.cli.load import BrokenApplication, Factory, said
from openapi.cli.output import Output, printable
from openapi.spec.operation import METHODS
from openapi.spec.routes import handlers
from openapi.ws import WsPathMixin

__all__ = ["CannotListen", "Route", "routes_of", "serve"]

#: What a request in flight is given to end at a shutdown: seconds.
_REQUEST_TIMEOUT: Final = 10.0


class CannotListen(Exception):
    """The address cannot be had. Its text says why, and what to try."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of what is served. ``method`` is ``WS`` for a WebSocket endpoint."""

    method: str
    path: str
    summary: str


async def serve(out: Output, factory: Factory, *, host: str, port: int, quiet: bool) -> None:
    """Serve until SIGINT or SIGTERM, then drain. A second signal does not wait for that.

    A signal before it serves cancels it. Raises CannotListen, and BrokenApplication where
    the application fails.
    """
    stop, now = asyncio.Event(), asyncio.Event()
    starting = asyncio.current_task()

    def asked() -> None:
        if stop.is_set():
            now.set()
        stop.set()
        if starting is not None:
            starting.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)
    app = await factory()
    runner = web.AppRunner(
        app,
        access_log=None if quiet else logging.getLogger("openapi.cli.requests"),
        access_log_class=_requests_on(out),
        shutdown_timeout=_REQUEST_TIMEOUT,
    )
    try:
        await _started(runner)
        await _listening(runner, host, port)
        starting = None
        _announce(out, _url(runner, host), list(routes_of(app)))
        await stop.wait()
        out.note("\nstopping; Ctrl-C again does not wait for what is still running")
    finally:
        cleaning, pressed = asyncio.create_task(runner.cleanup()), asyncio.create_task(now.wait())
        await asyncio.wait([cleaning, pressed], return_when=asyncio.FIRST_COMPLETED)
        for task in (cleaning, pressed):
            task.cancel()
        await asyncio.wait([cleaning])
    exc = None if cleaning.cancelled() else cleaning.exception()
    if exc is not None:
        raise BrokenApplication(f"the application did not stop well: {said(exc)}") from exc


async def _started(runner: web.AppRunner) -> None:
    try:
        await runner.setup()
    except Exception as exc:
        raise BrokenApplication(f"the application did not start: {said(exc)}") from exc


async def _listening(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except socket.gaierror as exc:
        text = f"cannot listen on {host}: {exc.strerror}; give an address of this machine as --host"
        raise CannotListen(text) from exc
    except OSError as exc:
        if exc.errno in (errno.EADDRNOTAVAIL, None):  # None: asyncio, where none was available
            advice = "give an address of this machine as --host, or 0.0.0.0 for all of them"
        else:
            advice = "try another --port"
        why = os.strerror(exc.errno or errno.EADDRNOTAVAIL)
        raise CannotListen(f"cannot listen on {host}:{port}: {why}; {advice}") from exc


def routes_of(app: web.Application) -> Iterator[Route]:
    """What an application answers, in the order of its router; HEAD goes without saying."""
    for path, method, handler in handlers(app):
        if not inspect.isclass(handler):
            if method != "HEAD":
                yield Route(method, path, _summary(handler))
            continue
        if issubclass(handler, WsPathMixin):
            yield Route("WS", path, " · ".join(handler.rpc_methods))
        for name in METHODS:
            answers = getattr(handler, name, None)
            wanted = name != "head" and method in ("*", name.upper())
            if answers is None or not wanted or answers is getattr(WsPathMixin, name, None):
                continue
            yield Route(name.upper(), path, _summary(answers))


def _summary(function: object) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _url(runner: web.AppRunner, host: str) -> URL:
    port = runner.addresses[0][1]
    # Nobody can connect to "every address".
    return URL.build(
        scheme="http", host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port=port
    )


def _announce(out: Output, url: URL, routes: list[Route]) -> None:
    if not out.human:
        shown = [{"method": r.method, "path": r.path, "summary": r.summary} for r in routes]
        out.show({"url": str(url), "routes": shown})
        return
    out.render(Text.assemble(("openapi ", "dim"), (__version__, "dim"), "  ", (str(url), "bold")))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan")
    table.add_column()
    table.add_column(style="dim", overflow="fold")
    for route in routes:
        base = url.with_scheme("ws") if route.method == "WS" else url
        where = str(base).rstrip("/") + route.path
        table.add_row(route.method, where, printable(route.summary))
    out.render(table)
    out.note("Ctrl-C stops")


def _requests_on(out: Output) -> type[AbstractAccessLogger]:
    class Requests(AbstractAccessLogger):
        """One short line for each request."""

        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            out.log(_request_line(request, response, time))

    return Requests


def _request_line(request: web.BaseRequest, response: web.StreamResponse, time: float) -> Text:
    status = response.status
    colour = "green" if status < 400 else "yellow" if status < 500 else "red"
    took = f"{time * 1000:.1f} ms" if time < 1 else f"{time:.1f} s"
    return Text.assemble(
        (f"{datetime.now():%H:%M:%S}  ", "dim"),
        (str(status), colour),
        f"  {request.method:<7} {printable(request.path_qs)}  ",
        (took, "dim"),
    )
