"""Figures as tables in Markdown."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from bench.figures import median, spread
from bench.sections import OPPONENTS, OURS

__all__ = [
    "NULL",
    "Figure",
    "alone",
    "beside",
    "headroom",
    "number",
    "side_by_side",
    "table",
    "titled",
]

Figure: TypeAlias = Mapping[str, Any]
"""One of the JSON: see :mod:`bench.figures`."""
Versions: TypeAlias = Mapping[str, str]

#: The server that does nothing, so that the load shows how fast it is.
NULL: Final = "null"


def number(value: float) -> str:
    """Three digits that count, or all of those before the point."""
    if value == int(value):
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, digits)}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> Iterator[str]:
    """The lines of a table; ``align`` has an ``r`` for each column of numbers."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---:' if side == 'r' else '---' for side in align)}|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"


def titled(peer: str, versions: Versions) -> str:
    """What a peer is called, with its version. ``"ours, 2 workers"`` is one of ours."""
    name, comma, variant = peer.partition(", ")
    opponent = OPPONENTS.get(name)
    if opponent is None:
        return peer
    version = versions.get(opponent.package)
    title = opponent.title if version is None else f"{opponent.title} {version}"
    return f"**{title}**{comma}{variant}" if name == OURS else f"{title}{comma}{variant}"


def alone(figures: Sequence[Figure], versions: Versions) -> Iterator[str]:
    """One table of figures that have nothing to be compared with."""
    rows = []
    for figure in figures:
        peer, values = figure["peer"], figure["values"]
        of = "" if peer == OURS else f" ({titled(peer, versions)})"
        numbers = (number(median(values)), _spread(values)) if values else ("no figure", "")
        rows.append((_sentence(figure["title"]) + of, *numbers, figure["unit"]))
    yield from table(("", "median", "spread", "unit"), rows, "-rr-")
    yield from _notes(figures, versions)


def side_by_side(figures: Sequence[Figure], versions: Versions) -> Iterator[str]:
    """The table of one workload: all peers, the best first, and what they are of ours."""
    title, unit = figures[0]["title"], figures[0]["unit"]
    ours: list[float] = next((each["values"] for each in figures if each["peer"] == OURS), [])
    rows = []
    for figure in sorted(figures, key=_rank):
        name, values = titled(figure["peer"], versions), figure["values"]
        if values:
            times = f"{number(median(values) / median(ours))}×" if ours and median(ours) else ""
            rows.append((name, number(median(values)), _spread(values), times))
        else:
            rows.append((name, "no figure", "", ""))
    yield f"{_sentence(title)}; {unit}, {_rounds(figures)}:"
    yield ""
    yield from table(("server", "median", "spread", "of ours"), rows, "-rrr")
    yield from _notes(figures, versions)


def beside(
    figures: Sequence[Figure], columns: Mapping[str, str], versions: Versions
) -> Iterator[str]:
    """One table of several workloads: a row for each peer, a column for each, medians only."""
    by_peer = dict[str, dict[str, Figure]]()
    for figure in figures:
        by_peer.setdefault(figure["peer"], {})[figure["workload"]] = figure
    there = {
        workload: head
        for workload, head in columns.items()
        if any(workload in some for some in by_peer.values())
    }
    first = next(iter(there))
    peers = sorted(
        by_peer, key=lambda peer: _rank(by_peer[peer].get(first, {"values": [], "unit": ""}))
    )
    rows = [
        (
            titled(peer, versions),
            *(_median(by_peer[peer].get(workload)) for workload in there),
        )
        for peer in peers
    ]
    yield f"Medians of {_rounds(figures)}:"
    yield ""
    yield from table(("server", *there.values()), rows, "-" + "r" * len(there))
    yield from _notes(figures, versions)


def headroom(used: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How much more the load could have done, for each workload."""
    by_workload = dict[str, list[Mapping[str, Any]]]()
    for each in used:
        by_workload.setdefault(each["what"], []).append(each)
    rows = []
    for what, some in by_workload.items():
        servers = [each for each in some if each["peer"] != NULL]
        limit = next((each["rate"] for each in some if each["peer"] == NULL), None)
        if not servers:
            continue
        fastest = max(servers, key=lambda each: float(each["rate"]))
        rows.append(
            (
                f"`{what}`",
                f"{fastest['rate']:,.0f}",
                fastest["peer"],
                "" if limit is None else f"{limit:,.0f}",
                "" if limit is None else f"{limit / fastest['rate']:.1f}×",
                f"{min(each['server'] for each in servers):.0%}",
                f"{max(each['load'] for each in servers):.0%}",
            )
        )
    yield from table(
        ("workload", "at most", "by", "with prepared bytes", "headroom", "server", "load"),
        rows,
        "-r-rrrr",
    )


def _median(figure: Figure | None) -> str:
    return number(median(figure["values"])) if figure and figure["values"] else ""


def _spread(values: Sequence[float]) -> str:
    return number(spread(values)) if len(values) > 1 else ""


def _rounds(figures: Sequence[Figure]) -> str:
    rounds = max(len(figure["values"]) for figure in figures)
    return f"{rounds} round{'s' * (rounds != 1)}"


def _rank(figure: Figure) -> float:
    values = figure["values"]
    if not values:
        return math.inf
    return -median(values) if figure["unit"].endswith("a second") else median(values)


def _notes(figures: Sequence[Figure], versions: Versions) -> Iterator[str]:
    noted = dict.fromkeys(
        f"- {titled(figure['peer'], versions)}: {figure['notes']}"
        for figure in figures
        if figure.get("notes")
    )
    if noted:
        yield ""
        yield from noted


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
