"""A channel's history: what is kept of the numbered messages, and what is found again."""

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openapi.protocol.stream import Log


@dataclass(frozen=True, slots=True)
class Note:
    offset: int
    at: float = 0.0


def log_of(*offsets: int, keep: int = 10) -> Log[Note]:
    log = Log[Note](keep, offsets[0] - 1)
    for offset in offsets:
        log.append(Note(offset))
    return log


def offsets(notes: list[Note] | None) -> list[int] | None:
    return None if notes is None else [note.offset for note in notes]


def test_a_new_log_is_empty_and_its_first_message_is_number_1() -> None:
    log = Log[Note](3)
    assert (len(log), log.first, log.top, log.full) == (0, 1, 0, False)
    log.append(Note(1))
    assert (len(log), log.first, log.top) == (1, 1, 1)


def test_a_message_that_is_not_the_next_is_refused() -> None:
    with pytest.raises(AssertionError):
        log_of(1, 2).append(Note(4))


def test_of_more_than_it_keeps_the_oldest_go() -> None:
    log = log_of(1, 2, 3, 4, keep=3)
    assert (log.first, log.top, log.full) == (2, 4, True)
    assert offsets(log.after(1)) == [2, 3, 4]


def test_a_log_that_keeps_nothing_counts_all_the_same() -> None:
    log = log_of(1, 2, keep=0)
    assert (len(log), log.first, log.top, log.full) == (0, 3, 2, True)
    assert log.after(2) == []
    assert log.after(1) is None


def test_what_lies_behind_an_offset_is_all_of_it_or_nothing() -> None:
    log = log_of(5, 6, 7)
    assert log.after(3) is None  # 4 is gone
    assert offsets(log.after(4)) == [5, 6, 7]
    assert offsets(log.after(6)) == [7]
    assert log.after(7) == []
    assert log.after(8) is None  # 8 is not yet there
    assert offsets(log.after(4, 2)) == [5, 6]
    assert log.after(4, 0) == []


def test_what_is_newer_than_an_offset_is_whatever_is_here_of_it() -> None:
    log = log_of(5, 6, 7)
    assert offsets(log.newer(0, 2)) == [5, 6]
    assert offsets(log.newer(5, 9)) == [6, 7]
    assert log.newer(7, 9) == log.newer(99, 9) == log.newer(0, 0) == []


def test_what_is_older_than_an_offset_comes_newest_first() -> None:
    log = log_of(5, 6, 7)
    assert offsets(log.older(None, 2)) == [7, 6]
    assert offsets(log.older(7, 9)) == [6, 5]
    assert offsets(log.older(99, 1)) == [7]
    assert log.older(5, 9) == log.older(0, 9) == log.older(None, 0) == []


def test_expiry_takes_what_is_older_and_leaves_the_number() -> None:
    log = Log[Note](10)
    for offset in range(1, 5):
        log.append(Note(offset, at=float(offset)))
    log.expire(before=3.0)
    assert offsets(log.newer(0, 9)) == [3, 4]
    log.expire(before=9.0)
    assert (len(log), log.first, log.top) == (0, 5, 4)
    log.expire(before=9.0)
    log.append(Note(5))
    assert offsets(log.after(4)) == [5]


def test_a_message_behind_one_that_is_kept_is_kept_though_its_clock_was_behind() -> None:
    log = Log[Note](10)
    for offset, at in ((1, 100.0), (2, 1.0), (3, 101.0)):
        log.append(Note(offset, at))
    log.expire(before=50.0)
    assert offsets(log.newer(0, 9)) == [1, 2, 3]


def test_another_size_keeps_the_newest_that_fit() -> None:
    log = log_of(1, 2, 3, 4)
    log.resize(2)
    assert (offsets(log.newer(0, 9)), log.first, log.full) == ([3, 4], 3, True)
    log.resize(2)
    log.resize(3)
    assert not log.full
    log.append(Note(5))
    assert offsets(log.newer(0, 9)) == [3, 4, 5]


def test_what_came_before_may_be_put_in_front_as_far_as_there_is_room() -> None:
    log = log_of(5, 6, keep=4)
    log.prepend([Note(2), Note(3), Note(4)])
    assert offsets(log.newer(0, 9)) == [3, 4, 5, 6]
    log.prepend([Note(1), Note(2)])
    log.prepend([])
    assert (log.first, log.top) == (3, 6)
    log.clear()
    assert (len(log), log.first, log.top) == (0, 7, 6)
    log.prepend([Note(5), Note(6)])
    assert offsets(log.after(4)) == [5, 6]
    with pytest.raises(AssertionError):
        log.prepend([Note(3)])


class Model(RuleBasedStateMachine):
    """A log against a plain list of what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.keep, self.top, self.now = 3, 0, 0.0
        self.notes: list[Note] = []
        self.log = Log[Note](3)

    @rule(pause=st.floats(0, 5))
    def append(self, pause: float) -> None:
        self.now += pause
        self.top += 1
        self.log.append(Note(self.top, self.now))
        self.notes = [*self.notes, Note(self.top, self.now)][-self.keep :]

    @rule(age=st.floats(0, 10))
    def expire(self, age: float) -> None:
        self.log.expire(before=self.now - age)
        self.notes = [note for note in self.notes if note.at >= self.now - age]

    @rule(keep=st.integers(1, 6))
    def resize(self, keep: int) -> None:
        self.log.resize(keep)
        self.keep, self.notes = keep, self.notes[-keep:]

    @precondition(lambda self: self.top > len(self.notes))
    @rule(count=st.integers(0, 6))
    def prepend(self, count: int) -> None:
        first = self.top + 1 - len(self.notes)
        notes = [Note(offset) for offset in range(max(1, first - count), first)]
        self.log.prepend(notes)
        self.notes = [*notes, *self.notes][-self.keep :]

    @rule(offset=st.integers(0, 20), limit=st.integers(0, 5))
    def read(self, offset: int, limit: int) -> None:
        newer = [note for note in self.notes if note.offset > offset]
        older = [note for note in reversed(self.notes) if note.offset < offset]
        assert self.log.newer(offset, limit) == newer[:limit]
        assert self.log.older(offset, limit) == older[:limit]
        complete = offset <= self.top and len(newer) == self.top - offset
        assert self.log.after(offset) == (newer if complete else None)

    @invariant()
    def is_the_same(self) -> None:
        assert self.log.newer(0, 99) == self.notes
        assert len(self.log) == len(self.notes)
        assert self.log.first == self.top + 1 - len(self.notes)
        assert self.log.full == (len(self.notes) == self.keep)


TestModel = Model.TestCase
