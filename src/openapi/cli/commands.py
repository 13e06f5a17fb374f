"""The commands and their options.

What a command needs is imported when it runs: each is a process of its own, and begins sooner
without the others' parts.
"""

import asyncio
import logging
import sys
import warnings
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

import click

from openapi import __version__
from openapi.cli import INTERRUPTED
from openapi.cli.arguments import (
    answer_option,
    host_of,
    json_of,
    json_option,
    key_of,
    text_of,
    timeout_option,
    url_of,
)
from openapi.cli.output import CannotWrite, Output

__all__ = ["call", "listen", "openapi", "publish", "serve", "types"]

_WITHOUT: Final = f"{__name__}.without_url"


class _Commands(click.Group):
    """Ctrl-C ends every command with its own code, also while its arguments are read."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                click.echo(err=True)  # behind the ^C of the terminal
            raise click.exceptions.Exit(INTERRUPTED) from None


class _Publish(click.Command):
    """With --broker there is no URL of a server in front of the other arguments."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        return [each for each in params if each.name != "url"] if _WITHOUT in ctx.meta else params

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        if "broker" in given:
            ctx.meta[_WITHOUT] = True
        return super().parse_args(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openapi", message="%(prog)s %(version)s")
def openapi() -> None:
    """Serve a realtime application, call it, listen to it, publish to it.

    On a terminal the output is for reading, in a pipe it is one JSON document per line.
    """


@openapi.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--host", callback=host_of, default="127.0.0.1", show_default=True, help="Address to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--loop",
    type=click.Choice(["auto", "asyncio", "uvloop"]),
    default="auto",
    show_default=True,
    help="Event loop; auto takes uvloop where it is installed.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="So many processes that share the port. Their messages need a broker that they share, as"
    " redis://… does.",
)
@click.option("--quiet", "-q", is_flag=True, help="Do not log requests.")
@json_option
def serve(
    app: str, host: str, port: int, loop: str, workers: int, quiet: bool, as_json: bool
) -> None:
    """Serve an application until Ctrl-C or SIGTERM.

    MODULE is a dotted name or the path of a file. APP is an aiohttp Application, a function or
    coroutine function that returns one, or a function like setup_app(app) that sets one up.

    \b
    openapi serve examples/monitor.py:create_app
    openapi serve package.module:app --port 9000 --workers 4
    """
    from aiohttp import web

    from openapi.cli.listening import CannotListen
    from openapi.cli.load import BrokenApplication, NoApplication, load
    from openapi.cli.managers import Refused
    from openapi.cli.serve import serve as serve_until_stopped
    from openapi.cli.station import Station
    from openapi.cli.workers import supervise

    out = Output(as_json=as_json)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s  %(levelname)s  %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    # The documented application has its manager under a string.
    warnings.simplefilter("ignore", web.NotAppKeyWarning)
    station = Station.found()
    loop_factory = _loop_factory(loop)
    try:
        if workers > 1 and station is None:
            asyncio.run(supervise(out, workers=workers, host=host, port=port))
            return
        factory = load(app)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            serving = serve_until_stopped(
                out, factory, host=host, port=port, quiet=quiet, workers=workers, station=station
            )
            runner.run(serving)
    except (NoApplication, Refused) as exc:
        if station is None:
            raise click.UsageError(str(exc)) from exc
        station.failed(str(exc), misused=True)
    except (BrokenApplication, CannotListen) as exc:
        if station is None:
            _fail(out, str(exc))
        station.failed(str(exc), misused=False)
    except CannotWrite as exc:
        out.abandon()
        _fail(out, str(exc))
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        out.abandon()


@openapi.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--python", metavar="FILE", help="Where the client in Python is written.")
@click.option("--typescript", metavar="FILE", help="Where the client in TypeScript is written.")
@click.option(
    "--check", is_flag=True, help="Write nothing, and fail where a file is not up to date."
)
@json_option
def types(app: str, python: str | None, typescript: str | None, check: bool, as_json: bool) -> None:
    """Write typed clients of the endpoints of an application.

    A file has the types of the methods and of the channels, and for each endpoint a class with a
    method for each that can be called. MODULE:APP is as for serve; it is made and not started.

    \b
    openapi types examples/monitor.py:create_app --python monitor_client.py
    openapi types package.module:app --typescript src/client.ts --check
    """
    from aiohttp import web

    from openapi.cli.load import BrokenApplication
    from openapi.cli.managers import Refused
    from openapi.cli.types import CannotWriteFile, Stale
    from openapi.cli.types import types as write_types

    given = {"python": python, "typescript": typescript}
    files = {language: path for language, path in given.items() if path}
    if not files:
        raise click.UsageError(
            "nothing is to be written: give --python FILE, --typescript FILE or both"
        )
    out = Output(as_json=as_json)
    warnings.simplefilter("ignore", web.NotAppKeyWarning)
    try:
        asyncio.run(write_types(out, app, files, check=check))
    except Refused as exc:
        raise click.UsageError(str(exc)) from exc
    except (BrokenApplication, CannotWriteFile, Stale) as exc:
        _fail(out, str(exc))
    except CannotWrite as exc:
        out.abandon()
        _fail(out, str(exc))
    except BrokenPipeError:
        out.abandon()


