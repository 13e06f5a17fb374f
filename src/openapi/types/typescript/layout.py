"""Lines of TypeScript, 100 columns wide."""

import json
import re
from collections.abc import Sequence
from typing import Final

__all__ = ["bracketed", "comment", "indented", "literal", "property_name", "union"]

WIDTH: Final = 100
STEP: Final = "  "


def indented(lines: Sequence[str]) -> list[str]:
    """Lines one level further in."""
    return [f"{STEP}{line}" if line else "" for line in lines]


def bracketed(before: str, arguments: Sequence[str], after: str, *, level: int) -> list[str]:
    """``before``, the arguments, and ``after``: in one line, or an argument in each."""
    line = before + ", ".join(arguments) + after
    if len(line) <= WIDTH - level * len(STEP):
        return [line]
    return [before, *(f"{STEP}{argument}," for argument in arguments), after]


def union(before: str, members: Sequence[str], *, level: int) -> list[str]:
    """``before``, and a union as the end of a statement: in one line, or a member in each."""
    line = f"{before} {' | '.join(members)};"
    if len(line) <= WIDTH - level * len(STEP) or len(members) == 1:
        return [line]
    *others, last = (f"{STEP}| {member}" for member in members)
    return [before, *others, f"{last};"]


def literal(value: str | int | None) -> str:
    """A string, a number or null."""
    printable = not isinstance(value, str) or value.isprintable()
    return json.dumps(value, ensure_ascii=not printable)


def property_name(name: str) -> str:
    """The name of a property: in quotes, unless it is an identifier."""
    return name if re.fullmatch(r"[A-Za-z_$][\w$]*", name, re.ASCII) else literal(name)


def comment(text: str) -> list[str]:
    """A text as what says what follows; nothing where there is no text."""
    lines = text.encode(errors="replace").decode().replace("*/", "*\\/").splitlines()
    lines = ["".join(filter(str.isprintable, line)).rstrip() for line in lines]
    if not any(lines):
        return []
    if len(lines) == 1:
        return [f"/** {lines[0].strip()} */"]
    return ["/**", *(f" * {line}".rstrip() for line in lines), " */"]
