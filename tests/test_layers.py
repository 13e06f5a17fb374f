"""The arrows between the layers, read from the imports of every file.

The folder is the layer. Imports inside functions and under ``TYPE_CHECKING`` count too: what a file
names, it knows.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "openapi"

# layer -> the layers that it may import. A layer may always import itself.
ARROWS: dict[str, frozenset[str]] = {
    "__init__": frozenset(),
    "errors": frozenset(),
    "browser": frozenset(),
    "schema": frozenset({"errors"}),
    "protocol": frozenset({"schema", "errors"}),
    "spec": frozenset({"protocol", "schema", "errors"}),
    "rpc": frozenset({"protocol", "schema", "errors"}),
    "types": frozenset({"protocol", "schema", "errors"}),
    "ws": frozenset({"rpc", "protocol", "schema", "errors"}),
    "client": frozenset({"rpc", "protocol", "schema", "errors"}),
    "testing": frozenset({"spec", "ws", "client", "rpc", "protocol", "schema", "errors"}),
    "__main__": frozenset({"cli"}),
    "cli": frozenset(
        {"__init__", "spec", "ws", "client", "types", "rpc", "protocol", "schema", "errors"}
    ),
}

# path prefix -> the packages from outside the standard library that it may import
AIOHTTP = frozenset({"aiohttp", "multidict", "yarl"})
VALIDATION = frozenset({"msgspec", "annotated_types", "attrs"})
PACKAGES: dict[str, frozenset[str]] = {
    "schema": VALIDATION,
    "schema/_pydantic.py": VALIDATION | {"pydantic", "pydantic_core"},
    # the codecs of the wire, not a second validator
    "protocol/frames.py": frozenset({"msgspec"}),
    "protocol/incoming.py": frozenset({"msgspec"}),  # a call is made by each message
    "protocol/jsonrpc.py": frozenset({"msgspec"}),
    "protocol/native.py": frozenset({"msgspec"}),
    "spec/": AIOHTTP,
    "ws/": AIOHTTP,
    "ws/brokers/redis/": AIOHTTP | {"redis"},
    "ws/brokers/nats/": AIOHTTP | {"nats"},
    "client/": AIOHTTP,
    "browser/": AIOHTTP,
    "testing/": AIOHTTP,
    "testing/plugin.py": frozenset({"pytest"}),
    "testing/sessions.py": frozenset({"msgspec"}),  # as the codec of the wire
    "cli/": AIOHTTP | {"click", "rich", "uvloop"},
}

# All of the standard library that the pure core may use: no I/O, no clock, no chance, no log.
PURE = frozenset(
    "__future__ abc array base64 binascii bisect codecs collections contextlib copy dataclasses "
    "enum functools hashlib heapq inspect itertools json math operator re string struct types "
    "typing urllib.parse weakref zlib".split()
)

# A concrete broker is known by name in these files only, and loaded when its URL asks for it.
BROKERS = "openapi.ws.brokers."
KNOW_BROKERS = frozenset(
    {"ws/broker.py", "ws/brokers/__init__.py", "testing/bus.py", "testing/nodes.py"}
)
# What brokers share. Of the rest, each knows its own package only.
SHARED_BY_BROKERS = frozenset({"attendance", "begun", "supervision"})

# The one file for each optional dependency: whoever needs it imports it late.
LEAVES = ("schema._pydantic", "ws.brokers.redis", "ws.brokers.nats", "cli")
OPTIONAL = (
    "click jwt nats opentelemetry prometheus_client psutil pydantic redis rich uvloop".split()
)

FILES = sorted(SRC.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    """``openapi.ws.pubsub`` -> ``ws``, ``openapi`` itself -> ``__init__``."""
    return module.split(".")[1] if "." in module else "__init__"


def is_module(name: str) -> bool:
    path = SRC.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def imports_of(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Each import as its line and the full name of the module; ``package`` holds the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            for alias in node.names:
                name = f"{base}.{alias.name}"  # `from openapi.ws import pubsub` names a module
                yield node.lineno, name if base.startswith("openapi") and is_module(name) else base


def is_private(name: str, package: str) -> bool:
    """Whether the module ``name``, or what it is in, belongs to another package alone."""
    parts = name.split(".")
    homes = (".".join(parts[:n]) for n, part in enumerate(parts) if part.startswith("_"))
    return not all(f"{package}.".startswith(f"{home}.") for home in homes)


def may_know_broker(where: str, name: str) -> bool:
    if where in KNOW_BROKERS:
        return True
    folder, _, inside = where.partition("ws/brokers/")
    own = inside.partition("/")[0].removesuffix(".py")
    known = name.removeprefix(BROKERS).partition(".")[0]
    return not folder and (known == own or known in SHARED_BY_BROKERS)


def allowed_packages(where: str) -> frozenset[str]:
    """The entry with the longest prefix of the file's path decides."""
    prefixes = [prefix for prefix in PACKAGES if where.startswith(prefix)]
    return PACKAGES[max(prefixes, key=len)] if prefixes else frozenset()


