"""How deeply a JSON text, or MessagePack, is nested, without parsing it."""

import re
from array import array
from itertools import accumulate
from typing import Final

__all__ = ["nested_deeper_than", "packed_deeper_than"]

# Possessive quantifiers, and a string that nothing closes goes to the end: whatever the text is,
# each character is looked at once.
_STRINGS: Final = re.compile(r'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): 255, ord("}"): 255}
_NO_BRACKETS: Final = re.compile(r"[^\[\]{}]++")


def nested_deeper_than(depth: int, text: str) -> bool:
    """Tell whether arrays and objects are nested in each other more than ``depth`` times."""
    if text.count("{") + text.count("[") <= depth:  # nearly every message ends here
        return False
    brackets = _NO_BRACKETS.sub("", _STRINGS.sub("", text))
    steps = array("b", brackets.translate(_STEPS).encode("latin-1"))
    return max(accumulate(steps), default=0) > depth


# What the first byte of a value says in MessagePack, by the table of its specification
# (github.com/msgpack/msgpack/blob/master/spec.md#formats).
_NO_CONTAINERS: Final = bytes({*range(256)} - {*range(0x80, 0xA0), *range(0xDC, 0xE0)})
# How many values are inside, which the byte says itself, and how many of them an item is.
_INSIDE: Final = {0x80 + size: (2 * size, 2) for size in range(16)} | {
    0x90 + size: (size, 1) for size in range(16)
}
# How long the number of items is that follows, and how many values an item is.
_LARGE: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
# How long the number is that follows, and how many bytes there are besides that number of them.
_COUNTED: Final = {
    **{0xC4: (1, 2), 0xC5: (2, 3), 0xC6: (4, 5)},  # bytes
    **{0xC7: (1, 3), 0xC8: (2, 4), 0xC9: (4, 6)},  # extensions
    **{0xD9: (1, 2), 0xDA: (2, 3), 0xDB: (4, 5)},  # strings
}
# How many bytes more than one a value is.
_MORE: Final = {0xA0 + size: size for size in range(32)} | {
    **{0xCA: 4, 0xCB: 8},  # floats
    **{0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8},  # integers
    **{0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17},  # extensions
}
# How many bytes a value is; 0 if the byte does not say it.
_SIZES: Final = [
    0 if byte in _INSIDE or byte in _LARGE or byte in _COUNTED else 1 + _MORE.get(byte, 0)
    for byte in range(256)
]


def packed_deeper_than(depth: int, data: bytes) -> bool:
    """Tell the same of MessagePack, where a container that is the name of a value is too deep.

    JSON has no such names, and a decoder would compare them with each other: they can be made so
    that this takes it the square of their number. Only up to ``depth`` of them may get past here.

    What is no MessagePack has an answer too: it is for a decoder to refuse.
    """
    if len(data.translate(None, _NO_CONTAINERS)) <= depth:  # nearly every message ends here
        return False
    around: list[tuple[int, bool]] = []  # the next two, of each container around the innermost
    left = 1  # how many values are yet to come in it
    is_map = False  # whether every other one is a name
    start, sizes = 0, _SIZES
    try:
        while True:
            if left:
                left -= 1
                first = data[start]
                if size := sizes[first]:
                    start += size
                elif first in _COUNTED:
                    width, size = _COUNTED[first]
                    start += size + int.from_bytes(data[start + 1 : start + 1 + width])
                elif len(around) == depth or (is_map and left % 2):
                    return True
                else:
                    start += 1
                    if first in _INSIDE:
                        inside, values = _INSIDE[first]
                    else:
                        width, values = _LARGE[first]
                        inside = values * int.from_bytes(data[start : start + width])
                        start += width
                    if inside:
                        around.append((left, is_map))
                        left, is_map = inside, values == 2
            elif around:
                left, is_map = around.pop()
            else:
                return False
    except IndexError:  # the data has ended before its values have
        return False
