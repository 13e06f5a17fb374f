"""Where the same lines run ten thousand times, coverage need not watch them each time.

Watched, every call and every line takes three times as long. A test of many schedules has its first
part watched, and the other parts run here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unwatched(so: bool = True) -> Iterator[None]:
    """Keep coverage from watching, if ``so``. A debugger is let alone.

    What runs here and nowhere else counts as not covered.
    """
    watching = sys.gettrace()
    if not so or type(watching).__name__ != "CTracer":
        yield
        return
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(watching)
