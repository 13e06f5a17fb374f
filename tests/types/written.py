"""Generated files, and the tools that they are held against."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from openapi.cli.types import endpoints_of
from openapi.types import Channels, Endpoint, python, typescript
from tests.cli.process import ROOT
from tests.types import shop

RUFF = Path(sys.executable).with_name("ruff")
ORIGIN = "openapi types tests.types.shop:create_app"


def written(write: Callable[..., str]) -> str:
    """The file for the application of :mod:`tests.types.shop`."""
    return write(endpoints_of(shop.create_app()), origin=ORIGIN)


def in_python(*endpoints: Endpoint) -> str:
    """The file in Python for some endpoints."""
    return python(endpoints, origin=ORIGIN)


def in_typescript(*endpoints: Endpoint) -> str:
    """The file in TypeScript for some endpoints."""
    return typescript(endpoints, origin=ORIGIN)


def of_channels(*channels: Channels) -> Endpoint:
    """An endpoint that has channels, and nothing else."""
    return Endpoint(name=("app", "App"), paths=(), channels=channels)


def formatted(text: str) -> str:
    """What ``ruff format`` makes of a file in Python."""
    return _ruff(text, "format", "--line-length", "100", "-")


def fixed(text: str) -> str:
    """What ``ruff check --fix`` makes of it, with the rules of imports and of modern Python."""
    options = ("--line-length", "100", "--target-version", "py311", "--select", "I,F,UP,E9,TC010")
    return _ruff(text, "check", "--fix", *options, "--stdin-filename", "written.py", "-")


def _ruff(text: str, *arguments: str) -> str:
    done = subprocess.run(
        [RUFF, arguments[0], "--isolated", *arguments[1:]],
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        cwd=ROOT / "tests/types",
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def imported(text: str, name: str = "written_client") -> ModuleType:
    """A file in Python as a module. Take it out of ``sys.modules`` again."""
    module = ModuleType(name)
    sys.modules[name] = module  # its types are looked up there
    exec(compile(text, f"{name}.py", "exec", dont_inherit=True), vars(module))
    return module
