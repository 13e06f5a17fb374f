"""The page that figures become. They are made up here, and nothing is measured or drawn."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.goals import GOALS, Outcome, medians
from bench.report import page, reasons
from bench.tables import number

MACHINE: dict[str, Any] = {
    "cpu": "A processor",
    "cores": 2,
    "kernel": "6.1.0",
    "python": "3.11.7",
    "node": "20.20.0",
    "uvloop": "0.23.0",
    "date": "2026-11-23",
    "versions": {"aiohttp": "3.14.5", "picows": "2.3.1"},
}


def figure(
    workload: str, peer: str, *values: float, unit: str = "µs", notes: str = ""
) -> dict[str, Any]:
    return {
        "workload": workload,
        "title": f"the workload {workload}",
        "unit": unit,
        "peer": peer,
        "values": list(values),
        "notes": notes,
    }


def shown(*figures: dict[str, Any], **options: Any) -> str:
    data = {"machine": MACHINE, "figures": list(figures), "headroom": options.pop("headroom", [])}
    return page(data, **{"why": {}, **options})


def rows(text: str, *cells: str) -> list[list[str]]:
    """The rows of all tables that have these cells."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return [row for row in found if set(cells) <= set(row)]


def test_a_workload_is_a_table_with_the_median_the_spread_and_what_it_is_of_ours() -> None:
    text = shown(
        figure("rpc-1", "ours", 10, 12, 11),
        figure("rpc-1", "aiohttp", 30, 20, 22),
        figure("rpc-1", "picows", 9, 9, 9),
    )
    assert "The workload rpc-1; µs, 3 rounds:" in text
    table = text[text.index("| server | median |") :].splitlines()[2:5]
    assert table == [
        "| picows by hand 2.3.1 | 9 | 0 | 0.818× |",
        "| **aio-openapi, this version** | 11 | 2 | 1× |",
        "| aiohttp by hand 3.14.5 | 22 | 10 | 2× |",
    ]


def test_goals_are_computed_from_medians() -> None:
    text = shown(
        figure("rpc-1", "ours", 14, 15, 99),
        figure("rpc-1", "aiohttp", 20),
        figure("rpc-1", "picows", 10),
        figure("hold-10000", "ours", 9_999),
        figure("recovery-1000x100", "ours", 1.5),
    )
    assert rows(text, "Typed RPC, 1 in flight, beside aiohttp") == [
        ["Typed RPC, 1 in flight, beside aiohttp", "≤ 0.75×", "0.750×", "met"]
    ]
    (missed,) = rows(text, "Typed RPC, 1 in flight, beside picows")
    assert missed[1:] == ["≤ 1.15×", "1.50×", "**missed**"]
    (too_few,) = rows(text, "Connections held")
    assert too_few[1:] == ["≥ 10,000", "9,999", "**missed**"]
    (recovered,) = rows(text, "Recovery of 1,000 clients")
    assert recovered[1:] == ["≤ 1.5 s", "1.50 s", "met"]
    (absent,) = rows(text, "Typed RPC, 16 in flight, beside picows")
    assert absent[1:] == ["≤ 1.15×", "", "not measured"]
    assert "2 of the 4 that were measured are met." in text


def test_a_goal_that_is_missed_by_less_than_can_be_seen_is_missed() -> None:
    of = {("rpc-1", "ours"): 0.7500001, ("rpc-1", "aiohttp"): 1.0}
    goal = next(goal for goal in GOALS if goal.name == "Typed RPC, 1 in flight, beside aiohttp")
    assert goal.outcome(of) is Outcome.MISSED


def test_a_goal_has_a_name_of_its_own() -> None:
    names = [goal.name for goal in GOALS]
    assert len(set(names)) == len(names)


