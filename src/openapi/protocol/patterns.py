"""Event patterns: one of them as a machine, and thousands of them walked at once.

In a pattern ``*`` is any run of characters (also none, also newlines), ``?`` is one character,
``[abc]`` and ``[a-z]`` are one of these, ``[!abc]`` is one of all others, and everything else is
itself: the rules of :func:`fnmatch.fnmatchcase`, without regular expressions.

A pattern is read into tokens. Each of them takes one character, except ``STAR``, which lets any
pass. The places before, between and after them are the bits of an integer, and a character moves
everything that is at any place in one step::

    a*bc    tokens   a   STAR  b   c      at the start   0b0001
            places 0     1       2   3    after "a"      0b0010
                                          after "ax"     0b0010   place 1 stays where it is
                                          after "axb"    0b0110   and has also moved on to 2
                                          after "axbc"   0b1010   3 is the end: it fits

So a name costs one step per character. There is no backtracking, and nothing that could blow up.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

__all__ = ["Pattern", "PatternTree", "Token", "takes", "tokens_of"]

V = TypeVar("V")

Token = str | tuple[int, ...]
"""A character; or a set of them, as the ascending code points at which one enters or leaves it."""

STAR: Final = ""
ANY: Final = (0,)
START: Final = 0b01
TAKEN: Final = 0b10
"""The place after a run's first character."""
KNOWN: Final = 256
"""What was worked out for a character is kept for so many of them, at most."""


def tokens_of(text: str) -> tuple[Token, ...]:
    """Read a pattern. Every text is one; a ``[`` that nothing closes is itself."""
    tokens: list[Token] = []
    last = text.rfind("]")
    i = 0
    while i < len(text):
        char = text[i]
        i += 1
        negated = text.startswith("!", i)
        first = i + negated  # a set has a member, be it a ]
        if char == "*":
            if tokens[-1:] != [STAR]:
                tokens.append(STAR)
        elif char == "?":
            tokens.append(ANY)
        elif char == "[" and first < last:
            end = text.index("]", first + 1)
            tokens.append(_set_of(text[first:end], negated))
            i = end + 1
        else:
            tokens.append(char)
    return tuple(tokens)


def _set_of(members: str, negated: bool) -> Token:
    spans: list[tuple[int, int]] = []
    i = 0
    while i < len(members):
        low = high = ord(members[i])
        i += 1
        if members.startswith("-", i) and i + 1 < len(members):
            high = ord(members[i + 1])
            i += 2
        if low <= high:  # z-a has nothing in it
            spans.append((low, high + 1))
    turns: list[int] = []
    for start, end in sorted(spans):
        if turns and start <= turns[-1]:
            turns[-1] = max(turns[-1], end)
        else:
            turns += start, end
    if negated:
        turns = turns[1:] if turns[:1] == [0] else [0, *turns]
    elif len(turns) == 2 and turns[0] + 1 == turns[1]:
        return chr(turns[0])
    return tuple(turns)


def takes(token: Token, char: str) -> bool:
    """Tell whether ``token`` takes the character."""
    if isinstance(token, str):
        return token == char
    return bisect_right(token, ord(char)) % 2 == 1


def _keep(known: dict[str, V], char: str, value: V) -> V:
    if len(known) >= KNOWN:
        known.clear()
    known[char] = value
    return value


class _Run:
    """Tokens in a row, as the machine that the top of this file draws."""

    __slots__ = ("end", "stays", "takers", "tokens")

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tuple(tokens)
        self.takers: dict[str, int] = {}  # by character, the places from where it leads on
        self.stays = 0
        self.end = START
        for token in tokens:
            if token == STAR:
                self.stays |= self.end
            else:
                self.end <<= 1

    def step(self, places: int, char: str) -> int:
        """The places after ``char``; 0 if there was no way on."""
        takers = self.takers.get(char)
        if takers is None:
            takers = _keep(self.takers, char, self._takers_of(char))
        return (places & takers) << 1 | places & self.stays

    def _takers_of(self, char: str) -> int:
        takers, place = 0, START
        for token in self.tokens:
            if token != STAR:
                takers |= place * takes(token, char)
                place <<= 1
        return takers


