import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bench.__main__ as program
from bench.figures import Headroom, Sample
from bench.peers import PEERS, Peer
from bench.workloads import WORKLOADS, Scale, Workload


def measured(workload: Workload, peer: Peer, scale: Scale) -> Iterator[Sample | Headroom]:
    if peer.name == "picows":
        raise OSError("it does not start")
    yield workload.sample(4.0 if peer.name == "ours" else 8.0)
    yield Headroom(workload.id, peer.name, 0.9, 0.3, 1000.0)


def interrupted(workload: Workload, peer: Peer, scale: Scale) -> Iterator[Sample | Headroom]:
    yield workload.sample(4.0)
    raise KeyboardInterrupt


def workload(measure: Any, id: str = "rpc-1", *, quick: bool = False) -> Workload:
    return Workload(id, "typed RPC", "µs", measure, lambda peer: peer.calls, quick=quick)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The JSON, of a rig that measures nothing and keeps the tests on all cores."""
    monkeypatch.setattr(program, "pin_load", lambda: None)
    monkeypatch.setattr(program, "machine", lambda: {"cores": 2})
    monkeypatch.setattr(program, "WORKLOADS", (workload(measured),))
    return tmp_path / "bench.json"


def figures(path: Path) -> dict[str, list[float]]:
    return {each["peer"]: each["values"] for each in json.loads(path.read_text())["figures"]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workload", "rpc-2"], "there is no workload 'rpc-2': it is one of rpc-1"),
        (["--peer", "picow"], "there is no peer 'picow': it is one of ours, aiohttp, picows"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_there_are(
    path: Path, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit, match=re.escape(sentence)):
        program.main(arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rounds", "0"], "'0' is no number from 1 on"),
        (["--rounds", "many"], "'many' is no number from 1 on"),
        (["--quik"], "unrecognized arguments: --quik"),
        (["rpc-1"], "unrecognized arguments: rpc-1"),
    ],
)
def test_a_bad_option_is_refused_with_a_sentence(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        program.main(arguments)
    assert refused.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_peer_that_fails_is_noted_and_the_others_are_measured(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["ours", "picows", "aiohttp"]
    chosen = [argument for name in names for argument in ("--peer", name)]
    assert program.main([*chosen, "--rounds", "2", "--json", str(path)]) == 1
    assert figures(path) == {"ours": [4.0, 4.0], "aiohttp": [8.0, 8.0], "picows": []}
    out, err = capsys.readouterr()
    assert err.count("failed: OSError: it does not start") == 2
    assert re.search(r"aiohttp +8\.00 +0\.00 +0\.50x +µs", out)
    assert re.search(r"picows +failed: OSError: it does not start", out)


def test_what_was_measured_before_ctrl_c_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "WORKLOADS", (workload(interrupted),))
    assert program.main(["--peer", "ours", "--json", str(path)]) == 130
    assert figures(path) == {"ours": [4.0]}
    assert "what was measured until now is kept" in capsys.readouterr().err


def test_a_quick_run_has_less_of_everything_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some = workload(measured, quick=True), workload(measured, "connect")
    monkeypatch.setattr(program, "WORKLOADS", some)
    program.main(["--quick", "--json", str(path)])
    found = json.loads(path.read_text())
    assert {each["workload"] for each in found["figures"]} == {"rpc-1"}
    assert len(found["figures"]) < len(PEERS)
    assert found["machine"]["notes"].startswith("a quick run: ")
    assert "20% of the number that is named" in capsys.readouterr().out


def test_a_quick_run_is_no_report(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--quick", "--report", str(path.with_suffix(".md"))])
    assert "a quick run does too little for a report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ([], "bench.json"),
        (["--quick"], "bench-part.json"),
        (["--peer", "ours"], "bench-part.json"),
        (["--workload", "rpc-1"], "bench-part.json"),
    ],
)
def test_figures_of_everything_are_not_overwritten_by_those_of_some(
    path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], file: str
) -> None:
    monkeypatch.setattr(program, "ROOT", path.parent)
    monkeypatch.setattr(program, "WORKLOADS", (workload(measured, quick=True),))
    program.main(arguments)
    assert [each.name for each in (path.parent / "build").iterdir()] == [file]


def test_workloads_have_names_of_their_own() -> None:
    ids = [each.id for each in WORKLOADS]
    assert len(set(ids)) == len(ids)