def test_why_a_goal_is_missed_is_told_and_why_it_was_is_not() -> None:
    name = "Recovery of 1,000 clients"
    why = {name: "It reads\n\n    slowly."}
    late, soon = (figure("recovery-1000x100", "ours", seconds) for seconds in (2.0, 1.0))
    assert f"### {name}: why it is missed\n\nIt reads\n\n    slowly.\n" in shown(late, why=why)
    assert "slowly" not in shown(soon, why=why)
    assert "why it is missed" not in shown(late)


def test_a_reason_for_what_is_no_goal_is_refused() -> None:
    with pytest.raises(ValueError, match="reasons for what is no goal: Recovery; the goals are: "):
        shown(why={"Recovery": "because"})


def test_reasons_are_read_by_their_headings() -> None:
    text = "# Head\n\nsaid\n\n## One, 1×\n\na\n\n### b\n\nc\n\n## Two\n\nd\n"
    assert reasons(text) == {"One, 1×": "a\n\n### b\n\nc", "Two": "d"}
    assert reasons("") == {}


def test_reasons_that_are_written_are_of_goals_that_there_are() -> None:
    if report.MISSED.exists():
        names = reasons(report.MISSED.read_text()).keys()
        assert names <= {goal.name for goal in GOALS}


def test_a_figure_without_values_says_why() -> None:
    text = shown(
        figure("connect", "ours", 5.0),
        figure("connect", "aiohttp", notes="failed: OSError: gone"),
    )
    assert rows(text, "aiohttp by hand 3.14.5", "no figure")
    assert "- aiohttp by hand 3.14.5: failed: OSError: gone" in text


def test_rounds_that_failed_are_told_beside_the_goals() -> None:
    failing = figure("rpc-1", "ours", 10.0, notes="failed: WrongAnswerError: no") | {"failures": 2}
    text = shown(failing, figure("rpc-1", "aiohttp", 20.0))
    goals = text[text.index("## Goals") : text.index("## How it is measured")]
    assert "Rounds failed, and are in no median: `rpc-1` with ours (2)." in goals
    assert "Rounds failed" not in shown(figure("rpc-1", "ours", 10.0))


def test_a_workload_of_ours_alone_is_a_row() -> None:
    text = shown(
        figure("gc-5000", "ours", 4, 6, unit="ms"), figure("gc-5000-tasks", "ours", 0, unit="tasks")
    )
    assert rows(text, "The workload gc-5000") == [["The workload gc-5000", "5", "2", "ms"]]
    assert rows(text, "The workload gc-5000-tasks", "tasks")


def test_percentiles_share_a_table() -> None:
    text = shown(
        figure("latency-1000-p50", "ours", 1.0, notes="at 100 a second"),
        figure("latency-1000-p99", "ours", 2.0, notes="at 100 a second"),
        figure("latency-1000-p50", "picows", 0.5),
    )
    assert rows(text, "server", "p50", "p99") == [["server", "p50", "p99"]]
    assert rows(text, "**aio-openapi, this version**", "2")[0][1:] == ["1", "2"]
    assert rows(text, "picows by hand 2.3.1", "0.500")[0][1:] == ["0.500", ""]
    assert text.count("at 100 a second") == 1


def test_what_is_better_when_there_is_more_of_it_is_sorted_so() -> None:
    text = shown(
        figure("other", "ours", 5, unit="calls a second"),
        figure("other", "aiohttp", 9, unit="calls a second"),
    )
    assert text.index("| aiohttp by hand 3.14.5 | 9") < text.index("version** | 5 ")


def test_what_nobody_has_foreseen_is_told_at_the_end() -> None:
    text = shown(figure("something", "a server", 5.0), figure("rpc-1", "ours", 5.0))
    assert text.index("## Typed RPC") < text.index("## Besides")
    assert rows(text, "The workload something (a server)")


def test_a_single_round_has_no_spread() -> None:
    text = shown(figure("rpc-1", "ours", 10), figure("rpc-1", "aiohttp", 5))
    assert "µs, 1 round:" in text
    assert rows(text, "aiohttp by hand 3.14.5", "5")[0][1:] == ["5", "", "0.500×"]


