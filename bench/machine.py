"""What it was measured on, for the report."""

import os
import platform
import re
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.peers import node_on_path, pins
from bench.process import CORES, SHARED

__all__ = ["machine"]

_OURS: Final = ("aiohttp", "msgspec", "uvloop")


def machine() -> dict[str, Any]:
    """The processor, the kernel, the interpreters, and the versions of all that takes part.

    ``load`` is the average of the last minute: on a machine with nothing else to do it is near 0.
    """
    found: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": len(CORES),
        "load": round(os.getloadavg()[0], 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "node": _node(),
        "uvloop": version("uvloop"),
        "date": date.today().isoformat(),
        "versions": pins() | {name: version(name) for name in _OURS},
    }
    if SHARED:
        found["notes"] = "one core only: server and load share it"
    return found


def _cpu() -> str:
    found: dict[str, str] = dict(
        re.findall(r"^([\w ]+?)\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    )
    return found.get("model name", platform.machine())


def _node() -> str | None:
    if (node := node_on_path()) is None:
        return None
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("v") or None
