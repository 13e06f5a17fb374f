"""What is measured, what is compared with it, and the environments that those need.

    python -m bench.peers [NAME …]        starts each, and tries what the measurements ask of it

The environments are made when they are first needed, and anew when what is wanted has changed:
`.venvs/bench` of bench/peers.txt, and `bench/js/node_modules` of its package-lock.json. This
project's own server runs in the environment that runs here.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

from bench import dialects
from bench.dialects import Dialect, Worded
from openapi import __version__

__all__ = ["PEERS", "ROOT", "Peer", "node_on_path", "node_program", "peer_python", "pins"]

ROOT: Final = Path(__file__).parents[1]

_REQUIREMENTS: Final = ROOT / "bench/peers.txt"
_FOLDER: Final = ROOT / ".venvs/bench"
_JS: Final = ROOT / "bench/js"
_SERVERS: Final = ROOT / "bench/servers"

Command: TypeAlias = Sequence[str | Path]

#: Why a folder could not be made: it is not tried again in each round.
_FAILED: Final[dict[Path, str]] = {}


@dataclass(frozen=True, slots=True)
class Peer:
    """A server, and how one talks to it.

    ``command`` makes the environment if it is not there, and says how the server is started: it
    prints its port as the first line, and serves on 127.0.0.1 until SIGTERM. It raises RuntimeError
    where the environment cannot be made. ``calls`` and ``fan_out`` are what it takes part in.
    """

    name: str
    title: str
    command: Callable[[], Command]
    dialect: Dialect
    calls: bool = True
    fan_out: bool = True


@cache
def peer_python() -> Path:
    """The Python that has the peers, of the version that runs here.

    Raises RuntimeError where it cannot be made.
    """
    # The base interpreter: one of an environment would make another one inside of it.
    base = Path(sys.base_prefix) / f"bin/python{sys.version_info.major}.{sys.version_info.minor}"
    command: Command = [ROOT / "tools/venv", _FOLDER, base, _REQUIREMENTS]
    _make(_FOLDER, of=_REQUIREMENTS.read_bytes() + sys.version.encode(), by=command, where=ROOT)
    return _FOLDER / "bin/python"


@cache
def node_program() -> Path:
    """Node.js, with the packages of bench/js.

    Raises RuntimeError where there is no Node.js or no npm, or the packages cannot be had.
    """
    node, npm = _needed("node"), _needed("npm")
    quietly = ("--loglevel=error", "--no-audit", "--no-fund", "--no-update-notifier")
    command: Command = [npm, "ci", "--ignore-scripts", *quietly]
    lock = (_JS / "package-lock.json").read_bytes()
    _make(_JS / "node_modules", of=lock, by=command, where=_JS)
    # That on PATH may be a script that starts another process, which a signal does not reach.
    real = subprocess.run(
        [node, "-p", "process.execPath"], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(real.stdout.strip())


def _make(folder: Path, *, of: bytes, by: Command, where: Path) -> None:
    """Have a folder made, if it was not made of this; by one process, if several want it."""
    if folder in _FAILED:
        raise RuntimeError(_FAILED[folder])
    mark, wanted = folder / ".made-of", sha256(of).hexdigest()
    locks = ROOT / ".venvs"
    locks.mkdir(exist_ok=True)
    with (locks / f"{folder.name}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not mark.exists() or mark.read_text() != wanted:
            print(f"making {folder}", file=sys.stderr)
            environment = {**os.environ, "PATH": _path()}
            made = subprocess.run(by, check=False, cwd=where, env=environment, stdout=sys.stderr)
            if made.returncode != 0:
                command = " ".join(map(str, by))
                _FAILED[folder] = f"{folder} cannot be made, as is said above, by: {command}"
                raise RuntimeError(_FAILED[folder])
            mark.write_text(wanted)


def _path() -> str:
    """Where programs are. `make` puts Node.js beside the Python, if the machine's is too old."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def node_on_path() -> str | None:
    """The Node.js that runs the peers, if there is one."""
    return shutil.which("node", path=_path())


def _needed(program: str) -> Path:
    found = shutil.which(program, path=_path())
    if found is None:
        raise RuntimeError(
            f"the servers in JavaScript need {program}, which is not on PATH:"
            " sudo apt-get install nodejs npm, or leave them out"
        )
    return Path(found)


def _own(server: str) -> Command:
    return [sys.executable, "-P", _SERVERS / server]


def _python(server: str) -> Command:
    # -P: what is beside the server shall not be imported.
    return [peer_python(), "-P", _SERVERS / server]


def _node(server: str) -> Command:
    return [node_program(), _SERVERS / server]


@cache
def pins() -> dict[str, str]:
    """The versions of the peers, and of what they need, by the name of the package."""
    lines = _REQUIREMENTS.read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    packages = json.loads((_JS / "package-lock.json").read_text())["packages"]
    return pins | {
        name: packages[f"node_modules/{name}"]["version"] for name in ("ws", "socket.io")
    }


def _titled(title: str, package: str) -> str:
    return f"{title} {pins()[package]}"


PEERS: Final = (
    Peer(
        "ours",
        f"aio-openapi {__version__}",
        partial(_own, "ours.py"),
        Worded(dialects.OURS),
    ),
    Peer(
        "aiohttp",
        _titled("aiohttp by hand", "aiohttp"),
        partial(_python, "aiohttp_by_hand.py"),
        Worded(dialects.BY_HAND),
    ),
    Peer(
        "picows",
        _titled("picows by hand", "picows"),
        partial(_python, "picows_by_hand.py"),
        Worded(dialects.BY_HAND),
    ),
    Peer(
        "websockets",
        _titled("websockets by hand", "websockets"),
        partial(_python, "websockets_by_hand.py"),
        Worded(dialects.BY_HAND),
    ),
    Peer(
        "python-socketio",
        _titled("python-socketio", "python-socketio"),
        partial(_python, "python_socketio.py"),
        Worded(dialects.SOCKETIO),
    ),
    Peer(
        "fastapi-websocket-rpc",
        _titled("fastapi-websocket-rpc", "fastapi-websocket-rpc"),
        partial(_python, "fastapi_rpc.py"),
        Worded(dialects.FASTAPI_RPC),
        fan_out=False,
    ),
    Peer(
        "aiohttp-rpc",
        _titled("aiohttp-rpc", "aiohttp-rpc"),
        partial(_python, "aiohttp_jsonrpc.py"),
        Worded(dialects.AIOHTTP_RPC),
        fan_out=False,
    ),
    Peer(
        "aio-openapi 3.2.1",
        _titled("aio-openapi", "aio-openapi"),
        partial(_python, "openapi_3_2_1.py"),
        Worded(dialects.OPENAPI_3_2_1),
    ),
    Peer(
        "Node ws",
        _titled("ws for Node.js by hand", "ws"),
        partial(_node, "node_ws.mjs"),
        Worded(dialects.NODE_BY_HAND),
    ),
    Peer(
        "Socket.IO",
        _titled("Socket.IO for Node.js", "socket.io"),
        partial(_node, "node_socketio.mjs"),
        Worded(dialects.NODE_SOCKETIO),
    ),
)
"""Ours first."""


if __name__ == "__main__":
    from bench.trial import main

    main(sys.argv[1:])
