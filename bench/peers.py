"""The environment of what is compared with, made when it is first needed."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

__all__ = ["ROOT", "peer_python"]

ROOT = Path(__file__).parents[1]

_REQUIREMENTS = ROOT / "bench/peers.txt"
_FOLDER = ROOT / ".venvs/bench"


def peer_python() -> Path:
    """The Python that has python-socketio, of the version that runs here."""
    python, mark = _FOLDER / "bin/python", _FOLDER / "made-of"
    wanted = sha256(_REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        # The base interpreter: one of an environment would make another one inside of it.
        base = (
            Path(sys.base_prefix) / f"bin/python{sys.version_info.major}.{sys.version_info.minor}"
        )
        subprocess.run([ROOT / "tools/venv", _FOLDER, base, _REQUIREMENTS], check=True, cwd=ROOT)
        mark.write_text(wanted)
    return python
