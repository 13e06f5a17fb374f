"""Lines of Python as ``ruff format`` leaves them, 100 columns wide, and as Black does.

What does not fit in a line goes into three, ``call(``, the arguments, ``)``; and if that does not
fit either, each argument has a line of its own, with a comma.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["assigned", "bracketed", "declared", "docstring", "indented", "literal", "width"]

WIDTH: Final = 100
STEP: Final = "    "


def width(text: str) -> int:
    """How many columns a line takes."""
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def indented(lines: Sequence[str]) -> list[str]:
    """Lines one level further in."""
    return [f"{STEP}{line}" if line else "" for line in lines]


def bracketed(
    before: str, arguments: Sequence[str], after: str, *, level: int, alone: bool = False
) -> list[str]:
    """``before``, the arguments, and ``after``, where ``before`` ends with an opening bracket.

    ``level`` is how far in it will be. ``alone``: a single argument is not put between two lines
    without a comma, as that of a ``def``.
    """
    room = WIDTH - level * len(STEP)
    between = ", ".join(arguments)
    if not arguments or width(before + between + after) <= room:
        return [before + between + after]
    if width(STEP + between) <= room and not (alone and len(arguments) == 1):
        return [before, STEP + between, after]
    return [before, *(f"{STEP}{argument}," for argument in arguments), after]


def assigned(left: str, right: str, *, level: int) -> list[str]:
    """``left = right``, where nothing in ``right`` can be put on lines of its own."""
    room = WIDTH - level * len(STEP)
    line = f"{left} = {right}"
    if width(line) <= room or width(STEP + right) > room:
        return [line]
    return [f"{left} = (", STEP + right, ")"]


def declared(name: str, annotation: str, *, level: int) -> list[str]:
    """``name: annotation``."""
    room = WIDTH - level * len(STEP)
    line = f"{name}: {annotation}"
    if width(line) <= room or width(STEP + annotation) > room:
        return [line]
    return [f"{name}: (", STEP + annotation, ")"]


def literal(text: str) -> str:
    """A string: in double quotes, unless single ones need fewer backslashes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    chars = (char if char in "'\"" else repr(char)[1:-1] for char in text)
    return quote + "".join(f"\\{char}" if char == quote else char for char in chars) + quote


def docstring(text: str) -> list[str]:
    """A text as the docstring of what follows; nothing where there is no text."""
    lines = _lines(text)
    if not lines:
        return []
    body = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    body = re.sub(r'^"', r"\"", body)
    if len(lines) > 1:
        return [*f'"""{body}'.split("\n"), '"""']
    return ['"""' + re.sub(r'(?<!\\)"$', r"\"", body) + '"""']


def _lines(text: str) -> list[str]:
    """The lines of a text, without what no file can have in it."""
    whole = text.encode(errors="replace").decode().expandtabs()
    lines = ["".join(filter(str.isprintable, line)).rstrip() for line in whole.splitlines()]
    return "\n".join(lines).strip().split("\n") if any(lines) else []
