"""What the commands take on the command line, and what they say of what they cannot take."""

import json
import math
import sys
from typing import Any, Final

import click
from yarl import URL

from openapi.cli.answers import ASK, can_ask
from openapi.errors import InvalidData
from openapi.schema import Schema, is_json

__all__ = [
    "answer_option",
    "answers_of",
    "host_of",
    "json_of",
    "json_option",
    "key_of",
    "seconds_of",
    "text_of",
    "timeout_option",
    "url_of",
]

_SHOWN: Final = 60
"""How much of a wrong argument is repeated: characters."""

_anything: Final = Schema[Any](Any)


def url_of(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """A URL, whose scheme may be left out."""
    text = value if "://" in value else f"ws://{value}"
    try:
        url = URL(text)
        known = url.scheme in ("ws", "wss", "http", "https") and _is_host(url.host or "")
    except ValueError:
        known = False
    if not known:
        raise click.BadParameter(f"{value!r} is no URL of a WebSocket: write ws://HOST:PORT/PATH")
    return text


def seconds_of(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Seconds, more than 0."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise click.BadParameter(f"{value!r} is no time to wait: give seconds, more than 0")
    return seconds


def host_of(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """An address of this machine."""
    if not _is_host(value):
        raise click.BadParameter(
            f"{value!r} is no address: give one of this machine, as 127.0.0.1, or 0.0.0.0 for all"
        )
    return value


def _is_host(name: str) -> bool:
    try:
        return bool(name.encode("idna"))  # what the resolver is asked for
    except UnicodeError:
        return False


def text_of(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Text that can be sent."""
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise click.BadParameter(f"{value!r} is not UTF-8") from exc
    return value


def key_of(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Text, or nothing."""
    return None if value is None else text_of(ctx, param, value)


def json_of(ctx: click.Context, param: click.Parameter, value: str | None) -> object:
    """JSON, or ``-`` for that of standard input."""
    if value is None:
        return None
    return _document(_standard_input() if value == "-" else value)


def _document(text: str | bytes) -> object:
    try:
        return _anything.decode(text)
    except InvalidData as exc:
        what = "standard input" if isinstance(text, bytes) else repr(_shortened(text))
        if is_json(text):
            why = str(exc)
        elif isinstance(text, bytes):
            why = _not_json(text)
        else:
            why = "quote it for the shell, as in '{\"n\": 1}'"
        raise click.BadParameter(f"{what} is no JSON: {why}") from exc


def answers_of(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, object]:
    """``METHOD=JSON``, or ``METHOD`` for which a person is asked."""
    answers: dict[str, object] = {}
    for value in values:
        method, given, text = text_of(ctx, param, value).partition("=")
        if not method:
            raise click.BadParameter(f"{value!r} names no method: write METHOD=JSON or METHOD")
        if method in answers:
            raise click.BadParameter(f"there are two answers for {method!r}: give one")
        if given:
            answers[method] = _document(text)
        elif can_ask():
            answers[method] = ASK
        else:
            raise click.BadParameter(
                f"there is no terminal on which you could be asked for {method!r}:"
                f" write {method}=JSON"
            )
    return answers


def _standard_input() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except OSError as exc:
        raise click.BadParameter(f"standard input cannot be read: {exc.strerror}") from exc


def _not_json(data: bytes) -> str:
    """Why it is none, and where."""
    if not data.strip():
        return "it is empty"
    try:
        json.loads(data.decode())
    except json.JSONDecodeError as exc:
        return f"{exc.msg}, line {exc.lineno}, column {exc.colno}"
    except UnicodeDecodeError as exc:
        return f"it is not UTF-8 at byte {exc.start}"
    except RecursionError:
        return "it is nested too deep"
    return "it has a number or a character that cannot be read"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document per line, also on a terminal."
)
timeout_option = click.option(
    "--timeout",
    callback=seconds_of,
    default="30",
    show_default=True,
    metavar="SECONDS",
    help="How long the server may take to connect, and then to answer, with a stream the first"
    " item; more than 0.",
)
answer_option = click.option(
    "--answer",
    "answers",
    callback=answers_of,
    multiple=True,
    metavar="METHOD[=JSON]",
    help="What the server is answered when it calls METHOD, or that you are asked; repeatable.",
)
