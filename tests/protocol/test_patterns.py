"""One pattern, and many at once, against a matcher too simple to be wrong."""

import warnings
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from openapi.protocol import patterns
from openapi.protocol.patterns import KNOWN, Pattern, PatternTree, tokens_of

# A pattern as a list of pieces: "*", or the set of the characters that one piece takes, of these.
ALPHABET = "aAb-]!^*?[\n\u00e9\U0001f600"
Piece = tuple[str, frozenset[str] | None]


def fits(pieces: list[Piece], name: str) -> bool:
    """The reference: tries everything."""
    if not pieces:
        return not name
    taken = pieces[0][1]
    if taken is None:
        return any(fits(pieces[1:], name[i:]) for i in range(len(name) + 1))
    return name[:1] in taken and fits(pieces[1:], name[1:])


def set_piece(negated: bool, spans: list[tuple[str, str]]) -> Piece:
    members = frozenset(c for c in ALPHABET for low, high in spans if low <= c <= high)
    inner = "".join(low if low == high else f"{low}-{high}" for low, high in spans)
    others = frozenset(ALPHABET) - members
    return ("[!" if negated else "[") + inner + "]", others if negated else members


SPANS = st.lists(
    st.tuples(*[st.sampled_from("aAb^*?[\n\u00e9\U0001f600")] * 2), min_size=1, max_size=3
)
PIECES = st.one_of(
    st.just(("*", None)),
    st.just(("?", frozenset(ALPHABET))),
    st.sampled_from([(c, frozenset(c)) for c in "aAb-]!^\n\u00e9\U0001f600"]),
    st.builds(set_piece, st.booleans(), SPANS),
)
NAMES = st.text(ALPHABET, max_size=6)
SMALL_NAMES = st.text("ab", max_size=6)
SMALL_TEXTS = st.lists(
    st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "[b]", "["]), max_size=6
).map("".join)


@pytest.mark.parametrize(
    ("text", "those", "others"),
    [
        ("", [""], ["a"]),
        ("a.b", ["a.b"], ["axb", "a.b\n", "A.B", "a.", "aa.b"]),
        ("*", ["", "a", "a\nb", "\n"], []),
        ("**", ["", "ab"], []),
        ("a*c", ["ac", "abc", "a\nc", "acc"], ["a", "c", "abcd"]),
        ("?", ["a", "\n", "\U0001f600", "?"], ["", "ab"]),
        ("*?", ["a", "ab"], [""]),
        ("?*?", ["ab", "abc"], ["a"]),
        ("[abc]", ["a", "b", "c"], ["", "d", "ab", "[abc]"]),
        ("[a-c]x", ["ax", "bx", "cx"], ["dx", "-x", "x"]),
        ("[a-cx-z0]", list("abcxyz0"), list("dw-1")),
        ("[a-cb-d]", list("abcd"), ["e"]),
        ("[a-db]", list("abcd"), ["e"]),
        ("[!a-c]", ["d", "\n", "\U0001f600", "!"], ["a", "b", "c", ""]),
        ("[a!]", ["a", "!"], ["b"]),
        ("[!!]", ["a"], ["!"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[-a]", ["a", "-"], ["b"]),
        ("[]]", ["]"], ["[]]", ""]),
        ("[!]]", ["a"], ["]"]),
        ("[]-a]", ["]", "^", "a"], ["b", "-"]),
        ("[*]", ["*"], ["a", "", "[*]"]),
        ("[?][[]", ["?["], ["a["]),
        ("[c-a]", [], ["a", "b", "c", "-", ""]),
        ("[!c-a]", ["a", "-"], [""]),
        ("[\x00-b]", ["\x00", "a", "b"], ["c"]),
        ("[!\x00-b]", ["c"], ["\x00", "a", "b"]),
        ("[", ["["], ["", "a"]),
        ("[abc", ["[abc"], ["a"]),
        ("[]", ["[]"], [""]),
        ("[!]", ["[!]"], ["a"]),
        ("a[", ["a["], ["a"]),
        ("[[a]", ["[", "a"], ["[a"]),
        ("]", ["]"], []),
        ("a\\b", ["a\\b"], ["ab"]),
        ("\\*", ["\\", "\\x"], ["*"]),
        ("(a|b)+$", ["(a|b)+$"], ["a"]),
    ],
)
def test_a_pattern_fits_those_and_not_others(
    text: str, those: list[str], others: list[str]
) -> None:
    pattern = Pattern(text)
    assert [name for name in those + others if pattern.matches(name)] == those


def test_a_pattern_shows_its_text() -> None:
    assert Pattern("a*").text == "a*"
    assert repr(Pattern("a*")) == "Pattern('a*')"


def test_what_means_the_same_is_read_as_the_same() -> None:
    assert tokens_of("[ba]") == tokens_of("[ab]") == tokens_of("[a-b]") == tokens_of("[abab]")
    assert tokens_of("[a]") == tokens_of("a")
    assert tokens_of("***") == tokens_of("*")
    assert tokens_of("[!c-a]") == tokens_of("?")


@given(st.lists(PIECES, max_size=6), NAMES)
def test_a_pattern_agrees_with_the_simplest_matcher(pieces: list[Piece], name: str) -> None:
    text = "".join(text for text, _ in pieces)
    assert Pattern(text).matches(name) == fits(pieces, name)


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*"AB]-^*?&|~[", "[!"]), max_size=9).map("".join), st.data())
def test_any_text_is_a_pattern_and_means_what_fnmatch_says(text: str, data: st.DataObject) -> None:
    assume("-[!" not in text)  # an empty range before a ! makes a negation of it in fnmatch
    name = data.draw(st.text("AB]-^*?&|~[!", max_size=5) | st.just(text))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the expression that fnmatch builds
        expected = fnmatchcase(name, text)
    assert Pattern(text).matches(name) == expected


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_text_and_no_name_is_an_error(text: str, name: str) -> None:
    tree = PatternTree[str]()
    tree.add(text, text)
    assert tree.matching(name) == [text] * Pattern(text).matches(name)


