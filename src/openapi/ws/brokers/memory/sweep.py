"""What keeps a table within bounds in which things expire that nobody asks for any more."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["sweep"]

V = TypeVar("V")

#: Entries of a table that are looked at, whether they have expired, when one is added.
_SWEPT: Final = 2


def sweep(table: OrderedDict[str, V], keep: Callable[[V], bool]) -> None:
    """Let go of what is to be kept no longer, of the next few of a table.

    Done whenever something is added, it keeps what nobody asks for any more within bounds.
    """
    for _ in range(min(_SWEPT, len(table))):
        channel, each = table.popitem(last=False)
        if keep(each):
            table[channel] = each
