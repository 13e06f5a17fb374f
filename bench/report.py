"""The report: what was measured, as a page of the documentation.

    python -m bench.report [build/bench.json [docs/benchmarks.md]]

It is made from the JSON that ``python -m bench`` writes (see :mod:`bench.figures`), and from two
files that were written by hand: ``bench/page.md``, the frame, with a comment for each part that is
computed; and, if it is there, ``bench/missed.md``: reasons for goals that are missed, each below
the heading ``## <the goal's name>``.
"""

import json
import math
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.figures import median, spread
from bench.goals import GOALS, Goal, Medians, Outcome, medians
from bench.sections import OPPONENTS, OURS, SECTIONS, Section

__all__ = ["MISSED", "page", "reasons", "write"]

ROOT: Final = Path(__file__).parents[1]
FRAME: Final = Path(__file__).with_name("page.md")
MISSED: Final = Path(__file__).with_name("missed.md")
IMAGES: Final = "images/benchmarks"

_PART: Final = re.compile(r"^<!-- (\w+) -->$", re.MULTILINE)


def page(data: Mapping[str, Any], *, why: Mapping[str, str], plots: Iterable[str] = ()) -> str:
    """The page of what was measured. ``why`` are reasons, by the goals that are missed.

    ``plots`` are those that were drawn. Raises ValueError for a reason of a goal that is not there.
    """
    unknown = why.keys() - {goal.name for goal in GOALS}
    if unknown:
        raise ValueError(
            f"{MISSED.name} has reasons for what is no goal: {', '.join(sorted(unknown))};"
            f" the goals are: {'; '.join(goal.name for goal in GOALS)}"
        )
    machine, figures = data["machine"], data["figures"]
    versions = machine.get("versions", {})
    parts = {
        "machine": [_machine(machine)] if figures else ["Nothing was measured yet.\n"],
        "opponents": [_opponents(versions, figures)],
        "goals": _goals(medians(figures), why),
        "sections": _sections(figures, set(plots), versions),
        "headroom": _headroom(data["headroom"]),
    }
    text = _PART.sub(lambda found: "\n".join(parts[found[1]]), FRAME.read_text())
    return re.sub(r"\n{3,}", "\n\n", text)


