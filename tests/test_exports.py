"""``__all__`` of every public module is what it says. (That it is sorted is ruff's RUF022.)"""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

SRC = Path(__file__).parents[1] / "src"
FILES = sorted(SRC.glob("openapi/**/[!_]*.py")) + sorted(SRC.glob("openapi/**/__init__.py"))

# Import paths that people who moved here from 3.2 rely on, and the names behind them.
PROMISED = {
    "openapi.spec": {"ApiPath", "OpenApi", "OpenApiInfo", "op"},
    "openapi.ws": {
        "CannotPublish",
        "CannotSubscribe",
        "ChannelCallbackError",
        "Channels",
        "SocketsManager",
        "WsPathMixin",
        "ws_rpc",
    },
    "openapi.ws.pubsub": {"Publish", "Subscribe"},
    "openapi.client": {"connect"},
}


def module_of(file: Path) -> ModuleType:
    parts = file.relative_to(SRC).with_suffix("").parts
    return importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))


def declared(source: str) -> set[str]:
    """The public classes and functions at the top level of a file."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (node.name for node in ast.parse(source).body if isinstance(node, kinds))
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_all_names_each_public_class_and_function_of_the_file_and_nothing_that_is_not_there(
    file: Path,
) -> None:
    module = module_of(file)
    exported: list[str] = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(module, name)] == []
    assert declared(file.read_text()) - set(exported) == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
def test_all_names_nothing_that_came_from_another_package(file: Path) -> None:
    module = module_of(file)
    values = {name: getattr(module, name) for name in getattr(module, "__all__", [])}
    classes = {name: value.__module__ for name, value in values.items() if isinstance(value, type)}
    assert {name: home for name, home in classes.items() if not home.startswith("openapi")} == {}


@pytest.mark.parametrize("path", PROMISED)
def test_the_promised_names_are_exported(path: str) -> None:
    assert PROMISED[path] - set(importlib.import_module(path).__all__) == set()
