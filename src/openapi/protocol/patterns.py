"""Event patterns: one of them as a machine, and thousands of them walked at once.

In a pattern ``*`` is any run of characters (also none, also newlines), ``?`` is one character,
``[abc]`` and ``[a-z]`` are one of these, ``[!abc]`` is one of all others, and everything else is
itself: the rules of :func:`fnmatch.fnmatchcase`, without its regular expressions.

A pattern is read into *tokens*, each of which takes one character, except ``STAR``. The places
between them are the bits of an integer, so one character moves all places at once, whatever the
pattern is::

    tokens      a   STAR   b   c        places after "a":    0b0010
    places    0   1*         2   3      places after "axb":  0b0110    (* takes any character and stays)

There is no backtracking, so there is nothing to blow up: a name costs one step per character.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

__all__ = ["Pattern", "PatternTree", "Token", "tokens_of"]

V = TypeVar("V")

Token = str | tuple[int, ...]
"""A character; or a set of them, as the ascending code points at which one gets in or out of it."""

STAR: Final = ""
ANY: Final = (0,)
KNOWN: Final = 256
"""Characters whose places a run remembers, at most."""


def tokens_of(text: str) -> tuple[Token, ...]:
    """Read a pattern. Every text is one: a ``[`` that nothing closes is itself."""
    tokens: list[Token] = []
    last = text.rfind("]")
    i = 0
    while i < len(text):
        char = text[i]
        i += 1
        if char == "*":
            if tokens[-1:] != [STAR]:
                tokens.append(STAR)
        elif char == "?":
            tokens.append(ANY)
        elif char == "[":
            negated = text[i : i + 1] == "!"
            first = i + negated  # a ] in this place is a member
            if first < last:
                i = text.index("]", first + 1) + 1
                tokens.append(_set(text[first : i - 1], negated))
            else:
                tokens.append(char)
        else:
            tokens.append(char)
    return tuple(tokens)


def _set(members: str, negated: bool) -> Token:
    spans: list[tuple[int, int]] = []
    i = 0
    while i < len(members):
        start = end = ord(members[i])
        i += 1
        if members[i : i + 1] == "-" and i + 1 < len(members):
            end = ord(members[i + 1])
            i += 2
        if start <= end:
            spans.append((start, end + 1))
    turns: list[int] = []
    for start, end in sorted(spans):
        if turns and start <= turns[-1]:
            turns[-1] = max(turns[-1], end)
        else:
            turns += (start, end)
    if negated:
        turns = turns[1:] if turns[:1] == [0] else [0, *turns]
    elif len(turns) == 2 and turns[0] + 1 == turns[1]:
        return chr(turns[0])
    return tuple(turns)


def takes(token: Token, char: str) -> bool:
    """Tell whether ``token`` takes the character ``char``. ``STAR`` takes none: it stays."""
    if isinstance(token, str):
        return token == char
    return bisect_right(token, ord(char)) % 2 == 1


class Run:
    """Tokens in a row, as a machine. Bit n of its places: the first n characters were taken."""

    __slots__ = ("end", "known", "stays", "takers", "tokens")

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tuple(tokens)
        self.takers = tuple(token for token in tokens if token != STAR)
        self.end = 1 << len(self.takers)
        self.stays = 0
        self.known: dict[str, int] = {}
        place = 1
        for token in tokens:
            if token == STAR:
                self.stays |= place
            else:
                place <<= 1

    def step(self, places: int, char: str) -> int:
        """Where one is after ``char``, coming from ``places``."""
        takers = self.known.get(char)
        if takers is None:
            if len(self.known) >= KNOWN:
                self.known.clear()
            takers = sum(1 << i for i, token in enumerate(self.takers) if takes(token, char))
            self.known[char] = takers
        return (places & takers) << 1 | places & self.stays


class Pattern:
    """One pattern. ``Pattern("user.*").matches("user.42")``."""

    __slots__ = ("_run", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._run = Run(tokens_of(text))

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def matches(self, name: str) -> bool:
        """Tell whether the whole of ``name`` fits. One step per character."""
        places = 1
        for char in name:
            places = self._run.step(places, char)
            if not places:
                return False
        return bool(places & self._run.end)


class _Node(Generic[V]):
    """What some patterns have in common, and how they go on."""

    __slots__ = ("run", "sets", "then", "values")

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.run = Run(tokens)
        self.values: dict[str, V] = {}
        self.then: dict[Token, _Node[V]] = {}
        self.sets: dict[Token, _Node[V]] = {}  # those of them that begin with a set

    def link(self, child: "_Node[V]") -> None:
        token = child.run.tokens[0]
        self.then[token] = child
        if not isinstance(token, str):
            self.sets[token] = child

    def unlink(self, token: Token) -> None:
        del self.then[token]
        self.sets.pop(token, None)

    def split(self, child: "_Node[V]", at: int) -> "_Node[V]":
        """Put a node between this one and ``child`` that has the first tokens of the child."""
        tokens = child.run.tokens
        between = _Node[V](tokens[:at])
        child.run = Run(tokens[at:])
        between.link(child)
        self.link(between)
        return between

    def arrive(self, live: "dict[_Node[V], int]", places: int) -> None:
        live[self] = live.get(self, 0) | places
        if places & self.run.end and (star := self.then.get(STAR)) is not None:
            live[star] = live.get(star, 0) | 1

    def step(self, live: "dict[_Node[V], int]", places: int, char: str) -> None:
        if places & self.run.end:
            child = self.then.get(char)
            if child is not None:
                child.arrive(live, 2)
            for token, child in self.sets.items():
                if takes(token, char):
                    child.arrive(live, 2)
        places = self.run.step(places, char)
        if places:
            self.arrive(live, places)


class PatternTree(Generic[V]):
    """Patterns, each with a value; a name finds the values of those that it fits.

    A radix tree: what patterns begin with in common is kept, and walked, once. Its size is in
    proportion to the text of the patterns, and a pattern that has nothing to do with a name costs
    the name nothing.
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
            shared = _shared(child.run.tokens, rest)
            if shared < len(child.run.tokens):
                child = node.split(child, shared)
            node, rest = child, rest[shared:]
        node.values[text] = value

    def remove(self, text: str) -> None:
        """Remove a pattern that is in the tree."""
        path, rest = [self._root], tokens_of(text)
        while rest:
            node = path[-1].then[rest[0]]
            rest = rest[len(node.run.tokens) :]
            path.append(node)
        del path[-1].values[text]
        while len(path) > 1 and not (node := path.pop()).values and len(node.then) < 2:
            tokens = node.run.tokens
            path[-1].unlink(tokens[0])
            for child in node.then.values():
                child.run = Run(tokens + child.run.tokens)
                path[-1].link(child)

    def matching(self, name: str) -> list[V]:
        """The values of the patterns that ``name`` fits."""
        live: dict[_Node[V], int] = {}
        self._root.arrive(live, 1)
        for char in name:
            before, live = live, {}
            for node, places in before.items():
                node.step(live, places, char)
            if not live:
                break
        return [
            value
            for node, places in live.items()
            if places & node.run.end
            for value in node.values.values()
        ]


def _shared(some: Sequence[Token], others: Sequence[Token]) -> int:
    n = 0
    for one, other in zip(some, others, strict=False):
        if one != other:
            break
        n += 1
    return n
