"""From ``MODULE:APP`` on the command line to an application.

``MODULE`` is a dotted name, as for ``import``, found from the working directory too; or the path of
a file. ``APP`` is, in that module,

* an ``aiohttp.web.Application``,
* a function that returns one, or a coroutine function that does: ``create_app()``,
* a function that sets one up, which is made for it: ``setup_app(app)``.
"""

import difflib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from aiohttp import web

__all__ = ["BrokenApplication", "Factory", "NoApplication", "load", "said"]

Factory: TypeAlias = Callable[[], Awaitable[web.Application]]
"""Makes the application. Call it in the loop that is to serve it."""


class NoApplication(Exception):
    """What was named is no application. Its text says what to write instead."""


class BrokenApplication(Exception):
    """The application's own code failed. Its text says with what, and where."""


def load(target: str) -> Factory:
    """Find an application. Raises :class:`NoApplication` and :class:`BrokenApplication`."""
    name, _, attribute = target.rpartition(":")
    if not name or not attribute:
        is_file = target.removesuffix(":").endswith(".py")
        example = target.removesuffix(":") if is_file else "examples/monitor.py"
        raise NoApplication(
            f"{target!r} names no application: write MODULE:APP, as in"
            f" {example}:create_app or package.module:app"
        )
    module = _module(name)
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NoApplication(_missing(module, name, attribute)) from None
    if isinstance(found, web.Application):
        return _given(found)
    if callable(found) and not inspect.isclass(found):
        return _made(target, found)
    raise NoApplication(
        f"{target} is {_a(found)}, not an aiohttp.web.Application or a function that makes one"
    )


def _given(app: web.Application) -> Factory:
    async def factory() -> web.Application:
        return app

    return factory


def _made(target: str, function: Callable[..., Any]) -> Factory:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        raise NoApplication(
            f"{target} is {_a(function)}, not a function of an application"
        ) from None
    needed = [
        parameter
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    keyword_only = any(parameter.kind is parameter.KEYWORD_ONLY for parameter in needed)
    if len(needed) > 1 or keyword_only:
        names = ", ".join(parameter.name for parameter in needed)
        raise NoApplication(
            f"{target} needs {names}: name a function that takes nothing and returns an"
            " application, or one that takes an application and sets it up"
        )

    async def factory() -> web.Application:
        app = web.Application() if needed else None
        try:
            made = function(app) if needed else function()
            if inspect.isawaitable(made):
                made = await made
        except (Exception, SystemExit) as exc:
            raise BrokenApplication(f"{target} failed: {said(exc)}") from exc
        if made is None and app is not None:
            return app
        if not isinstance(made, web.Application):
            raise NoApplication(f"{target} returned {_a(made)}, not an aiohttp.web.Application")
        return made

    return factory


def _module(name: str) -> ModuleType:
    path = Path(name)
    if path.suffix == ".py" or os.sep in name:
        return _module_of_file(path)
    if name.startswith("."):
        raise NoApplication(f"there is no module {name!r}: give its full name, or a file's path")
    return _import(name, Path.cwd())


def _module_of_file(path: Path) -> ModuleType:
    file = path.resolve()
    if not file.is_file():
        raise NoApplication(_no_file(path))
    if path.suffix != ".py":
        raise NoApplication(f"{path} is no Python file: give the path of one, which ends in .py")
    names = [file.stem]
    folder = file.parent
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    module = _import(".".join(names), folder)
    if module.__file__ is None or not file.samefile(module.__file__):
        raise NoApplication(
            f"{path} cannot be imported as {'.'.join(names)!r}: another module has that name, "
            "rename the file"
        )
    return module


def _no_file(path: Path) -> str:
    if Path(f"{path}.py").is_file():
        return f"there is no file {path}: did you mean {path}.py?"
    if path.is_dir():
        return f"{path} is a folder: give the path of a Python file in it"
    return f"there is no file {path}: give the path of a Python file"


def _import(name: str, folder: Path) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{name}.".startswith(f"{exc.name}."):
            raise NoApplication(
                f"there is no module {name!r}: give a dotted name, or the path of a file"
            ) from exc
        raise BrokenApplication(f"{name} cannot be imported: {said(exc)}") from exc
    except (Exception, SystemExit) as exc:
        raise BrokenApplication(f"{name} cannot be imported: {said(exc)}") from exc


def _missing(module: ModuleType, name: str, attribute: str) -> str:
    known = [
        key
        for key, value in vars(module).items()
        if isinstance(value, web.Application)
        or (inspect.isfunction(value) and value.__module__ == module.__name__)
    ]
    close = difflib.get_close_matches(attribute, known, n=1)
    text = f"{name} has no {attribute!r}"
    if close:
        return f"{text}: did you mean {name}:{close[0]}?"
    names = ", ".join(key for key in known if not key.startswith("_"))
    return f"{text}: it has {names}" if names else f"{text}, nor an application or a function"


def said(exc: BaseException) -> str:
    """An exception of the application, and where it came from, in one line."""
    text = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    frames = traceback.extract_tb(exc.__traceback__)
    if isinstance(exc, SyntaxError) or not frames:  # has its place in its text
        return text
    file = frames[-1].filename
    near = os.path.relpath(file)
    return f"{text} ({file if near.startswith(os.pardir) else near}, line {frames[-1].lineno})"


def _a(value: object) -> str:
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    return "None" if value is None else f"a value of type {type(value).__name__}"
