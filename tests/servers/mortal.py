"""Become another program, which is killed when the process ends that started this one.

    python -I -S mortal.py PARENT PROGRAM ARGUMENT…

Tests that are killed clean nothing up; Linux kills their servers, stopped ones too. Other systems
have nothing like it. (It cannot be done between fork and exec: those who have threads must not run
Python there.)
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Do as the arguments say."""
    parent, program = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            sys.exit(1)
    os.execv(program, sys.argv[2:])


if __name__ == "__main__":
    main()
