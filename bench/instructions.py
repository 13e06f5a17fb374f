"""Instructions that the hot paths take, by valgrind, against those that they took before.

    python -m bench.instructions [PATH …]             count, and compare: 1 if one went up
    python -m bench.instructions --write [PATH …]     count, and be compared with from now on
    python -m bench.instructions --time [PATH …]      CPU time instead, without valgrind

A machine that is busy, or slow, counts the same as any other; another build of the interpreter, or
another version of a library, does not. The paths are those of :mod:`bench.paths`. What is compared
with is in ``bench/instructions.json``, for each minor version of Python::

    {"3.11": {"build": "CPython 3.11.7, GCC 12.2.0, …", "paths": {"call": 212000}}}
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.paths import COUNTING, PATHS

__all__ = ["BASELINE", "Baseline", "Comparison", "Failed", "compare", "read", "write"]

BASELINE: Final = Path(__file__).with_name("instructions.json")
TOLERANCE: Final = 0.02
#: Seconds that one process may take; on a free core it is done in 5.
PATIENCE: Final = 120
INSTALL: Final = "the instructions are counted by valgrind: sudo apt-get install valgrind"

_COUNTED: Final = re.compile(r"Collected : (\d+)")


class Failed(Exception):
    """What could not be counted, and why."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was counted before: instructions by the name of the path, and by what ``build``."""

    build: str
    paths: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was counted beside what is in the baseline: a table, and what is to be said of it."""

    table: str
    remarks: tuple[str, ...]
    worse: bool


def build() -> str:
    """What the counts hold for."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "msgspec"))
    compiler = platform.python_compiler()
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {compiler},"
        f" {platform.machine()}, {libraries}"
    )


def compare(counted: Mapping[str, int], baseline: Baseline | None, *, build: str) -> Comparison:
    """Compare instructions by the name of the path."""
    before = {} if baseline is None else baseline.paths
    rows, up, down, new = list[str](), list[str](), list[str](), list[str]()
    for name, count in counted.items():
        was, change = before.get(name), ""
        if was is None:
            new.append(name)
        else:
            more = count - was
            change = f"{more / was:+.1%}"
            if more > TOLERANCE * was:
                up.append(name)
            elif -more > TOLERANCE * was:
                down.append(name)
        was_text = "" if was is None else f"{was:,}"
        rows.append(f"{name:<10} {count:>12,} {was_text:>12} {change:>8}  {_what(name)}".rstrip())
    remarks = []
    if up:
        remarks.append(f"More than {TOLERANCE:.0%} more than before: {', '.join(up)}.")
    if down:
        remarks.append(
            f"More than {TOLERANCE:.0%} less than before: {', '.join(down)}. Have it stay so:"
            f" python -m bench.instructions --write {' '.join(down)}"
        )
    if new:
        remarks.append(
            f"Not counted before on this Python: {', '.join(new)}. To be compared with:"
            f" python -m bench.instructions --write {' '.join(new)}"
        )
    if baseline is not None and baseline.build != build and (up or down):
        remarks.append(
            f"It was another build that counted before, which alone may make the difference:"
            f" {baseline.build}; this one is {build}."
        )
    head = f"{'path':<10} {'instructions':>12} {'before':>12} {'change':>8}"
    return Comparison("\n".join((head, *rows)), tuple(remarks), bool(up))


def read(file: Path, python: str) -> Baseline | None:
    """The baseline of a minor version of Python, as ``3.11``; None without one."""
    if not file.exists():
        return None
    found = json.loads(file.read_text()).get(python)
    return None if found is None else Baseline(found["build"], found["paths"])


def write(file: Path, python: str, counted: Mapping[str, int], *, build: str) -> None:
    """Make what was counted the baseline; of the other paths and versions it stays as it is."""
    stored = json.loads(file.read_text()) if file.exists() else {}
    before = stored.get(python, {"paths": {}})
    stored[python] = {"build": build, "paths": before["paths"] | counted}
    stored = dict(sorted(stored.items(), key=lambda each: [int(n) for n in each[0].split(".")]))
    file.write_text(json.dumps(stored, indent=2) + "\n")


def count(names: Sequence[str]) -> dict[str, int]:
    """Instructions of one operation of each. Raises Failed."""
    if shutil.which("valgrind") is None or shutil.which(COUNTING) is None:
        raise Failed(INSTALL)
    runs = [(name, PATHS[name].steps * times) for name in names for times in (1, 2)]
    with ThreadPoolExecutor(os.cpu_count()) as side_by_side:
        counts = dict(zip(runs, side_by_side.map(_counted, runs), strict=True))
    return {
        name: round(
            (counts[name, 2 * path.steps] - counts[name, path.steps]) / path.steps / path.operations
        )
        for name in names
        for path in (PATHS[name],)
    }


def _counted(run: tuple[str, int]) -> int:
    name, steps = run
    said = _run(
        name,
        str(steps),
        before=(
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--callgrind-out-file=/dev/null",
        ),
    ).stderr
    found = _COUNTED.search(said)
    if found is None or int(found[1]) == 0:
        raise Failed(f"{name}: callgrind has counted nothing: {said[-2000:]}")
    return int(found[1])


def _run(*arguments: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = (*before, sys.executable, "-m", "bench.paths", *arguments)
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE, env=environment
        )
    except subprocess.CalledProcessError as exc:
        raise Failed(f"{arguments[0]} fails: {exc.stderr[-2000:]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise Failed(f"{arguments[0]} takes more than {PATIENCE} seconds") from exc


def _what(name: str) -> str:
    path = PATHS.get(name)
    return "" if path is None else path.what


def _time(names: Sequence[str]) -> None:
    for name in names:
        took = int(_run(name, "--time").stdout)
        print(f"{name:<10} {took:>12,} ns  {_what(name)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the head of the file. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"of {', '.join(PATHS)}")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--write", action="store_true", help="make it the baseline")
    how.add_argument("--time", action="store_true", help="CPU time, without valgrind")
    options = parser.parse_args(arguments)
    names = list(dict.fromkeys(options.paths)) or list(PATHS)
    if unknown := [name for name in names if name not in PATHS]:
        parser.error(f"there is no path {', '.join(unknown)}: it is {', '.join(PATHS)}")
    try:
        if options.time:
            _time(names)
            return 0
        counted = count(names)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    python, here = f"{sys.version_info.major}.{sys.version_info.minor}", build()
    comparison = compare(counted, read(BASELINE, python), build=here)
    print(comparison.table)
    if options.write:
        write(BASELINE, python, counted, build=here)
        return 0
    for remark in comparison.remarks:
        print(remark)
    return int(comparison.worse)


if __name__ == "__main__":
    sys.exit(main())
