"""Standard input, output and error as the commands need them, however they were started."""

import io
import os
import sys

__all__ = ["prepare"]


def prepare() -> None:
    """Put the null device where the shell has closed a stream, and have pipes in UTF-8.

    To be called before anything else opens a file or a socket: that would get the number of the
    closed stream, and with it whatever is written there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # It takes the lowest number that is free, and so the one that was closed.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="backslashreplace")
        else:
            sys.stdout.reconfigure(encoding="utf-8")  # as JSON is between programs: RFC 8259, 8.1