@openapi.command()
@click.argument("url", callback=url_of)
@click.argument("method", callback=text_of)
@click.argument("payload", callback=json_of, required=False, metavar="[JSON]")
@answer_option
@timeout_option
@json_option
def call(
    url: str,
    method: str,
    payload: object,
    answers: dict[str, object],
    timeout: float,
    as_json: bool,
) -> None:
    """Call a method and show its response.

    JSON is the payload, an object; - reads it from standard input. A stream is shown item by item,
    until its end or Ctrl-C, which cancels the call on the server.

    \b
    openapi call ws://localhost:8080/stream info
    openapi call ws://localhost:8080/stream processes '{"by": "memory"}'
    openapi call ws://localhost:8080/stream tail '{"path": "monitor.log"}'
    """
    from openapi.cli import remote

    out = Output(as_json=as_json)
    _finish(out, remote.call(out, url, method, payload, timeout=timeout, given=answers))


@openapi.command()
@click.argument("url", callback=url_of)
@click.argument("channel", callback=text_of)
@click.argument("event", callback=text_of, default="*")
@click.option(
    "--history",
    type=click.IntRange(min=1),
    metavar="N",
    help="First show the last N messages, or as many as the channel keeps.",
)
@click.option(
    "--count",
    "-n",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after N messages, those of --history among them.",
)
@answer_option
@timeout_option
@json_option
def listen(
    url: str,
    channel: str,
    event: str,
    history: int | None,
    count: int | None,
    answers: dict[str, object],
    timeout: float,
    as_json: bool,
) -> None:
    """Show the messages of a channel as they come, until Ctrl-C.

    EVENT is a pattern: * is any run of characters, ? is one, [abc] is one of these. Without it,
    every event is shown. With --answer, the server can ask something meanwhile. A connection that
    is lost is made anew. Where the channel keeps history, nothing is missed then, or stderr says
    so; and in JSON each message has its offset.

    \b
    openapi listen ws://localhost:8080/stream host
    openapi listen ws://localhost:8080/stream host 'c*' --history 10
    openapi listen ws://localhost:8080/stream questions --answer confirm='{"yes": true}'
    """
    from openapi.cli import remote

    out = Output(as_json=as_json)
    listening = remote.listen(
        out,
        url,
        channel,
        event,
        history=history or 0,
        count=count,
        timeout=timeout,
        given=answers,
    )
    _finish(out, listening, stopped=0)


@openapi.command(cls=_Publish)
@click.argument("url", callback=url_of)
@click.argument("channel", callback=text_of)
@click.argument("event", callback=text_of)
@click.argument("data", callback=json_of, metavar="JSON")
@click.option(
    "--broker",
    metavar="URL",
    help="In place of the URL of a server: that of the broker that the servers share.",
)
@click.option(
    "--app",
    metavar="MODULE:APP",
    help="With --broker: the application whose channel rules hold.",
)
@click.option(
    "--key",
    callback=key_of,
    metavar="KEY",
    help="Nothing is published if the channel had this key within 5 minutes.",
)
@timeout_option
@json_option
def publish(
    channel: str,
    event: str,
    data: object,
    broker: str | None,
    app: str | None,
    key: str | None,
    timeout: float,
    as_json: bool,
    url: str = "",
) -> None:
    """Publish a message, and show what was published.

    JSON is the data of the message, anything; - reads it from standard input.

    With --broker no server is asked, nor what it allows. The message goes to the sockets of all
    servers that share the broker, and what is shown is its position, if the channel keeps history.
    Such a channel is refused without --app: its rule says how much is kept.

    \b
    openapi publish ws://localhost:8080/stream notes note '{"text": "hello"}'
    openapi publish --broker redis://localhost notes note '{"text": "hello"}'
    """
    from openapi.cli import remote

    out = Output(as_json=as_json)
    if broker is None:
        if app is not None:
            raise click.UsageError("--app is for --broker: a server knows its own rules")
        payload = {"channel": channel, "event": event, "data": data}
        if key is not None:
            payload["key"] = key
        _finish(out, remote.call(out, url, "publish", payload, timeout=timeout, given={}))
    from aiohttp import web

    from openapi.cli import outside
    from openapi.cli.load import BrokenApplication
    from openapi.cli.managers import Refused

    # What it says of an outage is said by the failure of the command.
    logging.getLogger("openapi").addHandler(logging.NullHandler())
    warnings.simplefilter("ignore", web.NotAppKeyWarning)
    publishing = outside.publish(
        out, broker, channel, event, data, key=key, app=app, timeout=timeout
    )
    try:
        _finish(out, publishing)
    except Refused as exc:
        raise click.UsageError(str(exc)) from exc
    except BrokenApplication as exc:
        _fail(out, str(exc))


def _finish(
    out: Output, command: Coroutine[Any, Any, None], *, stopped: int = INTERRUPTED
) -> NoReturn:
    from openapi.cli import remote

    try:
        code = remote.run(command, out)
    except remote.Stopped:
        out.note("")  # behind the ^C of the terminal
        code = stopped
    sys.exit(code)


def _fail(out: Output, text: str) -> NoReturn:
    out.error(text)
    sys.exit(1)


def _loop_factory(name: str) -> Any:
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ModuleNotFoundError:
        if name == "auto":
            return None
        raise click.UsageError(
            'uvloop is not installed: pip install "aio-openapi[speed]"'
        ) from None
    return uvloop.new_event_loop
