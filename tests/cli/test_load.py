"""From MODULE:APP to an application."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from openapi.cli.load import BrokenApplication, NoApplication, load

SOURCE = """
import functools
from aiohttp import web

app = web.Application()
number = 1
nothing = None

class Config:
    app = web.Application()

def create_app():
    return web.Application()

async def create_async():
    return web.Application()

def setup_app(app):
    app["by"] = "setup_app"

async def setup_async(app: web.Application, debug: bool = False) -> None:
    app["by"] = "setup_async"

def wraps(app):
    outer = web.Application()
    outer.add_subapp("/inner", app)
    return outer

def two(app, settings):
    pass

partly = functools.partial(two, settings={})

def returns_nothing():
    pass

def returns_text():
    return "app"

def keyword(*, settings):
    pass

def fails():
    raise LookupError("no settings")

def exits():
    raise SystemExit(3)

def fails_silently():
    raise LookupError
"""


@pytest.fixture(autouse=True)
def path() -> Iterator[None]:
    """What is imported here is not there for the next test."""
    before, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "served.py").write_text(SOURCE)
    package = tmp_path / "package" / "inner"
    package.mkdir(parents=True)
    for init in (package / "__init__.py", package.parent / "__init__.py"):
        init.touch()
    (package.parent / "other.py").write_text(SOURCE)
    (package / "served.py").write_text("from ..other import create_app\n")
    (tmp_path / "json.py").write_text(SOURCE)
    (tmp_path / "syntax.py").write_text("def (")
    (tmp_path / "needs.py").write_text("import settings_that_are_not_there")
    (tmp_path / "broken.py").write_text("\n\n1 / 0")
    (tmp_path / "empty.py").touch()
    (tmp_path / "exits.py").write_text("raise SystemExit(0)")
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")
@pytest.mark.parametrize(
    "target",
    [
        "served:app",
        "served:Config.app",
        "served:partly",
        "served:create_app",
        "served:create_async",
        "served:setup_app",
        "served:setup_async",
        "served:wraps",
        "./served.py:app",
        "served.py:app",
        "package.inner.served:create_app",
        "package/inner/served.py:create_app",
        "package.other:setup_app",
    ],
)
async def test_an_application_is_found(folder: Path, target: str) -> None:
    app = await load(target)()
    assert isinstance(app, web.Application)
    by = target.rpartition(":")[2]
    assert app.get("by") == (by if by.startswith("setup") else None)


async def test_an_absolute_path_is_a_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert isinstance(await load(f"{folder}/served.py:app")(), web.Application)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("served", "'served' names no application: write MODULE:APP"),
        (":app", "write MODULE:APP"),
        ("served.py", "write MODULE:APP, as in served.py:create_app"),
        (".:app", "there is no module '.': give its full name, or a file's path"),
        ("..served:app", "there is no module '..served': give its full name"),
        (".py:app", "there is no module '.py'"),
        ("/:app", "/ is a folder: give the path of a Python file in it"),
        ("package/inner:app", "package/inner is a folder"),
        ("./served:app", "there is no file served: did you mean served.py?"),
        ("./notes.txt:app", "notes.txt is no Python file: give the path of one"),
        ("served:", "write MODULE:APP"),
        ("nowhere:app", "there is no module 'nowhere'"),
        ("package.nowhere:app", "there is no module 'package.nowhere'"),
        ("nowhere.py:app", "there is no file nowhere.py"),
        ("package/nowhere:app", "there is no file package/nowhere"),
        ("json.py:app", "json.py cannot be imported as 'json': another module has that name"),
        ("served:create_ap", "served has no 'create_ap': did you mean served:create_app?"),
        ("served:xyz", "served has no 'xyz': it has app, create_app, "),
        ("empty:xyz", "empty has no 'xyz', nor an application"),
        ("served:number", "served:number is a value of type int, not an aiohttp.web.Application"),
        ("served:nothing", "served:nothing is None, not"),
        ("served:Config", "served:Config is the class Config, not"),
        ("served:two", "served:two needs app, settings: name a function that takes nothing"),
        ("served:keyword", "served:keyword needs settings"),
        ("builtins:max", "builtins:max is a value of type builtin_function_or_method, not"),
    ],
)
def test_what_is_none_is_told_with_what_to_write(folder: Path, target: str, text: str) -> None:
    with pytest.raises(NoApplication) as caught:
        load(target)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("served:returns_nothing", "returned None, not an aiohttp.web.Application"),
        ("served:returns_text", "returned a value of type str, not"),
    ],
)
async def test_a_function_that_returns_none_is_told(folder: Path, target: str, text: str) -> None:
    with pytest.raises(NoApplication) as caught:
        await load(target)()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (
            "syntax:app",
            "syntax cannot be imported: SyntaxError: invalid syntax (syntax.py, line 1)",
        ),
        ("needs:app", "No module named 'settings_that_are_not_there' (needs.py, line 1)"),
        ("broken:app", "ZeroDivisionError: division by zero (broken.py, line 3)"),
        ("exits:app", "exits cannot be imported: SystemExit: 0 (exits.py, line 1)"),
    ],
)
def test_a_module_that_fails_is_told_with_the_place(folder: Path, target: str, text: str) -> None:
    with pytest.raises(BrokenApplication) as caught:
        load(target)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("served:fails", "served:fails failed: LookupError: no settings (served.py, line "),
        ("served:exits", "served:exits failed: SystemExit: 3 (served.py, line "),
        ("served:fails_silently", "served:fails_silently failed: LookupError (served.py, line "),
    ],
)
async def test_a_function_that_fails_is_told_with_the_place(
    folder: Path, target: str, text: str
) -> None:
    with pytest.raises(BrokenApplication) as caught:
        await load(target)()
    assert text in str(caught.value)


async def test_a_place_outside_the_working_directory_is_told_with_its_whole_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "package")
    with pytest.raises(BrokenApplication) as caught:
        await load(f"{folder}/served.py:fails")()
    assert f"({folder}/served.py, line " in str(caught.value)
