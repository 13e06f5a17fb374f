"""What things are called where each name is there once.

A type has the name of its class. Two of one name are told apart by what their classes are in, as
``OrdersItem`` and ``StockItem``; where that is the same too, by numbers: ``Item`` and ``Item2``.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

__all__ = ["camel_case", "capitalized", "free", "identifier", "names_of", "snake_case"]

K = TypeVar("K", bound=Hashable)


def names_of(
    wanted: Mapping[K, tuple[Sequence[str], Sequence[str]]], taken: Collection[str]
) -> dict[K, list[str]]:
    """The names of each thing: ``{key: (words, endings)}``, a name for each of its endings.

    The words are from the package to the class. No name is one of ``taken``.
    """
    found: dict[K, list[str]] = {}
    used = {*taken}
    pending = dict(wanted)
    longest = max((len(words) for words, _ in wanted.values()), default=0)
    for size in range(1, longest + 1):
        names = {
            key: [_name(words[-size:]) + ending for ending in endings]
            for key, (words, endings) in pending.items()
        }
        times = Counter(name for each in names.values() for name in each)
        unused = {key: own for key, own in names.items() if _are_free(own, times, used)}
        for key, own in unused.items():
            found[key] = own
            used.update(own)
            del pending[key]
    for key, (words, endings) in pending.items():
        base, number = _name(words[-1:]), 1
        own = [base + ending for ending in endings]
        while used & {*own}:
            number += 1
            own = [f"{base}{number}{ending}" for ending in endings]
        found[key] = own
        used.update(own)
    return {key: found[key] for key in wanted}


def _are_free(names: Sequence[str], times: Mapping[str, int], used: Collection[str]) -> bool:
    return all(times[name] == 1 and name not in used for name in names)


def _name(words: Sequence[str]) -> str:
    *outer, last = (identifier(word.lstrip("_") or word) for word in words)
    before = "".join(capitalized(camel_case(word)) for word in outer)
    return before + (capitalized(last) if outer else last)


def free(name: str, taken: Collection[str], ending: Callable[[int], str] = "_{}".format) -> str:
    """A name, or if it is taken with a number behind it."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = name + ending(number)
    return found


def identifier(text: str) -> str:
    """A text as an identifier: what cannot be in one is ``_``."""
    name = "".join(char if f"x{char}".isidentifier() else "_" for char in text)
    return name if name.isidentifier() else f"_{name}"


def snake_case(text: str) -> str:
    """``liveScores/2`` as ``live_scores_2``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    return _joined(words.split("_"), "_")


def camel_case(text: str) -> str:
    """``live_scores`` as ``liveScores``."""
    first, *others = _joined(text.split("_"), "_").split("_")
    return first + "".join(map(capitalized, others)) or "_"


def capitalized(text: str) -> str:
    """A text whose first letter is large; the others are what they are."""
    return text[:1].upper() + text[1:]


def _joined(words: Iterable[str], between: str) -> str:
    parts = (part for word in words for part in identifier(word).split("_") if part)
    return between.join(parts) or "_"
