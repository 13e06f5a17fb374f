"""What the command shows: for people on a terminal, one JSON document per line in a pipe."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.highlighter import JSONHighlighter
from rich.table import Table
from rich.text import Text

from openapi.errors import CallFailed
from openapi.schema import encode_json

__all__ = ["CannotWrite", "Output", "json_line", "printable"]

_highlight: Final[Callable[[Text], None]] = JSONHighlighter().highlight
_EVENT_WIDTH: Final = 10


class CannotWrite(Exception):
    """Standard output takes nothing, for another reason than that nobody reads it."""


class Output:
    """Where answers go, on stdout, and messages for people, on stderr.

    ``as_json``: one document per line on stdout, whatever stdout is. Answers raise BrokenPipeError
    when nobody reads them any more, and CannotWrite where the disk is full and the like. Messages
    raise nothing: if stderr takes none, there is nobody to be told.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.human: bool = sys.stdout.isatty() and not as_json
        self._out = _Console(highlight=False, soft_wrap=True)
        self._err = _Console(stderr=True, highlight=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """A line of text on stdout, at once."""
        with _writing():
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def abandon(self) -> None:
        """Stdout takes nothing: write no more to it, also not when the interpreter ends."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def show(self, document: object) -> None:
        """An answer."""
        if self.human:
            self.render(_rendered(document))
        else:
            self.line(json_line(document))

    def show_message(self, message: Mapping[str, Any], *, live: bool = True) -> None:
        """A published message, for people: the time, ``event`` and ``data``.

        Nobody knows the time of one that is not live.
        """
        time = f"{datetime.now():%H:%M:%S}" if live else ""
        text = Text(f"{time:8}  ", style="dim")
        text.append(f"{printable(message['event']):<{_EVENT_WIDTH}}  ", style="not dim bold cyan")
        text.append_text(_inline(message["data"]))
        self.render(text)

    def show_item(self, item: object) -> None:
        """An item of a stream, for people, in one line."""
        self.render(_inline(item))

    def render(self, renderable: RenderableType) -> None:
        """Something that was laid out for a terminal, on stdout."""
        with _writing():
            self._out.print(renderable)

    def note(self, text: str) -> None:
        """What only matters to somebody who sits there, on stderr; nothing from elsewhere."""
        if self.human and sys.stderr.isatty():
            self.log(Text(text, style="dim"))

    def question(self, method: str, payload: object) -> None:
        """What a server asks the person who sits there, on stderr."""
        self.log(Text.assemble((printable(method), "bold yellow"), "  ", _inline(payload)))

    def answered(self, method: str, payload: object, answer: str) -> None:
        """What a server asked, and was told without anybody's doing; where somebody sits there."""
        if self.human and sys.stderr.isatty():
            parts = (printable(method), "  ", _inline(payload), "  → ", printable(answer))
            self.log(Text.assemble(*parts, style="dim"))

    def log(self, text: RenderableType, *, end: str = "\n") -> None:
        """A line of a log, on stderr."""
        try:
            self._err.print(text, end=end)
        except OSError:
            self._err.quiet = True  # nobody reads it, which is no reason to stop

    def warning(self, text: str) -> None:
        """What goes on though something is wrong, on stderr."""
        self.log(Text.assemble(("Warning: ", "bold yellow"), printable(text)))

    def error(self, text: str) -> None:
        """A failure, on stderr."""
        self.log(Text.assemble(("Error: ", "bold red"), printable(text)))

    def refusal(self, error: CallFailed) -> None:
        """What a server answered instead of a response, with every faulty field, on stderr."""
        self.error(f"{error.message} ({error.code})")
        for path, text in (error.errors or {}).items():
            field = Text.assemble("  ", (printable(path), "bold"), ": ", printable(text))
            self.log(field)
        if error.data is not None:
            self.log(Text.assemble("  ", _json(error.data)))
        if error.retry_after is not None:
            self.log(Text(f"  try again in {error.retry_after / 1000:g} s", style="dim"))


class _Console(Console):
    """A console that raises BrokenPipeError, where rich's would end the process."""

    def on_broken_pipe(self) -> None:
        raise


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise CannotWrite(f"cannot write to standard output: {why}") from exc


def json_line(document: object) -> str:
    """A document in one line."""
    return encode_json(document).decode()


def printable(text: str) -> str:
    """A text from elsewhere that cannot move the cursor or change colours."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _rendered(document: object) -> RenderableType:
    if isinstance(document, list) and _are_rows(document):
        return _table(document)
    if isinstance(document, dict) and document and not any(map(_is_nested, document.values())):
        return _fields(document)
    return _json(document, indent=True)


def _are_rows(items: Sequence[object]) -> bool:
    first = items[0] if items else None
    return isinstance(first, dict) and all(
        isinstance(item, dict) and item.keys() == first.keys() for item in items
    )


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list) and len(value) > 0


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        numbers = all(isinstance(row[name], int | float) for row in rows)
        table.add_column(printable(name), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _fields(document: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in document.items():
        table.add_row(printable(name), _cell(value))
    return table


def _cell(value: object) -> Text:
    return Text(printable(value)) if isinstance(value, str) else _json(value)


def _inline(data: object) -> Text:
    if not isinstance(data, dict) or not data:
        return _json(data)
    parts = [Text.assemble((printable(name), "dim"), " ", _cell(data[name])) for name in data]
    return Text("  ").join(parts)


def _json(value: object, *, indent: bool = False) -> Text:
    text = Text(printable(json_line(value)))
    if indent:
        pretty = json.dumps(json.loads(json_line(value)), indent=2, ensure_ascii=False)
        text = Text("\n".join(map(printable, pretty.split("\n"))))
    _highlight(text)
    return text
