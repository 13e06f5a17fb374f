"""The command that writes typed clients of an application's endpoints."""

import inspect
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from openapi.cli.load import NoApplication, load
from openapi.cli.managers import Refused
from openapi.cli.output import Output
from openapi.protocol.methods import MethodTable
from openapi.types import Channels, Endpoint, python, typescript
from openapi.ws import ChannelRule, SocketsManager, WsPathMixin
from openapi.ws.pubsub import Publish, Subscribe

__all__ = ["CannotWriteFile", "Stale", "endpoints_of", "types"]

_WRITERS: Final[Mapping[str, Callable[..., str]]] = {"python": python, "typescript": typescript}
_WRITTEN: Final = re.compile(rb"(#|//) Written by `openapi types`")


class CannotWriteFile(Exception):
    """A file cannot be written, or read. Its text says which, and why."""


class Stale(Exception):
    """Files are not what would be written. Its text says which, and what to do."""


async def types(out: Output, app: str, files: Mapping[str, str], *, check: bool) -> None:
    """Write the files, ``{language: path}``, as far as they are not up to date; show which.

    With ``check`` nothing is written, and Stale raised where a file is not up to date. Raises
    Refused where the command was used wrongly, BrokenApplication and CannotWriteFile.
    """
    paths = {language: _shown(path) for language, path in files.items()}
    if len(set(paths.values())) < len(paths):
        raise Refused("both files are the same: give two")
    try:
        found = endpoints_of(await load(app)())
    except NoApplication as exc:
        raise Refused(str(exc)) from exc
    if not found:
        raise Refused(
            f"{app} has no endpoint: none of its routes is a view that derives from WsPathMixin"
        )
    texts: dict[str, bytes] = {}
    stale: dict[str, str] = {}
    for language, path in paths.items():
        origin = _command(app, {language: path})
        texts[path] = _WRITERS[language](found, origin=origin).encode()
        before = _read(path)
        if before is None or not _same(before, texts[path]):
            stale[path] = "missing" if before is None else "stale"
    if check and stale:
        what = " and ".join(f"{path} is {how}" for path, how in stale.items())
        again = {language: path for language, path in paths.items() if path in stale}
        them = "it" if len(stale) == 1 else "them"
        raise Stale(f"{what}: write {them} anew with `{_command(app, again)}`")
    for path, text in texts.items():
        if path in stale:
            _write(path, text)
        if out.human:
            out.line(f"{path} is written" if path in stale else f"{path} is up to date")
        else:
            out.show({"file": path, "changed": path in stale})


def _shown(path: str) -> str:
    """A path from the working directory, if it is below that: the same on each machine."""
    near = os.path.relpath(path)
    return path if near.startswith(os.pardir) else Path(near).as_posix()


def _command(app: str, files: Mapping[str, str]) -> str:
    """The command that writes files, as it is typed."""
    options = [word for language, path in files.items() for word in (f"--{language}", path)]
    return " ".join(shlex.join(["openapi", "types", app, *options]).split())


def _read(path: str) -> bytes | None:
    """What a file of ours has; None if there is no file."""
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise CannotWriteFile(f"{path} cannot be read: {exc.strerror}") from exc
    if text.strip() and not _WRITTEN.match(text):
        raise CannotWriteFile(
            f"{path} was not written by this command, and is left as it is: give another name, or"
            " move it away"
        )
    return text


def _same(before: bytes, text: bytes) -> bool:
    """Whether both are one text; on Windows, version control may have changed its line ends."""
    return before.replace(b"\r\n", b"\n") == text.replace(b"\r\n", b"\n")


def _write(path: str, text: bytes) -> None:
    try:
        Path(path).write_bytes(text)
    except OSError as exc:
        raise CannotWriteFile(f"{path} cannot be written: {exc.strerror}") from exc


# ---- what an application has


def endpoints_of(app: web.Application) -> list[Endpoint]:
    """The endpoints of an application, and of those mounted in it, in the order of the routes.

    A class that is served with other channel rules elsewhere is an endpoint of its own there.
    """
    found: dict[tuple[type[WsPathMixin], tuple[ChannelRule, ...]], list[str]] = {}
    for path, view, manager in _views(app, ""):
        rules = () if manager is None else manager.rules.all
        paths = found.setdefault((view, rules), [])
        if path not in paths:
            paths.append(path)
    return [_endpoint(view, rules, paths) for (view, rules), paths in found.items()]


def _views(
    app: web.Application, prefix: str
) -> Iterator[tuple[str, type[WsPathMixin], SocketsManager | None]]:
    """The path, the class and the manager of each route to an endpoint."""
    for resource in app.router.resources():
        info = resource.get_info()
        mounted = info.get("app")
        if mounted is not None:
            yield from _views(mounted, info.get("prefix", ""))
            continue
        for route in resource:
            view: Any = route.handler
            if isinstance(view, type) and issubclass(view, WsPathMixin):
                manager = app.get(view.SOCKETS_KEY)
                path = resource.canonical or "/"
                yield path, view, manager if isinstance(manager, SocketsManager) else None


def _endpoint(
    view: type[WsPathMixin], rules: Sequence[ChannelRule], paths: Sequence[str]
) -> Endpoint:
    bases: Sequence[type] = view.__mro__
    mixins = [mixin for mixin in (Publish, Subscribe) if mixin in bases]
    of_client = {name for mixin in mixins for name in MethodTable.of(mixin)}
    doc = inspect.cleandoc(view.__doc__ or "")
    outer = (part for part in view.__qualname__.split(".") if part != "<locals>")
    return Endpoint(
        name=(*view.__module__.split("."), *outer),
        paths=tuple(paths),
        # a part after --- is for other tools
        doc=re.split(r"^---", doc, maxsplit=1, flags=re.MULTILINE)[0].strip(),
        methods=tuple(method for name, method in view.rpc_methods.items() if name not in of_client),
        channels=tuple(_channels(view, rules)),
    )


def _channels(view: type[WsPathMixin], rules: Sequence[ChannelRule]) -> Iterator[Channels]:
    bases: Sequence[type] = view.__mro__
    subscribe, publish = Subscribe in bases, Publish in bases
    if not subscribe and not publish:
        return
    made = getattr(view, "get_publish_message", Publish.get_publish_message)
    for rule in rules:
        if rule.schema is None or rule.refused:
            continue
        yield Channels(
            rule=rule.name,
            data=rule.schema.hint,
            takes=rule.schema.hint if made is Publish.get_publish_message else Any,
            but=tuple(_others(rule, rules)),
            subscribe=subscribe,
            publish=publish,
            history=bool(rule.history),
            presence=rule.presence,
        )


def _others(rule: ChannelRule, rules: Sequence[ChannelRule]) -> Iterator[str]:
    """The rules that hold for some of the channels of a rule, and say something else of them."""
    for other in rules:
        inside = rule.prefix is not None and other.name.startswith(rule.prefix)
        if other is not rule and inside and (other.refused or other.data != rule.data):
            yield other.name
