"""The plots of the report, as SVG: run by an interpreter that has matplotlib.

    .venvs/bench/bin/python -m bench.plots build/bench.json docs/images/benchmarks

Prints the names of those that it could draw, for a plot needs its figures. The same figures make
the same bytes.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib  # type: ignore[import-not-found] # it is in an environment of its own

from bench.figures import median

__all__ = ["PLOTS", "main"]

OURS: Final = "ours"
_OURS_COLOR: Final = "#0b6e4f"
_OTHER_COLOR: Final = "#b4bcc4"
_DOT_COLOR: Final = "#7d8790"
_TEXT_COLOR: Final = "#24292f"
#: Inches, of a bar with its gap, of what is around the bars, and of the whole.
_BAR: Final = 0.27
_AROUND: Final = 0.75
_WIDTH: Final = 7.2

Figures = Mapping[str, Mapping[str, float]]
"""Medians by workload and then by peer."""

matplotlib.use("svg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "aio-openapi",  # ids are random otherwise
        "svg.fonttype": "none",  # text as text: smaller, and it can be searched
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
        "font.size": 9,
        "text.color": _TEXT_COLOR,
        "axes.labelcolor": _TEXT_COLOR,
        "axes.titlesize": 10,
        "axes.titlepad": 8,
        "figure.constrained_layout.h_pad": 0.08,
        "figure.constrained_layout.w_pad": 0.08,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
    }
)


def _bars(panels: Mapping[str, str], label: str) -> Callable[[Figures, Path], bool]:
    """What draws a panel of bars for each workload; ``panels`` are their titles."""

    def draw(figures: Figures, file: Path) -> bool:
        there = {workload: title for workload, title in panels.items() if figures.get(workload)}
        if not there:
            return False
        counts = [len(figures[workload]) for workload in there]
        figure = _figure(sum(_AROUND + _BAR * count for count in counts))
        axes = figure.subplots(len(there), 1, squeeze=False, height_ratios=counts)[:, 0]
        for axis, (workload, title) in zip(axes, there.items(), strict=True):
            _panel(axis, title, figures[workload])
        axes[-1].set_xlabel(label)
        _save(figure, file)
        return True

    return draw


def _panel(axis: Any, title: str, medians: Mapping[str, float]) -> None:
    peers = sorted(medians, key=lambda peer: -medians[peer])  # the first is at the bottom
    values = [medians[peer] for peer in peers]
    colors = [_OURS_COLOR if peer == OURS else _OTHER_COLOR for peer in peers]
    bars = axis.barh([_name(peer) for peer in peers], values, color=colors, height=0.7)
    axis.bar_label(bars, [_number(value) for value in values], padding=3)
    axis.set_title(title)
    axis.set_xlim(0, max(values) * 1.12)
    axis.set_ylim(-0.6, len(peers) - 0.4)
    _plain(axis, peers)


def _plain(axis: Any, peers: Sequence[str]) -> None:
    """No scale, for the values are at the bars; and ours is found at once."""
    axis.tick_params(axis="y", length=0)
    axis.minorticks_off()
    axis.set_xticks([])
    axis.spines.bottom.set_visible(False)
    for name, text in zip(peers, axis.get_yticklabels(), strict=True):
        if name == OURS:
            text.set_fontweight("bold")
            text.set_color(_OURS_COLOR)


def _latency(figures: Figures, file: Path) -> bool:
    """For each peer a line from p50 to p99.9, with p99 as a dot."""
    ends = [figures.get(f"latency-1000-{name}", {}) for name in ("p50", "p99", "p99.9")]
    peers = [peer for peer in ends[1] if all(peer in end for end in ends)]
    if not peers:
        return False
    peers.sort(key=lambda peer: -ends[1][peer])
    figure = _figure(_AROUND + _BAR * len(peers))
    axis = figure.subplots()
    for row, peer in enumerate(peers):
        low, middle, high = (end[peer] for end in ends)
        color = _OURS_COLOR if peer == OURS else _DOT_COLOR
        axis.plot((low, high), (row, row), color=color, linewidth=2)
        axis.plot(middle, row, color=color, marker="o", markersize=5)
        said = " · ".join(map(_number, (low, middle, high)))
        axis.annotate(said, (high, row), (7, 0), textcoords="offset points", va="center")
    axis.set_xscale("log")
    least, most = min(ends[0][peer] for peer in peers), max(ends[2][peer] for peer in peers)
    axis.set_xlim(least / 1.2, most * (most / least) ** 0.4)  # room for the numbers
    axis.set_ylim(-0.6, len(peers) - 0.4)
    axis.set_yticks(range(len(peers)), [_name(peer) for peer in peers])
    _plain(axis, peers)
    axis.set_title("Delivery to 1,000 subscribers at half load: p50, p99 (dot), p99.9")
    axis.set_xlabel("ms, on a logarithmic scale; less is better")
    _save(figure, file)
    return True


PLOTS: Final[Mapping[str, Callable[[Figures, Path], bool]]] = {
    "rpc": _bars(
        {
            "rpc-1": "Typed RPC, 1 in flight on 50 connections",
            "rpc-16": "Typed RPC, 16 in flight on 50 connections",
        },
        "µs of server CPU per call; less is better",
    ),
    "fan-out": _bars(
        {
            "fan-out-500-isolated": "Fan-out to 500 subscribers, isolated",
            "fan-out-500-8": "Fan-out to 500 subscribers, 8 publishes in flight",
        },
        "µs of server CPU per delivery; less is better",
    ),
    "memory": _bars(
        {"memory-idle": "An idle connection with one subscription"},
        "KiB of memory; less is better",
    ),
    "latency": _latency,
}


def _figure(height: float) -> Any:
    from matplotlib.figure import Figure  # type: ignore[import-not-found]

    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _save(figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    # A third of it is indentation, and the ids of groups that nothing refers to.
    text = re.sub(r'<g id="(?!axes)[^"]*">', "<g>", file.read_text())
    file.write_text("".join(f"{line.strip()}\n" for line in text.splitlines()))


def _name(peer: str) -> str:
    return "aio-openapi" if peer == OURS else peer


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def main(arguments: Sequence[str]) -> None:
    """See the head of the file."""
    measured, folder = map(Path, arguments)
    figures = dict[str, dict[str, float]]()
    for figure in json.loads(measured.read_text())["figures"]:
        if figure["values"]:
            of = figures.setdefault(figure["workload"], {})
            of[figure["peer"]] = median(figure["values"])
    for name, draw in PLOTS.items():
        file = folder / f"{name}.svg"
        file.unlink(missing_ok=True)  # one of other figures
        if draw(figures, file):
            print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
