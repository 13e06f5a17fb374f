"""Measure this project's server and its peers, side by side.

    python -m bench                                         everything: it takes long
    python -m bench --quick                                 the main figures, in two minutes
    python -m bench --workload rpc-1 --peer ours --peer aiohttp

Figures are printed as they come, and are kept in build/bench.json; those of a run of less than
everything in build/bench-part.json. They hold for the machine that they were measured on; compare
those of one run only.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, TypeVar

from bench.figures import Figures, Headroom, interleaved, ratio
from bench.machine import machine
from bench.peers import PEERS, Peer
from bench.process import ROOT, pin_load
from bench.report import write
from bench.workloads import WORKLOADS, Scale, Workload
from bench.workloads.headroom import NULL

__all__ = ["main"]

T = TypeVar("T", Workload, Peer)

_FULL: Final = Scale(warm=0.4, counted=1.5)
_QUICK: Final = Scale(warm=0.2, counted=0.8, part=0.2)
_QUICK_ROUNDS: Final = 2
_QUICK_PEERS: Final = ("ours", "aiohttp", "picows", "websockets", "python-socketio", "Node ws")


def _chosen(all_of_them: Sequence[T], names: Sequence[str], key: str, kind: str) -> list[T]:
    known = [getattr(each, key) for each in all_of_them]
    for name in names:
        if name not in known:
            sys.exit(f"there is no {kind} {name!r}: it is one of {', '.join(known)}")
    return [each for each in all_of_them if getattr(each, key) in names]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="less of everything, no report")
    parser.add_argument(
        "--rounds", type=_positive, metavar="N", help="rounds of each figure (5; quick: 2)"
    )
    again = "only this one; may be given several times"
    parser.add_argument("--workload", action="append", default=[], metavar="ID", help=again)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME", help=again)
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the figures are kept")
    parser.add_argument("--report", type=Path, metavar="PATH", help="write a report of it, too")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _measure(workload: Workload, peer: Peer, scale: Scale, figures: Figures, round: str) -> None:
    try:
        for found in workload.measure(workload, peer, scale):
            if isinstance(found, Headroom):
                figures.used(found)
                continue
            figure = figures.add(found, peer.name)
            _say(
                f"{figure.workload:24} {figure.peer:22} {round:>5} {found.value:12,.2f} "
                f"{figure.unit}{f' ({found.notes})' if found.notes else ''}"
            )
    # One peer that fails is a figure that is missing; the others are measured all the same.
    except Exception as error:
        notes = "; ".join(getattr(error, "__notes__", ()))
        why = f"{type(error).__name__}: {error}{f' ({notes})' if notes else ''}"
        figures.fail(workload.id, workload.title, workload.unit, peer.name, why)
        _say(f"{workload.id:24} {peer.name:22} {round:>5} failed: {why}")


def _table(figures: Figures) -> str:
    lines = [f"{'':24} {'':22} {'median':>12} {'spread':>9} {'ours is':>8}"]
    for figure in figures:
        name = f"{figure.workload:24} {figure.peer:22}"
        if not figure.values:
            lines.append(f"{name} {figure.notes}")
            continue
        ours = figures.figure(figure.workload, "ours")
        times = ratio(ours.values, figure.values) if ours is not None else None
        compared = "" if times is None or figure.peer == "ours" else f"{times:.2f}x"
        lines.append(
            f"{name} {figure.median:12,.2f} {figure.spread:9,.2f} {compared:>8}  {figure.unit}"
        )
    return "\n".join(lines)


def _cores(figures: Figures) -> str:
    lines = []
    servers = [each for each in figures.headroom if each.peer != NULL.name]
    for what, some in groupby(servers, key=lambda each: each.what):
        rounds = list(some)
        load = max(each.load for each in rounds)
        server = min(each.server for each in rounds)
        lines.append(f"{what:40} the load used {load:4.0%} of its core, a server {server:4.0%}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the arguments say. Returns 1 where something failed, 130 after Ctrl-C."""
    options = _options()
    given = options.parse_args(arguments)
    if given.quick and given.report is not None:
        options.error("a quick run does too little for a report: leave out --quick or --report")
    part = given.quick or given.workload or given.peer
    json = given.json or ROOT / f"build/{'bench-part' if part else 'bench'}.json"
    workloads = _chosen(WORKLOADS, given.workload, "id", "workload")
    peers = _chosen(PEERS, given.peer, "name", "peer")
    if not given.workload:
        workloads = [each for each in WORKLOADS if each.quick or not given.quick]
    if not given.peer:
        peers = [each for each in PEERS if each.name in _QUICK_PEERS or not given.quick]
    scale = _QUICK if given.quick else _FULL
    wanted = given.rounds or (_QUICK_ROUNDS if given.quick else 5)
    pin_load()
    measured_on = machine()
    if given.quick:
        notes = [measured_on["notes"]] if "notes" in measured_on else []
        notes.append(
            f"a quick run: connections that come, or come back, are {scale.part:.0%} of the number"
            " that is named"
        )
        measured_on["notes"] = "; ".join(notes)
    figures = Figures(measured_on, json)
    interrupted = False
    try:
        for workload in workloads:
            taking_part = [peer for peer in peers if workload.takes_part(peer)]
            rounds = min(wanted, workload.rounds or wanted)
            for number, peer in interleaved(taking_part, rounds):
                _measure(workload, peer, scale, figures, f"{number}/{rounds}")
    except KeyboardInterrupt:
        interrupted = True
        _say("interrupted: what was measured until now is kept")
    print(_table(figures))
    if figures.headroom:
        print(
            "",
            "Beside the peer where the load used most, and where the server used least:",
            _cores(figures),
            sep="\n",
        )
    if "notes" in measured_on:
        print("", f"This was {measured_on['notes']}.", sep="\n")
    _say(f"the figures are in {json}")
    if given.report is not None and not interrupted:
        write(json, given.report)
    if interrupted:
        return 130
    return 1 if figures.failures else 0


if __name__ == "__main__":
    # Servers are ended whichever way this is asked to stop.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
