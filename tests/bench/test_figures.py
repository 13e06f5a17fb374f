import json
from pathlib import Path

import pytest

from bench.figures import Figures, Headroom, Sample, interleaved, median, ratio, spread
from bench.workloads.latency import percentile


def sample(value: float, notes: str = "", workload: str = "rpc-1", peer: str = "") -> Sample:
    return Sample(workload, "typed RPC", "µs", value, notes, peer)


def test_the_median_of_an_odd_number_is_the_middle_and_of_an_even_one_the_mean_of_two() -> None:
    assert median([9.0, 1.0, 5.0]) == 5.0
    assert median([9.0, 1.0, 5.0, 7.0]) == 6.0


def test_the_spread_is_how_far_the_greatest_is_from_the_least() -> None:
    assert spread([9.0, 1.0, 5.0]) == 8.0
    assert spread([9.0]) == 0.0


def test_there_is_no_median_and_no_spread_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_the_ratio_is_of_medians() -> None:
    assert ratio([1.0, 2.0, 90.0], [3.0, 4.0, 5.0]) == 0.5


@pytest.mark.parametrize(("ours", "theirs"), [([], [1.0]), ([1.0], []), ([1.0], [0.0])])
def test_there_is_no_ratio_to_what_was_not_measured(ours: list[float], theirs: list[float]) -> None:
    assert ratio(ours, theirs) is None


def test_rounds_are_interleaved_over_the_peers() -> None:
    order = [f"{peer}{number}" for number, peer in interleaved("ABC", 2)]
    assert order == ["A1", "B1", "C1", "A2", "B2", "C2"]


@pytest.mark.parametrize(("part", "found"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1, 100.0)])
def test_a_percentile_is_one_of_the_values(part: float, found: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], part) == found


def test_a_percentile_of_one_value_is_that() -> None:
    assert percentile([3.0], 0.5) == percentile([3.0], 0.999) == 3.0


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_the_rounds_of_a_workload_with_a_peer_are_one_figure() -> None:
    figures = Figures({})
    figures.add(sample(3.0), "ours")
    figures.add(sample(9.0), "picows")
    found = figures.add(sample(5.0), "ours")
    assert (found.values, found.median, found.spread) == ([3.0, 5.0], 4.0, 2.0)
    assert [(figure.peer, figure.values) for figure in figures] == [
        ("ours", [3.0, 5.0]),
        ("picows", [9.0]),
    ]


def test_a_sample_may_name_what_it_is_of() -> None:
    figures = Figures({})
    figures.add(sample(3.0, peer="ours, 2 workers"), "ours")
    assert figures.figure("rpc-1", "ours") is None
    assert figures.figure("rpc-1", "ours, 2 workers") is not None


def test_a_note_is_kept_once() -> None:
    figures = Figures({})
    figures.add(sample(3.0, "closed with 1008"), "ours")
    figures.add(sample(4.0, "closed with 1008"), "ours")
    assert figures.add(sample(4.0, "not closed"), "ours").notes == "closed with 1008; not closed"


def test_a_round_that_failed_is_counted_and_noted_and_takes_no_value_away() -> None:
    figures = Figures({})
    figures.add(sample(3.0), "ours")
    figures.fail("rpc-1", "typed RPC", "µs", "ours", "OSError: no port")
    found = figures.figure("rpc-1", "ours")
    assert found is not None
    assert (found.values, found.notes, figures.failures) == ([3.0], "failed: OSError: no port", 1)


def test_what_was_measured_is_in_the_file_as_soon_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "build/bench.json"
    figures = Figures({"cores": 2}, path)
    figures.add(sample(3.0), "ours")
    assert json.loads(path.read_text()) == {
        "machine": {"cores": 2},
        "figures": [
            {
                "workload": "rpc-1",
                "title": "typed RPC",
                "unit": "µs",
                "peer": "ours",
                "values": [3.0],
                "notes": "",
                "failures": 0,
            }
        ],
        "headroom": [],
    }
    figures.fail("rpc-1", "typed RPC", "µs", "picows", "OSError: no port")
    assert json.loads(path.read_text())["figures"][1]["notes"] == "failed: OSError: no port"
    assert [each.name for each in path.parent.iterdir()] == ["bench.json"]


def test_of_the_cores_the_median_of_the_rounds_is_told() -> None:
    figures = Figures({})
    for server, load, rate in ((0.9, 0.2, 100.0), (1.0, 0.4, 300.0), (0.95, 0.3, 200.0)):
        figures.used(Headroom("rpc-1", "ours", server, load, rate))
    assert figures.as_json()["headroom"] == [
        {"what": "rpc-1", "peer": "ours", "server": 0.95, "load": 0.3, "rate": 200}
    ]