# --- what it costs, by counts ------------------------------------------------------------------

Work = Counter[str]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts the steps of runs, and the looks at a single token."""
    counter: Work = Counter()
    step, takes = patterns._Run.step, patterns.takes

    def counted_step(self: patterns._Run, places: int, char: str) -> int:
        counter["step"] += 1
        return step(self, places, char)

    def counted_takes(token: patterns.Token, char: str) -> bool:
        counter["takes"] += 1
        return takes(token, char)

    monkeypatch.setattr(patterns._Run, "step", counted_step)
    monkeypatch.setattr(patterns, "takes", counted_takes)
    return counter


ADVERSARIES = [
    "*a*a*a*a*b",
    "a*" * 100 + "b",
    "*" * 200 + "b",
    "*" + "a" * 100 + "b",
    "?*" * 60 + "b",
    "[ab]*" * 60 + "c",
    "*[!b]" * 60 + "b",
    "[" * 200,
    "*?" * 60,
]


@pytest.mark.parametrize("text", ADVERSARIES)
@pytest.mark.parametrize("size", [100, 200, 400])
def test_a_hostile_pattern_takes_one_step_per_character(text: str, size: int, work: Work) -> None:
    Pattern(text).matches("a" * size)
    assert work["step"] <= size
    assert work["takes"] <= len(tokens_of(text))  # looked at once: it is the same character


@pytest.mark.parametrize("text", ADVERSARIES)
def test_a_hostile_pattern_in_a_tree_takes_one_step_per_character(text: str, work: Work) -> None:
    tree = PatternTree[str]()
    tree.add(text, text)
    tree.matching("a" * 400)
    assert work["step"] <= 401


def test_a_pattern_looks_at_its_tokens_once_for_each_character_that_it_meets(work: Work) -> None:
    pattern = Pattern("*[a-z][0-9]x*y")
    for _ in range(50):
        pattern.matches("abc012xyz")
    assert work["takes"] == len(set("abc012xyz")) * len("Z0xy")


def test_what_a_pattern_remembers_is_bounded() -> None:
    pattern = Pattern("*a*")
    assert pattern.matches("".join(map(chr, range(10 * KNOWN))))
    assert not pattern.matches("".join(map(chr, range(1000, 1000 + 10 * KNOWN))))
    assert 0 < len(pattern._run.takers) <= KNOWN


def filled(form: str, count: int) -> PatternTree[str]:
    tree = PatternTree[str]()
    tree.add("task.*", "mine")
    for n in range(count):
        tree.add(form.format(f"{n:05}q", chr(0x4E00 + n), chr(0x4E02 + n)), "other")
    return tree


@pytest.mark.parametrize(
    "form",
    [
        "task.{}",
        "task.{}*",
        "*{}*",
        "?{}",
        "?*{}*[!a]",
        "[a-c]{}*",
        "[!a]{}*",
        "{}*x",
        "t*a*s*k{}",
        "{1}*",
        "*{1}",
        "[{1}{2}]*",
        "*[{1}{2}]",
        "task.[{1}{2}]",
    ],
)
def test_ten_thousand_patterns_that_do_not_fit_cost_a_name_what_ten_cost(
    form: str, work: Work
) -> None:
    costs = []
    for count in (10, 10_000):
        tree = filled(form, count)
        assert tree.matching("task.done.twice") == ["mine"]
        work.clear()
        assert tree.matching("task.done.twice") == ["mine"]
        costs.append(Counter(work))
    assert costs[0] == costs[1]
    assert costs[0]["takes"] == 0
    assert costs[0]["step"] <= 5 * len("task.done.twice")


def test_a_name_stops_where_no_pattern_goes_on(work: Work) -> None:
    tree = filled("user.{}", 100)
    assert tree.matching("x" * 1000) == []
    assert work["step"] <= 2


def test_a_name_stops_at_the_star_that_ends_a_pattern(work: Work) -> None:
    tree = filled("user.{}", 100)
    assert tree.matching("task." + "x" * 1000) == ["mine"]
    assert work["step"] <= 7


# --- many at once ------------------------------------------------------------------------------


def nodes(tree: PatternTree[str]) -> Iterator[patterns._Node[str]]:
    todo = [tree._root]
    while todo:
        node = todo.pop()
        todo += node.then.values()
        yield node


def test_an_empty_tree_is_false_and_finds_nothing() -> None:
    tree = PatternTree[str]()
    assert not tree
    assert tree.matching("") == tree.matching("a") == []


def test_the_empty_pattern_is_one_too() -> None:
    tree = PatternTree[str]()
    tree.add("", "nothing")
    assert tree
    assert tree.matching("") == ["nothing"]
    assert tree.matching("a") == []
    tree.remove("")
    assert not tree


def test_adding_a_pattern_again_gives_it_the_new_value() -> None:
    tree = PatternTree[str]()
    tree.add("a*", "one")
    tree.add("a*", "two")
    assert tree.matching("ab") == ["two"]


def test_two_texts_of_one_meaning_are_two_patterns() -> None:
    tree = PatternTree[str]()
    tree.add("[ab]", "one")
    tree.add("[ba]", "two")
    assert tree.matching("a") == ["one", "two"]
    tree.remove("[ab]")
    assert tree.matching("a") == ["two"]


def test_a_pattern_that_fits_in_several_ways_is_found_once() -> None:
    tree = PatternTree[str]()
    for text in ("*a*", "*a", "*", "*b*"):
        tree.add(text, text)
    assert sorted(tree.matching("aaa")) == ["*", "*a", "*a*"]


@pytest.mark.parametrize("text", ["", "a", "ab", "abcd", "axc*", "b*", "[x]bc*", "abc**"])
def test_removing_what_is_not_there_is_a_key_error_and_changes_nothing(text: str) -> None:
    tree = PatternTree[str]()
    tree.add("abc*", "it")
    with pytest.raises(KeyError):
        tree.remove(text)
    assert tree.matching("abcd") == ["it"]


@pytest.mark.parametrize("gone", ["task.[ab]", "task.[bc]", "task.b"])
def test_what_a_tree_remembers_goes_when_the_patterns_change(gone: str) -> None:
    tree = PatternTree[str]()
    texts = ["task.[ab]", "task.[bc]", "task.b"]
    for n, text in enumerate(texts):
        tree.add(text, text)
        assert sorted(tree.matching("task.b")) == sorted(texts[: n + 1])
    tree.remove(gone)
    assert sorted(tree.matching("task.b")) == sorted(set(texts) - {gone})


def test_a_tree_forgets_what_was_removed() -> None:
    tree = PatternTree[str]()
    for text in ("[ab]", "[bc]", "[cd]"):
        tree.add(text, text)
    assert tree.matching("b") == ["[ab]", "[bc]"]
    tree.remove("[ab]")
    assert [node for root in nodes(tree) for way in root.ways.values() for node in way] == []


def test_what_a_tree_remembers_is_bounded() -> None:
    tree = PatternTree[str]()
    tree.add("[a-c]x*", "one")
    tree.add("[b-d]x*", "two")
    for code in range(10 * KNOWN):
        tree.matching(chr(code))
    assert tree.matching("bx") == ["one", "two"]
    for node in nodes(tree):
        assert len(node.ways) <= KNOWN
        assert len(node.run.takers) <= KNOWN


def test_a_tree_has_at_most_two_nodes_per_pattern_and_each_token_at_most_once() -> None:
    tree = PatternTree[str]()
    texts = ["".join(letters) + "*?" * 50 for letters in product("abc", repeat=5)]
    for text in texts:
        tree.add(text, text)
    assert sum(1 for _ in nodes(tree)) <= 2 * len(texts)
    assert sum(len(node.run.tokens) for node in nodes(tree)) <= sum(map(len, texts))


class TreeAgainstPatterns(RuleBasedStateMachine):
    """A tree finds exactly the patterns that fit, whatever was added and removed before."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = PatternTree[str]()
        self.texts: set[str] = set()

    @rule(text=SMALL_TEXTS)
    def add(self, text: str) -> None:
        self.tree.add(text, text)
        self.texts.add(text)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.texts:
            text = data.draw(st.sampled_from(sorted(self.texts)))
            self.tree.remove(text)
            self.texts.remove(text)

    @rule(name=SMALL_NAMES)
    def match(self, name: str) -> None:
        fitting = sorted(text for text in self.texts if Pattern(text).matches(name))
        assert sorted(self.tree.matching(name)) == fitting

    @invariant()
    def holds_nothing_else(self) -> None:
        assert bool(self.tree) == bool(self.texts)
        root, *others = nodes(self.tree)
        assert root.run.tokens == ()
        for node in others:
            assert node.values or len(node.then) > 1
        for node in (root, *others):
            assert all(child.run.tokens[0] == token for token, child in node.then.items())
            assert node.sets == {t: c for t, c in node.then.items() if isinstance(t, tuple)}
            for ways in node.ways.values():
                assert set(ways) <= set(node.sets.values())


TreeAgainstPatterns.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestTreeAgainstPatterns = TreeAgainstPatterns.TestCase


@example(["*a*b?c", "*ax", "*y"], "abac")
@example(["*a*b", "*a*c", "*a", "a*", "*"], "aacab")
@given(st.lists(SMALL_TEXTS, max_size=12), SMALL_NAMES)
def test_a_tree_finds_what_fits_and_is_empty_when_all_were_removed(
    texts: list[str], name: str
) -> None:
    tree = PatternTree[str]()
    for text in texts:
        tree.add(text, text)
    assert sorted(tree.matching(name)) == sorted(t for t in set(texts) if Pattern(t).matches(name))
    for text in set(texts):
        tree.remove(text)
    assert not tree
    assert [node.run.tokens for node in nodes(tree)] == [()]