def reasons(text: str) -> dict[str, str]:
    """Reasons by the name of the goal, of a text with a heading for each."""
    _, *parts = re.split(r"^## +(.+?) *$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


def write(measured: Path, report: Path) -> None:
    """Write the page, and the plots beside it.

    Raises ValueError as :func:`page`, and CalledProcessError where the plots cannot be drawn.
    """
    data: dict[str, Any] = json.loads(measured.read_text())
    why = reasons(MISSED.read_text()) if MISSED.exists() else {}
    plots = _draw(measured, report.parent / IMAGES) if data["figures"] else []
    report.write_text(page(data, why=why, plots=plots))


def _draw(measured: Path, folder: Path) -> list[str]:
    from bench.peers import peer_python

    command: list[str | Path] = [peer_python(), "-m", "bench.plots"]
    command += [measured.resolve(), folder.resolve()]
    return subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.split()


def _title(peer: str, versions: Mapping[str, str]) -> str:
    opponent = OPPONENTS.get(peer)
    if opponent is None:
        return peer
    version = versions.get(opponent.package)
    return opponent.title if version is None else f"{opponent.title} {version}"


def _machine(machine: Mapping[str, Any]) -> str:
    versions = machine.get("versions", {})
    of = ", ".join(
        f"{name} {versions[name]}" for name in ("aiohttp", "msgspec") if name in versions
    )
    facts = {
        "Processor": f"{machine['cpu']}, {machine['cores']} cores",
        "Kernel": machine["kernel"],
        "Python": f"{machine['python']}, uvloop {machine['uvloop']}" + (f", {of}" if of else ""),
        "Node.js": machine["node"] or "none",
        "Date": machine["date"],
    }
    lines = ["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items())]
    if notes := machine.get("notes"):
        lines.append(f"| Note | {notes} |")
    return "\n".join(lines) + "\n"


def _opponents(versions: Mapping[str, str], figures: Sequence[Mapping[str, Any]]) -> str:
    there = {figure["peer"] for figure in figures}
    rows = [
        (_bold(_title(peer, versions), peer), opponent.what)
        for peer, opponent in OPPONENTS.items()
        if not there or peer in there
    ]
    return "\n".join(
        ("## What is compared", "", *_table(("server", "what it does"), rows, "--"), "")
    )


def _goals(of: Medians, why: Mapping[str, str]) -> Iterator[str]:
    outcomes = {goal: goal.outcome(of) for goal in GOALS}
    measured = [outcome for outcome in outcomes.values() if outcome is not Outcome.NOT_MEASURED]
    met = measured.count(Outcome.MET)
    yield "## Goals\n"
    count = f" {met} of the {len(measured)} that were measured are met." if measured else ""
    yield (
        f"What the project wants of itself.{count}"
        " *Beside* means the median of this project's server divided by that of the other: below 1"
        " it costs less.\n"
    )
    rows = [
        (goal.name, _bound(goal), _measured(goal, of), _outcome(outcome))
        for goal, outcome in outcomes.items()
    ]
    yield "\n".join((*_table(("goal", "wanted", "measured", ""), rows, "-rr-"), ""))
    for goal, outcome in outcomes.items():
        if outcome is Outcome.MISSED and goal.name in why:
            yield f"### {goal.name}: why it is missed\n\n{why[goal.name]}\n"


def _bound(goal: Goal) -> str:
    least = "≥" if goal.at_least else "≤"
    return f"{least} {goal.bound:,g}{goal.unit}"


def _measured(goal: Goal, of: Medians) -> str:
    value = goal.measure(of)
    return "" if value is None else f"{_number(value)}{goal.unit}"


def _outcome(outcome: Outcome) -> str:
    return f"**{outcome.value}**" if outcome is Outcome.MISSED else outcome.value


def _sections(
    figures: Sequence[Mapping[str, Any]], plots: Collection[str], versions: Mapping[str, str]
) -> Iterator[str]:
    left = list(figures)
    for section in SECTIONS:
        own = [figure for figure in left if figure["workload"].startswith(section.ids)]
        left = [figure for figure in left if figure not in own]
        if own:
            yield _section(section, own, plots, versions)


def _section(
    section: Section,
    figures: Sequence[Mapping[str, Any]],
    plots: Collection[str],
    versions: Mapping[str, str],
) -> str:
    lines = [f"## {section.heading}", "", section.about, ""]
    for name, shown in section.plots.items():
        if name in plots:
            lines += [f"![{shown}.]({IMAGES}/{name}.svg)", ""]
    by_workload = dict[str, list[Mapping[str, Any]]]()
    for figure in figures:
        by_workload.setdefault(figure["workload"], []).append(figure)
    alone = [some[0] for some in by_workload.values() if len(some) == 1]
    if alone:
        lines += [*_alone(alone, versions), ""]
    for some in by_workload.values():
        if len(some) > 1:
            lines += [*_side_by_side(some, versions), ""]
    return "\n".join(lines)


def _alone(figures: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> Iterator[str]:
    rows = []
    for figure in figures:
        peer, values = figure["peer"], figure["values"]
        of = "" if peer == OURS else f" ({_title(peer, versions)})"
        numbers = (_number(median(values)), _number(spread(values))) if values else ("", "")
        rows.append((_sentence(figure["title"]) + of, *numbers, figure["unit"]))
    yield from _table(("", "median", "spread", "unit"), rows, "-rr-")
    yield from _notes(figures, versions)


def _side_by_side(
    figures: Sequence[Mapping[str, Any]], versions: Mapping[str, str]
) -> Iterator[str]:
    title, unit = figures[0]["title"], figures[0]["unit"]
    ours: list[float] = next((figure["values"] for figure in figures if figure["peer"] == OURS), [])
    rows = []
    for figure in sorted(figures, key=_cost):
        peer, values = figure["peer"], figure["values"]
        name = _bold(_title(peer, versions), peer)
        if not values:
            rows.append((name, "no figure", "", ""))
            continue
        times = f"{_number(median(values) / median(ours))}×" if ours and median(ours) else ""
        rows.append((name, _number(median(values)), _number(spread(values)), times))
    rounds = max(len(figure["values"]) for figure in figures)
    yield (
        f"{_sentence(title)}; {unit}, {rounds} rounds:"
        if rounds > 1
        else (f"{_sentence(title)}; {unit}:")
    )
    yield ""
    yield from _table(("server", "median", "spread", "of ours"), rows, "-rrr")
    yield from _notes(figures, versions)


def _cost(figure: Mapping[str, Any]) -> float:
    values = figure["values"]
    return median(values) if values else float("inf")


def _notes(figures: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> Iterator[str]:
    noted = [figure for figure in figures if figure.get("notes")]
    if noted:
        yield ""
    for figure in noted:
        yield f"- {_title(figure['peer'], versions)}: {figure['notes']}"


def _headroom(headroom: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not headroom:
        return
    by_workload = dict[str, list[Mapping[str, Any]]]()
    for each in headroom:
        by_workload.setdefault(each["what"], []).append(each)
    rows = []
    for what, some in by_workload.items():
        busiest = max(some, key=lambda each: float(each["load"]))
        rows.append(
            (
                f"`{what}`",
                f"{busiest['load']:.0%}",
                busiest.get("peer", ""),
                f"{min(each['server'] for each in some):.0%}",
            )
        )
    yield "### The load has time left\n"
    yield (
        "A load that is too slow would let a server wait, and wait with more to do at once than it"
        " would have had. The part of its core that the load used, at most, and beside which server"
        " that was; and what the least busy server used of its own.\n"
    )
    head = ("workload", "load, at most", "beside", "server, at least")
    yield "\n".join((*_table(head, rows, "-r-r"), ""))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---:' if side == 'r' else '---' for side in align)}|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"


def _bold(text: str, peer: str) -> str:
    return f"**{text}**" if peer == OURS else text


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(value: float) -> str:
    """Three digits that count, or all of those before the point."""
    if value == int(value):
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, digits)}f}"


def main(arguments: Sequence[str]) -> int:
    """See the head of the file. Returns the exit status."""
    paths = [Path(argument) for argument in arguments]
    measured, report = [
        *paths,
        *(ROOT / "build/bench.json", ROOT / "docs/benchmarks.md")[len(paths) :],
    ]
    if not measured.exists():
        print(f"there is no {measured}: make bench writes it", file=sys.stderr)
        return 1
    write(measured, report)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