def faults(source: str, where: str) -> list[str]:
    """What is wrong with the imports of the file ``where``, a path within src/openapi."""
    file = SRC / where
    layer = layer_of(module_of(file))
    package = ".".join(file.relative_to(SRC.parent).parts[:-1])
    found = []
    for line, name in imports_of(source, package):
        top = name.partition(".")[0]
        wrong = ""
        if top == "openapi":
            target = layer_of(name)
            if layer not in ARROWS:
                wrong = f"the layer {layer} has no arrows: add it to ARROWS, and to the drawing"
            elif target != layer and target not in ARROWS[layer]:
                wrong = f"{layer} may not know {target}"
            elif is_private(name, package):
                wrong = "a module with an underscore is its own package's"
            elif name.startswith(BROKERS) and not may_know_broker(where, name):
                wrong = "only ws/broker.py may name a concrete broker, and each broker itself"
        elif top in sys.stdlib_module_names:
            if layer == "protocol" and name not in PURE and top not in PURE:
                wrong = "protocol is pure: no I/O, no clock, no chance, no log"
        elif top not in allowed_packages(where):
            wrong = "this file may not use that package"
        if wrong:
            found.append(f"{where}:{line} imports {name}: {wrong}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_a_file_imports_only_what_its_layer_may_know(file: Path) -> None:
    assert faults(file.read_text(), file.relative_to(SRC).as_posix()) == []


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("protocol/x.py", "import asyncio"),
        ("protocol/x.py", "from time import monotonic"),
        ("protocol/x.py", "def f():\n    import random"),
        ("protocol/x.py", "import aiohttp"),
        ("protocol/x.py", "import msgspec"),
        ("protocol/x.py", "from ..ws import path"),
        ("protocol/x.py", "from urllib import request"),
        ("schema.py", "from openapi.protocol import topics"),
        ("errors.py", "from openapi import schema"),
        ("spec/x.py", "from ..ws.path import WsPathMixin"),
        ("spec/x.py", "import msgspec"),
        ("protocol/x.py", "from openapi.rpc import peer"),
        ("rpc/x.py", "import aiohttp"),
        ("rpc/x.py", "import msgspec"),
        ("rpc/x.py", "from ..ws import outbox"),
        ("rpc/x.py", "from openapi.client import link"),
        ("spec/x.py", "from openapi.rpc.peer import Peer"),
        ("ws/x.py", "from openapi import client"),
        ("client/x.py", "import openapi.ws"),
        ("ws/x.py", "from .brokers import memory"),
        ("ws/x.py", "from .brokers.memory import MemoryBroker"),
        ("ws/manager.py", "import openapi.ws.brokers.memory"),
        ("ws/brokers/redis/broker.py", "import nats"),
        ("ws/brokers/redis/broker.py", "from openapi.ws.brokers.memory.keys import Keys"),
        ("ws/brokers/begun.py", "from openapi.ws.brokers.memory import MemoryBroker"),
        ("cli/x.py", "from ..ws.brokers import memory"),
        ("types/x.py", "import msgspec"),
        ("types/x.py", "from openapi.ws.rules import ChannelRule"),
        ("unknown/x.py", "from openapi import errors"),
        ("protocol/x.py", "from openapi.schema._builtins import plain"),
        ("protocol/x.py", "from ..schema import _builtins"),
        ("spec/x.py", "import openapi.schema._build"),
    ],
)
def test_a_wrong_import_is_found(where: str, source: str) -> None:
    assert len(faults(source, where)) == 1


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("protocol/x.py", "from collections.abc import Mapping\nfrom urllib.parse import quote"),
        ("protocol/x.py", "from ..errors import InvalidData\nfrom . import topics"),
        ("protocol/frames.py", "import msgspec"),
        ("protocol/native.py", "import msgspec"),
        ("rpc/x.py", "import asyncio, logging\nfrom ..protocol.session import Session"),
        ("ws/x.py", "from openapi.rpc.peer import Peer"),
        ("client/x.py", "from ..rpc.peer import Peer"),
        ("schema/x.py", "from openapi.schema import _build\nfrom openapi.schema._build import x"),
        ("ws/broker.py", "from .brokers import memory"),
        ("ws/brokers/redis/broker.py", "import redis.asyncio\nfrom ...broker import Broker"),
        ("ws/brokers/redis/broker.py", "from openapi.ws.brokers.redis.link import Link"),
        ("ws/brokers/nats/broker.py", "from openapi.ws.brokers.attendance import Attendance"),
        ("cli/x.py", "import click\nfrom .. import __version__"),
    ],
)
def test_a_right_import_is_left_alone(where: str, source: str) -> None:
    assert faults(source, where) == []


def python(code: str) -> None:
    """Run ``code`` in a process of its own, where nothing is imported yet, coverage neither."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, env=env)
    assert done.returncode == 0, done.stderr


def modules(*layers: str) -> list[str]:
    return [name for name in map(module_of, FILES) if layer_of(name) in layers]


def test_the_pure_core_loads_neither_an_event_loop_nor_a_server() -> None:
    python(
        "import importlib, sys\n"
        f"for name in {modules('errors', 'schema', 'protocol')}: importlib.import_module(name)\n"
        "loaded = {'asyncio', 'socket', 'aiohttp', 'logging'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )


def test_calls_run_on_a_loop_alone() -> None:
    python(
        "import importlib, sys\n"
        f"for name in {modules('rpc')}: importlib.import_module(name)\n"
        "loaded = {'aiohttp', 'aiosignal', 'yarl', 'multidict'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )


def test_every_layer_can_be_imported_without_any_optional_package() -> None:
    leaves = tuple(f"openapi.{leaf}." for leaf in LEAVES)
    layers = [name for name in modules(*ARROWS) if not f"{name}.".startswith(leaves)]
    python(
        "import importlib, sys\n"
        f"for name in {OPTIONAL}: sys.modules[name] = None\n"
        f"for name in {layers}: importlib.import_module(name)"
    )
