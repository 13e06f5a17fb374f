"""The seam between history and live messages, with no broker behind it but a list."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openapi.protocol import feed as module
from openapi.protocol.feed import Feed, FeedState, Out, Reset
from openapi.protocol.stream import Page, Position

KEEP: Final = 4


@dataclass(frozen=True, slots=True)
class Note:
    """A message. No two are equal unless they are one."""

    offset: int
    epoch: str = "a"
    at: float = 0.0


def notes(*offsets: int, epoch: str = "a") -> list[Note]:
    return [Note(offset, epoch) for offset in offsets]


def page(top: int, *offsets: int, epoch: str = "a") -> Page[Note]:
    return Page(notes(*offsets, epoch=epoch), Position(top, epoch))


def state(feed: Feed[Note]) -> FeedState:
    """Its state now: a call in between may have changed it."""
    return feed.state


def opened(top: int = 0, *, keep: int = KEEP) -> Feed[Note]:
    """A feed whose stream "a" is at ``top``."""
    feed: Feed[Note] = Feed(keep)
    assert feed.opened(Position(top, "a")) == []
    assert state(feed) is FeedState.LIVE
    return feed


def receive(feed: Feed[Note], *offsets: int, epoch: str = "a") -> list[Note | Reset]:
    return [out for note in notes(*offsets, epoch=epoch) for out in feed.receive(note, note.epoch)]


# --- opening


def test_what_comes_before_it_is_known_where_the_stream_is_waits_for_that() -> None:
    feed: Feed[Note] = Feed(KEEP)
    assert receive(feed, 4, 5, 6) == []
    assert state(feed) is FeedState.OPENING
    assert feed.opened(Position(5, "a")) == notes(6)
    assert state(feed) is FeedState.LIVE
    assert feed.top == Position(6, "a")


def test_what_was_missed_while_it_opened_is_read() -> None:
    feed: Feed[Note] = Feed(KEEP)
    receive(feed, 8)
    assert feed.opened(Position(5, "a")) == []
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(8, 6, 7, 8)) == notes(6, 7, 8)
    assert state(feed) is FeedState.LIVE


def test_a_stream_that_was_lost_while_its_position_was_read_is_left_for_the_new_one() -> None:
    feed: Feed[Note] = Feed(KEEP)
    receive(feed, 6)
    receive(feed, 1, epoch="b")
    assert feed.opened(Position(5, "a")) == notes(6)
    assert state(feed) is FeedState.BRIDGING
    out = feed.bridged(page(1, epoch="b"))
    assert out == [Reset(Position(0, "b")), *notes(1, epoch="b")]
    assert state(feed) is FeedState.LIVE


def test_a_late_message_of_a_stream_that_was_lost_before_it_opened_resets_nothing() -> None:
    feed: Feed[Note] = Feed(KEEP)
    receive(feed, 7)
    receive(feed, 1, epoch="b")
    # Which of the two streams is lost, nobody can tell without asking.
    assert feed.opened(Position(0, "b")) == []
    assert feed.bridged(page(1, 1, epoch="b")) == notes(1, epoch="b")
    assert feed.top == Position(1, "b")
    assert receive(feed, 8) == []
    assert state(feed) is FeedState.LIVE
    assert receive(feed, 2, epoch="b") == notes(2, epoch="b")


# --- live


def test_each_message_goes_out_once_and_in_order() -> None:
    feed = opened(2)
    assert receive(feed, 3, 4, 5) == notes(3, 4, 5)
    assert feed.top == Position(5, "a")
    assert feed.stale == 0


def test_what_comes_twice_or_late_is_dropped_and_counted() -> None:
    feed = opened(2)
    assert receive(feed, 3, 3, 1, 2, 4) == notes(3, 4)
    assert feed.stale == 3


# --- a gap


def test_a_gap_is_bridged_in_place() -> None:
    feed = opened()
    assert receive(feed, 1, 3, 4) == notes(1)
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(4, 2, 3, 4)) == notes(2, 3, 4)
    assert state(feed) is FeedState.LIVE
    assert receive(feed, 5) == notes(5)


def test_what_comes_while_a_gap_is_bridged_follows_it() -> None:
    feed = opened()
    receive(feed, 2)
    read = page(2, 1, 2)
    assert receive(feed, 3, 4) == []
    assert feed.bridged(read) == notes(1, 2, 3, 4)


def test_a_gap_behind_the_gap_is_bridged_next() -> None:
    feed = opened()
    receive(feed, 2)
    read = page(2, 1, 2)
    receive(feed, 4)
    assert feed.bridged(read) == notes(1, 2)
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(4, 3, 4)) == notes(3, 4)
    assert state(feed) is FeedState.LIVE


def test_a_gap_of_more_than_a_page_is_bridged_page_by_page() -> None:
    feed = opened()
    receive(feed, 5)
    assert feed.bridged(page(5, 1, 2)) == notes(1, 2)
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(5, 3, 4)) == notes(3, 4)
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(6, 5, 6)) == notes(5, 6)
    assert state(feed) is FeedState.LIVE
    assert receive(feed, 6, 7) == notes(7)


@pytest.mark.parametrize("kept", [(), (8, 9)])
def test_a_gap_that_history_cannot_bridge_is_a_reset(kept: tuple[int, ...]) -> None:
    feed = opened(1)
    receive(feed, 9)
    assert feed.bridged(page(9, *kept)) == [Reset(Position(9, "a"))]
    assert state(feed) is FeedState.LIVE
    assert feed.top == Position(9, "a")
    assert receive(feed, 9, 10) == notes(10)


def test_what_came_behind_a_reset_goes_out_behind_it() -> None:
    feed = opened(1)
    receive(feed, 9)
    read = page(9, 8, 9)
    receive(feed, 10)
    assert feed.bridged(read) == [Reset(Position(9, "a")), *notes(10)]


def test_a_loss_that_nobody_noticed_is_found_by_asking() -> None:
    feed = opened(1)
    feed.bridge()
    assert feed.bridged(page(3, 2, 3)) == notes(2, 3)
    feed.bridge()
    assert feed.bridged(page(3)) == []
    assert state(feed) is FeedState.LIVE


def test_a_gap_that_a_reading_was_too_early_to_see_is_no_reset() -> None:
    feed = opened(5)
    feed.bridge()
    read = page(5)
    receive(feed, 7)
    assert feed.bridged(read) == []
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(7, 6, 7)) == notes(6, 7)


def test_a_history_that_lacks_what_came_live_is_not_asked_for_ever() -> None:
    feed = opened(5)
    receive(feed, 8)
    assert feed.bridged(page(6, 6)) == notes(6)
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(6)) == [Reset(Position(7, "a")), *notes(8)]
    assert state(feed) is FeedState.LIVE


def test_a_stream_that_went_back_is_a_reset() -> None:
    feed = opened(5)
    feed.bridge()
    assert feed.bridged(page(3)) == [Reset(Position(3, "a"))]
    assert receive(feed, 4) == notes(4)


def test_of_more_messages_than_wait_the_oldest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    feed = opened()
    receive(feed, 2)
    read = page(2, 1, 2)
    receive(feed, 3, 4, 5, 6)
    assert feed.bridged(read) == notes(1, 2)
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(6, 3, 4, 5, 6)) == notes(3, 4, 5, 6)
    assert state(feed) is FeedState.LIVE


# --- another stream


def test_a_new_stream_begins_behind_a_reset_with_all_that_came_of_it() -> None:
    feed = opened(5)
    assert receive(feed, 1, 2, epoch="b") == []
    assert state(feed) is FeedState.BRIDGING
    out = feed.bridged(page(3, epoch="b"))
    assert out == [Reset(Position(0, "b")), *notes(1, 2, epoch="b")]
    assert feed.top == Position(2, "b")
    assert receive(feed, 3, epoch="b") == notes(3, epoch="b")


def test_a_new_stream_that_nothing_came_of_is_a_reset_to_where_it_is() -> None:
    feed = opened(5)
    feed.bridge()
    assert feed.bridged(page(2, epoch="b")) == [Reset(Position(2, "b"))]
    assert state(feed) is FeedState.LIVE


def test_what_came_of_a_new_stream_behind_the_reading_begins_where_the_reading_was() -> None:
    feed = opened(5)
    feed.bridge()
    read = page(2, epoch="b")
    receive(feed, 4, epoch="b")
    assert feed.bridged(read) == [Reset(Position(2, "b"))]
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(4, 3, 4, epoch="b")) == notes(3, 4, epoch="b")


def test_the_last_messages_of_a_lost_stream_are_dropped_without_asking() -> None:
    feed = opened(5)
    receive(feed, 1, epoch="b")
    feed.bridged(page(1, epoch="b"))
    assert receive(feed, 6, 9) == []
    assert state(feed) is FeedState.LIVE
    assert feed.stale == 2
    assert receive(feed, 2, epoch="b") == notes(2, epoch="b")


def test_a_late_message_of_a_stream_lost_long_ago_is_asked_for_once() -> None:
    feed = opened(5)
    receive(feed, 7, epoch="before")
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(5)) == []
    assert state(feed) is FeedState.LIVE
    assert feed.stale == 1
    assert receive(feed, 8, epoch="before") == []
    assert state(feed) is FeedState.LIVE
    assert receive(feed, 6) == notes(6)


def test_a_position_may_follow_that_is_beyond_the_stream_or_in_one_that_nobody_has_heard_of() -> (
    None
):
    feed = opened(5)
    assert feed.may_follow(Position(6, "a"))
    assert not feed.may_follow(Position(5, "a"))
    assert feed.may_follow(Position(1, "b"))
    feed.lost("b")
    assert not feed.may_follow(Position(1, "b"))


def test_a_position_of_a_stream_that_was_lost_here_cannot_follow() -> None:
    feed = opened(5)
    receive(feed, 1, epoch="b")
    feed.bridged(page(1, epoch="b"))
    assert not feed.may_follow(Position(9, "a"))
    assert feed.may_follow(Position(2, "b"))


def test_a_log_that_got_a_part_of_what_came_before_is_not_filled_yet() -> None:
    feed = opened(9)
    feed.fill(Page(notes(8, 9), Position(9, "a"), more=True))
    assert not feed.reaches(Position(6, "a"))
    assert feed.reaches(Position(7, "a"))
    feed.fill(Page(notes(6, 7), Position(9, "a")))
    assert feed.filled
    assert feed.recover(Position(5, "a"), most=9) == notes(6, 7, 8, 9)


def test_two_streams_may_be_lost_before_one_is_read() -> None:
    feed = opened(5)
    receive(feed, 1, epoch="b")
    receive(feed, 1, epoch="c")
    out = feed.bridged(page(1, epoch="c"))
    assert out == [Reset(Position(0, "c")), *notes(1, epoch="c")]
    assert state(feed) is FeedState.LIVE
    assert receive(feed, 2, epoch="b") == []
    assert receive(feed, 6) == []
    assert state(feed) is FeedState.LIVE


def test_a_stream_that_was_lost_after_the_reading_is_asked_for_again() -> None:
    feed = opened(5)
    receive(feed, 7)
    read = page(7, 6, 7)
    receive(feed, 1, epoch="b")
    assert feed.bridged(read) == notes(6, 7)
    assert state(feed) is FeedState.BRIDGING
    assert feed.bridged(page(1, epoch="b")) == [Reset(Position(0, "b")), *notes(1, epoch="b")]


# --- recovering


def test_what_went_out_is_recovered_as_far_as_the_log_reaches() -> None:
    feed = opened(3)
    receive(feed, 4, 5, 6)
    assert feed.recover(Position(6, "a"), most=9) == []
    assert feed.recover(Position(4, "a"), most=9) == notes(5, 6)
    assert feed.recover(Position(3, "a"), most=9) == notes(4, 5, 6)
    assert feed.recover(Position(2, "a"), most=9) is None


def test_all_or_nothing_is_recovered() -> None:
    feed = opened(3)
    receive(feed, 4, 5, 6)
    assert feed.recover(Position(4, "a"), most=2) == notes(5, 6)
    assert feed.recover(Position(3, "a"), most=2) is None


def test_nothing_is_recovered_of_another_stream_or_of_the_future() -> None:
    feed = opened(3)
    assert feed.recover(Position(3, "b"), most=9) is None
    assert feed.recover(Position(4, "a"), most=9) is None


def test_a_log_that_begins_with_the_feed_is_filled_from_before() -> None:
    feed = opened(3)
    receive(feed, 4)
    assert feed.reaches(Position(3, "a"))
    assert feed.reaches(Position(1, "b")), "nothing that is read would help"
    assert not feed.reaches(Position(2, "a"))
    feed.fill(page(4, 2, 3, 4))
    assert feed.reaches(Position(0, "a")), "there is no more"
    assert feed.recover(Position(1, "a"), most=9) == notes(2, 3, 4)
    assert feed.recover(Position(0, "a"), most=9) is None


def test_what_was_read_is_put_in_front_of_what_came_since() -> None:
    feed = opened(3)
    read = page(3, 2, 3)
    receive(feed, 4, 5)
    feed.fill(read)
    assert feed.recover(Position(1, "a"), most=9) == notes(2, 3, 4, 5)


def test_a_log_is_filled_with_the_newest_only() -> None:
    feed = opened(6, keep=3)
    receive(feed, 7)
    feed.fill(page(7, 4, 5, 6, 7))
    assert feed.recover(Position(4, "a"), most=9) == notes(5, 6, 7)
    assert feed.recover(Position(3, "a"), most=9) is None


def test_a_full_log_need_not_be_filled() -> None:
    feed = opened(0, keep=2)
    receive(feed, 1)
    feed.log.expire(before=1.0)
    assert not feed.reaches(Position(0, "a"))
    receive(feed, 2, 3)
    assert feed.reaches(Position(0, "a"))


def test_a_history_of_which_nothing_is_left_fills_nothing() -> None:
    feed = opened(3)
    feed.fill(page(3))
    assert feed.filled
    assert feed.recover(Position(2, "a"), most=9) is None


def test_what_was_read_before_a_reset_fills_nothing_behind_it() -> None:
    feed = opened(3)
    read = page(3, 1, 2, 3)
    receive(feed, 1, epoch="b")
    feed.bridged(page(1, epoch="b"))
    feed.fill(read)
    assert not feed.filled
    feed.bridge()
    feed.bridged(page(5, 4, 5, epoch="b"))
    feed.fill(page(1, 1, epoch="b"))
    assert not feed.filled
    assert not feed.reaches(Position(3, "b"))
    feed.fill(page(5, 4, 5, epoch="b"))
    assert feed.recover(Position(3, "b"), most=9) == notes(4, 5, epoch="b")


def test_a_reset_empties_the_log() -> None:
    feed = opened(3)
    receive(feed, 4, 9)
    feed.fill(page(9, 3, 4))
    feed.bridged(page(9, 8, 9))
    assert not feed.filled
    assert feed.recover(Position(4, "a"), most=9) is None
    assert feed.recover(Position(9, "a"), most=9) == []


# --- everything at once

PAGE: Final = 3

STEPS: Final = (
    *("publish", "publish", "publish", "deliver", "deliver", "deliver"),
    *("drop", "repeat", "delay", "trim", "lose"),
    *("read", "return", "check", "read newest", "fill", "recover"),
)


class World:
    """A stream, a bus that cannot be relied on, a feed between them, and what must come of it.

    A reading sees the stream at one moment and comes back at a later one. It never begins before
    it is wanted.
    """

    def __init__(self) -> None:
        self.epochs: list[str] = []
        self.top = 0
        self.history: list[Note] = []
        self.bus: list[Note] = []
        self.feed: Feed[Note] = Feed(KEEP)
        self.found: Page[Note] | None = None
        self.newest: Page[Note] | None = None
        self.wanted = True
        self.readings = 0
        self.at: Position | None = None
        """Where whoever gets what the feed hands on is."""
        self.out: list[Note | Reset] = []
        self.ends: dict[str, int] = {}
        """Where each stream ended, or is."""
        self.lose()

    @property
    def position(self) -> Position:
        return Position(self.top, self.epochs[-1])

    # The stream

    def publish(self, chance: int = 0) -> None:
        self.top += 1
        self.ends[self.epochs[-1]] = self.top
        note = Note(self.top, self.epochs[-1])
        self.history = [*self.history, note][-KEEP:]
        self.bus.append(note)

    def trim(self, chance: int = 0) -> None:
        self.history = self.history[chance % KEEP :]

    def lose(self, chance: int = 0) -> None:
        self.epochs.append(f"e{len(self.epochs)}")
        self.top, self.history = 0, []
        self.ends[self.epochs[-1]] = 0

    # The bus

    def deliver(self, chance: int = 0) -> None:
        if self.bus:
            note = self.bus.pop(0)
            self.take(self.feed.receive(note, note.epoch), resets=False)

    def drop(self, chance: int = 0) -> None:
        if self.bus:
            self.bus.pop(chance % len(self.bus))

    def repeat(self, chance: int = 0) -> None:
        if self.bus:
            self.bus.append(self.bus[chance % len(self.bus)])

    def delay(self, chance: int = 0) -> None:
        if self.bus:
            self.bus.append(self.bus.pop(chance % len(self.bus)))

    # Whoever drives the feed

    def read(self, chance: int = 0) -> None:
        if not self.wanted or self.found is not None:
            return
        self.readings += 1
        if self.feed.state is FeedState.OPENING:
            self.found = Page((), self.position)
            return
        since, behind = self.feed.top, []
        if since.epoch == self.epochs[-1]:
            behind = [note for note in self.history if note.offset > since.offset]
        self.found = Page(behind[:PAGE], self.position)

    def return_(self, chance: int = 0) -> None:
        found, self.found = self.found, None
        if found is None:
            return
        before = self.feed.top
        if self.feed.state is FeedState.OPENING:
            self.at = found.top
            self.take(self.feed.opened(found.top), resets=False)
            return
        missing = found.top.offset > before.offset and (
            not found.messages or found.messages[0].offset != before.offset + 1
        )
        is_lost = found.top.epoch != before.epoch
        self.take(self.feed.bridged(found), resets=is_lost or missing)

    def check(self, chance: int = 0) -> None:
        if self.feed.state is FeedState.LIVE:
            self.feed.bridge()
            self.wanted = True

    def read_newest(self, chance: int = 0) -> None:
        self.newest = Page(self.history, self.position)

    def fill(self, chance: int = 0) -> None:
        if self.newest is not None and self.feed.state is not FeedState.OPENING:
            self.feed.fill(self.newest)
            self.newest = None

    def recover(self, chance: int = 0) -> None:
        top = self.feed.top
        since = Position(max(0, top.offset - chance), top.epoch)
        recovered = self.feed.recover(since, most=KEEP)
        if recovered is not None:
            expected = range(since.offset + 1, top.offset + 1)
            assert recovered == [Note(offset, top.epoch) for offset in expected]

    # What must come of it

    def take(self, out: Out[Note], *, resets: bool) -> None:
        """Each message once, in order, none left out but at a reset, whose position is true."""
        self.wanted = self.feed.state is not FeedState.LIVE
        assert [each for each in out if isinstance(each, Reset)] == list(out[: int(resets)])
        for each in out:
            assert self.at is not None
            if isinstance(each, Reset):
                new, old = self.age(each.position.epoch), self.age(self.at.epoch)
                assert (new, each.position.offset) > (old, self.at.offset)
                assert 0 <= each.position.offset <= self.ends[each.position.epoch]
                self.at = each.position
            else:
                assert each.epoch == self.at.epoch
                assert each.offset == self.at.offset + 1
                assert each.offset <= self.ends[each.epoch]
                self.at = Position(each.offset, each.epoch)
        if self.at is not None:
            assert self.feed.top == self.at
        self.out += out

    def age(self, epoch: str) -> int:
        return self.epochs.index(epoch)

    def settle(self) -> None:
        """Nothing more happens but what the feed asks for."""
        while self.bus:
            self.deliver()
        for _ in range(2):  # the second time, because somebody looks whether there is more
            before = self.readings
            while self.wanted:
                self.read()
                self.return_()
                assert self.readings - before <= 2 * len(self.epochs) + KEEP
            self.check()
        self.read()
        self.return_()
        assert state(self.feed) is FeedState.LIVE
        assert self.at == self.position
        self.read_newest()
        self.fill()
        for offset in range(self.top + 1):
            kept = [note for note in self.history if note.offset > offset]
            recovered = self.feed.recover(Position(offset, self.epochs[-1]), most=KEEP)
            if len(kept) == self.top - offset:
                assert recovered == kept
            elif recovered is not None:  # what went out is kept here, however history is trimmed
                assert recovered == [
                    Note(n, self.epochs[-1]) for n in range(offset + 1, self.top + 1)
                ]


def live(steps: Sequence[tuple[str, int]]) -> World:
    world = World()
    do = {
        "publish": world.publish,
        "deliver": world.deliver,
        "drop": world.drop,
        "repeat": world.repeat,
        "delay": world.delay,
        "trim": world.trim,
        "lose": world.lose,
        "read": world.read,
        "return": world.return_,
        "check": world.check,
        "read newest": world.read_newest,
        "fill": world.fill,
        "recover": world.recover,
    }
    for step, chance in steps:
        do[step](chance)
    world.settle()
    return world


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), max_size=60))
def test_the_seam_has_no_gap_no_repeat_and_no_swap_and_bridging_ends(
    steps: list[tuple[str, int]],
) -> None:
    live(steps)


def test_long_lives_have_no_gap_no_repeat_and_no_swap_either() -> None:
    messages = resets = readings = stale = 0
    for seed in range(400):
        rng = random.Random(seed)
        world = live([(rng.choice(STEPS), rng.randint(0, 7)) for _ in range(400)])
        resets += sum(isinstance(each, Reset) for each in world.out)
        messages += len(world.out)
        readings += world.readings
        stale += world.feed.stale
    # all of it does happen
    assert min(messages, resets, readings, stale) > 1000
