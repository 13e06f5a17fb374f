"""The managers of an application, as ``serve`` sees to them: opened first and closed last.

An endpoint finds its manager in the application that it is a route of, under its ``SOCKETS_KEY``.
So they are looked for among all that an application has, and those that are mounted in it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from aiohttp import web

from openapi.cli.load import BrokenApplication, said
from openapi.errors import DeclarationError
from openapi.ws import SocketsManager

__all__ = ["Found", "Refused", "check_workers", "managers", "opened"]


class Refused(Exception):
    """What an application says of its manager cannot be done so. Its text says what to do."""


class Found(NamedTuple):
    """A manager, and where it is: ``app['web_sockets']``."""

    where: str
    manager: SocketsManager


def managers(app: web.Application) -> list[Found]:
    """The managers of an application and of those mounted in it, each once."""
    found: dict[int, Found] = {}
    for each in _below(app):
        for key, value in each.items():
            if isinstance(value, SocketsManager):
                found.setdefault(id(value), Found(f"app[{_name(key)}]", value))
    return list(found.values())


def check_workers(app: web.Application, workers: int) -> None:
    """Raise Refused where the messages of one worker would not reach the sockets of another."""
    for where, manager in managers(app) if workers > 1 else ():
        if not manager.spans_processes:
            raise Refused(
                f"--workers {workers}: the broker of the manager in {where} is of one process, as"
                " memory:// is, and the others would not hear of its messages: give it one that"
                " they share, as SocketsManager(broker='redis://localhost'), or serve with one"
                " worker"
            )


async def opened(app: web.Application, warn: Callable[[str], object]) -> list[Found]:
    """Open the brokers of all managers; ``warn`` is told which are away. They are tried on.

    Raises Refused and BrokenApplication.
    """
    found = managers(app)
    for where, manager in found:
        try:
            with _outages_unlogged():
                await manager.open()
        except DeclarationError as exc:
            raise Refused(f"the manager in {where}: {exc}") from exc
        except Exception as exc:
            text = f"the broker of the manager in {where} cannot be opened: {said(exc)}"
            raise BrokenApplication(text) from exc
        if (outage := manager.outage) is not None:
            text = f"the broker of the manager in {where} is away, and tried until it is back"
            warn(f"{text}: {outage.reason}")
    return found


@contextmanager
def _outages_unlogged() -> Iterator[None]:
    """Brokers log an outage for each of their connections; here it is one, and said as that."""
    log = logging.getLogger("openapi.ws.brokers.supervision")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _below(app: web.Application) -> Iterator[web.Application]:
    yield app
    for resource in app.router.resources():
        mounted = resource.get_info().get("app")
        if mounted is not None:
            yield from _below(mounted)


def _name(key: object) -> str:
    if isinstance(key, web.AppKey):
        return key._name.rpartition(".")[2]  # private: it begins with the name of its module
    return repr(key)