class Pattern:
    """One pattern: ``Pattern("user.*").matches("user.42")``."""

    __slots__ = ("_run", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._run = _Run(tokens_of(text))

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def matches(self, name: str) -> bool:
        """Tell whether all of ``name`` fits, in one step per character."""
        places = START
        for char in name:
            places = self._run.step(places, char)
            if not places:
                return False
        return bool(places & self._run.end)


class _Node(Generic[V]):
    """A run that some patterns have in common, their values if it ends them, and how others go on.

    The end of a run is the start of those that follow it. Only the one that begins with ``STAR``
    can stay there, so only that one is entered at its start; the others when they have taken a
    character.
    """

    __slots__ = ("run", "sets", "then", "values", "ways")

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.run = _Run(tokens)
        self.values: dict[str, V] = {}  # by the text, of which several may mean the same
        self.then: dict[Token, _Node[V]] = {}  # by first token
        self.sets: dict[Token, _Node[V]] = {}  # those of them whose first token is a set
        self.ways: dict[str, list[_Node[V]]] = {}  # by character, those of sets that take it

    def link(self, child: "_Node[V]") -> None:
        token = child.run.tokens[0]
        self.then[token] = child
        if not isinstance(token, str):
            self.sets[token] = child
            self.ways.clear()

    def unlink(self, token: Token) -> None:
        del self.then[token]
        if self.sets.pop(token, None) is not None:
            self.ways.clear()

    def enter(self, live: "dict[_Node[V], int]", places: int) -> None:
        """Be at these places too, and where a star follows, at its start."""
        live[self] = live.get(self, 0) | places
        if places & self.run.end and (star := self.then.get(STAR)) is not None:
            live[star] = live.get(star, 0) | START

    def leave(self, live: "dict[_Node[V], int]", char: str) -> None:
        """Go from the end to where ``char`` leads."""
        if (child := self.then.get(char)) is not None:
            child.enter(live, TAKEN)
        if self.sets:
            ways = self.ways.get(char)
            if ways is None:
                ways = [child for token, child in self.sets.items() if takes(token, char)]
                _keep(self.ways, char, ways)
            for child in ways:
                child.enter(live, TAKEN)


class PatternTree(Generic[V]):
    """Patterns, each with a value. A name finds the values of those that it fits.

    It is a radix tree: what patterns begin with in common is kept once, and walked once. A name
    steps through the nodes that it can reach, and those of other patterns cost it nothing; the
    size is in proportion to the text of the patterns.
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root = _Node[V](())

    def __bool__(self) -> bool:
        return bool(self._root.then or self._root.values)

    def add(self, text: str, value: V) -> None:
        """Add a pattern, or give it another value."""
        node, rest = self._root, tokens_of(text)
        while rest:
            child = node.then.get(rest[0])
            if child is None:
                child = _Node[V](rest)
                node.link(child)
            tokens = child.run.tokens
            shared = _shared(tokens, rest)
            if shared < len(tokens):  # a new node takes the child's place, and the child follows it
                between = _Node[V](tokens[:shared])
                child.run = _Run(tokens[shared:])
                between.link(child)
                node.link(between)
                child = between
            node, rest = child, rest[shared:]
        node.values[text] = value

    def remove(self, text: str) -> None:
        """Remove a pattern. Raises ``KeyError`` if it is not there."""
        path, rest = [self._root], tokens_of(text)
        while rest:
            node = path[-1].then[rest[0]]
            path.append(node)
            rest = rest[len(node.run.tokens) :]
        del path[-1].values[text]
        while len(path) > 1 and not (node := path.pop()).values and len(node.then) < 2:
            tokens = node.run.tokens
            path[-1].unlink(tokens[0])
            for child in node.then.values():  # it had one child: the two become one again
                child.run = _Run(tokens + child.run.tokens)
                path[-1].link(child)

    def matching(self, name: str) -> list[V]:
        """The values of the patterns that ``name`` fits."""
        found: dict[_Node[V], None] = {}
        live: dict[_Node[V], int] = {}
        self._root.enter(live, START)
        for char in name:
            before, live = live, {}
            for node, places in before.items():
                run = node.run
                if places & run.end:
                    if places & run.end & run.stays and not node.then:
                        found[node] = None  # it ends in a star, so the rest of the name fits
                        continue
                    node.leave(live, char)
                places = run.step(places, char)
                if places:
                    node.enter(live, places)
            if not live:
                break
        found.update((node, None) for node, places in live.items() if places & node.run.end)
        return [value for node in found for value in node.values.values()]


def _shared(some: Sequence[Token], others: Sequence[Token]) -> int:
    """How many tokens both begin with."""
    n = 0
    for one, other in zip(some, others, strict=False):
        if one != other:
            break
        n += 1
    return n
