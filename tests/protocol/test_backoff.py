"""Reconnect delays, with the dice in the test's hand."""

from collections.abc import Sequence
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openapi.protocol.backoff import Backoff, delays

CEILINGS = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0]


def test_the_ceiling_begins_at_half_a_second_and_doubles_up_to_twenty() -> None:
    assert list(islice(delays(lambda: 1.0), 9)) == CEILINGS


def test_the_jitter_is_full_and_comes_after_the_cap() -> None:
    rolls = iter([1.0, 1.0, 0.5, 0.0, 1.0, 0.5, 0.25, 1.0])
    expected = [0.5, 1.0, 1.0, 0.0, 3.0, 3.0, 2.25, 11.25]
    assert list(islice(delays(lambda: next(rolls)), 8)) == expected


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40))
def test_a_delay_is_never_negative_and_never_above_its_ceiling(rolls: Sequence[float]) -> None:
    dice = iter(rolls)
    ceilings = [min(0.5 * 2**n, 20.0) for n in range(len(rolls))]
    for ceiling, delay in zip(ceilings, delays(lambda: next(dice)), strict=False):
        assert 0 <= delay <= ceiling


def test_who_waited_little_so_far_waits_little_longer() -> None:
    rolls = iter([0.5, 0.0, 0.0, 0.0, 1.0, 1.0])
    expected = [0.25, 0.0, 0.0, 0.0, 0.75, 1.5]
    assert list(islice(delays(lambda: next(rolls)), 6)) == expected


def test_two_clients_that_lost_the_same_server_do_not_come_back_in_step() -> None:
    one, other = (list(islice(delays(Random(seed).random), 9)) for seed in (1, 2))
    assert not set(one) & set(other)


def test_after_very_many_attempts_it_is_still_the_cap() -> None:
    assert next(islice(delays(lambda: 1.0), 100_000, None)) == 20.0


@pytest.mark.parametrize(
    ("first", "cap", "expected"), [(1.0, 3.0, [1.0, 2.0, 3.0]), (9.0, 3.0, [3.0, 3.0, 3.0])]
)
def test_first_and_cap_can_be_chosen(first: float, cap: float, expected: list[float]) -> None:
    assert list(islice(delays(lambda: 1.0, first=first, cap=cap), 3)) == expected


def test_no_dice_are_rolled_before_a_delay_is_wanted() -> None:
    rolled: list[float] = []

    def roll() -> float:
        rolled.append(1.0)
        return 1.0

    attempts = delays(roll)
    assert rolled == []
    next(attempts)
    assert rolled == [1.0]


@pytest.mark.parametrize("name", ["first", "cap", "stable"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_what_is_no_time_to_wait_is_refused_by_name(name: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=rf"Backoff\({name}=.*expected seconds, more than 0"):
        Backoff(**{name: seconds})
