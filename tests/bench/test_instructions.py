"""What was counted beside what was counted before. Nothing is counted here."""

import json
import os
from pathlib import Path

import pytest

from bench import instructions
from bench.instructions import Baseline, Comparison, compare, main, read, write
from bench.paths import PATHS

BEFORE = Baseline("CPython 3.11.7", {"call": 1000, "frame": 500})


def compared(counted: dict[str, int], *, build: str = "CPython 3.11.7") -> Comparison:
    return compare(counted, BEFORE, build=build)


def test_what_stays_within_two_per_cent_is_neither_better_nor_worse() -> None:
    found = compared({"call": 1020, "frame": 490})
    assert (found.worse, found.remarks) == (False, ())
    assert "+2.0%" in found.table and "-2.0%" in found.table


def test_a_path_that_takes_more_is_named_and_makes_it_worse() -> None:
    found = compared({"call": 1021, "frame": 500})
    assert found.worse
    assert found.remarks == ("More than 2% more than before: call.",)


def test_a_path_that_takes_less_is_no_fault_but_is_to_be_written_down() -> None:
    found = compared({"call": 1000, "frame": 489})
    assert not found.worse
    (remark,) = found.remarks
    assert remark.startswith("More than 2% less than before: frame.")
    assert remark.endswith("python -m bench.instructions --write frame")


def test_a_path_that_was_never_counted_is_shown_and_can_be_written_down() -> None:
    found = compared({"publish": 7000})
    assert not found.worse
    assert "publish" in found.table and "7,000" in found.table
    (remark,) = found.remarks
    assert remark.startswith("Not counted before on this Python: publish.")


def test_without_a_baseline_everything_is_new_and_nothing_is_worse() -> None:
    found = compare({"call": 1, "frame": 2}, None, build="any")
    assert not found.worse
    (remark,) = found.remarks
    assert "--write call frame" in remark


def test_another_build_is_named_where_it_may_be_the_reason() -> None:
    assert len(compared({"call": 1000}, build="CPython 3.11.9").remarks) == 0
    *_, remark = compared({"call": 1100}, build="CPython 3.11.9").remarks
    assert "CPython 3.11.7" in remark and "CPython 3.11.9" in remark


def test_each_version_of_python_has_counts_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "instructions.json"
    assert read(file, "3.11") is None
    write(file, "3.12", {"call": 900}, build="b")
    write(file, "3.9", {"call": 950}, build="c")
    write(file, "3.11", {"call": 1000}, build="a")
    assert read(file, "3.11") == Baseline("a", {"call": 1000})
    assert read(file, "3.12") == Baseline("b", {"call": 900})
    assert read(file, "3.13") is None
    assert list(json.loads(file.read_text())) == ["3.9", "3.11", "3.12"]


def test_writing_some_paths_keeps_the_others(tmp_path: Path) -> None:
    file = tmp_path / "instructions.json"
    write(file, "3.11", {"call": 1000, "frame": 500}, build="a")
    write(file, "3.11", {"frame": 400}, build="b")
    assert read(file, "3.11") == Baseline("b", {"call": 1000, "frame": 400})


def test_the_stored_counts_are_of_paths_that_there_are() -> None:
    stored = json.loads(instructions.BASELINE.read_text())
    assert stored
    for of_version in stored.values():
        assert of_version["paths"].keys() == PATHS.keys()
        assert of_version["build"]


def test_without_valgrind_the_command_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    assert main(["frame"]) == 1
    assert "sudo apt-get install valgrind" in capsys.readouterr().err


def test_a_path_that_is_not_there_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["cal"])
    assert ended.value.code == 2
    assert "there is no path cal: it is call, call-16, " in capsys.readouterr().err


def test_it_fails_where_a_path_went_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions, "BASELINE", tmp_path / "instructions.json")
    counts = {"frame": 1000}
    monkeypatch.setattr(instructions, "count", lambda names: {name: counts[name] for name in names})
    assert main(["--write", "frame"]) == 0
    assert main(["frame"]) == 0
    counts["frame"] = 1100
    capsys.readouterr()
    assert main(["frame"]) == 1
    assert "+10.0%" in capsys.readouterr().out
    counts["frame"] = 900
    assert main(["frame"]) == 0
    assert "--write frame" in capsys.readouterr().out


def test_what_cannot_be_counted_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def count(names: object) -> dict[str, int]:
        raise instructions.Failed("frame fails: it was wrong")

    monkeypatch.setattr(instructions, "count", count)
    assert main([]) == 1
    assert capsys.readouterr().err == "frame fails: it was wrong\n"
