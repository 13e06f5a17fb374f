"""How deeply a JSON text is nested, without parsing it."""

import re
from array import array
from itertools import accumulate
from typing import Final

__all__ = ["nested_deeper_than"]

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
