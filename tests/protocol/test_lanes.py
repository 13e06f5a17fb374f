"""Lanes by themselves: who may run, and who is next. Calls in lanes: ``test_session.py``."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openapi.protocol.lanes import Lanes


def test_the_first_of_a_lane_runs_and_those_behind_it_wait() -> None:
    lanes: Lanes[str] = Lanes()

    assert [lanes.enter("a", call) for call in ("1", "2", "3")] == [True, False, False]


def test_lanes_do_not_know_each_other() -> None:
    lanes: Lanes[str] = Lanes()

    assert all(lanes.enter(key, "call") for key in ("a", "b", ("a",), 1, None))
    assert len(lanes) == 5


def test_when_one_leaves_that_runs_the_next_may() -> None:
    lanes: Lanes[str] = Lanes()
    for call in ("1", "2", "3"):
        lanes.enter("a", call)

    assert lanes.leave("a", "1") == "2"
    assert lanes.leave("a", "2") == "3"
    assert lanes.leave("a", "3") is None


@pytest.mark.parametrize(("gone", "then"), [("2", "3"), ("3", "2")])
def test_when_one_leaves_that_waits_nobody_begins(gone: str, then: str) -> None:
    lanes: Lanes[str] = Lanes()
    for call in ("1", "2", "3"):
        lanes.enter("a", call)

    assert lanes.leave("a", gone) is None
    assert lanes.leave("a", "1") == then


def test_a_lane_in_which_nobody_is_does_not_exist() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.enter("a", "1")

    lanes.leave("a", "1")

    assert len(lanes) == 0
    assert lanes.enter("a", "2")


def test_what_is_cleared_begins_anew() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.enter("a", "1")
    lanes.enter("a", "2")

    lanes.clear()

    assert len(lanes) == 0
    assert lanes.enter("a", "3")


class Order(RuleBasedStateMachine):
    """Entering and leaving in any order: one runs in each lane, the one that came first."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: Lanes[int] = Lanes()
        self.model: dict[str, list[int]] = {}
        self.running: set[int] = set()
        self.number = 0

    @rule(key=st.sampled_from("abc"))
    def enter(self, key: str) -> None:
        self.number += 1
        lane = self.model.setdefault(key, [])
        lane.append(self.number)
        if self.lanes.enter(key, self.number):
            self.running.add(self.number)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        call = data.draw(st.sampled_from(self.model[key]))
        self.model[key].remove(call)
        if not self.model[key]:
            del self.model[key]
        self.running.discard(call)
        following = self.lanes.leave(key, call)
        if following is not None:
            self.running.add(following)

    @invariant()
    def the_first_of_each_lane_runs_and_nobody_else(self) -> None:
        assert self.running == {lane[0] for lane in self.model.values()}
        assert len(self.lanes) == len(self.model)


TestOrder = Order.TestCase
