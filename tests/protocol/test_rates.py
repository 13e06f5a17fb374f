"""How often something may be done, second by second, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openapi.protocol.rates import Bucket

RATES = st.floats(0.01, 10_000)
PAUSES = st.floats(0, 1000)


def test_at_first_there_are_as_many_as_come_in_a_second() -> None:
    bucket = Bucket(5, now=100.0)
    assert [bucket.take(100.0) for _ in range(5)] == [0.0] * 5
    assert bucket.take(100.0) == pytest.approx(0.2)


def test_who_comes_too_early_is_told_when_to_come() -> None:
    bucket = Bucket(2, now=0.0)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0.0, 0.0]
    assert bucket.take(0.0) == 0.5
    assert bucket.take(0.125) == 0.375
    assert bucket.take(0.5) == 0.0
    assert bucket.take(0.5) == 0.5


def test_to_be_refused_costs_nothing() -> None:
    bucket = Bucket(1, now=0.0)
    assert bucket.take(0.0) == 0.0
    for n in range(1, 8):
        assert bucket.take(n / 8) == 1 - n / 8
    assert bucket.take(1.0) == 0.0


def test_after_a_pause_there_are_no_more_than_at_first() -> None:
    bucket = Bucket(3, now=0.0)
    for now in (0.0, 1e6):
        assert [bucket.take(now) for _ in range(3)] == [0.0] * 3
        assert bucket.take(now) > 0


def test_a_rate_of_less_than_one_a_second_gives_one_at_a_time() -> None:
    bucket = Bucket(0.25, now=0.0)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) == 4.0
    assert bucket.take(3.0) == 1.0
    assert bucket.take(4.0) == 0.0
    assert bucket.take(100.0) == 0.0
    assert bucket.take(100.0) == 4.0


@given(rate=RATES, pauses=st.lists(PAUSES, max_size=40))
def test_who_waits_as_long_as_it_says_is_not_refused_again(
    rate: float, pauses: list[float]
) -> None:
    bucket, now = Bucket(rate, now=0.0), 0.0
    for pause in pauses:
        now += pause
        if wait := bucket.take(now):
            now += wait + 1e-6  # a sum of floats is a little less, or more
            assert bucket.take(now) == 0.0


@given(rate=RATES, pauses=st.lists(PAUSES, min_size=1, max_size=60))
def test_in_no_stretch_of_time_are_there_more_than_come_in_it_and_were_there(
    rate: float, pauses: list[float]
) -> None:
    bucket, now = Bucket(rate, now=0.0), 0.0
    taken: list[float] = []
    for pause in pauses:
        now += pause / rate  # around the rate itself, however high that is
        if not bucket.take(now):
            taken.append(now)
    for first, begin in enumerate(taken):
        for last in range(first, len(taken)):
            most = max(1.0, rate) + (taken[last] - begin) * rate
            assert last - first + 1 <= most + 1e-6
