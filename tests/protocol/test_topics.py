"""Who gets what: the index against a list of all subscriptions."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import FrameType

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from openapi.protocol import patterns
from openapi.protocol.patterns import Pattern
from openapi.protocol.topics import TopicIndex


def index_of(*subscriptions: tuple[str, str, str]) -> TopicIndex[str]:
    index = TopicIndex[str]()
    for subscriber, channel, pattern in subscriptions:
        index.subscribe(subscriber, channel, pattern)
    return index


def assert_holds_nothing(index: TopicIndex[str]) -> None:
    assert not index._channels
    assert not index._own
    assert index.info() == {}
    assert len(index) == 0
    assert list(index) == []


# --- who gets a message ------------------------------------------------------------------------


def test_nobody_is_on_a_channel_that_is_not_there() -> None:
    assert list(TopicIndex[str]().subscribers("news", "sport")) == []


def test_a_channel_is_found_by_its_exact_name() -> None:
    index = index_of(("a", "news", "*"), ("b", "news*", "*"), ("c", "News", "*"))
    assert list(index.subscribers("news", "x")) == ["a"]
    assert list(index.subscribers("news*", "x")) == ["b"]
    assert list(index.subscribers("news2", "x")) == []


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("sport", ["all", "name", "glob"]),
        ("spat", ["all", "glob"]),
        ("politics", ["all"]),
        ("", ["all"]),
        ("sp*", ["all", "glob"]),
    ],
)
def test_every_kind_of_pattern_gets_what_fits_it(event: str, expected: list[str]) -> None:
    index = index_of(("all", "news", "*"), ("name", "news", "sport"), ("glob", "news", "sp*"))
    assert list(index.subscribers("news", event)) == expected


def test_a_name_with_wildcards_in_it_is_no_pattern_when_published() -> None:
    index = index_of(("set", "news", "[ab]"), ("name", "news", "a"))
    assert list(index.subscribers("news", "[ab]")) == []
    assert list(index.subscribers("news", "a")) == ["set", "name"]


def test_an_unclosed_bracket_is_a_name() -> None:
    index = index_of(("a", "news", "a[b"))
    assert list(index.subscribers("news", "a[b")) == ["a"]
    index.leave("a")
    assert_holds_nothing(index)


def test_a_subscriber_gets_a_message_once_however_many_of_its_patterns_fit() -> None:
    index = index_of(*[("a", "news", text) for text in ("*", "sport", "s*", "*t", "?port", "**")])
    assert list(index.subscribers("news", "sport")) == ["a"]


def test_everybody_with_a_fitting_pattern_gets_it_not_only_the_first_pattern() -> None:
    index = index_of(("a", "jobs", "task.*"), ("b", "jobs", "task.done"))
    assert list(index.subscribers("jobs", "task.done")) == ["a", "b"]


def test_the_order_is_that_of_the_oldest_subscription_that_fits() -> None:
    index = index_of(
        ("a", "news", "sport"), ("b", "news", "s*"), ("a", "news", "*"), ("c", "news", "*")
    )
    assert list(index.subscribers("news", "sport")) == ["a", "b", "c"]
    assert list(index.subscribers("news", "spa")) == ["b", "a", "c"]
    assert list(index.subscribers("news", "x")) == ["a", "c"]


def test_subscribing_again_keeps_the_place_and_leaving_gives_it_up() -> None:
    index = index_of(("a", "news", "*"), ("b", "news", "*"), ("a", "news", "*"))
    assert list(index.subscribers("news", "x")) == ["a", "b"]
    index = index_of(("a", "news", "*"), ("b", "news", "x*"), ("a", "news", "*"))
    assert list(index.subscribers("news", "x")) == ["a", "b"]
    index = index_of(("a", "news", "*"), ("b", "news", "*"))
    index.leave("a")
    index.subscribe("a", "news", "*")
    assert list(index.subscribers("news", "x")) == ["b", "a"]


def test_the_servers_events_go_to_everybody_on_the_channel() -> None:
    index = index_of(("a", "news", "sport"), ("b", "news", "[x]*"), ("c", "other", "*"))
    assert list(index.subscribers("news", "$join")) == ["a", "b"]
    assert list(index.subscribers("nobody", "$join")) == []


def test_the_servers_events_keep_the_order_in_which_the_channel_was_joined() -> None:
    index = index_of(("a", "news", "x"), ("b", "news", "y"), ("a", "news", "z"))
    index.unsubscribe("a", "news", "x")
    assert list(index.subscribers("news", "$join")) == ["a", "b"]


def test_where_one_pattern_fits_its_own_collection_is_the_answer() -> None:
    index = index_of(("a", "all", "*"), ("b", "name", "x"), ("c", "glob", "x*"))
    for channel in index:
        answer = index.subscribers(channel, "x")
        assert answer is index.subscribers(channel, "x")
        index.subscribe("d", channel, {"all": "*", "name": "x", "glob": "x*"}[channel])
        assert "d" in answer
        assert len(answer) == 2


# --- the first and the last of a channel --------------------------------------------------------


def test_subscribing_tells_whether_the_channel_had_nobody_before() -> None:
    index = TopicIndex[str]()
    assert index.subscribe("a", "news", "*") is True
    assert index.subscribe("a", "news", "*") is False
    assert index.subscribe("a", "news", "x") is False
    assert index.subscribe("b", "news", "*") is False
    assert index.subscribe("b", "other", "*") is True


def test_unsubscribing_tells_whether_the_channel_has_nobody_now() -> None:
    index = index_of(("a", "news", "*"), ("a", "news", "x"), ("b", "news", "x*"))
    assert index.unsubscribe("a", "news", "*") is False
    assert index.unsubscribe("b", "news", "x*") is False
    assert index.unsubscribe("a", "news", "x") is True
    assert_holds_nothing(index)


def test_unsubscribing_without_a_pattern_removes_all_of_them_on_that_channel() -> None:
    index = index_of(
        ("a", "news", "*"), ("a", "news", "x"), ("a", "news", "x*"), ("a", "other", "*")
    )
    assert index.unsubscribe("a", "news") is True
    assert index.subscriptions("a") == {"other": ["*"]}
    assert "news" not in index


@pytest.mark.parametrize(
    ("subscriber", "channel", "pattern"),
    [
        ("b", "news", "*"),
        ("b", "news", None),
        ("a", "other", "*"),
        ("a", "other", None),
        ("a", "news", "x"),
        ("a", "news", "**"),
    ],
)
def test_unsubscribing_what_is_not_there_changes_nothing(
    subscriber: str, channel: str, pattern: str | None
) -> None:
    index = index_of(("a", "news", "*"))
    assert index.unsubscribe(subscriber, channel, pattern) is False
    assert index.info() == {"news": {"*": 1}}
    assert index.subscriptions("a") == {"news": ["*"]}


def test_leaving_names_the_channels_that_have_nobody_now() -> None:
    index = index_of(
        ("a", "one", "*"),
        ("a", "two", "x"),
        ("b", "two", "y"),
        ("a", "three", "z*"),
        ("b", "4", ""),
    )
    assert index.leave("a") == ["one", "three"]
    assert index.leave("a") == []
    assert index.subscriptions("a") == {}
    assert index.info() == {"two": {"y": 1}, "4": {"": 1}}
    assert index.leave("b") == ["two", "4"]
    assert_holds_nothing(index)


def test_a_channel_keeps_no_tree_when_its_last_wildcard_is_gone() -> None:
    index = index_of(("a", "news", "*"), ("a", "news", "x*"), ("b", "news", "y?"))
    index.leave("b")
    index.unsubscribe("a", "news", "x*")
    assert index._channels["news"].globs is None
    assert list(index.subscribers("news", "x")) == ["a"]


# --- what the index tells about itself ----------------------------------------------------------


def test_the_index_is_about_channels() -> None:
    index = index_of(("a", "one", "*"), ("a", "two", "*"), ("b", "two", "x"))
    assert len(index) == 2
    assert list(index) == ["one", "two"]
    assert "one" in index
    assert "three" not in index
    assert 1 not in index


def test_subscriptions_are_those_of_one_subscriber_as_it_wrote_them() -> None:
    index = index_of(("a", "one", "[ba]"), ("a", "one", "**"), ("b", "one", "x"), ("a", "two", "*"))
    assert index.subscriptions("a") == {"one": ["[ba]", "**"], "two": ["*"]}
    assert index.subscriptions("nobody") == {}


def test_info_counts_the_subscribers_of_each_pattern() -> None:
    index = index_of(("a", "one", "*"), ("b", "one", "*"), ("b", "one", "x"), ("b", "two", "x?"))
    assert index.info() == {"one": {"*": 2, "x": 1}, "two": {"x?": 1}}
    assert index.channel_info("one") == {"*": 2, "x": 1}
    assert index.channel_info("three") == {}


def test_clearing_removes_everything_of_everybody() -> None:
    index = index_of(("a", "one", "*"), ("b", "two", "x?"))
    index.clear()
    assert_holds_nothing(index)
    assert index.subscribe("a", "one", "*") is True


def test_the_channels_and_patterns_of_a_subscriber_are_its_own() -> None:
    index = index_of(("a", "two", "*"), ("b", "one", "x"), ("a", "one", "x*"), ("a", "one", "x"))
    assert index.channels("a") == ["two", "one"]
    assert (index.count("a"), index.count("b"), index.count("nobody")) == (2, 1, 0)
    assert list(index.patterns("a", "one")) == ["x*", "x"]
    assert index.channels("nobody") == []
    assert list(index.patterns("b", "two")) == list(index.patterns("b", "three")) == []
    index.channels("a").clear()  # it is a copy
    index.unsubscribe("a", "two")
    assert (index.channels("a"), index.count("a")) == (["one"], 1)


def test_the_members_of_a_channel_are_those_who_have_something_on_it_once() -> None:
    index = index_of(
        ("a", "news", "x"), ("b", "news", "[x]*"), ("a", "news", "*"), ("c", "two", "")
    )
    assert list(index.members("news")) == ["a", "b"]
    index.unsubscribe("a", "news", "x")
    assert list(index.members("news")) == ["a", "b"]
    index.unsubscribe("a", "news", "*")
    assert list(index.members("news")) == ["b"]
    assert list(index.members("nobody")) == []
    assert index.members("two") is index.members("two")


def test_a_generation_is_of_one_subscription_and_none_without_it() -> None:
    index = index_of(("a", "news", "x"), ("a", "news", "*"), ("b", "news", "x"), ("a", "two", "x"))
    subscriptions = [("a", "news", "x"), ("a", "news", "*"), ("b", "news", "x"), ("a", "two", "x")]
    generations = [index.generation(*each) for each in subscriptions]
    assert None not in generations
    assert len(set(generations)) == 4
    for nobody in (("b", "news", "*"), ("c", "news", "x"), ("b", "two", "x"), ("a", "one", "x")):
        assert index.generation(*nobody) is None
    assert [index.generation(*each) for each in subscriptions] == generations


def test_a_generation_is_another_one_when_it_is_subscribed_to_again() -> None:
    index = index_of(("a", "news", "x"), ("b", "news", "x"))
    first, other = index.generation("a", "news", "x"), index.generation("b", "news", "x")
    index.subscribe("a", "news", "x")  # though it was there
    second = index.generation("a", "news", "x")
    index.unsubscribe("a", "news", "x")
    assert index.generation("a", "news", "x") is None
    index.subscribe("a", "news", "x")
    assert len({None, first, second, index.generation("a", "news", "x")}) == 4
    index.leave("a")
    assert index.generation("a", "news", "x") is None
    assert index.generation("b", "news", "x") == other
    index.clear()
    assert index.generation("b", "news", "x") is None
    index.subscribe("b", "news", "x")
    assert index.generation("b", "news", "x") not in (None, first, second, other)


# --- what it costs, by counts -------------------------------------------------------------------


class Subscriber:
    """Counts how often it is looked up, in total."""

    lookups = 0

    def __hash__(self) -> int:
        Subscriber.lookups += 1
        return id(self)


def cost(call: Callable[[], object]) -> Counter[str]:
    """How many functions, of Python or of C, were called, and how many subscribers looked up."""
    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, arg: object) -> None:
        counts[event] += 1

    before = sys.getprofile()
    Subscriber.lookups = 0
    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(before)
    counts["lookups"] = Subscriber.lookups
    return counts


@pytest.mark.parametrize("form", ["user.{}", "user.{}.*", "*.{}", "[a-c]{}*", "{}?", "?{}"])
def test_the_cost_of_a_message_does_not_depend_on_the_number_of_other_patterns(form: str) -> None:
    costs = []
    for others in (10, 5_000):
        index = TopicIndex[Subscriber]()
        mine = Subscriber()
        index.subscribe(mine, "jobs", "task.*")
        for n in range(others):
            index.subscribe(Subscriber(), "jobs", form.format(f"{n:05}"))
        assert list(index.subscribers("jobs", "task.done")) == [mine]
        costs.append(cost(partial(index.subscribers, "jobs", "task.done")))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("event", ["task.done", "$join"])
def test_where_all_have_everything_nobody_is_looked_at_and_nothing_is_walked(event: str) -> None:
    index = TopicIndex[Subscriber]()
    for _ in range(1000):
        index.subscribe(Subscriber(), "jobs", "*")
    counts = cost(partial(index.subscribers, "jobs", event))
    assert counts["lookups"] == 0
    assert counts["call"] == 1


@pytest.mark.parametrize("others", [0, 1, 1000])
@pytest.mark.parametrize("pattern", ["*", "done", "task.*"])
def test_leaving_costs_what_one_had_whoever_else_is_there(pattern: str, others: int) -> None:
    def leaving(others: int) -> Counter[str]:
        index = TopicIndex[Subscriber]()
        mine = Subscriber()
        for channel in ("one", "two", "three"):
            index.subscribe(mine, channel, pattern)
            index.subscribe(mine, channel, "mine")
            for n in range(others):
                index.subscribe(Subscriber(), channel, pattern)
                index.subscribe(Subscriber(), channel, f"other{n}")
                index.subscribe(Subscriber(), f"other{n}", pattern)
        return cost(partial(index.leave, mine))

    assert leaving(others)["lookups"] <= leaving(0)["lookups"]
    assert leaving(others).total() <= leaving(0).total()


def test_leaving_costs_in_proportion_to_what_one_had() -> None:
    def leaving(channels: int, texts: int) -> int:
        index = TopicIndex[Subscriber]()
        mine = Subscriber()
        for channel in range(channels):
            for text in range(texts):
                index.subscribe(mine, f"channel{channel}", f"{text:03}.*")
        return cost(partial(index.leave, mine)).total()

    one = leaving(1, 10)
    assert leaving(10, 10) <= 10 * one
    assert leaving(100, 10) <= 100 * one
    assert leaving(1, 100) <= 11 * one
    assert leaving(1, 1000) <= 110 * one


def test_a_hostile_event_meets_hostile_patterns_in_steps_not_in_powers() -> None:
    index = TopicIndex[str]()
    texts = ["*" + "a" * n + "?" + "a*" * 100 + "b" for n in range(16)]
    for text in texts:
        index.subscribe("a", "news", text)
    steps = 0
    step = patterns._Run.step

    def counted(self: patterns._Run, places: int, char: str) -> int:
        nonlocal steps
        steps += 1
        return step(self, places, char)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns._Run, "step", counted)
        assert list(index.subscribers("news", "a" * 255)) == []
    assert steps <= 255 * 2 * len(texts)


# --- any order of doing things, against a list --------------------------------------------------

SUBSCRIBERS = st.sampled_from("STUV")
CHANNELS = st.sampled_from(["one", "two", "on*"])
TEXTS = st.sampled_from(
    [
        "*",
        "**",
        "a",
        "b",
        "ab",
        "a*",
        "*a",
        "?",
        "a?",
        "[ab]",
        "[ba]",
        "[!a]*",
        "[a]",
        "a[",
        "",
        "$*",
    ]
)
EVENTS = st.sampled_from(["", "a", "b", "ab", "ba", "aba", "a[", "a*", "[ab]", "c", "$join", "$"])


class IndexAgainstList(RuleBasedStateMachine):
    """The model: every subscription in a list, and every subscriber of a channel in another."""

    def __init__(self) -> None:
        super().__init__()
        self.index = TopicIndex[str]()
        self.all: list[tuple[str, str, str]] = []
        self.joined: list[tuple[str, str]] = []
        self.generations: dict[tuple[str, str, str], int] = {}

    def channels(self) -> set[str]:
        return {channel for _, channel, _ in self.all}

    def drop(self, gone: list[tuple[str, str, str]]) -> set[str]:
        """Remove them from the model; the channels that have nobody now."""
        before = self.channels()
        self.all = [one for one in self.all if one not in gone]
        self.generations = {one: self.generations[one] for one in self.all}
        self.joined = [(s, c) for s, c in self.joined if any((s, c) == one[:2] for one in self.all)]
        return before - self.channels()

    @rule(s=SUBSCRIBERS, channel=CHANNELS, text=TEXTS)
    def subscribe(self, s: str, channel: str, text: str) -> None:
        assert self.index.subscribe(s, channel, text) == (channel not in self.channels())
        if (s, channel, text) not in self.all:
            self.all.append((s, channel, text))
        generation = self.index.generation(s, channel, text)
        assert generation is not None
        assert generation > max(self.generations.values(), default=0)
        self.generations[s, channel, text] = generation
        if (s, channel) not in self.joined:
            self.joined.append((s, channel))

    @rule(s=SUBSCRIBERS, channel=CHANNELS, text=TEXTS | st.none())
    def unsubscribe(self, s: str, channel: str, text: str | None) -> None:
        gone = [one for one in self.all if one[:2] == (s, channel) and text in (None, one[2])]
        assert self.index.unsubscribe(s, channel, text) == (channel in self.drop(gone))

    @rule(s=SUBSCRIBERS)
    def leave(self, s: str) -> None:
        gone = [one for one in self.all if one[0] == s]
        empty = self.index.leave(s)
        assert len(empty) == len(set(empty))
        assert set(empty) == self.drop(gone)

    @rule()
    def clear(self) -> None:
        self.index.clear()
        self.drop(self.all)

    @rule(channel=CHANNELS, event=EVENTS)
    def publish(self, channel: str, event: str) -> None:
        if event.startswith("$"):
            expected = [s for s, c in self.joined if c == channel]
        else:
            fitting = [
                s for s, c, text in self.all if c == channel and Pattern(text).matches(event)
            ]
            expected = list(dict.fromkeys(fitting))
        answer = self.index.subscribers(channel, event)
        assert list(answer) == expected
        assert len(answer) == len(expected)

    @invariant()
    def tells_what_it_has(self) -> None:
        assert set(self.index) == self.channels()
        assert len(self.index) == len(self.channels())
        counts = Counter((channel, text) for _, channel, text in self.all)
        info = self.index.info()
        assert {(c, t): n for c, texts in info.items() for t, n in texts.items()} == counts
        for s in "STUV":
            own = self.index.subscriptions(s)
            assert [(c, t) for c, texts in own.items() for t in texts] == [
                (c, t) for channel in own for one, c, t in self.all if one == s and c == channel
            ]
            assert set(own) == {c for one, c, _ in self.all if one == s}
            assert self.index.channels(s) == list(own)
            assert self.index.count(s) == len(own)
        for channel in ("one", "two", "on*"):
            members = [s for s, c in self.joined if c == channel]
            assert list(self.index.members(channel)) == members
        for one in self.all:
            assert self.index.generation(*one) == self.generations[one]

    def teardown(self) -> None:
        for s in "STUV":
            self.leave(s)
        assert_holds_nothing(self.index)


IndexAgainstList.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestIndexAgainstList = IndexAgainstList.TestCase
