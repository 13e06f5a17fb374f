"""The command that serves an application until it is asked to stop."""

import inspect
import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from rich.table import Table
from rich.text import Text
from yarl import URL

from openapi import __version__
from openapi.cli.ending import Ending
from openapi.cli.listening import listen, url_of
from openapi.cli.load import BrokenApplication, Factory, said
from openapi.cli.managers import Found, check_workers, opened
from openapi.cli.output import Output, printable
from openapi.cli.station import Station
from openapi.spec.operation import METHODS
from openapi.spec.routes import handlers
from openapi.ws import WsPathMixin

__all__ = ["STOPPING", "Route", "announce", "routes_of", "serve"]

STOPPING: Final = "\nstopping; Ctrl-C again does not wait for what is still running"

#: What a request in flight is given to end at a shutdown: seconds.
_REQUEST_TIMEOUT: Final = 10.0


class Route(NamedTuple):
    """One line of what is served. ``method`` is ``WS`` for a WebSocket endpoint."""

    method: str
    path: str
    summary: str


async def serve(
    out: Output,
    factory: Factory,
    *,
    host: str,
    port: int,
    quiet: bool,
    workers: int = 1,
    station: Station | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then drain. A second signal does not wait for that.

    One of several ``workers`` has a ``station``: it is asked to end there too, and a signal is one
    however often it comes.

    A signal before it serves cancels it. Raises CannotListen; BrokenApplication where the
    application fails; Refused where it cannot be served so.
    """
    ending = Ending()
    ending.listen(twice=station is None)
    if station is not None:
        station.obey(ending)
        port = station.port
    app = await factory()
    check_workers(app, workers)
    runner = web.AppRunner(
        app,
        access_log=None if quiet else logging.getLogger("openapi.cli.requests"),
        access_log_class=_requests_on(out),
        shutdown_timeout=_REQUEST_TIMEOUT,
    )
    found: list[Found] = []
    try:
        await _started(runner)
        check_workers(app, workers)  # those that came as it started
        found = await opened(app, (station or out).warning)
        await listen(runner, host, port, shared=station is not None)
        ending.started()
        if station is not None:
            station.serving(routes_of(app))
        else:
            announce(out, url_of(host, runner.addresses[0][1]), list(routes_of(app)))
        await ending.wait()
        if station is None:
            out.note(STOPPING)
    finally:
        cleaning = await ending.patiently(_stopped(runner, found))
    exc = None if cleaning.cancelled() else cleaning.exception()
    if exc is not None:
        raise BrokenApplication(f"the application did not stop well: {said(exc)}") from exc


async def _started(runner: web.AppRunner) -> None:
    try:
        await runner.setup()
    except Exception as exc:
        raise BrokenApplication(f"the application did not start: {said(exc)}") from exc


async def _stopped(runner: web.AppRunner, found: Sequence[Found]) -> None:
    failure: Exception | None = None
    try:
        await runner.cleanup()
    except Exception as exc:
        failure = exc
    # The server drains those only that have had a socket. None of it where this is cancelled.
    for each in found:
        await each.manager.drain()
    if failure is not None:
        raise failure


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


def announce(
    out: Output, url: URL, routes: Sequence[Route], *, workers: Sequence[int] | None = None
) -> None:
    """Say what is served, where, and by which ``workers``, by their process ids."""
    if not out.human:
        document = {"url": str(url), "routes": [route._asdict() for route in routes]}
        out.show(document if workers is None else {**document, "workers": workers})
        return
    by = "" if workers is None else f"  {len(workers)} workers"
    out.render(
        Text.assemble(("openapi ", "dim"), (__version__, "dim"), "  ", (str(url), "bold"), by)
    )
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