def test_workers_are_named() -> None:
    text = shown(figure("workers", "ours, 1 worker", 5), figure("workers", "ours, 2 workers", 6))
    assert rows(text, "**aio-openapi, this version**, 2 workers", "6")


def test_the_load_is_shown_to_have_time_left() -> None:
    used = [
        {"what": "rpc-1", "peer": "ours", "server": 0.99, "load": 0.4, "rate": 1000},
        {"what": "rpc-1", "peer": "picows", "server": 0.9, "load": 0.5, "rate": 2000},
        {"what": "rpc-1", "peer": "null", "server": 0.3, "load": 1.0, "rate": 5000},
        {"what": "connect", "peer": "ours", "server": 0.8, "load": 0.2, "rate": 100},
    ]
    text = shown(figure("rpc-1", "ours", 5.0), figure("rpc-1", "null", 1.0), headroom=used)
    (row,) = rows(text, "`rpc-1`")
    assert row == ["`rpc-1`", "2,000", "picows", "5,000", "2.5×", "90%", "50%"]
    (alone,) = rows(text, "`connect`")
    assert alone == ["`connect`", "100", "ours", "", "", "80%", "20%"]
    assert "null" not in text


def test_only_plots_that_were_drawn_are_shown() -> None:
    ours = figure("rpc-1", "ours", 5.0)
    assert "images/benchmarks/rpc.svg" in shown(ours, plots=["rpc", "memory"])
    assert "images/benchmarks" not in shown(ours)


def test_the_machine_and_the_versions_are_told() -> None:
    text = shown(figure("rpc-1", "ours", 5.0))
    assert rows(text, "Processor", "A processor, cores: 2")
    assert rows(text, "Python", "3.11.7, uvloop 0.23.0, aiohttp 3.14.5")
    assert rows(text, "Node.js", "20.20.0")


def test_a_bar_in_a_note_of_the_machine_breaks_no_table() -> None:
    data = {
        "machine": {**MACHINE, "node": None, "notes": "one core only"},
        "figures": [figure("rpc-1", "o|o", 5.0), figure("rpc-1", "ours", 5.0)],
        "headroom": [],
    }
    text = page(data, why={})
    assert rows(text, "o&#124;o") and rows(text, "Note", "one core only")
    assert rows(text, "Node.js", "none")


def test_before_anything_was_measured_the_page_says_so() -> None:
    text = shown()
    assert "Nothing was measured yet." in text
    assert "are met" not in text
    assert rows(text, "websockets by hand")
    assert "\n\n\n" not in text and "<!--" not in text


def test_the_same_figures_make_the_same_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_draw", lambda measured, folder: ["rpc"])
    measured, target = tmp_path / "bench.json", tmp_path / "benchmarks.md"
    figures = [figure("rpc-1", "ours", 5.0), figure("rpc-1", "aiohttp", 9.0)]
    measured.write_text(json.dumps({"machine": MACHINE, "figures": figures, "headroom": []}))
    assert report.main([str(measured), str(target)]) == 0
    first = target.read_text()
    assert report.main([str(measured), str(target)]) == 0
    assert target.read_text() == first
    assert "images/benchmarks/rpc.svg" in first


def test_without_figures_it_is_said_what_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([str(tmp_path / "bench.json")]) == 1
    assert "make bench writes it" in capsys.readouterr().err


def test_medians_are_of_figures_that_have_values() -> None:
    found = medians([figure("a", "ours", 3, 1, 2), figure("b", "ours")])
    assert found == {("a", "ours"): 2}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0321, "0.0321"),
        (0.5, "0.500"),
        (1.0, "1"),
        (7.186, "7.19"),
        (42.24, "42.2"),
        (256.4, "256"),
        (12345.6, "12,346"),
        (-3.14159, "-3.14"),
    ],
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text
