"""The report: what was measured, as a page of the documentation.

    python -m bench.report [build/bench.json [docs/benchmarks.md]]

It is made from the JSON that ``python -m bench`` writes (see :mod:`bench.figures`), and from two
files that were written by hand: ``bench/page.md``, the frame, with a comment for each part that is
computed; and, if it is there, ``bench/missed.md``: reasons for goals that are missed, each below
the heading ``## <the goal's name>``.
"""

import json
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.goals import GOALS, Goal, Medians, Outcome, medians
from bench.sections import OPPONENTS, SECTIONS, Section
from bench.tables import NULL, Figure, alone, beside, headroom, number, side_by_side, table, titled

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
        "goals": [*_goals(medians(figures), why), *_failed(figures)],
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


def _machine(machine: Mapping[str, Any]) -> str:
    versions = machine.get("versions", {})
    of = ", ".join(
        f"{name} {versions[name]}" for name in ("aiohttp", "msgspec") if name in versions
    )
    facts = {
        "Processor": f"{machine['cpu']}, cores: {machine['cores']}",
        "Load of the machine before": f"{machine.get('load', 'unknown')}",
        "Kernel": machine["kernel"],
        "Python": f"{machine['python']}, uvloop {machine['uvloop']}" + (f", {of}" if of else ""),
        "Node.js": machine["node"] or "none",
        "Date": machine["date"],
    }
    lines = ["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts.items())]
    if notes := machine.get("notes"):
        lines.append(f"| Note | {notes} |")
    return "\n".join(lines) + "\n"


def _opponents(versions: Mapping[str, str], figures: Sequence[Figure]) -> str:
    there = {figure["peer"] for figure in figures}
    rows = [
        (titled(peer, versions), opponent.what)
        for peer, opponent in OPPONENTS.items()
        if not there or peer in there
    ]
    return "\n".join(
        ("## What is compared", "", *table(("server", "what it does"), rows, "--"), "")
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
    yield "\n".join((*table(("goal", "wanted", "measured", ""), rows, "-rr-"), ""))
    for goal, outcome in outcomes.items():
        if outcome is Outcome.MISSED and goal.name in why:
            yield f"### {goal.name}: why it is missed\n\n{why[goal.name]}\n"


def _failed(figures: Sequence[Figure]) -> Iterator[str]:
    failed = [
        f"`{figure['workload']}` with {figure['peer']} ({figure['failures']})"
        for figure in figures
        if figure.get("failures")
    ]
    if failed:
        yield (
            f"Rounds failed, and are in no median: {', '.join(failed)}. The notes below the tables"
            " say how.\n"
        )


def _bound(goal: Goal) -> str:
    least = "≥" if goal.at_least else "≤"
    return f"{least} {goal.bound:,g}{goal.unit}"


def _measured(goal: Goal, of: Medians) -> str:
    value = goal.measure(of)
    return "" if value is None else f"{number(value)}{goal.unit}"


def _outcome(outcome: Outcome) -> str:
    return f"**{outcome.value}**" if outcome is Outcome.MISSED else outcome.value


def _sections(
    figures: Sequence[Figure], plots: Collection[str], versions: Mapping[str, str]
) -> Iterator[str]:
    left = [figure for figure in figures if figure["peer"] != NULL]
    for section in SECTIONS:
        own = [figure for figure in left if figure["workload"].startswith(section.ids)]
        left = [figure for figure in left if figure not in own]
        if own:
            yield _section(section, own, plots, versions)


def _section(
    section: Section, figures: Sequence[Figure], plots: Collection[str], versions: Mapping[str, str]
) -> str:
    lines = [f"## {section.heading}", "", section.about, ""]
    for name, shown in section.plots.items():
        if name in plots:
            lines += [f"![{shown}.]({IMAGES}/{name}.svg)", ""]
    columns = [figure for figure in figures if figure["workload"] in section.columns]
    if columns:
        lines += [*beside(columns, section.columns, versions), ""]
    by_workload = dict[str, list[Figure]]()
    for figure in figures:
        if figure not in columns:
            by_workload.setdefault(figure["workload"], []).append(figure)
    single = [some[0] for some in by_workload.values() if len(some) == 1]
    if single:
        lines += [*alone(single, versions), ""]
    for some in by_workload.values():
        if len(some) > 1:
            lines += [*side_by_side(some, versions), ""]
    return "\n".join(lines)


def _headroom(used: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if used:
        yield "### How much time the load has left\n"
        yield (
            "A load that is too slow would let a server wait, and then do more at once than it"
            " would have had to. So here is, for each workload, how many operations a second there"
            " were at most, and by which server; how many the load does with a server that only"
            " sends prepared bytes, and so at least could do; and the parts of their cores that"
            " were used, of the server at least and of the load at most.\n"
        )
        yield "\n".join((*headroom(used), ""))


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
